//! The server is killed (SIGKILL) amid 64 concurrent emitters, again and again. Every event that was acknowledged is
//! there, at the seq that was told; an emit without an answer is sent again with the same id and is there once.
//!
//! A hundred kills by default, a thousand with `MNEMOSYNE_LONG=1`.

use crate::support::{Frame, Server, World, head, read_head, rounds};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const EMITTERS: usize = 64;
/// Acknowledgements between two kills vary up to here, so that a kill falls into every phase of a batch.
const ACKS_MAX: usize = 256;

/// One emitter: what it was told, and the event whose fate it does not know.
struct Emitter {
    number: usize,
    sent: usize,
    unknown: Option<String>,
    acknowledged: Vec<(String, u64)>,
}

impl Emitter {
    /// The id to send next: an unanswered one again, or a new one.
    fn next_id(&mut self) -> String {
        self.unknown.clone().unwrap_or_else(|| {
            self.sent += 1;
            format!("{:08x}-0000-4000-8000-{:012x}", self.number, self.sent)
        })
    }

    /// Emits over one connection until it breaks. Any answer but a 200 is a failure of the server.
    fn run(&mut self, addr: &str, token: &str, acks: &AtomicUsize) -> std::io::Result<()> {
        let mut socket = TcpStream::connect(addr)?;
        socket.set_read_timeout(Some(crate::support::BOUND))?;
        let mut answers = BufReader::new(socket.try_clone()?);
        loop {
            let id = self.next_id();
            let body = json!({"kind": "custom", "id": id, "payload": {"name": "kill", "data": self.sent}})
                .to_string();
            self.unknown = Some(id.clone());
            let bearer = format!("Bearer {token}");
            let length = body.len().to_string();
            let headers = [
                ("Authorization", bearer.as_str()),
                ("Content-Type", "application/json"),
                ("Content-Length", &length),
            ];
            let request = head(addr, "POST", "/events/emit", &headers) + "\r\n" + &body;
            socket.write_all(request.as_bytes())?;
            let answer = read_answer(&mut answers)?;
            let seq = answer["seqs"][0].as_u64().unwrap_or_else(|| panic!("no seq in {answer}"));
            self.unknown = None;
            self.acknowledged.push((id, seq));
            acks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn read_answer(answers: &mut BufReader<TcpStream>) -> std::io::Result<Value> {
    if std::io::BufRead::fill_buf(answers)?.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (status, headers) = read_head(answers);
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: u64 = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = String::new();
    answers.take(length).read_to_string(&mut body)?;
    if body.len() as u64 != length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    assert_eq!(status, 200, "{body}");
    Ok(serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}")))
}

/// One life of the server: it is killed once this many acknowledgements have been given.
fn emit_and_kill(server: Server, emitters: &Mutex<Vec<Emitter>>, acks_wanted: usize) {
    let acks = AtomicUsize::new(0);
    let mut own = std::mem::take(&mut *emitters.lock().expect("the emitters"));
    std::thread::scope(|scope| {
        for emitter in &mut own {
            let (acks, addr, token) = (&acks, server.addr.clone(), server.token.clone());
            scope.spawn(move || {
                emitter.run(&addr, &token, acks).expect_err("an emitter ends when its server is killed")
            });
        }
        crate::support::wait_for("acknowledgements", || {
            (acks.load(Ordering::Relaxed) >= acks_wanted).then_some(())
        });
        server.kill();
    });
    *emitters.lock().expect("the emitters") = own;
}

#[test]
fn kill_9_amid_64_emitters_loses_and_doubles_nothing_that_was_acknowledged() {
    let kills = rounds(100, 1_000);
    let world = World::new();
    let emitters =
        (0..EMITTERS).map(|number| Emitter { number, sent: 0, unknown: None, acknowledged: Vec::new() });
    let emitters = Mutex::new(emitters.collect::<Vec<_>>());
    for round in 0..kills {
        // A fixed walk over the range: the same run every time as far as we decide it.
        let acks_wanted = 1 + round * 97 % ACKS_MAX;
        emit_and_kill(world.server(), &emitters, acks_wanted);
    }

    let server = world.server();
    let emitters = emitters.into_inner().expect("the emitters");
    let events = crate::http_emit::all_events(&server);
    let mut seq_of: BTreeMap<&str, u64> = BTreeMap::new();
    for (event, place) in events.iter().zip(1..) {
        let seq = event["seq"].as_u64().expect("a seq");
        assert_eq!(seq, place, "seqs are dense");
        let id = event["id"].as_str().expect("an id");
        assert_eq!(seq_of.insert(id, seq), None, "{id} is there twice");
    }
    let mut acknowledged = 0;
    for emitter in &emitters {
        for (id, seq) in &emitter.acknowledged {
            assert_eq!(seq_of.get(id.as_str()), Some(seq), "{id} was acknowledged at {seq}");
        }
        acknowledged += emitter.acknowledged.len();
    }
    assert!(acknowledged >= kills, "{acknowledged} acknowledgements in {kills} rounds test nothing");
    let starts = events.iter().filter(|event| event["kind"] == "server_started").count();
    assert_eq!(starts, kills + 1, "every life of the server is on record");
    resume_from_every_tenth_seq(&server, &events);
}

/// Looks at the 20 events after each tenth cursor: every seam between two cursors is crossed twice.
fn resume_from_every_tenth_seq(server: &Server, events: &[Value]) {
    let last = events.len() as u64;
    for cursor in (0..last).step_by(10) {
        let until = (cursor + 20).min(last);
        let stream =
            server.sse(&format!("/events/stream?until={until}"), &[("Last-Event-ID", &cursor.to_string())]);
        let (frames, _) = stream.rest();
        let seqs: Vec<u64> = frames.iter().map(Frame::seq).collect();
        assert_eq!(seqs, (cursor + 1..=until).collect::<Vec<_>>(), "after {cursor}");
        for frame in &frames {
            let at = usize::try_from(frame.seq()).expect("a place") - 1;
            assert_eq!(frame.json()["id"], events[at]["id"]);
        }
    }
}
