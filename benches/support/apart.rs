//! A server in a process of its own, which is this program once more: so its processor time and its memory are told apart from
//! those of the clients. It ends when its input does, and so with the bench.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::net::{Served, raise_descriptors, runtime};

const ASKED: &str = "--serve-apart";

/// See the module.
pub struct Apart {
    pub addr: SocketAddr,
    pub token: String,
    process: Child,
}

impl Apart {
    /// A flush takes a fixed 200 us, asleep; one arena, as `mnemosyne` gives itself where it serves.
    pub fn start() -> Apart {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.arg(ASKED).env("MALLOC_ARENA_MAX", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let told = BufReader::new(process.stdout.take().expect("piped")).lines().next();
        let told = told.expect("it tells where it is").expect("text");
        let (addr, token) = told.split_once(' ').expect("two words");
        Apart { addr: addr.parse().expect("an address"), token: token.to_owned(), process }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("it ends");
    }
}

/// Whether this process is the server of another, which has ended by then.
pub fn has_served() -> bool {
    if !std::env::args().any(|argument| argument == ASKED) {
        return false;
    }
    raise_descriptors();
    let runtime = runtime();
    let served = Served::start(&runtime);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {}", served.addr, served.token).and_then(|()| out.flush()).expect("who asked listens");
    // Whether its input ends or cannot be read, nobody needs it any more.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    runtime.shutdown_background();
    true
}

/// What it holds in memory, in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
