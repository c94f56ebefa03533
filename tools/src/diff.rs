//! `diff`: where two journals part, found by their chains.
//!
//! Two journals whose links after a seq are equal are equal in everything up to there, so the last equal link is found by
//! bisection over the segments' headers, and within one segment by the headers of its batches. Payloads are read of one
//! segment on each side only: the one with the first batch that differs. Segments whose batches are gone through, the last one among
//! them, are read whole and checked, so that damage there is told. Of all the others header and footer are read: what no
//! segment holds is told too, and what one side alone misses so is a difference.
//!
//! What counts is what the check says, as in `info` and `verify`: a batch is there if the check keeps it, and a side ends where
//! the check says that it ends. Where damage hides the end of a batch, the next link that both have tells of everything before it;
//! if none follows, the records are compared that both can be read of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use mnemosyne::event::text::visible;
use mnemosyne_journal::format::{Footer, SegmentHeader};
use mnemosyne_journal::inspect::{Look, Survey};
use mnemosyne_journal::scan::Slot;
use mnemosyne_journal::verify::{Part, Problem};
use mnemosyne_journal::{Hash, Micros, Seq};
use serde_json::json;

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Content, Flow, Item, Span};
use crate::text;

/// Find the first seq at which two journals differ
///
/// The chains are compared, not all the records: what they say is right where `verify` finds both journals whole. The last segment
/// of each, and every other whose batches are gone through, is read whole and checked; the last line says how many were. Seqs
/// that no segment of one of them holds are damage of that one, and a difference where the other has them. Two
/// copies of one journal, one of them older, do not differ: the longer one goes on. Exit code 0: one goes on where the
/// other ends, or both end together; 1: they differ; 4: damage was met on the way.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// A data directory or a journal directory
    a: PathBuf,
    /// Another one
    b: PathBuf,
}

/// One side.
struct Side {
    name: &'static str,
    survey: Survey,
    /// As `info` says.
    last: Seq,
    chains: BTreeMap<usize, Chain>,
    /// The segments that were read whole.
    looked: BTreeSet<usize>,
    /// What was said of them: some are read twice.
    told: Vec<Problem>,
    /// Seqs that are lost in them and between all, in order.
    lost: BTreeMap<Seq, Seq>,
    /// Those of them that no segment holds.
    holes: Vec<Span>,
}

/// The chain in one segment, as far as the check keeps it.
struct Chain {
    /// By the seq that they stand behind, with the one before the first record.
    links: BTreeMap<Seq, Hash>,
    /// Seqs of which no batch header is left.
    hidden: Vec<Span>,
    last: Seq,
}

/// What stands in the chain behind a seq.
#[derive(PartialEq, Eq)]
enum Behind {
    Link(Hash),
    /// Damage hides whether a batch ends there, and its link.
    Hidden,
    /// A batch that goes on.
    Nothing,
}

/// What came out.
enum Verdict {
    /// Equal up to here, the end of the shorter one; of the span, records alone tell, for damage hides the chain there.
    Same(Seq, Option<Span>),
    /// The first difference, and what it is.
    Differ(Seq, String),
}

pub(crate) fn run(args: &DiffArgs, out: &mut Out) -> Result<(), Failure> {
    let (mut a, mut b) = (Side::open(&args.a, "first", out)?, Side::open(&args.b, "second", out)?);
    let found = compare(&mut a, &mut b, out)?;
    let verdict = over_holes(&a, &b, found);
    let (lasts, differ) = ((a.last, b.last), matches!(verdict, Verdict::Differ(..)));
    let beyond = if lasts.0 > lasts.1 { a.lost_behind(b.last) } else { b.lost_behind(a.last) };
    if out.is_json() {
        let (same, first, what, hidden) = match &verdict {
            Verdict::Same(seq, hidden) => (seq.get(), None, None, hidden.as_ref()),
            Verdict::Differ(seq, what) => (seq.prev().get(), Some(seq.get()), Some(what), None),
        };
        let by_records = hidden.map(|span| json!({ "from_seq": span.from.get(), "to_seq": span.to.get() }));
        out.json(&json!({
            "version": 1, "same": !differ, "same_to_seq": same, "first_different_seq": first, "what": what,
            "by_records": by_records,
            "last_seq": [lasts.0.get(), lasts.1.get()],
            "lost_beyond": beyond,
            "segments": [a.survey.bases().len(), b.survey.bases().len()],
            "segments_read": [a.looked.len(), b.looked.len()],
        }))?;
    } else {
        out.line(&words(&verdict, lasts, beyond))?;
        if let Verdict::Same(_, Some(Span { from, to })) = verdict {
            out.line(&format!(
                "damage hides the chain at {}: what both can be read of there was compared, and is the same",
                text::seqs(from, to)
            ))?;
        }
        let (first, second) = (a.read(), b.read());
        out.line(&format!(
            "compared by their chains; read whole: {first} of the first, {second} of the second"
        ))?;
    }
    if differ { Err(Failure::Different) } else { Ok(()) }
}

/// `beyond`: how many seqs behind the end of the shorter one are known to be lost in the longer one.
fn words(verdict: &Verdict, (a, b): (Seq, Seq), beyond: u64) -> String {
    match verdict {
        Verdict::Differ(seq, what) => format!("they differ from seq {seq} on: {what}"),
        Verdict::Same(last, _) if a == b => format!("the same, both up to seq {last}"),
        Verdict::Same(last, _) => {
            let (longer, more) = if a > b { ("first", a.since(b)) } else { ("second", b.since(a)) };
            let lost =
                if beyond > 0 { format!(", {beyond} of them known to be lost") } else { String::new() };
            format!(
                "the same up to seq {last}; the {longer} goes on for {}{lost}",
                text::counted(more, "seq")
            )
        }
    }
}

/// The same with the seqs that one side alone has no segment for: the chain over them tells nothing of what is gone.
fn over_holes(a: &Side, b: &Side, verdict: Verdict) -> Verdict {
    let (first, end) = (a.first().max(b.first()), a.last.min(b.last));
    let holes = [(a, b), (b, a)]
        .map(|(side, other)| side.hole_beside(other, first, end).map(|hole| (hole, side.name)));
    let Some((hole, name)) = holes.into_iter().flatten().min_by_key(|(hole, _)| hole.from) else {
        return verdict;
    };
    let missing = format!("no segment of the {name} holds {}", text::seqs(hole.from, hole.to));
    match verdict {
        Verdict::Differ(seq, what) if seq < hole.from => Verdict::Differ(seq, what),
        Verdict::Differ(seq, what) if seq > hole.to => {
            Verdict::Differ(hole.from, format!("{missing}; from seq {seq} on, {what}"))
        }
        Verdict::Differ(..) => Verdict::Differ(hole.from, missing),
        Verdict::Same(last, _) => {
            Verdict::Differ(hole.from, format!("{missing}; all that both hold up to seq {last} is the same"))
        }
    }
}

impl Side {
    fn open(dir: &std::path::Path, name: &'static str, out: &mut Out) -> Result<Side, Failure> {
        let survey = Place::survey(dir)?;
        let mut side = Side {
            name,
            last: Seq::ZERO,
            chains: BTreeMap::new(),
            looked: BTreeSet::new(),
            told: Vec::new(),
            lost: BTreeMap::new(),
            holes: Vec::new(),
            survey,
        };
        let index = side.survey.bases().len() - 1;
        if side.is_unchained(out)? {
            let shown = visible(&dir.display().to_string()).into_owned();
            return Err(Failure::Failed(format!(
                "{shown} was written without a chain: there is nothing to compare"
            )));
        }
        for hole in side.survey.missing()? {
            side.holes.extend(hole.lost.map(|(from, to)| Span { from, to }));
            side.tell_once(&hole, out);
        }
        side.last = side.chain(index, out)?.last;
        Ok(side)
    }

    /// The first seqs from `from` to `to` that this side has no segment for, and the other has.
    fn hole_beside(&self, other: &Side, mut from: Seq, to: Seq) -> Option<Span> {
        for hole in &self.holes {
            from = from.max(hole.from);
            // The other's are in order too: what is left of this one ends where the next of them begins.
            let mut end = hole.to.min(to);
            for theirs in &other.holes {
                if theirs.from <= from && from <= theirs.to {
                    from = theirs.to.next();
                } else if from < theirs.from {
                    end = end.min(theirs.from.prev());
                }
            }
            if from <= end {
                return Some(Span { from, to: end });
            }
        }
        None
    }

    /// What a header says holds for the whole journal. Where none can be read, links that are zero tell: a chain has none.
    fn is_unchained(&mut self, out: &mut Out) -> Result<bool, Failure> {
        let segments = self.survey.bases().len();
        for index in (0..segments).rev() {
            if let Ok(header) = self.survey.glance(index)?.header {
                return Ok(!header.chained());
            }
        }
        for index in (0..segments).rev() {
            let links = &self.chain(index, out)?.links;
            if !links.is_empty() {
                return Ok(links.values().all(|link| *link == Hash::ZERO));
            }
        }
        Ok(false)
    }

    /// How many seqs behind `seq` were found lost.
    fn lost_behind(&self, seq: Seq) -> u64 {
        let lost = self.lost.iter().filter(|(_, to)| **to > seq);
        lost.map(|(from, to)| to.since(seq.next().max(*from)) + 1).sum()
    }

    /// Says what does not hold in a segment, unless it was said before.
    fn tell(&mut self, look: &Look, out: &mut Out) {
        if self.survey.bases().binary_search(&look.base).is_ok_and(|index| self.looked.insert(index)) {
            let note = |note| out.note(&format!("of the {}: {}", self.name, text::problem(note)));
            look.checked.notes.iter().for_each(note);
        }
        look.checked.problems.iter().for_each(|problem| self.tell_once(problem, out));
    }

    fn tell_once(&mut self, problem: &Problem, out: &mut Out) {
        if !self.told.contains(problem) {
            out.problem_of(self.name, problem);
            self.told.push(problem.clone());
        }
        self.lost.extend(problem.lost);
    }

    /// How many of its segments were read whole.
    fn read(&self) -> String {
        format!("{} of {}", self.looked.len(), text::counted(self.survey.bases().len() as u64, "segment"))
    }

    fn first(&self) -> Seq {
        self.survey.bases()[0]
    }

    /// The chain in a segment, which is read for it, and what does not hold there told once.
    fn chain(&mut self, index: usize, out: &mut Out) -> Result<&Chain, Failure> {
        if !self.chains.contains_key(&index) {
            let base = self.survey.bases()[index];
            let look = self.survey.looks(base).next()?.filter(|look| look.base == base);
            let gone =
                || Failure::NotFound(format!("the segment of seq {base} was removed meanwhile; try again"));
            let look = look.ok_or_else(gone)?;
            self.tell(&look, out);
            // Both ends of a comparison move forward, so one is enough, beside the last, which was read first.
            let last = self.survey.bases().len() - 1;
            self.chains.retain(|kept, _| *kept == last);
            self.chains.insert(index, Chain::of(&look));
        }
        Ok(&self.chains[&index])
    }

    /// What stands in the chain behind `seq`.
    fn behind(&mut self, seq: Seq, out: &mut Out) -> Result<Behind, Failure> {
        if let Ok(index) = self.survey.bases().binary_search(&seq.next()) {
            let glance = self.survey.glance(index)?;
            if let Some(header) = glance.header.ok().filter(|header| header.base == glance.base) {
                return Ok(Behind::Link(header.previous));
            }
        }
        match self.survey.index_of(seq) {
            Some(index) => Ok(self.chain(index, out)?.behind(seq)),
            None => Ok(Behind::Nothing),
        }
    }
}

impl Chain {
    fn of(look: &Look) -> Chain {
        let mut chain = Chain { links: BTreeMap::new(), hidden: Vec::new(), last: look.checked.last };
        if let Some(header) =
            SegmentHeader::decode(&look.bytes).ok().filter(|header| header.base == look.base)
        {
            chain.links.insert(look.base.prev(), header.previous);
        }
        for part in &look.parts {
            match part {
                // A proof frame repeats the link before it, whose own header may be lost.
                Part::Frame { header, .. } => {
                    chain.links.entry(header.last()).or_insert(header.link);
                }
                Part::Stretch { slots, .. } => chain.hidden.extend(slots.iter().map(|slot| match slot {
                    Slot::Whole(found) => Span { from: found.seq, to: found.seq },
                    Slot::Lost(from, to) => Span { from: *from, to: *to },
                })),
                Part::Missing { from, to, .. } => chain.hidden.push(Span { from: *from, to: *to }),
            }
        }
        if let Some(footer) = Footer::at_end_of(&look.bytes).filter(|footer| footer.base == look.base) {
            chain.links.entry(footer.last).or_insert(footer.link);
        }
        chain
    }

    fn behind(&self, seq: Seq) -> Behind {
        // They are in order, and do not overlap.
        let next = self.hidden.partition_point(|span| span.to < seq);
        match (self.links.get(&seq), self.hidden.get(next)) {
            (Some(link), _) => Behind::Link(*link),
            (None, Some(span)) if span.from <= seq => Behind::Hidden,
            (None, _) => Behind::Nothing,
        }
    }
}

fn compare(a: &mut Side, b: &mut Side, out: &mut Out) -> Result<Verdict, Failure> {
    let start = a.first().max(b.first());
    let end = a.last.min(b.last);
    if start > end.next() {
        return Err(Failure::NotFound("the two hold no seq in common".to_owned()));
    }
    // The last segment of `a` before which both chains are equal.
    let bases: Vec<Seq> =
        a.survey.bases().iter().copied().filter(|base| *base > start && *base <= end).collect();
    let (mut low, mut high, mut same) = (0, bases.len(), start.prev());
    while low < high {
        let middle = usize::midpoint(low, high);
        let behind = bases[middle].prev();
        let link = a.behind(behind, out)?;
        if matches!(link, Behind::Link(_)) && link == b.behind(behind, out)? {
            (low, same) = (middle + 1, behind);
        } else {
            high = middle;
        }
    }
    // From there batch by batch.
    let mut differs = None;
    let Some(mut index) = a.survey.index_of(same.next()) else {
        return Ok(Verdict::Same(same, None));
    };
    while differs.is_none() && index < a.survey.bases().len() && a.survey.bases()[index] <= end {
        let behind = (std::ops::Bound::Excluded(same), std::ops::Bound::Included(end));
        let links: Vec<(Seq, Hash)> =
            a.chain(index, out)?.links.range(behind).map(|(seq, link)| (*seq, *link)).collect();
        for (seq, link) in links {
            match b.behind(seq, out)? {
                Behind::Link(other) if other == link => same = seq,
                // The next one tells of everything before it.
                Behind::Hidden => {}
                Behind::Link(_) | Behind::Nothing => {
                    differs = Some(seq);
                    break;
                }
            }
        }
        index += 1;
    }
    if same >= end && differs.is_none() {
        return Ok(Verdict::Same(same, None));
    }
    let span = Span { from: same.next(), to: differs.unwrap_or(end) };
    let found = look_closer(a, b, span, out)?;
    if let Some((seq, what)) = found.first {
        return Ok(Verdict::Differ(seq, what));
    }
    // Without a link that differs, a batch of the one reaches beyond the end of the other, or damage hides which do.
    if differs.is_none() && (a.behind(end, out)? == Behind::Hidden || b.behind(end, out)? == Behind::Hidden) {
        return Ok(Verdict::Same(end, Some(span)));
    }
    let what = if found.all {
        "the records are the same, but not the batches in which they were written"
    } else {
        "the chains are not the same; the records are, as far as they can be read"
    };
    Ok(Verdict::Differ(span.from, what.to_owned()))
}

/// What the records of a span say.
struct Closer {
    /// The first difference, and what it is.
    first: Option<(Seq, String)>,
    /// Whether all of both could be read, and when they were recorded.
    all: bool,
}

/// The records of a span, side by side.
fn look_closer(a: &mut Side, b: &mut Side, span: Span, out: &mut Out) -> Result<Closer, Failure> {
    let (first, second) = (copy(a, span, out)?, copy(b, span, out)?);
    let mut all = first.gaps.is_empty() && second.gaps.is_empty();
    let seqs: BTreeSet<Seq> = first.records.keys().chain(second.records.keys()).copied().collect();
    for seq in seqs {
        let what = match (first.records.get(&seq), second.records.get(&seq)) {
            (Some(ours), Some(other)) if ours.payload != other.payload => difference(ours, other),
            (Some(ours), Some(other)) => match (ours.recorded, other.recorded) {
                (Some(ours), Some(other)) if ours != other => {
                    format!("recorded {} and {}", text::time(ours), text::time(other))
                }
                (Some(_), Some(_)) => continue,
                (None, _) | (_, None) => {
                    all = false;
                    continue;
                }
            },
            (None, _) => first.absent(seq, a.name),
            (_, None) => second.absent(seq, b.name),
        };
        return Ok(Closer { first: Some((seq, what)), all });
    }
    Ok(Closer { first: None, all })
}

/// What can be read of a span of one side.
#[derive(Default)]
struct Copies {
    records: BTreeMap<Seq, Copy>,
    gaps: Vec<Span>,
}

impl Copies {
    /// Why a record is not there, in the words for the side of this name.
    fn absent(&self, seq: Seq, side: &str) -> String {
        if self.gaps.iter().any(|gap| gap.from <= seq && seq <= gap.to) {
            format!("it is lost in the {side}")
        } else {
            format!("the {side} has no such record")
        }
    }
}

struct Copy {
    /// Unless its batch header is lost.
    recorded: Option<Micros>,
    payload: Vec<u8>,
    kind: String,
}

fn copy(side: &mut Side, span: Span, out: &mut Out) -> Result<Copies, Failure> {
    let mut copies = Copies::default();
    let survey = side.survey.clone();
    let tell = |look: &Look, out: &mut Out| side.tell(look, out);
    records::each_telling(&survey, span, out, tell, |item, _| {
        match item {
            Item::Gap(gap) => copies.gaps.push(Span { from: gap.from, to: gap.to }),
            Item::Record(record) => {
                let kind = match record.content() {
                    Content::Event(event) => event.event.kind.name().to_owned(),
                    Content::Opaque(_) => "opaque".to_owned(),
                };
                let payload = record.payload.to_vec();
                let recorded = (!record.recorded_is_bound).then_some(record.recorded);
                copies.records.insert(record.seq, Copy { recorded, payload, kind });
            }
        }
        Ok(Flow::On)
    })?;
    Ok(copies)
}

fn difference(ours: &Copy, other: &Copy) -> String {
    let at = ours.payload.iter().zip(&other.payload).take_while(|(a, b)| a == b).count();
    let sizes = (ours.payload.len(), other.payload.len());
    let kinds = (visible(&ours.kind), visible(&other.kind));
    format!(
        "{} of {} bytes and {} of {} bytes, first different byte {at}",
        kinds.0, sizes.0, kinds.1, sizes.1
    )
}
