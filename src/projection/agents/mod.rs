//! The agents projection: who works now. Main agents and subagents with their last sign of life.
//!
//! **What is alive.** An agent lives from its first sign on. A subagent ends when it is told to have stopped, a main agent
//! with its session, and its subagents with it; then it leaves the state. A sign that happened after the end brings it
//! back; one that merely arrives after it, such as an imported line, does not. Both are decided by [`Mark`], so the
//! order in which events arrive does not matter.
//!
//! **Never a ghost.** About a third of all sessions end without saying so. What is not heard of is not dropped by a clock:
//! this is a fold. The viewer presumes it dead by its age, beside the state ([`view`]). And the state is bounded: the
//! one with the oldest last sign leaves and is counted (`evicted`), and no sign as old as that brings it back.
//!
//! **What an agent does** is the tool call that it began last and that has not ended. A prompt, the end of a turn and the
//! end of the agent settle all calls before them.

mod live;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::live::{Calls, Live, OpenCall};
use super::sessions::is_of_agent;
use super::sessions::text::{clip, id_key};
use super::{Fold, Latest, Mark, Projection};
use crate::event::{Event, Json, Kind, StoredEvent, Timestamp, payload};

/// Agents kept; the one with the oldest last sign leaves.
pub const AGENTS_LIVE_MAX: usize = 1_024;
/// Ends remembered, so that late lines bring nobody back; the oldest leaves and stands for all before it.
pub const ENDS_KEPT_MAX: usize = 8_192;
/// Calls kept of an agent that have only one of their two ends on record.
pub const CALLS_KEPT_MAX: usize = 16;

/// The projection's name and rules; its state is [`Agents`].
pub enum AgentsProjection {}

/// An agent's name: its session, and its own id if it is a subagent.
pub type Name = (String, Option<String>);

/// The state of the agents projection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agents {
    /// Main agents by session.
    pub main: BTreeMap<String, Live>,
    /// Subagents by session, then by their own id.
    pub sub: BTreeMap<String, BTreeMap<String, Live>>,
    /// All of them by their last sign.
    by_sign: BTreeSet<(Mark, Name)>,
    /// Ends by the name of who ended.
    ends: BTreeSet<(Name, Mark)>,
    /// The same by time.
    ends_by_time: BTreeSet<(Mark, Name)>,
    /// No agent that is unknown comes to life by a sign as old as this: its end may have been forgotten.
    forgotten_until: Option<Mark>,
    /// Agents that left to bound the state, not because they ended.
    pub evicted: u64,
    /// Agents that ended.
    pub ended: u64,
    /// Events whose payload could not be read; they count as a sign only.
    pub unread: u64,
}

impl Projection for AgentsProjection {
    const NAME: &'static str = "agents";
    const SCHEMA: u32 = 1;
    type State = Agents;

    fn shown(fold: &Fold<Self>, now: Timestamp) -> Option<serde_json::Result<Json>> {
        Some(view::shown(fold, now))
    }

    fn wants(kind: Option<Kind>) -> bool {
        kind.is_some_and(is_of_agent)
    }

    fn apply(state: &mut Agents, stored: &StoredEvent) {
        let event = &stored.event;
        let Some(session) = event.session.as_deref() else { return };
        let Some(kind) = event.kind.known().filter(|kind| is_of_agent(*kind)) else { return };
        let (session, mark) = (id_key(session), Mark::of(stored));
        if state.take(kind, &session, mark, event).is_err() {
            state.unread += 1;
        }
        state.bound();
    }
}

/// What tells of a tool call, without its input and output.
#[derive(Deserialize)]
struct CallNamed {
    tool: String,
    tool_use_id: String,
}

impl Agents {
    fn take(
        &mut self,
        kind: Kind,
        session: &str,
        mark: Mark,
        event: &Event,
    ) -> Result<(), serde_json::Error> {
        let payload = &event.payload;
        match kind {
            Kind::SessionEnded => {
                self.session_ended(session, mark);
                return Ok(());
            }
            Kind::SubagentStopped => {
                let stopped: payload::SubagentStopped = payload.read()?;
                let name = (session.to_owned(), Some(id_key(&stopped.agent_id)));
                self.end(&name, mark);
                return Ok(());
            }
            Kind::SubagentStarted => {
                let started: payload::SubagentStarted = payload.read()?;
                let name = (session.to_owned(), Some(id_key(&started.agent_id)));
                let parent = event.causation.and_then(|cause| self.caller(session, cause));
                if let Some(live) = self.sign(&name, mark) {
                    Latest::set(&mut live.agent_type, mark, clip(&started.agent_type));
                    if let Some((_, parent)) = parent {
                        Latest::set_first(&mut live.parent, mark, || parent);
                    }
                }
                return Ok(());
            }
            _ => {}
        }
        let name = (session.to_owned(), event.agent.as_deref().map(id_key));
        let by_main_agent = name.1.is_none();
        let Some(live) = self.sign(&name, mark) else { return Ok(()) };
        match kind {
            Kind::ToolCallStarted => {
                let call: CallNamed = payload.read()?;
                live.calls.started(id_key(&call.tool_use_id), clip(&call.tool), mark, event.id);
            }
            Kind::ToolCallCompleted | Kind::ToolCallFailed => {
                let call: CallNamed = payload.read()?;
                live.calls.ended(&id_key(&call.tool_use_id), mark);
            }
            Kind::PermissionDenied => {
                let denied: payload::PermissionDenied = payload.read()?;
                denied.tool_use_id.iter().for_each(|id| live.calls.ended(&id_key(id), mark));
            }
            Kind::PromptSubmitted | Kind::TurnCompleted | Kind::TurnFailed if by_main_agent => {
                live.calls.settled(mark);
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes a sign of life. `None` if the agent has ended since.
    fn sign(&mut self, name: &Name, mark: Mark) -> Option<&mut Live> {
        if self.get(name).is_none() {
            let end = self.end_of(name);
            let forgotten = end.is_none() && self.forgotten_until.is_some_and(|until| mark <= until);
            if forgotten || end.is_some_and(|end| mark <= end) {
                return None;
            }
            self.place(name, Live::new(mark));
            self.by_sign.insert((mark, name.clone()));
        }
        let before = self.get(name).map(|live| live.last)?;
        if before < mark {
            self.by_sign.remove(&(before, name.clone()));
            self.by_sign.insert((mark, name.clone()));
        }
        let live = self.get_mut(name)?;
        live.seen(mark);
        Some(live)
    }

    /// The end of one agent, unless it was heard of later.
    fn end(&mut self, name: &Name, mark: Mark) {
        let known = self.own_end(name);
        if known.is_none_or(|known| known < mark) {
            if let Some(known) = known {
                self.ends.remove(&(name.clone(), known));
                self.ends_by_time.remove(&(known, name.clone()));
            }
            self.ends.insert((name.clone(), mark));
            self.ends_by_time.insert((mark, name.clone()));
        }
        match self.get_mut(name) {
            Some(live) if live.last < mark => {
                let last = live.last;
                self.by_sign.remove(&(last, name.clone()));
                self.remove(name);
                self.ended += 1;
            }
            Some(live) => live.calls.settled(mark),
            None => {}
        }
    }

    fn session_ended(&mut self, session: &str, mark: Mark) {
        let subs: Vec<String> =
            self.sub.get(session).into_iter().flat_map(|subs| subs.keys().cloned()).collect();
        for agent in subs {
            let name = (session.to_owned(), Some(agent));
            if self.get(&name).is_some_and(|live| live.last < mark) {
                self.end(&name, mark);
            }
        }
        self.end(&(session.to_owned(), None), mark);
    }

    /// The agent of the session whose open call is this event.
    fn caller(&self, session: &str, call: uuid::Uuid) -> Option<Name> {
        if self.main.get(session).is_some_and(|live| live.calls.has_event(call)) {
            return Some((session.to_owned(), None));
        }
        let mut subs = self.sub.get(session)?.iter();
        let (id, _) = subs.find(|(_, live)| live.calls.has_event(call))?;
        Some((session.to_owned(), Some(id.clone())))
    }

    /// The end that counts: its own, or that of its session.
    fn end_of(&self, name: &Name) -> Option<Mark> {
        let of_session = self.own_end(&(name.0.clone(), None));
        self.own_end(name).max(of_session)
    }

    fn own_end(&self, name: &Name) -> Option<Mark> {
        let from = (name.clone(), Mark::MIN);
        self.ends.range(from..).next().filter(|(known, _)| known == name).map(|(_, mark)| *mark)
    }

    fn get(&self, (session, agent): &Name) -> Option<&Live> {
        match agent {
            None => self.main.get(session),
            Some(agent) => self.sub.get(session)?.get(agent),
        }
    }

    fn get_mut(&mut self, (session, agent): &Name) -> Option<&mut Live> {
        match agent {
            None => self.main.get_mut(session),
            Some(agent) => self.sub.get_mut(session)?.get_mut(agent),
        }
    }

    fn place(&mut self, (session, agent): &Name, live: Live) {
        match agent {
            None => _ = self.main.insert(session.clone(), live),
            Some(agent) => _ = self.sub.entry(session.clone()).or_default().insert(agent.clone(), live),
        }
    }

    fn remove(&mut self, (session, agent): &Name) {
        let Some(agent) = agent else {
            self.main.remove(session);
            return;
        };
        if let Some(subs) = self.sub.get_mut(session) {
            subs.remove(agent);
            if subs.is_empty() {
                self.sub.remove(session);
            }
        }
    }

    fn bound(&mut self) {
        while self.by_sign.len() > AGENTS_LIVE_MAX {
            let Some((mark, name)) = self.by_sign.pop_first() else { break };
            self.remove(&name);
            self.evicted += 1;
            self.forgotten_until = self.forgotten_until.max(Some(mark));
        }
        while self.ends_by_time.len() > ENDS_KEPT_MAX {
            let Some((mark, name)) = self.ends_by_time.pop_first() else { break };
            self.ends.remove(&(name, mark));
            self.forgotten_until = self.forgotten_until.max(Some(mark));
        }
    }
}

#[cfg(test)]
mod tests;
