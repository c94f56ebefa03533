//! Brings folds up to the journal and keeps them there.
//!
//! Constraints: readers are served while events are taken in; a reader never sees half an event; a slow disk never
//! delays either. So events are read and decoded outside the lock, taken in under it in batches of
//! [`BATCH_EVENTS_MAX`], and a snapshot is encoded under a read lock and written outside of it, on a thread that may block.
//!
//! A snapshot is due every [`SNAPSHOT_EVERY`] events. The store's own events (and with them the `database_operation` that
//! tells of a snapshot) do not count: an idle journal stays idle.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::snapshot::{self, Files};
use super::{Fold, Projection};
use crate::error::Result;
use crate::event::{Category, Filter, Kind, Seq, StoredEvent};
use crate::store::{Delivery, Gap, Item, JournalId, Replay, SessionOrder, Store, View};

/// Events taken in under one hold of the lock: well below a millisecond.
pub const BATCH_EVENTS_MAX: usize = 256;
/// Events between two snapshots: about a tenth of a second of folding.
pub const SNAPSHOT_EVERY: u64 = 20_000;
/// At most so often is told that snapshots were taken.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// A journal that can be read: the store of a writer, or the view of a reader.
pub trait Source {
    /// Which journal; none while there is none.
    fn journal(&self) -> Option<JournalId>;
    /// The highest durable seq.
    fn durable(&self) -> Seq;
    /// Reads from `from` to the durable tail.
    fn replay(&self, from: Seq) -> Replay;
    /// The events of one session by (time, seq).
    ///
    /// # Errors
    /// When the journal cannot be read.
    fn session(&self, session: &str) -> Result<SessionOrder>;
}

impl Source for Store {
    fn journal(&self) -> Option<JournalId> {
        Some(self.journal_id())
    }
    fn durable(&self) -> Seq {
        Store::durable(self)
    }
    fn replay(&self, from: Seq) -> Replay {
        Store::replay(self, from)
    }
    fn session(&self, session: &str) -> Result<SessionOrder> {
        Store::session(self, session)
    }
}

impl Source for View {
    fn journal(&self) -> Option<JournalId> {
        self.journal_id()
    }
    fn durable(&self) -> Seq {
        View::durable(self)
    }
    fn replay(&self, from: Seq) -> Replay {
        View::replay(self, from)
    }
    fn session(&self, session: &str) -> Result<SessionOrder> {
        View::session(self, session)
    }
}

/// What taking in events met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events taken in.
    pub events: u64,
    /// Seqs that cannot be read; the state is the fold of the others.
    pub gaps: Vec<Gap>,
    /// Records that are no event to this program.
    pub undecodable: u64,
}

/// The fold up to `seq`, from the nearest believable snapshot below it.
///
/// # Errors
/// When the journal cannot be read.
pub fn state_at<P: Projection>(
    source: &impl Source,
    files: Option<&Files>,
    seq: Seq,
) -> Result<(Fold<P>, Progress)> {
    let reach = seq.min(source.durable());
    let mut fold = files.and_then(|files| files.newest::<P>(reach).fold).unwrap_or_default();
    let mut replay = source.replay(fold.seq().next()).through(reach);
    let mut progress = Progress::default();
    while fold.seq() < reach
        && let Some(item) = replay.next()?
    {
        progress.take(&mut fold, item);
    }
    Ok((fold, progress))
}

impl Progress {
    fn take<P: Projection>(&mut self, fold: &mut Fold<P>, item: Item) {
        match item {
            Item::Event(event) => {
                self.events += 1;
                fold.apply(&event);
            }
            Item::Gap(gap) => {
                fold.skip(gap.to);
                self.gaps.push(gap);
            }
            Item::Undecodable(record) => {
                fold.skip(record.seq);
                self.undecodable += 1;
            }
        }
    }
}

/// A fold that follows a journal and can be read at any time.
pub struct Runner<P: Projection> {
    fold: RwLock<Fold<P>>,
    files: Option<Files>,
    /// Counted events since the last snapshot.
    since_snapshot: AtomicU64,
    /// The last seq that was folded, for those who wait for it.
    reached: watch::Sender<Seq>,
}

/// A snapshot that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Counted events since the one before.
    pub events: u64,
    /// How long it took.
    pub duration: Duration,
}

/// Why a snapshot was not taken. The fold is untouched; the next one is due after as many events again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The state has no bytes: a fault of the projection.
    #[error("the state cannot be encoded: {0}")]
    Encode(#[from] postcard::Error),
    /// The file cannot be written.
    #[error("the snapshot cannot be written: {0}")]
    Write(#[from] io::Error),
}

impl<P: Projection> Runner<P> {
    /// A runner at the newest snapshot that can be believed for a journal durable up to `durable`, or before the first event.
    pub fn restore(files: Option<Files>, durable: Seq) -> Runner<P> {
        let fold = files.as_ref().and_then(|files| files.newest::<P>(durable).fold).unwrap_or_default();
        let reached = watch::Sender::new(fold.seq());
        Runner { fold: RwLock::new(fold), files, since_snapshot: AtomicU64::new(0), reached }
    }

    /// Looks at the fold. Taking in events waits meanwhile: copy out what is needed and return.
    pub fn read<R>(&self, look: impl FnOnce(&Fold<P>) -> R) -> R {
        look(&self.fold.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last seq that was folded.
    pub fn seq(&self) -> Seq {
        self.read(Fold::seq)
    }

    /// Waits until `seq` is folded, so that whoever was told of an event finds it here; at most `timeout`. Says whether it is.
    pub async fn reached(&self, seq: Seq, timeout: Duration) -> bool {
        let mut watch = self.reached.subscribe();
        let reached = tokio::time::timeout(timeout, watch.wait_for(|reached| *reached >= seq)).await;
        matches!(reached, Ok(Ok(_)))
    }

    /// Takes in what is durable now. One caller at a time; readers are served between batches.
    ///
    /// # Errors
    /// When the journal cannot be read. What was taken in stands; a later call goes on from there.
    pub fn catch_up(&self, source: &impl Source) -> Result<Progress> {
        let mut replay = source.replay(self.seq().next());
        let mut progress = Progress::default();
        loop {
            let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX);
            while batch.len() < BATCH_EVENTS_MAX
                && let Some(item) = replay.next()?
            {
                batch.push(item);
            }
            if batch.is_empty() {
                return Ok(progress);
            }
            self.take_in(batch, &mut progress);
        }
    }

    fn take_in(&self, batch: Vec<Item>, progress: &mut Progress) {
        let counted =
            batch.iter().filter(|item| matches!(item, Item::Event(event) if counts(event))).count() as u64;
        let mut fold = self.fold.write().unwrap_or_else(PoisonError::into_inner);
        for item in batch {
            progress.take(&mut fold, item);
        }
        let seq = fold.seq();
        drop(fold);
        self.reached.send_replace(seq);
        self.since_snapshot.fetch_add(counted, Ordering::Relaxed);
    }

    /// Folds the whole journal anew beside the present state, which is served meanwhile, and puts it in its place.
    ///
    /// # Errors
    /// When the journal cannot be read; the present state stays.
    pub fn rebuild(&self, source: &impl Source) -> Result<Progress> {
        let (fold, progress) = state_at::<P>(source, None, source.durable())?;
        *self.fold.write().unwrap_or_else(PoisonError::into_inner) = fold;
        Ok(progress)
    }

    /// Whether enough events came since the last snapshot.
    pub fn snapshot_is_due(&self) -> bool {
        self.files.is_some() && self.since_snapshot.load(Ordering::Relaxed) >= SNAPSHOT_EVERY
    }

    /// Saves the state, if anything that counts came since it was last saved. Blocks for the disk.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn snapshot(&self) -> Result<Option<Taken>, SnapshotError> {
        let Some(files) = &self.files else { return Ok(None) };
        let started = Instant::now();
        let events = self.since_snapshot.swap(0, Ordering::Relaxed);
        if events == 0 {
            return Ok(None);
        }
        let bytes = self.read(|fold| snapshot::encode(fold, files.journal()))?;
        files.save::<P>(&bytes)?;
        Ok(Some(Taken { events, duration: started.elapsed() }))
    }
}

/// Whether an event counts toward the next snapshot.
fn counts(stored: &StoredEvent) -> bool {
    stored.event.kind != Kind::DatabaseOperation && stored.event.category() != Category::Store
}

/// Follows the store until it is closed, saving snapshots as they are due. `tell` hears of them at most once a minute
/// (events and time of those not told are added to the next), and of each failure.
///
/// # Errors
/// When the journal cannot be read; the state stays at what was taken in.
pub async fn follow<P: Projection>(
    runner: Arc<Runner<P>>,
    store: Store,
    mut tell: impl FnMut(Result<Taken, SnapshotError>) + Send,
) -> Result<()> {
    let mut subscription = store.subscribe(runner.seq().next(), Filter::default())?;
    let mut telling = Telling::default();
    while let Some(first) = subscription.next().await? {
        let mut batch: Vec<Item> = item_of(first).into_iter().collect();
        while batch.len() < BATCH_EVENTS_MAX
            && let Some(next) = subscription.try_next()?
        {
            batch.extend(item_of(next));
        }
        runner.take_in(batch, &mut Progress::default());
        // Behind the live end the next delivery is always ready: others must come to their turn too.
        tokio::task::yield_now().await;
        if runner.snapshot_is_due() {
            let saving = Arc::clone(&runner);
            match tokio::task::spawn_blocking(move || saving.snapshot()).await {
                Ok(Ok(taken)) => telling.add(taken).into_iter().for_each(|taken| tell(Ok(taken))),
                Ok(Err(error)) => tell(Err(error)),
                Err(stopped) => tell(Err(io::Error::other(stopped).into())),
            }
        }
    }
    Ok(())
}

fn item_of(delivery: Delivery) -> Option<Item> {
    match delivery {
        Delivery::Event(event) => Some(Item::Event(Arc::unwrap_or_clone(event))),
        Delivery::Gap(gap) => Some(Item::Gap(gap)),
        Delivery::Undecodable(record) => Some(Item::Undecodable(Arc::unwrap_or_clone(record))),
        Delivery::Checkpoint { .. } | Delivery::Lag { .. } => None,
    }
}

/// Adds up snapshots between two tellings.
#[derive(Default)]
struct Telling {
    last: Option<Instant>,
    untold: Option<Taken>,
}

impl Telling {
    fn add(&mut self, taken: Option<Taken>) -> Option<Taken> {
        let taken = taken?;
        let sum = self.untold.map_or(taken, |untold| Taken {
            events: untold.events + taken.events,
            duration: untold.duration + taken.duration,
        });
        if self.last.is_some_and(|last| last.elapsed() < TELL_EVERY) {
            self.untold = Some(sum);
            return None;
        }
        (self.last, self.untold) = (Some(Instant::now()), None);
        Some(sum)
    }
}

#[cfg(test)]
mod tests;
