//! What travels over HTTP, written once for both ends: paths, headers, limits, JSON bodies, error codes and
//! the text of server-sent events.
//!
//! Nothing here opens a socket or reads a clock: everything is a function of values, so the server, the client
//! and the tests cannot disagree about a name or a number.

pub mod counters;
pub mod error;
pub mod search;
pub mod sse;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use counters::Counters;
pub use error::{ErrorBody, ErrorCode};
pub use search::{FoundEvent, FoundPage, SEARCH_HITS_DEFAULT};

/// Where each route lives. Templates use axum's `{name}` form; [`path::event`] and friends fill them in.
pub mod path {
    /// The only route without a token.
    pub const HEALTH: &str = "/health";
    /// Appends events.
    pub const EMIT: &str = "/events/emit";
    /// A page of events, or the stream for a client that asks for `text/event-stream`.
    pub const EVENTS: &str = "/events";
    /// The live stream.
    pub const STREAM: &str = "/events/stream";
    /// A session as it happened, at a speed.
    pub const REPLAY: &str = "/events/replay";
    /// One event by its seq.
    pub const EVENT: &str = "/events/{seq}";
    /// The payload of one Claude Code hook.
    pub const HOOK_CLAUDE: &str = "/hooks/claude";
    /// All sessions.
    pub const SESSIONS: &str = "/sessions";
    /// One session.
    pub const SESSION: &str = "/sessions/{id}";
    /// What happened in one session, in the order in which it happened.
    pub const SESSION_TIMELINE: &str = "/sessions/{id}/timeline";
    /// What the server counts.
    pub const METRICS: &str = "/metrics";
    /// Retention now.
    pub const GC: &str = "/admin/gc";
    /// A copy of the journal, to a directory of this machine.
    pub const BACKUP: &str = "/admin/backup";
    /// Projections folded anew while the old states are served.
    pub const REBUILD: &str = "/admin/rebuild";
    /// What a projection says, now or as of any moment.
    pub const STATE: &str = "/state/{projection}";
    /// Figures of any range.
    pub const STATS: &str = "/stats";
    /// How two sessions differ.
    pub const DIFF: &str = "/diff";
    /// The safe stop.
    pub const SHUTDOWN: &str = "/admin/shutdown";

    /// Every template with its methods, as `Allow` prints them.
    pub const ALL: &[(&str, &str)] = &[
        (HEALTH, "GET,HEAD"),
        (EMIT, "POST"),
        (EVENTS, "GET,HEAD"),
        (STREAM, "GET,HEAD"),
        (REPLAY, "GET,HEAD"),
        (EVENT, "GET,HEAD"),
        (HOOK_CLAUDE, "POST"),
        (SESSIONS, "GET,HEAD"),
        (SESSION, "GET,HEAD"),
        (SESSION_TIMELINE, "GET,HEAD"),
        (METRICS, "GET,HEAD"),
        (GC, "POST"),
        (BACKUP, "POST"),
        (REBUILD, "POST"),
        (STATE, "GET,HEAD"),
        (STATS, "GET,HEAD"),
        (DIFF, "GET,HEAD"),
        (SHUTDOWN, "POST"),
    ];

    /// The path of the event at `seq`.
    pub fn event(seq: u64) -> String {
        format!("/events/{seq}")
    }
}

/// Names of headers of our own, lower case as HTTP libraries want them.
pub mod header {
    /// On every answer that shows events: the id of the journal that they come from.
    pub const JOURNAL: &str = "mnemosyne-journal";
    /// Where the event of a hook went.
    pub const SEQ: &str = "mnemosyne-seq";
    /// The cursor of a client that reconnects, exclusive.
    pub const LAST_EVENT_ID: &str = "last-event-id";
    /// Said by browsers about who asks.
    pub const SEC_FETCH_SITE: &str = "sec-fetch-site";
}

/// Largest body of an ordinary request: a batch of a thousand events of about a kilobyte.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Largest hook payload: a tool's whole answer must not become a lost event. It is cut before it is stored.
pub const HOOK_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most events on one page of `GET /events`.
pub const PAGE_EVENTS_MAX: usize = 1_000;
/// Events on one page unless `limit` says otherwise.
pub const PAGE_EVENTS_DEFAULT: usize = 100;
/// Most connections at a time; one more is told so and closed.
pub const CONNECTIONS_MAX: usize = 4_096;
/// A client must have sent its whole header by then, and is disconnected when idle for as long.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// A client must have sent its whole body by then.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A silent stream says that it lives this often: proxies cut connections that are silent for 30 s or more.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What streams tell a client to wait before it reconnects.
pub const RETRY: Duration = Duration::from_secs(1);

const _: () = assert!(BODY_BYTES_MAX < HOOK_BODY_BYTES_MAX);

/// The answer of `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`; `read_only` once a failed flush has poisoned the journal's writer.
    pub status: String,
    /// The program's version.
    pub version: String,
    /// The server's own id, new at each start.
    pub instance_id: String,
    /// The highest seq that is durable; 0 when the journal is empty.
    pub tail: u64,
    /// Since the server began to listen.
    pub uptime_ms: u64,
}

/// The answer of `POST /events/emit`, given after the level was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// One for each event of the request, in its order.
    pub seqs: Vec<u64>,
    /// The level reached: `disk` or `os`.
    pub durability: String,
    /// Indexes of events that the journal already held; their seqs are those of the first time.
    pub duplicates: Vec<u64>,
}

/// A page of `GET /events`, oldest first. Generic over the text of one event, so that it is never parsed twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The events that match, each the same object as a stream's `data`.
    pub events: Vec<T>,
    /// The last seq that was looked at: what `after` must be to read on, now or later.
    pub next: u64,
    /// Whether the range asked for goes on beyond `next` already.
    pub more: bool,
    /// The highest durable seq when the page was made.
    pub tail: u64,
    /// Seqs in the range of this page that can no longer be read.
    pub gaps: Vec<sse::Gap>,
}

/// The answer of `POST /admin/rebuild`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilds {
    /// The version of this object.
    pub version: u32,
    /// One for each projection.
    pub projections: Vec<Rebuilt>,
}

/// What became of folding a projection anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// The projection.
    pub projection: String,
    /// The seq at which the two states were compared.
    pub seq: u64,
    /// Events that were folded.
    pub events: u64,
    /// Seqs that are not in the new state, because they cannot be read.
    pub missing: u64,
    /// The hash of the state that was served.
    pub hash_before: String,
    /// The hash of the state that was folded anew.
    pub hash_after: String,
    /// Whether the new state is served now; not when it misses more than the one that was.
    pub replaced: bool,
    /// How long it took.
    pub duration_ms: u64,
}

/// How an acknowledgement is asked for and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After a flush to the disk.
    #[default]
    Disk,
    /// After the operating system took it: survives the process, not a power cut.
    Os,
}

impl Durability {
    /// The word in parameters and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Durability::Disk => "disk",
            Durability::Os => "os",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Durability> {
        [Durability::Disk, Durability::Os].into_iter().find(|level| level.name() == name)
    }
}

/// The runtime file `server.json`: how a client finds the server of a data directory, and is let in.
///
/// It is written, mode 0600, once the server listens, and removed at a graceful stop. It proves nothing by
/// itself: a client believes it only while the lock's holder is the process that it names.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The address really bound.
    pub addr: SocketAddr,
    /// The server's process.
    pub pid: u32,
    /// When that process started, in the kernel's ticks: a pid alone can be given to another.
    pub start_ticks: u64,
    /// 256 bits in lower-case hex.
    pub token: String,
    /// The server's own id.
    pub instance_id: String,
    /// The journal that it holds.
    pub journal_id: String,
    /// The program's version.
    pub version: String,
    /// When it began to listen, RFC 3339.
    pub started_at: String,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("addr", &self.addr).field("pid", &self.pid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_a_section_for_every_route_and_no_other() {
        let page = include_str!("../../docs/http.md");
        let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let mut wanted: Vec<_> = path::ALL
            .iter()
            .map(|(path, methods)| format!("{} {path}", methods.split(',').next().unwrap_or_default()))
            .collect();
        let mut found = sections.clone();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        for section in sections {
            let text = page.split_once(&format!("### {section}\n")).map_or("", |(_, after)| after);
            let text = text.split("\n##").next().unwrap_or_default();
            assert!(text.contains("$ curl"), "an example for {section}");
        }
    }

    #[test]
    fn debug_output_of_the_runtime_file_holds_no_token() {
        let runtime = Runtime {
            addr: SocketAddr::from(([127, 0, 0, 1], 3000)),
            pid: 1,
            start_ticks: 2,
            token: "deadbeef".into(),
            instance_id: "i".into(),
            journal_id: "j".into(),
            version: "0".into(),
            started_at: "t".into(),
        };
        assert!(!format!("{runtime:?}").contains("deadbeef"));
    }
}
