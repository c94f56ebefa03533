//! `GET /events/stream`: what was, then what is, through one subscription that knows no seam between the two.
//!
//! Constraints: a frame goes out once and in order; ids rise strictly; a client that reconnects with the last id it
//! saw misses nothing. So a cursor is refused rather than guessed at: one that is no number, one of another
//! journal, and one beyond the tail are errors, and never "from now". A stream that begins at the live end says
//! where that was in a checkpoint at once, so that even a client that has seen no event yet can come back to it.
//!
//! How: the body is polled only when the socket takes more, so a client that does not read holds one chunk and a
//! cursor. What is ready is put into one chunk, up to [`CHUNK_BYTES`]; frames come from the shared cache.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::Refusal;
use super::events::{undecodable_gap, wire_gap};
use super::params::{Params, Place, last_event_id};
use super::pump::Pump;
use super::{App, Phase};
use crate::error::Error;
use crate::event::{Filter, Seq, Timestamp};
use crate::store::{Delivery, Item, Store, Subscription};
use crate::wire::{ErrorCode, RETRY, header, sse};

/// A chunk is sent once it has this size, even if more is ready: large enough to keep system calls rare, small
/// enough that a thousand streams that lag cost little.
const CHUNK_BYTES: usize = 16 * 1024;

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

/// Opens the stream that `uri` and `headers` ask for.
pub(super) async fn open(app: &Arc<App>, uri: &Uri, headers: &HeaderMap) -> Result<Response, Refusal> {
    let ask = ask(&app.store, uri, headers)?;
    let from = first_seq(app, ask.start, &ask.filter).await?;
    let mut opening = String::new();
    sse::retry_line(&mut opening, RETRY);
    let opens_with_checkpoint = ask.start == Start::Live;
    if opens_with_checkpoint {
        sse::checkpoint_frame(&mut opening, from.get().saturating_sub(1));
    }
    let ends_at = match ask.until {
        Some(Place::Time(time)) => Some(Instant::now() + until_time(app.settings.clock.now(), time)),
        _ => None,
    };
    let feed = Feed {
        app: app.clone(),
        subscription: app.store.subscribe(from, ask.filter)?,
        phase: app.phase.subscribe(),
        opening,
        opens_with_checkpoint,
        until: ask.until,
        ends_at,
        quiet_until: Instant::now() + app.settings.keep_alive,
        ended: false,
    };
    Ok(response(&app.store, Body::from_stream(Pump::new(feed, Feed::chunk))))
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

fn ask(store: &Store, uri: &Uri, headers: &HeaderMap) -> Result<Ask, Refusal> {
    let mut params = Params::of(uri)?;
    params.check_journal(store)?;
    let start = start(&mut params, last_event_id(headers)?)?;
    check_cursor(store, start)?;
    let until = params.place("until")?;
    let filter = params.filter()?;
    params.finish()?;
    Ok(Ask { start, until, filter })
}

/// Where to begin. All of the parameters are read, so that a bad one is never hidden by a better one.
fn start(params: &mut Params, header: Option<Seq>) -> Result<Start, Refusal> {
    let after = params.cursor("last_event_id")?;
    let from = params.cursor("from")?;
    let since = params.time("since")?;
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

/// One stream: a subscription on its way into a body.
struct Feed {
    app: Arc<App>,
    subscription: Subscription,
    phase: watch::Receiver<Phase>,
    /// Goes before the first frame.
    opening: String,
    /// Whether `opening` is a frame of its own and need not wait for an event.
    opens_with_checkpoint: bool,
    until: Option<Place>,
    /// When `until`, a time, has come.
    ends_at: Option<Instant>,
    /// When a sign of life is due.
    quiet_until: Instant,
    ended: bool,
}

impl Feed {
    /// The next chunk, and `None` at the end. An error breaks the connection, so that the client does not take it
    /// for the end.
    async fn chunk(mut self) -> Option<(Result<Bytes, Error>, Feed)> {
        if std::mem::take(&mut self.opens_with_checkpoint) {
            return Some((Ok(Bytes::from(std::mem::take(&mut self.opening))), self));
        }
        let mut out = String::new();
        let outcome = self.fill(&mut out).await;
        if out.is_empty() {
            return outcome.err().map(|error| (Err(error), self));
        }
        if outcome.is_err() {
            tracing::warn!("a stream is broken off because the journal could not be read");
            self.ended = true;
        }
        self.quiet_until = Instant::now() + self.app.settings.keep_alive;
        Some((Ok(Bytes::from(out)), self))
    }

    /// Waits for the first frame, then takes what else is ready.
    async fn fill(&mut self, out: &mut String) -> Result<(), Error> {
        while !self.is_at_end() {
            let delivery = tokio::select! {
                biased;
                delivery = self.subscription.next() => delivery?,
                // Nothing more is ready: what there is goes out now.
                () = std::future::ready(()), if !out.is_empty() => return Ok(()),
                _ = self.phase.changed() => continue,
                () = at(self.ends_at) => {
                    self.ended = true;
                    continue;
                }
                () = tokio::time::sleep_until(self.quiet_until) => {
                    out.push_str(sse::SIGN_OF_LIFE);
                    return Ok(());
                }
            };
            match delivery {
                Some(delivery) => self.take(delivery, out),
                // The store was closed: everything durable is out.
                None => self.ended = true,
            }
            if out.len() >= CHUNK_BYTES {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether nothing more may go out.
    fn is_at_end(&self) -> bool {
        let cursor = self.subscription.cursor();
        let stopped = matches!(*self.phase.borrow(), Phase::Ending(last) if cursor >= last);
        let until = matches!(self.until, Some(Place::Seq(last)) if cursor >= last);
        self.ended || stopped || until
    }

    fn take(&mut self, delivery: Delivery, out: &mut String) {
        if self.is_beyond_until(&delivery) {
            self.ended = true;
            return;
        }
        out.push_str(&std::mem::take(&mut self.opening));
        match delivery {
            Delivery::Event(event) => out.push_str(&self.app.frames.frame(&event)),
            Delivery::Gap(gap) => sse::gap_frame(out, &wire_gap(gap)),
            Delivery::Undecodable(record) => sse::gap_frame(out, &undecodable_gap(record.seq)),
            Delivery::Checkpoint { seq } => sse::checkpoint_frame(out, seq.get()),
            Delivery::Lag { behind } => sse::lag_frame(out, behind),
        }
    }

    fn is_beyond_until(&self, delivery: &Delivery) -> bool {
        match (self.until, delivery) {
            (Some(Place::Seq(last)), Delivery::Event(event)) => event.seq > last,
            (Some(Place::Seq(last)), Delivery::Gap(gap)) => gap.from > last,
            (Some(Place::Seq(last)), Delivery::Undecodable(record)) => record.seq > last,
            (Some(Place::Seq(last)), Delivery::Checkpoint { seq }) => *seq > last,
            (Some(Place::Time(time)), Delivery::Event(event)) => event.recorded > time,
            (Some(Place::Time(time)), Delivery::Undecodable(record)) => record.recorded > time,
            _ => false,
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
