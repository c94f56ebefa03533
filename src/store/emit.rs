//! Emitting: redact, encode, drain, dedupe, append.
//!
//! Redacting and encoding happen before the writer's lock is taken, waiting for the disk after it is given back: under the lock
//! are only a look at the inbox, the ids, and the hand-over to the log, which fixes the order. Many emitters thus share one
//! flush, and none waits for another's.
//!
//! A duplicate is answered with the first one's seq once the first one is durable. If the first one was still on its way
//! and did not arrive (a full disk), the answer is an error: to say "duplicate" then would lose the event.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::event::{Event, Seq};
use crate::store::counters::{Offer, Way};
use crate::store::ids::{self, Hit};
use crate::store::log::{Appended, Appending, Level, TailWatch};
use crate::store::open::{Inner, Store, Writer};

/// Most events in one batch.
pub const BATCH_EVENTS_MAX: usize = 1000;
/// Most bytes in one batch, in disk form.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

/// Tries to append while the log takes back what went before, each for a write that failed in between.
const APPEND_TRIES: u32 = 8;

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

impl Store {
    /// Appends `events` as one batch, all or nothing. Secrets are taken out and payloads cut first. An event whose id the
    /// journal holds already is not appended again: the answer names the first one's seq. With `expected`, only if that is the
    /// seq that the first new event would get; a batch of duplicates alone is answered whatever is expected, so that a
    /// retry gets its answer. What lies in the inbox goes before.
    ///
    /// Returns when the order is fixed; the [`Pending`] waits for `level`. Blocks only for memory and the page cache.
    ///
    /// # Errors
    /// [`Error::BatchSize`], [`Error::Conflict`], [`Error::LevelUnsupported`], [`Error::JournalPoisoned`], [`Error::StorageFull`],
    /// [`Error::Closed`]. Nothing of the batch was kept then.
    pub fn emit(&self, events: Vec<Event>, level: Level, expected: Option<Seq>) -> Result<Pending> {
        self.emit_from(Way::Own, events, level, expected)
    }

    /// [`Store::emit`] for events that came on this way: what becomes of them is entered there in the [books](Store::books).
    ///
    /// # Errors
    /// As [`Store::emit`].
    pub fn emit_from(
        &self,
        way: Way,
        events: Vec<Event>,
        level: Level,
        expected: Option<Seq>,
    ) -> Result<Pending> {
        self.emit_after(way, events, level, expected, Writer::drain_before_batch)
    }

    /// The store's own events at an opening: they go before the backlog.
    pub(super) fn emit_without_drain(&self, events: Vec<Event>, level: Level) -> Result<Pending> {
        self.emit_after(Way::Own, events, level, None, |_, _| Ok(()))
    }

    fn emit_after(
        &self,
        way: Way,
        events: Vec<Event>,
        level: Level,
        expected: Option<Seq>,
        before: impl Fn(&mut Writer, &Inner) -> Result<()>,
    ) -> Result<Pending> {
        let mut offer = self.inner.counters.offer(way, events.len() as u64);
        match self.append_after(events, level, expected, before) {
            Ok(batch) => Ok(Pending { run: Some(batch.into_run(self.inner.clone(), offer)) }),
            Err(error) => {
                offer.rest_is_refused(&error);
                Err(error)
            }
        }
    }

    fn append_after(
        &self,
        mut events: Vec<Event>,
        level: Level,
        expected: Option<Seq>,
        before: impl Fn(&mut Writer, &Inner) -> Result<()>,
    ) -> Result<Batch> {
        let inner = &self.inner;
        inner.log.promises().check(level)?;
        let encoded: Vec<(Uuid, Vec<u8>)> = events
            .iter_mut()
            .map(|event| {
                event.redact(&inner.redactor);
                (event.id, event.encode())
            })
            .collect();
        check_size(&encoded)?;
        let mut writer = inner.writer();
        writer.check_open()?;
        for _ in 0..APPEND_TRIES {
            writer.ids.begin();
            before(&mut writer, inner)?;
            if let Some(batch) = writer.append(inner, &encoded, level, expected)? {
                return Ok(batch);
            }
        }
        Err(Error::StorageFull { cause: "what was to go before could not be kept".into() })
    }
}

fn check_size(encoded: &[(Uuid, Vec<u8>)]) -> Result<()> {
    let bytes = encoded.iter().map(|(_, bytes)| bytes.len()).sum();
    if encoded.is_empty() || encoded.len() > BATCH_EVENTS_MAX || bytes > BATCH_BYTES_MAX {
        let (events_max, bytes_max) = (BATCH_EVENTS_MAX, BATCH_BYTES_MAX);
        return Err(Error::BatchSize { events: encoded.len(), bytes, events_max, bytes_max });
    }
    Ok(())
}

impl Writer {
    fn append(
        &mut self,
        inner: &Inner,
        encoded: &[(Uuid, Vec<u8>)],
        level: Level,
        expected: Option<Seq>,
    ) -> Result<Option<Batch>> {
        let mut sorted = self.sort_out(encoded)?;
        let fresh: Vec<&[u8]> = sorted.fresh.iter().map(|index| encoded[*index].1.as_slice()).collect();
        let appending = match fresh.as_slice() {
            [] => None,
            fresh => {
                let actual = self.ids.next();
                if let Some(expected) = expected.filter(|expected| *expected != actual) {
                    return Err(Error::Conflict { expected: expected.get(), actual: actual.get() });
                }
                let ids = sorted.fresh.iter().map(|index| encoded[*index].0);
                let appending = self.ids.append(fresh, ids, level, inner.clock.now())?;
                let Some(appending) = appending else { return Ok(None) };
                Some(appending)
            }
        };
        let mut seq = appending.as_ref().map_or(Seq::ZERO, Appending::first);
        for index in &sorted.fresh {
            sorted.seqs[*index] = seq;
            seq = seq.next();
        }
        for (index, first) in &sorted.twice {
            sorted.seqs[*index] = sorted.seqs[*first];
        }
        Ok(Some(Batch { appending, sorted }))
    }

    fn sort_out(&mut self, encoded: &[(Uuid, Vec<u8>)]) -> Result<Sorted> {
        let mut sorted = Sorted { seqs: vec![Seq::ZERO; encoded.len()], ..Sorted::default() };
        // One alone is no other's double.
        let mut seen = (encoded.len() > 1).then(HashMap::new);
        for (index, (id, _)) in encoded.iter().enumerate() {
            if let Some(first) = seen.as_ref().and_then(|seen| seen.get(id)) {
                sorted.twice.push((index, *first));
                sorted.duplicates.push(index);
                continue;
            }
            if let Some(seen) = &mut seen {
                seen.insert(*id, index);
            }
            let Some(hit) = self.ids.find(*id)? else {
                sorted.fresh.push(index);
                continue;
            };
            sorted.seqs[index] = hit.seq();
            sorted.duplicates.push(index);
            if let Hit::OnItsWay(seq) = hit {
                sorted.awaited.push((*id, seq));
            }
        }
        Ok(sorted)
    }
}

/// A batch that has its seqs.
struct Batch {
    appending: Option<Appending>,
    sorted: Sorted,
}

impl Batch {
    fn into_run(self, inner: Arc<Inner>, offer: Offer) -> Run {
        let Sorted { fresh, duplicates, awaited, seqs, .. } = self.sorted;
        let emitted = Emitted { seqs, durability: Level::Disk, duplicates };
        let (fresh, appending) = (fresh.len() as u64, self.appending);
        Run { inner, offer, fresh, appending, awaited, watch: None, emitted }
    }
}

/// A batch, told apart by index.
#[derive(Default)]
struct Sorted {
    /// To be appended.
    fresh: Vec<usize>,
    /// Not to be appended, for either reason.
    duplicates: Vec<usize>,
    /// The same id as an earlier one of this batch: (index, index of the earlier one).
    twice: Vec<(usize, usize)>,
    /// Duplicates of events that are not durable yet.
    awaited: Vec<(Uuid, Seq)>,
    seqs: Vec<Seq>,
}

/// A batch on its way: a future, or [`Pending::wait`]. Dropping it does not take the batch back.
#[must_use = "without waiting, nothing is known about the fate of the events"]
pub struct Pending {
    /// `None` once it was decided.
    run: Option<Run>,
}

/// A batch until it is decided.
pub(super) struct Run {
    inner: Arc<Inner>,
    pub(super) offer: Offer,
    /// How many of the events are new.
    fresh: u64,
    appending: Option<Appending>,
    /// Duplicates of events on their way.
    awaited: Vec<(Uuid, Seq)>,
    watch: Option<Box<dyn TailWatch>>,
    emitted: Emitted,
}

impl Pending {
    /// The seqs, as they were given; theirs for good once the level is reached.
    pub fn seqs(&self) -> &[Seq] {
        self.run.as_ref().map_or(&[], |run| &run.emitted.seqs)
    }

    /// For who is about to wait as a future; see [`Appending::commit_if_alone`].
    pub fn commit_if_alone(&self, mut blocking: impl FnMut(&mut dyn FnMut())) {
        if let Some(appending) = self.run.as_ref().and_then(|run| run.appending.as_ref()) {
            appending.commit_if_alone(&mut blocking);
        }
    }

    /// Blocks until the level is reached.
    ///
    /// # Errors
    /// When the batch was not kept, or the event that it duplicates was not.
    pub fn wait(mut self) -> Result<Emitted> {
        self.run.take().map_or(Err(Error::Closed { reason: "the batch was decided before" }), Run::wait)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // The log decides on it whether anybody waits or not, and the books want to know.
        if let Some(run) = self.run.take() {
            Offer::adopt(run);
        }
    }
}

impl Future for Pending {
    type Output = Result<Emitted>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(run) = &mut self.run else {
            return Poll::Ready(Err(Error::Closed { reason: "the batch was decided before" }));
        };
        let outcome = ready!(run.poll(context));
        self.run = None;
        Poll::Ready(outcome)
    }
}

impl Run {
    fn wait(mut self) -> Result<Emitted> {
        if let Some(appending) = self.appending.take() {
            let outcome = appending.wait();
            self.appended(outcome)?;
        }
        if self.awaited_last().is_some_and(|last| self.inner.log.durable() < last) {
            self.inner.log.flush(Level::Disk).inspect_err(|error| self.offer.rest_is_refused(error))?;
        }
        self.confirm_awaited()?;
        Ok(self.emitted)
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Emitted>> {
        if let Some(appending) = &mut self.appending {
            let outcome = ready!(Pin::new(appending).poll(context));
            self.appending = None;
            self.appended(outcome)?;
        }
        if let Some(last) = self.awaited_last() {
            let watch = self.watch.get_or_insert_with(|| self.inner.log.watch());
            let reached = watch.poll_beyond(last.prev(), context.waker());
            // Nothing will move the tail if the log took the first one back; it wakes whoever waits all the same.
            let log = &self.inner.log;
            if reached.is_pending() && last < log.tail() && log.poisoned().is_none() {
                return Poll::Pending;
            }
        }
        self.confirm_awaited()?;
        let emitted =
            Emitted { seqs: Vec::new(), durability: self.emitted.durability, duplicates: Vec::new() };
        Poll::Ready(Ok(std::mem::replace(&mut self.emitted, emitted)))
    }

    fn appended(&mut self, outcome: Result<Appended>) -> Result<()> {
        let appended = outcome.inspect_err(|error| self.offer.rest_is_refused(error))?;
        self.emitted.durability = appended.level;
        self.offer.committed(appended.level, self.fresh);
        Ok(())
    }

    fn awaited_last(&self) -> Option<Seq> {
        self.awaited.iter().map(|(_, seq)| *seq).max()
    }

    /// Enters what is left: the duplicates.
    fn confirm_awaited(&mut self) -> Result<()> {
        let confirmed = self.awaited_are_held();
        match &confirmed {
            Ok(()) => self.offer.rest_is_known(),
            Err(error) => self.offer.rest_is_refused(error),
        }
        confirmed
    }

    fn awaited_are_held(&self) -> Result<()> {
        for (id, seq) in &self.awaited {
            if !ids::holds(&*self.inner.log, *seq, *id)? {
                return Err(self.inner.log.poisoned().unwrap_or_else(|| Error::StorageFull {
                    cause: "the first of two events with one id was not kept".into(),
                }));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
