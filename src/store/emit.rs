//! Emitting: redact, encode, drain, dedupe, append.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::event::{Event, Seq};
use crate::store::log::Level;
use crate::store::open::Store;

/// Most events in one batch.
pub const BATCH_EVENTS_MAX: usize = 1000;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The seq of each event, in the order of the request; of a duplicate, the seq of the first.
    pub seqs: Vec<Seq>,
    /// The level that was reached.
    pub durability: Level,
    /// Which events of the request (by index) the journal held already, or the request held twice.
    pub duplicates: Vec<usize>,
}

/// A batch on its way: a future, or [`Pending::wait`].
#[must_use = "without waiting, nothing is known about the fate of the events"]
pub struct Pending {}

impl Pending {
    /// Blocks until the level is reached.
    ///
    /// # Errors
    /// When the batch was not kept.
    pub fn wait(self) -> Result<Emitted> {
        todo!()
    }
}

impl Future for Pending {
    type Output = Result<Emitted>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = context;
        todo!()
    }
}

impl Store {
    /// Appends `events` as one batch, all or nothing. Secrets are taken out and payloads cut first. An event whose id the
    /// journal holds already is not appended again: the answer names the first one's seq. With `expected`, only if that is the
    /// seq that the first new event would get. What lies in the inbox goes before.
    ///
    /// Returns when the order is fixed; the [`Pending`] waits for `level`. Blocks only for memory and the page cache.
    ///
    /// # Errors
    /// [`crate::Error::BatchSize`], [`crate::Error::Conflict`], [`crate::Error::JournalPoisoned`], [`crate::Error::StorageFull`],
    /// [`crate::Error::Closed`]. Nothing of the batch was kept then.
    pub fn emit(&self, events: Vec<Event>, level: Level, expected: Option<Seq>) -> Result<Pending> {
        let _ = (events, level, expected);
        todo!()
    }
}
