//! The store's books: what was offered to it and what became of each event, by the way on which it came.
//!
//! Constraints: the books balance at every moment, not only when nothing happens; an event is counted once, whatever becomes
//! of whoever waits for it; counting must not be felt on the way in.
//!
//! ```text
//! offered = committed + duplicates + refused + pending        for each way
//! last seq = seq at the opening + committed on all ways       once nothing is pending
//! ```
//!
//! How: one lock of one struct, held for an addition, so that a reader never sees half of a change. An event is offered when
//! [`Store::emit_from`] takes it and decided when its batch is: committed at the level that was reached, known already, or
//! refused with the word of the error. A batch that nobody waits for any more (a client that went away) is adopted and
//! asked about when the books are read, since the log decides on it all the same. What was refused before the store saw it
//! (a body that is no JSON, a limit) is entered by who refused it ([`Store::refused`]).
//!
//! What lies in the inbox is entered when its file is done with: a file that is taken and put back was never offered.
//! The books are of this process; the failures of hooks are of the data directory ([`Store::inbox`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use crate::config::DataDir;
use crate::error::{Error, Result};
use crate::event::Seq;
use crate::store::emit::Run;
use crate::store::inbox;
use crate::store::inbox::failed::{self, Failures};
use crate::store::log::Level;
use crate::store::open::Store;

/// Batches that nobody waits for are asked about when there are this many of them, if nobody reads the books before.
const ADOPTED_MAX: usize = 64;

/// How an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// By `POST /events/emit`.
    Http,
    /// By `POST /hooks/claude`.
    Hook,
    /// Through the inbox: hooks, commands, and whoever could not reach the server.
    Inbox,
    /// From a transcript that the server reads while its session lives.
    Import,
    /// From this process itself.
    Own,
}

impl Way {
    /// Every way.
    pub const ALL: [Way; 5] = [Way::Http, Way::Hook, Way::Inbox, Way::Import, Way::Own];

    /// The word for it, as `/metrics` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Http => "http",
            Way::Hook => "hook",
            Way::Inbox => "inbox",
            Way::Import => "import",
            Way::Own => "own",
        }
    }
}

/// What became of the events of one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Events that came.
    pub offered: u64,
    /// Appended and acknowledged at level `os`.
    pub committed_os: u64,
    /// Appended and acknowledged at level `disk`.
    pub committed_disk: u64,
    /// Known already: answered with the first one's seq.
    pub duplicates: u64,
    /// Refused, by the word that says why.
    pub refused: BTreeMap<&'static str, u64>,
    /// On their way.
    pub pending: u64,
}

impl Account {
    /// Appended and acknowledged at any level.
    pub fn committed(&self) -> u64 {
        self.committed_os + self.committed_disk
    }

    /// Refused for any reason.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The books at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    accounts: [Account; Way::ALL.len()],
    /// The last seq that the journal held when this process opened it.
    pub opened_at: Seq,
}

impl Books {
    /// What became of what came on this way.
    pub fn of(&self, way: Way) -> &Account {
        &self.accounts[way as usize]
    }

    fn of_mut(&mut self, way: Way) -> &mut Account {
        &mut self.accounts[way as usize]
    }

    /// Appended on any way.
    pub fn committed(&self) -> u64 {
        self.accounts.iter().map(Account::committed).sum()
    }
}

/// What the inbox holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxState {
    /// Files that lie there, those included whose events are in the journal and which are about to go.
    pub waiting: u64,
    /// What could not even be put there, since the data directory was made.
    pub failures: Failures,
}

impl Store {
    /// The books of this process.
    pub fn books(&self) -> Books {
        self.inner.counters.books()
    }

    /// Enters `events` that were refused before the store saw them; `reason` is one of a small set of words.
    pub fn refused(&self, way: Way, reason: &'static str, events: u64) {
        self.inner.counters.refused(way, reason, events);
    }

    /// What lies in the inbox and what could not be put there; nothing for a store without one. Lists the directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn inbox(&self) -> Result<InboxState> {
        let Some(inbox) = self.inner.dir.as_ref().map(DataDir::inbox) else {
            return Ok(InboxState::default());
        };
        Ok(InboxState { waiting: inbox::waiting(&inbox)?, failures: failed::read(&inbox)? })
    }
}

/// The books while they are kept.
pub(super) struct Counters {
    books: Mutex<Books>,
    /// Batches on their way that nobody waits for.
    adopted: Mutex<Vec<Run>>,
}

impl Counters {
    pub(super) fn new(opened_at: Seq) -> Counters {
        Counters {
            books: Mutex::new(Books { opened_at, ..Books::default() }),
            adopted: Mutex::new(Vec::new()),
        }
    }

    fn enter(&self, way: Way, change: impl FnOnce(&mut Account)) {
        change(self.lock().of_mut(way));
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn books(&self) -> Books {
        self.settle();
        self.lock().clone()
    }

    pub(super) fn offer(self: &Arc<Self>, way: Way, events: u64) -> Offer {
        self.enter(way, |account| {
            account.offered += events;
            account.pending += events;
        });
        Offer { counters: self.clone(), way, left: events }
    }

    pub(super) fn refused(&self, way: Way, reason: &'static str, events: u64) {
        self.enter(way, |account| {
            account.offered += events;
            *account.refused.entry(reason).or_default() += events;
        });
    }

    /// Files of the inbox that are done with. A drain waits for the highest level that there is.
    pub(super) fn drained(&self, committed: u64, duplicates: u64) {
        self.enter(Way::Inbox, |account| {
            account.offered += committed + duplicates;
            account.committed_disk += committed;
            account.duplicates += duplicates;
        });
    }

    /// A batch whose fate is still to be entered.
    pub(super) fn adopt(&self, run: Run) {
        let mut adopted = self.adopted();
        adopted.push(run);
        let many = adopted.len() >= ADOPTED_MAX;
        drop(adopted);
        if many {
            self.settle();
        }
    }

    /// Enters what became of adopted batches. Outside the lock: asking a batch takes locks of its own.
    pub(super) fn settle(&self) {
        let runs = std::mem::take(&mut *self.adopted());
        let mut context = Context::from_waker(Waker::noop());
        let undecided: Vec<Run> = runs
            .into_iter()
            .filter_map(|mut run| run.poll(&mut context).is_pending().then_some(run))
            .collect();
        self.adopted().extend(undecided);
    }

    fn adopted(&self) -> MutexGuard<'_, Vec<Run>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events whose fate is to be entered, bit by bit.
pub(super) struct Offer {
    counters: Arc<Counters>,
    way: Way,
    left: u64,
}

impl Offer {
    pub(super) fn committed(&mut self, level: Level, events: u64) {
        self.decide(events, |account| match level {
            Level::Os => account.committed_os += events,
            Level::Disk => account.committed_disk += events,
        });
    }

    /// All that are left were known already.
    pub(super) fn rest_is_known(&mut self) {
        let events = self.left;
        self.decide(events, |account| account.duplicates += events);
    }

    /// All that are left were refused.
    pub(super) fn rest_is_refused(&mut self, error: &Error) {
        let events = self.left;
        if events > 0 {
            self.decide(events, |account| *account.refused.entry(reason(error)).or_default() += events);
        }
    }

    pub(super) fn adopt(run: Run) {
        let counters = run.offer.counters.clone();
        counters.adopt(run);
    }

    fn decide(&mut self, events: u64, change: impl FnOnce(&mut Account)) {
        self.left -= events;
        self.counters.enter(self.way, |account| {
            account.pending -= events;
            change(account);
        });
    }
}

/// The word for a refusal: what the HTTP interface answers with.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Closed { .. } => "stopping",
        Error::BatchSize { .. } => "out_of_range",
        error => error.code(),
    }
}

#[cfg(test)]
mod tests;
