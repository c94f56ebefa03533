//! A Redis server of our own, where one is installed, in a temporary directory.

use std::net::SocketAddr;

use crate::foreign::Foreign;

/// See the module.
pub struct Redis {
    pub addr: SocketAddr,
    server: Foreign,
    _dir: tempfile::TempDir,
}

impl Redis {
    /// As [`Foreign::start`]. Every write is flushed to the disk before it is answered.
    pub fn start() -> Option<Redis> {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Foreign::start("Redis", "redis-server", |command, port| {
            command
                .args(["--bind", "127.0.0.1", "--port", port])
                .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
                .arg("--dir")
                .arg(dir.path());
        })?;
        Some(Redis { addr: server.addr, server, _dir: dir })
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
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
