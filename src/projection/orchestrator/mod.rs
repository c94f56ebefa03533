//! The orchestrator projection: plans that ran and run, their work items and agents, counted from what happened.
//!
//! **Work items** move only along [`state::ItemState::may_become`]. An event that tells another move, or of an item that
//! nobody assigned, changes no state: it is counted and shown (`illegal`), because either the orchestrator or this
//! table is wrong, and inventing a state would hide it. How many items completed and failed is counted from the items;
//! what the plan's own last word says stands beside it.
//!
//! **Which run.** All events of a run share the correlation of its `orchestration_started` or were caused by it; those
//! of a work item share its id instead, so an item belongs to the run that it was first seen in. An event that names
//! none of these belongs to the only open run of its instance, and where there is none or more than one, to the
//! run without a start ([`UNPLACED`]).
//!
//! **Order** is by seq: one process writes the events of a run in order, and no import brings them late.
//!
//! **Bounds.** The latest [`RUNS_DETAILED_MAX`] finished runs keep their items and agents, the latest [`RUNS_KEPT_MAX`]
//! their counts; totals are over all runs that ever were.

pub mod state;
pub mod view;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::state::{ItemState, Run};
use super::sessions::text::clip;
use super::sessions::viewer::Looking;
use super::{Fold, Mark, Projection, Wanted};
use crate::event::{Category, Event, Json, Kind, StoredEvent, payload};

/// Runs that keep their counts.
pub const RUNS_KEPT_MAX: usize = 256;
/// Finished runs that keep their items and agents.
pub const RUNS_DETAILED_MAX: usize = 16;
/// Stands for the run of events that name none.
pub const UNPLACED: Uuid = Uuid::nil();

/// The projection's name and rules; its state is [`Orchestrator`].
pub enum OrchestratorProjection {}

/// The state of the orchestrator projection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orchestrator {
    /// Runs by the correlation of their start.
    pub runs: BTreeMap<Uuid, Run>,
    /// Everything counted, over all runs.
    pub totals: Totals,
    /// The run of each item that is kept.
    items: BTreeMap<Uuid, Uuid>,
    /// Seq of the start, or of the first event, to run: the order in which runs leave.
    by_start: BTreeMap<u64, Uuid>,
    /// Seq of the end to run, of those that keep detail after it.
    detailed: BTreeMap<u64, Uuid>,
    /// Events whose payload could not be read.
    pub unread: u64,
}

/// Counts over all runs. An item that was requeued counts again when it completes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Plans that began.
    pub runs_started: u64,
    /// Plans that ended.
    pub runs_completed: u64,
    /// Times that an item completed.
    pub completions: u64,
    /// Times that an item failed.
    pub failures: u64,
    /// Times that an item went back.
    pub requeues: u64,
    /// Reviews that found something.
    pub reviews_failed: u64,
    /// Deadlocks found.
    pub deadlocks: u64,
    /// Moves that no item can make; they changed nothing.
    pub illegal: u64,
}

impl Projection for OrchestratorProjection {
    const NAME: &'static str = "orchestrator";
    const SCHEMA: u32 = 1;
    const WANTED: Option<Wanted> =
        Some(|kind| kind.is_some_and(|kind| kind.category() == Category::Orchestration));
    type State = Orchestrator;

    fn shown(fold: &Fold<Self>, _: &Looking<'_>) -> Option<serde_json::Result<Json>> {
        let mut shown = serde_json::to_value(view::orchestrator(fold));
        if let Ok(Json::Object(fields)) = &mut shown {
            // They stand above it.
            fields.retain(|name, _| name != "version" && name != "seq");
        }
        Some(shown)
    }

    fn apply(state: &mut Orchestrator, stored: &StoredEvent) {
        let Some(kind) = stored.event.kind.known().filter(|kind| Self::wants(Some(*kind))) else { return };
        if state.take(kind, Mark::of(stored), &stored.event).is_err() {
            state.unread += 1;
        }
    }
}

impl Orchestrator {
    fn take(&mut self, kind: Kind, mark: Mark, event: &Event) -> Result<(), serde_json::Error> {
        let text = &event.payload;
        match kind {
            Kind::OrchestrationStarted => self.started(mark, event, &text.read()?),
            Kind::OrchestrationCompleted => {
                let told: payload::OrchestrationCompleted = text.read()?;
                let run = self.run_of(event, mark);
                self.completed(run, mark, &told);
            }
            Kind::WorkItemAssigned => {
                let told: payload::WorkItemAssigned = text.read()?;
                self.step(event, mark, told.item_id, ItemState::Assigned, |item| {
                    item.agent = Some(clip(&told.agent));
                    item.description = clip(&told.description);
                    item.phase = Some(clip(&told.phase));
                });
            }
            Kind::WorkItemStarted => {
                let told: payload::WorkItemStarted = text.read()?;
                self.step(event, mark, told.item_id, ItemState::Active, |item| {
                    item.agent = Some(clip(&told.agent));
                    item.attempts += 1;
                });
            }
            Kind::WorkItemCompleted => {
                let told: payload::WorkItemCompleted = text.read()?;
                self.totals.completions +=
                    self.step(event, mark, told.item_id, ItemState::Completed, |item| {
                        item.duration_ms = Some(told.duration_ms);
                    });
            }
            Kind::WorkItemFailed => {
                let told: payload::WorkItemFailed = text.read()?;
                self.totals.failures += self.step(event, mark, told.item_id, ItemState::Failed, |item| {
                    item.error = Some(clip(&told.error));
                });
            }
            Kind::ReviewFailed => {
                let told: payload::ReviewFailed = text.read()?;
                let issues = told.issues.len() as u64;
                self.totals.reviews_failed +=
                    self.step(event, mark, told.item_id, ItemState::ReviewFailed, |item| {
                        item.reviews_failed += 1;
                        item.issues = issues;
                    });
            }
            Kind::WorkItemRequeued => {
                let told: payload::WorkItemRequeued = text.read()?;
                self.totals.requeues += self.step(event, mark, told.item_id, ItemState::Requeued, |item| {
                    item.requeues += 1;
                });
            }
            Kind::DeadlockDetected => {
                let told: payload::DeadlockDetected = text.read()?;
                self.totals.deadlocks += 1;
                let run = self.run_of(event, mark);
                for item in &told.blocked_items {
                    self.items.entry(*item).or_insert(run);
                }
                self.with(run, |run| run.blocked(mark, &told.blocked_items));
            }
            Kind::DeadlockResolved => {
                let told: payload::DeadlockResolved = text.read()?;
                let run = self.run_of(event, mark);
                self.with(run, |run| run.unblocked(&told.blocked_items));
            }
            Kind::PhaseTransition => {
                let told: payload::PhaseTransition = text.read()?;
                let run = self.run_of(event, mark);
                self.with(run, |run| run.phase(mark, &told));
            }
            Kind::AgentStateChanged => {
                let told: payload::AgentStateChanged = text.read()?;
                let run = self.run_of(event, mark);
                self.with(run, |run| run.agent_moved(mark, &told));
            }
            Kind::SubAgentSpawned => {
                let told: payload::SubAgentSpawned = text.read()?;
                let run = self.run_of(event, mark);
                self.with(run, |run| run.agent_spawned(mark, &told));
            }
            Kind::MessageSent | Kind::ContextCheckpoint | Kind::ContextConsolidated => {
                let run = self.run_of(event, mark);
                self.with(run, |run| run.counts.count_other(kind));
            }
            // Another kind of the category is one that this table does not know yet.
            _ => {}
        }
        Ok(())
    }

    fn started(&mut self, mark: Mark, event: &Event, told: &payload::OrchestrationStarted) {
        self.totals.runs_started += 1;
        let key = event.correlation;
        self.make(key, mark);
        self.with(key, |run| {
            run.started = Some(mark);
            run.start_event = Some(event.id);
            run.instance.clone_from(&clip(&event.instance));
            run.plan = clip(&told.plan_description);
            run.max_concurrent = Some(told.max_concurrent);
        });
    }

    fn completed(&mut self, key: Uuid, mark: Mark, told: &payload::OrchestrationCompleted) {
        self.totals.runs_completed += 1;
        self.with(key, |run| run.completed(mark, told));
        if key != UNPLACED {
            self.detailed.insert(mark.seq().get(), key);
        }
        while self.detailed.len() > RUNS_DETAILED_MAX {
            let Some((_, key)) = self.detailed.pop_first() else { break };
            if let Some(run) = self.runs.get_mut(&key) {
                run.drop_detail();
            }
            self.items.retain(|_, of| *of != key);
        }
    }

    /// Moves an item, or counts that it cannot move so. Returns how often it moved: once, or not at all.
    fn step(
        &mut self,
        event: &Event,
        mark: Mark,
        item: Uuid,
        to: ItemState,
        note: impl FnOnce(&mut state::Item),
    ) -> u64 {
        let key = match self.items.get(&item) {
            Some(run) => *run,
            None => self.run_of(event, mark),
        };
        let Some(run) = self.runs.get_mut(&key) else { return 0 };
        if !run.step(mark, item, to, note) {
            self.totals.illegal += 1;
            return 0;
        }
        self.items.insert(item, key);
        for left in run.bound_items() {
            self.items.remove(&left);
        }
        1
    }

    /// The run that an event belongs to; made where it is the first of it.
    fn run_of(&mut self, event: &Event, mark: Mark) -> Uuid {
        if self.runs.contains_key(&event.correlation) {
            return event.correlation;
        }
        let caused =
            |(_, run): &(&Uuid, &Run)| event.causation.is_some() && run.start_event == event.causation;
        if let Some((key, _)) = self.runs.iter().find(caused) {
            return *key;
        }
        let instance = clip(&event.instance);
        let mut open = self.runs.iter().filter(|(_, run)| run.is_open() && run.instance == instance);
        if let (Some((key, _)), None) = (open.next(), open.next()) {
            return *key;
        }
        self.make(UNPLACED, mark);
        UNPLACED
    }

    fn make(&mut self, key: Uuid, mark: Mark) {
        if self.runs.contains_key(&key) {
            return;
        }
        self.runs.insert(key, Run::new(mark));
        self.by_start.insert(mark.seq().get(), key);
        while self.runs.len() > RUNS_KEPT_MAX {
            let Some((_, key)) = self.by_start.pop_first() else { break };
            self.runs.remove(&key);
            self.items.retain(|_, of| *of != key);
            self.detailed.retain(|_, of| *of != key);
        }
    }

    fn with(&mut self, key: Uuid, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs.get_mut(&key) {
            change(run);
        }
    }
}

#[cfg(test)]
mod tests;
