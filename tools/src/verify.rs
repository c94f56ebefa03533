//! `verify`: everything is read and nothing trusted.

use std::path::PathBuf;

use mnemosyne_journal::format::SegmentHeader;
use mnemosyne_journal::inspect::Look;
use mnemosyne_journal::verify::{Part, Problem};
use mnemosyne_journal::{Hash, JournalId, Seq};
use serde_json::json;

use mnemosyne::projection::compare::Checked;

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::projections::{self, Tally};
use crate::text;

/// Check every byte: checksums, chain, padding, footers; print the chain's head
///
/// Every record's checksums, every link of the chain, padding and reserved bytes, the density of seqs, each footer against
/// what it stands for. A checksum tells decay; the chain tells an edit whose checksum was repaired, unless everything after
/// it was written anew: against that, and against a tail that was cut off, note the head somewhere else and give it back
/// with --head. The head may have been noted earlier: it must stand somewhere in the chain.
///
/// Exit code 0: whole. An unfinished write at the end is told as a note: a crash leaves one. Exit code 4: damage, an edit,
/// or the noted head is not in the chain.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
    /// A head that was noted earlier, 64 hex digits
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    head: Option<Hash>,
    /// Also fold the journal anew and compare it with the saved states of the projections, which get a verdict of their own:
    /// what is derived and damaged loses no event, and is exit code 4 too; DIR must be a data directory
    #[arg(long)]
    projections: bool,
}

fn parse_hash(text: &str) -> Result<Hash, String> {
    let refused = || "a head is 64 hex digits".to_owned();
    let digits = text.as_bytes();
    if digits.len() != Hash::BYTES * 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(refused());
    }
    let mut bytes = [0; Hash::BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = str::from_utf8(pair).map_err(|_| refused())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
    }
    Ok(Hash::from_bytes(bytes))
}

/// What was found so far.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) journal: Option<JournalId>,
    first: Option<Seq>,
    last: Option<Seq>,
    proven: Option<Seq>,
    head: Option<Hash>,
    segments: u64,
    records: u64,
    lost: u64,
    unchained: bool,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
    /// Behind which seq the noted head stands.
    noted_after: Option<Seq>,
}

pub(crate) fn run(args: &VerifyArgs, out: &mut Out) -> Result<(), Failure> {
    let place = Place::find(&args.dir)?;
    let survey = place.open()?;
    let mut report = Report::default();
    let mut looks = survey.looks(Seq::FIRST);
    while let Some(look) = looks.next()? {
        report.take(look, args.head);
    }
    let states =
        if args.projections { Some(projections::check(&place, &survey, &report, out)?) } else { None };
    let head_is_missing = args.head.is_some() && report.noted_after.is_none();
    if out.is_json() {
        report.print_json(args.head, states.as_deref(), out)?;
    } else {
        report.print(args.head, states.as_deref(), out)?;
    }
    let states_are_hurt = states.is_some_and(|states| !Tally::of(&states).is_whole());
    if !report.problems.is_empty() || head_is_missing || states_are_hurt {
        out.damage();
    }
    Ok(())
}

impl Report {
    fn take(&mut self, look: Look, noted: Option<Hash>) {
        let header = SegmentHeader::decode(&look.bytes).ok();
        self.unchained |= header.is_some_and(|header| !header.chained());
        if let (None, Some(header), Some(noted)) = (self.first, header, noted)
            && header.previous == noted
            && !self.unchained
        {
            self.noted_after = Some(look.base.prev());
        }
        for part in &look.parts {
            if let Part::Frame { header, .. } = part
                && noted == Some(header.link)
                && !self.unchained
            {
                self.noted_after = Some(header.last());
            }
        }
        self.first.get_or_insert(look.base);
        self.journal = self.journal.or(look.checked.journal);
        (self.last, self.proven) = (Some(look.checked.last), Some(look.checked.proven));
        self.head = look.checked.link;
        self.segments += 1;
        self.records += look.checked.records;
        let lost = look.checked.problems.iter().filter_map(|problem| problem.lost);
        self.lost =
            lost.fold(self.lost, |sum, (from, to)| sum.saturating_add(to.since(from)).saturating_add(1));
        self.problems.extend(look.checked.problems);
        self.notes.extend(look.checked.notes);
    }

    /// The chain's head, unless there is no chain, or damage has hidden it.
    fn head(&self) -> Option<Hash> {
        self.head.filter(|_| !self.unchained)
    }

    pub(crate) fn seqs(&self) -> (Seq, Seq) {
        (self.first.unwrap_or(Seq::FIRST), self.last.unwrap_or(Seq::ZERO))
    }

    fn is_whole(&self, noted: Option<Hash>) -> bool {
        self.problems.is_empty() && (noted.is_none() || self.noted_after.is_some())
    }

    fn print(&self, noted: Option<Hash>, states: Option<&[Checked]>, out: &mut Out) -> Result<(), Failure> {
        let (first, last) = self.seqs();
        let journal = self.journal.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let records = if last < first {
            "none".to_owned()
        } else {
            format!("{}, {}", self.records, text::seqs(first, last))
        };
        let head = match (self.head(), self.unchained) {
            (Some(head), _) => format!("{head} after seq {last}"),
            (None, true) => "none: this journal was written without a chain".to_owned(),
            (None, false) => "unknown: damage hides it".to_owned(),
        };
        out.line(&format!("journal   {journal}"))?;
        out.line(&format!("segments  {}", self.segments))?;
        out.line(&format!("records   {records}"))?;
        out.line(&format!("proven    up to seq {}", self.proven.unwrap_or(Seq::ZERO)))?;
        out.line(&format!("head      {head}"))?;
        for note in &self.notes {
            out.line(&format!("note      {}", text::problem(note)))?;
        }
        for problem in &self.problems {
            out.line(&format!("damage    {}", text::problem(problem)))?;
        }
        if let Some(states) = states {
            for state in states {
                out.line(&format!("state     {}", projections::words(state)))?;
            }
            out.line(&format!("states    {}", Tally::of(states).words()))?;
        }
        if let Some(noted) = noted {
            out.line(&format!("noted     {}", self.noted_words(noted, last)))?;
        }
        out.line(&format!("verdict   {}", self.verdict(noted, states.unwrap_or_default())))
    }

    fn noted_words(&self, noted: Hash, last: Seq) -> String {
        match self.noted_after {
            Some(seq) if seq == last => format!("{noted} is the head"),
            Some(seq) => {
                format!("{noted} stands after seq {seq}; {} later", text::counted(last.since(seq), "record"))
            }
            None => format!("{noted} is not in the chain: what it stood for was changed or cut off"),
        }
    }

    fn verdict(&self, noted: Option<Hash>, states: &[Checked]) -> String {
        let wrong = states.iter().filter(|state| state.is_wrong()).count() as u64;
        if wrong > 0 && self.problems.is_empty() {
            return format!("{} not what the journal says", text::counted(wrong, "saved state"));
        }
        if self.is_whole(noted) {
            return "whole".to_owned();
        }
        if self.problems.is_empty() {
            return "not the journal whose head was noted".to_owned();
        }
        let problems = text::counted(self.problems.len() as u64, "problem");
        format!("damaged: {problems}, {} cannot be read", text::counted(self.lost, "record"))
    }

    fn print_json(
        &self,
        noted: Option<Hash>,
        states: Option<&[Checked]>,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let (first, last) = self.seqs();
        let noted_head = noted
            .map(|hash| json!({ "link": hash.to_string(), "after_seq": self.noted_after.map(Seq::get) }));
        out.json(&json!({
            "version": 1,
            "journal": self.journal.map(|id| id.to_string()),
            "segments": self.segments,
            "first_seq": first.get(),
            "last_seq": last.get(),
            "records": self.records,
            "lost": self.lost,
            "proven_seq": self.proven.unwrap_or(Seq::ZERO).get(),
            "chained": !self.unchained,
            "head": self.head().map(|head| head.to_string()),
            "noted_head": noted_head,
            "notes": self.notes.iter().map(text::problem_json).collect::<Vec<_>>(),
            "problems": self.problems.iter().map(text::problem_json).collect::<Vec<_>>(),
            "projections": states.map(|states| states.iter().map(projections::json).collect::<Vec<_>>()),
            "states": states.map(|states| Tally::of(states).json()),
            "whole": self.is_whole(noted),
        }))
    }
}
