//! Whether a journal is whole, without changing it: what `doctor` asks.
//!
//! The quick look reads the last segment, as far as it is durable, and believes of the others that they are as they were sealed.
//! The whole one reads every byte and believes nothing. Both may run beside a writer: it is only what is proven durable that can
//! be damaged.

use std::sync::Arc;

use mnemosyne_journal as journal;

use crate::config::DataDir;
use crate::error::{Error, Result};
use crate::event::Seq;
use crate::store::lock::holder;
use crate::store::log::JournalId;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Which journal it is.
    pub journal: JournalId,
    /// The last seq that was found durable; zero where there is none.
    pub durable: Seq,
    /// Segments that were read whole.
    pub segments_read: u64,
    /// Segments that there are.
    pub segments: u64,
    /// Damage, as sentences.
    pub damage: Vec<String>,
    /// What of it cannot be read.
    pub lost: Vec<Lost>,
    /// What a crash leaves in good order.
    pub notes: Vec<String>,
}

/// A range that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The first seq.
    pub from: Seq,
    /// The last.
    pub to: Seq,
    /// The segment that should hold it.
    pub segment: String,
    /// What is wrong there.
    pub what: String,
}

/// The quick look. `None` where nothing was recorded yet.
///
/// # Errors
/// When the journal cannot be read at all, or is of a newer format.
pub fn quick(dir: &DataDir) -> Result<Option<Checked>> {
    let disk = Arc::new(unmapped(dir));
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
    let segments = bases(dir)?.len() as u64;
    let last = journal::verify::verify_holding(&unmapped(dir), journal::Seq::MAX, view.durable())?;
    let problems = last.map(|checked| checked.problems).unwrap_or_default();
    Ok(Some(Checked {
        journal: view.id(),
        durable: Seq::new(view.durable().get()),
        segments_read: 1,
        segments,
        damage: problems.iter().map(words).collect(),
        lost: lost(&problems),
        notes: torn.collect(),
    }))
}

/// Reads everything. `None` where nothing was recorded yet.
///
/// # Errors
/// As [`quick`].
pub fn whole(dir: &DataDir) -> Result<Option<Checked>> {
    let verified = match journal::verify::verify(&unmapped(dir)) {
        Err(journal::Error::NoJournal) => return Ok(None),
        verified => verified.map_err(Error::from)?,
    };
    Ok(Some(Checked {
        journal: verified.journal,
        durable: Seq::new(verified.proven.get()),
        segments_read: verified.segments,
        segments: verified.segments,
        damage: verified.problems.iter().map(words).collect(),
        lost: lost(&verified.problems),
        notes: verified.notes.iter().map(words).collect(),
    }))
}

/// The first seqs of the segments there are, oldest first. Reads nothing but names.
///
/// # Errors
/// [`Error::NoJournal`]; when the directory cannot be listed.
pub(super) fn bases(dir: &DataDir) -> Result<Vec<Seq>> {
    let survey = journal::inspect::Survey::open(Arc::new(unmapped(dir)))?;
    Ok(survey.bases().iter().map(|base| Seq::new(base.get())).collect())
}

/// What is lost of the segment that holds `seq`; all up to `durable` is known to be durable.
///
/// # Errors
/// When the segment cannot be read.
pub(super) fn lost_beside(dir: &DataDir, seq: Seq, durable: Seq) -> Result<Vec<Lost>> {
    let (seq, durable) = (journal::Seq::new(seq.get()), journal::Seq::new(durable.get()));
    let checked = journal::verify::verify_holding(&unmapped(dir), seq, durable)?;
    Ok(checked.map(|checked| lost(&checked.problems)).unwrap_or_default())
}

/// Without maps: what the disk cannot read, or somebody has cut off, is an error or damage then, and no signal.
pub(super) fn unmapped(dir: &DataDir) -> journal::RealDisk {
    journal::RealDisk::new(dir.journal()).without_maps()
}

fn words(problem: &journal::verify::Problem) -> String {
    format!("{} in {} at {}", problem.what, problem.segment, problem.bytes.start)
}

fn lost(problems: &[journal::verify::Problem]) -> Vec<Lost> {
    let lost = |problem: &journal::verify::Problem| {
        let (from, to) = problem.lost?;
        let (segment, what) = (problem.segment.clone(), problem.what.clone());
        Some(Lost { from: Seq::new(from.get()), to: Seq::new(to.get()), segment, what })
    };
    problems.iter().filter_map(lost).collect()
}
