//! One agent that lives, and the calls that it may be in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::CALLS_KEPT_MAX;
use crate::projection::mark::{keep_earlier, keep_later};
use crate::projection::sessions::state::Process;
use crate::projection::{Latest, Mark};

/// An agent with its last sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Its first sign since it came to life.
    pub since: Mark,
    /// Its last sign.
    pub last: Mark,
    /// What sort of subagent it is, as last told.
    pub agent_type: Option<Latest<String>>,
    /// Who made it, where the call that did is known: an inner `None` is the main agent of its session.
    pub parent: Option<Latest<Option<String>>>,
    /// The process of a main agent, as its latest start told it; none where that start told none.
    pub process: Option<Latest<Option<Process>>>,
    /// The calls that it may be in.
    pub calls: Calls,
}

impl Live {
    pub(super) fn new(mark: Mark) -> Live {
        let calls = Calls::default();
        Live { since: mark, last: mark, agent_type: None, parent: None, process: None, calls }
    }

    pub(super) fn seen(&mut self, mark: Mark) {
        (self.since, self.last) = (self.since.min(mark), self.last.max(mark));
    }
}

/// Calls of which only one of the two ends is on record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// By the agent's own id of the call.
    half: BTreeMap<String, Half>,
    /// Nothing begun before this goes on.
    settled: Option<Mark>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Half {
    mark: Mark,
    /// Of a start: the tool, and the event. `None` is an end that came before its start.
    begun: Option<OpenCall>,
}

/// A call that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    /// The tool.
    pub tool: String,
    /// When it began.
    pub started: Mark,
    /// The event of its start.
    pub event: Uuid,
}

impl Calls {
    pub(super) fn started(&mut self, id: String, tool: String, mark: Mark, event: Uuid) {
        if self.settled.is_some_and(|settled| mark < settled) || self.half.remove(&id).is_some() {
            return;
        }
        self.half.insert(id, Half { mark, begun: Some(OpenCall { tool, started: mark, event }) });
        self.bound();
    }

    pub(super) fn ended(&mut self, id: &str, mark: Mark) {
        if self.half.remove(id).is_none() {
            self.half.insert(id.to_owned(), Half { mark, begun: None });
            self.bound();
        }
    }

    /// Nothing that began before `mark` goes on.
    pub(super) fn settled(&mut self, mark: Mark) {
        self.half.retain(|_, half| half.begun.is_none() || mark < half.mark);
        keep_later(&mut self.settled, mark);
    }

    /// The oldest half leaves: a call in it is the least likely to go on.
    fn bound(&mut self) {
        if self.half.len() > CALLS_KEPT_MAX {
            let oldest = self.half.iter().min_by_key(|(_, half)| half.mark).map(|(id, _)| id.clone());
            oldest.map(|id| self.half.remove(&id));
        }
    }

    pub(super) fn has_event(&self, event: Uuid) -> bool {
        self.open().any(|call| call.event == event)
    }

    fn open(&self) -> impl Iterator<Item = &OpenCall> {
        self.half.values().filter_map(|half| half.begun.as_ref())
    }

    /// The call that began last and goes on.
    pub fn current(&self) -> Option<&OpenCall> {
        self.open().max_by_key(|call| call.started)
    }

    /// How many go on.
    pub fn count(&self) -> u64 {
        self.open().count() as u64
    }

    /// Since when anything goes on.
    pub fn since(&self) -> Option<Mark> {
        let mut since = None;
        self.open().for_each(|call| keep_earlier(&mut since, call.started));
        since
    }
}
