//! Opening and closing the store as the one who may write.
//!
//! The order of an opening is fixed: take the lock, recover the journal, tell what was found, sweep and drain the inbox, tell
//! that there was a backlog. A close goes the other way: refuse events, make everything durable, unlink what was drained,
//! write down the ids of the unfinished block, close the journal with its proof, give the lock back.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mnemosyne_journal as journal;

use crate::clock::{self, Clock};
use crate::config::{DataDir, Settings};
use crate::error::{Error, Result};
use crate::event::{Event, Redactor, Seq, payload};
use crate::store::commands::Commands;
use crate::store::ids::Ids;
use crate::store::inbox::drain::{Drain, Drained};
use crate::store::inbox::running;
use crate::store::lock::{Held, Role};
use crate::store::log::{JournalId, Level, LocalLog, Log};
use crate::store::subscribe::Shared;

/// How long a server waits for a command that holds the lock.
pub const SERVER_LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long a command waits.
pub const COMMAND_LOCK_WAIT: Duration = Duration::from_secs(2);

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
    /// Whether a backlog of the inbox is told as an event; a reading command appends nothing of its own.
    pub tells_backlog: bool,
}

impl Opening {
    /// As the server.
    pub fn server(instance: impl Into<String>, clock: Arc<dyn Clock>, settings: Settings) -> Opening {
        let (role, lock_wait) = (Role::Server, SERVER_LOCK_WAIT);
        Opening { role, instance: instance.into(), lock_wait, clock, settings, tells_backlog: true }
    }

    /// As a command that appends.
    pub fn command(instance: impl Into<String>, clock: Arc<dyn Clock>, settings: Settings) -> Opening {
        let (role, lock_wait) = (Role::Command, COMMAND_LOCK_WAIT);
        Opening { role, instance: instance.into(), lock_wait, clock, settings, tells_backlog: true }
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
    writer: Mutex<Writer>,
}

/// What only one may use at a time.
pub(super) struct Writer {
    pub(super) ids: Ids,
    pub(super) drain: Option<Drain>,
    /// Wakes the inbox watch, if one runs: there are files to unlink.
    pub(super) wake: Option<SyncSender<()>>,
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
        let mut held = Held::acquire(dir, opening.role, opening.lock_wait)?;
        let options =
            journal::Options::new(journal::JournalId::from_bytes(clock::random()?), clock::random()?)
                .with_segment_bytes_target(opening.settings.segment_bytes)
                .with_chain(opening.settings.chain)
                .with_boot(journal::boot_hash());
        let disk = Arc::new(journal::RealDisk::new(dir.journal()));
        let now = journal::Micros::new(opening.clock.now().as_micros());
        let (journal, recovery) = journal::Journal::open(disk, options, now)?;
        held.name_journal(journal.id(), &dir.lock())?;
        if opening.role == Role::Server {
            journal.start_committer()?;
        }
        let log: Arc<dyn Log> = Arc::new(LocalLog::new(journal));
        let store = Store::assemble(log, Some((dir.clone(), held)), &opening);
        let mut opened = store.tell_recovery(&recovery)?;
        if let Some(drain) = &store.inner.writer().drain {
            drain.sweep()?;
        }
        if opening.tells_backlog {
            running::end_killed(&dir.inbox(), &*opening.clock)?;
        }
        opened.drained = store.drain_inbox()?;
        if opening.tells_backlog && !opened.drained.is_empty() {
            store.tell_drained(opened.drained)?;
        }
        Ok((store, opened))
    }

    /// A store over any log, without lock and inbox: what stands on another log, and what tests of other layers build on.
    pub fn over(log: Arc<dyn Log>, clock: Arc<dyn Clock>, instance: impl Into<String>) -> Store {
        Store::assemble(log, None, &Opening::command(instance, clock, Settings::default()))
    }

    fn assemble(log: Arc<dyn Log>, dir: Option<(DataDir, Held)>, opening: &Opening) -> Store {
        let (dir, held) = dir.unzip();
        let writer = Writer {
            ids: Ids::new(log.clone(), dir.as_ref().map(DataDir::index)),
            drain: dir.as_ref().map(Drain::new),
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
            writer: Mutex::new(writer),
        };
        Store { inner: Arc::new(inner) }
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
        // Read before anything is drained: what the drain appends is noted as it goes.
        self.with_commands(|_| ())?;
        let mut drained = self.drain_all()?;
        let gone = self.with_commands(|commands| commands.gone())?;
        // An end that a command wrote before it went is in the inbox by now.
        if !gone.is_empty() {
            drained += self.drain_all()?;
            let ends = self.with_commands(|commands| commands.end(&gone, &*self.inner.clock))?;
            for some in ends.chunks(super::emit::BATCH_EVENTS_MAX) {
                self.append_own(some.to_vec())?;
            }
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
        let mut drained = Drained::default();
        loop {
            let mut writer = inner.writer();
            writer.check_open()?;
            let Writer { ids, drain: Some(drain), .. } = &mut *writer else { return Ok(drained) };
            drain.unlink_durable(ids)?;
            let step = drain.take_batch(ids, &*inner.log, inner.clock.now())?;
            drained += step.unwrap_or_default();
            if step.is_none() && !drain.has_taken() {
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
        let mut writer = inner.writer();
        if std::mem::replace(&mut writer.closed, true) {
            return Ok(());
        }
        writer.wake = None;
        let Writer { ids, drain, .. } = &mut *writer;
        let flushed =
            inner.flush().and_then(|()| drain.as_mut().map_or(Ok(()), |drain| drain.unlink_durable(ids)));
        ids.save();
        if let Some(drain) = drain {
            drain.save(&*inner.log);
        }
        let closed = inner.log.close();
        writer.held = None;
        flushed.and(closed)
    }

    fn tell_recovery(&self, recovery: &journal::Recovery) -> Result<Opened> {
        let torn = recovery.torn.as_ref();
        let mut events = Vec::new();
        if !recovery.created && !recovery.clean {
            events.push(self.own_event(payload::JournalRecovered {
                tail_seq: self.tail().get(),
                torn_bytes: torn.map_or(0, |torn| torn.bytes),
                quarantine_file: torn.and_then(|torn| torn.quarantine.clone()),
                damaged_ranges: recovery.damage.len() as u64,
            }));
        }
        for damage in &recovery.damage {
            let mut event = self.own_event(payload::CorruptionDetected {
                from_seq: damage.from.get(),
                to_seq: damage.to.get(),
                segment: damage.segment.clone(),
                detail: Some(format!("{} bytes at offset {} cannot be read", damage.bytes, damage.offset)),
            });
            // The same range is found at every opening that looks there; its id makes the telling happen once.
            let key = format!("{}:{}-{}", damage.segment, damage.from, damage.to);
            event.id =
                crate::event::ids::natural(&self.journal_id().to_string(), "corruption_detected", &key);
            event.correlation = event.id;
            events.push(event);
        }
        for some in events.chunks(super::emit::BATCH_EVENTS_MAX) {
            self.append_own(some.to_vec())?;
        }
        Ok(Opened {
            created: recovery.created,
            clean: recovery.created || recovery.clean,
            torn_bytes: torn.map_or(0, |torn| torn.bytes),
            damage: recovery.damage.iter().map(|d| (Seq::new(d.from.get()), Seq::new(d.to.get()))).collect(),
            drained: Drained::default(),
        })
    }

    pub(super) fn tell_drained(&self, drained: Drained) -> Result<()> {
        let Drained { events, duplicates, quarantined } = drained;
        self.append_own(vec![self.own_event(payload::InboxDrained { events, duplicates, quarantined })])
    }

    fn own_event(&self, payload: impl Into<crate::event::Payload>) -> Event {
        let clock = &*self.inner.clock;
        let source = clock::this_source("mnemosyne");
        Event::new(clock::new_id(clock), clock.now(), self.inner.instance.clone(), source, payload)
    }

    /// Appends without draining first: what an opening has to tell goes before what it then drains.
    fn append_own(&self, events: Vec<Event>) -> Result<()> {
        let level = self.inner.highest_level()?;
        self.emit_without_drain(events, level)?.wait().map(drop)
    }
}

impl Inner {
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic under the lock leaves ids and inbox as of the last whole step, which is what a crash leaves too.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
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
        drain.unlink_durable(&mut self.ids)?;
        drain.take_all(&mut self.ids, &*inner.log, inner.clock.now())?;
        if let (true, Some(wake)) = (drain.has_taken(), &self.wake) {
            // Full means that it is awake already.
            wake.try_send(()).ok();
        }
        Ok(())
    }
}
