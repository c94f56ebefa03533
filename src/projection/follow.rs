//! All projections at the live end, as one subscription.
//!
//! An event is read and decoded once, in batches, and each runner takes the batch in under its own lock. Runners may stand at
//! different seqs at first (each begins at its newest snapshot): reading begins at the one furthest behind, and the others pass
//! over what they know.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ahead::each_batch;
use super::registry::Runners;
use super::runner::{
    AnyRunner, BATCH_EVENTS_MAX, Progress, SNAPSHOT_EVERY, SnapshotError, Source, Taken, events_from,
};
use super::snapshot::files;
use crate::error::Result;
use crate::event::{Filter, Seq};
use crate::store::{Delivery, Item, Store, Subscription};

/// At most so often is told that snapshots of a projection were taken.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// What became of snapshots that were due.
#[derive(Debug)]
pub enum Told {
    /// Some were taken since this was told last.
    Taken {
        /// Of which projection.
        projection: &'static str,
        /// The sum of them.
        taken: Taken,
    },
    /// One was not.
    Failed {
        /// Of which projection.
        projection: &'static str,
        /// Why.
        error: SnapshotError,
    },
}

/// Keeps runners at the live end.
pub struct Follower {
    runners: Vec<Arc<dyn AnyRunner>>,
    telling: BTreeMap<&'static str, Telling>,
}

impl Follower {
    /// Of all runners.
    pub fn new(runners: &Runners) -> Follower {
        Follower { runners: runners.all(), telling: BTreeMap::new() }
    }

    /// Where reading goes on: after the runner that is furthest behind.
    fn next(&self) -> Seq {
        self.runners.iter().map(|runner| runner.seq()).min().unwrap_or(Seq::ZERO).next()
    }

    /// Takes in what is durable now, with snapshots on the way, as sparse as the ladder of a journal of this length. Blocks.
    ///
    /// # Errors
    /// When the journal cannot be read. What was taken in stands; a later call goes on from there.
    pub fn catch_up(&mut self, source: &dyn Source, mut tell: impl FnMut(Told)) -> Result<Progress> {
        let every = files::stride(source.durable());
        let (from, mut progress) = (self.next(), Progress::default());
        each_batch(&mut source.replay(from), events_from(source, from), |batch| {
            progress.count_all(batch);
            for runner in &self.runners {
                runner.take_in(batch);
                if runner.snapshot_is_due(every) {
                    let telling = self.telling.entry(runner.name()).or_default();
                    telling.tell(runner.name(), runner.snapshot(), Instant::now(), &mut tell);
                }
            }
        })?;
        Ok(progress)
    }

    /// Follows the store until it is closed, saving snapshots as they are due. `tell` hears of those of a projection at most
    /// once a minute (events and time of those not told are added to the next), and of each failure.
    ///
    /// # Errors
    /// When the journal cannot be read; the states stay at what was taken in.
    pub async fn follow(&mut self, store: &Store, mut tell: impl FnMut(Told) + Send) -> Result<()> {
        // By itself: what it would share with streams it would have to copy.
        let mut subscription = Subscription::new(store.log(), self.next(), Filter::default())?;
        while let Some(first) = subscription.next().await? {
            let mut batch: Vec<Item> = item_of(first).into_iter().collect();
            while batch.len() < BATCH_EVENTS_MAX
                && let Some(next) = subscription.try_next()?
            {
                batch.extend(item_of(next));
            }
            for runner in &self.runners {
                runner.take_in(&batch);
            }
            // Behind the live end the next delivery is always ready: others must come to their turn too.
            tokio::task::yield_now().await;
            for runner in &self.runners {
                if runner.snapshot_is_due(SNAPSHOT_EVERY) {
                    let saving = runner.clone();
                    let saved = tokio::task::spawn_blocking(move || saving.snapshot()).await;
                    let saved = saved.unwrap_or_else(|stopped| Err(io::Error::other(stopped).into()));
                    let telling = self.telling.entry(runner.name()).or_default();
                    telling.tell(runner.name(), saved, Instant::now(), &mut tell);
                }
            }
        }
        Ok(())
    }
}

fn item_of(delivery: Delivery) -> Option<Item> {
    match delivery {
        Delivery::Event(event) => Some(Item::Event(Arc::unwrap_or_clone(event))),
        Delivery::Gap(gap) => Some(Item::Gap(gap)),
        Delivery::Undecodable(record) => Some(Item::Undecodable(Arc::unwrap_or_clone(record))),
        Delivery::Checkpoint { .. } | Delivery::Lag { .. } => None,
    }
}

/// Adds up the snapshots of a projection between two tellings.
#[derive(Default)]
struct Telling {
    last: Option<Instant>,
    untold: Option<Taken>,
}

impl Telling {
    fn tell(
        &mut self,
        projection: &'static str,
        saved: Result<Option<Taken>, SnapshotError>,
        now: Instant,
        tell: &mut impl FnMut(Told),
    ) {
        match saved {
            Ok(taken) => {
                if let Some(taken) = self.add(taken, now) {
                    tell(Told::Taken { projection, taken });
                }
            }
            Err(error) => tell(Told::Failed { projection, error }),
        }
    }

    fn add(&mut self, taken: Option<Taken>, now: Instant) -> Option<Taken> {
        let taken = taken?;
        let sum = self.untold.map_or(taken, |untold| Taken {
            events: untold.events + taken.events,
            duration: untold.duration + taken.duration,
        });
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < TELL_EVERY) {
            self.untold = Some(sum);
            return None;
        }
        (self.last, self.untold) = (Some(now), None);
        Some(sum)
    }
}

#[cfg(test)]
mod tests;
