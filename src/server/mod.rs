//! The HTTP server: a thin shell that turns requests into calls of `store` and its answers into JSON or
//! server-sent events. It listens on the loopback only.
//!
//! A request passes, in this order: the limit of connections and the header timeout (`connections.rs`), the
//! guard (`guard.rs`: Host, Origin, token, content type), the router (`routes.rs`), a handler (one file a route
//! family), and on a refusal the one mapping of errors (`error.rs`). Handlers hold no state: all of it is the
//! store and a few counters.
//!
//! Constraints, and how they are kept:
//!
//! - Visible means durable: handlers see the journal up to the durable tail, through `store`.
//! - Memory is bounded by the number of connections: bodies, pages, headers and buffers have limits; a stream holds
//!   a cursor and at most two chunks, and a client that does not read stops only its own cursor.
//! - A stop is orderly: no new connection, running requests get their answer, the server's own followers end,
//!   `server_stopped` is made durable, each stream ends after delivering it, and only then does [`serve`] return.
//!
//! [`serve`] takes its listener and its shutdown, so tests bind port 0 and stop it; [`run()`] adds what
//! `api-server` needs: the lock, the runtime file, signals, the inbox watcher.

mod admission;
mod backup;
mod chunks;
mod connections;
mod counts;
mod emit;
mod error;
mod events;
mod feed;
mod followers;
mod frames;
mod gc;
mod guard;
mod health;
mod hooks;
mod life;
mod logging;
mod metrics;
mod metrics_text;
pub(crate) mod params;
mod patience;
mod projections;
mod pump;
mod rate;
mod rebuild;
mod replay;
mod routes;
mod run;
mod runtime_file;
mod search;
mod sessions;
mod state;
mod stats;
mod stream;
mod telling;
mod why;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

#[cfg(shuttle)]
pub use chunks::{ChunkCache, Deliveries};
pub use guard::{Guard, Token};
pub use run::{Options, run};

use crate::clock::Clock;
use crate::config;
use crate::config::settings::Retention;
use crate::error::Error;
use crate::event::{Event, Seq, Source, payload};
use crate::projection::{Runners, snapshot};
use crate::store::Store;
use crate::wire::{BODY_READ_TIMEOUT, CONNECTIONS_MAX, ErrorCode, KEEP_ALIVE};
use error::Refusal;
use followers::Followers;

/// How long requests that are being answered, and streams that are being ended, may take at a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How a server behaves. The limits of `wire` hold whatever stands here.
#[derive(Clone)]
pub struct Settings {
    /// Who is let in.
    pub guard: Guard,
    /// The server's own id, new at each start.
    pub instance_id: String,
    /// Where its own events say that they come from.
    pub source: Source,
    /// Time and fresh ids.
    pub clock: Arc<dyn Clock>,
    /// What tokens cost, as the user configured it.
    pub prices: config::prices::Prices,
    /// Where states of projections are kept; without it each start folds the whole journal.
    pub saved: Option<SavedStates>,
    /// What of the past may go; without [`Settings::saved`] nothing does.
    pub retention: Retention,
    /// Most connections at a time.
    pub connections_max: usize,
    /// How often a silent stream says that it lives.
    pub keep_alive: Duration,
    /// By when a body must have arrived.
    pub body_read_timeout: Duration,
    /// Whether the store takes nothing: then the server tells nothing of itself either.
    pub reads_only: bool,
    /// Whether transcripts are imported while their sessions live.
    pub imports_live: bool,
    /// Whether sessions whose agent is gone are ended.
    pub ends_sessions: bool,
    /// How long the server stays once no session and no client is left; `None`: until it is asked to stop. It needs
    /// `ends_sessions`, which is who looks.
    pub linger: Option<Duration>,
    /// Events a second that one source may emit in the long run; 0 is no limit.
    pub emit_rate_per_second: u32,
    /// Events that one source may emit at once.
    pub emit_burst: u32,
}

/// Where states of projections are kept.
#[derive(Debug, Clone)]
pub struct SavedStates {
    /// Shortcuts: derived.
    pub snapshots: PathBuf,
    /// What stands for dropped events: not derived.
    pub base: PathBuf,
}

impl Settings {
    /// The usual limits.
    pub fn new(guard: Guard, instance_id: String, source: Source, clock: Arc<dyn Clock>) -> Settings {
        let configured = crate::config::Settings::default();
        Settings {
            guard,
            instance_id,
            source,
            clock,
            prices: config::prices::Prices::default(),
            saved: None,
            retention: Retention::default(),
            connections_max: CONNECTIONS_MAX,
            keep_alive: KEEP_ALIVE,
            body_read_timeout: BODY_READ_TIMEOUT,
            reads_only: false,
            imports_live: false,
            emit_rate_per_second: configured.emit_rate_per_second,
            emit_burst: configured.emit_burst,
            ends_sessions: false,
            linger: None,
        }
    }
}

/// What a server did, told after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Requests that were answered or refused.
    pub requests_handled: u64,
    /// From the first accept to the end.
    pub uptime: Duration,
    /// How many events of others it had taken when it decided to leave, if it ended because nobody needed it any more.
    pub left_with: Option<u64>,
    /// Whether a client asked it to stop.
    pub is_asked: bool,
    /// Whether more of them came while it left. Who sent them saw a server.
    pub came_late: bool,
}

/// How far a server is on its way to the end; streams and handlers watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// No new requests; those that run are finished.
    Draining,
    /// Streams deliver up to this seq and end.
    Ending(Seq),
}

/// What handlers share.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) frames: frames::FrameCache,
    pub(crate) chunks: chunks::ChunkCache,
    /// How many events a source may emit.
    rates: rate::Rates,
    /// Requests, connections and streams so far.
    counts: counts::Counts,
    /// What has to be told in the journal and was not yet.
    untold: telling::Untold,
    /// The projections, which `projections.rs` keeps at the live end.
    pub(crate) projections: Runners,
    /// Where their states are saved.
    files: Option<snapshot::Files>,
    /// Turns of requests that fold an earlier moment.
    folding: tokio::sync::Semaphore,
    /// The turn of the request that folds projections anew.
    rebuilding: Arc<tokio::sync::Semaphore>,
    pub(crate) phase: watch::Sender<Phase>,
    /// Set by POST /admin/shutdown.
    pub(crate) stop_asked: watch::Sender<bool>,
    /// Set when nobody needs the server any more; see [`Served::left_with`].
    pub(crate) left_with: OnceLock<u64>,
    /// Connections that are served.
    pub(crate) connections: watch::Sender<usize>,
    started: Instant,
    requests: AtomicU64,
    in_flight: InFlight,
}

impl App {
    /// A turn of a request that reads a part of the journal, or folds it: only a few do at a time.
    async fn turn_to_fold(&self) -> Result<tokio::sync::SemaphorePermit<'_>, error::Refusal> {
        let turn = self.folding.acquire().await;
        turn.map_err(|_| error::Refusal::new(ErrorCode::Stopping, ErrorCode::Stopping.meaning()))
    }

    /// What handlers share, and the saved states that could not be believed.
    fn new(store: Store, settings: Settings) -> Result<(App, Vec<snapshot::Refusal>), Error> {
        let journal = store.journal_id().to_bytes();
        let files = settings
            .saved
            .as_ref()
            .map(|saved| snapshot::Files::new(&saved.snapshots, journal).with_base(&saved.base));
        let rates = rate::Rates::new(settings.emit_rate_per_second, settings.emit_burst);
        let (projections, refused) = Runners::restore(files.as_ref(), &store)?;
        let app = App {
            store,
            settings,
            projections,
            files,
            folding: tokio::sync::Semaphore::new(state::FOLDING_MAX),
            rebuilding: Arc::new(tokio::sync::Semaphore::new(1)),
            rates,
            counts: counts::Counts::default(),
            untold: telling::Untold::default(),
            frames: frames::FrameCache::default(),
            chunks: chunks::ChunkCache::default(),
            phase: watch::Sender::new(Phase::Running),
            stop_asked: watch::Sender::new(false),
            left_with: OnceLock::new(),
            connections: watch::Sender::new(0),
            started: Instant::now(),
            requests: AtomicU64::new(0),
            in_flight: InFlight::default(),
        };
        Ok((app, refused))
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request as running until the guard is dropped.
    fn in_flight(self: &Arc<Self>) -> Running {
        self.in_flight.requests.fetch_add(1, Ordering::SeqCst);
        Running(self.clone())
    }

    /// Counts a connection as served until the guard is dropped.
    fn connected(self: &Arc<Self>) -> Connected {
        self.connections.send_modify(|n| *n += 1);
        Connected(self.clone())
    }

    fn check_running(&self) -> Result<(), Refusal> {
        match *self.phase.borrow() {
            Phase::Running => Ok(()),
            Phase::Draining | Phase::Ending(_) => {
                Err(Refusal::new(ErrorCode::Stopping, ErrorCode::Stopping.meaning()))
            }
        }
    }

    /// An event of the server itself.
    fn own_event(&self, payload: impl Into<crate::event::Payload>) -> Event {
        let clock = &self.settings.clock;
        let id = crate::clock::new_id(&**clock);
        let instance = self.settings.instance_id.clone();
        Event::new(id, clock.now(), instance, self.settings.source.clone(), payload)
    }
}

/// Requests that are being answered. Each is counted twice and hardly ever waited for, so the count is a number and not a watch.
#[derive(Default)]
struct InFlight {
    requests: AtomicUsize,
    /// Told whenever none is left.
    none_left: Notify,
}

impl InFlight {
    async fn none(&self) {
        loop {
            // Told from here on, also of what happens before it is waited for.
            let told = self.none_left.notified();
            if self.requests.load(Ordering::SeqCst) == 0 {
                return;
            }
            told.await;
        }
    }
}

/// One more request, as long as it lives.
struct Running(Arc<App>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.in_flight.requests.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.in_flight.none_left.notify_waiters();
        }
    }
}

/// One more connection, as long as it lives.
struct Connected(Arc<App>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.send_modify(|n| *n -= 1);
    }
}

/// Serves `store` on `listener` until `shutdown` resolves, then stops in order. The first event that it emits is
/// `server_started` with the address really bound, the last one `server_stopped`. Where there is no room for them they wait in the
/// inbox; a server without room reads, refuses, and goes on when there is some.
///
/// # Errors
/// When one of those two events cannot be appended for another reason. Connections are closed in any case.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<Served, Error> {
    let addr = listener
        .local_addr()
        .map_err(|error| Error::failed(format!("the listener has no address: {error}")))?;
    let (app, refused) = App::new(store, settings)?;
    let app = Arc::new(app);
    let started = payload::ServerStarted {
        server_type: "api".into(),
        listen_addr: addr.to_string(),
        program_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
    };
    emit_own(&app, started).await?;
    tracing::info!(%addr, instance = app.settings.instance_id, "serving");

    let relayed = app.store.clone();
    let relaying = tokio::spawn(async move { relayed.relay().await });
    let followers = Followers::start(&app, refused);
    let telling = telling::Telling::start(&app);
    let stop = watch::Sender::new(false);
    let router = routes::router(app.clone());
    let accepting = tokio::spawn(connections::accept(listener, app.clone(), router, stop.subscribe()));
    let mut stop_asked = app.stop_asked.subscribe();
    tokio::select! {
        () = shutdown => {}
        _ = stop_asked.wait_for(|asked| *asked) => {}
    }

    app.phase.send_replace(Phase::Draining);
    stop.send_replace(true);
    let connections = accepting.await;
    wait_for_requests(&app).await;
    followers.end().await;
    telling.end(&app).await;
    let stopped = emit_stopped(&app).await;
    let last = stopped.as_ref().map_or_else(|_| app.store.durable(), |seq| *seq);
    app.phase.send_replace(Phase::Ending(last));
    if let Ok(mut connections) = connections {
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("connections that do not read were cut off");
            connections.shutdown().await;
        }
    }
    relaying.abort();
    projections::save(&app).await;
    let served = Served {
        requests_handled: app.requests.load(Ordering::Relaxed),
        uptime: app.started.elapsed(),
        left_with: app.left_with.get().copied(),
        is_asked: *app.stop_asked.borrow(),
        came_late: false,
    };
    tracing::info!(requests = served.requests_handled, "stopped");
    stopped.map(|_| served)
}

async fn wait_for_requests(app: &App) {
    if tokio::time::timeout(STOP_TIMEOUT, app.in_flight.none()).await.is_err() {
        tracing::warn!("requests still run after {} s; they are cut off", STOP_TIMEOUT.as_secs());
    }
}

async fn emit_stopped(app: &App) -> Result<Seq, Error> {
    let stopped = payload::ServerStopped {
        server_type: "api".into(),
        uptime_ms: app.uptime_ms(),
        requests_handled: app.requests.load(Ordering::Relaxed),
    };
    emit_own(app, stopped).await
}

/// The seq of an event of the server's own, or, where there is no room for it, the last that is durable.
async fn emit_own(app: &App, payload: impl Into<crate::event::Payload>) -> Result<Seq, Error> {
    if app.settings.reads_only {
        return Ok(app.store.durable());
    }
    let event = app.own_event(payload);
    let kind = event.kind.name().to_owned();
    let seq = match app.store.emit_or_leave(event).await {
        Err(error) if error.is_full() => {
            tracing::warn!(%error, kind, "it is not on record");
            None
        }
        Ok(None) => {
            tracing::warn!(kind, "the journal has no room; it waits in the inbox");
            None
        }
        emitted => emitted?,
    };
    Ok(seq.unwrap_or_else(|| app.store.durable()))
}

/// `value` as JSON. Values of ours always have a JSON form.
pub(crate) fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer has no JSON form");
        String::from("{}")
    })
}

/// An answer of JSON text.
pub(crate) fn json_text_response(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    error::json_headers(&mut response);
    response
}

/// An answer with `value` as its JSON body.
pub(crate) fn json_response(status: StatusCode, value: &impl Serialize) -> Response {
    json_text_response(status, json_text(value))
}

#[cfg(test)]
mod tests;
