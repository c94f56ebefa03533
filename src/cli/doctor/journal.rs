//! The journal and the inbox: whether what was recorded is whole, and whether what is to be recorded gets there.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Finding, Fixed, Found, Look, first_of};
use crate::cli::display::{age, counted, duration};
use crate::error::Error;
use crate::event::{Seq, Timestamp};
use crate::projection::health::HealthProjection;
use crate::projection::health::view::health;
use crate::projection::snapshot::Files;
use crate::projection::state_at;
use crate::store::inbox;
use crate::store::inbox::failed::{self, Failures};
use crate::store::scrub::{self, Seen};
use crate::store::{self, check};

/// A server takes events in within milliseconds: what waits longer beside one is stuck.
const STUCK_AFTER_MS: u64 = 60_000;
/// Without a server events wait for the next session or command; longer than this nobody came.
const FORGOTTEN_AFTER_MS: u64 = 24 * 3_600_000;

pub(super) fn journal(look: &Look<'_>) -> Found {
    let looked = if look.full { check::whole(&look.dir)? } else { check::quick(&look.dir)? };
    let Some(checked) = looked else { return Ok(Finding::pass("nothing was recorded yet")) };
    if !checked.damage.is_empty() {
        if look.context.run().is_some() {
            scrub::leave(&look.dir, checked.journal, &checked.lost)?;
        }
        return Ok(Finding::fail(
            first_of(&checked.damage, "damaged place"),
            "everything else can be read; `mnemosyne-inspect verify` says more, `mnemosyne-inspect salvage` saves it",
        ));
    }
    let (durable, segments) = (checked.durable, counted(checked.segments_read, "segment"));
    let read = if checked.segments_read == checked.segments {
        format!("every byte of {segments} was read")
    } else {
        format!("the last of {} segments was read; -v reads all", checked.segments)
    };
    let torn =
        checked.notes.first().map_or_else(String::new, |note| format!("; {note}, as a crash leaves it"));
    Ok(Finding::pass(format!("whole up to seq {durable}: {read}{torn}")))
}

pub(super) fn recovery(look: &Look<'_>) -> Found {
    let view = look.view()?;
    let dir = &look.dir;
    let files = view
        .journal_id()
        .map(|journal| Files::new(dir.snapshots(), journal.to_bytes()).with_base(dir.base()));
    let (fold, _) = state_at::<HealthProjection>(&view, files.as_ref(), Seq::MAX)?;
    let told = health(&fold);
    let last = |kind: &str| told.store.iter().find(|told| told.kind == kind);
    if let Some(found) = last("corruption_detected") {
        let (ranges, ago) = (counted(found.count, "damaged range"), age(found.last.time, look.now));
        return Ok(Finding::warn(
            format!("{ranges} found so far, the last one {ago} ago (seq {})", found.last.seq),
            "check the disk; `mnemosyne-inspect verify` says where, and a backup may still hold what is damaged",
        ));
    }
    Ok(match last("journal_recovered") {
        Some(found) => {
            let (times, ago) = (counted(found.count, "time"), age(found.last.time, look.now));
            Finding::pass(format!("recovered {times} after a crash, last {ago} ago; nothing was damaged"))
        }
        None => Finding::pass("the journal was always closed in order"),
    })
}

pub(super) fn segments(look: &Look<'_>) -> Found {
    let Some(journal) = look.view()?.journal_id() else { return Ok(None) };
    Ok(judge_segments(&scrub::last_seen(&look.dir, journal), look.now))
}

/// What a server saw when it last read each sealed segment.
fn judge_segments(seen: &BTreeMap<Seq, Seen>, now: Timestamp) -> Option<Finding> {
    let damaged: Vec<String> = seen
        .iter()
        .filter(|(_, seen)| !seen.is_whole())
        .map(|(base, seen)| match seen.last_whole() {
            Some(whole) => format!("the one from seq {base}, last whole {} ago", age(whole, now)),
            None => format!("the one from seq {base}, never seen whole"),
        })
        .collect();
    if !damaged.is_empty() {
        return Finding::fail(
            first_of(&damaged, "damaged segment"),
            "check the disk; `mnemosyne-inspect verify` says where, and a backup may still hold what is damaged",
        );
    }
    Finding::pass(match seen.values().map(Seen::looked).min() {
        None => "no sealed segment was looked at yet".to_owned(),
        Some(oldest) => {
            let segments = counted(seen.len() as u64, "sealed segment");
            format!("{segments} seen whole, none longer than {} ago", age(oldest, now))
        }
    })
}

/// What waits in the inbox and is not of this very process: how much, and since when the oldest.
fn waiting(look: &Look<'_>) -> Result<(u64, Option<Timestamp>), Error> {
    let own = std::process::id().to_string();
    let (mut count, mut oldest) = (0, None);
    for name in names_in(&look.dir.inbox())? {
        let mut parts = name.split('-');
        let (Some(nanos), Some(pid), Some(_)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Some(time) =
            nanos.parse::<u64>().ok().filter(|_| Path::new(&name).extension().is_none_or(|end| end != "tmp"))
        else {
            continue;
        };
        if pid == own {
            continue;
        }
        count += 1;
        let time = Timestamp::from_micros(i64::try_from(time / 1_000).unwrap_or(i64::MAX));
        oldest = Some(oldest.map_or(time, |oldest: Timestamp| oldest.min(time)));
    }
    Ok((count, oldest))
}

pub(super) fn inbox(look: &Look<'_>) -> Found {
    let (count, oldest) = waiting(look)?;
    let Some(oldest) = oldest else { return Ok(Finding::pass("nothing waits")) };
    let waited = crate::cli::display::millis_between(oldest, look.now);
    let detail = format!("{} waiting, the oldest for {}", counted(count, "event"), duration(waited));
    Ok(if look.holder.is_some() && waited > STUCK_AFTER_MS {
        Finding::fail(
            format!(
                "{detail}, though {} holds the journal",
                look.holder.as_ref().map_or("somebody", |it| it.role.name())
            ),
            "look into log/server.log; stop the server with `mnemosyne api-server --stop`",
        )
    } else if waited > FORGOTTEN_AFTER_MS {
        Finding::warn(detail, "the next server or reading command takes them in")
    } else {
        Finding::pass(detail)
    })
}

pub(super) fn drain(look: &Look<'_>) -> Fixed {
    let (before, _) = waiting(look)?;
    store::read(&look.dir, look.env)?;
    let (after, _) = waiting(look)?;
    if after > 0 {
        return Err(Error::failed(format!("{} could not be taken in", counted(after, "event"))));
    }
    let mut done =
        vec![format!("had the inbox taken into the journal ({} of others waited)", counted(before, "event"))];
    if inbox::is_full(&look.dir.inbox()) {
        // Who drains takes the mark away with the last file, and where there was none nobody comes to that.
        inbox::clear_full(&look.dir.inbox())?;
        done.push("took away the mark of a full inbox: nothing waits in it".to_owned());
    }
    Ok(done)
}

pub(super) fn inbox_room(look: &Look<'_>) -> Found {
    Ok(if inbox::is_full(&look.dir.inbox()) {
        Finding::fail(
            "the inbox is at its cap: hooks cannot put anything there",
            "have it taken in: start a server, or run any command that reads",
        )
    } else {
        Finding::pass("the inbox takes more")
    })
}

pub(super) fn inbox_failures(look: &Look<'_>) -> Found {
    let failures = failed::read(&look.dir.inbox())?;
    if failures.open() == 0 {
        return Ok(Finding::pass(match failures.count {
            0 => "every event that came was kept".to_owned(),
            count => format!(
                "every event that came was kept since {} were noted that were not",
                counted(count, "event")
            ),
        }));
    }
    Ok(Finding::warn(
        not_kept(&failures, look.now),
        "the reason says what to look for; --fix notes that you know, and only what fails after that is told again",
    ))
}

/// How many could not be kept, and why the last one could not.
fn not_kept(failures: &Failures, now: Timestamp) -> String {
    let ago = failures.last.map_or_else(String::new, |last| format!(" {} ago", age(last, now)));
    format!(
        "{} could not be kept whole, the last one{ago}: {}",
        counted(failures.open(), "event"),
        failures.words()
    )
}

pub(super) fn note_failures(look: &Look<'_>) -> Fixed {
    let open = failed::note(&look.dir.inbox())?;
    Ok(vec![format!("noted that you know: {}", not_kept(&open, look.now))])
}

pub(super) fn inbox_quarantine(look: &Look<'_>) -> Found {
    let kept = names_in(&look.dir.quarantine())?;
    Ok(if kept.is_empty() {
        Finding::pass("every file of the inbox could be read")
    } else {
        Finding::warn(
            format!("{} of the inbox could not be read", first_of(&kept, "file")),
            "they are kept in quarantine/; look at them, and remove them when they are of no use",
        )
    })
}

/// The names in a directory, sorted; none where it is not there.
fn names_in(directory: &Path) -> Result<Vec<String>, Error> {
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(Error::io("list", directory))?,
    };
    let mut names = Vec::new();
    for item in listing {
        let item = item.map_err(Error::io("list", directory))?;
        names.push(item.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_segment_that_was_damaged_at_its_last_look_fails() {
        let seen = |problems: u64| -> BTreeMap<Seq, Seen> {
            let seen =
                serde_json::json!({"looked": 5, "whole": 1, "lost": [], "hurt": [], "problems": problems});
            [(Seq::FIRST, serde_json::from_value(seen).unwrap())].into()
        };
        let now = Timestamp::from_micros(10_000_000);
        assert_eq!(judge_segments(&seen(0), now).unwrap().verdict, Verdict::Pass);
        assert_eq!(judge_segments(&BTreeMap::new(), now).unwrap().verdict, Verdict::Pass);
        let finding = judge_segments(&seen(1), now).unwrap();
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.detail.contains("from seq 1"), "{}", finding.detail);
    }
}
