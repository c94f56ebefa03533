//! How far the journal is written and flushed: two numbers that rise, and those who wait for them.
//!
//! Everybody who waits leaves a [`Waker`] in one table, with the seq and the level that it waits for: tasks their own, threads
//! one that unparks them. Publishing moves the number, then takes those out whose seq was reached, under a short lock, and
//! wakes them outside of it; whoever wakes looks at the number without any lock. So a flush that serves 64 threads does not make
//! them queue for a lock one by one, and nobody is woken for what others wait for.
//!
//! No wake-up is lost, because who enters the table asks again under the lock that the publisher takes after it has moved the
//! number: either the number is seen, or the entry is. Each has a place of its own in the table, so polling again
//! replaces the waker and dropping the watch takes it out.
//!
//! The table has a queue for each number, so that a write does not pass the thousand who wait for a flush.
//!
//! A thread may also wait for its turn to commit for all ([`Asks::ToCommit`]). Who has committed gives that to one of them
//! ([`Progress::pass_on`]).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use crate::sync::{
    AtomicBool, AtomicU64, AtomicUsize, Control, Instant, Mutex, MutexGuard, Ordering, is_broken, thread,
};
use crate::types::{Level, Seq};

/// The two numbers. Written by the one writer (or a view's refresh), read by everybody.
#[derive(Default)]
pub(crate) struct Progress {
    written: AtomicU64,
    durable: AtomicU64,
    closed: AtomicBool,
    places: AtomicU64,
    waiting: Mutex<Table>,
    /// Threads in [`Progress::wait_until`].
    blocked: AtomicUsize,
}

/// What a place in the table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// That `level` is beyond a seq.
    ToKnow,
    /// That, or to be the next who commits.
    ToCommit,
}

struct Waiting {
    beyond: Seq,
    level: Level,
    waker: Waker,
}

/// By place: the order in which they came.
type Queue = BTreeMap<u64, Waiting>;

/// Those who wait.
#[derive(Default)]
struct Table {
    /// To know, by the level that they wait for.
    written: Queue,
    durable: Queue,
    /// To commit, or to know.
    turn: Queue,
}

impl Table {
    fn queue(&mut self, asks: Asks, level: Level) -> &mut Queue {
        match (asks, level) {
            (Asks::ToCommit, _) => &mut self.turn,
            (Asks::ToKnow, Level::Os) => &mut self.written,
            (Asks::ToKnow, Level::Disk) => &mut self.durable,
        }
    }

    /// Takes out who waited for `level` to be beyond what `seq` is beyond.
    fn reached(&mut self, level: Level, seq: Seq) -> Vec<Waker> {
        let mut woken = Vec::new();
        for asks in [Asks::ToKnow, Asks::ToCommit] {
            let is_reached = |_: &u64, place: &mut Waiting| place.level == level && seq > place.beyond;
            woken.extend(self.queue(asks, level).extract_if(.., is_reached).map(|(_, place)| place.waker));
        }
        woken
    }

    fn leave(&mut self, place: u64) {
        for queue in [&mut self.written, &mut self.durable, &mut self.turn] {
            queue.remove(&place);
        }
    }
}

/// A thread that is blocked, to be woken like a task. One for each wait: `woken` then says that the place was taken out of the
/// table, and the thread need not take the lock to find that out.
struct Parked {
    thread: thread::Thread,
    woken: AtomicBool,
}

impl Parked {
    /// Blocks until woken, or until `deadline`; whether woken.
    fn park(&self, deadline: Option<Instant>) -> bool {
        while !self.woken.swap(false, Ordering::Acquire) {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return false,
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        }
        true
    }
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
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
        self.wake(|table| table.reached(level, seq));
    }

    /// Wakes everybody, to look again: something ended that they may wait for.
    pub(crate) fn wake_all(&self) {
        self.wake(|table| {
            let Table { written, durable, turn } = std::mem::take(table);
            let all = [written, durable, turn].into_iter().flatten();
            all.map(|(_, place)| place.waker).collect()
        });
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn wake(&self, take: impl FnOnce(&mut Table) -> Vec<Waker>) {
        let mut waiting = self.table();
        let woken = take(&mut waiting);
        // Outside of the lock: a waker may run the task at once, and the task may wait again.
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one who asks to commit, if any. To be called after the writer was let go, by whoever had it.
    pub(crate) fn pass_on(&self) {
        let mut waiting = self.table();
        // Who entered before is counted, who enters from here on finds the writer free.
        if self.blocked.load(Ordering::Relaxed) == 0 || is_broken(Control::KeepsTheTurn) {
            return;
        }
        let next = waiting.turn.pop_first();
        drop(waiting);
        if let Some((_, next)) = next {
            next.waker.wake();
        }
    }

    /// Whether any thread is blocked in [`Progress::wait_until`].
    pub(crate) fn has_blocked_threads(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) > 0
    }

    /// Blocks until `done` answers, which is asked again when `level` is beyond `beyond` and when something ended, or until
    /// `deadline`, which who asks to commit must not have: the turn would end with it. `done` may be asked under the table's lock and
    /// must not come back here.
    pub(crate) fn wait_until<T>(
        &self,
        (beyond, level): (Seq, Level),
        asks: Asks,
        deadline: Option<Instant>,
        mut done: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if let Some(answer) = done() {
            return Some(answer);
        }
        let place = self.new_place();
        let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&parked));
        self.blocked.fetch_add(1, Ordering::Relaxed);
        let answer = loop {
            if let Poll::Ready(answer) = self.enter(place, (beyond, level), asks, &waker, &mut done) {
                break Some(answer);
            }
            if !parked.park(deadline) {
                self.leave(place);
                break done();
            }
            if let Some(answer) = done() {
                break Some(answer);
            }
        };
        self.blocked.fetch_sub(1, Ordering::Relaxed);
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
        match done() {
            Some(answer) => Poll::Ready(answer),
            None => self.enter(place, (beyond, level), Asks::ToKnow, waker, &mut done),
        }
    }

    fn enter<T>(
        &self,
        place: u64,
        (beyond, level): (Seq, Level),
        asks: Asks,
        waker: &Waker,
        done: &mut impl FnMut() -> Option<T>,
    ) -> Poll<T> {
        let mut waiting = self.table();
        // Asked under the lock that the publisher takes after it has moved the number.
        if !is_broken(Control::LooksOnce)
            && let Some(answer) = done()
        {
            waiting.leave(place);
            return Poll::Ready(answer);
        }
        waiting.queue(asks, level).insert(place, Waiting { beyond, level, waker: waker.clone() });
        Poll::Pending
    }

    pub(crate) fn new_place(&self) -> u64 {
        self.places.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn leave(&self, place: u64) {
        self.table().leave(place);
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
        let target = (seq, Level::Disk);
        self.progress
            .wait_until(target, Asks::ToKnow, deadline, || self.beyond(seq))
            .unwrap_or_else(|| self.get())
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
