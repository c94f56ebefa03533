//! A `PostgreSQL` server of our own, where one is installed: a free port of the loopback, a temporary directory, another user where this
//! one is root (it refuses to run as root), ended with the bench.
//!
//! Its clients speak the protocol themselves, so that they cost as little as ours: one statement, prepared once a connection, then bound
//! and executed for each insert, which is a transaction of its own and answered once the log is flushed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// What is not there after this long does not come.
const BOUND: Duration = Duration::from_secs(60);
/// Debian's user for who owns nothing.
const NOBODY: u32 = 65_534;

/// See the module.
pub struct Postgres {
    pub addr: SocketAddr,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Postgres {
    /// `None`, and it is said so, where there is none. As installed, a commit is flushed before it is answered.
    pub fn start() -> Option<Postgres> {
        let skipped = |why: &str| eprintln!("SKIPPED: PostgreSQL, since {why}");
        let Some(programs) = programs() else {
            skipped("there is no initdb, neither on the path nor in /usr/lib/postgresql");
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory");
        if geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let data = dir.path().join("data");
        let mut initdb = unprivileged(&programs.join("initdb"));
        initdb.args(["--username=bench", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"]);
        match initdb.arg(&data).stdout(Stdio::null()).status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                skipped(&format!("initdb ended with {status}"));
                return None;
            }
            Err(error) => {
                skipped(&format!("initdb cannot be started: {error}"));
                return None;
            }
        }
        // Nobody else is likely to be given it before the server takes it.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let mut server = unprivileged(&programs.join("postgres"));
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p"]);
        server.arg(addr.port().to_string()).arg("-D").arg(&data);
        let process = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let postgres = Postgres { addr, process: process.expect("it is beside initdb"), _dir: dir };
        postgres.make_table();
        Some(postgres)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Also waits until it takes connections: until then it hangs up, or answers with an error.
    fn make_table(&self) {
        let began = Instant::now();
        let mut asked = startup();
        asked.extend(framed(b'Q', b"CREATE TABLE events (seq bigserial PRIMARY KEY, event text NOT NULL)\0"));
        while asks(self.addr, &asked).is_none_or(|answer| ready(&answer) != 2) {
            assert!(began.elapsed() < BOUND, "PostgreSQL answers");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its children end with it.
        kill_process(Pid::from_child(&self.process), Signal::INT).expect("it runs");
        self.process.wait().expect("it ends");
    }
}

/// Where `initdb` and `postgres` are: the newest, as Debian installs them, else on the path.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    dirs.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    dirs.into_iter().rev().chain(std::env::split_paths(&path)).find(|dir| dir.join("initdb").is_file())
}

fn unprivileged(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let nobody = NOBODY.to_string();
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

/// The whole answer to `asked`, which ends when it is ready for the next; `None` where there is no server yet.
fn asks(addr: SocketAddr, asked: &[u8]) -> Option<Vec<u8>> {
    let mut socket = TcpStream::connect(addr).ok()?;
    socket.set_read_timeout(Some(BOUND)).ok()?;
    socket.write_all(asked).ok()?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while ready(&answer) < 2 {
        let more = socket.read(&mut piece).ok().filter(|more| *more > 0)?;
        answer.extend_from_slice(&piece[..more]);
        if messages(&answer).any(|(kind, _)| kind == b'E') {
            return None;
        }
    }
    Some(answer)
}

/// What a connection begins with: who it is, and the statement.
pub fn opening() -> Vec<u8> {
    let mut opening = startup();
    opening.extend(framed(b'P', b"insert\0INSERT INTO events (event) VALUES ($1) RETURNING seq\0\0\0"));
    opening.extend(framed(b'S', b""));
    opening
}

/// Whether `answer` is the whole one to [`opening`].
pub fn is_opened(answer: &[u8]) -> bool {
    refuse_errors(answer);
    ready(answer) == 2
}

/// One insert.
pub fn insert(event: &str) -> Vec<u8> {
    let length = i32::try_from(event.len()).expect("short").to_be_bytes();
    // No portal's name, the statement's, text all over, one parameter.
    let bind = [b"\0insert\0\0\0\0\x01".as_slice(), &length, event.as_bytes(), b"\0\0"].concat();
    [framed(b'B', &bind), framed(b'E', b"\0\0\0\0\0"), framed(b'S', b"")].concat()
}

/// Whether `answer` is the whole one to [`insert`]: a seq, and the end of its transaction.
pub fn is_inserted(answer: &[u8]) -> bool {
    refuse_errors(answer);
    let done = ready(answer) == 1;
    assert!(!done || messages(answer).any(|(kind, _)| kind == b'D'), "no seq came");
    done
}

fn refuse_errors(answer: &[u8]) {
    if let Some((_, error)) = messages(answer).find(|(kind, _)| *kind == b'E') {
        panic!("{}", String::from_utf8_lossy(error));
    }
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0bench\0database\0postgres\0\0";
    let length = i32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&length, &body[..]].concat()
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// How often it says that it is ready for the next request.
fn ready(answer: &[u8]) -> usize {
    messages(answer).filter(|(kind, _)| *kind == b'Z').count()
}

/// The whole messages at the beginning of `bytes`: kind and body.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, rest) = bytes.split_first()?;
        let length = usize::try_from(i32::from_be_bytes(*rest.first_chunk()?)).ok()?;
        let body = rest.get(4..length)?;
        bytes = &rest[length..];
        Some((*kind, body))
    })
}
