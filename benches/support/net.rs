//! What the benches of the server share: a server over a flush of fixed time, plain sockets as clients, percentiles.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mnemosyne::clock::{SystemClock, this_source};
use mnemosyne::event::{Event, Json, Timestamp, payload};
use mnemosyne::server::{Guard, Settings, Token, serve};
use mnemosyne::store::Store;
use mnemosyne::store::log::LocalLog;
use mnemosyne_journal::{Disk, Level, RealDisk};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::support::sleeping_flush_disk;

/// A server over a real journal.
pub struct Served {
    pub addr: SocketAddr,
    pub token: String,
    pub store: Store,
    _dir: tempfile::TempDir,
}

impl Served {
    /// A flush takes a fixed 200 us, asleep.
    pub fn start(runtime: &Runtime) -> Served {
        Served::on(runtime, |dir| Arc::new(sleeping_flush_disk(dir).0))
    }

    /// A flush is one of the disk that holds the system's temporary directory.
    pub fn on_disk(runtime: &Runtime) -> Served {
        Served::on(runtime, |dir| Arc::new(RealDisk::new(dir)))
    }

    /// As [`Served::start`], over a journal of so many small events, all of which its projections have seen.
    pub fn grown(runtime: &Runtime, events: u64) -> Served {
        let served = Served::on(runtime, |dir| {
            fill_with_events(dir, events);
            Arc::new(sleeping_flush_disk(dir).0)
        });
        // Nobody else in this process does anything meanwhile.
        let mut before = cpu(None);
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = cpu(None);
            if now.saturating_sub(before) < Duration::from_millis(50) {
                return served;
            }
            before = now;
        }
    }

    fn on(runtime: &Runtime, disk: impl FnOnce(&Path) -> Arc<dyn Disk>) -> Served {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = crate::support::open(disk(dir.path()), true);
        journal.start_committer().expect("a thread");
        let log = Arc::new(LocalLog::new(journal));
        let store =
            Store::over_with_index(log, Some(dir.path().join("index")), Arc::new(SystemClock), "bench");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let addr = listener.local_addr().expect("its address");
        let token = Token::from_bits([5; 32]);
        let revealed = token.reveal().to_owned();
        let guard = Guard::new(token, addr.port());
        let mut settings = Settings::new(guard, "bench".into(), this_source("bench"), Arc::new(SystemClock));
        // One emitter stands for many sources here.
        settings.emit_rate_per_second = 0;
        runtime.spawn(serve(listener, store.clone(), settings, std::future::pending::<()>()));
        while store.durable().get() == 0 {
            std::thread::yield_now();
        }
        Served { addr, token: revealed, store, _dir: dir }
    }
}

/// A journal of so many events, each with an id of its own, closed in order.
fn fill_with_events(dir: &Path, events: u64) {
    const BATCH: u64 = 1_000;
    let journal = crate::support::open(Arc::new(RealDisk::new(dir)), true);
    let payload = payload::Custom { name: "bench".into(), data: Json::from(0) };
    let (id, time) = (Uuid::from_u128(u128::MAX / 3), Timestamp::from_micros(crate::support::NOW.get()));
    let encoded = Event::new(id, time, "bench", this_source("bench"), payload).encode();
    let at = memchr::memmem::find(&encoded, id.as_bytes()).expect("its id");
    let mut batch = vec![encoded; usize::try_from(BATCH).expect("small")];
    for first in (0..events).step_by(usize::try_from(BATCH).expect("small")) {
        for (number, event) in (first..).zip(&mut batch) {
            event[at..at + 8].copy_from_slice(&number.to_be_bytes());
        }
        let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        let _ticket = journal.submit(&batch, crate::support::NOW, Level::Os, None).expect("submitted");
    }
    journal.close().expect("closed");
}

/// As many workers as there are cores.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

pub fn request(addr: SocketAddr, token: &str, line: &str, body: &str) -> Vec<u8> {
    format!(
        "{line} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub async fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).await.expect("a connection");
    socket.set_nodelay(true).expect("an option");
    socket
}

/// What is sent, and how its answer is known to be whole.
#[derive(Clone)]
pub struct Asked {
    pub request: Vec<u8>,
    pub is_answer: fn(&[u8]) -> bool,
}

/// Opens a connection, with `opening` as its first request if there is one, and sends the same request until `deadline`, each after
/// the answer to the one before; how long each took.
pub async fn ask_again_and_again(
    addr: SocketAddr,
    opening: Option<Asked>,
    asked: Asked,
    deadline: Instant,
) -> Vec<Duration> {
    let mut socket = connect(addr).await;
    let mut answer = vec![0; 4096];
    if let Some(opening) = &opening {
        ask(&mut socket, opening, &mut answer).await;
    }
    let mut took = Vec::new();
    let mut began = Instant::now();
    while began < deadline {
        ask(&mut socket, &asked, &mut answer).await;
        let answered = Instant::now();
        took.push(answered - began);
        began = answered;
    }
    took
}

async fn ask(socket: &mut TcpStream, asked: &Asked, answer: &mut [u8]) {
    socket.write_all(&asked.request).await.expect("taken");
    let mut have = 0;
    while !(asked.is_answer)(&answer[..have]) {
        let more = socket.read(&mut answer[have..]).await.expect("readable");
        assert!(more > 0, "it hung up after {}", String::from_utf8_lossy(&answer[..have]));
        have += more;
    }
}

/// Whether `answer` is a whole 200.
pub fn is_whole(answer: &[u8]) -> bool {
    assert!(answer.len() < 12 || answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..end]).expect("ASCII");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().expect("a number"))
    });
    answer.len() == end + 4 + length.expect("a length")
}

pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// The one in the middle.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// User and system time so far of this process, of `beside`, and of the children of `beside`: those that ended, and those that live.
pub fn cpu(beside: Option<u32>) -> Duration {
    let own: u64 = used("self").expect("Linux")[1..=2].iter().sum();
    Duration::from_millis(own * 10) + beside.map_or(Duration::ZERO, cpu_of)
}

/// The same of another process and its children alone.
pub fn cpu_of(pid: u32) -> Duration {
    let itself: u64 = used(&pid.to_string()).expect("it runs")[1..].iter().sum();
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let numbered = processes.filter_map(|process| process.file_name().into_string().ok());
    let children = numbered.filter_map(|name| used(&name)).filter(|[parent, ..]| *parent == u64::from(pid));
    let ticks = itself + children.map(|[_, user, system, ..]| user + system).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// The parent of a process, and its ticks of user and of system time: its own, and those of its children that ended.
fn used(pid: &str) -> Option<[u64; 5]> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse().ok();
    Some([number(1)?, number(11)?, number(12)?, number(13)?, number(14)?])
}

/// Whether this is the bench itself, and not `cargo test --benches`, which starts it only to see that it runs.
pub fn in_earnest() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Whether `name` is among what the command line asks for: all, unless it names parts.
pub fn is_asked_for(name: &str) -> bool {
    let mut asked = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    asked.peek().is_none() || asked.any(|part| name.contains(&part))
}

/// Thousands of sockets on both ends.
pub fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = Some(limit.maximum.map_or(16_384, |maximum| maximum.min(16_384)));
    setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }).expect("below the maximum");
}
