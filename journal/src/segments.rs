//! Open segments, shared by all readers of a journal.
//!
//! Opening a segment costs a dozen system calls, and a fresh map costs a page fault for each page that is touched; a
//! reader that jumps about would pay for both at every jump. So the last [`OPEN_SEGMENTS_MAX`] that were used stay open:
//! a sealed one as a map, with no descriptor, any other as a descriptor. Each carries the index of where its frames
//! begin, so what one reader has found out serves all. The index dies with the open file, so it cannot describe another
//! file of the same name.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use crate::catalog::{open_segment, read_all, read_footer, refusal};
use crate::disk::{Access, Disk, DiskFile, Map, read_full};
use crate::error::{Error, Result};
use crate::format::{
    ALIGN, BATCH_HEADER_BYTES, BatchHeader, Key, SEGMENT_HEADER_BYTES, SegmentHeader, is_zero,
};
use crate::index::{Place, SegmentIndex};
use crate::locate::{first_header, last_before};
use crate::scan::Identity;
use crate::types::{JournalId, Micros, Seq};

/// How many segments of a journal are kept open: 4 GiB of address space when they have the usual size.
const OPEN_SEGMENTS_MAX: usize = 64;

/// How much of a segment that is not mapped a search reads at one place: little, and much more if no frame begins in it.
const LOOK_BYTES: usize = 4 * 1024;
/// What a look counts for at least.
const LOOK_BYTES_MIN: u64 = 1024;
const LOOK_BYTES_MAX: usize = 128 * 1024;

/// A segment that is open for reading.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) base: Seq,
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) key: Key,
    /// No record in it is earlier. [`Micros::MIN`] if its header is damaged.
    pub(crate) created: Micros,
    pub(crate) content: Content,
    pub(crate) index: SegmentIndex,
}

/// What a search found.
pub(crate) enum Searched {
    /// A frame, from which to walk on.
    Found(Place),
    /// Nothing nearer than where it began.
    Nothing,
    /// It did not search: so many went this way that walking serves better those who come.
    WalkInstead,
}

/// How its bytes are read.
#[derive(Debug)]
pub(crate) enum Content {
    /// Sealed: through a map.
    Map(Map),
    /// Still written to, or not sealed in order: by calls.
    File(Arc<dyn DiskFile>),
}

impl OpenSegment {
    /// `None` if it is not there, or nothing in it can be made out.
    fn open(disk: &dyn Disk, journal: JournalId, base: Seq) -> Result<Option<OpenSegment>> {
        let (file, name) = match open_segment(disk, base, Access::Read) {
            Ok(opened) => opened,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let sealed = read_footer(&*file, &name)?.is_some();
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let got = read_full(&*file, &mut header, 0).map_err(|error| Error::io("read", &name, error))?;
        let (identity, created) = match SegmentHeader::decode(&header[..got]) {
            Ok(header) if header.journal != journal => {
                return Err(Error::OtherJournal { file: name, expected: journal, found: header.journal });
            }
            Ok(header) => (Some(Identity::of(&header)), header.created),
            Err(fault) => match refusal(fault, &name) {
                Some(error) => return Err(error),
                None => (Identity::find(&read_all(&*file, &name)?, Some(journal)), Micros::MIN),
            },
        };
        let map = if sealed { file.map() } else { None };
        let content = map.map_or(Content::File(file), Content::Map);
        let index = SegmentIndex::default();
        Ok(identity.map(|identity| OpenSegment {
            base,
            name,
            identity,
            key: identity.key(),
            created,
            content,
            index,
        }))
    }
}

impl OpenSegment {
    /// The last frame that begins at `start` or behind and of which `is_before` says so, or one before it, in O(log n).
    pub(crate) fn search(&self, start: u64, is_before: impl Fn(&BatchHeader) -> bool) -> Result<Searched> {
        let error = |error| Error::io("read", &self.name, error);
        let end = match &self.content {
            Content::Map(map) => map.len() as u64,
            Content::File(file) => file.size().map_err(error)?,
        };
        if !self.index.may_halve(end) {
            return Ok(Searched::WalkInstead);
        }
        let (mut buffer, mut looked) = (Vec::new(), 0);
        let found = last_before((start, end), is_before, |from, to| {
            let found = match &self.content {
                Content::Map(map) => self.first_in_map(map, from, to),
                Content::File(file) => self.first_in_file(&**file, &mut buffer, from, to)?,
            };
            // However near: it is a cache line or a call that nobody had asked for.
            looked += found.as_ref().map_or(to, |(at, _)| *at).saturating_sub(from).max(LOOK_BYTES_MIN);
            Ok(found)
        });
        self.index.note_search(looked);
        Ok(found.map_err(error)?.map_or(Searched::Nothing, |(offset, header)| {
            Searched::Found(Place { seq: header.first, offset, recorded: header.recorded })
        }))
    }

    fn first_in_map(&self, map: &Map, from: u64, to: u64) -> Option<(u64, BatchHeader)> {
        let range = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
        first_header(map, 0, self.identity, range).map(|(at, header)| (at as u64, header))
    }

    /// Ends early where there is nothing but zeros: so looks a file that is filled ahead behind its last frame.
    fn first_in_file(
        &self,
        file: &dyn DiskFile,
        buffer: &mut Vec<u8>,
        from: u64,
        to: u64,
    ) -> std::io::Result<Option<(u64, BatchHeader)>> {
        let (mut at, mut take) = (from, LOOK_BYTES);
        while at < to {
            buffer.resize(take, 0);
            let got = read_full(file, buffer, at)?;
            let range = (0, usize::try_from(to - at).unwrap_or(usize::MAX));
            if let Some((found, header)) = first_header(&buffer[..got], at, self.identity, range) {
                return Ok(Some((at + found as u64, header)));
            }
            if got < take || (take == LOOK_BYTES_MAX && is_zero(buffer)) {
                break;
            }
            // Again what a header at the end of these bytes would need to be whole.
            at += (got + ALIGN - BATCH_HEADER_BYTES) as u64;
            take = LOOK_BYTES_MAX;
        }
        Ok(None)
    }
}

const _: () = assert!((LOOK_BYTES + ALIGN - BATCH_HEADER_BYTES).is_multiple_of(ALIGN));

/// Those that are kept.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_base: BTreeMap<Seq, Use>,
    clock: u64,
}

#[derive(Debug)]
struct Use {
    segment: Arc<OpenSegment>,
    /// Whether no other segment followed when it was opened: it may have been sealed or replaced since.
    was_last: bool,
    last: u64,
}

impl Segments {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment that begins with `base`, opened if need be; `is_last` says that no other follows.
    pub(crate) fn get(
        &self,
        disk: &dyn Disk,
        journal: JournalId,
        base: Seq,
        is_last: bool,
    ) -> Result<Option<Arc<OpenSegment>>> {
        if let Some(segment) = self.kept().find(base, is_last) {
            return Ok(Some(segment));
        }
        // Without the lock: others need not wait for this file.
        let Some(segment) = OpenSegment::open(disk, journal, base)?.map(Arc::new) else { return Ok(None) };
        self.kept().keep(&segment, is_last);
        Ok(Some(segment))
    }

    /// Lets go of the segment that begins with `base`: the next reader opens what then has its name.
    pub(crate) fn forget(&self, base: Seq) {
        self.kept().by_base.remove(&base);
    }

    /// Lets go of those that are no more.
    pub(crate) fn retain(&self, bases: &[Seq]) {
        self.kept().by_base.retain(|base, _| bases.binary_search(base).is_ok());
    }
}

impl Kept {
    fn find(&mut self, base: Seq, is_last: bool) -> Option<Arc<OpenSegment>> {
        self.clock += 1;
        let found = self.by_base.get_mut(&base)?;
        if found.was_last && !is_last && matches!(found.segment.content, Content::File(_)) {
            return None;
        }
        found.last = self.clock;
        Some(Arc::clone(&found.segment))
    }

    fn keep(&mut self, segment: &Arc<OpenSegment>, was_last: bool) {
        let last = self.clock;
        self.by_base.insert(segment.base, Use { segment: Arc::clone(segment), was_last, last });
        if self.by_base.len() > OPEN_SEGMENTS_MAX
            && let Some(oldest) = self.by_base.iter().min_by_key(|(_, used)| used.last).map(|(&base, _)| base)
        {
            self.by_base.remove(&oldest);
        }
    }
}
