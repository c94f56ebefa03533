//! Reading everything and trusting nothing: every checksum, every zero, every link.
//!
//! [`check_segment`] is a pure function of one segment's bytes and what its neighbours say; [`verify`] runs it over a
//! directory and never writes. A problem is something that was on the disk once and is not any more, or was changed; a
//! note is what a crash leaves in good order.

use std::ops::Range;

use crate::catalog::{list_bases, open_segment, read_all, refusal};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Result};
use crate::format::chain::link_of;
use crate::format::segment::segment_name;
use crate::format::{BatchHeader, FOOTER_BYTES, Fault, Footer, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::opening::Before;
use crate::recovery::{Surroundings, Verdict, judge};
use crate::scan::{
    Identity, Piece, Slot, Walk, frame_slots, is_exact, seen_bytes, stretch_slots, used_bytes,
};
use crate::types::{Hash, JournalId, Micros, Seq};

/// The code of seqs between a footer and the next segment's name.
pub(crate) const MISSING_SEGMENT: &str = "missing_segment";
/// The same in words.
pub(crate) const NO_SEGMENT: &str = "no segment holds these records";

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
    /// A stable `snake_case` name for programs.
    pub code: &'static str,
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
    /// A torn tail, a segment that was not sealed: what a crash leaves in good order.
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
        let checked = check_file(&*file, &name, &around, Seq::ZERO)?;
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

/// Reads and checks the segment that holds `seq`, every byte that means something, be it sealed or being written. All up to
/// `durable` is known to have been durable, whatever the segment says: asked before this is called. `None` if there is no such
/// segment, or not any more. Never writes.
///
/// # Errors
/// As [`verify`], but for [`Error::NoJournal`].
pub fn verify_holding(disk: &dyn Disk, seq: Seq, durable: Seq) -> Result<Option<Checked>> {
    let bases = list_bases(disk)?;
    let Some(index) = bases.partition_point(|base| *base <= seq).checked_sub(1) else { return Ok(None) };
    let (file, name) = match open_segment(disk, bases[index], Access::Read) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let around = Around::read(disk, &bases, index)?;
    check_file(&*file, &name, &around, durable).map(Some)
}

/// Reads and checks the segment in `file`.
pub(crate) fn check_file(file: &dyn DiskFile, name: &str, around: &Around, durable: Seq) -> Result<Checked> {
    let check = |bytes: &[u8]| {
        let checked = check_known(bytes, around, durable, &mut |_| {});
        checked.map_err(|fault| refusal(fault, name).unwrap_or(Error::NoJournal))
    };
    let bytes = read_all(file, name)?;
    let checked = check(&bytes)?;
    if around.next_base.is_some() || checked.problems.is_empty() {
        return Ok(checked);
    }
    // It may be being written: a later part was then read with frames that were not there yet when an earlier one was
    // read. What was written when the first look ended never changes, so the second one counts.
    let mut again = read_all(file, name)?;
    again.truncate(seen_bytes(&bytes));
    check(&again)
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

impl Around {
    /// Of the segment with the base `bases[index]`, as the ends of those before it tell.
    pub(crate) fn read(disk: &dyn Disk, bases: &[Seq], index: usize) -> Result<Around> {
        let before = Before::read(disk, &bases[..index])?;
        let base = bases[index];
        Ok(Around {
            base,
            next_base: bases.get(index + 1).copied(),
            journal: before.journal,
            previous: if base == Seq::FIRST { Some(Hash::ZERO) } else { before.link },
            recorded: before.recorded.unwrap_or(Micros::MIN),
        })
    }
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

/// What a check passes on its way through a segment: with it, whoever reads records sees the very ones that were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A frame whose header holds.
    Frame {
        /// Where it begins in the bytes.
        at: usize,
        /// Its header.
        header: BatchHeader,
        /// Its records, and the seqs of those that do not hold.
        slots: Vec<Slot>,
        /// Whether everything about it holds, its link too.
        holds: bool,
    },
    /// Bytes that hold no frame where one should begin, and the records that were found in them.
    Stretch {
        /// Where in the bytes.
        at: Range<usize>,
        /// The records.
        slots: Vec<Slot>,
    },
    /// Seqs that nothing in the segment holds, first and last.
    Missing {
        /// Where in the bytes they should have begun.
        at: usize,
        /// The first of them.
        from: Seq,
        /// The last of them.
        to: Seq,
    },
}

/// Checks one segment: every byte that means something.
///
/// # Errors
/// [`Fault::Version`] and [`Fault::Features`]: it needs a newer program.
pub fn check_segment(bytes: &[u8], around: &Around) -> Result<Checked, Fault> {
    check_parts(bytes, around, &mut |_| {})
}

/// [`check_segment`], which gives what it passes to `see`, in the order of the file.
///
/// # Errors
/// As [`check_segment`].
pub fn check_parts(bytes: &[u8], around: &Around, see: &mut dyn FnMut(Part)) -> Result<Checked, Fault> {
    check_known(bytes, around, Seq::ZERO, see)
}

/// The same, where all up to `durable` is known to have been durable: damage there is no torn tail.
fn check_known(
    bytes: &[u8],
    around: &Around,
    durable: Seq,
    see: &mut dyn FnMut(Part),
) -> Result<Checked, Fault> {
    let footer = Footer::at_end_of(bytes).filter(|footer| footer.base == around.base);
    let content = if footer.is_some() { &bytes[..bytes.len() - FOOTER_BYTES] } else { bytes };
    let next_base = around.next_base.map(Seq::prev);
    let ends = match footer.map(|footer| footer.last) {
        Some(last) => Some(next_base.map_or(last, |end| end.min(last))),
        None => next_base.or(Some(durable)),
    };
    let surroundings = Surroundings {
        base: around.base,
        journal: around.journal,
        previous: around.previous,
        footer: footer.as_ref().map(Identity::of_footer),
        proven: ends,
    };
    let verdict = judge(content, surroundings)?;
    let mut check = Check {
        name: segment_name(around.base),
        content,
        see,
        times: None,
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
    see: &'a mut dyn FnMut(Part),
    /// The chain up to here; `None` where damage has hidden it.
    link: Option<Hash>,
    /// `recorded` of the first and the last batch.
    times: Option<(Micros, Micros)>,
    out: Checked,
}

impl Check<'_> {
    fn problem(
        &mut self,
        code: &'static str,
        bytes: Range<usize>,
        lost: Option<(Seq, Seq)>,
        what: impl Into<String>,
    ) {
        let problem = self.found(code, bytes, lost, what.into());
        self.out.problems.push(problem);
    }

    fn note(&mut self, code: &'static str, bytes: Range<usize>, what: impl Into<String>) {
        let note = self.found(code, bytes, None, what.into());
        self.out.notes.push(note);
    }

    fn found(
        &self,
        code: &'static str,
        bytes: Range<usize>,
        lost: Option<(Seq, Seq)>,
        what: String,
    ) -> Problem {
        let bytes = bytes.start as u64..bytes.end as u64;
        Problem { segment: self.name.clone(), bytes, lost, code, what }
    }

    /// Seqs that nothing holds, at the place where they should begin.
    fn missing(&mut self, code: &'static str, at: usize, (from, to): (Seq, Seq), what: &str) {
        self.problem(code, at..at, Some((from, to)), what);
        (self.see)(Part::Missing { at, from, to });
    }

    fn header(&mut self, around: &Around, verdict: &Verdict) {
        let at = 0..SEGMENT_HEADER_BYTES.min(self.content.len());
        let code = "segment_header";
        match (SegmentHeader::decode(self.content), verdict.header) {
            (Err(fault), _) => self.problem(code, at, None, format!("segment header: {fault}")),
            (Ok(header), None) => {
                self.problem(code, at, None, format!("segment header: base is {}", header.base));
            }
            (Ok(header), Some(_)) => {
                if around.previous.is_some_and(|previous| previous != header.previous) {
                    let what =
                        "segment header: the previous link is not the one that the segment before ends with";
                    self.problem("chain", at.clone(), None, what);
                }
                if around.journal.is_some_and(|journal| journal != header.journal) {
                    let what = format!("segment header: it belongs to journal {}", header.journal);
                    self.problem("other_journal", at, None, what);
                }
            }
        }
    }

    fn frames(&mut self, around: &Around, verdict: &Verdict) {
        let Some(identity) = verdict.identity else {
            if let Some(to) = around.next_base.filter(|to| *to > around.base) {
                let what = "neither the header nor any frame of this segment is whole";
                self.missing("unrecognisable", 0, (around.base, to.prev()), what);
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
                    let holds = self.frame(at, &header, &slots, verdict);
                    (self.see)(Part::Frame { at, header, slots, holds });
                }
                Some(Piece::Bad { at, from, to, .. }) => {
                    let last = to.unwrap_or(end).min(end);
                    let slots = stretch_slots(self.content, at.clone(), from, last, identity.key());
                    self.bad_stretch(at.clone(), &slots);
                    (self.see)(Part::Stretch { at, slots });
                    // It reaches to the end, and has told of everything up to there.
                    if to.is_none() {
                        break;
                    }
                }
                None => {
                    if !over && next < end {
                        let what = "records are missing from the end of the segment";
                        self.missing("cut_off", at.min(self.content.len()), (next, end.prev()), what);
                        self.link = None;
                    }
                    break;
                }
            }
        }
    }

    fn frame(&mut self, at: usize, header: &BatchHeader, slots: &[Slot], verdict: &Verdict) -> bool {
        let before = self.out.problems.len();
        let frame = at..at + header.frame_bytes();
        let mut whole = true;
        for slot in slots {
            match slot {
                Slot::Whole(_) => self.out.records += 1,
                Slot::Lost(from, to) => {
                    whole = false;
                    let what = "record checksum does not match";
                    self.problem("record", frame.clone(), Some((*from, *to)), what);
                }
            }
        }
        if whole && !is_exact(self.content, at, header, slots) {
            self.problem("padding", frame.clone(), None, "bytes that must be zero are not");
        }
        if header.recorded < self.out.recorded {
            let what = "recorded is earlier than in the batch before";
            self.problem("recorded", frame.clone(), None, what);
        }
        self.out.recorded = self.out.recorded.max(header.recorded);
        if !header.is_proof() {
            self.times = Some((self.times.map_or(header.recorded, |(first, _)| first), header.recorded));
        }
        if let (true, true, Some(previous)) = (whole, verdict.chained, self.link) {
            let records = slots.iter().filter_map(Slot::record);
            let expected =
                if header.is_proof() { previous } else { link_of(previous, header, self.content, records) };
            if expected != header.link {
                let what = format!(
                    "the chain is broken at seq {} to {}: the link is {}, the records give {expected}",
                    header.first,
                    header.last(),
                    header.link
                );
                self.problem("chain", frame, None, what);
            }
        }
        self.link = Some(header.link);
        self.out.problems.len() == before
    }

    fn bad_stretch(&mut self, at: Range<usize>, slots: &[Slot]) {
        self.link = None;
        let mut any = false;
        for slot in slots {
            match slot {
                Slot::Whole(_) => self.out.records += 1,
                Slot::Lost(from, to) => {
                    any = true;
                    let what = "no batch begins where one should, and these records are gone";
                    self.problem("batch_header", at.clone(), Some((*from, *to)), what);
                }
            }
        }
        if !any {
            let what = "no batch begins where one should; its records were found by their own headers";
            self.problem("batch_header", at, None, what);
        }
    }

    /// Footer, torn tail, and what lies behind the end.
    fn end(&mut self, around: &Around, verdict: &Verdict, footer: Option<Footer>, bytes: &[u8]) {
        if let Some((range, first)) = &verdict.torn
            && around.next_base.is_none()
        {
            if footer.is_none() && ends_in_what_was_a_footer(bytes) {
                self.problem("footer", range.clone(), None, "the footer is damaged");
            } else {
                let what = format!("torn tail: an unfinished write before seq {first}, as a crash leaves it");
                self.note("torn_tail", range.clone(), what);
            }
        }
        match footer {
            Some(footer) => self.footer(&footer, around, verdict, bytes),
            None if around.next_base.is_some() => self.no_footer(verdict, bytes),
            None => {}
        }
    }

    fn footer(&mut self, footer: &Footer, around: &Around, verdict: &Verdict, bytes: &[u8]) {
        let identity = verdict.identity;
        let times = (footer.first_recorded, footer.last_recorded);
        let same = footer.last == verdict.last()
            && identity.is_none_or(|id| (id.salt, id.journal) == (footer.salt, footer.journal))
            && self.link.is_none_or(|link| link == footer.link)
            // Damage may have hidden the batches that these are of.
            && (!self.out.problems.is_empty() || times == self.times.unwrap_or_default());
        if !same {
            let at = self.content.len()..bytes.len();
            self.problem("footer", at, None, "the footer does not describe this segment");
        }
        self.link = self.link.or(Some(footer.link));
        let next = footer.last.next();
        if let Some(base) = around.next_base.filter(|base| *base > next) {
            self.missing(MISSING_SEGMENT, bytes.len(), (next, base.prev()), NO_SEGMENT);
            // What comes next continues a chain that is not here.
            self.link = None;
        }
    }

    fn no_footer(&mut self, verdict: &Verdict, bytes: &[u8]) {
        let used = used_bytes(self.content);
        let at = verdict.proven_end.min(used)..used;
        if ends_in_what_was_a_footer(bytes) {
            self.problem("footer", at, None, "the footer is damaged");
        } else {
            let what =
                "the segment is not sealed; an opening for writing seals it while it is the last but one";
            self.note("unsealed", at, what);
        }
    }
}

fn ends_in_what_was_a_footer(bytes: &[u8]) -> bool {
    bytes.len().checked_sub(FOOTER_BYTES).is_some_and(|at| Footer::was_at(&bytes[at..]))
}
