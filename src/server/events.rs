//! `GET /events`, a page of what was recorded, and `GET /events/{seq}`, one event.
//!
//! A page is bounded in events, in bytes and in what is looked at to fill it, so a filter that matches nothing
//! costs one bounded read a request and still moves the cursor. With `q` the answer is ranked instead: `search.rs`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::value::RawValue;

use super::error::Refusal;
use super::params::{Params, Place, ordered};
use super::stream::{self, Start, blocking, check_cursor, journal_header};
use super::why;
use super::{App, json_response, json_text_response, search};
use crate::answers::page;
pub(super) use crate::answers::page::{undecodable_gap, wire_gap};
use crate::error::Error;
use crate::event::search::Query;
use crate::event::{Filter, Seq, Timestamp};
use crate::store::{Item, Store};
use crate::wire::sse::Gap;
use crate::wire::{ErrorCode, PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX, Page, SEARCH_HITS_DEFAULT};

/// A page ends with the event that takes it over this size.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Seqs that are looked at to fill one page.
const PAGE_SCAN_MAX: u64 = 200_000;

pub(super) async fn many(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if wants_stream(&headers) {
        return stream::open(&app, &uri, &headers).await;
    }
    let ask = Ask::of(&app, &uri)?;
    if let Some(query) = ask.query {
        let (from, limit) = (ask.start.first(), ask.limit);
        let (since, until, filter) = (ask.since, ask.until, ask.filter);
        return search::answer(&app, query, search::Within { from, since, until, filter, limit }).await;
    }
    let store = app.store.clone();
    let page = blocking(move || ask.read(&store)).await?;
    let mut response = json_response(StatusCode::OK, &page);
    journal_header(&app.store, response.headers_mut());
    Ok(response)
}

pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(seq): Path<String>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let mut params = Params::of(&uri)?;
    let asks_why = why::asked(&mut params)?;
    params.finish()?;
    let none = || Refusal::new(ErrorCode::NotFound, format!("there is no event {seq}"));
    let digits = seq.bytes().all(|byte| byte.is_ascii_digit());
    let wanted = Seq::new(seq.parse().ok().filter(|seq| digits && *seq > 0).ok_or_else(none)?);
    if let Some(depth) = asks_why {
        return why::answer(&app, wanted, depth).await;
    }
    let store = app.store.clone();
    let text = match blocking(move || store.get(wanted)).await? {
        None => return Err(none()),
        Some(Item::Event(event)) => event.to_json(),
        Some(Item::Gap(gap)) => {
            let Gap { reason, .. } = wire_gap(gap);
            let message = format!("event {seq} can no longer be read ({reason})");
            return Err(Refusal::new(ErrorCode::Gone, message));
        }
        Some(Item::Undecodable(record)) => {
            return Err(Refusal::new(
                ErrorCode::Gone,
                format!("event {seq} cannot be read: {}", record.reason),
            ));
        }
    };
    let mut response = json_text_response(StatusCode::OK, text);
    journal_header(&app.store, response.headers_mut());
    Ok(response)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"))
}

struct Ask {
    query: Option<Query>,
    start: Start,
    since: Option<Timestamp>,
    until: Option<Place>,
    limit: usize,
    filter: Filter,
}

impl Ask {
    fn of(app: &App, uri: &Uri) -> Result<Ask, Refusal> {
        let (store, now) = (&app.store, app.settings.clock.now());
        let mut params = Params::of(uri)?;
        params.check_journal(store)?;
        let (after, from) = (params.cursor("after")?, params.cursor("from")?);
        let start = after.map(Start::After).or(from.map(Start::From)).unwrap_or(Start::After(Seq::ZERO));
        check_cursor(store, start)?;
        let query = params.query()?;
        let limit_default = if query.is_some() { SEARCH_HITS_DEFAULT } else { PAGE_EVENTS_DEFAULT };
        let limit = params.parse("limit")?.unwrap_or(limit_default);
        if !(1..=PAGE_EVENTS_MAX).contains(&limit) {
            return Err(Refusal::parameter(
                "limit",
                format!("`limit` is a number from 1 to {PAGE_EVENTS_MAX}"),
            ));
        }
        let (since, until) = (params.time("since", now)?, params.place("until", now)?);
        let filter = params.filter()?;
        params.finish()?;
        ordered(start.begins(), until)?;
        ordered(since.map(Place::Time), until)?;
        Ok(Ask { query, start, since, until, limit, filter })
    }

    fn read(self, store: &Store) -> Result<Page<Box<RawValue>>, Error> {
        let mut replay = store.replay(self.start.first());
        if let Some(time) = self.since {
            replay = replay.since(time)?;
        }
        let bounds = page::Bounds {
            filter: self.filter,
            until: self.until,
            events_max: self.limit,
            bytes_max: PAGE_BYTES_MAX,
            scan_max: PAGE_SCAN_MAX,
        };
        page::read(replay, store.durable(), &bounds, || false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_asked_for_by_its_media_type_anywhere_in_accept() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            wants_stream(&headers)
        };
        assert!(wants("text/event-stream") && wants("application/json, text/event-stream;q=0.9"));
        assert!(!wants("*/*") && !wants("application/json") && !wants("text/event-streams"));
    }
}
