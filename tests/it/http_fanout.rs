//! A thousand subscribers, a hundred of which never read: everybody else gets every event once and in order, emits go on, and
//! what the hundred cost is bounded.

use crate::http_emit::{custom, emit};
use crate::http_limits::{resident_bytes, stuck_stream};
use crate::support::{BOUND, Server, World, head};
use serde_json::json;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const READERS: usize = 900;
const STUCK: usize = 100;
/// What one that never reads may cost, beyond what all share.
const STUCK_BYTES_MAX: u64 = 64 * 1024;
/// What all share grows a little with the first of them: readers that lie ready, recent chunks, the allocator's own.
const SHARED_BYTES_MAX: u64 = 6 * 1024 * 1024;
const EMITS: usize = 40;

/// Both ends of a thousand connections need descriptors; the server raises its own limit.
fn raise_own_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(4_096, |maximum| maximum.min(4_096));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
            .expect("a limit below the maximum can be raised");
    }
}

/// 2.4 MB in batches of twenty times 40 KB: a reader of the files holds a batch.
fn fill(server: &Server) {
    let text = "four ".repeat(8_000);
    for n in 0..3 {
        let batch: Vec<_> = (0..20).map(|at| custom("large", json!([n, at, text]))).collect();
        emit(server, &json!(batch));
    }
}

/// Reads a stream up to the event `last`, and demands each seq after `cursor` once and in order.
async fn follow(addr: String, request: String, cursor: u64, last: u64, open: std::sync::mpsc::Sender<()>) {
    let mut socket = tokio::net::TcpStream::connect(&addr).await.expect("a connection");
    socket.write_all(request.as_bytes()).await.expect("the request is taken");
    let (mut unread, mut at) = (Vec::new(), cursor);
    let mut chunk = vec![0; 16 * 1024];
    let mut told = false;
    while at < last {
        let n =
            tokio::time::timeout(BOUND, socket.read(&mut chunk)).await.expect("in time").expect("readable");
        assert!(n > 0, "the stream ended after {at}");
        if !std::mem::replace(&mut told, true) {
            open.send(()).expect("the test waits for it");
        }
        unread.extend_from_slice(&chunk[..n]);
        let whole = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in unread.drain(..whole).collect::<Vec<u8>>().split(|byte| *byte == b'\n') {
            let Some(id) = line.strip_prefix(b"id: ") else { continue };
            let id: u64 = std::str::from_utf8(id).expect("digits").parse().expect("a seq");
            assert_eq!(id, at + 1, "each event once and in order");
            at = id;
        }
    }
}

/// How long each of some emits took, sorted.
fn timed_emits(server: &Server, count: usize) -> Vec<Duration> {
    let mut took: Vec<Duration> = (0..count)
        .map(|n| {
            let began = Instant::now();
            emit(server, &custom("live", json!(n)));
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_subscribers_of_which_a_hundred_never_read() {
    raise_own_limit();
    let world = World::new();
    let server = world.server();
    fill(&server);
    let cursor = emit(&server, &custom("last", json!(null)))[0];
    let last = cursor + 2 * EMITS as u64;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let bearer = format!("Bearer {}", server.token);
    let after = cursor.to_string();
    let headers = [("Authorization", bearer.as_str()), ("Last-Event-ID", after.as_str())];
    let request = head(&server.addr, "GET", "/events/stream", &headers) + "\r\n";
    let (open, opened) = std::sync::mpsc::channel();
    let readers: Vec<_> = (0..READERS)
        .map(|_| runtime.spawn(follow(server.addr.clone(), request.clone(), cursor, last, open.clone())))
        .collect();
    for _ in 0..READERS {
        opened.recv_timeout(BOUND).expect("every stream opens");
    }
    // The first few that do not read fill what all share.
    let warm: Vec<TcpStream> = (0..10).map(|_| stuck_and_waiting(&server)).collect();
    let before = timed_emits(&server, EMITS);
    let resident = resident_bytes(&server);
    let stuck: Vec<TcpStream> = (0..STUCK).map(|_| stuck_and_waiting(&server)).collect();
    let with_stuck = timed_emits(&server, EMITS);
    for reader in readers {
        runtime.block_on(reader).expect("every event once and in order");
    }
    let grown = resident_bytes(&server).saturating_sub(resident);
    let p90 = |took: &[Duration]| took[took.len() * 9 / 10];
    let (before, with_stuck) = (p90(&before), p90(&with_stuck));
    eprintln!(
        "{STUCK} stuck streams: {} KiB each; emit p90 {before:?} before them, {with_stuck:?} beside them",
        grown / STUCK as u64 / 1024
    );
    assert!(
        grown <= STUCK as u64 * STUCK_BYTES_MAX + SHARED_BYTES_MAX,
        "{STUCK} stuck streams cost {grown} bytes"
    );
    drop((warm, stuck));
    server.stop();
}

/// A stream from the first seq whose answer has begun, and of which nothing more is read.
fn stuck_and_waiting(server: &Server) -> TcpStream {
    let mut socket = stuck_stream(server);
    let mut byte = [0];
    std::io::Read::read_exact(&mut socket, &mut byte).expect("an answer");
    socket
}
