//! `cat`: one record.

use std::path::PathBuf;

use mnemosyne::event::text::visible;
use mnemosyne_journal::Seq;
use mnemosyne_journal::inspect::Survey;

use crate::dump::record_json;
use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Content, Flow, Item, Record, Span};
use crate::text;

/// Print one record
///
/// An event is printed as JSON over several lines; a record that is no event of this version as hex.
#[derive(Debug, clap::Args)]
pub(crate) struct CatArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
    /// Its seq
    seq: u64,
    /// Print the record's bytes as they are stored, and nothing else
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

pub(crate) fn run(args: &CatArgs, out: &mut Out) -> Result<(), Failure> {
    let survey = Place::survey(&args.dir)?;
    with_record(&survey, args.seq, out, |record, out| {
        if args.raw {
            return out.bytes(record.payload);
        }
        if out.is_json() {
            let mut object = serde_json::json!({ "version": 1 });
            if let (Some(object), Some(fields)) = (object.as_object_mut(), record_json(record).as_object()) {
                object.extend(fields.clone());
            }
            return out.json(&object);
        }
        if record.recorded_is_bound {
            out.note("recorded then or later: a damaged batch header hides the time");
        }
        match record.content() {
            Content::Event(event) => pretty(&event.to_json(), out),
            Content::Opaque(reason) => {
                out.note(&format!("opaque, {}", visible(&reason)));
                out.line(&text::hex(record.payload))
            }
        }
    })
}

/// Calls `take` with the record `seq`, or says why there is none.
pub(crate) fn with_record(
    survey: &Survey,
    seq: u64,
    out: &mut Out,
    take: impl Fn(&Record<'_>, &mut Out) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let seq = Seq::new(seq);
    let first = survey.bases()[0];
    if seq < first {
        return Err(Failure::NotFound(format!(
            "seq {seq} is not retained: the journal begins with seq {first}"
        )));
    }
    let mut found = None;
    records::each(survey, Span { from: seq, to: seq }, out, |item, out| {
        found = Some(match item {
            Item::Record(record) => {
                take(&record, out)?;
                None
            }
            Item::Gap(gap) => Some(gap.why.map_or_else(|| "it cannot be read".to_owned(), text::problem)),
        });
        Ok(Flow::Stop)
    })?;
    match found {
        Some(None) => Ok(()),
        Some(Some(why)) => Err(Failure::Damaged(format!("seq {seq} is lost: {why}"))),
        None => Err(Failure::NotFound(format!("the journal ends before seq {seq}"))),
    }
}

fn pretty(json: &str, out: &mut Out) -> Result<(), Failure> {
    let value: Option<serde_json::Value> = serde_json::from_str(json).ok();
    let text = value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or(json.to_owned());
    text.lines().try_for_each(|line| out.line(&visible(line)))
}
