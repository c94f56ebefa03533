//! `GET /events/stream`: what was, then what is, through one subscription that knows no seam between the two.
//!
//! Constraints: a frame goes out once and in order; ids rise strictly; a client that reconnects with the last id it
//! saw misses nothing. So a cursor is refused rather than guessed at: one that is no number, one of another
//! journal, and one beyond the tail are errors, and never "from now". A stream that begins at the live end says
//! where that was in a checkpoint at once, so that even a client that has seen no event yet can come back to it.
//!
//! This file reads the request; `feed.rs` is the body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::Response;

use super::App;
use super::error::Refusal;
use super::feed::Feed;
use super::params::{Params, Place, last_event_id, ordered};
use crate::error::Error;
use crate::event::{Filter, Seq, Timestamp};
use crate::store::{Item, Store};
use crate::wire::{ErrorCode, header};

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    open(&app, &uri, &headers).await
}

/// What a request asks of the stream.
struct Ask {
    start: Start,
    until: Option<Place>,
    filter: Filter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    After(Seq),
    From(Seq),
    Since(Timestamp),
    Tail(u64),
    Live,
}

impl Start {
    /// The first seq of a page that begins so.
    pub(super) fn first(self) -> Seq {
        match self {
            Start::After(seq) => seq.next(),
            Start::From(seq) => seq.max(Seq::FIRST),
            Start::Since(_) | Start::Tail(_) | Start::Live => Seq::FIRST,
        }
    }

    /// Where it begins, as whoever asks named it. A cursor after which to go on names no beginning: it may well stand at the end.
    pub(super) fn begins(self) -> Option<Place> {
        match self {
            Start::From(seq) => Some(Place::Seq(seq)),
            Start::Since(time) => Some(Place::Time(time)),
            Start::After(_) | Start::Tail(_) | Start::Live => None,
        }
    }
}

/// Opens the stream that `uri` and `headers` ask for.
pub(super) async fn open(app: &Arc<App>, uri: &Uri, headers: &HeaderMap) -> Result<Response, Refusal> {
    let ask = ask(app, uri, headers)?;
    let from = first_seq(app, ask.start, &ask.filter).await?;
    let ends_in = match ask.until {
        Some(Place::Time(time)) => Some(until_time(app.settings.clock.now(), time)),
        _ => None,
    };
    let mut feed = Feed::new(app, app.store.subscribe(from, ask.filter.clone())?, &ask.filter);
    if ask.start == Start::Live {
        feed = feed.beginning_with_checkpoint();
    }
    if let Some(until) = ask.until {
        feed = feed.until(until, ends_in);
    }
    Ok(response(&app.store, Body::new(feed)))
}

/// An answer whose body is an event stream. It must reach the client as it is written: no cache and no proxy may
/// hold it back, and nothing compresses it.
pub(super) fn response(store: &Store, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    journal_header(store, headers);
    response
}

/// Says which journal an answer shows.
pub(super) fn journal_header(store: &Store, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(&store.journal_id().to_string()) {
        headers.insert(HeaderName::from_static(header::JOURNAL), id);
    }
}

fn ask(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<Ask, Refusal> {
    let (store, now) = (&app.store, app.settings.clock.now());
    let mut params = Params::of(uri)?;
    params.check_journal(store)?;
    let start = start(&mut params, last_event_id(headers)?, now)?;
    check_cursor(store, start)?;
    let until = params.place("until", now)?;
    let filter = params.filter()?;
    params.finish()?;
    ordered(start.begins(), until)?;
    Ok(Ask { start, until, filter })
}

/// Where to begin. All of the parameters are read, so that a bad one is never hidden by a better one.
fn start(params: &mut Params, header: Option<Seq>, now: Timestamp) -> Result<Start, Refusal> {
    let after = params.cursor("last_event_id")?;
    let from = params.cursor("from")?;
    let since = params.time("since", now)?;
    let tail = params.parse("tail")?;
    Ok(header
        .or(after)
        .map(Start::After)
        .or(from.map(Start::From))
        .or(since.map(Start::Since))
        .or(tail.map(Start::Tail))
        .unwrap_or(Start::Live))
}

/// A cursor beyond what was ever given belongs to another journal, or to one whose end was lost: going on from it
/// would silently leave out what comes next.
pub(super) fn check_cursor(store: &Store, start: Start) -> Result<(), Refusal> {
    let first_wanted = match start {
        Start::After(seq) => seq.get().saturating_add(1),
        Start::From(seq) => seq.get(),
        Start::Since(_) | Start::Tail(_) | Start::Live => return Ok(()),
    };
    let next = store.tail().get();
    if first_wanted <= next {
        return Ok(());
    }
    let last = next.saturating_sub(1);
    let message = format!("the cursor lies beyond the end of this journal, whose last seq is {last}");
    Err(Refusal::new(ErrorCode::CursorAhead, message).actual(last))
}

async fn first_seq(app: &Arc<App>, start: Start, filter: &Filter) -> Result<Seq, Refusal> {
    let store = app.store.clone();
    match start {
        Start::After(seq) => Ok(seq.next()),
        Start::From(seq) => Ok(seq.max(Seq::FIRST)),
        Start::Live => Ok(store.durable().next()),
        Start::Since(time) => blocking(move || Ok(store.replay(Seq::FIRST).since(time)?.position())).await,
        Start::Tail(n) => {
            let filter = filter.clone();
            blocking(move || tail_start(&store, n, &filter)).await
        }
    }
}

/// Runs what reads files off the threads that serve sockets.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Refusal> {
    let outcome = tokio::task::spawn_blocking(work).await;
    Ok(outcome.map_err(|_| Refusal::new(ErrorCode::Internal, "reading the journal failed"))??)
}

/// Where the last `n` events that match begin. Looks back in steps that double, so that it costs what lies between
/// there and the tail, not the whole journal.
fn tail_start(store: &Store, n: u64, filter: &Filter) -> Result<Seq, Error> {
    let (first, end) = (store.first().get().max(1), store.durable().get());
    let mut window = n.max(16);
    loop {
        let from = end.saturating_add(1).saturating_sub(window).max(first);
        let matching = matching(store, Seq::new(from), Seq::new(end), filter)?;
        let excess = matching.len() as u64;
        if excess >= n {
            let at = usize::try_from(excess - n).unwrap_or(usize::MAX);
            return Ok(matching.get(at).copied().unwrap_or(Seq::new(end).next()));
        }
        if from == first {
            return Ok(Seq::new(first));
        }
        window = window.saturating_mul(4);
    }
}

fn matching(store: &Store, from: Seq, to: Seq, filter: &Filter) -> Result<Vec<Seq>, Error> {
    let mut replay = store.replay(from).through(to).filtered(filter.clone());
    let mut seqs = Vec::new();
    while let Some(item) = replay.next()? {
        if let Item::Event(event) = item {
            seqs.push(event.seq);
        }
    }
    Ok(seqs)
}

fn until_time(now: Timestamp, until: Timestamp) -> Duration {
    u64::try_from(until.micros_since(now)).map_or(Duration::ZERO, Duration::from_micros)
}
