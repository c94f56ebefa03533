//! `GET /events?q=`: ranked search. Each one reads its whole range, so few run at a time and the rest wait their turn: clients that
//! search keep no thread from those that emit.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::error::Refusal;
use super::events::{undecodable_gap, wire_gap};
use super::params::Place;
use super::stream::{blocking, journal_header};
use super::{App, json_response};
use crate::error::Error;
use crate::event::search::Query;
use crate::event::{Filter, Seq, Timestamp};
use crate::store::search::{Hit, Search};
use crate::wire::{FoundEvent, FoundPage};

/// Searches that run at the same time in this process.
const SEARCHES_MAX: usize = 2;
static SEARCHES: Semaphore = Semaphore::const_new(SEARCHES_MAX);

/// Which part of the journal is searched, and how much is shown of it.
pub(super) struct Within {
    pub(super) from: Seq,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Place>,
    pub(super) filter: Filter,
    pub(super) limit: usize,
}

pub(super) async fn answer(app: &Arc<App>, query: Query, within: Within) -> Result<Response, Refusal> {
    let turn = SEARCHES.acquire().await.map_err(|_| Error::failed("searches are closed"))?;
    let Within { from, since, until, filter, limit } = within;
    let (through, until) = match until {
        Some(Place::Seq(last)) => (last, Timestamp::MAX),
        Some(Place::Time(last)) => (Seq::MAX, last),
        None => (Seq::MAX, Timestamp::MAX),
    };
    let search = Search { query, filter, from, through, since, until, limit };
    let store = app.store.clone();
    let page = blocking(move || {
        // Held until the reading has ended, also where the client has gone.
        let _turn = turn;
        let tail = store.durable().get();
        let found = store.search(&search)?;
        let gaps = found.gaps.into_iter().map(wire_gap);
        let gaps = gaps.chain(found.undecodable.into_iter().map(undecodable_gap)).collect();
        let hits = found.hits.into_iter().map(hit).collect::<Result<Vec<_>, Error>>()?;
        Ok(FoundPage { hits, matched: found.matched, searched: found.searched, tail, gaps })
    })
    .await?;
    let mut response = json_response(StatusCode::OK, &page);
    journal_header(&app.store, response.headers_mut());
    Ok(response)
}

fn hit(hit: Hit) -> Result<FoundEvent<Box<RawValue>>, Error> {
    let event =
        RawValue::from_string(hit.event.to_json()).map_err(|error| Error::failed(error.to_string()))?;
    Ok(FoundEvent { score: hit.score(), snippet: hit.snippet.text, marks: hit.snippet.marks, event })
}
