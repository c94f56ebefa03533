//! Hours and days, in UTC, and tables of figures by them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Timestamp;

/// One of the equal parts that time is cut into.
pub trait Period: Copy + Ord {
    /// The one that holds `time`.
    fn of(time: Timestamp) -> Self;
    /// Its first moment.
    fn start(self) -> Timestamp;
}

macro_rules! period {
    ($(#[$meta:meta])* $name:ident, $micros:expr, $text:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl Period for $name {
            fn of(time: Timestamp) -> Self {
                $name(time.as_micros().div_euclid($micros))
            }

            fn start(self) -> Timestamp {
                Timestamp::from_micros(self.0.saturating_mul($micros))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = self.start().to_string();
                f.pad(text.split_once($text).map_or(text.as_str(), |(before, _)| before))
            }
        }

        /// Text for people and for keys of JSON, a number in the state's bytes.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_i64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                if !deserializer.is_human_readable() {
                    return i64::deserialize(deserializer).map($name);
                }
                let text = String::deserialize(deserializer)?;
                let rest = &"T00:00:00Z"[text.split_once('T').map_or(0, |_| 3)..];
                let time = Timestamp::parse(&format!("{text}{rest}")).map_err(serde::de::Error::custom)?;
                Ok($name::of(time))
            }
        }
    };
}

period! {
    /// A day of UTC: `2026-11-22`.
    UtcDay, 86_400_000_000, "T"
}
period! {
    /// An hour of UTC: `2026-11-22T14`.
    UtcHour, 3_600_000_000, ":"
}

/// Figures that add up.
pub trait Merge: Default {
    /// Adds those of another in.
    fn merge(&mut self, other: Self);
    /// Whether nothing is counted.
    fn is_empty(&self) -> bool;
}

/// Figures of the latest `MAX` periods that have any; those of earlier ones are added up. Which ones are kept apart
/// does not depend on the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "P: Ord + Serialize, V: Serialize",
    deserialize = "P: Ord + Deserialize<'de>, V: Deserialize<'de>"
))]
pub struct Periods<P, V, const MAX: usize> {
    /// The figures of each.
    pub kept: BTreeMap<P, V>,
    /// Those of all earlier ones together.
    pub older: V,
    /// The latest that was added to `older`.
    pub older_until: Option<P>,
}

impl<P: Ord, V: Default, const MAX: usize> Default for Periods<P, V, MAX> {
    fn default() -> Self {
        Periods { kept: BTreeMap::new(), older: V::default(), older_until: None }
    }
}

impl<P: Period, V: Merge, const MAX: usize> Periods<P, V, MAX> {
    /// Changes the figures of a period, or of the earlier ones if it is among them.
    pub fn change(&mut self, period: P, change: impl FnOnce(&mut V)) {
        if self.older_until.is_some_and(|until| period <= until) {
            change(&mut self.older);
            return;
        }
        let figures = self.kept.entry(period).or_default();
        change(figures);
        if figures.is_empty() {
            self.kept.remove(&period);
        }
        while self.kept.len() > MAX {
            let Some((period, figures)) = self.kept.pop_first() else { break };
            self.older.merge(figures);
            self.older_until = Some(period);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Merge for u64 {
        fn merge(&mut self, other: u64) {
            *self += other;
        }
        fn is_empty(&self) -> bool {
            *self == 0
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_moment_is_in_one_day_and_one_hour_before_the_epoch_too() {
        let late = at("2026-11-22T23:59:59.999999Z");
        assert_eq!(UtcDay::of(late).to_string(), "2026-11-22");
        assert_eq!(UtcHour::of(late).to_string(), "2026-11-22T23");
        assert_eq!(UtcDay::of(at("1969-12-31T23:00:00Z")).to_string(), "1969-12-31");
        assert_eq!(UtcHour::of(late).start(), at("2026-11-22T23:00:00Z"));
        for edge in [i64::MIN, i64::MAX] {
            assert!(!UtcDay::of(Timestamp::from_micros(edge)).to_string().is_empty());
        }
    }

    #[test]
    fn a_period_is_text_in_json_and_a_number_in_a_snapshot() {
        let (day, hour) = (UtcDay::of(at("2026-11-22T14:00:00Z")), UtcHour::of(at("2026-11-22T14:00:00Z")));
        assert_eq!(serde_json::to_string(&(day, hour)).unwrap(), r#"["2026-11-22","2026-11-22T14"]"#);
        let back: (UtcDay, UtcHour) = serde_json::from_str(r#"["2026-11-22","2026-11-22T14"]"#).unwrap();
        assert_eq!(back, (day, hour));
        let bytes = postcard::to_stdvec(&(day, hour)).unwrap();
        assert_eq!(postcard::from_bytes::<(UtcDay, UtcHour)>(&bytes).unwrap(), (day, hour));
    }

    #[test]
    fn the_latest_periods_stay_apart_whatever_the_order() {
        let days = ["2026-01-05", "2026-01-01", "2026-01-09", "2026-01-03", "2026-01-07"];
        let table = |order: &[&str]| {
            let mut table = Periods::<UtcDay, u64, 3>::default();
            for day in order {
                table.change(UtcDay::of(at(&format!("{day}T10:00:00Z"))), |n| *n += 1);
            }
            table
        };
        let forward = table(&days);
        let mut backward = days;
        backward.reverse();
        assert_eq!(forward.kept, table(&backward).kept);
        assert_eq!((forward.kept.len(), forward.older), (3, 2));
        assert_eq!(forward.older_until.unwrap().to_string(), "2026-01-03");
    }
}
