//! From one journal to a thousand clients, over a flush of fixed 200 us, with the same clients in the same process:
//!
//! - `burst`: 200 events of 256 bytes in one batch, in deliveries a second, until the last client has the last event.
//! - `live`: 30 events a second, one by one: p50 and p99 from the emit to each client, and the processor time a delivery (servers
//!   and clients together).
//! - `replaying`: 1,000 clients read a journal from its first event while it is written to: how many got every event
//!   once and in order (all, or it fails), how long a durable emit takes alone and beside them, and for how much of that a thread of the
//!   writer's was ready and had no core.
//! - `stuck`: how long a durable emit takes with 1,000 clients of which 100 never read, beside the same with 1,000 that all read.
//!
//! The first two beside a naive axum stream of the same frames, ready as bytes, a loop that writes them to bare sockets, and, where they
//! are installed, pub/sub of Redis and core NATS, which keep nothing. One more server of ours is a process of its own, to which events
//! are posted: of it, and of the others that are, the processor time a delivery is told without the clients', and what memory a
//! client adds. They take turns, so that whatever else the machine does falls on all; of each figure the median of the rounds is
//! told, of each ratio the median of the ratios within a round. Words on the command line choose parts: `cargo bench --bench
//! fanout -- live`.
#![allow(unreachable_pub, dead_code, clippy::print_stderr, reason = "a bench is a program, and it reports")]

#[path = "support/apart.rs"]
mod apart;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/nats.rs"]
mod nats;
#[path = "support/net.rs"]
mod net;
#[path = "support/redis.rs"]
mod redis;
mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use apart::{Apart, has_served, resident};
use bytes::Bytes;
use mnemosyne::clock::SystemClock;
use mnemosyne::event::{Event, Source, Timestamp, payload};
use mnemosyne::store::Level;
use nats::Nats;
use net::{
    Served, cpu, cpu_of, in_earnest, is_asked_for, is_whole, median, percentile, raise_descriptors, request,
    runtime,
};
use redis::{Redis, command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, mpsc};

const CLIENTS: usize = 1_000;
const ROUNDS: usize = 7;
/// Events of a burst, and bursts of a turn.
const BURST: u64 = 200;
const BURSTS: u32 = 3;
/// Events of a turn, one by one.
const LIVE: u32 = 60;

/// Who sends the events.
enum Sender {
    Ours(Served),
    Naive { addr: SocketAddr, frames: broadcast::Sender<Bytes> },
    Bare { addr: SocketAddr, sockets: Vec<TcpStream>, listener: TcpListener },
    Redis { redis: Redis, publisher: TcpStream },
    Nats { nats: Nats, publisher: TcpStream },
    Apart(Apart),
}

impl Sender {
    fn addr(&self) -> SocketAddr {
        match self {
            Sender::Ours(served) => served.addr,
            Sender::Naive { addr, .. } | Sender::Bare { addr, .. } => *addr,
            Sender::Redis { redis, .. } => redis.addr,
            Sender::Nats { nats, .. } => nats.addr,
            Sender::Apart(apart) => apart.addr,
        }
    }

    /// Its own process, if it has one.
    fn pid(&self) -> Option<u32> {
        match self {
            Sender::Redis { redis, .. } => Some(redis.pid()),
            Sender::Nats { nats, .. } => Some(nats.pid()),
            Sender::Apart(apart) => Some(apart.pid()),
            Sender::Ours(_) | Sender::Naive { .. } | Sender::Bare { .. } => None,
        }
    }

    /// How a client asks for the events.
    fn request(&self) -> Vec<u8> {
        match self {
            Sender::Ours(served) => request(served.addr, &served.token, "GET /events/stream", ""),
            Sender::Apart(apart) => request(apart.addr, &apart.token, "GET /events/stream", ""),
            Sender::Redis { .. } => command(&["SUBSCRIBE", "bench"]),
            Sender::Nats { .. } => format!("{}SUB bench 1\r\n", nats::CONNECT).into_bytes(),
            Sender::Naive { addr, .. } | Sender::Bare { addr, .. } => {
                request(*addr, "", "GET /events/stream", "")
            }
        }
    }

    /// Sends `count` events, the last of which says `mark`.
    fn send(&mut self, count: u64, mark: &str) {
        let text = |n: u64| if n + 1 == count { mark.to_owned() } else { format!("event {n:0>10}") };
        match self {
            Sender::Ours(served) => {
                let batch = (0..count).map(|n| event(&text(n))).collect();
                served.store.emit(batch, Level::Disk, None).expect("taken").wait().expect("durable");
            }
            Sender::Naive { frames, .. } => {
                support::sleeping_flush();
                for n in 0..count {
                    frames.send(Bytes::from(frame(&text(n)))).expect("clients");
                }
            }
            Sender::Bare { sockets, .. } => {
                support::sleeping_flush();
                let frames: Vec<String> = (0..count).map(|n| frame(&text(n))).collect();
                for frame in &frames {
                    for socket in sockets.iter_mut() {
                        socket.write_all(frame.as_bytes()).expect("taken");
                    }
                }
            }
            Sender::Redis { publisher, .. } => {
                support::sleeping_flush();
                let publish = |n| command(&["PUBLISH", "bench", &frame(&text(n))]);
                publisher.write_all(&(0..count).flat_map(publish).collect::<Vec<u8>>()).expect("taken");
                // `:N` for each, N the clients that it went to.
                let mut answers = vec![0; 4096];
                let mut lines = 0;
                while lines < count {
                    let have = publisher.read(&mut answers).expect("readable");
                    lines += memchr::memchr_iter(b'\n', &answers[..have]).count() as u64;
                }
            }
            Sender::Nats { publisher, .. } => {
                support::sleeping_flush();
                let frames = (0..count).map(|n| nats::publish("bench", &frame(&text(n))));
                // It says nothing of what it takes, but it answers in turn.
                let commands = frames.chain(["PING\r\n".to_owned()]).collect::<String>();
                publisher.write_all(commands.as_bytes()).expect("taken");
                answer(publisher, |answer| answer.ends_with(b"PONG\r\n"));
            }
            Sender::Apart(apart) => {
                let events: Vec<String> = (0..count).map(|n| posted(&text(n))).collect();
                let body = format!("[{}]", events.join(","));
                let request = request(apart.addr, &apart.token, "POST /events/emit", &body);
                // Anew each time: it hangs up on one that asks for nothing for as long as the others take.
                let mut emitter = TcpStream::connect(apart.addr).expect("a connection");
                emitter.set_nodelay(true).expect("an option");
                emitter.write_all(&request).expect("taken");
                answer(&mut emitter, is_whole);
            }
        }
    }
}

/// Reads on until `is_whole` says so of all that came.
fn answer(socket: &mut TcpStream, is_whole: fn(&[u8]) -> bool) {
    let (mut have, mut piece) = (Vec::new(), [0; 4096]);
    while !is_whole(&have) {
        let more = socket.read(&mut piece).expect("readable");
        assert!(more > 0, "it hung up after {}", String::from_utf8_lossy(&have));
        have.extend_from_slice(&piece[..more]);
    }
}

fn notification(text: &str) -> payload::NotificationRaised {
    payload::NotificationRaised {
        message: format!("{text} {}", "x".repeat(100)),
        notification_type: "bench".into(),
        title: None,
    }
}

/// The same as [`event`], as it is posted.
fn posted(text: &str) -> String {
    let payload = serde_json::to_string(&notification(text)).expect("JSON");
    format!(r#"{{"kind":"notification_raised","payload":{payload}}}"#)
}

fn event(text: &str) -> Event {
    let payload = notification(text);
    let id = mnemosyne::clock::new_id(&SystemClock);
    Event::new(id, Timestamp::from_micros(1_770_000_000_000_000), "bench", Source::default(), payload)
}

/// A frame as ours is: its length counts.
fn frame(text: &str) -> String {
    let stored = mnemosyne::event::StoredEvent {
        seq: mnemosyne::event::Seq::new(1_000_000),
        recorded: Timestamp::from_micros(1_770_000_000_000_000),
        event: event(text),
    };
    format!("id: 1000000\nevent: notification_raised\ndata: {}\n\n", stored.to_json())
}

fn ours(runtime: &Runtime) -> Sender {
    Sender::Ours(Served::start(runtime))
}

fn naive(runtime: &Runtime) -> Sender {
    let frames = broadcast::Sender::new(1_024);
    let source = frames.clone();
    let router = axum::Router::new().route(
        "/events/stream",
        axum::routing::get(move || {
            let from = source.subscribe();
            async move { axum::body::Body::from_stream(Frames(Box::pin(next(from)))) }
        }),
    );
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let addr = listener.local_addr().expect("its address");
    runtime.spawn(async move { axum::serve(listener, router).await });
    Sender::Naive { addr, frames }
}

type Next = (Result<Bytes, broadcast::error::RecvError>, broadcast::Receiver<Bytes>);

async fn next(mut from: broadcast::Receiver<Bytes>) -> Next {
    (from.recv().await, from)
}

/// The frames of a channel, one a chunk.
struct Frames(std::pin::Pin<Box<dyn Future<Output = Next> + Send>>);

impl futures_core::Stream for Frames {
    type Item = Result<Bytes, broadcast::error::RecvError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll(context).map(|(frame, from)| {
            self.0 = Box::pin(next(from));
            Some(frame)
        })
    }
}

fn bare(_runtime: &Runtime) -> Sender {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("its address");
    Sender::Bare { addr, sockets: Vec::new(), listener }
}

fn redis(_runtime: &Runtime) -> Option<Sender> {
    let redis = Redis::start()?;
    let publisher = TcpStream::connect(redis.addr).expect("a connection");
    publisher.set_nodelay(true).expect("an option");
    Some(Sender::Redis { redis, publisher })
}

fn nats(_runtime: &Runtime) -> Option<Sender> {
    let nats = Nats::start()?;
    let mut publisher = TcpStream::connect(nats.addr).expect("a connection");
    publisher.set_nodelay(true).expect("an option");
    publisher.write_all(nats::CONNECT.as_bytes()).expect("taken");
    Some(Sender::Nats { nats, publisher })
}

fn ours_apart(_runtime: &Runtime) -> Sender {
    Sender::Apart(Apart::start())
}

/// Clients that look for a mark, and say when they have seen it.
struct Clients {
    /// The number of the round that goes on.
    round: u64,
    seen: mpsc::UnboundedReceiver<Instant>,
}

fn mark(round: u64) -> String {
    format!("round {round:0>10} ends")
}

impl Clients {
    fn connect(runtime: &Runtime, sender: &mut Sender) -> Clients {
        let (tell, seen) = mpsc::unbounded_channel();
        let (opened, mut open) = mpsc::unbounded_channel();
        let (addr, request) = (sender.addr(), sender.request());
        for _ in 0..CLIENTS {
            let (tell, opened, request) = (tell.clone(), opened.clone(), request.clone());
            runtime.spawn(async move {
                let mut socket = net::connect(addr).await;
                socket.write_all(&request).await.expect("taken");
                let _ = opened.send(());
                follow(socket, &tell).await;
            });
            if let Sender::Bare { sockets, listener, .. } = sender {
                let (socket, _) = listener.accept().expect("a client");
                socket.set_nodelay(true).expect("an option");
                sockets.push(socket);
            }
            runtime.block_on(open.recv()).expect("it is open");
        }
        let mut clients = Clients { round: 0, seen };
        // Until all of them are there.
        std::thread::sleep(Duration::from_secs(1));
        clients.round(runtime, sender, 1);
        clients
    }

    /// Sends `count` events and waits until every client has the last; how long each waited, sorted.
    fn round(&mut self, runtime: &Runtime, sender: &mut Sender, count: u64) -> Vec<Duration> {
        self.round += 1;
        let round = self.round;
        let began = Instant::now();
        sender.send(count, &mark(round));
        let mut each: Vec<Duration> = (0..CLIENTS)
            .map(|at| {
                let seen = async { tokio::time::timeout(Duration::from_secs(60), self.seen.recv()).await };
                let seen = runtime
                    .block_on(seen)
                    .unwrap_or_else(|_| panic!("{at} of {CLIENTS} have round {round}"))
                    .expect("clients");
                seen.duration_since(began)
            })
            .collect();
        each.sort_unstable();
        each
    }
}

async fn follow(mut socket: tokio::net::TcpStream, tell: &mpsc::UnboundedSender<Instant>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut have = 0;
    let mut waits_for = 1;
    let mut mark_now = mark(waits_for);
    loop {
        let n = socket.read(&mut buffer[have..]).await.unwrap_or(0);
        if n == 0 {
            return;
        }
        have += n;
        if memchr::memmem::find(&buffer[..have], mark_now.as_bytes()).is_some() {
            let _ = tell.send(Instant::now());
            waits_for += 1;
            mark_now = mark(waits_for);
            have = 0;
            continue;
        }
        // A mark may be cut in two.
        let keep = have.min(mark_now.len());
        buffer.copy_within(have - keep..have, 0);
        have = keep;
    }
}

type Make = fn(&Runtime) -> Option<Sender>;

const SENDERS: [(&str, Make); 6] = [
    ("ours", |runtime| Some(ours(runtime))),
    ("limit: write to bare sockets", |runtime| Some(bare(runtime))),
    ("naive axum stream of ready bytes", |runtime| Some(naive(runtime))),
    ("Redis pub/sub", redis),
    ("NATS core", nats),
    ("ours, a process of its own", |runtime| Some(ours_apart(runtime))),
];

/// One of those that are compared, with its clients.
struct Contender {
    name: &'static str,
    runtime: Runtime,
    sender: Sender,
    clients: Clients,
    rounds: Vec<Round>,
    /// What its own process held before the clients came.
    held: Option<u64>,
}

/// What a turn gave.
struct Round {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    /// Microseconds of processor a delivery.
    cpu: f64,
    /// Those of its own process, if it has one.
    cpu_apart: Option<f64>,
}

impl Contender {
    fn all() -> Vec<Contender> {
        let contender = |(name, make): (&'static str, Make)| {
            let runtime = runtime();
            let mut sender = make(&runtime)?;
            let held = sender.pid().map(|pid| {
                // What a first event makes it hold, it holds without clients.
                sender.send(BURST, "nobody listens");
                resident(pid)
            });
            let clients = Clients::connect(&runtime, &mut sender);
            Some(Contender { name, runtime, sender, clients, rounds: Vec::new(), held })
        };
        SENDERS.into_iter().filter_map(contender).collect()
    }

    /// `sends` times `count` events, at most one such in `pause`.
    fn turn(&mut self, sends: u32, count: u64, pause: Duration) {
        let pid = self.sender.pid();
        let (before, apart_before) = (cpu(pid), pid.map(cpu_of));
        let (mut took, mut each) = (Duration::ZERO, Vec::new());
        for _ in 0..sends {
            let began = Instant::now();
            each.extend(self.clients.round(&self.runtime, &mut self.sender, count));
            took += began.elapsed();
            std::thread::sleep(pause.saturating_sub(began.elapsed()));
        }
        each.sort_unstable();
        let deliveries = (u64::from(sends) * count * CLIENTS as u64) as f64;
        let micros = |used: Duration| used.as_secs_f64() * 1e6 / deliveries;
        let used = cpu(pid).saturating_sub(before);
        let apart = pid.map(cpu_of).zip(apart_before).map(|(now, before)| now.saturating_sub(before));
        self.rounds.push(Round {
            per_second: deliveries / took.as_secs_f64(),
            p50: percentile(&each, 50),
            p99: percentile(&each, 99),
            cpu: micros(used),
            cpu_apart: apart.map(micros),
        });
    }

    /// What its own process took and holds, if it has one.
    fn tell_apart(&self) {
        let (Some(pid), Some(held)) = (self.sender.pid(), self.held) else { return };
        let cpu = median(self.rounds.iter().filter_map(|round| round.cpu_apart).collect());
        let now = resident(pid);
        eprintln!(
            "  {:34} its own process: {cpu:.1} us of processor a delivery; {} KiB held without clients, {} with, {:.1} a client",
            "",
            held / 1024,
            now / 1024,
            (now as f64 - held as f64) / 1024.0 / CLIENTS as f64,
        );
    }

    fn figure(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }

    /// The median of the ratios of ours to it within a round.
    fn ratio(&self, ours: &Contender, of: impl Fn(&Round) -> f64) -> f64 {
        median(ours.rounds.iter().zip(&self.rounds).map(|(ours, own)| of(ours) / of(own)).collect())
    }
}

fn compare(contenders: &mut [Contender], sends: u32, count: u64, pause: Duration) {
    contenders.iter_mut().for_each(|contender| contender.rounds.clear());
    let (rounds, sends) = if in_earnest() { (ROUNDS, sends) } else { (1, 1) };
    for _ in 0..rounds {
        contenders.iter_mut().for_each(|contender| contender.turn(sends, count, pause));
    }
    for contender in &*contenders {
        let millis = |of: fn(&Round) -> Duration| contender.figure(|round| of(round).as_secs_f64() * 1e3);
        let ratio = |of: fn(&Round) -> f64| contender.ratio(&contenders[0], of);
        eprintln!(
            "  {:34} {:>9.0}/s ({:.2})  p50 {:>6.2} ms ({:.2})  p99 {:>6.2} ms ({:.2})  {:>5.1} us of processor",
            contender.name,
            contender.figure(|round| round.per_second),
            ratio(|round| round.per_second),
            millis(|round| round.p50),
            ratio(|round| round.p50.as_secs_f64()),
            millis(|round| round.p99),
            ratio(|round| round.p99.as_secs_f64()),
            contender.figure(|round| round.cpu),
        );
        contender.tell_apart();
    }
}

/// Events in the journal before the clients come.
const HISTORY: u64 = 2_000;
/// Events that are emitted while they read.
const WRITTEN: u64 = 200;

/// An emit: how long it took, and for how much of that its thread, and the one that commits, were ready and had no core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Written {
    took: Duration,
    no_core: [Duration; 2],
}

/// Durable emits one after the other, the quickest first. Of the threads that are named, how long they had no core.
fn write(store: &mnemosyne::store::Store, last: &str, threads: Option<&[File; 2]>) -> Vec<Written> {
    let without_core = || threads.map_or([Duration::ZERO; 2], without_core);
    let mut each: Vec<Written> = (0..WRITTEN)
        .map(|n| {
            let text = if n + 1 == WRITTEN { last.to_owned() } else { format!("written {n:0>10}") };
            let (waited, began) = (without_core(), Instant::now());
            store.emit(vec![event(&text)], Level::Disk, None).expect("taken").wait().expect("durable");
            let took = began.elapsed();
            let now = without_core();
            let no_core = [0, 1].map(|thread| now[thread].saturating_sub(waited[thread]));
            std::thread::sleep(Duration::from_millis(5));
            Written { took, no_core }
        })
        .collect();
    each.sort_unstable();
    each
}

/// The times of emits.
fn times(written: &[Written]) -> Vec<Duration> {
    written.iter().map(|written| written.took).collect()
}

/// What the kernel tells of the threads that an emit goes through: of this one, and of the one that commits.
fn writing_threads() -> [File; 2] {
    let mut tasks =
        std::fs::read_dir("/proc/self/task").expect("Linux").map(|task| task.expect("a task").path());
    let commits = |task: &PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("journal-commit"))
    };
    let committer = tasks.find(commits).expect("the thread that commits");
    [PathBuf::from("/proc/thread-self"), committer]
        .map(|task| File::open(task.join("schedstat")).expect("a kernel that counts"))
}

/// For how long each has been ready and had no core, since it began.
fn without_core(threads: &[File; 2]) -> [Duration; 2] {
    threads.each_ref().map(|file| {
        let mut text = [0; 128];
        let length = file.read_at(&mut text, 0).expect("readable");
        // Nanoseconds on a core, nanoseconds waiting for one, turns.
        let text = std::str::from_utf8(&text[..length]).expect("digits");
        let waited = text.split_whitespace().nth(1).expect("three numbers");
        Duration::from_nanos(waited.parse().expect("digits"))
    })
}

/// 1,000 clients read the journal from its first event while it is written to: each gets every event, once and in order.
fn replaying() {
    let runtime = runtime();
    let served = Served::start(&runtime);
    for _ in 0..HISTORY / 500 {
        let batch = (0..500).map(|n| event(&format!("history {n:0>10}"))).collect();
        served.store.emit(batch, Level::Disk, None).expect("taken").wait().expect("durable");
    }
    let threads = writing_threads();
    let alone = write(&served.store, "written alone", Some(&threads));
    let first_of_readers = served.store.durable().get();
    let request = request(served.addr, &served.token, "GET /events/stream?from=1", "");
    let end = mark(1);
    // All have asked before any task of theirs runs: on a busy machine one may not get its turn within the time that a header may take.
    let asked: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut socket = TcpStream::connect(served.addr).expect("a connection");
            socket.write_all(&request).expect("taken");
            socket.set_nonblocking(true).expect("an option");
            socket
        })
        .collect();
    let reading: Vec<_> =
        asked.into_iter().map(|socket| runtime.spawn(read_all(socket, end.clone()))).collect();
    let beside = write(&served.store, &end, Some(&threads));
    let mut whole = 0;
    for client in reading {
        let seqs = runtime.block_on(client).expect("it reads");
        assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a client missed an event");
        assert_eq!(seqs.first(), Some(&1));
        whole += usize::from(seqs.len() as u64 >= first_of_readers + WRITTEN);
    }
    let (p50, p99) = (percentile(&times(&alone), 50), percentile(&times(&alone), 99));
    eprintln!(
        "1,000 clients replaying from seq 1 while writing: {whole} of {CLIENTS} got every event once and in order"
    );
    eprintln!("durable emit alone: p50 {p50:?}, p99 {p99:?}");
    let slowest = &beside[beside.len() - beside.len() / 50..];
    let took: Duration = slowest.iter().map(|written| written.took).sum();
    let shares = [0, 1].map(|thread| {
        let waited: Duration = slowest.iter().map(|written| written.no_core[thread]).sum();
        100.0 * waited.as_secs_f64() / took.as_secs_f64()
    });
    let beside = times(&beside);
    let (p50, p99) = (percentile(&beside, 50), percentile(&beside, 99));
    eprintln!("durable emit beside them: p50 {p50:?}, p99 {p99:?}");
    eprintln!(
        "of the time of the slowest 2 % its thread was ready and had no core for {:.0} %, the one that commits for {:.0} %",
        shares[0], shares[1]
    );
    runtime.shutdown_background();
}

/// Of the clients, those that never read.
const STUCK: usize = 100;
/// More bytes of frames than sockets and a stream hold for one that does not read.
const UNTIL_STUCK: u64 = 20_000;

/// 1,000 clients of which some never read, over a journal of their own. They live as long as the runtime.
fn with_clients(runtime: &Runtime, stuck: usize) -> Served {
    let served = Served::start(runtime);
    let request = request(served.addr, &served.token, "GET /events/stream", "");
    for n in 0..CLIENTS {
        let (addr, request) = (served.addr, request.clone());
        runtime.spawn(async move {
            let mut socket = net::connect(addr).await;
            socket.write_all(&request).await.expect("taken");
            let mut buffer = vec![0; 64 * 1024];
            while n >= stuck && socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            std::future::pending::<()>().await;
        });
    }
    // Until all of them are there, and those that do not read hold nothing more.
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..if in_earnest() { UNTIL_STUCK / 500 } else { 1 } {
        let batch = (0..500).map(|n| event(&format!("before {n:0>10}"))).collect();
        served.store.emit(batch, Level::Disk, None).expect("taken").wait().expect("durable");
    }
    std::thread::sleep(Duration::from_secs(3));
    served
}

/// Clients that do not read, beside as many that do: they take turns.
fn stuck() {
    let runtime = runtime();
    let (all_read, some_stuck) = (with_clients(&runtime, 0), with_clients(&runtime, STUCK));
    let rounds = if in_earnest() { ROUNDS } else { 1 };
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let [all, some] =
            [&all_read, &some_stuck].map(|served| times(&write(&served.store, "written", None)));
        for (percent, ratios) in [50, 99].into_iter().zip(&mut ratios) {
            let (all, some) = (percentile(&all, percent), percentile(&some, percent));
            eprintln!(
                "round {round}, p{percent}: {all:?} with 1,000 that read, {some:?} with {STUCK} that do not"
            );
            ratios.push(some.as_secs_f64() / all.as_secs_f64());
        }
    }
    let [p50, p99] = ratios.map(median);
    eprintln!(
        "durable emit with {STUCK} of {CLIENTS} clients stuck, of that with none: p50 {p50:.2}, p99 {p99:.2}"
    );
    runtime.shutdown_background();
}

/// The ids of the frames up to the one that holds `end`, of a client that has asked for them.
async fn read_all(socket: TcpStream, end: String) -> Vec<u64> {
    let mut socket = tokio::net::TcpStream::from_std(socket).expect("within the runtime");
    let (mut seqs, mut text, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    loop {
        let n = match socket.read(&mut buffer).await {
            Ok(n) if n > 0 => n,
            ended => {
                let (events, last) = (seqs.len(), String::from_utf8_lossy(&text));
                panic!("the stream ended before the last event: {ended:?} after {events}, at last {last:?}");
            }
        };
        text.extend_from_slice(&buffer[..n]);
        // Whole lines only; what a chunk's frame puts between them is no line that begins so.
        let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
        let mut is_over = false;
        for line in text[..whole].split(|byte| *byte == b'\n') {
            if let Some(id) = line.strip_prefix(b"id: ") {
                let digits = std::str::from_utf8(id).expect("digits").trim_end();
                seqs.push(digits.parse().expect("a seq"));
            }
            is_over |= memchr::memmem::find(line, end.as_bytes()).is_some();
        }
        text.drain(..whole);
        if is_over {
            return seqs;
        }
    }
}

fn main() {
    if has_served() {
        return;
    }
    raise_descriptors();
    if is_asked_for("burst") || is_asked_for("live") {
        let mut contenders = Contender::all();
        if is_asked_for("burst") {
            eprintln!(
                "burst of {BURST} events to {CLIENTS} clients, deliveries a second (ours / the line's)"
            );
            compare(&mut contenders, BURSTS, BURST, Duration::ZERO);
        }
        if is_asked_for("live") {
            eprintln!("live, 30 events a second to {CLIENTS} clients (ours / the line's)");
            compare(&mut contenders, LIVE, 1, Duration::from_micros(33_333));
        }
        contenders.into_iter().for_each(|contender| contender.runtime.shutdown_background());
    }
    if is_asked_for("replaying") {
        replaying();
    }
    if is_asked_for("stuck") {
        stuck();
    }
}
