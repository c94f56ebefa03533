//! Following: replay from a cursor, then the live end, one path.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::event::{Filter, Seq, StoredEvent};
use crate::store::log::{Gap, Log};
use crate::store::replay::Undecodable;

/// What a subscriber gets. Seqs rise strictly.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// An event that matches; one copy for all subscribers.
    Event(Arc<StoredEvent>),
    /// Seqs that cannot be read; the cursor is past them.
    Gap(Gap),
    /// A record that is no event to this program.
    Undecodable(Arc<Undecodable>),
    /// The filter skipped everything up to here, included.
    Checkpoint {
        /// The last seq that was skipped.
        seq: Seq,
    },
    /// The subscriber fell behind and reads files again; nothing is lost.
    Lag {
        /// How many events it is behind the durable tail.
        behind: u64,
    },
}

/// A follower of the log.
pub struct Subscription {}

impl Subscription {
    /// Follows `log` from `from`, included.
    ///
    /// # Errors
    /// [`crate::Error::CursorAhead`] when `from` lies beyond the next seq.
    pub fn new(log: &Arc<dyn Log>, from: Seq, filter: Filter) -> Result<Subscription> {
        let _ = (log, from, filter);
        todo!()
    }

    /// The next delivery; `None` when the store was closed and everything durable was delivered. Safe to cancel.
    ///
    /// # Errors
    /// When the log cannot be read.
    #[expect(clippy::should_implement_trait, reason = "asynchronous")]
    pub async fn next(&mut self) -> Result<Option<Delivery>> {
        todo!()
    }

    /// What is there now, without waiting.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn try_next(&mut self) -> Result<Option<Delivery>> {
        todo!()
    }

    /// The same, blocking up to `timeout`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn wait_next(&mut self, timeout: Duration) -> Result<Option<Delivery>> {
        let _ = timeout;
        todo!()
    }

    /// The last seq that was delivered or skipped: where to go on after.
    pub fn cursor(&self) -> Seq {
        todo!()
    }
}

impl super::Store {
    /// Follows from `from`, included, what matches `filter`.
    ///
    /// # Errors
    /// [`crate::Error::CursorAhead`] when `from` lies beyond the next seq.
    pub fn subscribe(&self, from: Seq, filter: Filter) -> Result<Subscription> {
        Subscription::new(&self.inner.log, from, filter)
    }

    /// Reads from `from` to the durable tail.
    pub fn replay(&self, from: Seq) -> super::Replay {
        super::Replay::new(&self.inner.log, from)
    }

    /// The events of one session, in the order of their time.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn session(&self, session: &str) -> Result<super::SessionOrder> {
        super::SessionOrder::new(&self.inner.log, session)
    }

    /// One event.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn get(&self, seq: Seq) -> Result<Option<super::Item>> {
        let _ = seq;
        todo!()
    }
}
