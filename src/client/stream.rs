//! The event stream, read blockingly, and resumed by itself when the connection breaks.
//!
//! A stream that ends in order (the server stopped, or `until` was reached) is at its end. One that breaks is
//! opened again from the last id seen, at the server that then holds the data directory: a restarted server has
//! another port and token, but the same ids. One on which nothing comes, not even the comment that says that the server lives, is as good
//! as broken.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::http::{Ask, exchange};
use super::{ANSWER_TIMEOUT, Error, Server, runtime};
use crate::wire::KEEP_ALIVE;
use crate::wire::sse::{Decoder, Frame};

/// Reconnects in a row without a single frame between them before the stream gives up.
const RECONNECTS_MAX: u32 = 10;
/// Until a server says otherwise.
const RETRY_DEFAULT: Duration = Duration::from_secs(1);
/// A server says that it lives each [`KEEP_ALIVE`]; one that has not in three of them does not.
const SILENCE_MAX: Duration = KEEP_ALIVE.saturating_mul(3);

/// What [`Stream::next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// An event or a control frame; [`crate::wire::sse::CONTROL_NAMES`] tells them apart.
    Frame(Frame),
    /// Nothing came within the time; ask again.
    Quiet,
    /// The stream ended in order.
    End,
}

/// An open stream.
pub struct Stream {
    runtime: tokio::runtime::Runtime,
    server: Server,
    target: String,
    body: Option<Incoming>,
    decoder: Decoder,
    /// Survives a reconnect, when the decoder does not.
    last_event_id: String,
    retry: Duration,
    reconnects: u32,
    /// When it broke, or the last try failed: the next one comes `retry` later, however short each call waits.
    broken: Option<Instant>,
    /// When anything came last.
    heard: Instant,
    silence_max: Duration,
    ended: bool,
}

impl Stream {
    pub(super) fn open(server: Server, target: String, last_event_id: Option<u64>) -> Result<Stream, Error> {
        let mut stream = Stream {
            runtime: runtime()?,
            server,
            target,
            body: None,
            decoder: Decoder::default(),
            last_event_id: last_event_id.map(|id| id.to_string()).unwrap_or_default(),
            retry: RETRY_DEFAULT,
            reconnects: 0,
            broken: None,
            heard: Instant::now(),
            silence_max: SILENCE_MAX,
            ended: false,
        };
        stream.connect()?;
        Ok(stream)
    }

    /// The next frame, waiting for it at most `wait`.
    ///
    /// # Errors
    /// [`Error::Refused`] when the server does not take the cursor any more, and what the last of ten reconnects
    /// said when no server could be reached.
    pub fn next(&mut self, wait: Duration) -> Result<Next, Error> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Next::Frame(frame));
            }
            if self.ended {
                return Ok(Next::End);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.body.is_none() {
                let since = *self.broken.get_or_insert_with(Instant::now);
                let rest = self.retry.saturating_sub(since.elapsed());
                if left < rest {
                    std::thread::sleep(left);
                    return Ok(Next::Quiet);
                }
                std::thread::sleep(rest);
                self.broken = None;
                self.reconnect()?;
            } else if !self.fill(left) {
                return Ok(Next::Quiet);
            }
        }
    }

    /// The id to go on from in a later stream; empty before the first one.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, Error> {
        let frame = self.decoder.next_frame();
        let addr = self.server.addr();
        let frame = frame.map_err(|error| Error::Protocol { addr, reason: error.to_string() })?;
        if !self.decoder.last_event_id().is_empty() {
            self.decoder.last_event_id().clone_into(&mut self.last_event_id);
        }
        if frame.is_some() {
            self.reconnects = 0;
        }
        self.retry = self.decoder.retry().unwrap_or(self.retry);
        Ok(frame)
    }

    /// Reads one chunk into the decoder; false when none came within `wait`.
    fn fill(&mut self, wait: Duration) -> bool {
        let Some(body) = self.body.as_mut() else { return true };
        let chunk = self.runtime.block_on(async { tokio::time::timeout(wait, body.frame()).await });
        match chunk {
            Err(_) if self.heard.elapsed() < self.silence_max => return false,
            Err(_) => self.body = None,
            Ok(Some(Ok(frame))) => {
                self.heard = Instant::now();
                let chunk: Bytes = frame.into_data().unwrap_or_default();
                self.decoder.push(&chunk);
            }
            Ok(Some(Err(_broken))) => self.body = None,
            Ok(None) => self.ended = true,
        }
        true
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        self.reconnects += 1;
        if let Some(server) = self.server.again() {
            self.server = server;
        }
        match self.connect() {
            Err(error @ (Error::Unreachable { .. } | Error::Broken { .. } | Error::TimedOut { .. })) => {
                if self.reconnects >= RECONNECTS_MAX {
                    Err(error)
                } else {
                    Ok(())
                }
            }
            outcome => outcome,
        }
    }

    fn connect(&mut self) -> Result<(), Error> {
        let mut ask = Ask::get(&self.target);
        ask.accept = "text/event-stream";
        ask.last_event_id = Some(self.last_event_id.as_str()).filter(|id| !id.is_empty());
        let answer = exchange(&self.server.address, ask, ANSWER_TIMEOUT);
        let response = self.runtime.block_on(answer)?;
        self.decoder = Decoder::default();
        self.ended = response.status() == hyper::StatusCode::NO_CONTENT;
        self.body = Some(response.into_body());
        self.heard = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
