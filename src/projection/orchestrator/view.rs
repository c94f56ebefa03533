//! What people and programs read of the orchestrator projection.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::state::{Counts, Illegal, Item, ItemState, LastWord, Run};
use super::{OrchestratorProjection, Totals, UNPLACED};
use crate::event::Seq;
use crate::projection::Fold;
use crate::projection::sessions::view::At;

/// The version of this form: raised when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrchestratorView {
    /// See [`VERSION`].
    pub version: u32,
    /// The last event that this knows.
    pub seq: Seq,
    /// Counts over all runs.
    pub totals: Totals,
    /// The runs, the one that began last first.
    pub runs: Vec<RunView>,
}

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// Its correlation; null for events that belong to no known run.
    pub correlation: Option<Uuid>,
    /// The plan in words.
    pub plan: String,
    /// Items that may run at once.
    pub max_concurrent: Option<u32>,
    /// Its start.
    pub started: Option<At>,
    /// Its end.
    pub ended: Option<At>,
    /// Its own last word, which should be what is counted here.
    pub last_word: Option<LastWord>,
    /// Whether that is so; null while it has not ended.
    pub last_word_agrees: Option<bool>,
    /// The phase that began last.
    pub phase: Option<String>,
    /// Items that completed.
    pub completed: u64,
    /// Items that failed.
    pub failed: u64,
    /// Items that an executor works on.
    pub active: u64,
    /// Everything else counted.
    pub counts: Counts,
    /// Its items, as far as they are kept.
    pub items: Vec<ItemView>,
    /// Those that are blocked.
    pub blocked: Vec<Uuid>,
    /// Its agents, as far as they are kept.
    pub agents: Vec<PlanAgentView>,
    /// The latest moves that no item can make.
    pub illegal: Vec<IllegalView>,
}

/// A work item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemView {
    /// Its id.
    pub item_id: Uuid,
    /// Where it stands.
    pub state: ItemState,
    /// Since when.
    pub since: At,
    /// What is to be done.
    pub description: String,
    /// Who has it.
    pub agent: Option<String>,
    /// The phase that it belongs to.
    pub phase: Option<String>,
    /// How often it was begun.
    pub attempts: u64,
    /// How often it went back.
    pub requeues: u64,
    /// How long it took when it last succeeded.
    pub duration_ms: Option<u64>,
    /// Why it last failed.
    pub error: Option<String>,
}

impl ItemView {
    fn of(item_id: Uuid, item: &Item) -> ItemView {
        ItemView {
            item_id,
            state: item.state,
            since: item.since.into(),
            description: item.description.clone(),
            agent: item.agent.clone(),
            phase: item.phase.clone(),
            attempts: item.attempts,
            requeues: item.requeues,
            duration_ms: item.duration_ms,
            error: item.error.clone(),
        }
    }
}

/// An agent of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAgentView {
    /// Its name.
    pub agent: String,
    /// Its state as last told.
    pub state: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who made it.
    pub parent: Option<String>,
    /// Its last event.
    pub last: At,
}

/// A move that no item can make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IllegalView {
    /// The event that told it.
    pub at: At,
    /// The item.
    pub item_id: Uuid,
    /// Where it stands; null if it is not known.
    pub from: Option<ItemState>,
    /// Where it was said to go.
    pub to: ItemState,
}

impl From<&Illegal> for IllegalView {
    fn from(illegal: &Illegal) -> IllegalView {
        let Illegal { mark, item, from, to } = *illegal;
        IllegalView { at: mark.into(), item_id: item, from, to }
    }
}

impl RunView {
    fn of(key: Uuid, run: &Run) -> RunView {
        let (completed, failed) = (run.in_state(ItemState::Completed), run.in_state(ItemState::Failed));
        let last_word = run.ended.as_ref().map(|ended| ended.value);
        let agents = run.agents.iter().map(|(name, agent)| PlanAgentView {
            agent: name.clone(),
            state: agent.state.as_ref().map(|state| state.value.clone()),
            reason: agent.reason.clone(),
            parent: agent.parent.clone(),
            last: agent.last.into(),
        });
        RunView {
            correlation: (key != UNPLACED).then_some(key),
            plan: run.plan.clone(),
            max_concurrent: run.max_concurrent,
            started: run.started.map(At::from),
            ended: run.ended.as_ref().map(|ended| ended.mark.into()),
            last_word,
            last_word_agrees: last_word.map(|word| (word.completed, word.failed) == (completed, failed)),
            phase: run.phases.back().map(|phase| phase.to.clone()),
            completed,
            failed,
            active: run.in_state(ItemState::Active),
            counts: run.counts,
            items: run.items.iter().map(|(id, item)| ItemView::of(*id, item)).collect(),
            blocked: run.blocked_items().map(|(id, _)| *id).collect(),
            agents: agents.collect(),
            illegal: run.illegal.iter().map(IllegalView::from).collect(),
        }
    }
}

/// The view of a fold.
pub fn orchestrator(fold: &Fold<OrchestratorProjection>) -> OrchestratorView {
    let state = fold.state();
    let mut runs: Vec<_> = state.runs.iter().collect();
    runs.sort_by_key(|(_, run)| std::cmp::Reverse(run.first.seq()));
    OrchestratorView {
        version: VERSION,
        seq: fold.seq(),
        totals: state.totals,
        runs: runs.into_iter().map(|(key, run)| RunView::of(*key, run)).collect(),
    }
}
