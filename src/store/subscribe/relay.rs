//! One task that wakes all who follow, so that no writer does.
//!
//! Who moves the durable tail wakes whoever waits for it. With a thousand streams that were a thousand wake-ups of tasks from a foreign
//! thread, each through the one queue of the runtime, before the writer gets to its next flush or to its own answer. A server
//! therefore runs [`Store::relay`]: it alone waits for the log, and wakes the others from within the runtime.
//!
//! No wake-up is lost: who enters looks at the tail again under the lock under which the relay takes all out, and the relay takes them
//! out after it has seen the tail move, from the tail on that it knew before anybody could enter. When it ends it lets all look again,
//! and they wait for the log themselves.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::{Poll, Waker};

use crate::event::Seq;
use crate::store::Store;
use crate::store::log::TailWatch;
use crate::store::sync::{Control, Mutex, MutexGuard, is_broken};

/// Those who wait for the tail to move; see the module.
#[derive(Default)]
pub(super) struct Relay {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// How many tasks relay.
    running: u32,
    /// The next place.
    next: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// Where somebody stands in the table, once it has entered.
#[derive(Default)]
pub(super) struct Place(Option<u64>);

impl Relay {
    /// Ready once the tail is beyond `seq` or the log was closed; `None` where nobody relays.
    pub(super) fn poll_beyond(
        &self,
        place: &mut Place,
        watch: &dyn TailWatch,
        seq: Seq,
        waker: &Waker,
    ) -> Option<Poll<()>> {
        let is_there = || watch.get() > seq || watch.is_closed();
        let looked = is_broken(Control::EntersWithoutALook) && is_there();
        let mut table = self.table();
        if table.running == 0 {
            return None;
        }
        if looked || (!is_broken(Control::EntersWithoutALook) && is_there()) {
            return Some(Poll::Ready(()));
        }
        let next = &mut table.next;
        let place = *place.0.get_or_insert_with(|| {
            *next += 1;
            *next
        });
        table.waiting.insert(place, waker.clone());
        Some(Poll::Pending)
    }

    /// Takes out who stands there, if anybody does.
    pub(super) fn leave(&self, place: &Place) {
        if let Some(place) = place.0 {
            let waker = self.table().waiting.remove(&place);
            drop(waker);
        }
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.table().waiting);
        waiting.into_values().for_each(Waker::wake);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody relays, until this is dropped.
struct Relaying<'a>(&'a Relay);

impl<'a> Relaying<'a> {
    fn begin(relay: &'a Relay) -> Relaying<'a> {
        relay.table().running += 1;
        Relaying(relay)
    }
}

impl Drop for Relaying<'_> {
    fn drop(&mut self) {
        self.0.table().running -= 1;
        self.0.wake_all();
    }
}

impl Store {
    /// Wakes all who follow this store whenever there is more to read, until it is closed. To be run as a task by who serves many: without
    /// it each append wakes each of them itself.
    pub async fn relay(&self) {
        let watch = self.inner.log.watch();
        let mut seen = watch.get();
        let relay = Relaying::begin(&self.inner.shared.relay);
        while !watch.is_closed() {
            seen = poll_fn(|context| watch.poll_beyond(seen, context.waker())).await;
            relay.0.wake_all();
        }
    }
}
