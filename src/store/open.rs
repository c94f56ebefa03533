//! Opening and closing the store as the one who may write.
//!
//! The order of an opening is fixed: take the lock, recover the journal, tell what was found (a reader leaves that to the next),
//! sweep and drain the inbox, tell that there was a backlog. A close goes the other way: refuse events, make everything durable, unlink what was drained,
//! write down the ids of the unfinished block, close the journal with its proof, give the lock back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mnemosyne_journal as journal;
use tokio::sync::Notify;

use crate::clock::{self, Clock};
use crate::config::{DataDir, Settings, guard};
use crate::error::{Error, Result};
use crate::event::{Event, EventRef, Kind, Redactor, Seq, payload};
use crate::store::check;
use crate::store::commands::Commands;
use crate::store::counters::Counters;
use crate::store::ids::Ids;
use crate::store::inbox::drain::{Drain, Drained};
use crate::store::inbox::{running, untold};
use crate::store::lock::{Held, Role};
use crate::store::log::{Bounded, FullLog, JournalId, Level, LocalLog, Log, LogItem};
use crate::store::notice::Nudge;
use crate::store::subscribe::Shared;

/// How long a server waits for a command that holds the lock.
pub const SERVER_LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long a command waits.
pub const COMMAND_LOCK_WAIT: Duration = Duration::from_secs(2);
/// What the store tells of itself it tells at most this often, so that a process that is started and dies again and again does
/// not fill the journal with it.
const TELL_EVERY_MICROS: u64 = 60_000_000;
/// Events that are looked through for what was told lately: one such event in so many fills no journal.
const TOLD_LOOKBACK: u64 = 10_000;

/// How the store is opened: as whom, with what clock and settings.
#[derive(Clone)]
pub struct Opening {
    /// What the lock is held for.
    pub role: Role,
    /// Identity of the store's own events (recovery, drain): the server's instance id, or the command's.
    pub instance: String,
    /// How long to wait for the lock.
    pub lock_wait: Duration,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Sizes.
    pub settings: Settings,
    /// Whether what the opening finds is told in the journal. A reading command appends nothing of its own: it leaves the telling
    /// to the next opening.
    pub tells: bool,
    /// Whether a journal without room is opened all the same: a server reads on, and who comes to make room must get in.
    pub bears_full_disk: bool,
}

impl Opening {
    /// As the server.
    pub fn server(instance: impl Into<String>, clock: Arc<dyn Clock>, settings: Settings) -> Opening {
        let (role, lock_wait) = (Role::Server, SERVER_LOCK_WAIT);
        let instance = instance.into();
        Opening { role, instance, lock_wait, clock, settings, tells: true, bears_full_disk: true }
    }

    /// As a command that appends.
    pub fn command(instance: impl Into<String>, clock: Arc<dyn Clock>, settings: Settings) -> Opening {
        let (role, lock_wait) = (Role::Command, COMMAND_LOCK_WAIT);
        let instance = instance.into();
        Opening { role, instance, lock_wait, clock, settings, tells: true, bears_full_disk: false }
    }
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The journal was made.
    pub created: bool,
    /// The journal had been closed in order, or was made.
    pub clean: bool,
    /// Bytes of an unfinished end that were set aside.
    pub torn_bytes: u64,
    /// Damaged ranges that were found, from and to.
    pub damage: Vec<(Seq, Seq)>,
    /// What the inbox held.
    pub drained: Drained,
    /// Why not everything could be told or drained: the disk is full. A server opens all the same, for reading, and goes on when
    /// there is room again; what waits in the inbox waits there.
    pub trouble: Option<String>,
    /// There is not even room to open the journal for writing, which after a crash takes a new segment. What was durable can be read; to
    /// write, the store has to be closed and opened again when there is room.
    pub reads_only: bool,
}

/// The store, open for writing. Clones are one store.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) log: Arc<dyn Log>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) redactor: Redactor,
    pub(super) instance: String,
    pub(super) dir: Option<DataDir>,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    /// Held while the past is dropped.
    pub(super) retaining: Mutex<super::retention::Cuts>,
    grown: Arc<Notify>,
    untold: Mutex<Untold>,
    writer: Mutex<Writer>,
}

/// What this opening found, until it is on record.
#[derive(Default)]
struct Untold {
    /// What is known to this process alone.
    found: Vec<Event>,
    /// Whether there may be something to leave or to tell.
    waits: bool,
    /// Whether this opening tells, or leaves that to the next.
    tells: bool,
}

/// What only one may use at a time.
pub(super) struct Writer {
    pub(super) ids: Ids,
    pub(super) drain: Option<Drain>,
    /// Wakes the inbox watch, if one runs: there are files to unlink.
    pub(super) wake: Option<Nudge>,
    held: Option<Held>,
    closed: bool,
}

impl Store {
    /// Takes the lock, recovers the journal, tells what was found, drains the inbox; in this order. Makes the data directory if
    /// it is not there.
    ///
    /// # Errors
    /// [`Error::ServerRunning`], [`Error::Locked`], and what the journal says. Nothing is held then.
    #[expect(clippy::needless_pass_by_value, reason = "it is made for one opening")]
    pub fn open(dir: &DataDir, opening: Opening) -> Result<(Store, Opened)> {
        dir.create()?;
        dir.refuse_links()?;
        let mut held = Held::acquire(dir, opening.role, opening.lock_wait)?;
        let options =
            journal::Options::new(journal::JournalId::from_bytes(clock::random()?), clock::random()?)
                .with_segment_bytes_target(opening.settings.segment_bytes)
                .with_chain(opening.settings.chain)
                .with_boot(journal::boot_hash());
        // Before the first segment: what is acknowledged in it must not go with a directory's name.
        if std::fs::read_dir(dir.journal()).map_err(Error::io("list", dir.journal()))?.next().is_none() {
            guard::flush_names_above(dir.path())?;
        }
        let disk = Arc::new(match opening.role {
            Role::Server => journal::RealDisk::new(dir.journal()),
            Role::Command => check::unmapped(dir),
        });
        let now = journal::Micros::new(opening.clock.now().as_micros());
        let (journal, recovery) = match journal::Journal::open(disk.clone(), options, now) {
            Err(error) if opening.role == Role::Server && error.is_full() => {
                return Store::open_full(dir, held, &opening, disk, error);
            }
            journal => journal?,
        };
        held.name_journal(journal.id(), &dir.lock())?;
        if opening.role == Role::Server {
            journal.start_committer()?;
        }
        let grown = Arc::new(Notify::new());
        let log = Bounded::new(LocalLog::new(journal), dir, &opening.settings, grown.clone());
        let index = Some(dir.index());
        let store = Store::assemble(Arc::new(log), Some((dir.clone(), held)), index, &opening, grown);
        let mut opened = opened(&recovery);
        match store.begin(dir, &opening, &recovery, &mut opened) {
            Err(error) if opening.bears_full_disk && error.is_full() => {
                opened.trouble = Some(error.to_string());
            }
            begun => begun?,
        }
        Ok((store, opened))
    }

    /// The store where there is no room to open its journal for writing. Nothing is recovered, told or drained: the opening that comes
    /// after it does all of that.
    fn open_full(
        dir: &DataDir,
        mut held: Held,
        opening: &Opening,
        disk: Arc<dyn journal::Disk>,
        error: journal::Error,
    ) -> Result<(Store, Opened)> {
        let error = Error::from(error);
        let (log, recovery) = match FullLog::open(disk, error.to_string()) {
            // A journal that is to be made and cannot be.
            Err(Error::NoJournal) => return Err(error),
            opened => opened?,
        };
        held.name_journal(log.id(), &dir.lock())?;
        let index = Some(dir.index());
        let store = Store::assemble(Arc::new(log), Some((dir.clone(), held)), index, opening, Arc::default());
        let trouble = Some(error.to_string());
        Ok((store, Opened { clean: false, trouble, reads_only: true, ..opened(&recovery) }))
    }

    /// What an opening does once it may write.
    fn begin(
        &self,
        dir: &DataDir,
        opening: &Opening,
        recovery: &journal::Recovery,
        opened: &mut Opened,
    ) -> Result<()> {
        let found = self.findings(recovery);
        *self.inner.untold() = Untold { found, waits: true, tells: opening.tells };
        self.tell_untold(dir)?;
        if let Some(drain) = &self.inner.writer().drain {
            drain.sweep(opening.clock.now())?;
        }
        running::end_killed(&dir.inbox(), &*opening.clock)?;
        opened.drained = self.drain_inbox()?;
        let drained = opened.drained;
        let tells = opening.tells && drained.is_backlog();
        if tells && (drained.quarantined > 0 || !self.told_lately(Kind::InboxDrained)?) {
            self.tell_drained(drained)?;
        }
        Ok(())
    }

    /// A store over any log, without lock and inbox: what stands on another log, and what tests of other layers build on.
    pub fn over(log: Arc<dyn Log>, clock: Arc<dyn Clock>, instance: impl Into<String>) -> Store {
        Store::over_with_index(log, None, clock, instance)
    }

    /// The same with the index of ids in files of the directory `index`, as a store that has a data directory keeps it.
    pub fn over_with_index(
        log: Arc<dyn Log>,
        index: Option<PathBuf>,
        clock: Arc<dyn Clock>,
        instance: impl Into<String>,
    ) -> Store {
        let opening = Opening::command(instance, clock, Settings::default());
        Store::assemble(log, None, index, &opening, Arc::default())
    }

    /// A store with lock and inbox over any log: what tests of a failing disk build on.
    #[cfg(test)]
    pub(super) fn over_with_inbox(log: Arc<dyn Log>, dir: &DataDir, clock: Arc<dyn Clock>) -> Store {
        let held = Held::acquire(dir, Role::Server, Duration::ZERO).unwrap();
        let opening = Opening::server("test", clock, Settings::default());
        Store::assemble(log, Some((dir.clone(), held)), Some(dir.index()), &opening, Arc::default())
    }

    fn assemble(
        log: Arc<dyn Log>,
        dir: Option<(DataDir, Held)>,
        index: Option<PathBuf>,
        opening: &Opening,
        grown: Arc<Notify>,
    ) -> Store {
        let (dir, held) = dir.unzip();
        let counters = Arc::new(Counters::new(log.tail().prev()));
        let writer = Writer {
            ids: Ids::new(log.clone(), index),
            drain: dir.as_ref().map(|dir| Drain::new(dir, counters.clone())),
            wake: None,
            held,
            closed: false,
        };
        let inner = Inner {
            log,
            clock: opening.clock.clone(),
            redactor: Redactor::new(),
            instance: opening.instance.clone(),
            dir,
            shared: Arc::new(Shared::new()),
            counters,
            retaining: Mutex::default(),
            grown,
            untold: Mutex::default(),
            writer: Mutex::new(writer),
        };
        Store { inner: Arc::new(inner) }
    }

    /// Notified whenever about a segment's worth was appended: the moment to look at the journal's size.
    pub fn grown(&self) -> Arc<Notify> {
        self.inner.grown.clone()
    }
    /// The log behind the store.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.inner.log
    }
    /// Which journal this is.
    pub fn journal_id(&self) -> JournalId {
        self.inner.log.id()
    }
    /// The first seq that is retained.
    pub fn first(&self) -> Seq {
        self.inner.log.first()
    }
    /// The next seq to be given.
    pub fn tail(&self) -> Seq {
        self.inner.log.tail()
    }
    /// The highest durable seq; [`Seq::ZERO`] if there is none.
    pub fn durable(&self) -> Seq {
        self.inner.log.durable()
    }

    /// Why nothing more can be appended, if that is so; reading goes on.
    pub fn poisoned(&self) -> Option<crate::error::Error> {
        self.inner.log.poisoned()
    }

    /// Takes what lies in the inbox into the journal; returns when it is durable and the files are gone.
    ///
    /// # Errors
    /// What the journal says; what could not be taken stays in the inbox.
    pub fn drain_inbox(&self) -> Result<Drained> {
        if let Some(dir) = &self.inner.dir {
            self.tell_untold(dir)?;
        }
        // Read before anything is drained: what the drain appends is noted as it goes.
        self.with_commands(|_| ())?;
        let mut drained = self.drain_all()?;
        let Some(inbox) = self.inner.dir.as_ref().map(DataDir::inbox) else { return Ok(drained) };
        let gone = self.with_commands(|commands| commands.gone(&inbox))?;
        // An end that a command wrote before it went is in the inbox by now.
        if !gone.is_empty() {
            drained += self.drain_all()?;
            let ends = self.with_commands(|commands| commands.ends(&gone, &*self.inner.clock))?;
            for some in ends.chunks(super::emit::BATCH_EVENTS_MAX) {
                self.append_own(some.to_vec())?;
            }
            self.with_commands(|commands| commands.ended(&gone))?;
        }
        Ok(drained)
    }

    fn with_commands<T: Default>(&self, act: impl FnOnce(&mut Commands) -> T) -> Result<T> {
        match &mut self.inner.writer().drain {
            Some(drain) => drain.commands(&*self.inner.log).map(act),
            None => Ok(T::default()),
        }
    }

    fn drain_all(&self) -> Result<Drained> {
        let inner = &self.inner;
        let (mut drained, mut first) = (Drained::default(), true);
        loop {
            let mut writer = inner.writer();
            writer.check_open()?;
            let Writer { ids, drain: Some(drain), .. } = &mut *writer else { return Ok(drained) };
            if std::mem::take(&mut first) {
                drain.try_stuck_again();
            }
            ids.begin();
            drain.unlink_durable(ids)?;
            let step = drain.take_batch(ids, &*inner.log, inner.clock.now())?;
            drained += step.unwrap_or_default();
            if step.is_none() && !drain.has_taken() {
                if let Some(trouble) = drain.trouble() {
                    return Err(trouble);
                }
                drained.quarantined += drain.quarantined();
                return Ok(drained);
            }
            // Others may append while this waits for the disk.
            drop(writer);
            inner.flush()?;
        }
    }

    /// Makes everything durable, saves what makes the next opening quick, and gives the lock back. All clones refuse events from
    /// now on; reading goes on. Closing twice is closing once.
    ///
    /// # Errors
    /// When the last flush fails; the lock is given back all the same, and what was in the inbox is there for the next holder.
    pub fn close(&self) -> Result<()> {
        let inner = &self.inner;
        // The last moment at which this process knows of it.
        let found = std::mem::take(&mut inner.untold().found);
        let left = inner.dir.as_ref().map_or(Ok(()), |dir| untold::leave(&dir.inbox(), &found));
        let mut writer = inner.writer();
        if std::mem::replace(&mut writer.closed, true) {
            return Ok(());
        }
        writer.wake = None;
        let Writer { ids, drain, .. } = &mut *writer;
        ids.begin();
        let flushed =
            inner.flush().and_then(|()| drain.as_mut().map_or(Ok(()), |drain| drain.unlink_durable(ids)));
        ids.save();
        if let Some(drain) = drain {
            drain.save(&*inner.log);
            // The next opening does it as well: nothing is lost by leaving it.
            if let Err(error) = drain.sweep(inner.clock.now()) {
                tracing::warn!("what others left in the inbox stays there: {error}");
            }
        }
        let closed = inner.log.close();
        inner.counters.settle();
        writer.held = None;
        flushed.and(closed).and(left)
    }

    /// What an opening has to tell of the journal.
    fn findings(&self, recovery: &journal::Recovery) -> Vec<Event> {
        let mut events = Vec::new();
        if !recovery.created && !recovery.clean {
            let torn = recovery.torn.as_ref();
            events.push(self.own_event(payload::JournalRecovered {
                tail_seq: self.tail().get(),
                torn_bytes: torn.map_or(0, |torn| torn.bytes),
                quarantine_file: torn.and_then(|torn| torn.quarantine.clone()),
                damaged_ranges: recovery.damage.len() as u64,
            }));
        }
        for damage in &recovery.damage {
            // The same range is found at every opening that looks there; its id makes the telling happen once.
            let (from, to) = (Seq::new(damage.from.get()), Seq::new(damage.to.get()));
            let detail = format!("{} bytes at offset {} cannot be read", damage.bytes, damage.offset);
            events.push(self.corruption(from, to, &damage.segment, detail));
        }
        events
    }

    /// Leaves what this opening found where the next finds it, and tells it and what readers before it found, if it may. What there is no room
    /// for is tried again by the next drain, so that it is told as soon as there is some.
    fn tell_untold(&self, dir: &DataDir) -> Result<()> {
        let mut untold = self.inner.untold();
        if !untold.waits {
            return Ok(());
        }
        // Who makes a cut has its note there, and tells it.
        let Ok(_cuts) = self.inner.retaining.try_lock() else { return Ok(()) };
        // On the disk before anything can close the journal in order, which is when the findings are gone.
        match untold::leave(&dir.inbox(), &untold.found) {
            // No room beside the journal; there may be some in it.
            Err(error) if error.is_full() && untold.tells => self.tell_found(untold.found.clone())?,
            left => left?,
        }
        untold.found.clear();
        if untold.tells {
            self.tell_what_was_left(dir)?;
        }
        untold.waits = false;
        untold::take_room(&dir.inbox());
        Ok(())
    }

    /// Tells what this opening and readers before it left.
    fn tell_what_was_left(&self, dir: &DataDir) -> Result<()> {
        let (mut files, mut events) = (Vec::new(), Vec::new());
        for (path, event) in untold::left(&dir.inbox())? {
            files.push(path);
            if let Some(event) = event.as_ref().filter(|event| event.kind == Kind::RetentionApplied) {
                self.finish_cut(event)?;
            }
            events.extend(event);
        }
        self.tell_found(events)?;
        for path in files {
            std::fs::remove_file(&path).map_err(Error::io("remove", path))?;
        }
        Ok(())
    }

    fn tell_found(&self, mut events: Vec<Event>) -> Result<()> {
        if self.told_lately(Kind::JournalRecovered)? {
            events.retain(is_more_than_a_crash);
        }
        self.append_in_batches(&events)
    }

    /// Whether one of the last events is of this kind and not a minute old.
    fn told_lately(&self, kind: Kind) -> Result<bool> {
        let (log, now) = (&self.inner.log, self.inner.clock.now());
        let mut reader = log.read(Seq::new(log.durable().get().saturating_sub(TOLD_LOOKBACK).max(1)));
        while let Some(item) = reader.next()? {
            let LogItem::Record { payload, .. } = item else { continue };
            // Its own time, which is by the clock as it was then: the journal's never runs back, and after a clock was set back
            // nothing would be told lately for as long.
            let lately = |event: EventRef<'_>| {
                event.kind == kind.name()
                    && now.as_micros().abs_diff(event.time.as_micros()) < TELL_EVERY_MICROS
            };
            if EventRef::decode(payload).is_ok_and(lately) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn tell_drained(&self, drained: Drained) -> Result<()> {
        let Drained { events, duplicates, quarantined, .. } = drained;
        self.append_own(vec![self.own_event(payload::InboxDrained { events, duplicates, quarantined })])
    }

    pub(super) fn own_event(&self, payload: impl Into<crate::event::Payload>) -> Event {
        let clock = &*self.inner.clock;
        let source = clock::this_source("mnemosyne");
        Event::new(clock::new_id(clock), clock.now(), self.inner.instance.clone(), source, payload)
    }

    /// Appends without draining first: what an opening has to tell goes before what it then drains.
    pub(super) fn append_own(&self, events: Vec<Event>) -> Result<()> {
        let level = self.inner.highest_level()?;
        self.emit_without_drain(events, level)?.wait().map(drop)
    }
}

/// False of a recovery that found nothing to cut and nothing damaged: a process that dies again and again has nothing new to say.
fn is_more_than_a_crash(event: &Event) -> bool {
    let recovered = event.payload_as::<payload::JournalRecovered>().and_then(Result::ok);
    recovered.is_none_or(|recovered| recovered.torn_bytes > 0 || recovered.damaged_ranges > 0)
}

fn opened(recovery: &journal::Recovery) -> Opened {
    let range = |damage: &journal::Damage| (Seq::new(damage.from.get()), Seq::new(damage.to.get()));
    Opened {
        created: recovery.created,
        clean: recovery.created || recovery.clean,
        torn_bytes: recovery.torn.as_ref().map_or(0, |torn| torn.bytes),
        damage: recovery.damage.iter().map(range).collect(),
        ..Opened::default()
    }
}

impl Inner {
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic under the lock leaves ids and inbox as of the last whole step, which is what a crash leaves too.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn highest_level(&self) -> Result<Level> {
        self.log
            .promises()
            .levels
            .last()
            .copied()
            .ok_or(Error::Closed { reason: "it is open for reading only" })
    }

    fn flush(&self) -> Result<()> {
        self.log.flush(self.highest_level()?)
    }
}

impl Writer {
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed { Err(Error::Closed { reason: "it was closed" }) } else { Ok(()) }
    }

    /// What lies in the inbox was put there before this batch was emitted, perhaps by the same process.
    pub(super) fn drain_before_batch(&mut self, inner: &Inner) -> Result<()> {
        let Some(drain) = &mut self.drain else { return Ok(()) };
        drain.unlink_durable(&self.ids)?;
        drain.take_all(&mut self.ids, &*inner.log, inner.clock.now())?;
        if let (true, Some(wake)) = (drain.wants_attention(), &self.wake) {
            wake.nudge();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
