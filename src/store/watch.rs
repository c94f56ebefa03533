//! Draining as events arrive.

use crate::error::Result;
use crate::store::open::Store;

/// Drains the inbox as events arrive, until it is dropped.
pub struct InboxWatch {}

impl Store {
    /// Starts a thread that drains the inbox when something arrives in it, and every few seconds whatever the system tells.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn watch_inbox(&self) -> Result<InboxWatch> {
        todo!()
    }
}
