//! A thousand subscribers, a hundred of which never read: everybody else gets every event once and in order, every emit is
//! acknowledged, what the hundred cost is bounded, and whoever reads on after all misses nothing and is told that it fell behind.

use crate::http_emit::{custom, emit};
use crate::http_limits::{resident_bytes, stuck_stream};
use crate::http_metrics::counters;
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
/// Of 40 KB each, that a stream from the first seq would like to have.
const LARGE: u64 = 60;
/// Far more of them than the buffers of a stream hold: it is further behind than what it is told of.
const FLOOD: usize = 8_000;

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
    for n in 0..LARGE / 20 {
        let batch: Vec<_> = (0..20).map(|at| custom("large", json!([n, at, text]))).collect();
        emit(server, &json!(batch));
    }
}

/// Opens a stream and reads it as [`read_on`].
async fn follow(addr: String, request: String, cursor: u64, last: u64, open: std::sync::mpsc::Sender<()>) {
    let mut socket = tokio::net::TcpStream::connect(&addr).await.expect("a connection");
    socket.write_all(request.as_bytes()).await.expect("the request is taken");
    let began = socket.read_u8().await.expect("an answer");
    assert_eq!(began, b'H');
    open.send(()).expect("the test waits for it");
    assert_eq!(read_on(socket, cursor, last).await, Told::default());
}

/// What a stream says beside events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    lags: usize,
    gaps: usize,
}

/// Reads a stream up to the event `last`, and demands each seq after `cursor` once and in order.
async fn read_on(mut socket: tokio::net::TcpStream, cursor: u64, last: u64) -> Told {
    let (mut unread, mut at, mut told) = (Vec::new(), cursor, Told::default());
    let mut chunk = vec![0; 16 * 1024];
    while at < last {
        let n =
            tokio::time::timeout(BOUND, socket.read(&mut chunk)).await.expect("in time").expect("readable");
        assert!(n > 0, "the stream ended after {at}");
        unread.extend_from_slice(&chunk[..n]);
        let whole = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in unread.drain(..whole).collect::<Vec<u8>>().split(|byte| *byte == b'\n') {
            told.lags += usize::from(line == b"event: lag");
            told.gaps += usize::from(line == b"event: gap");
            let Some(id) = line.strip_prefix(b"id: ") else { continue };
            let id: u64 = std::str::from_utf8(id).expect("digits").parse().expect("a seq");
            assert_eq!(id, at + 1, "each event once and in order");
            at = id;
        }
    }
    told
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
    let request = request_after(&server, cursor);
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
    let at_the_end: Vec<TcpStream> =
        (0..4).map(|_| waiting(&server, &request_after(&server, last - EMITS as u64))).collect();
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
    // What comes is handed to those that read; those that do not were handed what their buffers hold of the large ones before it.
    let handed = counters(&server)["streams"]["deliveries"].as_u64().expect("a number");
    let to_others = ((READERS * 2 + at_the_end.len()) * EMITS) as u64;
    let to_stuck_max = (warm.len() + stuck.len()) as u64 * LARGE / 2;
    assert!(
        handed <= to_others + to_stuck_max,
        "{handed} events were handed over, to those that read {to_others}"
    );
    // Those that had reached the end fall further behind than the server keeps at hand; all that do not read hold up nobody.
    let mut end = last;
    for n in 0..FLOOD / 500 {
        let batch: Vec<_> = (0..500).map(|at| custom("flood", json!([n, at, "x".repeat(200)]))).collect();
        let seqs = emit(&server, &json!(batch));
        // The server may say something of its own between two of these.
        assert!(seqs.len() == 500 && seqs.is_sorted() && end < seqs[0], "all of them are acknowledged");
        end = seqs[499];
    }
    let read = |socket: TcpStream, cursor| {
        socket.set_nonblocking(true).expect("an option");
        runtime.block_on(async {
            let socket = tokio::net::TcpStream::from_std(socket).expect("a socket of the runtime");
            read_on(socket, cursor, end).await
        })
    };
    for socket in at_the_end {
        assert_eq!(read(socket, last - EMITS as u64), Told { lags: 1, gaps: 0 }, "it is told once");
    }
    // They had never reached the end that they could have fallen behind.
    for socket in stuck.into_iter().take(1) {
        assert_eq!(read(socket, 0), Told::default());
    }
    drop(warm);
    server.stop();
}

/// What asks for the events after `cursor`.
fn request_after(server: &Server, cursor: u64) -> String {
    let (bearer, after) = (format!("Bearer {}", server.token), cursor.to_string());
    let headers = [("Authorization", bearer.as_str()), ("Last-Event-ID", after.as_str())];
    head(&server.addr, "GET", "/events/stream", &headers) + "\r\n"
}

/// A stream whose answer has begun, and of which nothing more is read.
fn waiting(server: &Server, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(&server.addr).expect("a connection");
    std::io::Write::write_all(&mut socket, request.as_bytes()).expect("the request is taken");
    begun(socket)
}

/// A stream from the first seq whose answer has begun, and of which nothing more is read.
fn stuck_and_waiting(server: &Server) -> TcpStream {
    begun(stuck_stream(server))
}

fn begun(mut socket: TcpStream) -> TcpStream {
    let mut byte = [0];
    std::io::Read::read_exact(&mut socket, &mut byte).expect("an answer");
    socket
}
