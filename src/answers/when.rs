//! Moments on the command line: `--since` and `--until`.
//!
//! Three spellings: RFC 3339 (`2026-11-22T10:00:00Z`, any offset), a date (`2026-11-22`: its first moment in UTC, as
//! days are UTC days everywhere here), and how long ago (`90s`, `15m`, `2h`, `3d`, `1w`, or several as in `1h30m`).
//! "Now" is an argument, so that a test can name it.

use crate::error::Error;
use crate::event::{Place, Timestamp};
use crate::projection::pacing::parse_duration;

/// How a moment may be written.
const MOMENTS: &str = "a time like 2026-11-22T10:00:00Z, a date like 2026-11-22, or how long ago, like 90s, 15m, 2h, 3d or 1h30m";

/// The moment that `text` names, seen from `now`.
///
/// # Errors
/// [`Error::Usage`] that names the option and the spellings, when it is none of them.
pub fn parse(option: &str, text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    moment(text, now).ok_or_else(|| Error::usage(format!("{option} takes {MOMENTS}; it got {text:?}")))
}

/// The place that `text` names: digits alone are a seq, anything else a moment, as [`parse`] reads it.
///
/// # Errors
/// As [`parse`], and [`Error::Usage`] for a seq that is too large.
pub fn place(option: &str, text: &str, now: Timestamp) -> Result<Place, Error> {
    if Place::is_seq(text) {
        let seq =
            text.parse().map_err(|_| Error::usage(format!("{option} {text} is no seq: it is too large")))?;
        return Ok(Place::Seq(seq));
    }
    moment(text, now)
        .map(Place::Time)
        .ok_or_else(|| Error::usage(format!("{option} takes a seq like 412, or {MOMENTS}; it got {text:?}")))
}

/// Sees that a range does not end before it begins: it would be empty whatever is on record, so it was not meant.
///
/// # Errors
/// [`Error::Usage`].
pub fn ordered(from: Option<Place>, until: Option<Place>) -> Result<(), Error> {
    let message = match (from, until) {
        (Some(Place::Seq(from)), Some(Place::Seq(until))) if from > until => {
            format!("there is no event from {from} until {until}")
        }
        (Some(Place::Time(from)), Some(Place::Time(until))) if from > until => {
            format!("nothing can have happened since {from} and until {until}")
        }
        _ => return Ok(()),
    };
    Err(Error::usage(message))
}

fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    rfc3339(text).or_else(|| date(text)).or_else(|| ago(text, now))
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).ok()
}

fn date(text: &str) -> Option<Timestamp> {
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(Timestamp::from_micros(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros()))
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    // A bare number has no unit, not even this one.
    let back = parse_duration(text).ok().filter(|_| text != "0")?;
    now.checked_add_micros(i64::try_from(back.as_micros()).ok()?.checked_neg()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn at(text: &str) -> String {
        let now = rfc3339(NOON).unwrap();
        parse("--since", text, now).unwrap().to_string()
    }

    #[test]
    fn every_spelling_names_its_moment() {
        assert_eq!(at("2026-11-22T10:00:00Z"), "2026-11-22T10:00:00.000000Z");
        assert_eq!(at("2026-11-22T10:00:00.5+02:00"), "2026-11-22T08:00:00.500000Z");
        assert_eq!(at("2026-11-20"), "2026-11-20T00:00:00.000000Z");
        assert_eq!(at("90s"), "2026-11-22T11:58:30.000000Z");
        assert_eq!(at("15m"), "2026-11-22T11:45:00.000000Z");
        assert_eq!(at("2h"), "2026-11-22T10:00:00.000000Z");
        assert_eq!(at("1h30m"), "2026-11-22T10:30:00.000000Z");
        assert_eq!(at("3d"), "2026-11-19T12:00:00.000000Z");
        assert_eq!(at("1w"), "2026-11-15T12:00:00.000000Z");
    }

    #[test]
    fn what_names_no_moment_is_a_usage_error_that_says_what_would() {
        let now = rfc3339(NOON).unwrap();
        for text in [
            "",
            "h",
            "0",
            "2",
            "2x",
            "yesterday",
            "-2h",
            "2026-13-01",
            "99999999999999999999h",
            "9223372036854775807w",
        ] {
            let error = parse("--since", text, now).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
            assert!(error.to_string().contains("--since takes a time like"), "{error}");
        }
    }
}
