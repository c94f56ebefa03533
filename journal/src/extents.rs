//! What a copy of a journal consists of, while somebody writes it.
//!
//! Sealed segments never change, and of the one that is being written the bytes below the durable tail never do. So a
//! journal at one moment is a list of files with a length each, and whoever copies those bytes, at any speed, has a journal
//! that ended there. It ends without a proof, as after a crash: damage of its last batch would look like a write that was not finished. All of
//! it was durable, so the copy can say so: [`prove_copy`].

use crate::catalog::{list_bases, open_segment, refusal};
use crate::disk::{Access, Disk, write_full};
use crate::error::{Error, Result};
use crate::format::batch::BatchHeader;
use crate::format::segment::segment_name;
use crate::judging::read_judged;
use crate::opening::{Before, Ending, read_ending};
use crate::recovery::Surroundings;
use crate::types::{JournalId, Seq};
use crate::view::{View, Writer};

/// A file, and how much of it belongs to the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its name in the journal's directory.
    pub name: String,
    /// The first seq in it.
    pub base: Seq,
    /// How many of its bytes, from the first.
    pub bytes: u64,
}

/// Puts a proof frame behind the last batch of a copy of what [`View::extents`] named, in `disk`, which nobody else writes, and flushes it: from
/// then on the copy ends as after a clean stop. How many bytes that took; none where it ends so already, and none where it does not end with
/// a whole batch, which stays as it is to be told.
///
/// # Errors
/// When the last segment cannot be read or written.
pub fn prove_copy(disk: &dyn Disk, journal: JournalId) -> Result<u64> {
    let bases = list_bases(disk)?;
    let Some((&base, before)) = bases.split_last() else { return Err(Error::NoJournal) };
    if !matches!(read_ending(disk, base)?, Ending::Crashed) {
        return Ok(0);
    }
    let (file, name) = open_segment(disk, base, Access::Write)?;
    let previous = Before::read(disk, before)?.link;
    let around = Surroundings { base, journal: Some(journal), previous, footer: None, proven: None };
    let Ok(judged) = read_judged(&*file, &name, around)? else { return Ok(0) };
    let Some((at, last)) = judged.verdict.unproven.last() else { return Ok(0) };
    let end = (at + last.frame_bytes()) as u64;
    if file.size().map_err(|error| Error::io("measure", &name, error))? != end {
        return Ok(0);
    }
    let next = last.last().next();
    let proof =
        BatchHeader { first: next, count: 0, body_bytes: 0, durable: next.prev(), ..*last }.encode(end);
    write_full(&*file, &proof, end).map_err(|error| Error::io("write to", &name, error))?;
    file.sync_data().map_err(|error| Error::io("flush", &name, error))?;
    Ok(proof.len() as u64)
}

impl View {
    /// The journal as it is durable now, as files and lengths, oldest first. Retention may drop the first of them at any
    /// moment.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn extents(&self, writer: Writer) -> Result<Vec<Extent>> {
        let disk = &*self.catalog.disk;
        // Before the names: a segment that was begun later is then listed, and left out.
        let told = self.told(writer);
        let mut bases = list_bases(disk)?;
        let mut end = None;
        if let Some(tail) = told
            && bases.contains(&tail.segment)
        {
            bases.retain(|base| *base <= tail.segment);
            end = Some(tail.offset);
        }
        let Some((&last, before)) = bases.split_last() else { return Err(Error::NoJournal) };
        let end = match end {
            Some(end) => end,
            None => self.whole_end(last, before)?,
        };
        let mut extents = Vec::with_capacity(bases.len());
        for &base in before {
            let (file, name) = match open_segment(disk, base, Access::Read) {
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let bytes = file.size().map_err(|error| Error::io("measure", &name, error))?;
            extents.push(Extent { name, base, bytes });
        }
        extents.push(Extent { name: segment_name(last), base: last, bytes: end });
        Ok(extents)
    }

    /// Where the last segment ends when nobody lives to say so: behind its last whole frame, which is flushed first.
    fn whole_end(&self, base: Seq, before: &[Seq]) -> Result<u64> {
        let disk = &*self.catalog.disk;
        let (file, name) = open_segment(disk, base, Access::Read)?;
        match read_ending(disk, base)? {
            Ending::Clean(end) => return Ok(end.offset),
            Ending::Sealed(_) => return file.size().map_err(|error| Error::io("measure", &name, error)),
            Ending::Crashed => {}
        }
        file.sync_data().map_err(|error| Error::io("flush", &name, error))?;
        let told = Before::read(disk, before)?;
        let journal = Some(self.catalog.journal);
        let around = Surroundings { base, journal, previous: told.link, footer: None, proven: None };
        let judged = read_judged(&*file, &name, around)?.map_err(|fault| {
            let damaged = || Error::io("understand", &name, std::io::ErrorKind::InvalidData.into());
            refusal(fault, &name).unwrap_or_else(damaged)
        })?;
        let verdict = judged.verdict;
        let unproven = verdict.unproven.last().map(|(at, frame)| at + frame.frame_bytes());
        Ok(unproven.unwrap_or(verdict.proven_end) as u64)
    }
}
