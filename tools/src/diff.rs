//! `diff`: where two journals part, found by their chains.
//!
//! Two journals whose links after a seq are equal are equal in everything up to there, so the last equal link is found by
//! bisection over the segments' headers, and within one segment by the headers of its batches. Payloads are read of one
//! segment on each side only: the one with the first batch that differs. Segments whose batches are gone through, the last one among
//! them, are read whole and checked, so that damage there is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use mnemosyne::event::text::visible;
use mnemosyne_journal::inspect::Survey;
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
/// of each, and every other whose batches are gone through, is read whole and checked; the last line says how many were. Two
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
    survey: Survey,
    last: Seq,
    links: BTreeMap<usize, BTreeMap<Seq, Hash>>,
    /// The segments that were read whole.
    looked: BTreeSet<usize>,
}

/// What came out.
enum Verdict {
    /// Equal up to here, the end of the shorter one.
    Same(Seq),
    /// The first difference, and what it is.
    Differ(Seq, String),
}

pub(crate) fn run(args: &DiffArgs, out: &mut Out) -> Result<(), Failure> {
    let (mut a, mut b) = (Side::open(&args.a, out)?, Side::open(&args.b, out)?);
    let verdict = compare(&mut a, &mut b, out)?;
    let (lasts, differ) = ((a.last, b.last), matches!(verdict, Verdict::Differ(..)));
    if out.is_json() {
        let (same, first, what) = match &verdict {
            Verdict::Same(seq) => (seq.get(), None, None),
            Verdict::Differ(seq, what) => (seq.prev().get(), Some(seq.get()), Some(what)),
        };
        out.json(&json!({
            "version": 1, "same": !differ, "same_to_seq": same, "first_different_seq": first, "what": what,
            "last_seq": [lasts.0.get(), lasts.1.get()],
            "segments": [a.survey.bases().len(), b.survey.bases().len()],
            "segments_read": [a.looked.len(), b.looked.len()],
        }))?;
    } else {
        out.line(&words(&verdict, lasts))?;
        let (first, second) = (a.read(), b.read());
        out.line(&format!(
            "compared by their chains; read whole: {first} of the first, {second} of the second"
        ))?;
    }
    if differ { Err(Failure::Different) } else { Ok(()) }
}

fn words(verdict: &Verdict, (a, b): (Seq, Seq)) -> String {
    match verdict {
        Verdict::Differ(seq, what) => format!("they differ from seq {seq} on: {what}"),
        Verdict::Same(last) if a == b => format!("the same, both up to seq {last}"),
        Verdict::Same(last) => {
            let (longer, more) = if a > b { ("first", a.since(b)) } else { ("second", b.since(a)) };
            format!("the same up to seq {last}; the {longer} has {} more", text::counted(more, "record"))
        }
    }
}

impl Side {
    fn open(dir: &std::path::Path, out: &mut Out) -> Result<Side, Failure> {
        let survey = Place::survey(dir)?;
        let mut side = Side { last: Seq::ZERO, links: BTreeMap::new(), looked: BTreeSet::new(), survey };
        let index = side.survey.bases().len() - 1;
        let base = side.survey.bases()[index];
        if let Ok(header) = &side.survey.glance(index)?.header
            && !header.chained()
        {
            let shown = visible(&dir.display().to_string()).into_owned();
            return Err(Failure::Failed(format!(
                "{shown} was written without a chain: there is nothing to compare"
            )));
        }
        side.last = side.links(index, out)?.last_key_value().map_or(base.prev(), |(seq, _)| *seq);
        Ok(side)
    }

    /// How many of its segments were read whole.
    fn read(&self) -> String {
        format!("{} of {}", self.looked.len(), text::counted(self.survey.bases().len() as u64, "segment"))
    }

    fn first(&self) -> Seq {
        self.survey.bases()[0]
    }

    /// The links of a segment by the seq that they stand behind, with the one before its first record.
    fn links(&mut self, index: usize, out: &mut Out) -> Result<&BTreeMap<Seq, Hash>, Failure> {
        if !self.links.contains_key(&index) {
            if self.looked.insert(index)
                && let Some(look) = self.survey.looks(self.survey.bases()[index]).next()?
            {
                records::tell(&look, out);
            }
            let glance = self.survey.glance(index)?;
            let mut links: BTreeMap<Seq, Hash> = self.survey.links(index)?.into_iter().collect();
            if let Ok(header) = glance.header {
                links.insert(glance.base.prev(), header.previous);
            }
            if let Some(footer) = glance.footer {
                links.insert(footer.last, footer.link);
            }
            // A segment is bisected once and scanned once: no need to keep more.
            self.links.clear();
            self.links.insert(index, links);
        }
        Ok(&self.links[&index])
    }

    /// The link behind `seq`, if a batch ends there.
    fn link_behind(&mut self, seq: Seq, out: &mut Out) -> Result<Option<Hash>, Failure> {
        if let Ok(index) = self.survey.bases().binary_search(&seq.next()) {
            let header = self.survey.glance(index)?.header;
            if let Ok(header) = header {
                return Ok(Some(header.previous));
            }
        }
        match self.survey.index_of(seq) {
            Some(index) => Ok(self.links(index, out)?.get(&seq).copied()),
            None => Ok(None),
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
        let link = a.link_behind(behind, out)?;
        if link.is_some() && link == b.link_behind(behind, out)? {
            (low, same) = (middle + 1, behind);
        } else {
            high = middle;
        }
    }
    // From there batch by batch.
    let mut differs = None;
    let Some(mut index) = a.survey.index_of(same.next()) else {
        return Ok(Verdict::Same(same));
    };
    while differs.is_none() && index < a.survey.bases().len() && a.survey.bases()[index] <= end {
        let behind = (std::ops::Bound::Excluded(same), std::ops::Bound::Included(end));
        let links: Vec<(Seq, Hash)> =
            a.links(index, out)?.range(behind).map(|(seq, link)| (*seq, *link)).collect();
        for (seq, link) in links {
            match b.link_behind(seq, out)? {
                Some(other) if other == link => same = seq,
                _ => {
                    differs = Some(seq);
                    break;
                }
            }
        }
        index += 1;
    }
    match differs {
        None if same >= end => Ok(Verdict::Same(same)),
        // A batch of the one reaches beyond the end of the other.
        None => look_closer(a, b, Span { from: same.next(), to: end }, out),
        Some(seq) => look_closer(a, b, Span { from: same.next(), to: seq }, out),
    }
}

/// The records of the first batch that differs, side by side.
fn look_closer(a: &Side, b: &Side, span: Span, out: &mut Out) -> Result<Verdict, Failure> {
    let (first, second) = (copy(a, span, out)?, copy(b, span, out)?);
    for (seq, ours) in &first {
        let what = match (ours, second.get(seq)) {
            (_, None) => "the second has no such record".to_owned(),
            (Some(ours), Some(Some(other))) if ours.payload != other.payload => difference(ours, other),
            (Some(ours), Some(Some(other))) if ours.recorded != other.recorded => {
                format!("recorded {} and {}", text::time(ours.recorded), text::time(other.recorded))
            }
            (Some(_), Some(Some(_))) | (None, Some(None)) => continue,
            (None, _) => "it is lost in the first".to_owned(),
            (_, Some(None)) => "it is lost in the second".to_owned(),
        };
        return Ok(Verdict::Differ(*seq, what));
    }
    let what = "the records are the same, but not the batches in which they were written".to_owned();
    Ok(Verdict::Differ(span.from, what))
}

struct Copy {
    recorded: Micros,
    payload: Vec<u8>,
    kind: String,
}

fn copy(side: &Side, span: Span, out: &mut Out) -> Result<BTreeMap<Seq, Option<Copy>>, Failure> {
    let mut copies = BTreeMap::new();
    records::each(&side.survey, span, out, |item, _| {
        match item {
            Item::Gap(gap) => drop(copies.insert(gap.from, None)),
            Item::Record(record) => {
                let kind = match record.content() {
                    Content::Event(event) => event.event.kind.name().to_owned(),
                    Content::Opaque(_) => "opaque".to_owned(),
                };
                let payload = record.payload.to_vec();
                copies.insert(record.seq, Some(Copy { recorded: record.recorded, payload, kind }));
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
