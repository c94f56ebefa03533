//! `events --search`: the events that hold what was asked for, the best match first.

use super::display::{self, Role, Style};
use super::lines::Lines;
use super::{Context, Outcome, events};
use crate::answers::search::{Range, told};
use crate::error::Error;
use crate::event::search::{Query, Snippet};
use crate::event::{Filter, Seq, StoredEvent};
use crate::store::View;
use crate::wire::{FoundEvent, FoundPage, SEARCH_HITS_DEFAULT};
use serde_json::value::RawValue;

/// Reads what `--search` is given.
///
/// # Errors
/// [`Error::Usage`].
pub fn query(text: &str) -> Result<Query, Error> {
    Query::parse("--search", text).map_err(|error| Error::usage(format!("{} {}", error.field, error.message)))
}

/// Searches, and prints what was found.
///
/// # Errors
/// A journal that cannot be read.
pub fn run(
    query: Query,
    filter: Filter,
    range: Range,
    limit: Option<u64>,
    view: &View,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let has_words = !query.is_empty();
    let limit = limit.map_or(SEARCH_HITS_DEFAULT, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let tail = view.durable();
    let found = told(view.search(&range.search(query, filter, limit))?, tail)?;
    print(&found, has_words, context)
}

/// Prints what was found, wherever that was.
///
/// # Errors
/// An event that cannot be read; as [`super::out::Out::line`].
pub(super) fn print(
    found: &FoundPage<Box<RawValue>>,
    has_words: bool,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let style = context.out.style();
    for hit in &found.hits {
        if context.out.is_json() {
            context.out.json(hit)?;
        } else {
            context.out.line(&line(hit, style)?)?;
        }
    }
    context.out.flush()?;
    if !has_words {
        context.out.note("there is no word in what was searched for; --grep finds punctuation");
    }
    let (shown, matched) = (found.hits.len() as u64, found.matched);
    let searched = display::counted(found.searched, "event");
    let mut words = format!("{} of {searched} found", display::count(matched));
    if shown < matched {
        words = format!("{words}, the best {} shown", display::count(shown));
    }
    context.out.note(&words);
    let damaged = found.gaps.iter().filter(|gap| gap.reason != "retention");
    let damaged = damaged.map(|gap| (Seq::new(gap.from_seq), Seq::new(gap.to_seq)));
    let lines = Lines { events: shown, damaged: damaged.collect(), ..Lines::default() };
    events::end(&lines, context)
}

/// Seq, time, session, kind, and the part of its text that shows why it was found, with what was asked for marked: in colour, or
/// between `«` and `»`.
fn line(hit: &FoundEvent<Box<RawValue>>, style: Style) -> Result<String, Error> {
    let stored = StoredEvent::from_json(hit.event.get())
        .map_err(|error| Error::failed(format!("a hit cannot be shown: {error}")))?;
    let snippet = Snippet { text: hit.snippet.clone(), marks: hit.marks.clone() };
    let event = &stored.event;
    let seq = format!("{:>7}", stored.seq.get());
    let clock = style.clock(event.time);
    let session = display::cell(&event.session.as_deref().map(display::short_id).unwrap_or_default(), 8);
    let kind = display::visible(event.kind.name());
    let mut line = format!(
        "{}  {}  {session}  {}",
        style.paint(Role::Dim, &seq),
        style.paint(Role::Dim, &clock),
        style.paint(Role::Strong, &kind)
    );
    let used = [&seq, &clock, &session].iter().map(|text| display::columns_of(text) + 2).sum::<usize>()
        + display::columns_of(&kind)
        + 2;
    let mut room = style.columns.map_or(usize::MAX, |columns| columns.saturating_sub(used).max(20));
    line.push_str(": ");
    for (is_hit, part) in snippet.parts() {
        let part = if is_hit && !style.color { format!("«{part}»") } else { part };
        let shown = display::fit(&part, room);
        room = room.saturating_sub(display::columns_of(&shown));
        line.push_str(&if is_hit { style.paint(Role::Waiting, &shown) } else { shown });
    }
    Ok(line)
}
