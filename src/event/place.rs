//! A place in the journal as a person names it, and a range between two.

use super::{Seq, Timestamp};

/// A place in the journal: which of its times is meant, the event's own or that of the journal, is for the reader to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By its number.
    Seq(Seq),
    /// By a moment.
    Time(Timestamp),
}

impl Place {
    /// Whether text names a seq rather than a time: digits alone.
    pub fn is_seq(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// From one place to another, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Where it begins; at the first event without one.
    pub from: Option<Place>,
    /// Where it ends; never without one.
    pub until: Option<Place>,
}

impl Range {
    /// Whether what stands at `seq` and is of `time` lies in it.
    pub fn holds(self, seq: Seq, time: Timestamp) -> bool {
        let begun = match self.from {
            Some(Place::Seq(first)) => seq >= first,
            Some(Place::Time(first)) => time >= first,
            None => true,
        };
        begun && !self.is_over(seq, time)
    }

    /// Whether what stands at `seq` and is of `time` lies behind its end.
    pub fn is_over(self, seq: Seq, time: Timestamp) -> bool {
        match self.until {
            Some(Place::Seq(last)) => seq > last,
            Some(Place::Time(last)) => time > last,
            None => false,
        }
    }
}
