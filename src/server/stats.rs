//! `GET /stats`: the figures of a range, counted anew from the journal by the code that answers `stats` offline.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::error::Refusal;
use super::params::{Params, Place, ordered};
use super::stream::{blocking, journal_header};
use super::{App, json_response};
use crate::projection::stats::{Query, count, view};

pub(super) async fn stats(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let mut params = Params::of(&uri)?;
    params.check_journal(&app.store)?;
    let now = app.settings.clock.now();
    let (since, until) = (params.time("since", now)?, params.time("until", now)?);
    let query = Query { since, until, by: params.parse("by")? };
    params.finish()?;
    ordered(since.map(Place::Time), until.map(Place::Time))?;
    let store = app.store.clone();
    let (stats, progress) = blocking(move || count(&store, store.first(), &query)).await?;
    let mut response = json_response(StatusCode::OK, &view::stats(&stats, &progress, &query, None));
    journal_header(&app.store, response.headers_mut());
    Ok(response)
}
