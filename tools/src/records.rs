//! Reading the records of a range in order, each seq once: whole, or in a gap.
//!
//! What stands in the files is given even where the chain says that somebody changed it; the problem is told beside.

use mnemosyne::event::{Event, EventRef, StoredEvent};
use mnemosyne_journal::format::{RECORD_HEADER_BYTES, SegmentHeader};
use mnemosyne_journal::inspect::{Look, Survey};
use mnemosyne_journal::scan::Slot;
use mnemosyne_journal::verify::{Part, Problem};
use mnemosyne_journal::{Hash, Micros, Seq};

use crate::failure::Failure;
use crate::out::Out;
use crate::text;

/// Seqs from `from` to `to`, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: Seq,
    pub(crate) to: Seq,
}

impl Span {
    pub(crate) const ALL: Span = Span { from: Seq::FIRST, to: Seq::MAX };
}

/// One place of the journal, or several that are lost.
pub(crate) enum Item<'a> {
    Record(Record<'a>),
    Gap(Gap<'a>),
}

/// A whole record.
pub(crate) struct Record<'a> {
    pub(crate) seq: Seq,
    pub(crate) recorded: Micros,
    /// Its batch header is lost; it was recorded then or later.
    pub(crate) recorded_is_bound: bool,
    pub(crate) payload: &'a [u8],
    pub(crate) redacted: bool,
    /// Where its header begins in the segment.
    pub(crate) offset: usize,
    pub(crate) look: &'a Look,
    pub(crate) part: &'a Part,
}

/// Seqs that cannot be read.
pub(crate) struct Gap<'a> {
    pub(crate) from: Seq,
    pub(crate) to: Seq,
    pub(crate) why: Option<&'a Problem>,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    On,
    Stop,
}

/// What stands in a payload.
pub(crate) enum Content {
    Event(Box<StoredEvent>),
    /// Not an event that can be read here, and why.
    Opaque(String),
}

impl Record<'_> {
    pub(crate) fn content(&self) -> Content {
        match Event::decode(self.payload) {
            Ok(event) => {
                let (seq, recorded) =
                    (mnemosyne::event::Seq::new(self.seq.get()), text::timestamp(self.recorded));
                Content::Event(Box::new(StoredEvent { seq, recorded, event }))
            }
            Err(error) => Content::Opaque(error.to_string()),
        }
    }

    pub(crate) fn envelope(&self) -> Option<EventRef<'_>> {
        EventRef::decode(self.payload).ok()
    }

    /// Header and payload, as they lie on the disk.
    pub(crate) fn stored_bytes(&self) -> usize {
        let digest = if self.redacted { Hash::BYTES } else { 0 };
        RECORD_HEADER_BYTES + digest + self.payload.len()
    }
}

/// Gives every seq of `span` that the journal holds to `take`, in order, and tells what does not hold on the way.
pub(crate) fn each(
    survey: &Survey,
    span: Span,
    out: &mut Out,
    take: impl FnMut(Item<'_>, &mut Out) -> Result<Flow, Failure>,
) -> Result<(), Failure> {
    each_telling(survey, span, out, tell, take)
}

/// The same where `tell` says what does not hold in a segment.
pub(crate) fn each_telling(
    survey: &Survey,
    span: Span,
    out: &mut Out,
    mut tell: impl FnMut(&Look, &mut Out),
    mut take: impl FnMut(Item<'_>, &mut Out) -> Result<Flow, Failure>,
) -> Result<(), Failure> {
    let mut looks = survey.looks(span.from);
    let mut recorded = Micros::EPOCH;
    while let Some(look) = looks.next()? {
        let flow = each_of(&look, span, &mut recorded, out, &mut take)?;
        tell(&look, out);
        if flow == Flow::Stop || look.next_base.is_some_and(|base| base > span.to) {
            break;
        }
    }
    Ok(())
}

/// Says what does not hold in a segment, and that it is unfinished if it is.
fn tell(look: &Look, out: &mut Out) {
    look.checked.problems.iter().for_each(|problem| out.problem(problem));
    look.checked.notes.iter().for_each(|note| out.note(&text::problem(note)));
}

fn each_of(
    look: &Look,
    span: Span,
    recorded: &mut Micros,
    out: &mut Out,
    take: &mut impl FnMut(Item<'_>, &mut Out) -> Result<Flow, Failure>,
) -> Result<Flow, Failure> {
    if let Ok(header) = SegmentHeader::decode(&look.bytes) {
        *recorded = header.created;
    }
    for (slot, part) in look.slots() {
        if let Part::Frame { header, .. } = part {
            *recorded = header.recorded;
        }
        let item = match slot {
            Slot::Whole(found) if found.seq < span.from => continue,
            Slot::Lost(_, to) if to < span.from => continue,
            Slot::Whole(found) if found.seq > span.to => return Ok(Flow::Stop),
            Slot::Lost(from, _) if from > span.to => return Ok(Flow::Stop),
            Slot::Lost(from, to) => {
                let why = look.checked.problems.iter().find(|problem| problem.lost == Some((from, to)));
                Item::Gap(Gap { from: from.max(span.from), to: to.min(span.to), why })
            }
            Slot::Whole(found) => {
                let redacted = found.is_redacted();
                let stored = &look.bytes[found.payload.clone()];
                Item::Record(Record {
                    seq: found.seq,
                    recorded: *recorded,
                    recorded_is_bound: !matches!(part, Part::Frame { .. }),
                    payload: if redacted { &stored[Hash::BYTES..] } else { stored },
                    redacted,
                    offset: found.payload.start - RECORD_HEADER_BYTES,
                    look,
                    part,
                })
            }
        };
        if take(item, out)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
    }
    Ok(Flow::On)
}
