//! Brings folds up to the journal and lets readers look at them.
//!
//! Constraints: readers are served while events are taken in; a reader never sees half an event; a slow disk never
//! delays either. So events are read and decoded outside the lock, taken in under it in batches of
//! [`BATCH_EVENTS_MAX`], and a snapshot is encoded under a read lock and written outside of it, on a thread that may block.
//!
//! A fold begins at the newest state that can be believed: a snapshot, else the base that stands for dropped events, else
//! nothing. What was there and could not be believed is told ([`Progress::refused`]) and never used.
//!
//! A snapshot is due every [`SNAPSHOT_EVERY`] events, and of a large state less often: saving it is to cost no more bytes than about as many
//! as the events brought ([`SNAPSHOT_BYTES_AN_EVENT`]). The store's own events (and with them the `database_operation` that
//! tells of a snapshot) do not count: an idle journal stays idle.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::ahead::each_batch;
use super::any::{AnyFold, StateView};
use super::snapshot::{self, Files, Found, Refusal, Refused, Span};
use super::{Fold, Projection, StateHash, base, durable};
use crate::error::{Error, Result};
use crate::event::{Category, Kind, Seq, StoredEvent, Timestamp};
use crate::store::{Gap, Item, JournalId, Replay, SessionOrder, Store, View};

/// Events taken in under one hold of the lock: well below a millisecond.
pub const BATCH_EVENTS_MAX: usize = 256;
/// Events between two snapshots: about a tenth of a second of folding.
pub const SNAPSHOT_EVERY: u64 = 20_000;
/// Bytes of a snapshot that an event pays for, where the state is larger than [`SNAPSHOT_EVERY`] events pay.
pub const SNAPSHOT_BYTES_AN_EVENT: u64 = 256;

/// A journal that can be read: the store of a writer, or the view of a reader.
pub trait Source {
    /// Which journal; none while there is none.
    fn journal(&self) -> Option<JournalId>;
    /// The first retained seq.
    fn first(&self) -> Seq;
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
    fn first(&self) -> Seq {
        Store::first(self)
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
    fn first(&self) -> Seq {
        View::first(self)
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
    /// Saved states that were there and were not believed.
    pub refused: Vec<Refusal>,
    /// Events that the state which all began from lacks already: they could not be read when it was folded. See [`Fold::missing`].
    pub missing_before: u64,
}

impl Progress {
    pub(super) fn count_all(&mut self, items: &[Item]) {
        items.iter().for_each(|item| self.count(item));
    }

    pub(super) fn count(&mut self, item: &Item) {
        match item {
            Item::Event(_) => self.events += 1,
            Item::Gap(gap) => self.gaps.push(*gap),
            Item::Undecodable(_) => self.undecodable += 1,
        }
    }
}

/// The fold up to `seq`, or up to what is durable, from the nearest believable state below it.
///
/// # Errors
/// [`Error::BeforeBase`] when `seq` was dropped by retention; when the journal cannot be read.
pub fn state_at<P: Projection>(
    source: &(impl Source + ?Sized),
    files: Option<&Files>,
    seq: Seq,
) -> Result<(Fold<P>, Progress)> {
    folded(source, files, seq, Shortcuts::Taken)
}

/// As [`state_at`], and believes no snapshot: whatever is retained is folded.
///
/// # Errors
/// As [`state_at`].
pub(super) fn state_anew<P: Projection>(
    source: &(impl Source + ?Sized),
    files: Option<&Files>,
    seq: Seq,
) -> Result<(Fold<P>, Progress)> {
    folded(source, files, seq, Shortcuts::Refused)
}

fn folded<P: Projection>(
    source: &(impl Source + ?Sized),
    files: Option<&Files>,
    seq: Seq,
    shortcuts: Shortcuts,
) -> Result<(Fold<P>, Progress)> {
    let reach = seq.min(source.durable());
    let found = start::<P>(source, files, reach, shortcuts)?;
    let mut fold = found.fold.unwrap_or_default();
    let mut progress =
        Progress { refused: found.refused, missing_before: fold.missing(), ..Progress::default() };
    advance(&mut fold, source, reach, &mut progress)?;
    Ok((fold, progress))
}

/// As [`state_at`] at the durable tail, for whoever knows that nothing before `first` matters to him: what no saved state holds of it is not
/// read. So it is the fold of what was saved and of the events from `first` on, and no state of the journal.
///
/// # Errors
/// As [`state_at`].
pub fn state_since<P: Projection>(
    source: &(impl Source + ?Sized),
    files: Option<&Files>,
    first: Seq,
) -> Result<(Fold<P>, Progress)> {
    let reach = source.durable();
    let found = start::<P>(source, files, reach, Shortcuts::Taken)?;
    let mut fold = found.fold.unwrap_or_default();
    let mut progress =
        Progress { refused: found.refused, missing_before: fold.missing(), ..Progress::default() };
    fold.pass(first.prev().min(reach));
    advance(&mut fold, source, reach, &mut progress)?;
    Ok((fold, progress))
}

/// The last seq that was recorded at or before `time`; zero if all are later.
///
/// # Errors
/// When the journal cannot be read.
pub fn seq_at(source: &(impl Source + ?Sized), time: Timestamp) -> Result<Seq> {
    let Some(later) = time.checked_add_micros(1) else { return Ok(source.durable()) };
    let replay = source.replay(source.first()).since(later)?;
    Ok(replay.position().prev().min(source.durable()))
}

/// Whether snapshots may be used, or only what cannot be folded anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shortcuts {
    Taken,
    Refused,
}

fn start<P: Projection>(
    source: &(impl Source + ?Sized),
    files: Option<&Files>,
    reach: Seq,
    shortcuts: Shortcuts,
) -> Result<Found<P>> {
    let span = retained(source, reach)?;
    let Some(files) = files else { return Ok(Found::default()) };
    let mut found = if shortcuts == Shortcuts::Taken { files.newest::<P>(span) } else { Found::default() };
    if found.fold.is_none() {
        base::newest(files, span, &mut found)?;
    }
    Ok(found)
}

/// The seqs whose states can be had, up to `reach`.
pub(super) fn retained(source: &(impl Source + ?Sized), reach: Seq) -> Result<Span> {
    let from = source.first().prev();
    if reach < from {
        return Err(Error::BeforeBase { asked: reach.get(), first: from.get() });
    }
    Ok(Span { from, to: reach, durable: source.durable() })
}

fn advance<P: Projection>(
    fold: &mut Fold<P>,
    source: &(impl Source + ?Sized),
    reach: Seq,
    progress: &mut Progress,
) -> Result<()> {
    let from = fold.seq().next();
    if reach < from {
        return Ok(());
    }
    let mut replay = source.replay(from).through(reach);
    if let Some(wanted) = P::WANTED {
        replay = replay.of_kinds(wanted);
    }
    each_batch(&mut replay, reach.get() - from.get(), |batch| {
        for item in batch {
            progress.count(item);
            // What was passed over before it is not missing.
            match item {
                Item::Gap(gap) => fold.pass(gap.from.prev()),
                Item::Undecodable(record) => fold.pass(record.seq.prev()),
                Item::Event(_) => {}
            }
            fold.take(item);
        }
    })?;
    progress.events += replay.passed();
    // What was passed over after the last item that was taken.
    if replay.position() > from {
        fold.pass(replay.position().prev().min(reach));
    }
    Ok(())
}

/// A fold that follows a journal and can be read at any time.
pub struct Runner<P: Projection> {
    fold: RwLock<Fold<P>>,
    files: Option<Files>,
    /// Counted events since the last snapshot.
    since_snapshot: AtomicU64,
    /// Bytes of the last snapshot that this runner took.
    saved_bytes: AtomicU64,
    /// The last seq that was folded, for those who wait for it.
    reached: watch::Sender<Seq>,
    /// Held while a state is put on disk or replaced, so that none is saved after it was replaced.
    saving: Mutex<()>,
}

/// What became of folding anew.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// What folding met.
    pub progress: Progress,
    /// The seq at which the two states were compared.
    pub seq: Seq,
    /// Seqs that are not in the state that was folded anew, because they cannot be read.
    pub missing: u64,
    /// The hash of the state that was served, at `seq`.
    pub before: StateHash,
    /// The hash of the one that was folded anew, at `seq`.
    pub after: StateHash,
    /// Whether the new one is served now. It is not when it misses more than the other, which knows what can be read no more.
    pub replaced: bool,
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
    /// A runner at the newest state that can be believed, and the saved states that could not. Of those, the ones that are ahead of the journal
    /// are removed: it was put back from an older copy, and once it has grown past them they would be believed.
    ///
    /// # Errors
    /// When the directory of the bases cannot be listed.
    pub fn restore(files: Option<Files>, source: &(impl Source + ?Sized)) -> Result<(Self, Vec<Refusal>)> {
        let found = start::<P>(source, files.as_ref(), source.durable(), Shortcuts::Taken)?;
        for refusal in &found.refused {
            if refusal.why == Refused::Ahead && !base::is_base(&refusal.path) {
                // Where nothing can be removed nothing can be recorded either: the journal does not grow.
                let _ = durable::remove_if_there(&refusal.path);
            }
        }
        let fold = found.fold.unwrap_or_default();
        let reached = watch::Sender::new(fold.seq());
        let (since_snapshot, saved_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let runner = Runner {
            fold: RwLock::new(fold),
            files,
            since_snapshot,
            saved_bytes,
            reached,
            saving: Mutex::new(()),
        };
        Ok((runner, found.refused))
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
    pub fn catch_up(&self, source: &(impl Source + ?Sized)) -> Result<Progress> {
        let (from, mut progress) = (self.seq().next(), Progress::default());
        each_batch(&mut source.replay(from), events_from(source, from), |batch| {
            progress.count_all(batch);
            self.take_in(batch);
        })?;
        Ok(progress)
    }

    /// Takes in events as they follow upon each other; those that were taken in already change nothing.
    pub(super) fn take_in(&self, batch: &[Item]) {
        let mut fold = self.fold.write().unwrap_or_else(PoisonError::into_inner);
        let before = fold.seq();
        batch.iter().for_each(|item| fold.take(item));
        let seq = fold.seq();
        drop(fold);
        let counted = batch
            .iter()
            .filter(|item| matches!(item, Item::Event(event) if event.seq > before && counts(event)));
        self.since_snapshot.fetch_add(counted.count() as u64, Ordering::Relaxed);
        self.has_reached(seq);
    }

    /// Folds the whole journal anew beside the present state, which is served and brought on meanwhile, and puts it in its
    /// place. Believes no snapshot; where the present state was wrong, those that were saved of it go. A state that would miss more
    /// than the present one is not put in its place.
    ///
    /// # Errors
    /// When the journal cannot be read, and the present state stays; when the new one stands and its saved states cannot be replaced.
    pub fn rebuild(&self, source: &(impl Source + ?Sized)) -> Result<Rebuilt> {
        let (mut shadow, mut progress) = state_anew::<P>(source, self.files.as_ref(), source.durable())?;
        // Events came meanwhile. What is left after this round is little enough for readers to wait for.
        advance(&mut shadow, source, self.seq(), &mut progress)?;
        let saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fold = self.fold.write().unwrap_or_else(PoisonError::into_inner);
        let reach = fold.seq();
        advance(&mut shadow, source, reach, &mut progress)?;
        let missing = shadow.missing();
        let replaced = missing <= fold.missing();
        let mut aside = if replaced { std::mem::replace(&mut *fold, shadow) } else { shadow };
        let seq = fold.seq();
        drop(fold);
        self.has_reached(seq);
        // The one that is served goes on: the other follows it, to be compared.
        let (seq, served) = self.read(|fold| (fold.seq(), AnyFold::hash(fold)));
        advance(&mut aside, source, seq, &mut Progress::default())?;
        let (served, aside) = (served?, AnyFold::hash(&aside)?);
        let (before, after) = if replaced { (aside, served) } else { (served, aside) };
        if replaced && before != after {
            self.forget_saved()?;
            drop(saving);
            self.since_snapshot.fetch_add(1, Ordering::Relaxed);
            self.snapshot().map_err(|error| Error::failed(error.to_string()))?;
        }
        Ok(Rebuilt { progress, seq, missing, before, after, replaced })
    }

    fn forget_saved(&self) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let forgotten = files.forget::<P>();
        forgotten
            .map_err(|error| Error::failed(format!("saved states of {} cannot be removed: {error}", P::NAME)))
    }

    /// Tells those who wait. A rebuild and the task that takes in may come here in another order than they folded in.
    fn has_reached(&self, seq: Seq) {
        self.reached.send_if_modified(|reached| {
            let further = seq > *reached;
            *reached = seq.max(*reached);
            further
        });
    }

    /// Whether `every` events that count came since the last snapshot, and as many as one of its size needs.
    pub fn snapshot_is_due(&self, every: u64) -> bool {
        let events = self.since_snapshot.load(Ordering::Relaxed);
        let needed = self.saved_bytes.load(Ordering::Relaxed) / SNAPSHOT_BYTES_AN_EVENT;
        self.files.is_some() && events >= every && (needed <= SNAPSHOT_EVERY || events >= needed)
    }

    /// Saves the state, if anything that counts came since it was last saved. Blocks for the disk.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn snapshot(&self) -> Result<Option<Taken>, SnapshotError> {
        let Some(files) = &self.files else { return Ok(None) };
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let events = self.since_snapshot.swap(0, Ordering::Relaxed);
        if events == 0 {
            return Ok(None);
        }
        let (bytes, parts) = self.read(|fold| snapshot::encode_apart(fold, files.journal()))?;
        self.saved_bytes.store(bytes.len() as u64, Ordering::Relaxed);
        files.save_with_parts::<P>(&bytes, &parts)?;
        Ok(Some(Taken { events, duration: started.elapsed() }))
    }
}

/// About how many events there are from `from` on.
pub(super) fn events_from(source: &(impl Source + ?Sized), from: Seq) -> u64 {
    source.durable().get().saturating_sub(from.get())
}

/// Whether an event counts toward the next snapshot.
fn counts(stored: &StoredEvent) -> bool {
    stored.event.kind != Kind::DatabaseOperation && stored.event.category() != Category::Store
}

/// A runner whose projection is not known here.
pub trait AnyRunner: Send + Sync {
    /// The projection's name.
    fn name(&self) -> &'static str;
    /// The last seq that was folded.
    fn seq(&self) -> Seq;
    /// Follows the last seq that was folded.
    fn watch(&self) -> watch::Receiver<Seq>;
    /// Takes in events; those that were taken in already change nothing.
    fn take_in(&self, batch: &[Item]);
    /// See [`Runner::snapshot_is_due`].
    fn snapshot_is_due(&self, every: u64) -> bool;
    /// See [`Runner::snapshot`].
    ///
    /// # Errors
    /// See [`SnapshotError`].
    fn snapshot(&self) -> Result<Option<Taken>, SnapshotError>;
    /// See [`Runner::rebuild`].
    ///
    /// # Errors
    /// As [`Runner::rebuild`].
    fn rebuild(&self, source: &dyn Source) -> Result<Rebuilt>;
    /// The present state, to be shown.
    ///
    /// # Errors
    /// As [`StateView::of`].
    fn view(&self) -> Result<StateView>;
}

impl<P: Projection> AnyRunner for Runner<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }
    fn seq(&self) -> Seq {
        Runner::seq(self)
    }
    fn watch(&self) -> watch::Receiver<Seq> {
        self.reached.subscribe()
    }
    fn take_in(&self, batch: &[Item]) {
        Runner::take_in(self, batch);
    }
    fn snapshot_is_due(&self, every: u64) -> bool {
        Runner::snapshot_is_due(self, every)
    }
    fn snapshot(&self) -> Result<Option<Taken>, SnapshotError> {
        Runner::snapshot(self)
    }
    fn rebuild(&self, source: &dyn Source) -> Result<Rebuilt> {
        Runner::rebuild(self, source)
    }
    fn view(&self) -> Result<StateView> {
        self.read(|fold| StateView::of(fold))
    }
}

#[cfg(test)]
mod tests;
