//! Following: replay from a cursor, then the live end, on one path.
//!
//! The log publishes one number, the durable tail. A subscription is a cursor: it reads while the tail is ahead and waits for
//! the number when it is not. There is no hand-over from "replay" to "live", so there is nothing to miss or to get twice between
//! them. A slow subscriber costs its cursor: it reads files where a quick one finds the event in the shared window of recent
//! ones, and is told so once ([`Delivery::Lag`]); nobody waits for it and nothing of its is dropped.
//!
//! A filter that skips much still moves the cursor ([`Delivery::Checkpoint`]), so that who reconnects does not scan again.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::event::{Filter, Seq, StoredEvent};
use crate::store::log::{Gap, Log, LogItem, LogReader, TailWatch};
use crate::store::replay::{Item, Undecodable};

/// Skipped seqs after which the cursor is told.
pub const CHECKPOINT_SEQS: u64 = 1000;
/// How far a subscriber that had caught up may fall behind before it is told.
pub const LAG_EVENTS_MAX: u64 = 4096;
/// Records that are read in one go before others get the thread.
const TURN_RECORDS: u32 = 256;

/// What a subscriber gets. Seqs rise strictly.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// An event that matches; near the live end one copy for all subscribers.
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
pub struct Subscription {
    reader: Box<dyn LogReader>,
    watch: Box<dyn TailWatch>,
    recent: Option<Arc<Recent>>,
    filter: Filter,
    /// The next seq to look at.
    next: Seq,
    /// Seqs that the filter skipped since the last delivery.
    skipped: u64,
    /// Whether the live end was reached, and falling behind was not told since.
    live: bool,
    turn: u32,
}

enum Step {
    Deliver(Delivery),
    CaughtUp,
    /// Enough for now; there is more.
    Yield,
}

impl Subscription {
    /// Follows `log` from `from`, included.
    ///
    /// # Errors
    /// [`Error::CursorAhead`] when `from` lies beyond the next seq.
    pub fn new(log: &Arc<dyn Log>, from: Seq, filter: Filter) -> Result<Subscription> {
        Subscription::with_recent(log, from, filter, None)
    }

    pub(super) fn with_recent(
        log: &Arc<dyn Log>,
        from: Seq,
        filter: Filter,
        recent: Option<Arc<Recent>>,
    ) -> Result<Subscription> {
        let next = from.max(Seq::FIRST);
        if next > log.tail() {
            return Err(Error::CursorAhead { asked: next.prev().get(), last: log.durable().get() });
        }
        let (reader, watch) = (log.read(next), log.watch());
        Ok(Subscription { reader, watch, recent, filter, next, skipped: 0, live: false, turn: 0 })
    }

    /// The next delivery; `None` when the log was closed and everything durable was delivered. Safe to cancel.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Delivery>> {
        loop {
            let closed = self.watch.is_closed();
            match self.step()? {
                Step::Deliver(delivery) => return Ok(Some(delivery)),
                Step::Yield => tokio::task::yield_now().await,
                // Closed before the last look: nothing came after it.
                Step::CaughtUp if closed => return Ok(None),
                Step::CaughtUp => {
                    poll_fn(|context| self.watch.poll_beyond(self.next.prev(), context.waker())).await;
                }
            }
        }
    }

    /// What is there now, without waiting.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn try_next(&mut self) -> Result<Option<Delivery>> {
        loop {
            match self.step()? {
                Step::Deliver(delivery) => return Ok(Some(delivery)),
                Step::Yield => {}
                Step::CaughtUp => return Ok(None),
            }
        }
    }

    /// The same, blocking up to `timeout`. `None` when that has passed; [`Subscription::is_finished`] tells whether more can come.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn wait_next(&mut self, timeout: Duration) -> Result<Option<Delivery>> {
        let deadline = Instant::now() + timeout;
        loop {
            let closed = self.watch.is_closed();
            if let Some(delivery) = self.try_next()? {
                return Ok(Some(delivery));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if closed || left.is_zero() {
                return Ok(None);
            }
            self.watch.wait_beyond(self.next.prev(), left);
        }
    }

    /// Whether the log was closed and everything durable was delivered.
    pub fn is_finished(&self) -> bool {
        self.watch.is_closed() && self.next > self.watch.get()
    }

    /// The last seq that was delivered or skipped: where to go on after.
    pub fn cursor(&self) -> Seq {
        self.next.prev()
    }

    fn step(&mut self) -> Result<Step> {
        let durable = self.watch.get();
        let behind = durable.get().saturating_sub(self.cursor().get());
        if self.live && behind > LAG_EVENTS_MAX {
            self.live = false;
            return Ok(Step::Deliver(Delivery::Lag { behind }));
        }
        loop {
            if self.turn >= TURN_RECORDS {
                self.turn = 0;
                return Ok(Step::Yield);
            }
            self.turn += 1;
            let Some(item) = self.read(durable)? else {
                self.live = true;
                self.turn = 0;
                return Ok(Step::CaughtUp);
            };
            if let Delivery::Event(stored) = &item
                && !self.filter.matches(stored)
            {
                self.skipped += 1;
                if self.skipped < CHECKPOINT_SEQS {
                    continue;
                }
                self.skipped = 0;
                return Ok(Step::Deliver(Delivery::Checkpoint { seq: self.cursor() }));
            }
            self.skipped = 0;
            return Ok(Step::Deliver(item));
        }
    }

    /// What stands at the cursor, which then moves past it.
    fn read(&mut self, durable: Seq) -> Result<Option<Delivery>> {
        if let Some(stored) = self.recent.as_ref().and_then(|recent| recent.get(self.next)) {
            self.next = self.next.next();
            return Ok(Some(Delivery::Event(stored)));
        }
        if self.reader.position() != self.next {
            self.reader.seek(self.next);
        }
        let delivery = match self.reader.next()? {
            None => return Ok(None),
            Some(LogItem::Gap(gap)) => {
                self.next = gap.to.next();
                Delivery::Gap(gap)
            }
            Some(LogItem::Record { seq, recorded, payload }) => {
                self.next = seq.next();
                match Item::decode(seq, recorded, payload) {
                    Item::Event(stored) => {
                        let stored = Arc::new(stored);
                        if let Some(recent) = &self.recent {
                            recent.put(&stored, durable);
                        }
                        Delivery::Event(stored)
                    }
                    Item::Undecodable(record) => Delivery::Undecodable(Arc::new(record)),
                    Item::Gap(gap) => Delivery::Gap(gap),
                }
            }
        };
        Ok(Some(delivery))
    }
}

/// The last events before the live end, decoded once for all subscribers. Holds durable events only, because who puts one here
/// has read it from the log.
pub(super) struct Recent {
    slots: Vec<Mutex<Option<Arc<StoredEvent>>>>,
}

/// Events in the window: what a subscriber that keeps up can be behind.
const RECENT_EVENTS: u64 = 1024;
/// An event larger than this is decoded by each: the window then takes 8 MiB at most.
const RECENT_PAYLOAD_BYTES_MAX: usize = 8 << 10;

impl Recent {
    pub(super) fn new() -> Recent {
        Recent { slots: (0..RECENT_EVENTS).map(|_| Mutex::new(None)).collect() }
    }

    fn slot(&self, seq: Seq) -> Option<&Mutex<Option<Arc<StoredEvent>>>> {
        self.slots.get(usize::try_from(seq.get() % RECENT_EVENTS).ok()?)
    }

    fn get(&self, seq: Seq) -> Option<Arc<StoredEvent>> {
        let slot = self.slot(seq)?.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().filter(|stored| stored.seq == seq).cloned()
    }

    fn put(&self, stored: &Arc<StoredEvent>, durable: Seq) {
        let near = stored.seq.get() + RECENT_EVENTS > durable.get();
        if near
            && stored.event.payload.as_str().len() <= RECENT_PAYLOAD_BYTES_MAX
            && let Some(slot) = self.slot(stored.seq)
        {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(stored.clone());
        }
    }
}

impl super::Store {
    /// Follows from `from`, included, what matches `filter`.
    ///
    /// # Errors
    /// [`Error::CursorAhead`] when `from` lies beyond the next seq.
    pub fn subscribe(&self, from: Seq, filter: Filter) -> Result<Subscription> {
        Subscription::with_recent(&self.inner.log, from, filter, Some(self.inner.recent.clone()))
    }
}

#[cfg(test)]
mod tests;
