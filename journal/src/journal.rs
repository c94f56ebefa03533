//! The journal in the hands of its one writer.

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Result;
use crate::options::Options;
use crate::reader::Reader;
use crate::recovered::Recovery;
use crate::ticket::Ticket;
use crate::types::{JournalId, Level, Micros, Seq};
use crate::watch::TailWatch;

/// An open journal. Cheap to clone; all clones are one journal. The caller holds the [`crate::Lock`].
#[derive(Clone, Debug)]
pub struct Journal {}

impl Journal {
    /// Opens the journal on `disk`, or makes one; recovers what a crash left.
    pub fn open(disk: Arc<dyn Disk>, options: Options, now: Micros) -> Result<(Journal, Recovery)> {
        let _ = (disk, options, now);
        todo!()
    }

    /// Takes `payloads` as one atomic batch and gives them their seqs. With `expected_tail`, only if that is the seq
    /// about to be given.
    pub fn submit(
        &self,
        payloads: &[&[u8]],
        now: Micros,
        level: Level,
        expected_tail: Option<Seq>,
    ) -> Result<Ticket> {
        let _ = (payloads, now, level, expected_tail);
        todo!()
    }

    /// Writes everything submitted so far; at level `disk`, flushes it too.
    pub fn flush(&self, level: Level) -> Result<()> {
        let _ = level;
        todo!()
    }

    /// Which journal this is.
    pub fn id(&self) -> JournalId {
        todo!()
    }

    /// The first seq that is retained; [`Seq::FIRST`] in a journal that lost nothing.
    pub fn first(&self) -> Seq {
        todo!()
    }

    /// The next seq to be given.
    pub fn tail(&self) -> Seq {
        todo!()
    }

    /// The highest durable seq; [`Seq::ZERO`] if there is none.
    pub fn durable(&self) -> Seq {
        todo!()
    }

    /// Whether a failed flush has ended writing, and why.
    pub fn poisoned(&self) -> Option<crate::Error> {
        todo!()
    }

    /// A watch of the durable tail.
    pub fn watch(&self) -> TailWatch {
        todo!()
    }

    /// A reader that begins at `from`.
    pub fn reader(&self, from: Seq) -> Reader {
        let _ = from;
        todo!()
    }

    /// Starts the thread that commits for all who submit. For servers; without it those who wait commit by themselves.
    pub fn start_committer(&self) -> Result<()> {
        todo!()
    }

    /// Writes and flushes everything, proves it with a last frame, cuts the file to its used length, and ends all
    /// clones: whatever is submitted afterwards is refused.
    pub fn close(self) -> Result<()> {
        todo!()
    }
}
