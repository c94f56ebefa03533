//! Where readers met damage: whoever looks after the log is woken by the first who stumbles.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::event::Seq;

/// The places where readers met damage since somebody last asked.
#[derive(Debug, Default)]
pub struct Attention {
    met: Mutex<Met>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Met {
    seqs: BTreeSet<Seq>,
    /// Damaged ranges that were told.
    known: BTreeSet<(Seq, Seq)>,
    stop: bool,
}

/// More places than this need not be kept apart: whoever looks finds the others in the same segments, or at the next look.
const PLACES_MAX: usize = 1024;

impl Attention {
    /// A reader met a seq that cannot be read.
    pub fn call(&self, seq: Seq) {
        let mut met = self.met();
        let mut before = met.known.range(..=(seq, Seq::MAX));
        if before.next_back().is_some_and(|(_, to)| seq <= *to) {
            return;
        }
        if met.seqs.len() < PLACES_MAX && met.seqs.insert(seq) {
            self.changed.notify_all();
        }
    }

    /// These ranges were told: who meets them again need not say so.
    pub fn know(&self, ranges: impl IntoIterator<Item = (Seq, Seq)>) {
        self.met().known.extend(ranges);
    }

    /// What was met, at the latest after `timeout`; `None` once [`Attention::stop`] was called.
    pub fn wait(&self, timeout: Duration) -> Option<BTreeSet<Seq>> {
        let idle = |met: &mut Met| met.seqs.is_empty() && !met.stop;
        let waited = self.changed.wait_timeout_while(self.met(), timeout, idle);
        let mut met = waited.unwrap_or_else(PoisonError::into_inner).0;
        if met.stop { None } else { Some(std::mem::take(&mut met.seqs)) }
    }

    /// Ends all waiting, from now on.
    pub fn stop(&self) {
        self.met().stop = true;
        self.changed.notify_all();
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
