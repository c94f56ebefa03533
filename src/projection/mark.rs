//! Where an event stands in time, and registers that keep the latest or earliest word on something.
//!
//! Both registers give the same value whatever the order in which events arrive, as long as the events are the
//! same: that is what makes a late import tell the same truth as a live recording.

use serde::{Deserialize, Serialize};

use crate::event::{Seq, StoredEvent, Timestamp};

/// The place of an event in the order of what happened: its time, then its seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    micros: i64,
    seq: u64,
}

impl Mark {
    /// The mark of an event.
    pub fn of(stored: &StoredEvent) -> Mark {
        Mark { micros: stored.event.time.as_micros(), seq: stored.seq.get() }
    }

    /// When it happened, by the emitter's clock.
    pub fn time(self) -> Timestamp {
        Timestamp::from_micros(self.micros)
    }

    /// Its place in the journal.
    pub fn seq(self) -> Seq {
        Seq::new(self.seq)
    }

    /// Whole milliseconds from `earlier` to here; none where clocks disagree about the order.
    pub fn millis_since(self, earlier: Mark) -> u64 {
        let micros = i128::from(self.micros) - i128::from(earlier.micros);
        u64::try_from(micros / 1_000).unwrap_or(0)
    }
}

/// A value and the event that said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest<T> {
    /// The event that said it.
    pub mark: Mark,
    /// What it said.
    pub value: T,
}

impl<T> Latest<T> {
    /// Keeps what was said last.
    pub fn set(register: &mut Option<Latest<T>>, mark: Mark, value: T) {
        if register.as_ref().is_none_or(|held| held.mark < mark) {
            *register = Some(Latest { mark, value });
        }
    }

    /// Keeps what was said first.
    pub fn set_first(register: &mut Option<Latest<T>>, mark: Mark, value: impl FnOnce() -> T) {
        if register.as_ref().is_none_or(|held| mark < held.mark) {
            *register = Some(Latest { mark, value: value() });
        }
    }
}

/// Moves `mark` to the later of the two.
pub(crate) fn keep_later(held: &mut Option<Mark>, mark: Mark) {
    *held = Some(held.map_or(mark, |h| h.max(mark)));
}

/// Moves `mark` to the earlier of the two.
pub(crate) fn keep_earlier(held: &mut Option<Mark>, mark: Mark) {
    *held = Some(held.map_or(mark, |h| h.min(mark)));
}
