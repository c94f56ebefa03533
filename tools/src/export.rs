//! `export`: the events as JSON, one a line.

use std::path::PathBuf;

use mnemosyne::event::StoredEvent;

use crate::dump::RangeArgs;
use crate::failure::Failure;
use crate::grep::FilterArgs;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Content, Flow, Item, Record};
use crate::text;

/// Print the events as JSON, one a line
///
/// The lines are those of `mnemosyne events --json`, with `recorded_is_bound` behind the rest where a damaged batch header
/// hides when an event was recorded: then or later. Records that are no events of this version are left out, and their
/// number is told on stderr; `dump --json` prints them too.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) fn run(args: &ExportArgs, out: &mut Out) -> Result<(), Failure> {
    let (span, filter) = (args.range.span()?, args.filter.filter(None)?);
    let survey = Place::survey(&args.dir)?;
    let (mut printed, mut opaque) = (0, 0);
    records::each(&survey, span, out, |item, out| {
        if args.range.is_enough(printed) {
            return Ok(Flow::Stop);
        }
        let Item::Record(record) = item else { return Ok(Flow::On) };
        match record.content() {
            Content::Event(event) if filter.matches(&event) => {
                printed += 1;
                out.line(&line(&record, &event))?;
            }
            Content::Event(_) => {}
            Content::Opaque(_) => opaque += 1,
        }
        Ok(Flow::On)
    })?;
    if opaque > 0 {
        out.note(&format!("{} left out: no events of this version", text::counted(opaque, "record")));
    }
    Ok(())
}

fn line(record: &Record<'_>, event: &StoredEvent) -> String {
    let json = event.to_json();
    match json.strip_suffix('}') {
        Some(fields) if record.recorded_is_bound => format!("{fields},\"recorded_is_bound\":true}}"),
        _ => json,
    }
}
