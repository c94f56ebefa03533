//! What the benches of the server share: a server over a flush of fixed time, plain sockets as clients, percentiles.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mnemosyne::clock::{SystemClock, this_source};
use mnemosyne::server::{Guard, Settings, Token, serve};
use mnemosyne::store::Store;
use mnemosyne::store::log::LocalLog;
use mnemosyne_journal::{Disk, RealDisk};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::support::FixedFlush;

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
        Served::on(runtime, |dir| Arc::new(FixedFlush::sleeping(dir)))
    }

    /// A flush is one of the disk that holds the system's temporary directory.
    pub fn on_disk(runtime: &Runtime) -> Served {
        Served::on(runtime, |dir| Arc::new(RealDisk::new(dir)))
    }

    fn on(runtime: &Runtime, disk: impl FnOnce(&Path) -> Arc<dyn Disk>) -> Served {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = crate::support::open(disk(dir.path()), true);
        journal.start_committer().expect("a thread");
        let store = Store::over(Arc::new(LocalLog::new(journal)), Arc::new(SystemClock), "bench");
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

/// Sends the same request over one connection until `deadline`, each after the answer to the one before; how long each took.
pub async fn ask_again_and_again(
    addr: SocketAddr,
    request: Vec<u8>,
    is_answer: fn(&[u8]) -> bool,
    deadline: Instant,
) -> Vec<Duration> {
    let mut socket = connect(addr).await;
    let mut answer = vec![0; 4096];
    let mut took = Vec::new();
    let mut began = Instant::now();
    while began < deadline {
        socket.write_all(&request).await.expect("taken");
        let mut have = 0;
        while !is_answer(&answer[..have]) {
            let more = socket.read(&mut answer[have..]).await.expect("readable");
            assert!(more > 0, "it hung up after {}", String::from_utf8_lossy(&answer[..have]));
            have += more;
        }
        let answered = Instant::now();
        took.push(answered - began);
        began = answered;
    }
    took
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

/// User and system time so far of this process and of `beside`.
pub fn cpu(beside: Option<u32>) -> Duration {
    let used = |pid: String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("Linux");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
        let ticks: u64 =
            fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks");
        Duration::from_millis(ticks * 10)
    };
    used("self".into()) + beside.map_or(Duration::ZERO, |pid| used(pid.to_string()))
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
    let current = Some(limit.maximum.map_or(8_192, |maximum| maximum.min(8_192)));
    setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }).expect("below the maximum");
}
