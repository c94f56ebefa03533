//! Who holds the journal.
//!
//! The lock is a file lock that dies with its holder. Its file says who took it: `{role, pid, start_ticks, journal_id}`. Nobody
//! takes the lock to find out; who wants to know reads the file and looks whether that very process lives.

use std::time::{Duration, Instant};

use mnemosyne_journal::Lock;
use serde::{Deserialize, Serialize};

use crate::clock::ProcessStamp;
use crate::config::{DataDir, guard};
use crate::error::{Error, Result};

/// How often a waiting process tries again.
const RETRY: Duration = Duration::from_millis(5);
/// A runtime file larger than this is none.
const SERVER_JSON_BYTES_MAX: u64 = 64 << 10;

/// What a holder of the lock does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Holds it as long as it runs.
    Server,
    /// Holds it for an append or a drain.
    Command,
}

impl Role {
    /// As it is written in the lock file.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Command => "command",
        }
    }
}

/// What the lock file says about a holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What it holds the lock for.
    pub role: Role,
    /// Which process it is.
    #[serde(flatten)]
    pub process: ProcessStamp,
    /// The journal that it writes, in hex; absent until it has opened it.
    pub journal_id: Option<String>,
}

impl Holder {
    /// What a lock file says; nothing where it names nobody.
    pub(crate) fn parse(content: &[u8]) -> Option<Holder> {
        serde_json::from_slice(content).ok()
    }
}

/// The live process that holds the journal of `dir`, if one does. Takes no lock. A process that is just starting or just
/// ending may be told either way.
pub fn holder(dir: &DataDir) -> Option<Holder> {
    let content = Lock::read_holder(&dir.lock())?;
    let holder = Holder::parse(&content)?;
    holder.process.is_alive().then_some(holder)
}

/// The lock while it is held; gives it back when dropped, and the file then names nobody.
#[derive(Debug)]
pub(super) struct Held {
    lock: Lock,
    role: Role,
}

impl Held {
    /// Takes the lock, waiting up to `wait`. A server does not wait for a server.
    ///
    /// # Errors
    /// [`Error::ServerRunning`], [`Error::Locked`], or what the operating system says.
    pub(super) fn acquire(dir: &DataDir, role: Role, wait: Duration) -> Result<Held> {
        let content = content(role, None);
        let deadline = Instant::now() + wait;
        loop {
            if let Some(lock) = Lock::try_acquire(&dir.lock(), &content)? {
                return Ok(Held { lock, role });
            }
            let holder = holder(dir);
            let server = holder.as_ref().filter(|holder| holder.role == Role::Server);
            if let (Role::Server, Some(server)) = (role, server) {
                return Err(Error::ServerRunning { pid: server.process.pid, address: address(dir, server) });
            }
            if Instant::now() >= deadline {
                let holder = holder.map_or_else(
                    || "another process".into(),
                    |holder| format!("a {} (process {})", holder.role.name(), holder.process.pid),
                );
                return Err(Error::Locked { holder });
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Adds the journal's id to what the file says.
    pub(super) fn name_journal(&mut self, id: impl std::fmt::Display, path: &std::path::Path) -> Result<()> {
        let content = content(self.role, Some(id.to_string()));
        self.lock.describe(&content).map_err(Error::io("write", path))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What stays behind names a process that may live on; readers would take it for the writer until it ends.
        self.lock.describe(b"").ok();
    }
}

fn content(role: Role, journal_id: Option<String>) -> Vec<u8> {
    // A struct of three plain fields always has a JSON form.
    serde_json::to_vec(&Holder { role, process: ProcessStamp::current(), journal_id }).unwrap_or_default()
}

/// Where the server listens, as its runtime file says, if that file is of this very server.
fn address(dir: &DataDir, server: &Holder) -> String {
    #[derive(Deserialize)]
    struct Runtime {
        addr: String,
        pid: u32,
    }
    let runtime = guard::read(&dir.server_json(), SERVER_JSON_BYTES_MAX)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Runtime>(&bytes).ok())
        .filter(|runtime| runtime.pid == server.process.pid);
    runtime.map_or_else(|| "which does not listen yet".into(), |runtime| format!("http://{}", runtime.addr))
}
