//! Whether a journal is whole, without changing it: what `doctor` asks.
//!
//! The quick look does what an opening does: the last segment is judged, the others are believed. The whole one reads every
//! byte and believes nothing. Both may run beside a writer: it is only what is proven durable that can be damaged.

use std::sync::Arc;

use mnemosyne_journal as journal;

use crate::config::DataDir;
use crate::error::{Error, Result};
use crate::event::Seq;
use crate::store::lock::holder;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// The last seq that was found durable; zero where there is none.
    pub durable: Seq,
    /// Segments that were read whole.
    pub segments_read: u64,
    /// Damage, as sentences.
    pub damage: Vec<String>,
    /// What a crash leaves in good order and the next opening for writing clears up.
    pub notes: Vec<String>,
}

/// The quick look. `None` where nothing was recorded yet.
///
/// # Errors
/// When the journal cannot be read at all, or is of a newer format.
pub fn quick(dir: &DataDir) -> Result<Option<Checked>> {
    let disk = Arc::new(journal::RealDisk::new(dir.journal()));
    let writer = match holder(dir) {
        Some(_) => journal::Writer::Alive { boot: journal::boot_hash() },
        None => journal::Writer::Absent,
    };
    let (view, recovery) = match journal::View::open(disk, writer) {
        Err(journal::Error::NoJournal) => return Ok(None),
        opened => opened?,
    };
    let torn = recovery
        .torn
        .iter()
        .map(|torn| format!("an unfinished write of {} bytes at the end of {}", torn.bytes, torn.segment));
    let damage = recovery
        .damage
        .iter()
        .map(|damage| format!("seq {} to {} in {} cannot be read", damage.from, damage.to, damage.segment));
    Ok(Some(Checked {
        durable: Seq::new(view.durable().get()),
        segments_read: 1,
        damage: damage.collect(),
        notes: torn.collect(),
    }))
}

/// Reads everything. `None` where nothing was recorded yet.
///
/// # Errors
/// As [`quick`].
pub fn whole(dir: &DataDir) -> Result<Option<Checked>> {
    let verified = match journal::verify::verify(&journal::RealDisk::new(dir.journal()).without_maps()) {
        Err(journal::Error::NoJournal) => return Ok(None),
        verified => verified.map_err(Error::from)?,
    };
    let words = |problem: &journal::verify::Problem| {
        format!("{} in {} at {}", problem.what, problem.segment, problem.bytes.start)
    };
    Ok(Some(Checked {
        durable: Seq::new(verified.proven.get()),
        segments_read: verified.segments,
        damage: verified.problems.iter().map(words).collect(),
        notes: verified.notes.iter().map(words).collect(),
    }))
}
