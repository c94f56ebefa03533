//! What a client may cost: one that never reads, many that send nothing, and connections beyond the limit.

use crate::http_emit::{custom, emit};
use crate::support::{Server, World, head, wait_for};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Streams that never read in this test.
const STUCK: usize = 32;
/// What a stuck stream may cost: 64 KiB of ours, and pages of the allocator and the runtime.
const STUCK_BYTES_MAX: u64 = 256 * 1024;

pub(crate) fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib * 1024
}

pub(crate) fn stuck_stream(server: &Server) -> TcpStream {
    let mut socket = TcpStream::connect(&server.addr).expect("a connection");
    let bearer = format!("Bearer {}", server.token);
    let request = head(&server.addr, "GET", "/events/stream?from=1", &[("Authorization", &bearer)]) + "\r\n";
    socket.write_all(request.as_bytes()).expect("the request is taken");
    socket
}

/// Events of the journal that a stuck stream would like to have.
const LARGE: u64 = 100;

/// 4 MB of events: what unbounded buffers would hold for each stream that does not read. One a batch, as a reader
/// holds a batch.
fn fill(server: &Server) {
    let text = "four ".repeat(8_000);
    for n in 0..LARGE {
        let answer =
            server.post("/events/emit?durability=os", &custom("large", json!([n, text])).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    emit(server, &custom("flush", json!(null)));
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_that_never_reads_costs_bounded_memory_and_delays_nobody() {
    let world = World::new();
    let server = world.server();
    fill(&server);
    // One reader first, so that what reading the journal itself takes is not counted against the others.
    let reader = server.sse("/events/stream?from=1", &[]);
    let flushed = reader.take(usize::try_from(LARGE).expect("a count")).len();
    assert_eq!(flushed as u64, LARGE);
    let before = resident_bytes(&server);
    let stuck: Vec<TcpStream> = (0..STUCK).map(|_| stuck_stream(&server)).collect();
    for socket in &stuck {
        // The answer has begun: the stream is open and runs into a full socket.
        let mut byte = [0];
        let mut socket = socket;
        socket.read_exact(&mut byte).expect("an answer");
    }
    let start = Instant::now();
    let seq = emit(&server, &custom("after", json!(1)))[0];
    let frame = std::iter::from_fn(|| reader.next()).find(|frame| frame.seq() == seq);
    assert!(frame.is_some(), "the reader sees what comes");
    assert!(start.elapsed().as_secs() < 5, "an emit is not held up: {:?}", start.elapsed());
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < STUCK as u64 * STUCK_BYTES_MAX, "{STUCK} stuck streams cost {grown} bytes");
    drop(stuck);
    server.stop();
}

#[test]
fn a_stop_does_not_wait_for_clients_that_never_read_for_ever() {
    let world = World::new();
    let server = world.server();
    fill(&server);
    let mut stuck = stuck_stream(&server);
    let mut byte = [0];
    stuck.read_exact(&mut byte).expect("an answer");
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn a_header_that_never_ends_is_cut_off_after_ten_seconds() {
    let world = World::new();
    let server = world.server();
    let mut sockets: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(&server.addr).expect("a connection")).collect();
    for socket in &mut sockets {
        socket.write_all(b"GET /health HTTP/1.1\r\nHost: ").expect("the beginning is taken");
    }
    assert_eq!(server.get("/health").status, 200, "others are served meanwhile");
    let start = Instant::now();
    for socket in &mut sockets {
        socket.set_read_timeout(Some(crate::support::BOUND)).expect("a bound");
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = socket.read_to_end(&mut rest);
    }
    let waited = start.elapsed().as_secs();
    assert!((8..20).contains(&waited), "cut off after {waited} s");
}

#[test]
fn a_killed_servers_runtime_file_misleads_nobody() {
    let world = World::new();
    let server = world.server();
    let addr = server.addr.clone();
    server.kill();
    assert!(world.data().join("server.json").exists(), "a killed server leaves it behind");
    // Somebody else listens where the file points, and must never be sent the token.
    let listener = std::net::TcpListener::bind(&addr).expect("the port is free again");
    listener.set_nonblocking(true).expect("a listener that does not block");
    world.ok(["events", "--json"]);
    assert!(listener.accept().is_err(), "no command connects to an unproven listener");
    let server = world.server();
    wait_for("the new server", || (server.get("/health").status == 200).then_some(()));
}
