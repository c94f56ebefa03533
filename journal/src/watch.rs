//! How far the journal is written and flushed: two numbers that rise, and those who wait for them.
//!
//! Publishing is a store and a short lock; threads wait on a condition, one for each number so that none is woken for
//! the other, tasks leave a [`Waker`]. Each task's place is
//! kept under a number of its own, so polling again replaces the waker and dropping the watch takes it out.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::types::{Level, Seq};

/// The two numbers. Written by the one writer (or a view's refresh), read by everybody.
#[derive(Default)]
pub(crate) struct Progress {
    written: AtomicU64,
    durable: AtomicU64,
    closed: AtomicBool,
    places: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    threads: ByLevel<Threads>,
}

/// One for each number.
#[derive(Default)]
struct ByLevel<T> {
    os: T,
    disk: T,
}

impl<T> ByLevel<T> {
    fn of(&self, level: Level) -> &T {
        match level {
            Level::Os => &self.os,
            Level::Disk => &self.disk,
        }
    }
}

/// The threads that are blocked until a number moves.
#[derive(Default)]
struct Threads {
    count: AtomicUsize,
    moved: Condvar,
}

struct Waiting {
    beyond: Seq,
    level: Level,
    waker: Waker,
}

impl Progress {
    pub(crate) fn starting_at(seq: Seq) -> Progress {
        let progress = Progress::default();
        progress.written.store(seq.get(), Ordering::Release);
        progress.durable.store(seq.get(), Ordering::Release);
        progress
    }

    /// The highest seq that has reached `level`.
    pub(crate) fn get(&self, level: Level) -> Seq {
        Seq::new(self.number(level).load(Ordering::Acquire))
    }

    fn number(&self, level: Level) -> &AtomicU64 {
        match level {
            Level::Os => &self.written,
            Level::Disk => &self.durable,
        }
    }

    /// Everything up to `seq` has reached `level`: wakes whoever waited for it. What is durable is written too.
    pub(crate) fn publish(&self, level: Level, seq: Seq) {
        self.number(level).fetch_max(seq.get(), Ordering::AcqRel);
        self.wake(&[level], |waiting| waiting.level == level && seq > waiting.beyond);
    }

    /// Wakes everybody, to look again: something ended that they may wait for.
    pub(crate) fn wake_all(&self) {
        self.wake(&[Level::Os, Level::Disk], |_| true);
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn wake(&self, levels: &[Level], ready: impl Fn(&Waiting) -> bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for threads in levels.iter().map(|&level| self.threads.of(level)) {
            if threads.count.load(Ordering::Relaxed) > 0 {
                threads.moved.notify_all();
            }
        }
        if waiting.is_empty() {
            return;
        }
        let woken: Vec<Waker> =
            waiting.extract_if(|_, place| ready(place)).map(|(_, place)| place.waker).collect();
        // Outside of the lock: a waker may run the task at once, and the task may wait again.
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether any thread is blocked in [`Progress::wait_until`].
    pub(crate) fn has_blocked_threads(&self) -> bool {
        [Level::Os, Level::Disk].iter().any(|&level| self.threads.of(level).count.load(Ordering::Relaxed) > 0)
    }

    /// Blocks until `done` answers, which is asked again whenever `level` has moved, or until `deadline`.
    pub(crate) fn wait_until<T>(
        &self,
        level: Level,
        deadline: Option<Instant>,
        mut done: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = self.threads.of(level);
        threads.count.fetch_add(1, Ordering::Relaxed);
        let answer = loop {
            if let Some(answer) = done() {
                break Some(answer);
            }
            waiting = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break None,
                Some(left) => {
                    threads.moved.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => threads.moved.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        };
        threads.count.fetch_sub(1, Ordering::Relaxed);
        drop(waiting);
        answer
    }

    /// Asks `done`; if it does not answer, keeps `waker` at `place` until `level` is beyond `beyond`.
    pub(crate) fn poll_until<T>(
        &self,
        place: u64,
        beyond: Seq,
        level: Level,
        waker: &Waker,
        mut done: impl FnMut() -> Option<T>,
    ) -> Poll<T> {
        if let Some(answer) = done() {
            return Poll::Ready(answer);
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked again under the lock that the publisher takes after it has moved the number.
        if let Some(answer) = done() {
            waiting.remove(&place);
            return Poll::Ready(answer);
        }
        waiting.insert(place, Waiting { beyond, level, waker: waker.clone() });
        Poll::Pending
    }

    pub(crate) fn new_place(&self) -> u64 {
        self.places.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn leave(&self, place: u64) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (written, durable) = (self.get(Level::Os).get(), self.get(Level::Disk).get());
        f.debug_struct("Progress")
            .field("written", &written)
            .field("durable", &durable)
            .finish_non_exhaustive()
    }
}

/// Watches the durable tail of a journal. Each clone waits for itself.
#[derive(Debug)]
pub struct TailWatch {
    progress: Arc<Progress>,
    place: u64,
}

impl TailWatch {
    pub(crate) fn new(progress: Arc<Progress>) -> TailWatch {
        let place = progress.new_place();
        TailWatch { progress, place }
    }

    /// The highest durable seq now; [`Seq::ZERO`] if there is none.
    pub fn get(&self) -> Seq {
        self.progress.get(Level::Disk)
    }

    /// Blocks until the durable tail is beyond `seq`, the journal is closed, or `timeout` has passed; the durable tail
    /// then.
    pub fn wait_beyond(&self, seq: Seq, timeout: Duration) -> Seq {
        let deadline = Instant::now().checked_add(timeout);
        self.progress.wait_until(Level::Disk, deadline, || self.beyond(seq)).unwrap_or_else(|| self.get())
    }

    /// Ready with the durable tail once it is beyond `seq`, or once the journal is closed (see
    /// [`TailWatch::is_closed`]); until then `waker` is kept (one for each watch, the last given) and woken when that
    /// happens.
    pub fn poll_beyond(&self, seq: Seq, waker: &Waker) -> Poll<Seq> {
        self.progress.poll_until(self.place, seq, Level::Disk, waker, || self.beyond(seq))
    }

    /// Whether the journal was closed: the durable tail will not rise any more.
    pub fn is_closed(&self) -> bool {
        self.progress.is_closed()
    }

    fn beyond(&self, seq: Seq) -> Option<Seq> {
        let durable = self.get();
        (durable > seq || self.is_closed()).then_some(durable)
    }
}

impl Clone for TailWatch {
    fn clone(&self) -> TailWatch {
        TailWatch::new(Arc::clone(&self.progress))
    }
}

impl Drop for TailWatch {
    fn drop(&mut self) {
        self.progress.leave(self.place);
    }
}
