//! What surrounds the recorder: configuration, environment, limits, the clock.

use super::{Finding, Found, Look};
use crate::cli::display::duration;
use crate::config::Settings;
use crate::config::known::KnownKeys;
use crate::error::Error;
use crate::store::Item;
use crate::wire::CONNECTIONS_MAX;

/// Clocks of one machine differ by less, whatever set them.
const CLOCK_SLACK_MICROS: i64 = 60 * 1_000_000;
/// 2024-01-01: this program is younger.
const NEVER_BEFORE_MICROS: i64 = 1_704_067_200_000_000;
/// With fewer even a command fails.
const DESCRIPTORS_MIN: u64 = 64;

pub(super) fn configuration(look: &Look<'_>) -> Found {
    if let Err(error) = KnownKeys::values(look.env) {
        return Ok(Finding::fail(
            error.to_string(),
            "until that is put right, the keys that you named are not taken out of what is recorded",
        ));
    }
    match Settings::load(&look.dir, look.env) {
        Ok(_) => Ok(Finding::pass("config.toml is understood, the user's and the data directory's")),
        Err(error @ Error::Config { .. }) => Ok(Finding::fail(
            error.to_string(),
            "correct that line; until then servers do not start and hooks may not find the data directory",
        )),
        Err(error) => Err(error),
    }
}

pub(super) fn environment(look: &Look<'_>) -> Found {
    // MNEMOSYNE_DISABLE_EVENTS that makes no sense ends every command before it begins.
    if let Err(error) = look.env.auto_start_disabled() {
        return Ok(Finding::fail(error.to_string(), "hooks take it for a no"));
    }
    if look.env.events_disabled_for_hook() {
        return Ok(Finding::warn(
            "MNEMOSYNE_DISABLE_EVENTS is set: nothing is recorded here",
            "unset it to record",
        ));
    }
    Ok(Finding::pass("the variables that are read make sense"))
}

pub(super) fn descriptors(_: &Look<'_>) -> Found {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Ok(judge_descriptors(limit.maximum))
}

/// A server raises its own limit up to the hard one, so that is the one that counts.
fn judge_descriptors(most: Option<u64>) -> Option<Finding> {
    let Some(most) = most else { return Finding::pass("no limit on open files") };
    let hint = "raise the hard limit (`ulimit -Hn`)";
    match most {
        ..DESCRIPTORS_MIN => Finding::fail(format!("at most {most} open files"), hint),
        _ if most < CONNECTIONS_MAX as u64 => Finding::warn(
            format!("at most {most} open files; a server takes up to {CONNECTIONS_MAX} connections"),
            hint,
        ),
        _ => Finding::pass(format!("up to {most} open files")),
    }
}

pub(super) fn clock(look: &Look<'_>) -> Found {
    let now = look.now.as_micros();
    if now < NEVER_BEFORE_MICROS {
        return Ok(Finding::fail("the clock says a time before 2024", "set the clock"));
    }
    let view = look.view()?;
    let Some(Item::Event(last)) = view.get(view.durable())? else {
        return Ok(Finding::pass("nothing is on record to compare it with"));
    };
    let ahead = last.recorded.micros_since(look.now);
    if ahead <= CLOCK_SLACK_MICROS {
        return Ok(Finding::pass("the newest record does not lie in the future"));
    }
    let ms = u64::try_from(ahead / 1_000).unwrap_or_default();
    Ok(Finding::warn(
        format!("the newest record lies {} in the future: the clock was set back", duration(ms)),
        "order is by seq and is not touched; times of new events stand still until the clock has caught up",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn few_descriptors_are_told() {
        let verdict = |most| judge_descriptors(most).unwrap().verdict;
        assert_eq!(verdict(Some(32)), Verdict::Fail);
        assert_eq!(verdict(Some(1_024)), Verdict::Warn);
        assert_eq!(verdict(Some(65_536)), Verdict::Pass);
        assert_eq!(verdict(None), Verdict::Pass);
    }
}
