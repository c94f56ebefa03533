//! Reading without writing: beside a server, after it, or on a copied directory.
//!
//! [`read`] is what every reading command calls. It first tries to empty the inbox, which takes the lock for a moment; if
//! somebody else holds it, it gives that holder a moment to do the same; if neither helps, it reads what is there and says how
//! many events wait. It appends nothing of its own. [`View::open`] does not even try: a copied directory stays as it is.
//!
//! A view may be opened before there is a journal. It is empty then, and following it sees the first event when it comes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::clock::{self, SystemClock};
use crate::config::{DataDir, Env, Settings};
use crate::error::{Error, Result};
use crate::event::{Filter, Seq, Timestamp};
use crate::store::lock::{Role, holder};
use crate::store::log::{
    Appending, JournalId, Level, LocalView, Log, LogItem, LogReader, Promises, TailWatch,
};
use crate::store::notice::{News, Notices};
use crate::store::open::{Opening, Store};
use crate::store::replay::{self, Item, Replay, SessionOrder};
use crate::store::subscribe::Subscription;
use crate::store::{check, inbox, scrub};

/// How long a reader gives the holder of the lock to drain the inbox.
const DRAIN_GRACE: Duration = Duration::from_millis(250);
/// How often a follower looks whatever the system tells.
const LOOK: Duration = Duration::from_millis(500);
/// How often it looks where the system does not tell.
const LOOK_UNTOLD: Duration = Duration::from_millis(20);

/// The journal of a data directory, open for reading only.
#[derive(Clone)]
pub struct View {
    reading: Arc<Reading>,
    log: Arc<dyn Log>,
    waiting: u64,
}

/// What every reading command calls: drains the inbox if nobody holds the journal, then opens a [`View`]. Never waits for the lock.
///
/// # Errors
/// As [`View::open`]. That the inbox could not be drained is no error: [`View::waiting`] says how many events are not seen.
pub fn read(dir: &DataDir, env: &Env) -> Result<View> {
    dir.open_existing()?;
    let settings = Settings::load(dir, env)?;
    drain_if_free(dir, &settings);
    let deadline = Instant::now() + DRAIN_GRACE;
    while inbox::any(&dir.inbox())? && holder(dir).is_some() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let tells = !env.events_disabled_for_hook();
    View::open_with(dir, Some(settings), tells)
}

/// Whether it could be drained is seen by what is left in it, so there is nothing to report here.
fn drain_if_free(dir: &DataDir, settings: &Settings) {
    if !inbox::any(&dir.inbox()).unwrap_or(false) || holder(dir).is_some() {
        return;
    }
    let clock = Arc::new(SystemClock);
    let instance = clock::new_id(&*clock).to_string();
    let opening = Opening {
        role: Role::Command,
        lock_wait: Duration::ZERO,
        tells: false,
        ..Opening::command(instance, clock, settings.clone())
    };
    if let Ok((store, _opened)) = Store::open(dir, opening) {
        store.close().ok();
    }
}

impl View {
    /// Opens it as it is; changes nothing. A data directory without a journal is an empty one.
    ///
    /// # Errors
    /// [`Error::NoDataDir`], and what the journal says.
    pub fn open(dir: &DataDir) -> Result<View> {
        View::open_with(dir, None, false)
    }

    fn open_with(dir: &DataDir, drains: Option<Settings>, tells: bool) -> Result<View> {
        dir.open_existing()?;
        let (journal, told) = (Mutex::default(), Mutex::default());
        let reading = Arc::new(Reading { dir: dir.clone(), drains, tells, journal, told });
        reading.refresh()?;
        let log: Arc<dyn Log> = Arc::new(ReadingLog(reading.clone()));
        Ok(View { reading, log, waiting: inbox::waiting(&dir.inbox())? })
    }

    /// How many events waited in the inbox when this was opened, and are therefore not seen here.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }
    /// Which journal this is; `None` while there is none.
    pub fn journal_id(&self) -> Option<JournalId> {
        self.reading.journal().map(|journal| journal.id())
    }
    /// The log behind the view.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }
    /// The first seq that is retained.
    pub fn first(&self) -> Seq {
        self.log.first()
    }
    /// The highest durable seq when it was last looked.
    pub fn durable(&self) -> Seq {
        self.log.durable()
    }
    /// Reads from `from` to the durable tail.
    pub fn replay(&self, from: Seq) -> Replay {
        Replay::new(&self.log, from)
    }
    /// The events of one session, in the order of their time.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn session(&self, session: &str) -> Result<SessionOrder> {
        SessionOrder::new(&self.log, session)
    }
    /// What stands at one seq; `None` beyond the durable tail.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn get(&self, seq: Seq) -> Result<Option<Item>> {
        replay::get(&self.log, seq)
    }
    /// Follows the journal: with a server, what it writes; without one, what arrives in the inbox, which is drained meanwhile
    /// (by a view of [`read`]). For blocking use ([`Subscription::wait_next`]).
    ///
    /// # Errors
    /// [`Error::CursorAhead`].
    pub fn follow(&self, from: Seq, filter: Filter) -> Result<Subscription> {
        Subscription::new(&self.log, from, filter)
    }
}

/// A journal that may not be there yet.
struct Reading {
    dir: DataDir,
    /// Present if the inbox may be drained while following.
    drains: Option<Settings>,
    /// Whether damage that a reader meets is put on record.
    tells: bool,
    journal: Mutex<Option<Arc<LocalView>>>,
    /// Damaged ranges of which word was left.
    told: Mutex<BTreeSet<(Seq, Seq)>>,
}

impl Reading {
    fn slot(&self) -> MutexGuard<'_, Option<Arc<LocalView>>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> Option<Arc<LocalView>> {
        self.slot().clone()
    }

    /// Reads what there is, and tells of the damage that it meets.
    fn read(self: &Arc<Reading>, from: Seq) -> Option<Box<dyn LogReader>> {
        let reading = self.clone();
        self.journal().map(|journal| journal.read_telling(from, Arc::new(move |seq| reading.met(seq))))
    }

    /// A reader met damage: it is told, once.
    fn met(&self, seq: Seq) {
        let (Some(journal), true) = (self.journal(), self.tells) else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.range(..=(seq, Seq::MAX)).next_back().is_some_and(|(_, to)| seq <= *to) {
            return;
        }
        // Whatever comes of it: the same reader does not look again for the same place.
        told.insert((seq, seq));
        match scrub::look_from_outside(&self.dir, journal.id(), seq, journal.durable()) {
            Ok(ranges) => told.extend(ranges),
            // Who reads is told of the gap itself; the next reader tries to leave word again.
            Err(error) => tracing::warn!("damage at seq {seq} could not be put on record: {error}"),
        }
    }

    /// Looks again what is durable, or whether there is a journal now.
    fn refresh(&self) -> Result<()> {
        let mut slot = self.slot();
        if let Some(journal) = slot.as_ref() {
            return journal.refresh().map(drop);
        }
        let dir = self.dir.clone();
        let disk = Arc::new(check::unmapped(&dir));
        match LocalView::open(disk, move || holder(&dir).is_some()) {
            Ok((journal, _recovery)) => *slot = Some(Arc::new(journal)),
            Err(Error::NoJournal) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

struct ReadingLog(Arc<Reading>);

impl Log for ReadingLog {
    fn id(&self) -> JournalId {
        self.0.journal().map_or_else(JournalId::default, |journal| journal.id())
    }

    fn append(
        &self,
        _batch: &[&[u8]],
        _level: Level,
        _expected: Option<Seq>,
        _now: Timestamp,
    ) -> Result<Appending> {
        Err(Error::Closed { reason: "it is open for reading only" })
    }

    fn flush(&self, _level: Level) -> Result<()> {
        Ok(())
    }

    fn read(&self, from: Seq) -> Box<dyn LogReader> {
        Box::new(LateReader { reading: self.0.clone(), from, reader: self.0.read(from) })
    }

    fn first(&self) -> Seq {
        self.0.journal().map_or(Seq::FIRST, |journal| journal.first())
    }

    fn tail(&self) -> Seq {
        self.durable().next()
    }

    fn durable(&self) -> Seq {
        self.0.journal().map_or(Seq::ZERO, |journal| journal.durable())
    }

    fn watch(&self) -> Box<dyn TailWatch> {
        Box::new(Looking { reading: self.0.clone(), told: Mutex::new(None) })
    }

    fn promises(&self) -> Promises {
        Promises { levels: &[] }
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Begins to read when there is something to read.
struct LateReader {
    reading: Arc<Reading>,
    from: Seq,
    reader: Option<Box<dyn LogReader>>,
}

impl LateReader {
    fn reader(&mut self) -> Option<&mut Box<dyn LogReader>> {
        if self.reader.is_none() {
            self.reader = self.reading.read(self.from);
        }
        self.reader.as_mut()
    }
}

impl LogReader for LateReader {
    fn next(&mut self) -> Result<Option<LogItem<'_>>> {
        // Every event of a fold comes by here: the item is not looked at, and so not copied.
        self.reader().map_or(Ok(None), |reader| reader.next())
    }

    fn position(&self) -> Seq {
        self.reader.as_ref().map_or(self.from, |reader| reader.position())
    }

    fn seek(&mut self, seq: Seq) {
        self.from = seq;
        if let Some(reader) = &mut self.reader {
            reader.seek(seq);
        }
    }

    fn seek_time(&mut self, time: Timestamp) -> Result<()> {
        self.reader().map_or(Ok(()), |reader| reader.seek_time(time))
    }
}

/// Follows a journal that another process writes, or that nobody does.
struct Looking {
    reading: Arc<Reading>,
    told: Mutex<Option<Told>>,
}

/// What the system tells about the journal's and the inbox's directory; nothing where there is no more room for descriptors.
struct Told(Option<Notices>);

impl Told {
    fn new(dir: &DataDir) -> Told {
        Told(Notices::of(&[(&dir.inbox(), News::Names), (&dir.journal(), News::Writes)]).ok())
    }

    fn wait(&self, at_most: Duration) {
        match &self.0 {
            Some(notices) => {
                notices.wait(at_most.min(if notices.are_complete() { LOOK } else { LOOK_UNTOLD }));
            }
            None => std::thread::sleep(at_most.min(LOOK_UNTOLD)),
        }
    }
}

impl Looking {
    fn look(&self) -> Seq {
        if let Some(settings) = &self.reading.drains {
            drain_if_free(&self.reading.dir, settings);
        }
        // A look that fails leaves the tail where it was; the reader that goes on from there meets the same error and tells it.
        self.reading.refresh().ok();
        self.get()
    }
}

impl TailWatch for Looking {
    fn get(&self) -> Seq {
        self.reading.journal().map_or(Seq::ZERO, |journal| journal.durable())
    }

    fn wait_beyond(&self, seq: Seq, timeout: Duration) -> Seq {
        let deadline = Instant::now() + timeout;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Watching begins before the first look, or what happens in between is seen late.
        let told = told.get_or_insert_with(|| Told::new(&self.reading.dir));
        loop {
            let durable = self.look();
            let left = deadline.saturating_duration_since(Instant::now());
            if durable > seq || left.is_zero() {
                return durable;
            }
            told.wait(left);
        }
    }

    fn poll_beyond(&self, seq: Seq, waker: &Waker) -> Poll<Seq> {
        let durable = self.look();
        if durable > seq {
            return Poll::Ready(durable);
        }
        let waker = waker.clone();
        std::thread::spawn(move || {
            std::thread::sleep(LOOK_UNTOLD);
            waker.wake();
        });
        Poll::Pending
    }

    fn is_closed(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
