//! Following: replay from a cursor, then the live end, on one path.
//!
//! The log publishes one number, the durable tail. A subscription is a cursor: it reads while the tail is ahead and waits for
//! the number when it is not. There is no hand-over from "replay" to "live", so there is nothing to miss or to get twice between
//! them. A slow subscriber costs its cursor: it reads files where a quick one finds the event in the shared window of recent
//! ones, and is told so once ([`Delivery::Lag`]); nobody waits for it and nothing of its is dropped. A reader of the files holds
//! what it has read (a batch of many megabytes, if there is one that large), so who is going to wait for somebody who may never come back
//! lays it down ([`Subscription::lay_down`]): a few readers serve all who wait.
//!
//! A filter that skips much still moves the cursor ([`Delivery::Checkpoint`]), so that who reconnects does not scan again.

mod relay;
mod shared;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use relay::Place;
pub(super) use shared::Shared;

use crate::error::{Error, Result};
use crate::event::{Filter, Seq, StoredEvent};
use crate::store::log::{Gap, Log, LogItem, LogReader, TailWatch};
use crate::store::replay::{Item, Undecodable};
use crate::store::sync::{Control, is_broken};

/// Skipped seqs after which the cursor is told.
pub const CHECKPOINT_SEQS: u64 = 1000;
/// How far a subscriber that had caught up may fall behind before it is told.
pub const LAG_EVENTS_MAX: u64 = if cfg!(shuttle) { 2 } else { 4096 };
/// Records that are read in one go before others get the thread.
const TURN_RECORDS: u32 = if cfg!(shuttle) { 2 } else { 256 };

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
    log: Arc<dyn Log>,
    /// None until files have to be read, and after it was laid down.
    reader: Option<Box<dyn LogReader>>,
    watch: Box<dyn TailWatch>,
    shared: Arc<Shared>,
    /// Among those who wait.
    place: Place,
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
        Subscription::sharing(log, from, filter, Arc::new(Shared::nothing()))
    }

    fn sharing(log: &Arc<dyn Log>, from: Seq, filter: Filter, shared: Arc<Shared>) -> Result<Subscription> {
        let next = from.max(Seq::FIRST);
        if next > log.tail() {
            return Err(Error::CursorAhead { asked: next.prev().get(), last: log.durable().get() });
        }
        Ok(Subscription {
            log: log.clone(),
            reader: None,
            watch: log.watch(),
            shared,
            place: Place::default(),
            filter,
            next,
            skipped: 0,
            live: false,
            turn: 0,
        })
    }

    /// The next delivery; `None` when the log was closed and everything durable was delivered. Safe to cancel.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Delivery>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for who polls by hand.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Delivery>>> {
        loop {
            let closed = self.watch.is_closed();
            match self.step()? {
                Step::Deliver(delivery) => return Poll::Ready(Ok(Some(delivery))),
                Step::Yield => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // Closed before the last look: nothing came after it.
                Step::CaughtUp if closed => return Poll::Ready(Ok(None)),
                Step::CaughtUp if is_broken(Control::AsksForTheEndLast) && self.watch.is_closed() => {
                    return Poll::Ready(Ok(None));
                }
                Step::CaughtUp => {
                    let after = self.waits_after();
                    ready!(self.poll_beyond(after, context));
                }
            }
        }
    }

    fn poll_beyond(&mut self, after: Seq, context: &Context<'_>) -> Poll<()> {
        let (relay, waker) = (&self.shared.relay, context.waker());
        let relayed = relay.poll_beyond(&mut self.place, &*self.watch, after, waker);
        relayed.unwrap_or_else(|| self.watch.poll_beyond(after, waker).map(|_| ()))
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
            let after = self.waits_after();
            self.watch.wait_beyond(after, left);
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

    /// Goes on after `cursor`, which somebody else with the same filter has reached from here, or back to what was delivered
    /// last, to have it delivered again.
    pub fn go_to(&mut self, cursor: Seq) {
        self.next = cursor.next();
        self.skipped = 0;
    }

    /// Gives up what was read ahead; it is read again when it is asked for. To be called where nobody knows when that will be.
    pub fn lay_down(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.shared.lay_down(reader);
        }
    }

    /// The seq beyond which the live end has to be for it to go on: its own cursor, whatever has come since it looked.
    fn waits_after(&mut self) -> Seq {
        if is_broken(Control::JumpsToTheLiveEnd) {
            self.next = self.watch.get().next();
        }
        if is_broken(Control::WaitsBehindTheLiveEnd) { self.watch.get() } else { self.cursor() }
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
        // Without this look, everybody who has caught up would take a reader to be told that there is nothing.
        if self.next > durable {
            return Ok(None);
        }
        if let Some(stored) = self.shared.recent(self.next) {
            self.next = self.next.next();
            return Ok(Some(Delivery::Event(stored)));
        }
        let reader = self.reader.get_or_insert_with(|| self.shared.reader(&*self.log, self.next));
        if reader.position() != self.next {
            reader.seek(self.next);
        }
        let delivery = match reader.next()? {
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
                        self.shared.keep(&stored, durable);
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

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.relay.leave(&self.place);
    }
}

impl super::Store {
    /// Follows from `from`, included, what matches `filter`.
    ///
    /// # Errors
    /// [`Error::CursorAhead`] when `from` lies beyond the next seq.
    pub fn subscribe(&self, from: Seq, filter: Filter) -> Result<Subscription> {
        Subscription::sharing(&self.inner.log, from, filter, self.inner.shared.clone())
    }
}

#[cfg(test)]
mod tests;
