//! Opening and closing the store as the one who may write.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{DataDir, Settings};
use crate::error::Result;
use crate::event::Seq;
use crate::store::lock::Role;
use crate::store::log::{JournalId, Log};

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
    /// Whether the store may append events of its own (`inbox_drained`); a reading command appends nothing.
    pub own_events: bool,
}

impl Opening {
    /// As the server.
    pub fn server(instance: impl Into<String>, clock: Arc<dyn Clock>, settings: Settings) -> Opening {
        let (role, lock_wait) = (Role::Server, SERVER_LOCK_WAIT);
        Opening { role, instance: instance.into(), lock_wait, clock, settings, own_events: true }
    }

    /// As a command that appends.
    pub fn command(instance: impl Into<String>, clock: Arc<dyn Clock>, settings: Settings) -> Opening {
        let (role, lock_wait) = (Role::Command, COMMAND_LOCK_WAIT);
        Opening { role, instance: instance.into(), lock_wait, clock, settings, own_events: true }
    }
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The journal was made.
    pub created: bool,
    /// Bytes of an unfinished end that were set aside.
    pub torn_bytes: u64,
    /// Damaged ranges that were found, from and to.
    pub damage: Vec<(Seq, Seq)>,
    /// Events taken from the inbox.
    pub drained: u64,
    /// Events of the inbox that the journal held already.
    pub duplicates: u64,
    /// Files of the inbox that could not be read and were set aside.
    pub quarantined: u64,
}

/// The store, open for writing. Clones are one store.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) log: Arc<dyn Log>,
}

impl Store {
    /// Takes the lock, recovers the journal, tells what was found, drains the inbox; in this order.
    ///
    /// # Errors
    /// [`crate::Error::ServerRunning`], [`crate::Error::Locked`], and what the journal says. Nothing is held then.
    pub fn open(dir: &DataDir, opening: Opening) -> Result<(Store, Opened)> {
        let _ = (dir, opening);
        todo!()
    }

    /// A store over any log, without lock and inbox: what the tests of other layers build on.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn over(log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Result<Store> {
        let _ = (log, clock);
        todo!()
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
    pub fn drain_inbox(&self) -> Result<u64> {
        todo!()
    }

    /// Makes everything durable, saves what makes the next opening quick, and gives the lock back. All clones refuse events from now on.
    ///
    /// # Errors
    /// When the last flush fails.
    pub fn close(&self) -> Result<()> {
        todo!()
    }
}
