//! `dump`: every record of a range on a line of its own, gaps in their place.

use std::path::PathBuf;

use mnemosyne::event::text::visible;
use mnemosyne_journal::Seq;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Content, Flow, Gap, Item, Record, Span};
use crate::text;

/// Print every record, with gaps in their place
///
/// A line has the seq, the time at which the journal took the record, its size, and the event as JSON; a record that is no
/// event of this version shows its first bytes instead. Where a damaged batch header hides the time, it is that of the batch before,
/// and the line says so: recorded then or later (`recorded_is_bound` in JSON). With --json each line is an object with seq, recorded, bytes and
/// event or opaque, or an object gap.
#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
    #[command(flatten)]
    range: RangeArgs,
}

/// Which records.
#[derive(Debug, clap::Args)]
pub(crate) struct RangeArgs {
    /// The first seq
    #[arg(long, value_name = "SEQ", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// The last seq
    #[arg(long, value_name = "SEQ", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// At most so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl RangeArgs {
    pub(crate) fn span(&self) -> Result<Span, Failure> {
        if self.to < self.from {
            return Err(Failure::Usage(format!("--to {} lies before --from {}", self.to, self.from)));
        }
        Ok(Span { from: Seq::new(self.from), to: Seq::new(self.to) })
    }

    /// Whether so many records are enough.
    pub(crate) fn is_enough(&self, records: u64) -> bool {
        self.limit.is_some_and(|limit| records >= limit)
    }
}

pub(crate) fn run(args: &DumpArgs, out: &mut Out) -> Result<(), Failure> {
    let span = args.range.span()?;
    let survey = Place::survey(&args.dir)?;
    if args.range.is_enough(0) {
        return Ok(());
    }
    let mut records = 0;
    records::each(&survey, span, out, |item, out| {
        let is_record = matches!(item, Item::Record(_));
        print(&item, out)?;
        records += u64::from(is_record);
        Ok(if args.range.is_enough(records) { Flow::Stop } else { Flow::On })
    })
}

/// One record or gap on a line, in words or as JSON.
pub(crate) fn print(item: &Item<'_>, out: &mut Out) -> Result<(), Failure> {
    match (item, out.is_json()) {
        (Item::Record(record), true) => out.json(&record_json(record)),
        (Item::Record(record), false) => out.line(&record_line(record)),
        (Item::Gap(gap), true) => out.json(&gap_json(gap)),
        (Item::Gap(gap), false) => out.line(&gap_line(gap)),
    }
}

fn record_line(record: &Record<'_>) -> String {
    let words = match record.content() {
        Content::Event(event) => visible(&event.to_json()).into_owned(),
        Content::Opaque(reason) => {
            format!("opaque, {}: {}", visible(&reason), text::preview(record.payload))
        }
    };
    let (seq, time, bytes) = (record.seq.get(), text::time(record.recorded), record.payload.len());
    let bound = if record.recorded_is_bound { "  recorded then or later" } else { "" };
    let redacted = if record.redacted { "  redacted" } else { "" };
    format!("{seq:>8}  {time}  {bytes:>6} B{bound}{redacted}  {words}")
}

fn gap_line(gap: &Gap<'_>) -> String {
    let why = gap.why.map_or_else(|| "they cannot be read".to_owned(), text::problem);
    let count = text::counted(gap.to.since(gap.from).saturating_add(1), "record");
    format!("{:>8}  gap to {}, {count}: {why}", gap.from.get(), gap.to)
}

/// A record for programs.
pub(crate) fn record_json(record: &Record<'_>) -> Value {
    let mut line = json!({
        "seq": record.seq.get(),
        "recorded": text::time(record.recorded),
        "bytes": record.payload.len(),
    });
    if record.recorded_is_bound {
        line["recorded_is_bound"] = true.into();
    }
    if record.redacted {
        line["redacted"] = true.into();
    }
    match record.content() {
        Content::Event(event) => {
            // It is JSON by construction; were it not, the line would say so instead of lying.
            line["event"] = serde_json::from_str(&event.to_json()).unwrap_or(Value::Null);
        }
        Content::Opaque(reason) => {
            line["opaque"] = json!({ "reason": reason, "hex": text::hex(record.payload) });
        }
    }
    line
}

fn gap_json(gap: &Gap<'_>) -> Value {
    let why = gap.why.map(text::problem_json);
    json!({ "gap": { "from_seq": gap.from.get(), "to_seq": gap.to.get(), "reason": "corruption", "problem": why } })
}
