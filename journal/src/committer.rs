//! The thread that commits for everybody, in servers.
//!
//! It sleeps without a timeout while nothing is unflushed. Once something is, it knows three moments: somebody waits (now,
//! or a little later if more are about to come), 50 ms after the first unflushed submission (an `os` append is never
//! longer at risk than that), and 10 ms after the queue has emptied (a proof frame, which needs no flush of its own).
//!
//! The little later is group commit's only guess: while submissions keep coming and fewer wait than the last flush
//! served, waiting up to a third of a flush saves more flushes than it costs time.
//!
//! Who is alone commits without it ([`crate::Ticket::commit_if_alone`]) and tells it nothing: when its moments come it looks how long ago
//! the last flush was.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::journal::Core;
use crate::sync::{AtomicBool, AtomicU64, Condvar, Instant, Mutex, Ordering, thread, wait_timeout};
use crate::types::{Level, Seq};

/// An `os` append is flushed at the latest this long after it was submitted.
pub(crate) const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// A proof frame is written when the queue has been empty for this long.
pub(crate) const PROVE_AFTER: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(crate) struct Committer {
    running: AtomicBool,
    signal: Mutex<Signal>,
    changed: Condvar,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Signal {
    asked: bool,
    woken: bool,
    stop: bool,
}

/// Why the committer woke.
enum Wake {
    Asked,
    Armed,
    Deadline,
    Stop,
}

impl Committer {
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(crate) fn start(&self, core: &Arc<Core>) -> Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() || core.progress.is_closed() {
            return Ok(());
        }
        let core = Arc::clone(core);
        self.running.store(true, Ordering::Release);
        let spawned = thread::Builder::new().name("journal-commit".to_owned()).spawn(move || run(&core));
        match spawned {
            Ok(handle) => *thread = Some(handle),
            Err(error) => {
                self.running.store(false, Ordering::Release);
                return Err(Error::io("start", "the committing thread", error));
            }
        }
        Ok(())
    }

    /// Ends the thread and waits for it. Those who still wait commit by themselves.
    pub(crate) fn stop(&self) {
        self.signal(|signal| signal.stop = true);
        let handle = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle
            && handle.thread().id() != thread::current().id()
        {
            // A panic of the thread was reported by the panic hook; the journal then goes on without it.
            let _reported = handle.join();
        }
    }

    /// Somebody waits for a commit. Who asks while it was asked already and has not looked yet need not wake it again: of 64 who wait
    /// for one flush, one makes the system call.
    pub(crate) fn ask(&self) {
        let mut signal = self.signal.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !std::mem::replace(&mut signal.asked, true);
        drop(signal);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// There is something that is not flushed.
    pub(crate) fn wake(&self) {
        self.signal(|signal| signal.woken = true);
    }

    fn signal(&self, change: impl FnOnce(&mut Signal)) {
        change(&mut self.signal.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn wait(&self, deadline: Option<Instant>) -> Wake {
        let mut signal = self.signal.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if signal.stop {
                return Wake::Stop;
            }
            let woken = std::mem::take(&mut signal.woken);
            if std::mem::take(&mut signal.asked) {
                return Wake::Asked;
            }
            if woken {
                return Wake::Armed;
            }
            signal = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Wake::Deadline,
                Some(left) => wait_timeout(&self.changed, &self.signal, signal, left),
                None => self.changed.wait(signal).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Lets short waits of this thread end when they should: Linux adds 50 us to them so that other wake-ups may be joined with them.
fn wake_in_time() {
    #[cfg(target_os = "linux")]
    {
        // Where it is refused, gathering takes a little longer.
        let _told = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    }
}

/// Tells those who wait that the thread is gone, however it went.
struct Ending<'a>(&'a Core);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.committer.running.store(false, Ordering::Release);
        self.0.progress.wake_all();
    }
}

fn run(core: &Core) {
    let _ending = Ending(core);
    wake_in_time();
    let mut flush_at: Option<Instant> = None;
    let mut prove_at: Option<Instant> = None;
    loop {
        let deadline = [flush_at, prove_at].into_iter().flatten().min();
        match core.committer.wait(deadline) {
            Wake::Stop => return,
            Wake::Armed => {
                flush_at.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
                prove_at.get_or_insert_with(|| Instant::now() + PROVE_AFTER);
                continue;
            }
            Wake::Asked => {
                let flush_time = core.writer().writer.flush_time;
                gather(core, flush_time, core.served.load(Ordering::Relaxed));
                core.served.store(core.waiting(), Ordering::Relaxed);
            }
            Wake::Deadline if flush_at.is_none_or(|at| at > Instant::now()) => {
                let flushed_at = core.writer().writer.flushed_at;
                prove_at = flushed_at.map(|at| at + PROVE_AFTER).filter(|at| *at > Instant::now());
                if prove_at.is_some() {
                    continue;
                }
                let unproved = prove(core);
                // Whoever submits from here on arms again; whoever did just before is looked for once more.
                core.armed.store(false, Ordering::SeqCst);
                if unproved || core.is_unsettled() {
                    core.armed.store(true, Ordering::Release);
                    flush_at.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
                } else {
                    flush_at = None;
                }
                continue;
            }
            Wake::Deadline => {}
        }
        // The error reaches every ticket that it concerns, and ends or empties the queue.
        let _told = core.commit(Level::Disk);
        flush_at = None;
        prove_at = Some(Instant::now() + PROVE_AFTER);
        if core.is_unsettled() {
            flush_at = Some(Instant::now() + FLUSH_AFTER);
        }
    }
}

/// Where a commit waits until as many have come as were served by the one before.
///
/// It sleeps and is woken by the one that makes them enough: who looks again and again would take from those who are to come
/// the core that they need.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// The last seq that is waited for; [`Gathering::FOR_NOBODY`] while nothing is.
    last: AtomicU64,
    sleeping: Mutex<()>,
    come: Condvar,
}

impl Default for Gathering {
    fn default() -> Gathering {
        let (sleeping, come) = (Mutex::default(), Condvar::default());
        Gathering { last: AtomicU64::new(Gathering::FOR_NOBODY), sleeping, come }
    }
}

impl Gathering {
    const FOR_NOBODY: u64 = u64::MAX;

    /// To be called after each submission.
    pub(crate) fn came(&self, last: Seq) {
        let is_last = |awaited| last.get() >= awaited && awaited != Gathering::FOR_NOBODY;
        if is_last(self.last.load(Ordering::Acquire))
            && is_last(self.last.swap(Gathering::FOR_NOBODY, Ordering::AcqRel))
        {
            // Taken so that it either sleeps already or looks once more.
            drop(self.sleeping.lock().unwrap_or_else(PoisonError::into_inner));
            self.come.notify_one();
        }
    }

    /// Sleeps until `last` has come, at most for `limit`; whether it has.
    fn sleep(&self, limit: Duration) -> bool {
        let sleeping = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        if self.last.load(Ordering::Acquire) != Gathering::FOR_NOBODY {
            drop(wait_timeout(&self.come, &self.sleeping, sleeping, limit));
        }
        self.last.load(Ordering::Acquire) == Gathering::FOR_NOBODY
    }
}

/// Waits a little while more submissions are coming: while fewer records wait than `last_batch`, the last commit's.
pub(crate) fn gather(core: &Core, flush_time: Duration, last_batch: u64) {
    let gathering = &core.gathering;
    let until = Instant::now() + flush_time / 3;
    // Long enough for a woken submitter to come back, short against a flush.
    let slice = (flush_time / 6).max(Duration::from_micros(5));
    if core.waiting() >= last_batch {
        return;
    }
    let last = core.progress.get(Level::Os).plus(last_batch);
    gathering.last.store(last.get(), Ordering::Release);
    // Whoever submitted before is counted here, under the queue's lock; whoever does from here on sees that it is waited for.
    let mut waiting = core.waiting();
    while waiting < last_batch && !gathering.sleep(slice) {
        let now_waiting = core.waiting();
        if now_waiting == waiting || Instant::now() >= until {
            break;
        }
        waiting = now_waiting;
    }
    gathering.last.store(Gathering::FOR_NOBODY, Ordering::Release);
}

/// Writes a proof frame if everything is flushed; whether something is not.
fn prove(core: &Core) -> bool {
    let mut state = core.writer();
    if core.is_unsettled() {
        return true;
    }
    // A failure poisons the writer or leaves the proof out; the records it would have proved are durable anyway.
    let _told = state.writer.prove();
    false
}
