//! Reading from any seq to the durable tail.

use std::sync::Arc;

use crate::error::Result;
use crate::event::{Filter, Seq, StoredEvent, Timestamp};
use crate::store::log::{Gap, Log};

/// A record whose bytes are whole but are no event that this program can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Its place.
    pub seq: Seq,
    /// When the journal took it.
    pub recorded: Timestamp,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Why it cannot be read.
    pub reason: String,
}

/// What a replay meets.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event.
    Event(StoredEvent),
    /// Seqs that cannot be read.
    Gap(Gap),
    /// A record that is no event to this program.
    Undecodable(Undecodable),
}

/// Reads a log from a seq to the durable tail, and on when that has moved.
pub struct Replay {}

impl Replay {
    /// From `from` on.
    pub fn new(log: &Arc<dyn Log>, from: Seq) -> Replay {
        let _ = (log, from);
        todo!()
    }

    /// Only what matches; gaps and undecodable records always pass.
    #[must_use]
    pub fn filtered(self, filter: Filter) -> Replay {
        let _ = filter;
        todo!()
    }

    /// Only what was recorded at or after `time`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn since(self, time: Timestamp) -> Result<Replay> {
        let _ = time;
        todo!()
    }

    /// Only what was recorded at or before `time`.
    #[must_use]
    pub fn until(self, time: Timestamp) -> Replay {
        let _ = time;
        todo!()
    }

    /// Only up to `seq`, included.
    #[must_use]
    pub fn through(self, seq: Seq) -> Replay {
        let _ = seq;
        todo!()
    }

    /// The next item; `None` at the end.
    ///
    /// # Errors
    /// When the log cannot be read now.
    #[expect(clippy::should_implement_trait, reason = "it can be called again after None")]
    pub fn next(&mut self) -> Result<Option<Item>> {
        todo!()
    }

    /// The seq that the next item begins with.
    pub fn position(&self) -> Seq {
        todo!()
    }
}

/// The events of one session in the order of their `time`, ties by seq: how a session is shown.
pub struct SessionOrder {}

impl SessionOrder {
    /// Reads through `log` once for the order.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(log: &Arc<dyn Log>, session: &str) -> Result<SessionOrder> {
        let _ = (log, session);
        todo!()
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest seq among them: where a replay of what is there now ends.
    pub fn last_seq(&self) -> Option<Seq> {
        todo!()
    }

    /// Gaps that were met while looking: events of the session may be missing there.
    pub fn gaps(&self) -> &[Gap] {
        todo!()
    }

    /// The next event.
    ///
    /// # Errors
    /// When the log cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot end with an error")]
    pub fn next(&mut self) -> Result<Option<StoredEvent>> {
        todo!()
    }
}
