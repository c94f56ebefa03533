//! What the writer has done since the journal was opened, for whoever watches it. Counting costs an addition; nothing here
//! decides anything.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::pending::Group;

/// What was written since the journal was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Batches, each a header and its records.
    pub batches: u64,
    /// Records.
    pub records: u64,
    /// Bytes of these batches with headers and padding; headers and footers of segments are not among them.
    pub bytes: u64,
    /// Flushes of a segment's data that succeeded.
    pub flushes: u64,
}

/// [`Stats`] while they are counted. Only the writer adds; others may read numbers of two moments.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    flushes: AtomicU64,
}

impl Tally {
    pub(crate) fn written(&self, run: &[Group], bytes: u64) {
        let records = run.iter().map(|group| u64::from(group.count)).sum();
        self.batches.fetch_add(run.len() as u64, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn flushed(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            batches: self.batches.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            flushes: self.flushes.load(Ordering::Relaxed),
        }
    }
}
