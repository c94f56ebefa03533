//! One segment under a reader: an open file, the place in it, and what of its bytes is at hand.
//!
//! Walking forward goes from frame header to frame header. A jump goes by the segment's index ([`crate::index`]) to the
//! place before the seq, or halves what the index does not know ([`crate::locate`]), and walks the rest; into the midst of a large frame it goes by the frame's table, to a stretch of
//! records whose own checksums say whether they are the right ones. Either way what is given out has been verified: its
//! record's checksums now, its frame's header now or when the index noted it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::disk::{DiskFile, read_full};
use crate::error::{Error, Result};
use crate::format::record::{self, Found, Parsed};
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES};
use crate::index::{FRAME_STRETCH_BYTES, Place, RECORD_STRETCH_BYTES, Stretch, Table};
use crate::item::GapReason;
use crate::scan::{Identity, Piece, Slot, Walk, slots_from, stretch_slots};
use crate::segments::{Content, OpenSegment, Searched};
use crate::types::{Micros, Seq};

/// How much of a segment that is not mapped is read at once: little at first, then more and more.
const WINDOW_BYTES_MIN: usize = 4 * 1024;
/// After a jump to a record whose place is known, as much as holds it: most jumps are for one record, and copying is
/// most of what they cost.
const JUMP_BYTES: usize = RECORD_STRETCH_BYTES;
const WINDOW_BYTES_MAX: usize = 128 * 1024;
/// A record so few places into its frame is walked to; farther ones are worth a table.
const WALK_RECORDS_MAX: u64 = 8;

/// An open segment and the place in it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) segment: Arc<OpenSegment>,
    /// One past its last seq, if another segment follows.
    pub(crate) end: Option<Seq>,
    /// `recorded` of the frame that was passed last; a lower bound for what follows.
    pub(crate) recorded: Micros,
    /// Whether the times of `slots` are only a bound.
    pub(crate) recorded_is_bound: bool,
    /// No record of the segment is earlier.
    floor: Micros,
    window: Window,
    /// File offset of the frame that begins with `next_frame`.
    offset: u64,
    next_frame: Seq,
    /// Whether `offset` is not the place of `next_frame`: the index has to be asked.
    lost: bool,
    /// Whether every frame before `offset` is known to the index or was passed over by it: what comes next is noted there.
    is_charted: bool,
    cursor: Cursor,
    /// What is left of a damaged stretch, ranges of the bytes at hand.
    slots: VecDeque<Slot>,
}

/// The place in a frame: the record `next` begins at `at`.
#[derive(Clone, Debug, Default)]
struct Cursor {
    at: usize,
    body_end: usize,
    next: Seq,
    /// One past the last seq that lies here.
    end: Seq,
}

/// The bytes at hand of a segment that is not mapped.
#[derive(Debug)]
struct Window {
    buffer: Vec<u8>,
    origin: u64,
    /// The durable tail when it was read: later frames may be half written in it.
    trusted: Seq,
    /// How much the next read takes.
    reach: usize,
}

/// What one step found, without borrowing.
pub(crate) enum Step {
    Record(Found),
    Gap(Seq, Seq, GapReason),
    End,
}

/// What there is where a frame should be.
pub(crate) enum Entered {
    /// A frame or the remains of one; its records can be stepped through.
    Frame,
    /// The segment's end, or the durable tail.
    Ended,
    /// No frame, although seqs up to `limit` should be here.
    Nothing { limit: Seq },
}

impl Source {
    pub(crate) fn new(segment: Arc<OpenSegment>, end: Option<Seq>) -> Source {
        let window = Window { buffer: Vec::new(), origin: 0, trusted: Seq::ZERO, reach: WINDOW_BYTES_MIN };
        Source {
            end,
            recorded: segment.created,
            recorded_is_bound: false,
            floor: segment.created,
            window,
            offset: SEGMENT_HEADER_BYTES as u64,
            next_frame: segment.base,
            lost: false,
            is_charted: true,
            cursor: Cursor::default(),
            slots: VecDeque::new(),
            segment,
        }
    }

    /// Takes over what was known of time from `before`, which was read up to here.
    pub(crate) fn follow(&mut self, before: &Source) {
        if before.segment.base < self.segment.base {
            self.floor = self.floor.max(before.recorded);
            self.recorded = self.floor;
        } else if before.segment.base == self.segment.base {
            (self.floor, self.recorded) = (before.floor, before.recorded);
        }
    }

    /// The bytes at hand.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.segment.content {
            Content::Map(map) => map,
            Content::File(_) => &self.window.buffer,
        }
    }

    /// The next record or gap of what is open, if there is one.
    #[inline]
    pub(crate) fn step_in_frame(&mut self, wanted: Seq) -> Option<Step> {
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
            let key = self.segment.key;
            let bytes = match &self.segment.content {
                Content::Map(map) => &**map,
                Content::File(_) => &self.window.buffer,
            };
            let cursor = &mut self.cursor;
            if cursor.next >= cursor.end {
                return None;
            }
            let seq = cursor.next;
            let body = &bytes[..cursor.body_end];
            if seq < wanted
                && let Some(end) = record::skip(body, cursor.at, key, seq)
            {
                (cursor.at, cursor.next) = (end, seq.next());
                continue;
            }
            match record::parse(body, cursor.at, key, seq) {
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
                    self.slots = slots_from(bytes, rest, seq, last, key).into();
                    cursor.next = cursor.end;
                }
            }
        }
    }

    /// Makes `seq`, which lies in this segment, the next to be stepped to.
    pub(crate) fn seek(&mut self, seq: Seq) {
        let open = match self.slots.front() {
            Some(Slot::Whole(found)) => Some(found.seq),
            Some(Slot::Lost(from, _)) => Some(*from),
            None => None,
        };
        let near = self.cursor.next <= seq
            && seq < self.cursor.end
            && seq.since(self.cursor.next) <= WALK_RECORDS_MAX;
        if near || open.is_some_and(|open| open <= seq && seq < self.next_frame) {
            return;
        }
        self.slots.clear();
        self.cursor = Cursor::default();
        self.window.reach = JUMP_BYTES;
    }

    /// Leaves the rest of the frame, whose records share one time; the seq behind it, if it is open.
    pub(crate) fn pass_frame(&mut self) -> Option<Seq> {
        let open = self.slots.is_empty() && self.cursor.next < self.cursor.end;
        open.then(|| {
            self.cursor.next = self.cursor.end;
            self.cursor.end
        })
    }

    /// A segment ends where the next begins, and one may have begun since this was opened.
    pub(crate) fn look_for_end(&mut self, catalog: &Catalog) {
        if self.end.is_none() {
            let bases = catalog.bases();
            // If retention has dropped this one, the next in the list need not be the one that followed it.
            if let Ok(here) = bases.binary_search(&self.segment.base) {
                self.end = bases.get(here + 1).copied();
            }
        }
    }

    /// Goes to the frame that holds `next`; whether there is one in this segment up to `durable`.
    pub(crate) fn enter(&mut self, next: Seq, durable: Seq) -> Result<Entered> {
        let limit = self.end.map_or(durable, |end| end.prev().min(durable));
        if next > limit {
            return Ok(Entered::Ended);
        }
        if self.lost || next != self.next_frame {
            let segment = Arc::clone(&self.segment);
            if let Some(stretch) = segment.index.stretch(next, self.reach())
                && self.open_stretch(&stretch, durable)?
            {
                return Ok(Entered::Frame);
            }
            self.approach(next)?;
        }
        loop {
            #[cfg(test)]
            crate::tests::seek::look(0);
            self.want(self.offset, BATCH_HEADER_BYTES, self.next_frame, durable)?;
            let Some(at) = self.index_of(self.offset) else { return Ok(Entered::Nothing { limit }) };
            let header = match BatchHeader::decode(&self.bytes()[at..], self.offset) {
                Ok(header) if self.is_next(&header) => header,
                _ => return Ok(Entered::Nothing { limit }),
            };
            if self.is_charted {
                let place = Place { seq: self.next_frame, offset: self.offset, recorded: header.recorded };
                self.segment.index.note(place, header.frame_bytes() as u64);
            }
            if header.last() >= next && !header.is_proof() {
                let frame_bytes = header.frame_bytes();
                self.want(self.offset, frame_bytes, self.next_frame, durable)?;
                let at = self.index_of(self.offset).unwrap_or(0);
                if self.bytes().len() - at < frame_bytes {
                    return Ok(Entered::Nothing { limit });
                }
                self.open_frame(at, &header, next);
                return Ok(Entered::Frame);
            }
            self.pass(&header);
        }
    }

    /// Goes as near before `next` as is known, or can be found quickly.
    fn approach(&mut self, next: Seq) -> Result<()> {
        let mut here = (!self.lost && self.next_frame <= next).then_some(self.next_frame);
        let known = self.segment.index.before(next);
        self.lost = false;
        if known.is_last {
            let start = here.map_or(SEGMENT_HEADER_BYTES as u64, |_| self.offset);
            let start = known.place.map_or(start, |place| start.max(place.offset));
            match self.segment.search(start, |header| header.first <= next)? {
                Searched::Found(place) => {
                    self.go_to(place);
                    self.is_charted = false;
                    return Ok(());
                }
                Searched::Nothing => {}
                // From where the index ends, so that it goes on there.
                Searched::WalkInstead if self.is_charted => {}
                Searched::WalkInstead => here = None,
            }
        }
        match (known.place, here) {
            (Some(place), here) if here.is_none_or(|here| place.seq > here) => {
                self.go_to(place);
                self.is_charted = true;
            }
            (_, Some(_)) => {}
            (_, None) => {
                (self.next_frame, self.offset) = (self.segment.base, SEGMENT_HEADER_BYTES as u64);
                self.recorded = self.floor;
                self.is_charted = true;
            }
        }
        Ok(())
    }

    fn go_to(&mut self, place: Place) {
        (self.next_frame, self.offset, self.recorded) = (place.seq, place.offset, place.recorded);
    }

    fn is_next(&self, header: &BatchHeader) -> bool {
        header.first == self.next_frame
            && Identity { journal: header.journal, salt: header.salt } == self.segment.identity
    }

    /// Opens the frame at `at` of the bytes at hand, near the record `next` in it.
    fn open_frame(&mut self, at: usize, header: &BatchHeader, next: Seq) {
        let start = at + BATCH_HEADER_BYTES;
        let body_end = start + header.body_bytes as usize;
        self.cursor = Cursor { at: start, body_end, next: header.first, end: header.last().next() };
        self.recorded_is_bound = false;
        let large = header.frame_bytes() as u64 >= FRAME_STRETCH_BYTES;
        if large && next.since(header.first) > WALK_RECORDS_MAX {
            self.learn_records(at, header);
            if let Some(stretch) = self.segment.index.stretch(next, 0)
                && let Ok(into) = usize::try_from(stretch.at - self.offset)
            {
                (self.cursor.at, self.cursor.next) = (at + into, stretch.first);
            }
        }
        self.pass(header);
    }

    fn pass(&mut self, header: &BatchHeader) {
        self.recorded = header.recorded;
        self.offset += header.frame_bytes() as u64;
        self.next_frame = header.last().next();
    }

    /// Notes where the records of the frame at `at` begin, by their headers, up to the first that does not hold.
    fn learn_records(&self, at: usize, header: &BatchHeader) {
        if !self.segment.index.lacks_records(header.first, self.offset) {
            return;
        }
        let start = at + BATCH_HEADER_BYTES;
        let body = &self.bytes()[..start + header.body_bytes as usize];
        let (mut table, mut record, mut seq) = (Table::new(), start, header.first);
        while seq <= header.last()
            && let Some(end) = record::skip(body, record, self.segment.key, seq)
        {
            table.push(end - at);
            (record, seq) = (end, seq.next());
        }
        self.segment.index.note_records(header.first, table.finish());
    }

    /// Opens records in the midst of a frame; false if the file has become too short for them.
    fn open_stretch(&mut self, stretch: &Stretch, durable: Seq) -> Result<bool> {
        let len = usize::try_from(stretch.end_at - stretch.at).unwrap_or(usize::MAX);
        self.want(stretch.at, len, stretch.first, durable)?;
        let Some(at) = self.index_of(stretch.at) else { return Ok(false) };
        if self.bytes().len() - at < len {
            return Ok(false);
        }
        self.cursor = Cursor { at, body_end: at + len, next: stretch.first, end: stretch.end };
        (self.recorded, self.recorded_is_bound) = (stretch.recorded, false);
        (self.next_frame, self.lost) = (stretch.end, true);
        Ok(true)
    }

    /// No frame begins where one should: sorts what lies up to the next one.
    pub(crate) fn damaged(&mut self, next: Seq, limit: Seq) -> Result<()> {
        self.fill(self.offset, usize::MAX, limit)?;
        let bytes = self.bytes();
        let at = self.index_of(self.offset).unwrap_or(bytes.len());
        let origin = self.offset - at as u64;
        let mut walk = Walk::new(bytes, origin, self.segment.identity, at, self.next_frame, limit.next());
        let (range, to) = match walk.next() {
            Some(Piece::Bad { at, to, .. }) => (at, to.unwrap_or(limit.next())),
            // A frame that fits after all: the file has grown since.
            Some(Piece::Frame { .. }) => return Ok(()),
            None => (at..at, limit.next()),
        };
        let end = range.end;
        let mut slots: VecDeque<Slot> =
            stretch_slots(bytes, range, self.next_frame, to, self.segment.key).into();
        slots.retain(|slot| match slot {
            Slot::Whole(found) => found.seq >= next,
            Slot::Lost(_, last) => *last >= next,
        });
        self.slots = slots;
        self.recorded_is_bound = true;
        self.offset = origin + end.next_multiple_of(crate::format::ALIGN) as u64;
        self.next_frame = to;
        Ok(())
    }

    /// Whether there is anything left to give out of a damaged stretch.
    pub(crate) fn has_remains(&self) -> bool {
        !self.slots.is_empty()
    }

    /// How many bytes of records are worth opening at once: all, where they need not be read.
    fn reach(&self) -> u32 {
        match self.segment.content {
            Content::Map(_) => u32::MAX,
            Content::File(_) => u32::try_from(self.window.reach).unwrap_or(u32::MAX),
        }
    }

    /// Where the byte at file offset `offset` lies in the bytes at hand, if it does.
    fn index_of(&self, offset: u64) -> Option<usize> {
        let origin = match self.segment.content {
            Content::Map(_) => 0,
            Content::File(_) => self.window.origin,
        };
        let index = usize::try_from(offset.checked_sub(origin)?).ok()?;
        (index < self.bytes().len()).then_some(index)
    }

    /// Makes sure that `len` bytes at `offset`, of a frame that begins with `seq`, are there and complete if the file
    /// has them.
    #[inline]
    fn want(&mut self, offset: u64, len: usize, seq: Seq, durable: Seq) -> Result<()> {
        let Content::File(_) = self.segment.content else { return Ok(()) };
        let Window { buffer, origin, trusted, reach } = &mut self.window;
        let held = offset >= *origin && offset + len as u64 <= *origin + buffer.len() as u64;
        if held && seq <= *trusted {
            return Ok(());
        }
        let take = len.max(*reach);
        // Whoever reads on will want more; whoever waits for the tail gets little at a time.
        *reach = if seq <= *trusted { (*reach * 2).min(WINDOW_BYTES_MAX) } else { WINDOW_BYTES_MIN };
        self.fill(offset, take, durable)
    }

    /// Reads up to `len` bytes from `offset` on into the window; a map has them all.
    fn fill(&mut self, offset: u64, len: usize, durable: Seq) -> Result<()> {
        let Content::File(file) = &self.segment.content else { return Ok(()) };
        self.window
            .fill(&**file, offset, len, durable)
            .map_err(|error| Error::io("read", &self.segment.name, error))
    }
}

impl Window {
    fn fill(&mut self, file: &dyn DiskFile, offset: u64, len: usize, durable: Seq) -> std::io::Result<()> {
        let mut len = len;
        if len > WINDOW_BYTES_MAX {
            // A length that stands in a file reserves no more memory than the file has bytes.
            let left = file.size()?.saturating_sub(offset);
            len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
        }
        self.buffer.resize(len, 0);
        let got = read_full(file, &mut self.buffer, offset)?;
        self.buffer.truncate(got);
        (self.origin, self.trusted) = (offset, durable);
        Ok(())
    }
}
