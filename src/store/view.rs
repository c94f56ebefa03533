//! Reading without writing: beside a server, after it, or on a copied directory.

use crate::config::{DataDir, Env, Settings};
use crate::error::Result;
use crate::event::{Filter, Seq};
use crate::store::log::JournalId;
use crate::store::replay::{Replay, SessionOrder};
use crate::store::subscribe::Subscription;

/// The journal of a data directory, open for reading only.
#[derive(Clone)]
pub struct View {}

impl View {
    /// Opens it as it is; changes nothing. A data directory without a journal is an empty one.
    ///
    /// # Errors
    /// [`crate::Error::NoDataDir`], and what the journal says.
    pub fn open(dir: &DataDir) -> Result<View> {
        let _ = dir;
        todo!()
    }

    /// How many events wait in the inbox and are therefore not seen here.
    pub fn waiting(&self) -> u64 {
        todo!()
    }
    /// Which journal this is; `None` while there is none.
    pub fn journal_id(&self) -> Option<JournalId> {
        todo!()
    }
    /// The first seq that is retained.
    pub fn first(&self) -> Seq {
        todo!()
    }
    /// The highest durable seq.
    pub fn durable(&self) -> Seq {
        todo!()
    }
    /// Reads from `from` to the durable tail.
    pub fn replay(&self, from: Seq) -> Replay {
        let _ = from;
        todo!()
    }
    /// The events of one session, in the order of their time.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn session(&self, session: &str) -> Result<SessionOrder> {
        let _ = session;
        todo!()
    }
    /// Follows the journal: with a server, what it writes; without one, what arrives in the inbox, which is drained meanwhile.
    /// For blocking use ([`Subscription::wait_next`]).
    ///
    /// # Errors
    /// [`crate::Error::CursorAhead`].
    pub fn follow(&self, from: Seq, filter: Filter) -> Result<Subscription> {
        let _ = (from, filter);
        todo!()
    }
}

/// What every reading command calls: drains the inbox if nobody holds the journal, then opens a [`View`]. Never waits for the lock.
///
/// # Errors
/// As [`View::open`]. That the inbox could not be drained is no error: [`View::waiting`] says how many events are not seen.
pub fn read(dir: &DataDir, env: &Env) -> Result<View> {
    let _ = Settings::load(dir, env)?;
    View::open(dir)
}
