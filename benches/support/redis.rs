//! A Redis server of our own, where one is installed: a free port of the loopback, a temporary directory, ended with the bench.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is not there after this long does not come.
const BOUND: Duration = Duration::from_secs(10);

/// See the module.
pub struct Redis {
    pub addr: SocketAddr,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Redis {
    /// `None`, and it is said so, where there is no `redis-server`. Every write is flushed to the disk before it is answered.
    pub fn start() -> Option<Redis> {
        let dir = tempfile::tempdir().expect("a directory");
        // Nobody else is likely to be given it before the server takes it.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let spawned = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .arg("--dir")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match spawned {
            Ok(process) => process,
            Err(error) => {
                eprintln!("SKIPPED: Redis, since redis-server cannot be started: {error}");
                return None;
            }
        };
        let redis = Redis { addr, process, _dir: dir };
        let began = Instant::now();
        while TcpStream::connect(addr).is_err() {
            assert!(began.elapsed() < BOUND, "redis-server listens");
            std::thread::yield_now();
        }
        Some(redis)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it ends");
    }
}

/// A command in the protocol's own form.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        command.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    command
}

/// Whether `answer` is one whole string of bytes, which is what XADD answers.
pub fn is_string(answer: &[u8]) -> bool {
    assert!(answer.first().is_none_or(|kind| *kind == b'$'), "{}", String::from_utf8_lossy(answer));
    let Some(end) = memchr::memmem::find(answer, b"\r\n") else { return false };
    let length = std::str::from_utf8(&answer[1..end]).expect("ASCII").parse::<usize>().expect("a length");
    answer.len() == end + 2 + length + 2
}
