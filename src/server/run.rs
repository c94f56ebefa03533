//! What `api-server` does around [`serve`]: lock, journal, listener, runtime file, inbox watcher, and all of it
//! backwards at the end.
//!
//! The order is the promise. The store is opened first: it takes the lock, recovers, and drains the inbox. Then
//! the listener is bound. Only then is the runtime file written, so who finds it finds a server that listens. At
//! the end the runtime file goes before the lock is given back, so nobody proves a dead server.
//!
//! On a full disk a journal that was not closed in order cannot be opened for writing: that takes a new segment. Such a server serves
//! what can be read and refuses the rest ([`serve_without_room`]); once there is room it ends what it serves, opens the journal again
//! and goes on, on the same address and with the same token.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use super::life::of_others;
use super::runtime_file::RuntimeFile;
use super::{Guard, SavedStates, Served, Settings, Token, logging, serve};
use crate::clock::{self, Clock, ProcessStamp, SystemClock};
use crate::config::settings::Retention;
use crate::config::{self, DataDir};
use crate::error::Error;
use crate::store::scrub::Scrub;
use crate::store::space::Space;
use crate::store::{InboxWatch, Opened, Opening, Store};
use crate::wire::{CONNECTIONS_MAX, Runtime};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// The system's buffer for what a client has not read yet. Fixed, so that a thousand clients that do not read cost a
/// known amount; the system doubles it.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;
/// How often a server without room looks for some, and how much it wants before it opens the journal again: a segment that was not flushed
/// is written anew, and where that was not enough it waits for twice as much.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(500);
const ROOM_BYTES: u64 = 1 << 20;
/// Descriptors beside those of connections: segments, logs, the inbox.
const DESCRIPTORS_BESIDE: u64 = 256;

/// What to serve and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; it is made if it does not exist.
    pub dir: DataDir,
    /// What is configured.
    pub settings: config::Settings,
    /// Where to listen. `None` is the configured address, or any free port if somebody else listens there.
    pub addr: Option<SocketAddr>,
    /// Whether it leaves, after the configured time, when no session and no client is left: for a server that nobody asked for.
    pub lingers: bool,
    /// What the log shall hold: a level of `tracing`; `info` unless told otherwise.
    pub log_level: Option<String>,
}

/// Serves until `shutdown` resolves. `ready` is called once, when the server listens and can be found.
///
/// # Errors
/// [`Error::ServerRunning`] when another server holds the directory, [`Error::Usage`] for an address that is not of
/// the loopback, and whatever opening the journal or listening says. Nothing is left behind then.
pub fn run(
    options: &Options,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(&Runtime),
) -> Result<Served, Error> {
    check_loopback(options.addr.unwrap_or(options.settings.server_addr))?;
    options.dir.create()?;
    options.dir.refuse_links()?;
    logging::start(&options.dir, options.log_level.as_deref())?;
    prepare_process();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let instance_id = clock::new_id(&*clock).to_string();
    let opening = Opening::server(instance_id.clone(), clock.clone(), options.settings.clone());
    let mut store = open(&options.dir, opening.clone())?;
    let served = tokio_runtime()?.block_on(run_on(options, &mut store, opening, shutdown, ready));
    let (store, _) = store;
    let closed = store.close();
    let mut served = served.and_then(|served| closed.map(|()| served))?;
    served.came_late = served.left_with.is_some_and(|known| of_others(&store.books()) > known);
    Ok(served)
}

fn open(dir: &DataDir, opening: Opening) -> Result<(Store, Opened), Error> {
    let (store, opened) = Store::open(dir, opening)?;
    tracing::info!(
        created = opened.created,
        clean = opened.clean,
        torn_bytes = opened.torn_bytes,
        damaged_ranges = opened.damage.len(),
        drained = opened.drained.events,
        "the journal is open"
    );
    if let Some(trouble) = &opened.trouble {
        tracing::warn!(trouble, reads_only = opened.reads_only, "there is no room to write");
    }
    Ok((store, opened))
}

async fn run_on(
    options: &Options,
    store: &mut (Store, Opened),
    opening: Opening,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(&Runtime),
) -> Result<Served, Error> {
    let (instance_id, clock) = (opening.instance.clone(), opening.clock.clone());
    let listener = Listener::new(listen(options)?)?;
    let addr = listener.addr;
    let token = Token::from_bits(clock::random()?);
    let process = ProcessStamp::current();
    let runtime = Runtime {
        addr,
        pid: process.pid,
        start_ticks: process.start_ticks,
        token: token.reveal().to_owned(),
        instance_id: instance_id.clone(),
        journal_id: store.0.journal_id().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: clock.now().to_string(),
    };
    let beside = if store.1.reads_only { None } else { Some(Beside::start(&store.0)?) };
    let file = RuntimeFile::write(&options.dir, &runtime)?;
    ready(&runtime);
    let source = clock::this_source("mnemosyne");
    let mut settings = Settings::new(Guard::new(token, addr.port()), instance_id, source, clock);
    settings.saved = Some(SavedStates { snapshots: options.dir.snapshots(), base: options.dir.base() });
    settings.prices = options.settings.prices.clone();
    settings.imports_live = true;
    settings.retention = options.settings.retention;
    settings.emit_rate_per_second = options.settings.emit_rate_per_second;
    settings.emit_burst = options.settings.emit_burst;
    settings.ends_sessions = true;
    settings.linger = options.settings.linger.filter(|_| options.lingers);
    let mut shutdown = std::pin::pin!(shutdown);
    if store.1.reads_only {
        let ended =
            serve_without_room(&listener, store, &opening, &settings, &options.dir, shutdown.as_mut());
        if let Some(ended) = ended.await? {
            drop(file);
            return Ok(ended);
        }
        file.take_room();
    }
    let _beside = match beside {
        Some(beside) => beside,
        None => Beside::start(&store.0)?,
    };
    let served = serve(listener.again()?, store.0.clone(), settings, shutdown).await;
    drop(file);
    served
}

/// What a server that writes does beside: it drains the inbox, and reads through what it has written.
struct Beside {
    _inbox: InboxWatch,
    _scrub: Option<Scrub>,
}

impl Beside {
    fn start(store: &Store) -> Result<Beside, Error> {
        Ok(Beside { _inbox: store.watch_inbox()?, _scrub: store.scrub()? })
    }
}

/// Serves what can be read until there is room to open the journal for writing, and opens it. What was served, if it was asked to stop
/// before.
async fn serve_without_room(
    listener: &Listener,
    store: &mut (Store, Opened),
    opening: &Opening,
    settings: &Settings,
    dir: &DataDir,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Served>, Error> {
    let mut wanted = ROOM_BYTES;
    while store.1.reads_only {
        let mut is_asked_to_stop = false;
        let until = async {
            tokio::select! {
                () = shutdown.as_mut() => is_asked_to_stop = true,
                () = room(dir, wanted) => {}
            }
        };
        let retention = Retention::default();
        let settings = Settings {
            reads_only: true,
            imports_live: false,
            ends_sessions: false,
            retention,
            ..settings.clone()
        };
        let served = serve(listener.again()?, store.0.clone(), settings, until).await?;
        if is_asked_to_stop || served.is_asked {
            return Ok(Some(served));
        }
        store.0.close()?;
        *store = open(dir, opening.clone())?;
        wanted = wanted.saturating_mul(2);
    }
    Ok(None)
}

/// Resolves once so much is free.
async fn room(dir: &DataDir, wanted: u64) {
    loop {
        tokio::time::sleep(LOOK_FOR_ROOM).await;
        match Space::free(dir) {
            Ok(free) if free >= wanted => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the disk does not say how much room it has"),
        }
    }
}

/// A listener that several servers use, one after the other: who connects in between waits.
struct Listener {
    listener: std::net::TcpListener,
    addr: SocketAddr,
}

impl Listener {
    fn new(listener: TcpListener) -> Result<Listener, Error> {
        let addr = listener
            .local_addr()
            .map_err(|error| Error::failed(format!("the listener has no address: {error}")))?;
        let listener = listener
            .into_std()
            .map_err(|error| Error::failed(format!("the listener cannot be kept: {error}")))?;
        Ok(Listener { listener, addr })
    }

    fn again(&self) -> Result<TcpListener, Error> {
        let again = self.listener.try_clone().and_then(TcpListener::from_std);
        again.map_err(|error| Error::failed(format!("the listener cannot be used: {error}")))
    }
}

/// The one address family of this release: a journal of prompts does not belong on a network.
fn check_loopback(addr: SocketAddr) -> Result<(), Error> {
    if addr.ip().is_loopback() {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{addr} is not a loopback address: this server listens on 127.0.0.1 or [::1] only"
    )))
}

fn listen(options: &Options) -> Result<TcpListener, Error> {
    let wanted = options.addr.unwrap_or(options.settings.server_addr);
    let failed = |addr: SocketAddr| {
        move |error: std::io::Error| {
            Error::failed(format!(
                "cannot listen on {addr}: {error}; `--addr 127.0.0.1:0` takes any free port"
            ))
        }
    };
    match bind(wanted) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && options.addr.is_none() => {
            let free = SocketAddr::new(wanted.ip(), 0);
            tracing::info!(%wanted, "somebody listens there already; taking any free port");
            bind(free).map_err(failed(free))
        }
        outcome => outcome.map_err(failed(wanted)),
    }
}

fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    // A port that a server left a moment ago can be taken again at once; one that is listened on cannot.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn tokio_runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("server")
        .build()
        .map_err(|error| Error::failed(format!("cannot start threads: {error}")))
}

/// Room for the connections that are promised, and no core dump: it would hold the token and what passes through.
fn prepare_process() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = CONNECTIONS_MAX as u64 + DESCRIPTORS_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = Some(limit.maximum.map_or(wanted, |maximum| wanted.min(maximum)));
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
    let none = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_served() {
        for addr in ["127.0.0.1:0", "127.0.0.2:80", "[::1]:3000"] {
            assert!(check_loopback(addr.parse().unwrap()).is_ok(), "{addr}");
        }
        for addr in ["0.0.0.0:3000", "[::]:3000", "192.168.1.1:3000", "[::ffff:127.0.0.1]:3000"] {
            let error = check_loopback(addr.parse().unwrap()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{addr}");
        }
    }
}
