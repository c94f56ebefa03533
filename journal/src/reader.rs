//! Reading: from any seq to the durable tail, and on when it has moved.

use crate::error::Result;
use crate::types::{Micros, Seq};

/// Reads records in order of seq. Lending: what it gives is valid until the next call.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// The next record or gap; `None` at the durable tail, and it may be called again when that has moved.
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        todo!()
    }

    /// The seq that the next item begins with.
    pub fn position(&self) -> Seq {
        todo!()
    }

    /// Goes on at `seq`, backwards too.
    pub fn seek(&mut self, seq: Seq) {
        let _ = seq;
        todo!()
    }

    /// Goes on at the first record whose `recorded` is at or after `time`; at the durable tail if there is none.
    pub fn seek_time(&mut self, time: Micros) -> Result<Seq> {
        let _ = time;
        todo!()
    }
}

/// What a reader meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A record.
    Record(Record<'a>),
    /// Seqs that cannot be read.
    Gap(Gap),
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place.
    pub seq: Seq,
    /// When the journal took it; never earlier than the one before.
    pub recorded: Micros,
    /// Whether `recorded` is only a lower bound: the header that held it is damaged, so this is the time of the
    /// batch before.
    pub recorded_is_bound: bool,
    /// Its bytes. Of a redacted record: what replaced the original, without the original's digest.
    pub payload: &'a [u8],
    /// Whether the payload replaces one that was redacted.
    pub redacted: bool,
}

/// A range of seqs that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First seq of the range.
    pub from: Seq,
    /// Last seq of the range.
    pub to: Seq,
    /// Why.
    pub reason: GapReason,
}

/// Why seqs cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// Their segments were dropped on purpose.
    Retention,
    /// They were durable once, and their bytes are damaged or missing.
    Corruption,
}

impl GapReason {
    /// A stable `snake_case` name.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Retention => "retention",
            GapReason::Corruption => "corruption",
        }
    }
}
