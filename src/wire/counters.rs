//! What a server counts: the numbers behind `GET /metrics`, as one value for programs of ours.
//!
//! Every number is since the server's start unless it says otherwise. The books of events balance at every moment: for each way,
//! `offered = committed_disk + committed_os + duplicates + refused + pending`; and once nothing is pending,
//! `opening_seq` and all that was committed is the last seq.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All of it at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Version of this object.
    pub version: u32,
    /// The server's own id, new at each start.
    pub instance_id: String,
    /// The program's version.
    pub program_version: String,
    /// Since the server began to listen.
    pub uptime_ms: u64,
    /// What became of events, by the way on which they came: `http`, `hook`, `inbox`, `import`, `own`.
    pub events: BTreeMap<String, EventCounts>,
    /// The inbox.
    pub inbox: InboxCounts,
    /// The journal.
    pub journal: JournalCounts,
    /// What reads it.
    pub streams: StreamCounts,
    /// Requests that were answered, by route and status.
    pub requests: Vec<RequestCount>,
    /// Connections.
    pub connections: ConnectionCounts,
}

/// What became of the events that came on one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Events that came.
    pub offered: u64,
    /// Appended and acknowledged after a flush.
    pub committed_disk: u64,
    /// Appended and acknowledged when the operating system had them.
    pub committed_os: u64,
    /// Known already.
    pub duplicates: u64,
    /// Refused, by the code of the error; a file of the inbox that is no event is `quarantined`.
    pub refused: BTreeMap<String, u64>,
    /// On their way.
    pub pending: u64,
}

/// The inbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxCounts {
    /// Events that lie there now.
    pub waiting: u64,
    /// Events that could not even be put there, since the data directory was made.
    pub failed: u64,
}

/// The journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalCounts {
    /// The last seq that the journal held when it was opened.
    pub opening_seq: u64,
    /// The last seq that was given out.
    pub last_seq: u64,
    /// The highest durable seq.
    pub durable_seq: u64,
    /// How many seqs the sessions projection is behind it.
    pub projection_lag: u64,
    /// Batches written.
    pub batches: u64,
    /// Records written.
    pub records: u64,
    /// Bytes of these batches.
    pub bytes: u64,
    /// Flushes of the journal's files.
    pub flushes: u64,
}

/// Streams of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCounts {
    /// Opened.
    pub opened: u64,
    /// Open now.
    pub open: u64,
    /// Open now and behind the live end, of those that had reached it.
    pub lagging: u64,
    /// How often one fell behind.
    pub lags: u64,
    /// Events handed to the sockets of streams; one event to two streams is two.
    pub deliveries: u64,
    /// Gaps told to streams.
    pub gaps: u64,
}

/// Requests of one route that were answered with one status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCount {
    /// The route, as the interface writes it; `other` for what is none.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// Connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// Accepted and served.
    pub opened: u64,
    /// Open now.
    pub open: u64,
    /// Turned away because too many were open.
    pub turned_away: u64,
}
