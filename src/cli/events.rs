//! `events`: prints what matches, oldest first, and ends.
//!
//! It reads the files themselves, with a server or without one, so both give the same answer. `--since` and `--until`
//! go by the time at which the journal took an event; the order is that of the seqs. What cannot be read stands in
//! its place, everything after it is still printed, and the exit code then says 4. `--search` ranks instead: `search.rs`.

use super::filters::Filters;
use super::lines::Lines;
use super::notes::Noted;
use super::{Context, Outcome, display, elsewhere, search};
use crate::answers::search::Range;
use crate::answers::{start, when};
use crate::error::Error;
use crate::event::{Place, Seq};
use crate::store::{Item, Replay, View};

/// Prints the events that match, oldest first, and ends.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Begin at this seq
    #[arg(long, value_name = "SEQ")]
    pub from: Option<u64>,
    /// Only what was recorded at or after this time: 2026-11-22T10:00:00Z, 2026-11-22, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// End with this seq, or with what was recorded at or before this time
    #[arg(long, value_name = "SEQ|TIME")]
    pub until: Option<String>,
    /// End after so many events that match; with --search, show so many of the best [default: all, or 20 with --search]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Search: events that hold all of these words, the best match first
    ///
    /// Words are found whole and in either case; "a phrase" in double quotes in this order; -word must not be there. Any other
    /// character stands between words and means nothing. Ranges and filters apply before the ranking.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub search: Option<String>,
    /// Which of them
    #[command(flatten)]
    pub filters: Filters,
}

/// Prints them.
///
/// # Errors
/// A wrong argument, no data directory, a session that is not on record, a cursor beyond the end, a journal that cannot be read.
pub fn run(mut args: Args, context: &mut Context) -> Result<Outcome, Error> {
    args.filters.filter()?;
    let now = context.now();
    let since = args.since.map(|text| when::parse("--since", &text, now)).transpose()?;
    let until = args.until.map(|text| when::place("--until", &text, now)).transpose()?;
    when::ordered(args.from.map(Seq::new).map(Place::Seq), until)?;
    when::ordered(since.map(Place::Time), until)?;
    let query = args.search.as_deref().map(search::query).transpose()?;
    if let Some(server) = context.elsewhere()? {
        let part = elsewhere::Part { from: args.from, since, until, limit: args.limit };
        return match (&args.search, &query) {
            (Some(text), Some(query)) => elsewhere::search(text, query, args.filters, part, &server, context),
            _ => elsewhere::events(args.filters, part, &server, context),
        };
    }
    let view = open(context)?;
    args.filters.complete(&view, false, context)?;
    let filter = args.filters.filter()?;
    let from = start(&view, args.from)?;
    if let Some(query) = query {
        let range = Range { from, since, until };
        return search::run(query, filter, range, args.limit, &view, context);
    }
    let mut replay = view.replay(from).filtered(filter);
    if let Some(since) = since {
        replay = replay.since(since)?;
    }
    replay = ending(replay, until);
    let noted = Noted::beside_lines(replay.position(), &view, context)?;
    let mut lines = Lines::default();
    let limit = args.limit.unwrap_or(u64::MAX);
    while lines.events < limit
        && let Some(item) = replay.next()?
    {
        noted.item(&mut lines, &mut context.out, &item)?;
    }
    end_all(&lines, context)
}

/// The same as [`end`] where all was looked through, and says so if nothing was found.
///
/// # Errors
/// As [`end`].
pub fn end_all(lines: &Lines, context: &mut Context) -> Result<Outcome, Error> {
    if lines.is_empty() {
        context.out.note("no event on record matches");
    }
    end(lines, context)
}

/// Opens the journal for reading, and says how much of what was emitted is not in it yet.
///
/// # Errors
/// No data directory, a journal that cannot be read.
pub fn open(context: &mut Context) -> Result<View, Error> {
    context.open_data_dir()?;
    let record = context.record()?;
    let view = record.view()?;
    if let Some(waiting) = record.waiting(&view) {
        context.out.note(&waiting);
    }
    Ok(view)
}

/// A replay that ends there.
pub fn ending(replay: Replay, until: Option<Place>) -> Replay {
    match until {
        Some(Place::Seq(last)) => replay.through(last),
        Some(Place::Time(last)) => replay.until(last),
        None => replay,
    }
}

/// How it ended: with exit code 4 when something could not be read.
///
/// # Errors
/// As [`super::out::Out::flush`].
pub fn end(lines: &Lines, context: &mut Context) -> Result<Outcome, Error> {
    context.out.flush()?;
    let Some(damage) = lines.damage() else {
        return Ok(Outcome::with_summary(display::counted(lines.events, "event")));
    };
    context
        .out
        .warn(&format!("{damage}: everything else was printed; `mnemosyne-inspect verify` says where it is"));
    Ok(Outcome::damaged(damage))
}

/// The last `n` items that match up to `through`, oldest first, found by looking back in growing steps: what lies
/// far back is not read for ten lines.
///
/// # Errors
/// A journal that cannot be read.
pub fn last_matching(
    view: &View,
    filter: &crate::event::Filter,
    n: usize,
    through: Seq,
) -> Result<Vec<Item>, Error> {
    const FIRST_STEP: u64 = 256;
    let first = view.first().get();
    let mut step = FIRST_STEP.max(2 * n as u64);
    loop {
        let from = through.next().get().saturating_sub(step).max(first);
        let mut replay = view.replay(Seq::new(from)).filtered(filter.clone()).through(through);
        let mut kept = std::collections::VecDeque::new();
        while let Some(item) = replay.next()? {
            kept.push_back(item);
            if kept.len() > n {
                kept.pop_front();
            }
        }
        if kept.len() >= n || from <= first {
            return Ok(kept.into());
        }
        step = step.saturating_mul(8);
    }
}
