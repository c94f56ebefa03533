//! `GET /events?q=`: ranked search. Each one reads its whole range, so few run at a time and the rest wait their turn: clients that
//! search keep no thread from those that emit.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::error::Refusal;
use super::params::Place;
use super::stream::{blocking, journal_header};
use super::{App, json_response};
use crate::answers::search::{Range, told};
use crate::error::Error;
use crate::event::search::Query;
use crate::event::{Filter, Seq, Timestamp};

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
    let search = Range { from, since, until }.search(query, filter, limit);
    let store = app.store.clone();
    let page = blocking(move || {
        // Held until the reading has ended, also where the client has gone.
        let _turn = turn;
        let tail = store.durable();
        told(store.search(&search)?, tail)
    })
    .await?;
    let mut response = json_response(StatusCode::OK, &page);
    journal_header(&app.store, response.headers_mut());
    Ok(response)
}
