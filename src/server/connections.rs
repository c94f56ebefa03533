//! Connections: accepted one by one, bounded in number, in header time and in buffers, and ended in order.
//!
//! axum's own `serve` has no limit on any of these, so the accept loop is ours, over hyper's HTTP/1.1:
//!
//! - beyond the limit a connection gets a 503 at once and is closed; it never waits in a queue that nobody sees;
//! - a client that has not sent its whole header after ten seconds, or is idle for as long, is disconnected;
//! - hyper's buffer for one connection is bounded, and a client that does not read stops only its own stream;
//! - so is the system's, by a fixed size of the listener's send buffer (`run.rs`).
//!
//! On shutdown the listener closes first, idle connections at once, and the others after their answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service;

use super::error::Refusal;
use super::patience::Patience;
use super::{App, admission, emit};
use crate::wire::{CONNECTIONS_MAX, ErrorBody, ErrorCode, HEADER_READ_TIMEOUT, HOOK_BODY_BYTES_MAX, path};

/// hyper's read and write buffer of one connection. A stream's body is asked for more while less than this waits for the socket, so that
/// a burst goes out in few system calls; a client that does not read holds this and one chunk.
const BUFFER_BYTES_MAX: usize = 32 * 1024;
/// A request's line and headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(HEADER_BYTES_MAX < BUFFER_BYTES_MAX);
/// A refused body is read and thrown away up to here, so that its sender gets to read the refusal.
const DISCARD_BYTES_MAX: usize = 2 * HOOK_BODY_BYTES_MAX;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Refusals for want of a free connection that may be on their way out at one time.
const TURNED_AWAY_MAX: usize = 64;
/// Accepting failed for want of descriptors or memory: wait for some to be given back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until `stop` turns true, then closes the listener and returns the connections that live.
pub(super) async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    router: axum::Router,
    mut stop: watch::Receiver<bool>,
) -> JoinSet<()> {
    let free = Arc::new(Semaphore::new(app.settings.connections_max.min(CONNECTIONS_MAX)));
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return connections,
        };
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        if let Ok(permit) = free.clone().try_acquire_owned() {
            connections.spawn(serve_connection(stream, permit, app.clone(), router.clone(), stop.clone()));
        } else if let Ok(permit) = turned_away.clone().try_acquire_owned() {
            app.counts.turned_away();
            connections.spawn(turn_away(stream, permit));
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    app: Arc<App>,
    router: axum::Router,
    mut stop: watch::Receiver<bool>,
) {
    let _open = app.counts.connection();
    let _connected = app.connected();
    let service = service_fn(move |request| answer(app.clone(), router.clone(), request));
    let connection = http1::Builder::new()
        .timer(Patience::default())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_header_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients go away in the middle of things all the time: nothing to tell anybody about.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Resolves once `stop` is true, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One request: checked, routed, counted.
async fn answer(
    app: Arc<App>,
    router: axum::Router,
    request: Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    app.count_request();
    let _in_flight = app.in_flight();
    let (parts, body) = request.into_parts();
    let uri = parts.uri.clone();
    let response = checked(&app, router, parts, body).await?;
    app.counts.answered(uri.path(), response.status().as_u16());
    Ok(response)
}

async fn checked(
    app: &Arc<App>,
    mut router: axum::Router,
    parts: Parts,
    body: Incoming,
) -> Result<axum::response::Response, Infallible> {
    let Err(refusal) = app.settings.guard.check(&parts).and_then(|()| app.check_running()) else {
        // The one route that is asked thousands of times a second goes past the router: its answers are the same.
        if parts.method == Method::POST && parts.uri.path() == path::EMIT {
            return Ok(emit::emit(app, &parts.uri, body).await.into_response());
        }
        return router.call(Request::from_parts(parts, Body::new(body))).await;
    };
    let refusal = match admission::way_of(&parts) {
        Some(way) => app.turn_down(way, refusal),
        None => refusal,
    };
    discard(body).await;
    Ok(refusal.into_response())
}

/// Reads the whole body, at most `bytes_max` of it.
pub(super) async fn read_body<B>(mut body: B, bytes_max: usize, limit: Duration) -> Result<Bytes, Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let said = body.size_hint();
    if said.lower() > bytes_max as u64 {
        discard(body).await;
        return Err(too_large(bytes_max));
    }
    let first = match poll_now(body.frame()).await {
        // A small body comes with its header: there is nothing to wait for, and nothing to put together.
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(bytes) if said.exact() == Some(bytes.len() as u64) => return Ok(bytes),
            Ok(bytes) => bytes,
            Err(_trailers) => Bytes::new(),
        },
        Poll::Ready(None) => return Ok(Bytes::new()),
        Poll::Ready(Some(Err(_))) => return Err(broke_off()),
        Poll::Pending => Bytes::new(),
    };
    let late = |_| {
        Refusal::new(ErrorCode::RequestTimeout, format!("the body must arrive within {} s", limit.as_secs()))
    };
    tokio::time::timeout(limit, read_rest(first, body, bytes_max)).await.map_err(late)?
}

async fn read_rest<B>(first: Bytes, body: B, bytes_max: usize) -> Result<Bytes, Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let left = body.size_hint().lower();
    let mut bytes = Vec::with_capacity(first.len() + usize::try_from(left).unwrap_or(0).min(bytes_max));
    let mut body = Limited::new(body, DISCARD_BYTES_MAX);
    let mut refused = false;
    let mut next = Some(first);
    while let Some(chunk) = next {
        refused |= bytes.len() + chunk.len() > bytes_max;
        if refused {
            bytes.clear();
        } else {
            bytes.extend_from_slice(&chunk);
        }
        next = match body.frame().await {
            // Trailers say nothing here.
            Some(Ok(frame)) => Some(frame.into_data().unwrap_or_default()),
            // One that is refused already is read no further than its sender needs to hear of it.
            Some(Err(_)) => return Err(if refused { too_large(bytes_max) } else { broke_off() }),
            None => None,
        };
    }
    if refused { Err(too_large(bytes_max)) } else { Ok(Bytes::from(bytes)) }
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(ErrorCode::BodyTooLarge, format!("the body may have at most {bytes_max} bytes"))
}

fn broke_off() -> Refusal {
    Refusal::new(ErrorCode::MalformedJson, "the body broke off")
}

/// What `future` says when it is asked once.
async fn poll_now<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context))).await
}

/// Throws a body away. Closing a connection with unread bytes in it would make the system reset it, and the
/// refusal would never be seen.
async fn discard<B>(body: B)
where
    B: axum::body::HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = Limited::new(body, DISCARD_BYTES_MAX);
    let drained = async { while let Some(Ok(_)) = body.frame().await {} };
    // Who needs longer is cut off; the refusal stands either way.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, drained).await;
}

async fn turn_away(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let body = ErrorBody::new(ErrorCode::TooManyConnections, ErrorCode::TooManyConnections.meaning(), None);
    let body = super::json_text(&body);
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    // Being turned away is best effort: nobody waits for a client that does not read it.
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
}
