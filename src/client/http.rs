//! One HTTP/1.1 exchange with a server on this machine, over hyper: no TLS, no pool, no redirects.
//!
//! A command makes one or two requests in its life, so each opens its own connection. What costs is building a
//! TLS client or a multi-threaded runtime; this builds neither.
//!
//! An answer may rightly take long: a search, a base that retention folds. A server that hangs takes as long, and is told from one that
//! works by asking beside: while an answer or the rest of one is waited for, a server that does not say within [`SIGN_TIMEOUT`] that it is
//! there is given up. Each sign of life begins a new such time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Error, SIGN_TIMEOUT};
use crate::wire::{ErrorBody, header, path};

/// Largest answer that is read into memory: a page of a thousand events of the largest kind.
pub(super) const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// An answer that comes within this is not asked after.
const ASK_AFTER: Duration = Duration::from_millis(500);

const _: () = assert!(ASK_AFTER.as_millis() < SIGN_TIMEOUT.as_millis());

/// What is asked.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) target: &'a str,
    pub(super) body: Option<Bytes>,
    pub(super) last_event_id: Option<&'a str>,
    pub(super) accept: &'static str,
}

impl<'a> Ask<'a> {
    pub(super) fn get(target: &'a str) -> Ask<'a> {
        Ask { method: Method::GET, target, body: None, last_event_id: None, accept: "application/json" }
    }

    pub(super) fn post(target: &'a str, body: Bytes) -> Ask<'a> {
        Ask { method: Method::POST, body: Some(body), ..Ask::get(target) }
    }
}

/// Where a server listens, the name by which it wants to be called, and what lets in.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) addr: SocketAddr,
    /// The `Host` of a request. Behind a tunnel the server listens at another port than the one that is connected to.
    pub(super) host: String,
    pub(super) token: String,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("addr", &self.addr).field("host", &self.host).finish_non_exhaustive()
    }
}

/// Sends `ask` and returns the answer as soon as its header is there. A status that is not a success becomes
/// [`Error::Refused`] with what the body says.
pub(super) async fn exchange(
    to: &Address,
    ask: Ask<'_>,
    limit: Duration,
) -> Result<Response<Incoming>, Error> {
    let (addr, request) = (to.addr, request(to, ask)?);
    let response = while_there(to, limit, send(addr, request)).await??;
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, retry_after) = (response.status(), retry_after(&response));
    let body = read(to, response, limit).await?;
    Err(refusal(addr, status, retry_after, &body))
}

/// Waits for `answer` for at most `limit`, and as long as the server is not silent.
async fn while_there<T>(to: &Address, limit: Duration, answer: impl Future<Output = T>) -> Result<T, Error> {
    let addr = to.addr;
    let silence = async {
        let mut pause = ASK_AFTER;
        loop {
            tokio::time::sleep(pause).await;
            let sign = tokio::time::timeout(SIGN_TIMEOUT.saturating_sub(ASK_AFTER), sign(to));
            // Whatever comes of it in time will do: one that stops in order listens no more and answers what it was asked, and one that has
            // died breaks the connection.
            if sign.await.is_err() {
                return Error::TimedOut { addr, limit: SIGN_TIMEOUT };
            }
            pause = SIGN_TIMEOUT;
        }
    };
    tokio::select! {
        biased;
        answered = tokio::time::timeout(limit, answer) => answered.map_err(|_| Error::TimedOut { addr, limit }),
        silent = silence => Err(silent),
    }
}

/// Asks whether it is there. Without the token: when the server has gone meanwhile, somebody else may listen there.
async fn sign(to: &Address) -> Result<(), Error> {
    let request = Request::get(path::HEALTH).header(HOST, &to.host).body(Full::default());
    send(to.addr, request.map_err(|error| Error::Local(error.to_string()))?).await.map(drop)
}

/// Reads the whole body, at most [`ANSWER_BYTES_MAX`] bytes of it, for at most `limit` and as long as the server is not silent.
pub(super) async fn read(
    to: &Address,
    response: Response<Incoming>,
    limit: Duration,
) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    let body = while_there(to, limit, body).await?;
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| Error::Broken {
        addr: to.addr,
        reason: error.to_string(),
    };
    Ok(body.map_err(broken)?.to_bytes())
}

fn request(to: &Address, ask: Ask<'_>) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.target)
        .header(HOST, &to.host)
        .header(hyper::header::ACCEPT, ask.accept)
        .header(AUTHORIZATION, format!("Bearer {}", to.token));
    if let Some(id) = ask.last_event_id {
        request = request.header(header::LAST_EVENT_ID, id);
    }
    if ask.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(ask.body.unwrap_or_default())).map_err(|error| Error::Local(error.to_string()))
}

async fn send(addr: SocketAddr, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
    let stream = tokio::time::timeout(SIGN_TIMEOUT, TcpStream::connect(addr))
        .await
        .map_err(|_| Error::TimedOut { addr, limit: SIGN_TIMEOUT })?
        .map_err(|source| Error::Unreachable { addr, source })?;
    let _ = stream.set_nodelay(true);
    let broken = |error: hyper::Error| Error::Broken { addr, reason: error.to_string() };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the body; an error of it also reaches the sender or the body, where it is told.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

/// In whole seconds, which is the form that our server uses.
fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn refusal(addr: SocketAddr, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Error {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error }) => Error::Refused {
            status: status.as_u16(),
            code: error.code,
            message: error.message,
            field: error.field,
            actual: error.actual,
            retry_after,
        },
        Err(_) => Error::Protocol { addr, reason: format!("status {status} without an error object") },
    }
}
