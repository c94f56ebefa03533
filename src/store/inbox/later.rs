//! What a process that holds the journal cannot append for want of room.

use super::{Deposit, deposit};
use crate::error::{Error, Result};
use crate::event::{Event, Seq};
use crate::store::{Level, Store};

impl Store {
    /// Appends an event of this process; where there is no room for it, leaves it in the inbox, from where it is taken in
    /// before anything else once there is. The seq, if it has one now.
    ///
    /// # Errors
    /// As [`Store::emit`]; [`Error::StorageFull`] where there is no inbox, or no room in it either.
    pub async fn emit_or_leave(&self, mut event: Event) -> Result<Option<Seq>> {
        let emitted = match self.emit(vec![event.clone()], Level::Disk, None) {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        match (emitted, &self.inner.dir) {
            (Ok(emitted), _) => Ok(emitted.seqs.first().copied()),
            (Err(full @ Error::StorageFull { .. }), Some(dir)) => {
                event.redact(&self.inner.redactor);
                match deposit(&dir.inbox(), &event, &*self.inner.clock, Deposit::Os) {
                    Ok(()) => Ok(None),
                    Err(error) => {
                        tracing::warn!(%error, "there is no room in the inbox either");
                        Err(full)
                    }
                }
            }
            (Err(error), _) => Err(error),
        }
    }
}
