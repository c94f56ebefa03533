//! The journal in the hands of its one writer.
//!
//! Two locks. The queue's is short: a submission copies its payloads and gets its seqs. The writer's is long: who holds it
//! takes the whole queue and commits it for everybody, so that one flush serves all who came while the flush before
//! was running. Nobody who reads takes either.
//!
//! Threads that wait for a commit do not queue for the writer's lock: all who are served would have to take it, one after
//! the other, only to find that they are. They park, and whoever lets the writer go wakes one who was not served to
//! commit next ([`WriterGuard`]).

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock, PoisonError, TryLockError};

use crate::catalog::Catalog;
use crate::committer::{Committer, Gathering, gather};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::filler::Filler;
use crate::opening;
use crate::options::Options;
use crate::pending::{Arena, Pending, body_bytes};
use crate::reader::Reader;
use crate::recovered::Recovery;
use crate::stats::Stats;
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::ticket::Ticket;
use crate::types::{JournalId, Level, Micros, Seq};
use crate::watch::{Asks, Progress, TailWatch};
use crate::writer::Writer;

/// Whoever submits when this much waits writes it: many small submissions become few large writes.
const WRITE_BYTES_TARGET: usize = 256 * 1024;
/// Whoever submits when this much waits does so only after it was written: memory stays bounded.
const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
const _: () = assert!(WRITE_BYTES_TARGET < PENDING_BYTES_MAX);

/// An open journal. Cheap to clone; all clones are one journal. The caller holds the [`crate::Lock`].
///
/// Dropping the last clone without [`Journal::close`] is a crash, as far as the files are concerned: what was
/// acknowledged is safe, and the next opening recovers.
#[derive(Clone, Debug)]
pub struct Journal {
    handle: Arc<Handle>,
}

/// What the clones share beyond the tickets: the thread, which ends with the last clone.
#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.committer.stop();
        self.core.filler.stop();
    }
}

/// What clones, tickets and the committer share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) committer: Committer,
    pub(crate) gathering: Gathering,
    filler: Arc<Filler>,
    pending: Mutex<Pending>,
    writer: Mutex<WriterState>,
    /// Held while segments are dropped, and by whoever ends the journal.
    dropping: Mutex<()>,
    /// Why nothing more can become written or durable.
    ended: OnceLock<Error>,
    /// Whether the committer knows that something is not flushed yet.
    pub(crate) armed: AtomicBool,
    /// How many records the last commit served that was made for whoever waited then.
    pub(crate) served: AtomicU64,
}

/// The writer, and the arena that is not in use.
#[derive(Debug)]
pub(crate) struct WriterState {
    pub(crate) writer: Writer,
    spare: Arena,
    /// How many records the last commit by a waiting thread took.
    last_batch: u64,
}

/// The writer, held. Letting it go gives the turn to somebody who waits to commit, if anybody does: whoever fails to take it and
/// then waits ([`Core::commit_or_await`]) relies on this.
#[derive(Debug)]
pub(crate) struct WriterGuard<'a> {
    progress: &'a Progress,
    state: Option<MutexGuard<'a, WriterState>>,
}

const HELD: &str = "taken only when dropped";

impl Deref for WriterGuard<'_> {
    type Target = WriterState;

    fn deref(&self) -> &WriterState {
        self.state.as_ref().expect(HELD)
    }
}

impl DerefMut for WriterGuard<'_> {
    fn deref_mut(&mut self) -> &mut WriterState {
        self.state.as_mut().expect(HELD)
    }
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        drop(self.state.take());
        self.progress.pass_on();
    }
}

/// What came of waiting for a commit.
enum Turn<'a> {
    /// Nothing to do any more.
    Served,
    /// To commit for all.
    Lead(WriterGuard<'a>),
}

impl Journal {
    /// Opens the journal on `disk`, or makes one; recovers what a crash left.
    ///
    /// After a clean stop it reads one frame and goes on in the same segment. After a crash it reads the last segment,
    /// keeps what is whole, puts an unfinished end into quarantine, and goes on in a new segment. It may be interrupted
    /// at any point and begun again.
    ///
    /// # Errors
    /// [`Error::UnsupportedVersion`], [`Error::UnsupportedFeature`], [`Error::OtherJournal`], [`Error::StorageFull`],
    /// [`Error::Poisoned`] (the disk failed while recovering), [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, options: Options, now: Micros) -> Result<(Journal, Recovery)> {
        let (writer, recovery) = opening::open(disk, options, now)?;
        let catalog = Arc::clone(&writer.catalog);
        let core = Core {
            progress: Arc::clone(&catalog.progress),
            catalog,
            committer: Committer::default(),
            gathering: Gathering::default(),
            filler: Arc::clone(&writer.filler),
            pending: Mutex::new(Pending::new(writer.next, writer.recorded)),
            writer: Mutex::new(WriterState { writer, spare: Arena::default(), last_batch: 0 }),
            dropping: Mutex::new(()),
            ended: OnceLock::new(),
            armed: AtomicBool::new(false),
            served: AtomicU64::new(0),
        };
        Ok((Journal { handle: Arc::new(Handle { core: Arc::new(core) }) }, recovery))
    }

    /// Takes `payloads` as one atomic batch and gives them their seqs: after a crash all of them are there or none.
    /// With `expected_tail`, only if that is the seq about to be given.
    ///
    /// Writes nothing by itself, unless much is waiting already: [`Ticket::wait`], [`Journal::flush`] or the
    /// committer do. At level [`Level::Os`] there is no need to wait for each ticket.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`], [`Error::TooLarge`], [`Error::TailMismatch`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn submit(
        &self,
        payloads: &[&[u8]],
        now: Micros,
        level: Level,
        expected_tail: Option<Seq>,
    ) -> Result<Ticket> {
        let bytes = body_bytes(payloads)?;
        let core = self.core();
        let mut pending = core.pending();
        let given = pending.submit(payloads, bytes, now, level, expected_tail)?;
        let waiting = pending.arena.bytes.len();
        drop(pending);
        core.gathering.came(given.last);
        if waiting >= WRITE_BYTES_TARGET {
            core.write_out(waiting >= PENDING_BYTES_MAX);
        }
        core.arm();
        Ok(Ticket::new(Arc::clone(core), given, level))
    }

    /// Writes everything submitted so far; at level `disk`, flushes it too.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn flush(&self, level: Level) -> Result<()> {
        self.core().commit(level)
    }

    /// Which journal this is.
    pub fn id(&self) -> JournalId {
        self.core().catalog.journal
    }

    /// The first seq that is retained; [`Seq::FIRST`] in a journal that lost nothing.
    pub fn first(&self) -> Seq {
        self.core().catalog.first()
    }

    /// The next seq to be given.
    pub fn tail(&self) -> Seq {
        self.core().pending().next
    }

    /// The highest durable seq; [`Seq::ZERO`] if there is none.
    pub fn durable(&self) -> Seq {
        self.core().progress.get(Level::Disk)
    }

    /// Whether a failed flush has ended writing, and why.
    pub fn poisoned(&self) -> Option<Error> {
        self.core().ended().filter(|error| matches!(error, Error::Poisoned { .. }))
    }

    /// What was written since the journal was opened.
    pub fn stats(&self) -> Stats {
        self.core().catalog.tally.stats()
    }

    /// A watch of the durable tail.
    pub fn watch(&self) -> TailWatch {
        TailWatch::new(Arc::clone(&self.core().progress))
    }

    /// A reader that begins at `from`.
    pub fn reader(&self, from: Seq) -> Reader {
        Reader::new(Arc::clone(&self.core().catalog), from)
    }

    /// Starts the thread that commits for all who submit; a second call does nothing. For servers; without it those
    /// who wait commit by themselves. With it, what was submitted at level `os` is flushed within 50 ms, and a proof
    /// frame follows 10 ms after the queue has emptied.
    ///
    /// # Errors
    /// [`Error::Io`] if the thread cannot be started.
    pub fn start_committer(&self) -> Result<()> {
        let core = self.core();
        core.filler.start()?;
        core.writer().writer.start_filling();
        core.committer.start(core)
    }

    /// Writes and flushes everything, proves it with a last frame, cuts the file to its used length, and ends all
    /// clones: whatever is submitted afterwards is refused. Closing again does nothing.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Poisoned`]: what was not acknowledged may be lost; the next opening recovers.
    pub fn close(self) -> Result<()> {
        let core = self.core();
        core.committer.stop();
        core.filler.stop();
        let _nothing_is_dropped = core.dropping();
        let mut state = core.writer();
        let mut pending = core.pending();
        if let Some(refusal) = &pending.refuse {
            return if matches!(refusal, Error::Closed) { Ok(()) } else { Err(refusal.clone()) };
        }
        pending.refuse = Some(Error::Closed);
        let spare = std::mem::take(&mut state.spare);
        let mut arena = pending.take(spare);
        drop(pending);
        let mut closed = state.writer.write(&mut arena);
        if closed.is_ok() {
            closed = state.writer.close();
        }
        if let Err(error) = &closed {
            core.fail(&state.writer, error);
        }
        let _first_wins = core.ended.set(Error::Closed);
        core.progress.close();
        closed
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }
}

impl Core {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn writer(&self) -> WriterGuard<'_> {
        let state = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        WriterGuard { progress: &self.progress, state: Some(state) }
    }

    pub(crate) fn dropping(&self) -> MutexGuard<'_, ()> {
        self.dropping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_writer(&self) -> Option<WriterGuard<'_>> {
        let state = match self.writer.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(WriterGuard { progress: &self.progress, state: Some(state) })
    }

    pub(crate) fn ended(&self) -> Option<Error> {
        self.ended.get().cloned()
    }

    /// How many records wait to be written.
    pub(crate) fn waiting(&self) -> u64 {
        self.pending().next.since(self.progress.get(Level::Os).next())
    }

    /// Whether something that was submitted is not flushed yet and still can be.
    pub(crate) fn is_unsettled(&self) -> bool {
        let unwritten = self.waiting() > 0;
        self.ended.get().is_none()
            && (unwritten || self.progress.get(Level::Os) > self.progress.get(Level::Disk))
    }

    /// Commits what waits, for everybody.
    pub(crate) fn commit(&self, level: Level) -> Result<()> {
        let mut state = self.writer();
        self.commit_with(&mut state, level)
    }

    pub(crate) fn commit_with(&self, state: &mut WriterState, level: Level) -> Result<()> {
        let spare = std::mem::take(&mut state.spare);
        let mut pending = self.pending();
        if let Some(refusal) = &pending.refuse {
            return Err(refusal.clone());
        }
        let mut arena = pending.take(spare);
        drop(pending);
        let mut outcome = state.writer.write(&mut arena);
        if outcome.is_ok() && level == Level::Disk {
            outcome = state.writer.flush();
        }
        if let Err(error) = &outcome {
            self.fail(&state.writer, error);
        }
        arena.clear();
        state.spare = arena;
        outcome
    }

    /// Sees to it that `last` is committed, and blocks until then or until there is another reason to look: the caller asks
    /// `done` again afterwards.
    ///
    /// Without a committer: commits for all who wait, or waits for who does. With one: commits by itself if nobody else waits or
    /// commits, since waking another thread costs more than it saves; else leaves it to the committer.
    pub(crate) fn commit_or_await(&self, last: Seq, level: Level, done: impl Fn() -> bool) -> Result<()> {
        let beyond = (last.prev(), level);
        let turn = if self.committer.is_running() {
            let alone = !self.progress.has_blocked_threads();
            if alone && let Some(state) = self.try_writer() {
                Some(Turn::Lead(state))
            } else {
                self.committer.ask();
                self.progress.wait_until(beyond, Asks::ToKnow, None, || {
                    (done() || !self.committer.is_running()).then_some(Turn::Served)
                })
            }
        } else {
            self.progress.wait_until(beyond, Asks::ToCommit, None, || {
                let served = done() || self.committer.is_running();
                if served { Some(Turn::Served) } else { self.try_writer().map(Turn::Lead) }
            })
        };
        // Whoever held the writer before may have committed this too.
        if let Some(Turn::Lead(mut state)) = turn
            && !done()
        {
            if !self.committer.is_running() {
                gather(self, state.writer.flush_time, state.last_batch);
                state.last_batch = self.waiting();
            }
            return self.commit_with(&mut state, level);
        }
        Ok(())
    }

    /// The writer, for who submitted `first` to `last` and nobody else waits or commits. Where the last commit served more than this,
    /// others are about to come: they are waited for by the committer.
    pub(crate) fn writer_if_alone(&self, first: Seq, last: Seq) -> Option<WriterGuard<'_>> {
        let own = last.next().since(first);
        if self.served.load(Ordering::Relaxed) > own || !self.committer.is_running() {
            return None;
        }
        let state = self.try_writer()?;
        if self.waiting() != own {
            return None;
        }
        self.served.store(own, Ordering::Relaxed);
        Some(state)
    }

    /// For tasks: sees to it that what waits is committed.
    pub(crate) fn ask_for_commit(&self) {
        if self.committer.is_running() {
            self.committer.ask();
        } else {
            // The error reaches every ticket that it concerns.
            let _told = self.commit(Level::Disk);
        }
    }

    /// Writes what waits, if nobody is doing so already or if it has become too much.
    fn write_out(&self, must: bool) {
        let state = if must { Some(self.writer()) } else { self.try_writer() };
        if let Some(mut state) = state {
            // The error reaches every ticket that it concerns.
            let _told = self.commit_with(&mut state, Level::Os);
        }
    }

    /// Tells the committer, once, that there is something that must be flushed in time.
    fn arm(&self) {
        if !self.armed.load(Ordering::Relaxed) && self.committer.is_running() {
            self.armed.store(true, Ordering::Release);
            self.committer.wake();
        }
    }

    fn fail(&self, writer: &Writer, error: &Error) {
        let written = writer.next.prev();
        let mut pending = self.pending();
        if writer.poison.is_some() {
            pending.refuse.get_or_insert_with(|| error.clone());
            let _first_wins = self.ended.set(error.clone());
            pending.fail(error, written, writer.durable, writer.recorded);
        } else {
            pending.fail(error, written, written, writer.recorded);
        }
        drop(pending);
        self.progress.wake_all();
    }
}
