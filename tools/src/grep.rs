//! `grep`: the records that contain a text.

use std::path::PathBuf;

use mnemosyne::event::Filter;

use crate::dump::{self, RangeArgs};
use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Content, Flow, Item};
use crate::text;

/// Print the records that contain a text
///
/// The text is taken as it is, letters in either case. Of an event the summary and the payload are searched, of any other
/// record its bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct GrepArgs {
    /// What to look for
    pattern: String,
    /// A data directory or a journal directory
    dir: PathBuf,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Print how many match, and nothing else
    #[arg(long, short)]
    count: bool,
}

/// Which events.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only events of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only events of these kinds, separated by commas; * stands for any characters
    #[arg(long, value_name = "GLOB")]
    kind: Option<String>,
}

impl FilterArgs {
    /// As a filter, with a text if one is looked for.
    pub(crate) fn filter(&self, pattern: Option<&str>) -> Result<Filter, Failure> {
        let pairs = [("session", self.session.as_deref()), ("kind", self.kind.as_deref()), ("grep", pattern)];
        let given = pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
        Filter::from_pairs(given).map_err(|error| Failure::Usage(error.to_string()))
    }

    /// Whether every event is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.session.is_none() && self.kind.is_none()
    }
}

pub(crate) fn run(args: &GrepArgs, out: &mut Out) -> Result<(), Failure> {
    let (span, filter) = (args.range.span()?, args.filter.filter(Some(&args.pattern))?);
    let survey = Place::survey(&args.dir)?;
    let mut matching = 0;
    records::each(&survey, span, out, |item, out| {
        let Item::Record(record) = &item else { return Ok(Flow::On) };
        let is_match = match record.content() {
            Content::Event(event) => filter.matches(&event),
            Content::Opaque(_) => args.filter.is_empty() && contains(record.payload, &args.pattern),
        };
        if !is_match || args.range.is_enough(matching) {
            return Ok(Flow::On);
        }
        matching += 1;
        if !args.count {
            dump::print(&item, out)?;
        }
        Ok(if args.range.is_enough(matching) { Flow::Stop } else { Flow::On })
    })?;
    match (args.count, out.is_json()) {
        (true, true) => out.json(&serde_json::json!({ "version": 1, "records": matching })),
        (true, false) => out.line(&matching.to_string()),
        (false, _) if matching == 0 && !out.is_json() => {
            out.note(&format!("{} match", text::counted(0, "record")));
            Ok(())
        }
        (false, _) => Ok(()),
    }
}

fn contains(bytes: &[u8], pattern: &str) -> bool {
    let pattern = pattern.as_bytes();
    pattern.is_empty() || bytes.windows(pattern.len()).any(|window| window.eq_ignore_ascii_case(pattern))
}
