//! Walking the frames of a segment, over damage too.
//!
//! A pure function of bytes. Where a frame does not begin as it should, the walk searches on, at multiples of 8, for the
//! next header that only this place of this segment can hold: magic, checksum (keyed by the offset), salt, journal id, and
//! a seq that has not been passed. What lies between is one bad stretch; the records in it are then searched for by their
//! own headers.

use std::ops::Range;

use crate::format::record::{self, Found, Parsed};
use crate::format::{
    ALIGN, BATCH_HEADER_BYTES, BatchHeader, Footer, Key, SEGMENT_HEADER_BYTES, SegmentHeader, is_zero,
};
use crate::types::{JournalId, Seq};

/// What all frames of a segment have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which journal.
    pub journal: JournalId,
    /// The segment's salt.
    pub salt: u64,
}

impl Identity {
    /// As the segment's header says.
    pub fn of(header: &SegmentHeader) -> Identity {
        Identity { journal: header.journal, salt: header.salt }
    }

    /// As the first whole frame says, or the footer at the end, for a segment whose header is damaged. With `journal`,
    /// those of another are passed over.
    pub fn find(bytes: &[u8], journal: Option<JournalId>) -> Option<Identity> {
        let ours = |id: &JournalId| journal.is_none_or(|journal| journal == *id);
        (SEGMENT_HEADER_BYTES..bytes.len())
            .step_by(ALIGN)
            .filter_map(|at| BatchHeader::decode(&bytes[at..], at as u64).ok())
            .find(|header| ours(&header.journal))
            .map(|header| Identity { journal: header.journal, salt: header.salt })
            .or_else(|| {
                Footer::at_end_of(bytes)
                    .filter(|footer| ours(&footer.journal))
                    .map(|footer| Identity::of_footer(&footer))
            })
    }

    /// As the segment's footer says.
    pub fn of_footer(footer: &Footer) -> Identity {
        Identity { journal: footer.journal, salt: footer.salt }
    }

    /// The key of its records' checksums.
    pub fn key(&self) -> Key {
        Key::new(self.salt)
    }
}

/// One step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A frame whose header holds and that lies whole inside the bytes; its records are not checked yet.
    Frame {
        /// Where it begins in the bytes.
        at: usize,
        /// Its header.
        header: BatchHeader,
    },
    /// Bytes that hold no frame where one should begin. `to` is the seq that the next frame begins with;
    /// `None` if there is none, and then `at` reaches to the last byte that is not zero.
    Bad {
        /// Where in the bytes.
        at: Range<usize>,
        /// The seq that was expected.
        from: Seq,
        /// The seq after the last that can lie here.
        to: Option<Seq>,
        /// A whole header that stands where one should, of a frame that the end of the bytes cuts off.
        header: Option<BatchHeader>,
    },
}

/// A walk over the frames in a slice.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    bytes: &'a [u8],
    /// File offset of `bytes[0]`.
    origin: u64,
    identity: Identity,
    at: usize,
    next: Seq,
    /// No frame begins with a seq beyond this one.
    end: Seq,
}

impl<'a> Walk<'a> {
    /// Walks `bytes`, which begin at `origin` of the file (a multiple of 8), from `at` on, where the frame of seq `next`
    /// should begin. The walk ends where seq `end` would begin; pass [`Seq::MAX`] if that is not known.
    pub fn new(bytes: &'a [u8], origin: u64, identity: Identity, at: usize, next: Seq, end: Seq) -> Walk<'a> {
        Walk { bytes, origin, identity, at, next, end }
    }

    /// Where the next piece begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The seq that should come next.
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    fn header_at(&self, at: usize) -> Option<BatchHeader> {
        let header = BatchHeader::decode(self.bytes.get(at..)?, self.origin + at as u64).ok()?;
        let ours = header.journal == self.identity.journal && header.salt == self.identity.salt;
        (ours && header.first >= self.next && header.first <= self.end).then_some(header)
    }

    fn fits(&self, at: usize, header: &BatchHeader) -> bool {
        header.frame_bytes() <= self.bytes.len() - at
    }

    /// The next header after `at`, which need not fit: its seq bounds the stretch before it all the same.
    fn search(&self, at: usize) -> Option<(usize, BatchHeader)> {
        let from = (at + 1).next_multiple_of(ALIGN);
        let last = self.bytes.len().checked_sub(BATCH_HEADER_BYTES)?;
        (from..=last).step_by(ALIGN).find_map(|at| self.header_at(at).map(|header| (at, header)))
    }

    fn used(&self) -> usize {
        used_bytes(self.bytes)
    }
}

impl Iterator for Walk<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        // A proof frame may stand behind the last record, so the end is reached only with the bytes.
        if self.at >= self.bytes.len() {
            return None;
        }
        let (at, from) = (self.at, self.next);
        let header = self.header_at(at);
        match header {
            Some(header) if header.first == from && self.fits(at, &header) => {
                self.at = at + header.frame_bytes();
                self.next = header.last().next();
                return Some(Piece::Frame { at, header });
            }
            Some(header) if header.first > from => {
                self.next = header.first;
                return Some(Piece::Bad { at: at..at, from, to: Some(header.first), header: None });
            }
            _ if is_zero(&self.bytes[at..]) => {
                self.at = self.bytes.len();
                return None;
            }
            _ => {}
        }
        if let Some((found, next)) = self.search(at) {
            (self.at, self.next) = (found, next.first);
            return Some(Piece::Bad { at: at..found, from, to: Some(next.first), header });
        }
        let end = self.used().max(at);
        self.at = self.bytes.len();
        Some(Piece::Bad { at: at..end, from, to: None, header })
    }
}

/// Length of `bytes` without the zeros at their end.
pub fn used_bytes(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// How much of a segment a second look reads, where the first one saw `bytes`: all that it saw anything of, and the header, which
/// ends in zeros of its own.
pub fn seen_bytes(bytes: &[u8]) -> usize {
    used_bytes(bytes).next_multiple_of(ALIGN).max(SEGMENT_HEADER_BYTES)
}

/// What is left of one place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The record.
    Whole(Found),
    /// Nothing of these seqs, first and last.
    Lost(Seq, Seq),
}

impl Slot {
    /// The record, if there is one.
    pub(crate) fn record(&self) -> Option<&Found> {
        match self {
            Slot::Whole(found) => Some(found),
            Slot::Lost(..) => None,
        }
    }
}

/// All places of a frame, in order, each seq in exactly one slot. Ranges are those of `bytes`.
pub fn frame_slots(bytes: &[u8], at: usize, header: &BatchHeader, key: Key) -> Vec<Slot> {
    let body = at + BATCH_HEADER_BYTES..at + BATCH_HEADER_BYTES + header.body_bytes as usize;
    slots_from(bytes, body, header.first, header.last(), key)
}

/// Whether all records of a frame are whole.
pub(crate) fn is_sound(bytes: &[u8], at: usize, header: &BatchHeader, key: Key) -> bool {
    let start = at + BATCH_HEADER_BYTES;
    let body = &bytes[..start + header.body_bytes as usize];
    let (mut at, mut seq) = (start, header.first);
    for _ in 0..header.count {
        let Parsed::Whole(found) = record::parse(body, at, key, seq) else { return false };
        (at, seq) = (found.payload.end, seq.next());
    }
    true
}

/// The places `first..=last` of a frame, whose records lie in `body` and begin there with `first`.
pub fn slots_from(bytes: &[u8], body: Range<usize>, first: Seq, last: Seq, key: Key) -> Vec<Slot> {
    let bounded = &bytes[..body.end];
    // No more than fit, whatever a header says of their number.
    let records = (body.len() / record::RECORD_HEADER_BYTES)
        .min(usize::try_from(last.since(first)).unwrap_or(0).saturating_add(1));
    let (mut slots, mut at, mut seq) = (Vec::with_capacity(records), body.start, first);
    while seq <= last {
        match record::parse(bounded, at, key, seq) {
            Parsed::Whole(found) => {
                at = found.payload.end;
                slots.push(Slot::Whole(found));
            }
            Parsed::BadPayload { end } => {
                at = end;
                slots.push(Slot::Lost(seq, seq));
            }
            Parsed::BadHeader => {
                slots.extend(stretch_slots(bytes, at.min(body.end)..body.end, seq, last.next(), key));
                break;
            }
        }
        seq = seq.next();
    }
    slots
}

/// The places `from..to` (without `to`) of a stretch without a frame header, found by the records' own headers.
pub fn stretch_slots(bytes: &[u8], at: Range<usize>, from: Seq, to: Seq, key: Key) -> Vec<Slot> {
    let (mut slots, mut next) = (Vec::new(), from);
    for mut found in record::search(&bytes[at.clone()], key, from.get()..to.get()) {
        if found.seq > next {
            slots.push(Slot::Lost(next, found.seq.prev()));
        }
        next = found.seq.next();
        found.payload = found.payload.start + at.start..found.payload.end + at.start;
        slots.push(Slot::Whole(found));
    }
    if next < to {
        slots.push(Slot::Lost(next, to.prev()));
    }
    slots
}

/// Whether the padding after a frame's records is zero and its records fill its body exactly.
pub fn is_exact(bytes: &[u8], at: usize, header: &BatchHeader, slots: &[Slot]) -> bool {
    let body_end = at + BATCH_HEADER_BYTES + header.body_bytes as usize;
    let filled = match slots.last() {
        Some(Slot::Whole(found)) => found.payload.end == body_end,
        Some(Slot::Lost(..)) => false,
        None => header.is_proof(),
    };
    filled && is_zero(&bytes[body_end..at + header.frame_bytes()])
}
