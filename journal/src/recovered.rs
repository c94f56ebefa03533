//! What an opening found, for the person who asks what became of their records.

use crate::error::Error;
use crate::types::Seq;

/// What an opening found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// There was no journal: a new one was made.
    pub created: bool,
    /// The journal had been closed in order; nothing but its last frame was read.
    pub clean: bool,
    /// Records after the last proof of durability that were found whole and carried over into a new segment.
    pub carried: u64,
    /// An unfinished end, as a crash leaves it.
    pub torn: Option<TornTail>,
    /// Damage below the proven durable point, as far as this opening looked: only the last segment is scanned.
    pub damage: Vec<Damage>,
    /// Why the segment before the last could not be cut and sealed; the next opening tries again, and readers do
    /// without.
    pub unsealed: Option<Error>,
    /// The highest seq that was found durable or has been made so; [`Seq::ZERO`] if none.
    pub durable: Seq,
}

/// An unfinished end: normal after a crash, and nothing that was acknowledged at level `disk` is in it, with the one
/// exception that `docs/format.md` names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The segment file.
    pub segment: String,
    /// Where in it the unfinished bytes begin.
    pub offset: u64,
    /// How many bytes there are, without the zeros after the last of them.
    pub bytes: u64,
    /// The first seq that is not there.
    pub first: Seq,
    /// The file that keeps the bytes; `None` when opened read-only.
    pub quarantine: Option<String>,
}

/// A range of seqs that were durable once and cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// First seq of the range.
    pub from: Seq,
    /// Last seq of the range.
    pub to: Seq,
    /// The segment file.
    pub segment: String,
    /// Where in it the damage begins.
    pub offset: u64,
    /// How many bytes it covers.
    pub bytes: u64,
    /// The file that keeps a copy of the bytes; `None` when opened read-only.
    pub quarantine: Option<String>,
}
