//! Agents that work, and clients that watch them and come and go.

use crate::support::{Server, head, read_head};
use crate::world::Dice;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events of a turn: a prompt, four calls of tools, the end.
pub(crate) const TURN: u64 = 10;
/// The session of the event that tells the followers to end.
const LAST: u64 = 0xFFFF_FFFF;

/// The id of event `n` of session `session`.
fn id(session: u64, n: u64) -> String {
    format!("{session:08x}-0000-4000-8000-{n:012x}")
}

/// Session and number of an id of [`id`]'s; `None` for the ids of others.
fn parse(id: &str) -> Option<(u64, u64)> {
    let (session, n) = id.split_once("-0000-4000-8000-")?;
    Some((u64::from_str_radix(session, 16).ok()?, u64::from_str_radix(n, 16).ok()?))
}

/// Event `n` of a session: what an agent that works in turns would send.
fn event(session: u64, n: u64) -> Value {
    let call = format!("toolu_{session}_{}", n - n % 2);
    let output = "a line of a tool's output, as long as many\n".repeat(3);
    let (kind, payload) = match n % TURN {
        0 => ("prompt_submitted", json!({"prompt": format!("turn {}", n / TURN)})),
        9 => ("turn_completed", json!({"last_message": "Done."})),
        at if at % 2 == 1 => {
            let call = format!("toolu_{session}_{}", n + 1);
            let input = json!({"command": "cargo test"});
            ("tool_call_started", json!({"tool": "Bash", "tool_use_id": call, "input": input}))
        }
        _ => {
            let output = json!({"stdout": output, "interrupted": false});
            ("tool_call_completed", json!({"tool": "Bash", "tool_use_id": call, "output": output}))
        }
    };
    json!({"id": id(session, n), "kind": kind, "session": format!("load-{session}"), "payload": payload})
}

/// A session that goes on turn after turn.
pub(crate) struct Agent {
    session: u64,
    next: u64,
}

impl Agent {
    pub(crate) fn new(session: u64) -> Agent {
        Agent { session, next: 0 }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Value {
        self.next += 1;
        event(self.session, self.next - 1)
    }

    /// Its last event: the session is over.
    pub(crate) fn end(&mut self) -> Value {
        let mut event = self.next();
        event["kind"] = json!("session_ended");
        event["payload"] = json!({"reason": "logout", "inferred": false});
        event
    }
}

/// A connection that is kept.
pub(crate) struct Emitter {
    addr: String,
    token: String,
    answers: BufReader<TcpStream>,
    /// The highest seq that it was told.
    pub(crate) last_seq: u64,
}

impl Emitter {
    #[track_caller]
    pub(crate) fn connect(addr: &str, token: &str) -> Emitter {
        let socket = TcpStream::connect(addr).expect("a connection");
        socket.set_nodelay(true).expect("an option");
        socket.set_read_timeout(Some(crate::support::BOUND)).expect("a bound");
        Emitter {
            addr: addr.to_owned(),
            token: token.to_owned(),
            answers: BufReader::new(socket),
            last_seq: 0,
        }
    }

    pub(crate) fn to(server: &Server) -> Emitter {
        Emitter::connect(&server.addr, &server.token)
    }

    /// Emits an event or a batch, and waits until it is on the disk. Its seqs follow those that this emitter was told before.
    #[track_caller]
    pub(crate) fn emit(&mut self, events: &Value) {
        let body = events.to_string();
        let (bearer, length) = (format!("Bearer {}", self.token), body.len().to_string());
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Content-Length", &length),
        ];
        let request = head(&self.addr, "POST", "/events/emit", &headers) + "\r\n" + &body;
        self.answers.get_mut().write_all(request.as_bytes()).expect("the request is taken");
        let (status, headers) = read_head(&mut self.answers);
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.and_then(|(_, value)| value.parse().ok()).expect("a length");
        let mut answer = vec![0; length];
        self.answers.read_exact(&mut answer).expect("a whole answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let seqs = answer["seqs"].as_array().unwrap_or_else(|| panic!("no seqs in {answer}"));
        assert_eq!(seqs.len(), events.as_array().map_or(1, Vec::len), "{answer}");
        for seq in seqs {
            let seq = seq.as_u64().expect("a seq");
            assert!(seq > self.last_seq, "seq {seq} after {}", self.last_seq);
            self.last_seq = seq;
        }
    }

    /// Tells the followers to end.
    pub(crate) fn emit_last(&mut self) {
        let payload = json!({"name": "load", "data": null});
        self.emit(&json!({"id": id(LAST, 0), "kind": "custom", "payload": payload}));
    }
}

/// A client that follows the stream, drops its connection now and then, and goes on where it stood. It demands that every seq
/// comes once and in order, that only retention takes any away, and that of each session no event is missing between two that
/// came, unless retention took some.
#[derive(Default)]
pub(crate) struct Follower {
    /// The last seq that it has seen or was told the absence of.
    pub(crate) cursor: u64,
    /// Events that came.
    pub(crate) events: u64,
    /// Seqs that it was told are gone.
    pub(crate) gone: u64,
    /// Connections beyond the first.
    pub(crate) reconnects: u64,
    /// How often it was told that it had fallen behind.
    pub(crate) lags: u64,
    next_of: HashMap<u64, u64>,
}

impl Follower {
    /// Follows from the first seq to the last event. Of each connection it takes fewer than `most` frames. Its cursor is shown
    /// in `shown` while it goes on.
    pub(crate) fn follow(mut self, server: &Server, most: usize, dice: &mut Dice, shown: &AtomicU64) -> Self {
        loop {
            let after = self.cursor.to_string();
            let stream = match self.cursor {
                0 => server.sse("/events/stream?from=1", &[]),
                _ => server.sse("/events/stream", &[("Last-Event-ID", &after)]),
            };
            assert_eq!(stream.status, 200);
            for _ in 0..=dice.below(most) {
                let frame = stream.next().expect("a stream goes on until the server ends");
                if self.take(&frame) {
                    return self;
                }
                shown.store(self.cursor, Ordering::Relaxed);
            }
            self.reconnects += 1;
        }
    }

    /// Takes a frame; whether it is the last.
    #[track_caller]
    pub(crate) fn take(&mut self, frame: &crate::support::Frame) -> bool {
        match frame.event.as_deref() {
            Some("gap") => {
                let gap = frame.json();
                assert_eq!(gap["reason"], "retention", "{gap}");
                assert_eq!(gap["from_seq"].as_u64(), Some(self.cursor + 1), "{gap}");
                let to = gap["to_seq"].as_u64().expect("a seq");
                self.gone += to - self.cursor;
                self.cursor = to;
                self.next_of.clear();
            }
            Some("lag") => self.lags += 1,
            Some("checkpoint") => assert_eq!(frame.seq(), self.cursor, "nothing is filtered"),
            Some(_) => {
                assert_eq!(frame.seq(), self.cursor + 1, "each seq once and in order");
                self.cursor += 1;
                self.events += 1;
                let event = frame.json();
                let Some((session, n)) = parse(event["id"].as_str().expect("an id")) else { return false };
                if session == LAST {
                    return true;
                }
                let next = self.next_of.insert(session, n + 1).unwrap_or(if self.gone == 0 { 0 } else { n });
                assert_eq!(n, next, "session {session}: lost, doubled or out of order");
            }
            None => panic!("no name: {frame:?}"),
        }
        false
    }

    /// How many events of sessions it has seen from their first on.
    pub(crate) fn of_sessions(&self) -> u64 {
        self.next_of.values().sum()
    }
}
