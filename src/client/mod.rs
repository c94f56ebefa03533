//! The client of a server: finds it, proves it, asks it. Blocking, for commands.
//!
//! A server of a data directory is believed only when the runtime file in the data directory names it AND the holder of the
//! directory's lock is that very process (pid and start time). Otherwise whoever listens on that port could be
//! anybody, and must not get the token. One that the user names by its URL ([`Server::elsewhere`]) is believed because the user
//! names it: it gets the token of the file that the user names with it, and nobody else does.
//!
//! ```no_run
//! # fn main() -> Result<(), mnemosyne::error::Error> {
//! # let dir = mnemosyne::config::DataDir::at("data");
//! if let Some(server) = mnemosyne::client::Server::find(&dir)? {
//!     let sessions = server.get_json("/sessions")?;
//!     println!("{sessions}");
//! }
//! # Ok(()) }
//! ```

mod admin;
pub mod batch;
mod elsewhere;
mod error;
mod http;
pub mod keep;
mod request;
mod stream;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use http::{Address, Ask};

pub use batch::{Batcher, Sent};
pub use error::Error;
pub use request::{request_of, request_of_all};
pub use stream::{Next, Stream};

use crate::config::{DataDir, guard};
use crate::store;
use crate::wire::{Counters, Durability, Emitted, Runtime, header, path};

/// How long an answer may take of a server that is there: a durable emit on a slow disk is far under a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server may be silent: connect, begin its answer, or else say that it is there, which it does whatever else it does.
const SIGN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an emit waits in all for a server that answers that it comes too fast.
const RATE_WAIT_MAX: Duration = Duration::from_secs(30);

/// No runtime file of ours is larger.
const RUNTIME_BYTES_MAX: u64 = 64 * 1024;

/// A server that can be asked.
#[derive(Debug, Clone)]
pub struct Server {
    address: Address,
    /// What it holds, where it was found by that; none for one elsewhere.
    dir: Option<DataDir>,
}

/// A running server that was proved to be the one that holds the data directory.
#[derive(Debug, Clone)]
pub struct Proven {
    server: Server,
    runtime: Runtime,
}

impl std::ops::Deref for Proven {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Proven {
    /// All that the runtime file says.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl Server {
    /// The server that holds `dir` now, or `None`. A runtime file left behind by a server that was killed, one
    /// that names another process than the lock's holder, and one that is not whole are all `None`.
    ///
    /// # Errors
    /// When the runtime file is there and cannot be read.
    pub fn find(dir: &DataDir) -> Result<Option<Proven>, crate::error::Error> {
        let Some(runtime) = runtime_file(dir)? else { return Ok(None) };
        let proved = store::holder(dir).is_some_and(|holder| {
            holder.role == store::Role::Server
                && holder.process.pid == runtime.pid
                && holder.process.start_ticks == runtime.start_ticks
        });
        Ok(proved.then(|| {
            let (addr, token) = (runtime.addr, runtime.token.clone());
            let address = Address { addr, host: addr.to_string(), token };
            Proven { server: Server { address, dir: Some(dir.clone()) }, runtime }
        }))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address.addr
    }

    /// Whether it answers at all, within a few seconds: to be asked before what may rightly take longer, so that nobody waits long for
    /// one that hangs.
    ///
    /// # Errors
    /// As any request; [`Error::TimedOut`] for one that hangs.
    pub fn check_answers(&self) -> Result<(), Error> {
        let answer = http::exchange(&self.address, Ask::get(path::HEALTH), SIGN_TIMEOUT);
        runtime()?.block_on(answer).map(drop)
    }

    /// The body of `GET target`: JSON text, as the server wrote it.
    pub fn get_json(&self, target: &str) -> Result<String, Error> {
        let (to, ask) = (&self.address, Ask::get(target));
        let body = runtime()?.block_on(async {
            let response = http::exchange(to, ask, ANSWER_TIMEOUT).await?;
            http::read(to, response, ANSWER_TIMEOUT).await
        })?;
        self.text(body)
    }

    /// The answer of `GET target`, read.
    ///
    /// # Errors
    /// As any request; an answer of a server of another version may not be understood.
    pub fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, Error> {
        serde_json::from_str(&self.get_json(target)?).map_err(|error| self.protocol(&error))
    }

    /// The id of the journal that it serves, which it names with every page of events.
    ///
    /// # Errors
    /// As any request.
    pub fn journal_id(&self) -> Result<String, Error> {
        let (to, target) = (&self.address, target(path::EVENTS, [("limit", "1")]));
        let answer = http::exchange(to, Ask::get(&target), ANSWER_TIMEOUT);
        let response = runtime()?.block_on(answer)?;
        let named = response.headers().get(header::JOURNAL).and_then(|id| id.to_str().ok());
        named.map(str::to_owned).ok_or_else(|| self.protocol(&"it does not name its journal"))
    }

    /// Appends events: `events` is the JSON of one emit request or of an array of them. A server that says that they
    /// come too fast is asked again when it says so, for at most 30 seconds in all; nothing of a refused request was stored.
    ///
    /// # Errors
    /// [`Error::outcome_unknown`] says when the events may have been stored; with ids in them, emitting them again
    /// is safe.
    pub fn emit(&self, events: &str, level: Durability, expected_seq: Option<u64>) -> Result<Emitted, Error> {
        let mut target = format!("{}?durability={}", path::EMIT, level.name());
        if let Some(seq) = expected_seq {
            let _ = write!(target, "&expected_seq={seq}");
        }
        let mut waited = Duration::ZERO;
        let body = loop {
            let refused = match self.post(&target, events) {
                Ok(body) => break body,
                Err(error) => error,
            };
            let Some(pause) = refused.pause().filter(|pause| waited + *pause <= RATE_WAIT_MAX) else {
                return Err(refused);
            };
            std::thread::sleep(pause);
            waited += pause;
        };
        serde_json::from_str(&body).map_err(|error| self.protocol(&error))
    }

    /// Appends one emit request at level `os`. Asks once, and waits no longer than `limit` in all.
    ///
    /// # Errors
    /// As [`Server::emit`], and at once where the events come too fast.
    pub fn emit_within(&self, events: &str, limit: Duration) -> Result<(), Error> {
        let target = format!("{}?durability={}", path::EMIT, Durability::Os.name());
        let ask = Ask::post(&target, Bytes::copy_from_slice(events.as_bytes()));
        let answer = async { tokio::time::timeout(limit, http::exchange(&self.address, ask, limit)).await };
        match runtime()?.block_on(answer) {
            Ok(answered) => answered.map(drop),
            Err(_) => Err(Error::TimedOut { addr: self.addr(), limit }),
        }
    }

    /// What the server has counted since it started.
    ///
    /// # Errors
    /// As any request; an answer of a server of another version may not be understood.
    pub fn counters(&self) -> Result<Counters, Error> {
        self.get(&target(path::METRICS, [("format", "json")]))
    }

    /// Asks for the safe stop. The answer comes before the server has stopped.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.post(path::SHUTDOWN, "{}").map(drop)
    }

    /// Opens an event stream: `target` is a path with its query, see [`target`].
    pub fn stream(&self, target: &str, last_event_id: Option<u64>) -> Result<Stream, Error> {
        Stream::open(self.clone(), target.to_owned(), last_event_id)
    }

    /// The server that holds the same directory now. One elsewhere is where it was.
    fn again(&self) -> Option<Server> {
        Server::find(self.dir.as_ref()?).ok().flatten().map(|proven| proven.server)
    }

    fn post(&self, target: &str, body: &str) -> Result<String, Error> {
        let (to, ask) = (&self.address, Ask::post(target, Bytes::copy_from_slice(body.as_bytes())));
        let body = runtime()?.block_on(async {
            let response = http::exchange(to, ask, ANSWER_TIMEOUT).await?;
            http::read(to, response, ANSWER_TIMEOUT).await
        })?;
        self.text(body)
    }

    fn text(&self, body: Bytes) -> Result<String, Error> {
        String::from_utf8(body.into()).map_err(|error| self.protocol(&error))
    }

    fn protocol(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::Protocol { addr: self.addr(), reason: reason.to_string() }
    }
}

/// `path` with a query of `pairs`, percent-encoded.
///
/// ```
/// use mnemosyne::client::target;
///
/// assert_eq!(target("/events", [("grep", "a b&c"), ("limit", "5")]), "/events?grep=a%20b%26c&limit=5");
/// assert_eq!(target("/events", []), "/events");
/// ```
pub fn target<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut target = path.to_owned();
    for (at, (name, value)) in pairs.into_iter().enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(&percent_encoded(name));
        target.push('=');
        target.push_str(&percent_encoded(value));
    }
    target
}

/// `text` as one segment of a path or one part of a query: all but letters, digits, `-`, `.`, `_` and `~` escaped.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What the runtime file says, which nobody may believe by itself. One that is not whole is as good as none: it is written
/// atomically, so no server of ours left it.
///
/// # Errors
/// When it is there and cannot be read.
pub fn runtime_file(dir: &DataDir) -> Result<Option<Runtime>, crate::error::Error> {
    let bytes = guard::read_if_present(&dir.server_json(), RUNTIME_BYTES_MAX)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A runtime on this thread alone: commands wait for one thing at a time.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Local(error.to_string()))
}

#[cfg(test)]
mod tests;
