//! A NATS server of our own, where one is installed: a free port of the loopback, ended with the bench. Core NATS keeps nothing.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is not there after this long does not come.
const BOUND: Duration = Duration::from_secs(10);
/// Clients here answer no ping, and one that answers none is hung up on: none comes while a bench runs.
const CONFIG: &str = "ping_interval: \"12h\"\n";
/// What every client begins with: nothing is acknowledged.
pub const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

/// See the module.
pub struct Nats {
    pub addr: SocketAddr,
    process: Child,
    _config: tempfile::NamedTempFile,
}

impl Nats {
    /// `None`, and it is said so, where there is no `nats-server`.
    pub fn start() -> Option<Nats> {
        let mut config = tempfile::NamedTempFile::new().expect("a file");
        config.write_all(CONFIG.as_bytes()).expect("written");
        // Nobody else is likely to be given it before the server takes it.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let spawned = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &addr.port().to_string(), "--config"])
            .arg(config.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match spawned {
            Ok(process) => process,
            Err(error) => {
                eprintln!("SKIPPED: NATS, since nats-server cannot be started: {error}");
                return None;
            }
        };
        let nats = Nats { addr, process, _config: config };
        let began = Instant::now();
        while TcpStream::connect(addr).is_err() {
            assert!(began.elapsed() < BOUND, "nats-server listens");
            std::thread::yield_now();
        }
        Some(nats)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it ends");
    }
}

/// What publishes `text`.
pub fn publish(subject: &str, text: &str) -> String {
    format!("PUB {subject} {}\r\n{text}\r\n", text.len())
}
