//! Durations as people write them, on command lines, in requests and in the configuration.

use std::time::Duration;

/// Why a speed or a duration was not understood; its text says what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {wanted}")]
pub struct ParseError {
    given: String,
    wanted: &'static str,
}

impl ParseError {
    /// `given` is not `wanted`.
    pub(crate) fn new(given: &str, wanted: &'static str) -> ParseError {
        ParseError { given: given.to_owned(), wanted }
    }
}

/// Reads a duration as people write it: `250ms`, `2s`, `1.5s`, `1m30s`, `2h`, `1d`, `1w`, or `0`. A number needs its
/// unit; the parts of a compound one stand from the largest unit to the smallest.
pub fn parse_duration(text: &str) -> Result<Duration, ParseError> {
    let refuse = || {
        ParseError::new(text, "a duration such as 250ms, 2s, 1m30s, 2h or 1d (units: us, ms, s, m, h, d, w)")
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut micros, mut unit_before) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (name, next) = after.split_at(letters);
        let unit = unit_micros(name).filter(|unit| *unit < unit_before).ok_or_else(refuse)?;
        let part = decimal(number, 6).and_then(|millionths| millionths.checked_mul(u128::from(unit)));
        let part = part.and_then(|p| u64::try_from(p / 1_000_000).ok()).ok_or_else(refuse)?;
        micros = micros.checked_add(part).ok_or_else(refuse)?;
        (rest, unit_before) = (next, unit);
    }
    if text.is_empty() { Err(refuse()) } else { Ok(Duration::from_micros(micros)) }
}

fn unit_micros(name: &str) -> Option<u64> {
    Some(match name {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        "w" => 7 * 86_400_000_000,
        _ => return None,
    })
}

/// A decimal number of at most `places` decimals, times 10^places. No sign, no exponent, no float.
pub(crate) fn decimal(text: &str, places: usize) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 18 || fraction.len() > places {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}
