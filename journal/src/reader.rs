//! Reading: from any seq to the durable tail, and on when it has moved.
//!
//! A sealed segment is read through a map and slices of it are lent; any other through reads into a window of memory
//! that is used again. Checksums are verified always. A frame is walked record by record on a short path; where
//! something does not hold, the rest of the stretch is sorted into whole records and gaps ([`crate::scan`]) and given
//! out from there, so that damage costs what is damaged.
//!
//! Nobody reads past the durable tail. What a window caught of later frames may be half written, so a window is
//! trusted only as far as the durable tail was when it was read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::catalog::{Catalog, open_segment, read_footer, refusal};
use crate::disk::{Access, DiskFile, Map, read_full};
use crate::error::{Error, Result};
use crate::format::record::{self, Found, Parsed};
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, Key, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::index::SegmentIndex;
use crate::item::{Gap, GapReason, Item, Record};
use crate::scan::{Identity, Piece, Slot, Walk, slots_from, stretch_slots};
use crate::types::{Hash, Micros, Seq};

/// How much of a segment that is not mapped is read at once.
const WINDOW_BYTES: usize = 128 * 1024;

/// Reads records in order of seq. Lending: what it gives is valid until the next call.
#[derive(Debug)]
pub struct Reader {
    catalog: Arc<Catalog>,
    /// The seq that the next item begins with.
    next: Seq,
    /// The durable tail when it was last asked for.
    durable: Seq,
    source: Option<Source>,
}

/// An open segment and the place in it.
#[derive(Debug)]
struct Source {
    name: String,
    base: Seq,
    /// One past its last seq, if another segment follows.
    end: Option<Seq>,
    identity: Identity,
    key: Key,
    bytes: Bytes,
    /// File offset of the frame that begins with `next_frame`.
    offset: u64,
    next_frame: Seq,
    /// `recorded` of the frame that was passed last; a lower bound for what follows.
    recorded: Micros,
    /// The segment's own lower bound.
    created: Micros,
    index: Arc<SegmentIndex>,
    /// The next offset that is worth noting in the index.
    index_from: u64,
    /// Whether the place was taken from the index and no header has confirmed it yet.
    jumped: bool,
    cursor: Cursor,
    /// What is left of a damaged stretch, ranges of [`Source::bytes`].
    slots: VecDeque<Slot>,
    /// Whether the times of `slots` are only a bound.
    recorded_is_bound: bool,
}

/// The place in a frame: the record `next` begins at `at`.
#[derive(Clone, Debug, Default)]
struct Cursor {
    at: usize,
    body_end: usize,
    next: Seq,
    /// One past the frame's last seq.
    end: Seq,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Map),
    Window { file: Arc<dyn DiskFile>, buffer: Vec<u8>, origin: u64, trusted: Seq },
}

/// What one step found, without borrowing.
enum Step {
    Record(Found),
    Gap(Seq, Seq, GapReason),
    End,
}

impl Reader {
    pub(crate) fn new(catalog: Arc<Catalog>, from: Seq) -> Reader {
        let durable = catalog.durable();
        Reader { catalog, next: from.max(Seq::FIRST), durable, source: None }
    }

    /// The next record or gap; `None` at the durable tail, and it may be called again when that has moved.
    ///
    /// # Errors
    /// [`Error::Io`] if the operating system cannot read; [`Error::UnsupportedVersion`] and
    /// [`Error::UnsupportedFeature`] at a segment of a newer program; [`Error::OtherJournal`]. Damage is not an error
    /// but a [`Gap`].
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        match self.step()? {
            Step::Record(found) => {
                let Some(source) = &self.source else { return Ok(None) };
                let bytes = &source.bytes.slice()[found.payload.clone()];
                let redacted = found.is_redacted();
                Ok(Some(Item::Record(Record {
                    seq: found.seq,
                    recorded: source.recorded,
                    recorded_is_bound: source.recorded_is_bound,
                    payload: if redacted { &bytes[Hash::BYTES..] } else { bytes },
                    redacted,
                })))
            }
            Step::Gap(from, to, reason) => Ok(Some(Item::Gap(Gap { from, to, reason }))),
            Step::End => Ok(None),
        }
    }

    /// The seq that the next item begins with.
    pub fn position(&self) -> Seq {
        self.next
    }

    /// Goes on at `seq`, backwards too.
    pub fn seek(&mut self, seq: Seq) {
        let seq = seq.max(Seq::FIRST);
        if let Some(source) = &mut self.source
            && !source.skip_to(seq)
        {
            if seq >= source.base && source.end.is_none_or(|end| seq < end) {
                source.rewind(false);
            } else {
                self.source = None;
            }
        }
        self.next = seq;
    }

    /// Goes on at the first record whose `recorded` is at or after `time`; at the durable tail if there is none.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn seek_time(&mut self, time: Micros) -> Result<Seq> {
        let bases = self.catalog.bases();
        // The last segment that was begun before `time` is the first that can hold such a record.
        let mut start = bases.first().copied().unwrap_or(Seq::FIRST);
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.first_recorded(bases[middle])? {
                Some(recorded) if recorded < time => {
                    start = bases[middle];
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        self.seek(start);
        loop {
            let before = self.next;
            let recorded = match self.next()? {
                None => return Ok(self.next),
                Some(Item::Gap(_)) => continue,
                Some(Item::Record(record)) => record.recorded,
            };
            if recorded >= time {
                self.seek(before);
                return Ok(before);
            }
            self.skip_frame();
        }
    }

    fn first_recorded(&self, base: Seq) -> Result<Option<Micros>> {
        let (file, name) = open_segment(&*self.catalog.disk, base, Access::Read)?;
        let mut bytes = [0; BATCH_HEADER_BYTES];
        let at = SEGMENT_HEADER_BYTES as u64;
        let got = read_full(&*file, &mut bytes, at).map_err(|error| Error::io("read", &name, error))?;
        Ok(BatchHeader::decode(&bytes[..got], at).ok().map(|header| header.recorded))
    }

    /// Passes what is left of the frame: its records share one time.
    fn skip_frame(&mut self) {
        if let Some(source) = &mut self.source
            && source.slots.is_empty()
            && source.cursor.next < source.cursor.end
        {
            self.next = source.cursor.end;
            source.cursor.next = source.cursor.end;
        }
    }

    fn step(&mut self) -> Result<Step> {
        loop {
            if let Some(source) = &mut self.source
                && let Some(step) = source.step_in_frame(self.next)
            {
                self.next = match &step {
                    Step::Record(found) => found.seq.next(),
                    Step::Gap(_, to, _) => to.next(),
                    Step::End => self.next,
                };
                return Ok(step);
            }
            if self.next > self.durable {
                self.durable = self.catalog.durable();
                if self.next > self.durable {
                    return Ok(Step::End);
                }
            }
            if let Some(gap) = self.enter_frame()? {
                if let Step::Gap(_, to, _) = &gap {
                    self.next = to.next();
                }
                return Ok(gap);
            }
        }
    }

    /// Opens the frame that holds `next`, or what stands in its place; a gap if there is nothing.
    fn enter_frame(&mut self) -> Result<Option<Step>> {
        let (next, durable) = (self.next, self.durable);
        let mut relisted = false;
        while let Some(source) = &mut self.source {
            source.look_for_end(&self.catalog);
            match source.enter(next, durable)? {
                Entered::Frame => return Ok(None),
                Entered::Ended => break,
                Entered::Nothing { .. } if source.jumped => source.rewind(true),
                // Another process may have recovered: then the rest is in a newer segment, and this one was cut.
                Entered::Nothing { .. } if source.end.is_none() && !relisted => {
                    self.catalog.relist()?;
                    relisted = true;
                }
                Entered::Nothing { limit } => {
                    source.damaged(next, limit)?;
                    return Ok(None);
                }
            }
        }
        self.enter_segment(next, durable)
    }

    /// Opens the segment that holds `next`; a gap if there is none.
    fn enter_segment(&mut self, next: Seq, durable: Seq) -> Result<Option<Step>> {
        let before = self.source.take().map(|source| (source.base, source.recorded));
        let mut bases = self.catalog.bases();
        for relisted in [false, true] {
            let index = bases.partition_point(|&base| base <= next);
            let Some(base) = index.checked_sub(1).map(|index| bases[index]) else {
                let to = bases.first().map_or(durable, |first| first.prev()).min(durable);
                return Ok(Some(Step::Gap(next, to, GapReason::Retention)));
            };
            let end = bases.get(index).copied();
            if let Some(mut source) = Source::open(&self.catalog, base, end)? {
                if let Some((_, recorded)) = before.filter(|(before, _)| *before < base) {
                    source.recorded = source.recorded.max(recorded);
                }
                self.source = Some(source);
                return Ok(None);
            }
            if relisted {
                let to = end.map_or(durable, |end| end.prev().min(durable));
                return Ok(Some(Step::Gap(next, to, GapReason::Corruption)));
            }
            // It may have been dropped or replaced since the names were read.
            self.catalog.relist()?;
            bases = self.catalog.bases();
        }
        Ok(None)
    }
}

/// What there is where a frame should be.
enum Entered {
    /// A frame or the remains of one; its records can be stepped through.
    Frame,
    /// The segment's end, or the durable tail.
    Ended,
    /// No frame, although seqs up to `limit` should be here.
    Nothing { limit: Seq },
}

impl Source {
    /// Opens a segment; `None` if nothing in it can be made out.
    fn open(catalog: &Catalog, base: Seq, end: Option<Seq>) -> Result<Option<Source>> {
        let (file, name) = match open_segment(&*catalog.disk, base, Access::Read) {
            Ok(opened) => opened,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let sealed = read_footer(&*file, &name)?.is_some();
        let map = if sealed { file.map() } else { None };
        let mut bytes = match map {
            Some(map) => Bytes::Mapped(map),
            None => Bytes::Window { file, buffer: Vec::new(), origin: 0, trusted: Seq::ZERO },
        };
        bytes.fill(0, SEGMENT_HEADER_BYTES, Seq::ZERO, &name)?;
        let mut recorded = Micros::MIN;
        let identity = match SegmentHeader::decode(bytes.slice()) {
            Ok(header) if header.journal != catalog.journal => {
                let (expected, found) = (catalog.journal, header.journal);
                return Err(Error::OtherJournal { file: name, expected, found });
            }
            Ok(header) => {
                recorded = header.created;
                Some(Identity::of(&header))
            }
            Err(fault) => {
                if let Some(error) = refusal(fault, &name) {
                    return Err(error);
                }
                bytes.fill(0, usize::MAX, Seq::ZERO, &name)?;
                Identity::find(bytes.slice(), Some(catalog.journal))
            }
        };
        Ok(identity.map(|identity| Source {
            name,
            base,
            end,
            identity,
            key: identity.key(),
            bytes,
            offset: SEGMENT_HEADER_BYTES as u64,
            next_frame: base,
            recorded,
            created: recorded,
            index: catalog.index_of(base),
            index_from: 0,
            jumped: false,
            cursor: Cursor::default(),
            slots: VecDeque::new(),
            recorded_is_bound: false,
        }))
    }

    /// The next record or gap of what is open, if there is one.
    #[inline]
    fn step_in_frame(&mut self, wanted: Seq) -> Option<Step> {
        loop {
            if !self.slots.is_empty() {
                match self.slots.pop_front()? {
                    Slot::Whole(found) if found.seq < wanted => continue,
                    Slot::Lost(_, to) if to < wanted => continue,
                    Slot::Whole(found) => return Some(Step::Record(found)),
                    Slot::Lost(from, to) => {
                        return Some(Step::Gap(from.max(wanted), to, GapReason::Corruption));
                    }
                }
            }
            let cursor = &mut self.cursor;
            if cursor.next >= cursor.end {
                return None;
            }
            let seq = cursor.next;
            let body = &self.bytes.slice()[..cursor.body_end];
            if seq < wanted
                && let Some(end) = record::skip(body, cursor.at, self.key, seq)
            {
                (cursor.at, cursor.next) = (end, seq.next());
                continue;
            }
            match record::parse(body, cursor.at, self.key, seq) {
                Parsed::Whole(found) => {
                    cursor.at = found.payload.end;
                    cursor.next = seq.next();
                    if seq >= wanted {
                        return Some(Step::Record(found));
                    }
                }
                Parsed::BadPayload { .. } | Parsed::BadHeader => {
                    let rest = cursor.at..cursor.body_end;
                    let last = cursor.end.prev();
                    self.slots = slots_from(self.bytes.slice(), rest, seq, last, self.key).into();
                    self.cursor.next = self.cursor.end;
                }
            }
        }
    }

    /// A segment ends where the next begins, and one may have begun since this was opened.
    fn look_for_end(&mut self, catalog: &Catalog) {
        if self.end.is_none() {
            let bases = catalog.bases();
            self.end = bases.get(bases.partition_point(|&base| base <= self.base)).copied();
        }
    }

    /// Goes to the frame that holds `next`, walking from where it stands; whether there is one in this segment up to
    /// `durable`.
    fn enter(&mut self, next: Seq, durable: Seq) -> Result<Entered> {
        if next > self.next_frame {
            self.jump(next);
        }
        loop {
            let limit = self.end.map_or(durable, |end| end.prev().min(durable));
            if self.next_frame > limit || next > limit {
                return Ok(Entered::Ended);
            }
            self.bytes.want(self.offset, BATCH_HEADER_BYTES, self.next_frame, durable, &self.name)?;
            let Some(at) = self.bytes.index_of(self.offset) else { return Ok(Entered::Nothing { limit }) };
            let header = match BatchHeader::decode(&self.bytes.slice()[at..], self.offset) {
                Ok(header) if self.is_next(&header) => header,
                _ => return Ok(Entered::Nothing { limit }),
            };
            self.index_this();
            if header.last() >= next && !header.is_proof() {
                let frame_bytes = header.frame_bytes();
                self.bytes.want(self.offset, frame_bytes, self.next_frame, durable, &self.name)?;
                let at = self.bytes.index_of(self.offset).unwrap_or(0);
                if self.bytes.slice().len() - at < frame_bytes {
                    return Ok(Entered::Nothing { limit });
                }
                self.open_frame(at, &header);
                return Ok(Entered::Frame);
            }
            self.recorded = header.recorded;
            self.offset += header.frame_bytes() as u64;
            self.next_frame = header.last().next();
        }
    }

    /// Goes as near before `next` as the index knows.
    fn jump(&mut self, next: Seq) {
        if let Some((seq, offset)) = self.index.before(next)
            && seq > self.next_frame
        {
            (self.next_frame, self.offset, self.jumped) = (seq, offset, true);
        }
    }

    /// Notes the place of the whole header that stands here.
    fn index_this(&mut self) {
        if self.offset >= self.index_from {
            self.index_from = self.index.note(self.next_frame, self.offset);
        }
        self.jumped = false;
    }

    /// Back to the segment's begin. An index that led astray (the file was replaced) is forgotten.
    fn rewind(&mut self, forget_index: bool) {
        if forget_index {
            self.index.clear();
        }
        (self.offset, self.next_frame) = (SEGMENT_HEADER_BYTES as u64, self.base);
        (self.recorded, self.jumped, self.index_from) = (self.created, false, 0);
        (self.cursor, self.slots) = (Cursor::default(), VecDeque::new());
    }

    fn is_next(&self, header: &BatchHeader) -> bool {
        header.first == self.next_frame
            && Identity { journal: header.journal, salt: header.salt } == self.identity
    }

    fn open_frame(&mut self, at: usize, header: &BatchHeader) {
        let start = at + BATCH_HEADER_BYTES;
        let body_end = start + header.body_bytes as usize;
        self.cursor = Cursor { at: start, body_end, next: header.first, end: header.last().next() };
        self.recorded = header.recorded;
        self.recorded_is_bound = false;
        self.offset += header.frame_bytes() as u64;
        self.next_frame = header.last().next();
    }

    /// No frame begins where one should: sorts what lies up to the next one.
    fn damaged(&mut self, next: Seq, limit: Seq) -> Result<()> {
        self.bytes.fill(self.offset, usize::MAX, limit, &self.name)?;
        let bytes = self.bytes.slice();
        let at = self.bytes.index_of(self.offset).unwrap_or(bytes.len());
        let origin = self.offset - at as u64;
        let mut walk = Walk::new(bytes, origin, self.identity, at, self.next_frame, limit.next());
        let (range, to) = match walk.next() {
            Some(Piece::Bad { at, to, .. }) => (at, to.unwrap_or(limit.next())),
            // A frame that fits after all: the file has grown since.
            Some(Piece::Frame { .. }) => return Ok(()),
            None => (at..at, limit.next()),
        };
        let end = range.end;
        self.slots = stretch_slots(bytes, range, self.next_frame, to, self.key).into();
        self.slots.retain(|slot| match slot {
            Slot::Whole(found) => found.seq >= next,
            Slot::Lost(_, last) => *last >= next,
        });
        self.recorded_is_bound = true;
        self.offset = origin + end.next_multiple_of(crate::format::ALIGN) as u64;
        self.next_frame = to;
        Ok(())
    }

    /// Goes on at `seq` if it is not behind what is open; whether it could.
    fn skip_to(&mut self, seq: Seq) -> bool {
        let here = self.end.is_none_or(|end| seq < end);
        let open_from = self.slots.front().map(|slot| match slot {
            Slot::Whole(found) => found.seq,
            Slot::Lost(from, _) => *from,
        });
        let from = open_from.unwrap_or(if self.cursor.next < self.cursor.end {
            self.cursor.next
        } else {
            self.next_frame
        });
        if !here || seq < from {
            return false;
        }
        if seq >= self.next_frame {
            self.slots.clear();
            self.cursor.next = self.cursor.end;
        }
        true
    }
}

impl Bytes {
    #[inline]
    fn slice(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Window { buffer, .. } => buffer,
        }
    }

    /// Where the byte at file offset `offset` lies in the slice, if it does.
    fn index_of(&self, offset: u64) -> Option<usize> {
        let (origin, len) = match self {
            Bytes::Mapped(map) => (0, map.len()),
            Bytes::Window { origin, buffer, .. } => (*origin, buffer.len()),
        };
        let index = usize::try_from(offset.checked_sub(origin)?).ok()?;
        (index < len).then_some(index)
    }

    /// Makes sure that `len` bytes at `offset`, of a frame that begins with `seq`, are there and complete if the file
    /// has them.
    #[inline]
    fn want(&mut self, offset: u64, len: usize, seq: Seq, durable: Seq, name: &str) -> Result<()> {
        if let Bytes::Window { buffer, origin, trusted, .. } = self {
            let held = offset >= *origin && offset + len as u64 <= *origin + buffer.len() as u64;
            if !held || seq > *trusted {
                return self.fill(offset, len.max(WINDOW_BYTES), durable, name);
            }
        }
        Ok(())
    }

    /// Reads up to `len` bytes from `offset` on into the window; a map has them all.
    fn fill(&mut self, offset: u64, len: usize, durable: Seq, name: &str) -> Result<()> {
        if let Bytes::Window { file, buffer, origin, trusted } = self {
            let failed = |error| Error::io("read", name, error);
            let left = file.size().map_err(failed)?.saturating_sub(offset);
            buffer.resize(usize::try_from(left).unwrap_or(usize::MAX).min(len), 0);
            let got = read_full(&**file, buffer, offset).map_err(failed)?;
            buffer.truncate(got);
            (*origin, *trusted) = (offset, durable);
        }
        Ok(())
    }
}
