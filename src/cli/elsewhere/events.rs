//! `events --server`: pages of `GET /events`, up to what was durable when the command began.

use serde_json::value::RawValue;

use super::super::filters::Filters;
use super::super::lines::Lines;
use super::super::notes::Noted;
use super::super::{Context, Outcome, events as here, search as found};
use super::{Pairs, asked, complete, given, noted, place_words, since_pair, tail_of, told};
use crate::client::Server;
use crate::error::Error;
use crate::event::search::Query;
use crate::event::{Place, Seq, StoredEvent, Timestamp};
use crate::wire::{FoundPage, PAGE_EVENTS_MAX, Page, SEARCH_HITS_DEFAULT, path};

/// Which part of what is on record there.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Part {
    pub(in crate::cli) from: Option<u64>,
    pub(in crate::cli) since: Option<Timestamp>,
    pub(in crate::cli) until: Option<Place>,
    pub(in crate::cli) limit: Option<u64>,
}

pub(in crate::cli) fn events(
    mut filters: Filters,
    part: Part,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    complete(&mut filters, false, server, context)?;
    let noted = noted(server, context)?;
    let mut pages = Pages::begin(&filters, part, server)?;
    let (mut lines, limit) = (Lines::default(), part.limit.unwrap_or(u64::MAX));
    while lines.events < limit
        && let Some(met) = pages.next()?
    {
        met.show(noted.as_ref(), &mut lines, context)?;
    }
    here::end_all(&lines, context)
}

pub(in crate::cli) fn search(
    text: &str,
    query: &Query,
    mut filters: Filters,
    part: Part,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    complete(&mut filters, false, server, context)?;
    let limit = part.limit.unwrap_or(SEARCH_HITS_DEFAULT as u64);
    if limit > PAGE_EVENTS_MAX as u64 {
        return Err(Error::usage(format!("a server shows at most {PAGE_EVENTS_MAX} hits of a search")));
    }
    let mut pairs = pairs(&filters, part);
    pairs.extend(part.from.map(|from| ("from".to_owned(), from.to_string())));
    pairs.extend([("q".to_owned(), text.to_owned()), ("limit".to_owned(), limit.to_string())]);
    let page: FoundPage<Box<RawValue>> = server.get(&query_of(&pairs)).map_err(told)?;
    found::print(&page, !query.is_empty(), context)
}

/// What stands at the next place.
pub(super) enum Met {
    Event(Box<StoredEvent>, Box<RawValue>),
    Gap(crate::wire::sse::Gap),
}

impl Met {
    pub(super) fn show(
        &self,
        noted: Option<&Noted>,
        lines: &mut Lines,
        context: &mut Context,
    ) -> Result<(), Error> {
        match self {
            Met::Event(_, text) if context.out.is_json() => {
                lines.events += 1;
                context.out.json_text(text.get())
            }
            Met::Event(event, _) => {
                lines.event(&mut context.out, event)?;
                noted.map_or(Ok(()), |noted| noted.beside(&mut context.out, event.seq))
            }
            Met::Gap(gap) => lines.gap_frame(&mut context.out, gap),
        }
    }
}

/// The events of a part, page by page.
pub(super) struct Pages<'a> {
    server: &'a Server,
    pairs: Vec<(String, String)>,
    /// Of the page at hand, the last first.
    met: Vec<Met>,
    after: Seq,
    more: bool,
}

impl<'a> Pages<'a> {
    /// Ends with what is durable now.
    pub(super) fn begin(filters: &Filters, part: Part, server: &'a Server) -> Result<Pages<'a>, Error> {
        let tail = tail_of(server)?;
        let from = Seq::new(part.from.unwrap_or(1)).max(Seq::FIRST);
        if from > tail.next() {
            return Err(Error::CursorAhead { asked: from.get(), last: tail.get() });
        }
        let until = match part.until {
            None => Place::Seq(tail),
            Some(Place::Seq(last)) => Place::Seq(last.min(tail)),
            Some(time) => time,
        };
        let pairs = pairs(filters, Part { until: Some(until), ..part });
        Ok(Pages { server, pairs, met: Vec::new(), after: from.prev(), more: tail >= from })
    }

    pub(super) fn next(&mut self) -> Result<Option<Met>, Error> {
        while self.met.is_empty() && self.more {
            self.turn()?;
        }
        Ok(self.met.pop())
    }

    fn turn(&mut self) -> Result<(), Error> {
        let mut pairs = self.pairs.clone();
        let place = [("after", self.after.to_string()), ("limit", PAGE_EVENTS_MAX.to_string())];
        pairs.extend(place.map(|(name, value)| (name.to_owned(), value)));
        let page: Page<Box<RawValue>> = self.server.get(&query_of(&pairs)).map_err(told)?;
        let unreadable =
            |error| Error::failed(format!("the server sent an event that cannot be read: {error}"));
        for text in page.events {
            let event = StoredEvent::from_json(text.get()).map_err(unreadable)?;
            self.met.push(Met::Event(Box::new(event), text));
        }
        self.met.extend(page.gaps.into_iter().map(Met::Gap));
        self.met.sort_by_key(|met| {
            std::cmp::Reverse(match met {
                Met::Event(event, _) => event.seq.get(),
                Met::Gap(gap) => gap.from_seq,
            })
        });
        // A server that stays where it is would be asked for ever.
        (self.more, self.after) =
            (page.more && page.next > self.after.get(), Seq::new(page.next).max(self.after));
        Ok(())
    }
}

fn pairs(filters: &Filters, part: Part) -> Vec<(String, String)> {
    let mut pairs = Pairs::new();
    since_pair(&mut pairs, part.since);
    given(&mut pairs, "until", part.until.map(place_words));
    let of_part = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
    filters.pairs().into_iter().chain(of_part).collect()
}

fn query_of(pairs: &[(String, String)]) -> String {
    asked(path::EVENTS, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}
