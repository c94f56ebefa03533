//! Where frames and records begin: a sparse index of one open segment, in memory, built by whoever walks it.
//!
//! Two levels. A place is kept for the begin of every large frame, and of small ones every [`FRAME_STRETCH_BYTES`]; it
//! is noted when a reader that came all the way from the segment's begin has verified the header there, so up to its last
//! place the index leaves nothing out. Beyond that a search halves the segment ([`crate::locate`]), which is quick but
//! not as quick, and leaves nothing behind: once such searches have gone through as many bytes as the segment has, the
//! next one walks. A large frame gets a table of its own, a place every [`RECORD_STRETCH_BYTES`], when a reader
//! first looks for a record in its midst. Together they take at most 2 % of the segment's bytes.
//!
//! It lives and dies with the open file that it describes and is never trusted: what stands at a place must carry the
//! checksums of that very seq.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};

use crate::format::BATCH_HEADER_BYTES;
use crate::types::{Micros, Seq};

/// Frames that are shorter than this share a place: walking a few headers is cheaper than remembering them.
pub(crate) const FRAME_STRETCH_BYTES: u64 = 4 * 1024;
/// Records that are shorter than this share a place.
pub(crate) const RECORD_STRETCH_BYTES: usize = 1024;
const _: () = assert!(size_of::<Frame>() as u64 * 50 <= FRAME_STRETCH_BYTES);
const _: () = assert!(size_of::<RecordPlace>() * 50 <= RECORD_STRETCH_BYTES);

/// Places in one segment, ascending.
#[derive(Debug, Default)]
pub(crate) struct SegmentIndex {
    frames: RwLock<Vec<Frame>>,
    /// Bytes that searches which halved the segment have gone through.
    looked_through: AtomicU64,
}

/// What is known of the way to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The last place that is not behind it.
    pub(crate) place: Option<Place>,
    /// Whether nothing is known behind that place: it may be far before.
    pub(crate) is_last: bool,
}

/// A frame whose header was found whole.
#[derive(Debug)]
struct Frame {
    place: Place,
    /// Places of records in it, once somebody needed them; the last one stands behind the last record that was found.
    records: OnceLock<Box<[RecordPlace]>>,
}

/// The begin of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seq: Seq,
    pub(crate) offset: u64,
    pub(crate) recorded: Micros,
}

/// The begin of a record, counted from its frame's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordPlace {
    pub(crate) seq: u32,
    pub(crate) at: u32,
}

/// Records of one frame that lie one behind the other: `first..end` in the file from `at` to `end_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) first: Seq,
    pub(crate) end: Seq,
    pub(crate) at: u64,
    pub(crate) end_at: u64,
    pub(crate) recorded: Micros,
}

impl SegmentIndex {
    fn frames(&self) -> RwLockReadGuard<'_, Vec<Frame>> {
        self.frames.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to `seq`.
    pub(crate) fn before(&self, seq: Seq) -> Known {
        self.known(|place| place.seq <= seq)
    }

    /// The way to the first frame that is not earlier than `time`.
    pub(crate) fn before_time(&self, time: Micros) -> Known {
        self.known(|place| place.recorded < time)
    }

    fn known(&self, is_before: impl Fn(&Place) -> bool) -> Known {
        let frames = self.frames();
        let after = frames.partition_point(|frame| is_before(&frame.place));
        let place = after.checked_sub(1).map(|index| frames[index].place);
        Known { place, is_last: after == frames.len() }
    }

    /// Whether a search may halve the segment of `bytes` bytes once more; else it should walk, for those who come after.
    pub(crate) fn may_halve(&self, bytes: u64) -> bool {
        #[cfg(test)]
        if crate::tests::seek::walks_always() {
            return false;
        }
        self.looked_through.load(Ordering::Relaxed) <= bytes
    }

    /// A search that halved the segment has gone through so many of its bytes.
    pub(crate) fn note_search(&self, bytes: u64) {
        self.looked_through.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes a frame of `frame_bytes`, if it is behind all that are known and worth it. The caller has come from a known
    /// place, and noted what it passed.
    pub(crate) fn note(&self, place: Place, frame_bytes: u64) {
        let is_worth_it = |last: &Place| {
            place.offset > last.offset
                && (frame_bytes >= FRAME_STRETCH_BYTES || place.offset >= last.offset + FRAME_STRETCH_BYTES)
        };
        if self.frames().last().is_none_or(|last| is_worth_it(&last.place)) {
            let mut frames = self.frames.write().unwrap_or_else(PoisonError::into_inner);
            // Another reader may have come first.
            if frames.last().is_none_or(|last| is_worth_it(&last.place)) {
                frames.push(Frame { place, records: OnceLock::new() });
            }
        }
    }

    /// Whether the frame at `offset` is known and has no table yet.
    pub(crate) fn lacks_records(&self, seq: Seq, offset: u64) -> bool {
        let frames = self.frames();
        frames
            .binary_search_by_key(&seq, |frame| frame.place.seq)
            .is_ok_and(|index| frames[index].place.offset == offset && frames[index].records.get().is_none())
    }

    /// Gives the frame that begins with `seq` its table.
    pub(crate) fn note_records(&self, seq: Seq, records: Vec<RecordPlace>) {
        let frames = self.frames();
        if let Ok(index) = frames.binary_search_by_key(&seq, |frame| frame.place.seq) {
            // Whoever comes first: they found the same.
            let _same = frames[index].records.set(records.into());
        }
    }

    /// Where `seq` lies, if its frame has a table: from the place before it on, for about `reach` bytes or to the end.
    pub(crate) fn stretch(&self, seq: Seq, reach: u32) -> Option<Stretch> {
        let frames = self.frames();
        let frame = &frames[frames.partition_point(|frame| frame.place.seq <= seq).checked_sub(1)?];
        let records = frame.records.get()?;
        let place = frame.place;
        let wanted = u32::try_from(seq.since(place.seq)).ok()?;
        let behind = records.partition_point(|record| record.seq <= wanted);
        let first = records[behind.checked_sub(1)?];
        // Behind the last place there is nothing that is known.
        let rest = records.get(behind..).filter(|rest| !rest.is_empty())?;
        let reached = rest.partition_point(|record| record.at - first.at < reach).min(rest.len() - 1);
        let end = rest[reached];
        Some(Stretch {
            first: place.seq.plus(first.seq.into()),
            end: place.seq.plus(end.seq.into()),
            at: place.offset + u64::from(first.at),
            end_at: place.offset + u64::from(end.at),
            recorded: place.recorded,
        })
    }
}

/// The table of a frame whose records begin at the ends of `records` and at its own body: ascending, with the end last.
#[derive(Debug)]
pub(crate) struct Table {
    places: Vec<RecordPlace>,
    next: RecordPlace,
}

impl Table {
    pub(crate) fn new() -> Table {
        let next = RecordPlace { seq: 0, at: low_bits(BATCH_HEADER_BYTES) };
        Table { places: vec![next], next }
    }

    /// One more record, which ends at `end` counted from the frame's begin.
    pub(crate) fn push(&mut self, end: usize) {
        self.next = RecordPlace { seq: self.next.seq + 1, at: low_bits(end) };
        let last = self.places[self.places.len() - 1];
        if (self.next.at - last.at) as usize >= RECORD_STRETCH_BYTES {
            self.places.push(self.next);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<RecordPlace> {
        if self.places.last() != Some(&self.next) {
            self.places.push(self.next);
        }
        self.places
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a frame has at most 64 MiB and some bytes")]
fn low_bits(at: usize) -> u32 {
    at as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64, offset: u64) -> Place {
        Place { seq: Seq::new(seq), offset, recorded: Micros::new(seq.cast_signed()) }
    }

    #[test]
    fn small_frames_share_a_place_and_large_ones_have_their_own() {
        let index = SegmentIndex::default();
        for (seq, offset, bytes) in
            [(1, 128, 200), (2, 328, 200), (3, 528, 9_000), (9, 9_528, 200), (10, 99_000, 8)]
        {
            index.note(place(seq, offset), bytes);
        }
        index.note(place(2, 328), 200);
        let found = |seq| index.before(Seq::new(seq)).place.map(|place| place.offset);
        assert_eq!(found(2), Some(128));
        assert_eq!((found(3), found(8)), (Some(528), Some(528)));
        assert_eq!((found(9), found(10)), (Some(9_528), Some(99_000)));
        let known = index.before_time(Micros::new(3));
        assert_eq!((known.place.map(|place| place.offset), known.is_last), (Some(128), false));
        assert!(index.before_time(Micros::new(11)).is_last && !index.before(Seq::new(9)).is_last);
    }

    #[test]
    fn a_table_leads_to_the_stretch_that_holds_the_seq() {
        let index = SegmentIndex::default();
        index.note(place(10, 1_000), 50_000);
        assert!(index.lacks_records(Seq::new(10), 1_000));
        let mut table = Table::new();
        // Four records of 600 bytes: places at the first and the third, the end behind the fourth.
        (1..=4).for_each(|n| table.push(BATCH_HEADER_BYTES + n * 600));
        index.note_records(Seq::new(10), table.finish());
        assert!(!index.lacks_records(Seq::new(10), 1_000));
        let seqs =
            |seq, reach| index.stretch(Seq::new(seq), reach).map(|s| (s.first.get(), s.end.get(), s.at));
        assert_eq!(seqs(11, 1), Some((10, 12, 1_096)));
        assert_eq!(seqs(12, 1), Some((12, 14, 2_296)));
        assert_eq!(seqs(10, u32::MAX), Some((10, 14, 1_096)));
        assert_eq!(seqs(14, 1), None);
    }
}
