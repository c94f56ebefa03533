//! A reader of event streams that shares no code with the program: a thread reads, the test waits with a bound.

use super::{BOUND, http};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// One block of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: String,
    pub(crate) retry: Option<String>,
    /// Comment lines; a frame of comments alone is a keep-alive.
    pub(crate) comments: Vec<String>,
}

impl Frame {
    /// The `data` as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The id as a number.
    #[track_caller]
    pub(crate) fn seq(&self) -> u64 {
        self.id.as_deref().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no seq in {self:?}"))
    }

    /// Whether it carries something, and not comments alone.
    pub(crate) fn is_event(&self) -> bool {
        self.event.is_some() || !self.data.is_empty()
    }
}

/// How the stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer was complete.
    Clean,
    /// The connection broke in the middle of it.
    Broken,
}

/// An open stream.
pub(crate) struct Sse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    frames: Receiver<Result<Frame, End>>,
    socket: TcpStream,
}

impl Sse {
    #[track_caller]
    pub(crate) fn open(addr: &str, path: &str, headers: &[(&str, &str)]) -> Sse {
        let mut stream = http::connect(addr);
        let head = http::head(addr, "GET", path, headers) + "\r\n";
        stream.write_all(head.as_bytes()).expect("the request is taken");
        let socket = stream.try_clone().expect("a second handle");
        let mut reader = BufReader::new(stream);
        let (status, headers) = http::read_head(&mut reader);
        let chunked = headers.iter().any(|(k, v)| k == "transfer-encoding" && v == "chunked");
        let (sender, frames) = channel();
        std::thread::spawn(move || {
            let body: Box<dyn Read> =
                if chunked { Box::new(http::Chunked::new(reader)) } else { Box::new(reader) };
            let mut body = BufReader::new(body);
            loop {
                let frame = read_frame(&mut body);
                let last = frame.is_err();
                if sender.send(frame).is_err() || last {
                    return;
                }
            }
        });
        Sse { status, headers, frames, socket }
    }

    /// The next block that carries something; keep-alives are passed over. `None` at the stream's clean end.
    #[track_caller]
    pub(crate) fn next(&self) -> Option<Frame> {
        loop {
            match self.frames.recv_timeout(BOUND) {
                Ok(Ok(frame)) if frame.is_event() => return Some(frame),
                Ok(Ok(_)) => {}
                Ok(Err(End::Clean)) | Err(RecvTimeoutError::Disconnected) => return None,
                Ok(Err(End::Broken)) => panic!("the stream broke in the middle of the answer"),
                Err(RecvTimeoutError::Timeout) => panic!("no frame within {BOUND:?}"),
            }
        }
    }

    /// The next `n` blocks that carry something.
    #[track_caller]
    pub(crate) fn take(&self, n: usize) -> Vec<Frame> {
        (0..n)
            .map(|i| self.next().unwrap_or_else(|| panic!("the stream ended after {i} of {n} frames")))
            .collect()
    }

    /// The next `n` events; frames that only move or explain the cursor are passed over.
    #[track_caller]
    pub(crate) fn take_events(&self, n: usize) -> Vec<Frame> {
        let control = ["gap", "checkpoint", "lag", "clock"];
        let mut events = Vec::new();
        while events.len() < n {
            let frame =
                self.next().unwrap_or_else(|| panic!("the stream ended after {} of {n}", events.len()));
            if !frame.event.as_deref().is_some_and(|name| control.contains(&name)) {
                events.push(frame);
            }
        }
        events
    }

    /// Everything up to the stream's end, however it ends: a killed server breaks it.
    pub(crate) fn rest(&self) -> (Vec<Frame>, End) {
        let mut frames = Vec::new();
        loop {
            match self.frames.recv_timeout(BOUND) {
                Ok(Ok(frame)) if frame.is_event() => frames.push(frame),
                Ok(Ok(_)) => {}
                Ok(Err(end)) => return (frames, end),
                Err(_) => return (frames, End::Broken),
            }
        }
    }

    /// Whether nothing arrives for this long. To be used for "it stays silent" alone.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        matches!(self.frames.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

impl Drop for Sse {
    fn drop(&mut self) {
        // Ends the reading thread; a socket that is closed already is what we want.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Reads one block, up to its empty line.
fn read_frame(body: &mut impl BufRead) -> Result<Frame, End> {
    let mut frame = Frame::default();
    let mut empty = true;
    loop {
        let mut line = Vec::new();
        match body.read_until(b'\n', &mut line) {
            Ok(0) if empty => return Err(End::Clean),
            Ok(0) | Err(_) => return Err(End::Broken),
            Ok(_) => {}
        }
        let line = String::from_utf8(line).expect("a stream is UTF-8");
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            return Ok(frame);
        }
        // Comments make no block: a stream that ends after one has ended in order.
        empty &= line.starts_with(':');
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => frame.comments.push(value),
            "id" => frame.id = Some(value),
            "event" => frame.event = Some(value),
            "retry" => frame.retry = Some(value),
            "data" if frame.data.is_empty() => frame.data = value,
            "data" => frame.data = format!("{}\n{value}", frame.data),
            other => panic!("a field that no stream should have: {other}"),
        }
    }
}
