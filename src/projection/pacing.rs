//! When each event of a replay is due: a pure scheduler. Nobody sleeps here.
//!
//! A replay shows the events of a session by (time, seq). Imported lines arrive late and clocks jump, so
//! neighbours may stand in any order of time; spacing is `max(0, delta of time) / speed`, at most `max_gap`. A
//! schedule is a function of the events and the parameters alone: integers only, so that the terminal and the
//! server's replay stream agree to the microsecond, on any machine.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::config::duration::decimal;
pub use crate::config::duration::{ParseError, parse_duration};
use crate::event::{Seq, Timestamp};

/// The longest pause between two events unless the user asks for another.
pub const MAX_GAP_DEFAULT: Duration = Duration::from_secs(2);

/// How much faster than life a replay runs: 0.1 and up in thousandths, or without any pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed(Option<u32>);

impl Speed {
    /// As it happened.
    pub const ORIGINAL: Speed = Speed(Some(1_000));
    /// No pause at all.
    pub const MAX: Speed = Speed(None);
    const THOUSANDTHS_MIN: u32 = 100;
    /// The speeds that [`Speed::faster`] and [`Speed::slower`] go by, in thousandths; after the last comes no pause at all.
    const LADDER: [u32; 10] = [100, 250, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000];

    /// The next speed above this one.
    #[must_use]
    pub fn faster(self) -> Speed {
        Speed(Speed::LADDER.into_iter().find(|step| self.0.is_some_and(|n| *step > n)))
    }

    /// The next speed below this one; the slowest stays.
    #[must_use]
    pub fn slower(self) -> Speed {
        let below = Speed::LADDER.into_iter().rev().find(|step| self.0.is_none_or(|n| *step < n));
        Speed(Some(below.unwrap_or(Speed::THOUSANDTHS_MIN)))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("max"),
            Some(n) if n % 1_000 == 0 => write!(f, "{}", n / 1_000),
            Some(n) => {
                let fraction = format!("{:03}", n % 1_000);
                write!(f, "{}.{}", n / 1_000, fraction.trim_end_matches('0'))
            }
        }
    }
}

impl FromStr for Speed {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Speed, ParseError> {
        let refuse = || {
            ParseError::new(
                text,
                "a speed: a number from 0.1 to 1000000, with at most three decimals, or max",
            )
        };
        if text == "max" {
            return Ok(Speed::MAX);
        }
        let thousandths = decimal(text, 3).ok_or_else(refuse)?;
        match u32::try_from(thousandths) {
            Ok(n @ Self::THOUSANDTHS_MIN..=1_000_000_000) => Ok(Speed(Some(n))),
            _ => Err(refuse()),
        }
    }
}

/// The spacing rule of one replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// How many times faster than it happened.
    pub speed: Speed,
    /// No pause is longer than this, after the speed is applied.
    pub max_gap: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Pacing { speed: Speed::ORIGINAL, max_gap: MAX_GAP_DEFAULT }
    }
}

impl Pacing {
    /// The pause between an event of time `before` and the next one of time `after`.
    pub fn delay(self, before: Timestamp, after: Timestamp) -> Duration {
        let Speed(Some(thousandths)) = self.speed else { return Duration::ZERO };
        let delta = i128::from(after.as_micros()) - i128::from(before.as_micros());
        let micros = u128::try_from(delta).unwrap_or(0) * 1_000 / u128::from(thousandths);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).min(self.max_gap)
    }
}

/// One event of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The event that is due.
    pub seq: Seq,
    /// The pause before it.
    pub delay: Duration,
    /// The sum of all pauses up to it: where it stands in the replay.
    pub at: Duration,
}

/// The schedule of events given in the order in which they are shown. The first is due at once.
pub fn schedule(
    pacing: Pacing,
    events: impl IntoIterator<Item = (Timestamp, Seq)>,
) -> impl Iterator<Item = Step> {
    let mut before = None;
    let mut at = Duration::ZERO;
    events.into_iter().map(move |(time, seq)| {
        let delay = before.replace(time).map_or(Duration::ZERO, |before| pacing.delay(before, time));
        at = at.saturating_add(delay);
        Step { seq, delay, at }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn delays(pacing: Pacing, times: &[i64]) -> Vec<u128> {
        let events = times.iter().zip(1_u64..).map(|(time, seq)| (at(*time), Seq::new(seq)));
        schedule(pacing, events).map(|step| step.delay.as_micros()).collect()
    }

    #[test]
    fn spacing_follows_time_divided_by_speed_and_capped() {
        let times = [0, 100_000, 100_000, 50_000, 10_000_000];
        let original = Pacing::default();
        assert_eq!(delays(original, &times), [0, 100_000, 0, 0, 2_000_000]);
        let double = Pacing { speed: "2".parse().unwrap(), ..original };
        assert_eq!(delays(double, &times), [0, 50_000, 0, 0, 2_000_000]);
        let slow = Pacing { speed: "0.1".parse().unwrap(), max_gap: Duration::from_hours(1) };
        assert_eq!(delays(slow, &times), [0, 1_000_000, 0, 0, 99_500_000]);
        let max = Pacing { speed: Speed::MAX, ..original };
        assert_eq!(delays(max, &times), [0; 5]);
    }

    #[test]
    fn clocks_at_both_ends_of_time_do_not_overflow() {
        let pacing = Pacing { speed: "0.1".parse().unwrap(), max_gap: Duration::MAX };
        assert_eq!(pacing.delay(at(i64::MAX), at(i64::MIN)), Duration::ZERO);
        assert_eq!(pacing.delay(at(i64::MIN), at(i64::MAX)), Duration::from_micros(u64::MAX));
    }

    #[test]
    fn a_step_knows_where_it_stands_in_the_replay() {
        let events = [(at(0), Seq::new(4)), (at(7), Seq::new(2)), (at(9), Seq::new(9))];
        let steps: Vec<_> = schedule(Pacing::default(), events).collect();
        assert_eq!(steps.iter().map(|s| s.seq.get()).collect::<Vec<_>>(), [4, 2, 9]);
        assert_eq!(steps[2].at, Duration::from_micros(9));
    }

    #[test]
    fn speeds_read_and_print() {
        for text in ["0.1", "1", "2.5", "100", "max", "0.125"] {
            assert_eq!(text.parse::<Speed>().unwrap().to_string(), text);
        }
        for text in
            ["", "0", "0.05", "-1", "1e3", "NaN", "inf", "1x", ".5", "2.", "1.2345", "99999999999999999999"]
        {
            assert!(text.parse::<Speed>().is_err(), "{text} was taken for a speed");
        }
    }

    #[test]
    fn speeds_go_up_to_no_pause_and_down_to_the_slowest() {
        let mut speed: Speed = "0.1".parse().unwrap();
        assert_eq!(speed.slower(), speed);
        let mut up = vec![speed.to_string()];
        while speed != Speed::MAX {
            speed = speed.faster();
            up.push(speed.to_string());
        }
        assert_eq!(up, ["0.1", "0.25", "0.5", "1", "2", "5", "10", "25", "50", "100", "max"]);
        assert_eq!((Speed::MAX.faster(), Speed::MAX.slower().to_string().as_str()), (Speed::MAX, "100"));
        assert_eq!("3".parse::<Speed>().unwrap().faster().to_string(), "5");
        assert_eq!("3".parse::<Speed>().unwrap().slower().to_string(), "2");
    }

    #[test]
    fn durations_read_as_people_write_them() {
        let ok = [
            ("0", 0),
            ("250ms", 250_000),
            ("2s", 2_000_000),
            ("1.5s", 1_500_000),
            ("1m30s", 90_000_000),
            ("2h", 7_200_000_000),
            ("1d", 86_400_000_000),
            ("1w2d", 777_600_000_000),
            ("3min", 180_000_000),
            ("7us", 7),
        ];
        for (text, micros) in ok {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in [
            "",
            "2",
            "s",
            "2 s",
            "-2s",
            "30s1m",
            "2s2s",
            "1y",
            "1..5s",
            "99999999999999999999d",
            "2é",
            "1e9s",
        ] {
            assert!(parse_duration(text).is_err(), "{text} was taken for a duration");
        }
    }
}
