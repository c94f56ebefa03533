//! Dropping whole oldest segments, and what there is to drop.
//!
//! Which of them go is for the caller to decide; this keeps three promises. Only sealed segments go, so the one that is
//! written to stays. They go oldest first, and each name is off the disk for good before the next is touched: whatever
//! stops this half way, what is left is one unbroken stretch up to the tail. And nobody who reads is disturbed: who has a
//! segment open reads it to its end, and who asks for a dropped seq is told so ([`crate::GapReason::Retention`]).
//!
//! Nothing has to be repaired afterwards. The header of each segment holds the link and the time before it, so the chain
//! of what is left is checked from there.

use crate::catalog::{open_segment, read_footer};
use crate::disk::Access;
use crate::error::{Error, Result};
use crate::format::segment::segment_name;
use crate::journal::Journal;
use crate::types::{Micros, Seq};
use crate::writer::remove_if_there;

/// A segment, as whoever decides about it needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its first seq.
    pub base: Seq,
    /// Its last seq; of the one that is being written, the highest that is durable. Less than `base` if it holds none.
    pub last: Seq,
    /// Its length on the disk, zeros ahead of the writer included.
    pub bytes: u64,
    /// When its last record was taken. `None` if it is not sealed: it is being written, or a crash left it so.
    pub last_recorded: Option<Micros>,
    /// Whether it can be dropped: it is not the last.
    pub droppable: bool,
}

/// What went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The first seq that went.
    pub from: Seq,
    /// The last.
    pub to: Seq,
    /// How many segments.
    pub segments: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl Journal {
    /// The segments, oldest first. Reads the last bytes of each.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let catalog = &self.core().catalog;
        let bases = catalog.bases();
        let mut segments = Vec::with_capacity(bases.len());
        for (index, &base) in bases.iter().enumerate() {
            let next = bases.get(index + 1);
            let (file, name) = open_segment(&*catalog.disk, base, Access::Read)?;
            let bytes = file.size().map_err(|error| Error::io("measure", &name, error))?;
            // The last may be sealed in this moment, and is not to be dropped all the same.
            let footer = if next.is_some() { read_footer(&*file, &name)? } else { None };
            segments.push(SegmentInfo {
                base,
                last: next.map_or_else(|| catalog.durable(), |next| next.prev()),
                bytes,
                last_recorded: footer.map(|footer| footer.last_recorded),
                droppable: next.is_some(),
            });
        }
        Ok(segments)
    }

    /// Drops the oldest segments whose seqs all lie before `seq`; never the last one. `None` if there is none such. When
    /// this returns they are gone for good; if it fails, or the process dies, whole oldest ones may be gone, and calling
    /// again goes on.
    ///
    /// Appending and reading go on meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Closed`] and [`Error::Poisoned`]: a journal that takes nothing drops nothing.
    pub fn drop_before(&self, seq: Seq) -> Result<Option<Dropped>> {
        let core = self.core();
        let _until_done = core.dropping();
        if let Some(error) = core.ended() {
            return Err(error);
        }
        let catalog = &core.catalog;
        let mut dropped: Option<Dropped> = None;
        for pair in catalog.bases().windows(2).take_while(|pair| pair[1] <= seq) {
            let (base, next) = (pair[0], pair[1]);
            let name = segment_name(base);
            let io = |action, error| Error::io(action, &name, error);
            let bytes = match catalog.disk.open(&name, Access::Read) {
                Ok(file) => file.size().map_err(|error| io("measure", error))?,
                // An attempt before this one got so far, and could not flush the directory.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
                Err(error) => return Err(io("open", error)),
            };
            remove_if_there(&*catalog.disk, &name).map_err(|error| io("remove", error))?;
            catalog.disk.sync_dir("").map_err(|error| io("flush the directory of", error))?;
            catalog.drop_base(base);
            let all = dropped.get_or_insert(Dropped { from: base, to: base, segments: 0, bytes: 0 });
            (all.to, all.segments, all.bytes) = (next.prev(), all.segments + 1, all.bytes + bytes);
        }
        Ok(dropped)
    }
}
