//! What readers give.

use crate::types::{Micros, Seq};

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
