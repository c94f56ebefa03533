//! From the bytes of a journal's last segment to a verdict. A pure function: it reads a slice and says what is so.
//!
//! The question after a crash is which damage is normal and which is an alarm. "Valid data follows, so it is corruption"
//! is the obvious rule and wrong: a disk may keep the later sectors of an unflushed write and lose the earlier ones. So
//! each frame says how far a flush had reached when it was written. The highest such number in any whole header is the
//! proof: below it everything was on the disk once, and what is not there now is corruption, which is contained and
//! named. Above it the whole frames that follow one another are kept, and the first that is not whole is the torn tail,
//! with everything behind it.

use std::ops::Range;

use crate::format::chain::link_of;
use crate::format::{BatchHeader, Fault, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::scan::{Identity, Piece, Slot, Walk, frame_slots, is_exact, stretch_slots, used_bytes};
use crate::types::{Hash, JournalId, Micros, Seq};

/// What is known about the journal apart from the segment's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// The base in the segment's file name.
    pub base: Seq,
    /// The journal's id, if other segments told it.
    pub journal: Option<JournalId>,
    /// The chain's link before the segment, if another segment told it; used only if the header is damaged.
    pub previous: Option<Hash>,
    /// What the segment's footer says of it, if the bytes are given without their footer; used only if the header is damaged.
    pub footer: Option<Identity>,
    /// How far everything is known to be durable from elsewhere: up to the next segment's base, if there is one.
    pub proven: Option<Seq>,
}

/// What the bytes of a last segment amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The segment's header, if it is whole.
    pub header: Option<SegmentHeader>,
    /// Journal and salt; `None` if neither the header nor any frame is whole.
    pub identity: Option<Identity>,
    /// Whether the batches carry links.
    pub chained: bool,
    /// The highest seq that is proven to have been durable.
    pub proven: Seq,
    /// Where the bytes end that hold what is proven.
    pub proven_end: usize,
    /// The chain after `proven`, as far as frames tell.
    pub proven_link: Hash,
    /// `recorded` of the first batch, if it can be read.
    pub first_recorded: Option<Micros>,
    /// `recorded` of the last proven batch, if there is one.
    pub proven_recorded: Option<Micros>,
    /// Whole frames after `proven`, in order, each with its place.
    pub unproven: Vec<(usize, BatchHeader)>,
    /// The unfinished end: its bytes and the first seq that is not there.
    pub torn: Option<(Range<usize>, Seq)>,
    /// What was proven and cannot be read: first and last seq, and the bytes around.
    pub damage: Vec<(Seq, Seq, Range<usize>)>,
}

impl Verdict {
    /// The last seq that can be kept.
    pub fn last(&self) -> Seq {
        self.unproven.last().map_or(self.proven, |(_, header)| header.last())
    }

    /// The chain after [`Verdict::last`].
    pub fn link(&self) -> Hash {
        self.unproven.last().map_or(self.proven_link, |(_, header)| header.link)
    }

    /// `recorded` of the last batch that can be kept.
    pub fn recorded(&self) -> Option<Micros> {
        self.unproven.last().map(|(_, header)| header.recorded).or(self.proven_recorded)
    }
}

/// Judges the bytes of a journal's last segment.
///
/// # Errors
/// [`Fault::Version`] and [`Fault::Features`]: the segment is not damaged, it needs a newer program.
pub fn judge(bytes: &[u8], around: Surroundings) -> Result<Verdict, Fault> {
    let header = match SegmentHeader::decode(bytes) {
        Ok(header) if header.base == around.base => Some(header),
        Err(fault @ (Fault::Version { .. } | Fault::Features { .. })) => return Err(fault),
        Ok(_) | Err(_) => None,
    };
    let identity =
        header.as_ref().map(Identity::of).or_else(|| Identity::find(bytes, around.journal)).or(around.footer);
    let mut verdict = Verdict {
        header,
        identity,
        chained: header.is_none_or(|header| header.chained()),
        proven: around.proven.unwrap_or(Seq::ZERO).max(around.base.prev()),
        proven_end: SEGMENT_HEADER_BYTES.min(bytes.len()),
        proven_link: header.map(|header| header.previous).or(around.previous).unwrap_or_default(),
        first_recorded: None,
        proven_recorded: None,
        unproven: Vec::new(),
        torn: None,
        damage: Vec::new(),
    };
    let Some(identity) = identity else {
        let used = used_bytes(bytes);
        if used > 0 {
            verdict.torn = Some((0..used, around.base));
        }
        return Ok(verdict);
    };
    let start = SEGMENT_HEADER_BYTES.min(bytes.len());
    Ok(sorted(Walk::new(bytes, 0, identity, start, around.base, Seq::MAX), bytes, identity, verdict))
}

/// What is known of the beginning of a segment of which the bytes are not at hand: whole frames, all of them proven.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    header: SegmentHeader,
    /// Where it ends.
    pub(crate) end: usize,
    /// The seq that follows it.
    pub(crate) next: Seq,
    /// The highest seq that is proven to have been durable, as far as was read.
    pub(crate) durable: Seq,
    link: Hash,
    first_recorded: Option<Micros>,
    last_recorded: Option<Micros>,
}

impl Prefix {
    /// Nothing but the header; up to `proven` all is durable.
    pub(crate) fn of(header: SegmentHeader, proven: Option<Seq>) -> Prefix {
        Prefix {
            end: SEGMENT_HEADER_BYTES,
            next: header.base,
            durable: proven.unwrap_or(Seq::ZERO).max(header.base.prev()),
            link: header.previous,
            first_recorded: None,
            last_recorded: None,
            header,
        }
    }

    /// Whether a whole frame is proven.
    pub(crate) fn covers(&self, frame: &BatchHeader) -> bool {
        is_proven(self.durable, frame)
    }

    /// Goes behind the whole and proven frame that begins at `at`, where this ended.
    pub(crate) fn take(&mut self, at: u64, frame: &BatchHeader) {
        self.end = usize::try_from(at).unwrap_or(usize::MAX).saturating_add(frame.frame_bytes());
        self.next = frame.last().next();
        self.link = frame.link;
        if !frame.is_proof() {
            self.first_recorded.get_or_insert(frame.recorded);
            self.last_recorded = Some(frame.recorded);
        }
    }
}

fn is_proven(durable: Seq, frame: &BatchHeader) -> bool {
    frame.first <= durable || frame.is_proof()
}

/// As [`judge`], of a segment that begins with `prefix`, and `bytes` after it. Places in the verdict are those in the file.
pub(crate) fn judge_behind(bytes: &[u8], prefix: &Prefix) -> Verdict {
    let identity = Identity::of(&prefix.header);
    let verdict = Verdict {
        header: Some(prefix.header),
        identity: Some(identity),
        chained: prefix.header.chained(),
        proven: prefix.durable,
        proven_end: 0,
        proven_link: prefix.link,
        first_recorded: prefix.first_recorded,
        proven_recorded: prefix.last_recorded,
        unproven: Vec::new(),
        torn: None,
        damage: Vec::new(),
    };
    let walk = Walk::new(bytes, prefix.end as u64, identity, 0, prefix.next, Seq::MAX);
    let mut verdict = sorted(walk, bytes, identity, verdict);
    let moved = |range: &mut Range<usize>| *range = range.start + prefix.end..range.end + prefix.end;
    verdict.proven_end += prefix.end;
    verdict.unproven.iter_mut().for_each(|(at, _)| *at += prefix.end);
    verdict.torn.iter_mut().for_each(|(range, _)| moved(range));
    verdict.damage.iter_mut().for_each(|(_, _, range)| moved(range));
    verdict
}

/// Takes what `walk` finds in `bytes` into the verdict.
fn sorted(walk: Walk<'_>, bytes: &[u8], identity: Identity, mut verdict: Verdict) -> Verdict {
    let pieces: Vec<Piece> = walk.collect();
    let headers = pieces.iter().filter_map(|piece| match piece {
        Piece::Frame { header, .. } => Some(header),
        Piece::Bad { header, .. } => header.as_ref(),
    });
    for header in headers {
        verdict.proven = verdict.proven.max(header.durable);
        if verdict.header.is_none() && !header.is_proof() {
            verdict.chained = header.link != Hash::ZERO;
        }
    }
    let mut sorting = Sorting { bytes, identity, verdict, link_known: true };
    for piece in pieces {
        if !sorting.take(piece) {
            break;
        }
    }
    sorting.verdict
}

/// Sorts the pieces of a walk into proven, unproven and torn.
struct Sorting<'a> {
    bytes: &'a [u8],
    identity: Identity,
    verdict: Verdict,
    /// Whether the link before the next frame is known, so that the frame's own can be checked.
    link_known: bool,
}

impl Sorting<'_> {
    /// Takes one piece; whether what follows may still be kept.
    fn take(&mut self, piece: Piece) -> bool {
        match piece {
            Piece::Frame { at, header } if is_proven(self.verdict.proven, &header) => {
                self.proven_frame(at, &header);
                true
            }
            Piece::Frame { at, header } => self.unproven_frame(at, header),
            Piece::Bad { at, from, to, .. } if from <= self.verdict.proven => self.damaged(at, from, to),
            Piece::Bad { at, from, .. } => self.torn(at.start, from),
        }
    }

    fn proven_frame(&mut self, at: usize, header: &BatchHeader) {
        let verdict = &mut self.verdict;
        let frame = at..at + header.frame_bytes();
        for slot in frame_slots(self.bytes, at, header, self.identity.key()) {
            if let Slot::Lost(from, to) = slot {
                verdict.damage.push((from, to, frame.clone()));
            }
        }
        verdict.proven_end = frame.end;
        verdict.proven_link = header.link;
        self.link_known = true;
        if !header.is_proof() {
            verdict.first_recorded.get_or_insert(header.recorded);
            verdict.proven_recorded = Some(header.recorded);
        }
    }

    fn unproven_frame(&mut self, at: usize, header: BatchHeader) -> bool {
        let slots = frame_slots(self.bytes, at, &header, self.identity.key());
        let whole = slots.iter().all(|slot| matches!(slot, Slot::Whole(_)))
            && is_exact(self.bytes, at, &header, &slots)
            && self.links(&header, &slots);
        if !whole {
            return self.torn(at, header.first);
        }
        self.verdict.unproven.push((at, header));
        self.verdict.first_recorded.get_or_insert(header.recorded);
        self.link_known = true;
        true
    }

    /// Whether the frame continues the chain. Tells apart a header and records of two different writes, of which a
    /// disk kept one sector each: their checksums all hold.
    fn links(&self, header: &BatchHeader, slots: &[Slot]) -> bool {
        if !self.verdict.chained || !self.link_known {
            return true;
        }
        let records = slots.iter().filter_map(Slot::record);
        link_of(self.verdict.link(), header, self.bytes, records) == header.link
    }

    fn damaged(&mut self, at: Range<usize>, from: Seq, to: Option<Seq>) -> bool {
        let verdict = &mut self.verdict;
        let end = to.map_or(verdict.proven.next(), |to| to.min(verdict.proven.next()));
        for slot in stretch_slots(self.bytes, at.clone(), from, end, self.identity.key()) {
            if let Slot::Lost(from, to) = slot {
                verdict.damage.push((from, to, at.clone()));
            }
        }
        verdict.proven_end = at.end.next_multiple_of(crate::format::ALIGN).min(self.bytes.len());
        self.link_known = false;
        match to {
            Some(to) if to <= verdict.proven.next() => true,
            _ => self.torn(self.verdict.proven_end, end),
        }
    }

    fn torn(&mut self, at: usize, first: Seq) -> bool {
        let used = used_bytes(self.bytes);
        if used > at {
            self.verdict.torn = Some((at..used, first));
        }
        false
    }
}
