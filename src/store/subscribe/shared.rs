//! What the subscribers of one store share: the last events before the live end, decoded once for all, and readers of the files
//! that nobody uses just now. Both are bounded, however many subscribe.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use super::relay::Relay;
use crate::event::{Seq, StoredEvent};
use crate::store::log::{Log, LogReader};
use crate::store::sync::{Control, Mutex, MutexGuard, is_broken};

/// Events in the window: what a subscriber that keeps up can be behind. Few in the model, so that it goes round there.
const RECENT_EVENTS: u64 = if cfg!(shuttle) { 2 } else { 1024 };
/// An event larger than this is decoded by each: the window then takes 8 MiB at most.
const RECENT_PAYLOAD_BYTES_MAX: usize = 8 << 10;
/// Readers that lie ready. Each holds what it read last: 128 KiB, or one batch if that is larger.
const READERS_MAX: usize = 8;

/// See the module. Holds durable events only, because who puts one here has read it from the log.
pub(in crate::store) struct Shared {
    slots: Vec<Mutex<Option<Arc<StoredEvent>>>>,
    /// The one laid down last stands last.
    readers: Mutex<VecDeque<Box<dyn LogReader>>>,
    pub(super) relay: Relay,
}

impl Shared {
    pub(in crate::store) fn new() -> Shared {
        let slots = (0..RECENT_EVENTS).map(|_| Mutex::new(None)).collect();
        Shared { slots, readers: Mutex::default(), relay: Relay::default() }
    }

    /// For a subscriber that is alone: no window.
    pub(super) fn nothing() -> Shared {
        Shared { slots: Vec::new(), readers: Mutex::default(), relay: Relay::default() }
    }

    fn slot(&self, seq: Seq) -> Option<MutexGuard<'_, Option<Arc<StoredEvent>>>> {
        let slot = self.slots.get(usize::try_from(seq.get() % RECENT_EVENTS).ok()?)?;
        Some(slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The event at `seq`, if it is in the window.
    pub(super) fn recent(&self, seq: Seq) -> Option<Arc<StoredEvent>> {
        let is_it = |stored: &&Arc<StoredEvent>| stored.seq == seq || is_broken(Control::TakesAnySlot);
        self.slot(seq)?.as_ref().filter(is_it).cloned()
    }

    /// Puts an event into the window, if it belongs there.
    pub(super) fn keep(&self, stored: &Arc<StoredEvent>, durable: Seq) {
        let near = stored.seq.get() + RECENT_EVENTS > durable.get();
        if near
            && stored.event.payload.as_str().len() <= RECENT_PAYLOAD_BYTES_MAX
            && let Some(mut slot) = self.slot(stored.seq)
        {
            *slot = Some(stored.clone());
        }
    }

    /// A reader for `seq`: one that stands there already, or a new one.
    pub(super) fn reader(&self, log: &dyn Log, seq: Seq) -> Box<dyn LogReader> {
        let mut readers = self.readers();
        let here = readers.iter().rposition(|reader| reader.position() == seq);
        let reader = here.and_then(|at| readers.remove(at));
        drop(readers);
        reader.unwrap_or_else(|| log.read(seq))
    }

    /// Keeps a reader for who goes on where it stands; the one that has lain longest goes when there are too many.
    pub(super) fn lay_down(&self, reader: Box<dyn LogReader>) {
        let mut readers = self.readers();
        let oldest = if readers.len() < READERS_MAX { None } else { readers.pop_front() };
        readers.push_back(reader);
        drop(readers);
        // Closing a file need not be waited for by others.
        drop(oldest);
    }

    #[cfg(test)]
    pub(super) fn readers_kept(&self) -> usize {
        self.readers().len()
    }

    fn readers(&self) -> MutexGuard<'_, VecDeque<Box<dyn LogReader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
