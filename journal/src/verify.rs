//! Reading everything and trusting nothing: every checksum, every zero, every link.
//!
//! [`check_segment`] is a pure function of one segment's bytes and what its neighbours say; [`verify`] runs it over a
//! directory and never writes. A problem is something that was on the disk once and is not any more, or was changed; a
//! note is what a crash leaves in good order.

use std::ops::Range;

use crate::catalog::{list_bases, open_segment, read_all, refusal};
use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::format::chain::{digest_of, link};
use crate::format::segment::segment_name;
use crate::format::{BatchHeader, FOOTER_BYTES, Fault, Footer, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::recovery::{Surroundings, Verdict, judge};
use crate::scan::{Piece, Slot, Walk, frame_slots, is_exact, stretch_slots, used_bytes};
use crate::types::{Hash, JournalId, Micros, Seq};

/// What was found wrong in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The segment file.
    pub segment: String,
    /// The bytes concerned.
    pub bytes: Range<u64>,
    /// First and last seq that cannot be read because of it; `None` if nothing is lost.
    pub lost: Option<(Seq, Seq)>,
    /// What is wrong, in words.
    pub what: String,
}

/// What a whole journal amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Which journal it is.
    pub journal: JournalId,
    /// The first seq that is retained.
    pub first: Seq,
    /// The last whole seq, proven or not; [`Seq::ZERO`] if there is none.
    pub last: Seq,
    /// The highest seq that is proven durable.
    pub proven: Seq,
    /// The chain after `last`.
    pub head: Hash,
    /// How many records are whole.
    pub records: u64,
    /// How many segments there are.
    pub segments: u64,
    /// Damage and edits.
    pub problems: Vec<Problem>,
    /// A torn tail, a segment that was not sealed yet: what a crash leaves and the next opening for writing clears up.
    pub notes: Vec<Problem>,
}

/// Reads and checks the whole journal on `disk`. Never writes.
///
/// # Errors
/// [`Error::NoJournal`], [`Error::UnsupportedVersion`], [`Error::UnsupportedFeature`], [`Error::Io`]. Damage is not an
/// error: it is what this is for.
pub fn verify(disk: &dyn Disk) -> Result<Verified> {
    let bases = list_bases(disk)?;
    let Some(&first) = bases.first() else { return Err(Error::NoJournal) };
    let mut all = Verified { first, ..Verified::default() };
    let mut around =
        Around { base: first, next_base: None, journal: None, previous: None, recorded: Micros::MIN };
    if first == Seq::FIRST {
        around.previous = Some(Hash::ZERO);
    }
    for (index, &base) in bases.iter().enumerate() {
        (around.base, around.next_base) = (base, bases.get(index + 1).copied());
        let (file, name) = open_segment(disk, base, Access::Read)?;
        let checked = check_segment(&read_all(&*file, &name)?, &around)
            .map_err(|fault| refusal(fault, &name).unwrap_or(Error::NoJournal))?;
        around.journal = around.journal.or(checked.journal);
        around.previous = checked.link;
        around.recorded = checked.recorded;
        all.journal = around.journal.unwrap_or_default();
        all.records += checked.records;
        all.segments += 1;
        (all.last, all.proven) = (checked.last, checked.proven);
        all.head = checked.link.unwrap_or_default();
        all.problems.extend(checked.problems);
        all.notes.extend(checked.notes);
    }
    Ok(all)
}

/// What a segment's neighbours say about it.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// The base in its file name.
    pub base: Seq,
    /// The base of the segment after it.
    pub next_base: Option<Seq>,
    /// The id of the journal.
    pub journal: Option<JournalId>,
    /// The chain before it.
    pub previous: Option<Hash>,
    /// `recorded` of the last batch before it.
    pub recorded: Micros,
}

/// What one segment amounts to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// Which journal its frames belong to.
    pub journal: Option<JournalId>,
    /// The last whole seq.
    pub last: Seq,
    /// The highest seq that is proven durable.
    pub proven: Seq,
    /// How many records are whole.
    pub records: u64,
    /// The chain after it, if its last frame is whole.
    pub link: Option<Hash>,
    /// `recorded` of its last batch.
    pub recorded: Micros,
    /// Damage and edits.
    pub problems: Vec<Problem>,
    /// What a crash leaves.
    pub notes: Vec<Problem>,
}

/// Checks one segment: every byte that means something.
///
/// # Errors
/// [`Fault::Version`] and [`Fault::Features`]: it needs a newer program.
pub fn check_segment(bytes: &[u8], around: &Around) -> Result<Checked, Fault> {
    let footer = Footer::at_end_of(bytes).filter(|footer| footer.base == around.base);
    let content = if footer.is_some() { &bytes[..bytes.len() - FOOTER_BYTES] } else { bytes };
    let ends = around.next_base.map(Seq::prev).or(footer.map(|footer| footer.last));
    let surroundings =
        Surroundings { base: around.base, journal: around.journal, previous: around.previous, proven: ends };
    let verdict = judge(content, surroundings)?;
    let mut check = Check {
        name: segment_name(around.base),
        content,
        link: verdict.header.map(|header| header.previous).or(around.previous),
        out: Checked {
            journal: verdict.identity.map(|identity| identity.journal),
            last: verdict.last(),
            proven: verdict.proven,
            records: 0,
            link: None,
            recorded: around.recorded,
            problems: Vec::new(),
            notes: Vec::new(),
        },
    };
    check.header(around, &verdict);
    check.frames(around, &verdict);
    check.end(around, &verdict, footer, bytes);
    check.out.link = check.link;
    Ok(check.out)
}

struct Check<'a> {
    name: String,
    content: &'a [u8],
    /// The chain up to here; `None` where damage has hidden it.
    link: Option<Hash>,
    out: Checked,
}

impl Check<'_> {
    fn problem(&mut self, bytes: Range<usize>, lost: Option<(Seq, Seq)>, what: impl Into<String>) {
        let problem = self.found(bytes, lost, what.into());
        self.out.problems.push(problem);
    }

    fn found(&self, bytes: Range<usize>, lost: Option<(Seq, Seq)>, what: String) -> Problem {
        let bytes = bytes.start as u64..bytes.end as u64;
        Problem { segment: self.name.clone(), bytes, lost, what }
    }

    fn header(&mut self, around: &Around, verdict: &Verdict) {
        let at = 0..SEGMENT_HEADER_BYTES.min(self.content.len());
        match (SegmentHeader::decode(self.content), verdict.header) {
            (Err(fault), _) => self.problem(at, None, format!("segment header: {fault}")),
            (Ok(header), None) => self.problem(at, None, format!("segment header: base is {}", header.base)),
            (Ok(header), Some(_)) => {
                if around.previous.is_some_and(|previous| previous != header.previous) {
                    let what =
                        "segment header: the previous link is not the one that the segment before ends with";
                    self.problem(at.clone(), None, what);
                }
                if around.journal.is_some_and(|journal| journal != header.journal) {
                    self.problem(
                        at,
                        None,
                        format!("segment header: it belongs to journal {}", header.journal),
                    );
                }
            }
        }
    }

    fn frames(&mut self, around: &Around, verdict: &Verdict) {
        let Some(identity) = verdict.identity else {
            if let Some(to) = around.next_base.filter(|to| *to > around.base) {
                let what = "neither the header nor any frame of this segment is whole";
                self.problem(0..self.content.len(), Some((around.base, to.prev())), what);
            }
            return;
        };
        let end = verdict.last().next();
        let walk_end = around.next_base.unwrap_or(Seq::MAX);
        let mut walk = Walk::new(self.content, 0, identity, SEGMENT_HEADER_BYTES, around.base, walk_end);
        let torn_at = verdict.torn.as_ref().map_or(usize::MAX, |(range, _)| range.start);
        loop {
            let (at, next) = (walk.at(), walk.next_seq());
            // Behind the end of a segment, whatever there is is dead.
            let over = at >= torn_at || around.next_base.is_some_and(|base| next >= base);
            match if over { None } else { walk.next() } {
                Some(Piece::Frame { at, header }) => {
                    let slots = frame_slots(self.content, at, &header, identity.key());
                    self.frame(at, &header, &slots, verdict);
                }
                Some(Piece::Bad { at, from, to, .. }) => {
                    let slots = stretch_slots(
                        self.content,
                        at.clone(),
                        from,
                        to.unwrap_or(end).min(end),
                        identity.key(),
                    );
                    self.bad_stretch(at, &slots);
                }
                None => {
                    if !over && next < end {
                        self.lost(
                            at..at,
                            next,
                            end.prev(),
                            "records are missing from the end of the segment",
                        );
                    }
                    break;
                }
            }
        }
    }

    fn frame(&mut self, at: usize, header: &BatchHeader, slots: &[Slot], verdict: &Verdict) {
        let frame = at..at + header.frame_bytes();
        let mut whole = true;
        for slot in slots {
            match slot {
                Slot::Whole(_) => self.out.records += 1,
                Slot::Lost(from, to) => {
                    whole = false;
                    self.lost(frame.clone(), *from, *to, "record checksum does not match");
                }
            }
        }
        if whole && !is_exact(self.content, at, header, slots) {
            self.problem(frame.clone(), None, "bytes that must be zero are not");
        }
        if header.recorded < self.out.recorded {
            self.problem(frame.clone(), None, "recorded is earlier than in the batch before");
        }
        self.out.recorded = self.out.recorded.max(header.recorded);
        if let (true, true, Some(previous)) = (whole, verdict.chained, self.link) {
            let digests = slots.iter().filter_map(|slot| match slot {
                Slot::Whole(found) => Some(digest_of(self.content, found)),
                Slot::Lost(..) => None,
            });
            let expected = if header.is_proof() { previous } else { link(previous, header, digests) };
            if expected != header.link {
                let what =
                    format!("the chain is broken: the link is {}, the records give {expected}", header.link);
                self.problem(frame, None, what);
            }
        }
        self.link = Some(header.link);
    }

    fn bad_stretch(&mut self, at: Range<usize>, slots: &[Slot]) {
        self.link = None;
        let mut any = false;
        for slot in slots {
            match slot {
                Slot::Whole(_) => self.out.records += 1,
                Slot::Lost(from, to) => {
                    any = true;
                    self.lost(
                        at.clone(),
                        *from,
                        *to,
                        "no batch begins where one should, and these records are gone",
                    );
                }
            }
        }
        if !any {
            self.problem(
                at,
                None,
                "no batch begins where one should; its records were found by their own headers",
            );
        }
    }

    fn lost(&mut self, at: Range<usize>, from: Seq, to: Seq, what: &str) {
        self.problem(at, Some((from, to)), what);
    }

    /// Footer, torn tail, and what lies behind the end.
    fn end(&mut self, around: &Around, verdict: &Verdict, footer: Option<Footer>, bytes: &[u8]) {
        if let Some((range, first)) = &verdict.torn
            && around.next_base.is_none()
        {
            let what = format!("torn tail: an unfinished write before seq {first}, as a crash leaves it");
            let note = self.found(range.clone(), None, what);
            self.out.notes.push(note);
        }
        let at = self.content.len()..bytes.len();
        match footer {
            Some(footer) => {
                let identity = verdict.identity;
                let same = footer.last == verdict.last()
                    && identity.is_none_or(|id| (id.salt, id.journal) == (footer.salt, footer.journal))
                    && self.link.is_none_or(|link| link == footer.link);
                if !same {
                    self.problem(at, None, "the footer does not describe this segment");
                }
                self.link = self.link.or(Some(footer.link));
            }
            None if around.next_base.is_some() => self.no_footer(verdict),
            None => {}
        }
    }

    fn no_footer(&mut self, verdict: &Verdict) {
        let used = used_bytes(self.content);
        let at = verdict.proven_end.min(used)..used;
        let frame = self.content.get(at.start..).map(|rest| BatchHeader::decode(rest, at.start as u64));
        if at.len() <= FOOTER_BYTES && !at.is_empty() && !matches!(frame, Some(Ok(_))) {
            self.problem(at, None, "the footer is damaged");
        } else {
            let what = "the segment is not sealed; the next opening for writing will do so";
            let note = self.found(at, None, what.to_owned());
            self.out.notes.push(note);
        }
    }
}
