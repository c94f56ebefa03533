//! A log in memory: the smallest thing that keeps the seam's rules. It promises level `os` only, because nothing of it
//! survives a power cut; with [`MemoryLog::pretending`] it takes `disk` too, for tests of what stands above the seam.
//!
//! Records become durable when they are flushed, not when they are appended, so that "visible means durable" and waiting
//! are the same here as with a disk. [`MemoryLog::hold`] keeps flushes back until a test lets them go.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{
    Acknowledgement, Appended, Appending, Gap, GapReason, JournalId, Level, Log, LogItem, LogReader,
    Promises, TailWatch,
};
use crate::error::{Error, Result};
use crate::event::{Seq, Timestamp};

/// A log in memory. Clones are one log.
#[derive(Debug, Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: JournalId,
    levels: &'static [Level],
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Record n has seq n + 1; `None` is damaged.
    records: Vec<Option<Record>>,
    first: u64,
    durable: u64,
    held: bool,
    closed: bool,
    failure: Option<fn() -> Error>,
    read_failure: Option<(Seq, fn() -> Error)>,
    wakers: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

#[derive(Debug, Clone)]
struct Record {
    recorded: Timestamp,
    payload: Arc<[u8]>,
}

impl MemoryLog {
    /// An empty log that promises what memory can: `os`.
    pub fn new(id: JournalId) -> MemoryLog {
        MemoryLog::with_levels(id, &[Level::Os])
    }

    /// An empty log that calls memory a disk.
    pub fn pretending(id: JournalId) -> MemoryLog {
        MemoryLog::with_levels(id, &[Level::Os, Level::Disk])
    }

    fn with_levels(id: JournalId, levels: &'static [Level]) -> MemoryLog {
        let state = Mutex::new(State { first: 1, ..State::default() });
        MemoryLog { shared: Arc::new(Shared { id, levels, state, moved: Condvar::new() }) }
    }

    /// Keeps records from becoming durable while `held`; letting go makes durable what waits.
    pub fn hold(&self, held: bool) {
        let mut state = self.shared.lock();
        state.held = held;
        self.shared.settle(&mut state);
    }

    /// Makes every append from now on fail with what `failure` makes.
    pub fn fail_with(&self, failure: Option<fn() -> Error>) {
        self.shared.lock().failure = failure;
    }

    /// Makes reading of the record at `seq` fail with what `failure` makes.
    pub fn fail_reading(&self, seq: Seq, failure: fn() -> Error) {
        self.shared.lock().read_failure = Some((seq, failure));
    }

    /// Damages the record at `seq`: readers meet a gap there.
    pub fn damage(&self, seq: Seq) {
        let mut state = self.shared.lock();
        if let Some(record) = index(seq).and_then(|at| state.records.get_mut(at)) {
            *record = None;
        }
    }

    /// Drops every record before `seq`.
    pub fn retain_from(&self, seq: Seq) {
        self.shared.lock().first = seq.get();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere left a whole state behind: every change is one assignment or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, state: &mut State) {
        if !state.held {
            state.durable = state.records.len() as u64;
        }
        std::mem::take(&mut state.wakers).into_values().for_each(Waker::wake);
        self.moved.notify_all();
    }
}

impl Log for MemoryLog {
    fn id(&self) -> JournalId {
        self.shared.id
    }

    fn append(
        &self,
        batch: &[&[u8]],
        level: Level,
        expected_tail: Option<Seq>,
        now: Timestamp,
    ) -> Result<Appending> {
        self.promises().check(level)?;
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Error::Closed { reason: "it was closed" });
        }
        if let Some(failure) = state.failure {
            return Err(failure());
        }
        let tail = state.records.len() as u64 + 1;
        if let Some(expected) = expected_tail.filter(|expected| expected.get() != tail) {
            return Err(Error::Conflict { expected: expected.get(), actual: tail });
        }
        let last_recorded = state.records.iter().rev().flatten().map(|record| record.recorded).next();
        let recorded = last_recorded.map_or(now, |last| last.max(now));
        state
            .records
            .extend(batch.iter().map(|payload| Some(Record { recorded, payload: (*payload).into() })));
        let last = state.records.len() as u64;
        self.shared.settle(&mut state);
        drop(state);
        let (first, last) = (Seq::new(tail), Seq::new(last));
        let watch = Watch::new(self.clone());
        Ok(Appending::new(
            first,
            last,
            Waiting { watch, appended: Appended { first, last, recorded, level } },
        ))
    }

    fn flush(&self, _level: Level) -> Result<()> {
        let last = Seq::new(self.shared.lock().records.len() as u64);
        let watch = Watch::new(self.clone());
        while watch.get() < last {
            watch.wait_beyond(last.prev(), Duration::from_secs(1));
        }
        Ok(())
    }

    fn read(&self, from: Seq) -> Box<dyn LogReader> {
        Box::new(Reader { log: self.clone(), next: from.max(Seq::FIRST), current: None })
    }

    fn first(&self) -> Seq {
        Seq::new(self.shared.lock().first)
    }

    fn tail(&self) -> Seq {
        Seq::new(self.shared.lock().records.len() as u64 + 1)
    }

    fn durable(&self) -> Seq {
        Seq::new(self.shared.lock().durable)
    }

    fn watch(&self) -> Box<dyn TailWatch> {
        Box::new(Watch::new(self.clone()))
    }

    fn promises(&self) -> Promises {
        Promises { levels: self.shared.levels }
    }

    fn close(&self) -> Result<()> {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.settle(&mut state);
        Ok(())
    }
}

struct Watch {
    log: MemoryLog,
    waiter: u64,
}

impl Watch {
    fn new(log: MemoryLog) -> Watch {
        let mut state = log.shared.lock();
        state.next_waiter += 1;
        let waiter = state.next_waiter;
        drop(state);
        Watch { log, waiter }
    }
}

impl TailWatch for Watch {
    fn get(&self) -> Seq {
        self.log.durable()
    }

    fn wait_beyond(&self, seq: Seq, timeout: Duration) -> Seq {
        let deadline = Instant::now() + timeout;
        let mut state = self.log.shared.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.durable > seq.get() || state.closed || left.is_zero() {
                return Seq::new(state.durable);
            }
            let waited = self.log.shared.moved.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn poll_beyond(&self, seq: Seq, waker: &Waker) -> Poll<Seq> {
        let mut state = self.log.shared.lock();
        if state.durable > seq.get() || state.closed {
            return Poll::Ready(Seq::new(state.durable));
        }
        state.wakers.insert(self.waiter, waker.clone());
        Poll::Pending
    }

    fn is_closed(&self) -> bool {
        self.log.shared.lock().closed
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.log.shared.lock().wakers.remove(&self.waiter);
    }
}

struct Waiting {
    watch: Watch,
    appended: Appended,
}

impl Acknowledgement for Waiting {
    fn wait(self: Pin<Box<Self>>) -> Result<Appended> {
        while self.watch.get() < self.appended.last {
            self.watch.wait_beyond(self.appended.last.prev(), Duration::from_secs(1));
        }
        Ok(self.appended)
    }
}

impl Future for Waiting {
    type Output = Result<Appended>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.watch.poll_beyond(self.appended.last.prev(), context.waker()).map(|_| Ok(self.appended))
    }
}

struct Reader {
    log: MemoryLog,
    next: Seq,
    current: Option<Record>,
}

impl LogReader for Reader {
    fn next(&mut self) -> Result<Option<LogItem<'_>>> {
        let state = self.log.shared.lock();
        let from = self.next;
        if from.get() < state.first {
            let to = Seq::new(state.first).prev();
            self.next = Seq::new(state.first);
            return Ok(Some(LogItem::Gap(Gap { from, to, reason: GapReason::Retention })));
        }
        if from.get() > state.durable {
            return Ok(None);
        }
        if let Some((_, failure)) = state.read_failure.filter(|(seq, _)| *seq == from) {
            return Err(failure());
        }
        self.next = from.next();
        self.current = index(from).and_then(|at| state.records.get(at).cloned().flatten());
        Ok(Some(match &self.current {
            Some(record) => {
                LogItem::Record { seq: from, recorded: record.recorded, payload: &record.payload }
            }
            None => LogItem::Gap(Gap { from, to: from, reason: GapReason::Corruption }),
        }))
    }

    fn position(&self) -> Seq {
        self.next
    }

    fn seek(&mut self, seq: Seq) {
        self.next = seq.max(Seq::FIRST);
    }

    fn seek_time(&mut self, time: Timestamp) -> Result<()> {
        let state = self.log.shared.lock();
        let earlier = |record: &&Option<Record>| record.as_ref().is_none_or(|record| record.recorded < time);
        let skipped = state.records.iter().take_while(earlier).count() as u64;
        self.next = Seq::new(skipped.min(state.durable) + 1).max(Seq::new(state.first));
        Ok(())
    }
}

fn index(seq: Seq) -> Option<usize> {
    usize::try_from(seq.get().checked_sub(1)?).ok()
}
