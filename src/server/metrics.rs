//! `GET /metrics`: what the server counts, as text for Prometheus or, with `?format=json`, as the object that programs of ours
//! read. Both are made from one [`Counters`], so they cannot disagree.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;

use super::error::Refusal;
use super::params::Params;
use super::stream::blocking;
use super::{App, json_response, metrics_text};
use crate::error::Error;
use crate::store::{Account, Stats, Way};
use crate::wire::counters::{EventCounts, InboxCounts, JournalCounts};
use crate::wire::{Counters, ErrorCode};

/// What `OpenMetrics` asks for.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let mut params = Params::of(&uri)?;
    let format = params.take("format")?;
    params.finish()?;
    let as_json = match format.as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(_) => return Err(Refusal::parameter("format", "`format` is text or json")),
    };
    // The inbox is listed for it.
    let counters = blocking(move || counters(&app)).await?;
    if as_json {
        return Ok(json_response(StatusCode::OK, &counters));
    }
    let text = metrics_text::encode(counters)
        .map_err(|_| Refusal::new(ErrorCode::Internal, "the numbers could not be written down"))?;
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// All of it now.
fn counters(app: &App) -> Result<Counters, Error> {
    let inbox = app.store.inbox()?;
    let books = app.store.books();
    let stats = app.store.log().stats().unwrap_or_default();
    Ok(Counters {
        version: 1,
        instance_id: app.settings.instance_id.clone(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: app.uptime_ms(),
        events: Way::ALL.map(|way| (way.name().to_owned(), events(books.of(way)))).into(),
        inbox: InboxCounts { waiting: inbox.waiting, failed: inbox.failures.count },
        journal: journal(app, books.opened_at.get(), stats),
        streams: app.counts.streams(),
        requests: app.counts.requests(),
        connections: app.counts.connections(),
    })
}

fn events(account: &Account) -> EventCounts {
    EventCounts {
        offered: account.offered,
        committed_disk: account.committed_disk,
        committed_os: account.committed_os,
        duplicates: account.duplicates,
        refused: account.refused.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        pending: account.pending,
    }
}

fn journal(app: &App, opening_seq: u64, stats: Stats) -> JournalCounts {
    let durable = app.store.durable().get();
    JournalCounts {
        opening_seq,
        last_seq: app.store.tail().prev().get(),
        durable_seq: durable,
        projection_lag: durable.saturating_sub(app.projections.seq().get()),
        batches: stats.batches,
        records: stats.records,
        bytes: stats.bytes,
        flushes: stats.flushes,
    }
}
