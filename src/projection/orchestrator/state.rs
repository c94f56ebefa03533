//! What is known of one run of a plan.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::{Kind, payload};
use crate::projection::sessions::text::clip;
use crate::projection::{Latest, Mark};

/// Items kept of a run; the one that was done first leaves, and only done ones do.
pub const ITEMS_KEPT_MAX: usize = 4_096;
/// Agents kept of a run; the one that moved least recently leaves.
pub const AGENTS_KEPT_MAX: usize = 256;
/// Phases kept of a run, the latest.
pub const PHASES_KEPT_MAX: usize = 64;
/// Illegal moves kept of a run, the latest.
pub const ILLEGAL_KEPT_MAX: usize = 32;

/// Where a work item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Known only because it is blocked.
    Planned,
    /// An agent has it.
    Assigned,
    /// An executor works on it.
    Active,
    /// It succeeded.
    Completed,
    /// It failed.
    Failed,
    /// A review found something in it.
    ReviewFailed,
    /// It goes back to be done again.
    Requeued,
}

impl ItemState {
    /// Whether an item may move from here to `to`.
    pub fn may_become(self, to: ItemState) -> bool {
        use ItemState::{Active, Assigned, Completed, Failed, Planned, Requeued, ReviewFailed};
        match self {
            Planned => matches!(to, Assigned | Failed),
            // Assigned anew to another agent; or it cannot be begun at all.
            Assigned => matches!(to, Assigned | Active | Failed),
            Active => matches!(to, Completed | Failed | ReviewFailed),
            Completed => matches!(to, ReviewFailed),
            Failed => matches!(to, Requeued),
            ReviewFailed => matches!(to, Requeued | Failed),
            Requeued => matches!(to, Assigned | Active | Failed),
        }
    }

    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            ItemState::Planned => "planned",
            ItemState::Assigned => "assigned",
            ItemState::Active => "active",
            ItemState::Completed => "completed",
            ItemState::Failed => "failed",
            ItemState::ReviewFailed => "review_failed",
            ItemState::Requeued => "requeued",
        }
    }

    fn is_done(self) -> bool {
        matches!(self, ItemState::Completed | ItemState::Failed)
    }
}

/// A work item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Where it stands.
    pub state: ItemState,
    /// Since when.
    pub since: Mark,
    /// What is to be done.
    pub description: String,
    /// Who has it.
    pub agent: Option<String>,
    /// The phase that it belongs to.
    pub phase: Option<String>,
    /// Since when it is blocked.
    pub blocked: Option<Mark>,
    /// How often it was begun.
    pub attempts: u64,
    /// How often a review found something.
    pub reviews_failed: u64,
    /// How much the last such review found.
    pub issues: u64,
    /// How often it went back.
    pub requeues: u64,
    /// How long it took when it last succeeded.
    pub duration_ms: Option<u64>,
    /// Why it last failed.
    pub error: Option<String>,
}

impl Item {
    fn new(state: ItemState, since: Mark) -> Item {
        Item {
            state,
            since,
            description: String::new(),
            agent: None,
            phase: None,
            blocked: None,
            attempts: 0,
            reviews_failed: 0,
            issues: 0,
            requeues: 0,
            duration_ms: None,
            error: None,
        }
    }
}

/// A move that no item can make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Illegal {
    /// The event that told it.
    pub mark: Mark,
    /// The item.
    pub item: Uuid,
    /// Where it stands; `None` if it is not known.
    pub from: Option<ItemState>,
    /// Where it was said to go.
    pub to: ItemState,
}

/// An agent of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAgent {
    /// Its state, as it was last told; none where only its making is known.
    pub state: Option<Latest<String>>,
    /// Why.
    pub reason: Option<String>,
    /// Who made it.
    pub parent: Option<String>,
    /// Its last event.
    pub last: Mark,
    /// How often it was said to leave a state that it was not in.
    pub mismatches: u64,
}

/// From one phase to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseChange {
    /// When.
    pub mark: Mark,
    /// The phase that is done.
    pub from: String,
    /// The phase that began.
    pub to: String,
    /// Who or what let it pass.
    pub approved_by: String,
}

/// The plan's own last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWord {
    /// Items that it says succeeded.
    pub completed: u64,
    /// Items that it says failed.
    pub failed: u64,
    /// How long it says it took.
    pub duration_ms: u64,
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Items ever seen.
    pub items: u64,
    /// Items that have left the state.
    pub items_departed: u64,
    /// Times that an item went back.
    pub requeues: u64,
    /// Reviews that found something.
    pub reviews_failed: u64,
    /// Deadlocks found.
    pub deadlocks: u64,
    /// Deadlocks resolved.
    pub deadlocks_resolved: u64,
    /// Messages between agents.
    pub messages: u64,
    /// Checkpoints of a context.
    pub checkpoints: u64,
    /// Contexts folded into a memory.
    pub consolidations: u64,
    /// Agents that have left the state.
    pub agents_departed: u64,
    /// Moves that no item can make.
    pub illegal: u64,
}

impl Counts {
    pub(super) fn count_other(&mut self, kind: Kind) {
        match kind {
            Kind::MessageSent => self.messages += 1,
            Kind::ContextCheckpoint => self.checkpoints += 1,
            Kind::ContextConsolidated => self.consolidations += 1,
            _ => {}
        }
    }
}

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its first event.
    pub first: Mark,
    /// Its start, if that is on record.
    pub started: Option<Mark>,
    /// The event of its start.
    pub start_event: Option<Uuid>,
    /// Who ran it.
    pub instance: String,
    /// The plan in words.
    pub plan: String,
    /// Items that may run at once.
    pub max_concurrent: Option<u32>,
    /// Its end and its own last word.
    pub ended: Option<Latest<LastWord>>,
    /// Items by state; those that have left included.
    pub states: BTreeMap<ItemState, u64>,
    /// The items.
    pub items: BTreeMap<Uuid, Item>,
    /// The agents by name.
    pub agents: BTreeMap<String, PlanAgent>,
    /// The latest phases.
    pub phases: VecDeque<PhaseChange>,
    /// The latest illegal moves.
    pub illegal: VecDeque<Illegal>,
    /// Everything counted.
    pub counts: Counts,
}

impl Run {
    pub(super) fn new(first: Mark) -> Run {
        Run {
            first,
            started: None,
            start_event: None,
            instance: String::new(),
            plan: String::new(),
            max_concurrent: None,
            ended: None,
            states: BTreeMap::new(),
            items: BTreeMap::new(),
            agents: BTreeMap::new(),
            phases: VecDeque::new(),
            illegal: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Whether it began and has not ended.
    pub fn is_open(&self) -> bool {
        self.started.is_some() && self.ended.is_none()
    }

    /// Items in a state.
    pub fn in_state(&self, state: ItemState) -> u64 {
        self.states.get(&state).copied().unwrap_or(0)
    }

    /// The items that are blocked.
    pub fn blocked_items(&self) -> impl Iterator<Item = (&Uuid, &Item)> {
        self.items.iter().filter(|(_, item)| item.blocked.is_some())
    }

    /// Moves an item, or counts that it cannot move so.
    pub(super) fn step(&mut self, mark: Mark, id: Uuid, to: ItemState, note: impl FnOnce(&mut Item)) -> bool {
        let from = self.items.get(&id).map(|item| item.state);
        let legal = from.map_or(to == ItemState::Assigned, |from| from.may_become(to));
        if !legal {
            self.counts.illegal += 1;
            self.illegal.push_back(Illegal { mark, item: id, from, to });
            if self.illegal.len() > ILLEGAL_KEPT_MAX {
                self.illegal.pop_front();
            }
            return false;
        }
        self.counts.items += u64::from(from.is_none());
        self.counts.requeues += u64::from(to == ItemState::Requeued);
        self.counts.reviews_failed += u64::from(to == ItemState::ReviewFailed);
        self.recount(from, to);
        let item = self.items.entry(id).or_insert_with(|| Item::new(to, mark));
        (item.state, item.since, item.blocked) = (to, mark, None);
        note(item);
        true
    }

    fn recount(&mut self, from: Option<ItemState>, to: ItemState) {
        if let Some(held) = from.and_then(|from| self.states.get_mut(&from)) {
            *held = held.saturating_sub(1);
        }
        *self.states.entry(to).or_default() += 1;
    }

    /// Lets done items beyond the bound leave and names them. Those that are not done stay: nobody else knows them.
    pub(super) fn bound_items(&mut self) -> Vec<Uuid> {
        if self.items.len() <= ITEMS_KEPT_MAX {
            return Vec::new();
        }
        let done = self.items.iter().filter(|(_, item)| item.state.is_done());
        let mut done: Vec<_> = done.map(|(id, item)| (item.since, *id)).collect();
        done.sort_unstable();
        // A quarter more than needed, so that this is rare.
        let leaving = self.items.len() - ITEMS_KEPT_MAX + ITEMS_KEPT_MAX / 4;
        let leaving: Vec<_> = done.into_iter().take(leaving).map(|(_, id)| id).collect();
        for id in &leaving {
            self.items.remove(id);
        }
        self.counts.items_departed += leaving.len() as u64;
        leaving
    }

    pub(super) fn blocked(&mut self, mark: Mark, items: &[Uuid]) {
        self.counts.deadlocks += 1;
        for id in items {
            if !self.items.contains_key(id) {
                self.counts.items += 1;
                self.recount(None, ItemState::Planned);
            }
            let item = self.items.entry(*id).or_insert_with(|| Item::new(ItemState::Planned, mark));
            item.blocked = Some(mark);
        }
    }

    pub(super) fn unblocked(&mut self, items: &[Uuid]) {
        self.counts.deadlocks_resolved += 1;
        for id in items {
            if let Some(item) = self.items.get_mut(id) {
                item.blocked = None;
            }
        }
    }

    pub(super) fn phase(&mut self, mark: Mark, told: &payload::PhaseTransition) {
        let (from, to, approved_by) = (clip(&told.from), clip(&told.to), clip(&told.approved_by));
        self.phases.push_back(PhaseChange { mark, from, to, approved_by });
        if self.phases.len() > PHASES_KEPT_MAX {
            self.phases.pop_front();
        }
    }

    fn agent(&mut self, name: &str, mark: Mark) -> &mut PlanAgent {
        let key = clip(name);
        if !self.agents.contains_key(&key) && self.agents.len() >= AGENTS_KEPT_MAX {
            let quietest =
                self.agents.iter().min_by_key(|(_, agent)| agent.last).map(|(name, _)| name.clone());
            quietest.map(|name| self.agents.remove(&name));
            self.counts.agents_departed += 1;
        }
        let new = || PlanAgent { state: None, reason: None, parent: None, last: mark, mismatches: 0 };
        let agent = self.agents.entry(key).or_insert_with(new);
        agent.last = mark;
        agent
    }

    pub(super) fn agent_moved(&mut self, mark: Mark, told: &payload::AgentStateChanged) {
        let agent = self.agent(&told.agent, mark);
        let from = clip(&told.from);
        agent.mismatches += u64::from(agent.state.as_ref().is_some_and(|state| state.value != from));
        agent.state = Some(Latest { mark, value: clip(&told.to) });
        agent.reason = told.reason.as_deref().map(clip);
    }

    pub(super) fn agent_spawned(&mut self, mark: Mark, told: &payload::SubAgentSpawned) {
        self.agent(&told.parent, mark);
        self.agent(&told.child, mark).parent = Some(clip(&told.parent));
    }

    pub(super) fn completed(&mut self, mark: Mark, told: &payload::OrchestrationCompleted) {
        let (completed, failed) = (told.work_items_completed, told.work_items_failed);
        let word = LastWord { completed, failed, duration_ms: told.duration_ms };
        Latest::set(&mut self.ended, mark, word);
    }

    /// Leaves little more than counts.
    pub(super) fn drop_detail(&mut self) {
        self.counts.items_departed += self.items.len() as u64;
        self.counts.agents_departed += self.agents.len() as u64;
        self.items.clear();
        self.agents.clear();
    }
}
