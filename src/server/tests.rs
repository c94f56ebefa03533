//! The server over real sockets and a log in memory, whose failures can be switched on: what the black-box tests
//! cannot bring about or would have to wait for.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Guard, Served, Settings, Token, serve};
use crate::clock::{SystemClock, this_source};
use crate::error::Error;
use crate::event::Seq;
use crate::store::Store;
use crate::store::log::MemoryLog;
use crate::store::testing::memory_store;

const BOUND: Duration = Duration::from_secs(20);
const EVENT: &str = r#"{"kind":"custom","payload":{"name":"a","data":1}}"#;

struct Running {
    addr: String,
    token: String,
    log: MemoryLog,
    store: Store,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<Served, Error>>,
}

/// A server with what `change` makes of the usual settings.
async fn start(change: impl FnOnce(Settings) -> Settings) -> Running {
    let (store, log) = memory_store();
    start_over(store, log, change).await
}

async fn start_over(store: Store, log: MemoryLog, change: impl FnOnce(Settings) -> Settings) -> Running {
    let next = store.tail().get();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let token = Token::from_bits([9; 32]);
    let guard = Guard::new(token.clone(), addr.port());
    let settings = Settings::new(guard, "server".into(), this_source("test"), Arc::new(SystemClock));
    let (stop, stopped) = oneshot::channel();
    let shutdown = async { stopped.await.unwrap_or(()) };
    let ended = tokio::spawn(serve(listener, store.clone(), change(settings), shutdown));
    let running =
        Running { addr: addr.to_string(), token: token.reveal().to_owned(), log, store, stop, ended };
    running.wait_for_seq(next).await;
    running
}

impl Running {
    async fn wait_for_seq(&self, seq: u64) {
        let reached = async {
            while self.store.durable().get() < seq {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(BOUND, reached).await.expect("an event in time");
    }

    /// Waits until the next seq to be given is `seq`.
    async fn wait_for_tail(&self, seq: u64) {
        let reached = async {
            while self.store.tail().get() < seq {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(BOUND, reached).await.expect("an event under way in time");
    }

    /// Sends a request and leaves the connection open.
    async fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut socket = TcpStream::connect(&self.addr).await.unwrap();
        let host =
            if head.contains("\r\nHost:") { String::new() } else { format!("Host: {}\r\n", self.addr) };
        let request = format!(
            "{head}\r\n{host}Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    async fn emit(&self) -> TcpStream {
        self.send("POST /events/emit HTTP/1.1\r\nConnection: close", EVENT).await
    }

    /// The whole answer to a request.
    async fn ask(&self, head: &str, body: &str) -> String {
        let socket = self.send(&format!("{head}\r\nConnection: close"), body).await;
        read_to_end(socket).await
    }
}

async fn read_to_end(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(BOUND, socket.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until the answer holds `text`.
async fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let mut answer = String::new();
    let read = async {
        let mut chunk = [0; 4096];
        while !answer.contains(text) {
            let n = socket.read(&mut chunk).await.unwrap();
            assert!(n > 0, "it ended without {text:?}: {answer}");
            answer.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
        }
    };
    let in_time = tokio::time::timeout(BOUND, read).await.is_ok();
    assert!(in_time, "{text:?} never came: {answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_host_check_a_rebound_name_would_get_in() {
    let head = "GET /events HTTP/1.1\r\nHost: evil.example";
    let guarded = start(|settings| settings).await;
    assert!(guarded.ask(head, "").await.starts_with("HTTP/1.1 403"), "the check stands");
    let open = start(|mut settings| {
        settings.guard = settings.guard.without_host_check();
        settings
    })
    .await;
    assert!(open.ask(head, "").await.starts_with("HTTP/1.1 200"), "and it is what stands in the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_says_that_it_lives_in_a_comment_alone() {
    let running = start(|mut settings| {
        settings.keep_alive = Duration::from_millis(20);
        settings
    })
    .await;
    let mut socket = running.send("GET /events/stream HTTP/1.1", "").await;
    let answer = read_until(&mut socket, ": alive\n\r\n8\r\n: alive\n").await;
    let (_, after) = answer.split_once("event: checkpoint\ndata: {\"seq\":1}\n\n").expect("the opening");
    assert!(!after.contains("data:") && !after.contains("\n\n"), "no empty event: {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_and_the_others_live() {
    let running = start(|mut settings| {
        settings.connections_max = 2;
        settings
    })
    .await;
    let mut first = running.send("GET /events/stream HTTP/1.1", "").await;
    read_until(&mut first, "checkpoint").await;
    let mut second = running.send("GET /events/stream HTTP/1.1", "").await;
    read_until(&mut second, "checkpoint").await;
    let third = TcpStream::connect(&running.addr).await.unwrap();
    let answer = read_to_end(third).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("too_many_connections"), "{answer}");
    drop(first);
    // Its place is free once the server has noticed.
    let freed = async { while !running.ask("GET /health HTTP/1.1", "").await.starts_with("HTTP/1.1 200") {} };
    tokio::time::timeout(BOUND, freed).await.expect("a free place");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_a_gap_in_the_stream_and_410_by_itself() {
    let running = start(|settings| settings).await;
    for _ in 0..6 {
        assert!(running.ask("POST /events/emit HTTP/1.1", EVENT).await.contains("\"seqs\""));
    }
    let log = running.log.clone();
    log.retain_from(Seq::new(3));
    log.damage(Seq::new(5));
    // A store that has seen nothing yet: the one that took the events still knows the recent ones.
    let store = Store::over(Arc::new(log.clone()), Arc::new(SystemClock), "test");
    let running = start_over(store, log, |settings| settings).await;
    let answer = running.ask("GET /events/stream?last_event_id=1&until=6 HTTP/1.1", "").await;
    let retention = "id: 2\nevent: gap\ndata: {\"from_seq\":2,\"to_seq\":2,\"reason\":\"retention\"}\n\n";
    let corruption = "id: 5\nevent: gap\ndata: {\"from_seq\":5,\"to_seq\":5,\"reason\":\"corruption\"}\n\n";
    assert!(answer.contains(retention) && answer.contains(corruption), "{answer}");
    let seen = [2, 3, 4, 5, 6].map(|seq| answer.find(&format!("id: {seq}\n")).expect("an id"));
    assert!(seen.is_sorted(), "{answer}");
    for seq in [2, 5] {
        let answer = running.ask(&format!("GET /events/{seq} HTTP/1.1"), "").await;
        assert!(answer.starts_with("HTTP/1.1 410") && answer.contains("\"gone\""), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_log_have_their_own_codes_and_pass() {
    let running = start(|settings| settings).await;
    running.log.fail_with(Some(|| Error::StorageFull { cause: "no space".into() }));
    let full = running.ask("POST /events/emit HTTP/1.1", EVENT).await;
    assert!(full.starts_with("HTTP/1.1 507") && full.contains("\"storage_full\""), "{full}");
    assert!(running.ask("GET /events HTTP/1.1", "").await.starts_with("HTTP/1.1 200"), "reading goes on");
    running.log.fail_with(Some(|| Error::JournalPoisoned { cause: "EIO".into() }));
    let poisoned = running.ask("POST /events/emit HTTP/1.1", EVENT).await;
    assert!(poisoned.starts_with("HTTP/1.1 503") && poisoned.contains("\"journal_poisoned\""), "{poisoned}");
    running.log.fail_with(None);
    assert!(running.ask("POST /events/emit HTTP/1.1", EVENT).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_what_is_not_durable() {
    let running = start(|settings| settings).await;
    let mut stream = running.send("GET /events/stream?from=2 HTTP/1.1", "").await;
    read_until(&mut stream, "\r\n\r\n").await;
    running.log.hold(true);
    let emit = running.emit().await;
    running.wait_for_tail(3).await;
    assert!(running.ask("GET /events/2 HTTP/1.1", "").await.starts_with("HTTP/1.1 404"));
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte)).await;
    assert!(early.is_err(), "the stream is silent");
    running.log.hold(false);
    read_until(&mut stream, "id: 2\n").await;
    assert!(read_to_end(emit).await.contains(r#""seqs":[2]"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_runs_and_server_stopped_is_the_last_event() {
    let running = start(|settings| settings).await;
    let mut stream = running.send("GET /events/stream?from=1 HTTP/1.1", "").await;
    read_until(&mut stream, "server_started").await;
    running.log.hold(true);
    let emit = running.emit().await;
    // The emit is in the log and waits for its flush when the stop comes.
    running.wait_for_tail(3).await;
    running.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.log.hold(false);
    let answer = read_to_end(emit).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""seqs":[2]"#), "{answer}");
    let rest = read_to_end(stream).await;
    assert!(rest.contains("id: 3\nevent: server_stopped\n") && rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    assert!(rest.contains(r#""requests_handled":2"#), "{rest}");
    let served = tokio::time::timeout(BOUND, running.ended).await.expect("an end").unwrap().unwrap();
    assert_eq!(served.requests_handled, 2);
    assert!(TcpStream::connect(&running.addr).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_tells_of_itself_comes_before_server_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = dir.path().to_owned();
    let running = start(|mut settings| {
        settings.saved = Some(super::SavedStates { base: snapshots.join("base"), snapshots });
        settings
    })
    .await;
    // A client that does not read keeps the server from ending for as long as this test needs.
    let slow = running.send("GET /events/stream?from=1 HTTP/1.1", "").await;
    running.log.hold(true);
    // A snapshot is due as soon as these are seen: that is when `server_stopped` is durable, too.
    let events = 2 * crate::projection::SNAPSHOT_EVERY;
    for some in 0..events / 1000 {
        let batch = (0..1000).map(|n| crate::store::testing::event(u128::from(some * 1000 + n))).collect();
        let _on_its_way = running.store.emit(batch, crate::store::Level::Os, None).unwrap();
    }
    running.stop.send(()).unwrap();
    let stopped = events + 2;
    let store = running.store.clone();
    let appended = async {
        while store.tail().get() <= stopped {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(BOUND, appended).await.expect("server_stopped under way in time");
    running.log.hold(false);
    // Long enough for a follower that still lives to fold them and to tell of the snapshot.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(slow);
    tokio::time::timeout(BOUND, running.ended).await.expect("an end").unwrap().unwrap();
    let last = store.get(store.durable()).unwrap();
    let Some(crate::store::Item::Event(last)) = last else { panic!("{last:?}") };
    assert_eq!((last.event.kind.name(), last.seq.get()), ("server_stopped", stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_is_given_up() {
    let running = start(|mut settings| {
        settings.body_read_timeout = Duration::from_millis(50);
        settings
    })
    .await;
    for route in ["/events/emit", "/hooks/claude"] {
        let head = format!(
            "POST {route} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: 100\r\nConnection: close\r\n\r\n{{\"kind\"",
            running.addr, running.token
        );
        let mut socket = TcpStream::connect(&running.addr).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let answer = read_to_end(socket).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"request_timeout\""), "{answer}");
    }
    assert_eq!(running.store.durable().get(), 1, "nothing of them was stored");
    let whole = running.ask("POST /events/emit HTTP/1.1", EVENT).await;
    assert!(whole.starts_with("HTTP/1.1 200"), "one that arrives is taken: {whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_larger_than_a_chunk_goes_out_in_pieces_that_make_one_frame() {
    let running = start(|settings| settings).await;
    for n in 0..3 {
        // Characters of three bytes, so that a cut at any byte would fall into one.
        let text = "\u{2026}".repeat(20_000 + n);
        let body = format!(r#"{{"kind":"custom","payload":{{"name":"large","data":"{text}"}}}}"#);
        assert!(running.ask("POST /events/emit HTTP/1.1", &body).await.starts_with("HTTP/1.1 200"));
        assert!(running.ask("POST /events/emit HTTP/1.1", EVENT).await.starts_with("HTTP/1.1 200"));
    }
    let mut socket =
        running.send("GET /events/stream?from=1&until=7 HTTP/1.1\r\nConnection: close", "").await;
    let mut answer = Vec::new();
    tokio::time::timeout(BOUND, socket.read_to_end(&mut answer)).await.expect("in time").unwrap();
    let begin = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let (mut body, mut rest) = (Vec::new(), &answer[begin..]);
    let mut chunks = 0;
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        assert!(size <= 16 * 1024, "a chunk of {size} bytes");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
        chunks += 1;
    }
    assert!(chunks > 12, "{chunks}");
    let text = String::from_utf8(body).unwrap();
    let frames: Vec<_> = text.split_terminator("\n\n").collect();
    assert_eq!(frames.len(), 7);
    for (frame, seq) in frames.iter().zip(1..) {
        let frame = frame.strip_prefix("retry: 1000\n").unwrap_or(frame);
        let Some(crate::store::Item::Event(stored)) = running.store.get(Seq::new(seq)).unwrap() else {
            panic!()
        };
        let expected = format!("id: {seq}\nevent: {}\ndata: {}", stored.event.kind.name(), stored.to_json());
        assert!(*frame == expected, "seq {seq}");
    }
}
