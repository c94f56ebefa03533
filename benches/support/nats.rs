//! A NATS server of our own, where one is installed. Core NATS keeps nothing.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::foreign::Foreign;

/// Clients here answer no ping, and one that answers none is hung up on: none comes while a bench runs.
const CONFIG: &str = "ping_interval: \"12h\"\n";
/// What every client begins with: nothing is acknowledged.
pub const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

/// See the module.
pub struct Nats {
    pub addr: SocketAddr,
    server: Foreign,
    _config: tempfile::NamedTempFile,
}

impl Nats {
    /// As [`Foreign::start`].
    pub fn start() -> Option<Nats> {
        let mut config = tempfile::NamedTempFile::new().expect("a file");
        config.write_all(CONFIG.as_bytes()).expect("written");
        let server = Foreign::start("NATS", "nats-server", |command, port| {
            command.args(["--addr", "127.0.0.1", "--port", port, "--config"]).arg(config.path());
        })?;
        Some(Nats { addr: server.addr, server, _config: config })
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

/// What publishes `text`.
pub fn publish(subject: &str, text: &str) -> String {
    format!("PUB {subject} {}\r\n{text}\r\n", text.len())
}
