//! `bisect --server`: the events of the server, folded and asked here.
//!
//! The server is given no expression: one that takes too long can be stopped with its process only. So every event up to the end of the range
//! comes over, from the first, since the states before it are folded here too; where retention has dropped events, there is no such
//! state to begin with.

use super::super::bisect::{LIMITS, watched};
use super::super::filters::Filters;
use super::events::{Met, Pages, Part};
use super::{asked, detail, place_words, tail_of, told};
use crate::client::Server;
use crate::error::Error;
use crate::event::{Place, Seq, Timestamp};
use crate::projection::bisect::{self, Bisection, Range, Watch};
use crate::projection::{Definition, Progress, StateView};
use crate::store::{Gap, GapReason, Item, Undecodable};

pub(in crate::cli) fn bisect(
    server: Server,
    definition: &'static Definition,
    expression: String,
    (from, until): (Option<Place>, Option<Place>),
    session: Option<String>,
) -> Result<(Bisection, Progress), Error> {
    let session = session.map(|given| detail(&server, &given)).transpose().map_err(told)?;
    let session = session.map(|found| found.session.id);
    let range = range(&server, from, until, session)?;
    let search = move |watch: &Watch| {
        let part = Part { from: None, since: None, until: Some(Place::Seq(range.until)), limit: None };
        let mut pages = Pages::begin(&Filters::default(), part, &server)?;
        let items = std::iter::from_fn(|| pages.next().map(|met| met.map(item)).transpose());
        let items = items.map(|item| item.and_then(|item| item));
        bisect::search_all(items, definition, &expression, &range, watch)
    };
    watched(search, LIMITS)
}

fn item(met: Met) -> Result<Item, Error> {
    let gap = match met {
        Met::Event(event, _) => return Ok(Item::Event(*event)),
        Met::Gap(gap) => gap,
    };
    let reason = match gap.reason.as_str() {
        // Whole bytes that are no event to the server's version; they are not sent.
        "undecodable" => {
            let (seq, reason) = (Seq::new(gap.from_seq), "the server cannot read it".to_owned());
            let (recorded, bytes) = (Timestamp::EPOCH, Vec::new());
            return Ok(Item::Undecodable(Undecodable { seq, recorded, bytes, reason }));
        }
        "retention" => {
            return Err(Error::failed(format!(
                "the server has dropped the events up to {}, and the states after them are folded over theirs: run it where the server runs",
                gap.to_seq
            )));
        }
        _ => GapReason::Corruption,
    };
    Ok(Item::Gap(Gap { from: Seq::new(gap.from_seq), to: Seq::new(gap.to_seq), reason }))
}

fn range(
    server: &Server,
    from: Option<Place>,
    until: Option<Place>,
    session: Option<String>,
) -> Result<Range, Error> {
    let last = tail_of(server)?;
    let from = match from {
        None => Seq::FIRST,
        Some(Place::Seq(seq)) if seq > last.next() => {
            return Err(Error::CursorAhead { asked: seq.get(), last: last.get() });
        }
        Some(Place::Seq(seq)) => seq.max(Seq::FIRST),
        // The first that was not recorded before this moment.
        Some(Place::Time(time)) => match time.checked_add_micros(-1) {
            Some(before) => seq_at(server, before)?.next(),
            None => Seq::FIRST,
        },
    };
    let until = match until {
        None => last,
        Some(Place::Seq(seq)) => seq.min(last),
        Some(Place::Time(time)) => seq_at(server, time)?.min(last),
    };
    if from > until.next() {
        return Err(Error::usage(format!("there is no event from {from} until {until}")));
    }
    Ok(Range { from, until, session })
}

/// The last seq that was recorded there by then.
fn seq_at(server: &Server, time: Timestamp) -> Result<Seq, Error> {
    let at = place_words(Place::Time(time));
    let state: StateView = server.get(&asked("/state/notes", [("at", at.as_str())])).map_err(told)?;
    Ok(state.seq)
}
