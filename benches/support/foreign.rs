//! A server of somebody else, where one is installed: a free port of the loopback, ended with the bench.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is not there after this long does not come.
const BOUND: Duration = Duration::from_secs(10);

/// A running one, which listens.
pub struct Foreign {
    pub addr: SocketAddr,
    process: Child,
}

impl Foreign {
    /// Starts `program` with the arguments for this port; `None`, and it is said so, where it is not installed.
    pub fn start(name: &str, program: &str, arguments: impl FnOnce(&mut Command, &str)) -> Option<Foreign> {
        // Nobody else is likely to be given it before the server takes it.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let mut command = Command::new(program);
        arguments(&mut command, &addr.port().to_string());
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = match spawned {
            Ok(process) => process,
            Err(error) => {
                eprintln!("SKIPPED: {name}, since {program} cannot be started: {error}");
                return None;
            }
        };
        let foreign = Foreign { addr, process };
        let began = Instant::now();
        while TcpStream::connect(addr).is_err() {
            assert!(began.elapsed() < BOUND, "{program} listens");
            std::thread::yield_now();
        }
        Some(foreign)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it ends");
    }
}
