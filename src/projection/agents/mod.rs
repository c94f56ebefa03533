//! The agents projection: who works now. Main agents and subagents with their last sign of life.
//!
//! **What is alive.** An agent lives from its first sign on. A subagent ends when it is told to have stopped, a main agent
//! with its session, and its subagents with it; then it leaves the state. A sign that happened after the end brings it
//! back; one that merely arrives after it, such as an imported line, does not. Both are decided by [`Mark`], so the
//! order in which events arrive does not matter.
//!
//! **Never a ghost.** About a third of all sessions end without saying so. What is not heard of is not dropped by a clock:
//! this is a fold. The viewer presumes it dead when its process is gone, or by its age, beside the state ([`view`]). And the state is bounded: the
//! one with the oldest last sign leaves and is counted (`evicted`), and no sign as old as that brings it back.
//!
//! **What an agent does** is the tool call that it began last and that has not ended. A prompt, the end of a turn and the
//! end of the agent settle all calls before them.

mod live;
pub mod view;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::live::{Calls, Live, OpenCall};
use super::sessions::is_of_agent;
use super::sessions::state::Process;
use super::sessions::text::{bounded_id, clip, id_key};
use super::sessions::viewer::Looking;
use super::{Fold, Latest, Mark, Projection, Wanted};
use crate::event::{Event, Json, Kind, StoredEvent, payload};

/// Agents kept; the one with the oldest last sign leaves.
pub const AGENTS_LIVE_MAX: usize = 1_024;
/// Ends remembered, so that late lines bring nobody back; beyond them the oldest leave, [`ENDS_LEAVING`] at a time so that this is rare, and
/// the latest of these stands for all before it.
pub const ENDS_KEPT_MAX: usize = 8_192;
const ENDS_LEAVING: usize = ENDS_KEPT_MAX / 8;
/// Calls kept of an agent that have only one of their two ends on record.
pub const CALLS_KEPT_MAX: usize = 16;

/// The projection's name and rules; its state is [`Agents`].
pub enum AgentsProjection {}

/// An agent's name: its session, and its own id if it is a subagent.
#[derive(Clone, Copy)]
struct Name<'a> {
    session: &'a str,
    agent: Option<&'a str>,
}

/// The state of the agents projection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agents {
    /// Main agents by session.
    pub main: BTreeMap<String, Live>,
    /// Subagents by session, then by their own id.
    pub sub: BTreeMap<String, BTreeMap<String, Live>>,
    /// Ends by session.
    ends: BTreeMap<String, Ends>,
    /// How many of them there are.
    ends_kept: u64,
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
    const SCHEMA: u32 = 3;
    const WANTED: Option<Wanted> = Some(|kind| kind.is_some_and(is_of_agent));
    type State = Agents;

    fn shown(fold: &Fold<Self>, looking: &Looking<'_>) -> Option<serde_json::Result<Json>> {
        Some(view::shown(fold, looking))
    }

    fn apply(state: &mut Agents, stored: &StoredEvent) {
        let event = &stored.event;
        let Some(session) = event.session.as_deref() else { return };
        let Some(kind) = event.kind.known().filter(|kind| is_of_agent(*kind)) else { return };
        let (session, agent) = (bounded_id(session), event.agent.as_deref().map(bounded_id));
        let name = Name { session: &session, agent: agent.as_deref() };
        if state.take(kind, name, Mark::of(stored), event).is_none() {
            state.unread += 1;
        }
    }
}

/// The ends of a session's agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ends {
    main: Option<Mark>,
    sub: BTreeMap<String, Mark>,
}

impl Ends {
    fn of(&self, agent: Option<&str>) -> Option<Mark> {
        match agent {
            None => self.main,
            Some(agent) => self.sub.get(agent).copied(),
        }
    }

    /// Notes an end; says whether it is another one more.
    fn note(&mut self, agent: Option<&str>, mark: Mark) -> bool {
        match agent {
            None => self.main.replace(mark).is_none(),
            Some(agent) => self.sub.insert(agent.to_owned(), mark).is_none(),
        }
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        self.main.into_iter().chain(self.sub.values().copied())
    }
}

/// What tells of a tool call, without its input and output: the tool and the agent's own id of the call.
fn call_named(event: &Event) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let (mut tool, mut tool_use_id) = (None, None);
    for (name, field) in event.payload.fields() {
        match name {
            "tool" => tool = Some(field.text()?),
            "tool_use_id" => tool_use_id = Some(field.text()?),
            _ => {}
        }
        // What follows is most of the bytes.
        if tool.is_some() && tool_use_id.is_some() {
            break;
        }
    }
    tool.zip(tool_use_id)
}

impl Agents {
    /// Takes an event in. None means that its payload could not be read.
    fn take(&mut self, kind: Kind, name: Name<'_>, mark: Mark, event: &Event) -> Option<()> {
        let payload = &event.payload;
        match kind {
            Kind::SessionEnded => {
                self.session_ended(name.session, mark);
                return Some(());
            }
            Kind::SubagentStopped => {
                let stopped: payload::SubagentStopped = payload.read().ok()?;
                self.end(Name { agent: Some(&bounded_id(&stopped.agent_id)), ..name }, mark);
                return Some(());
            }
            Kind::SubagentStarted => {
                let started: payload::SubagentStarted = payload.read().ok()?;
                let parent = event.causation.and_then(|cause| self.caller(name.session, cause));
                let name = Name { agent: Some(&bounded_id(&started.agent_id)), ..name };
                if let Some(live) = self.sign(name, mark) {
                    Latest::set(&mut live.agent_type, mark, clip(&started.agent_type));
                    if let Some(parent) = parent {
                        Latest::set_first(&mut live.parent, mark, || parent);
                    }
                }
                return Some(());
            }
            _ => {}
        }
        let Some(live) = self.sign(name, mark) else { return Some(()) };
        match kind {
            Kind::SessionStarted => {
                let started: payload::SessionStarted = payload.read().ok()?;
                let process = Process::of(&started, &event.source.host);
                Latest::set(&mut live.process, mark, process);
            }
            Kind::ToolCallStarted => {
                let (tool, tool_use_id) = call_named(event)?;
                live.calls.started(id_key(&tool_use_id), clip(&tool), mark, event.id);
            }
            Kind::ToolCallCompleted | Kind::ToolCallFailed => {
                let (_, tool_use_id) = call_named(event)?;
                live.calls.ended(&bounded_id(&tool_use_id), mark);
            }
            Kind::PermissionDenied => {
                let denied: payload::PermissionDenied = payload.read().ok()?;
                denied.tool_use_id.iter().for_each(|id| live.calls.ended(&bounded_id(id), mark));
            }
            Kind::PromptSubmitted | Kind::TurnCompleted | Kind::TurnFailed if name.agent.is_none() => {
                live.calls.settled(mark);
            }
            _ => {}
        }
        Some(())
    }

    /// Notes a sign of life. `None` if the agent has ended since.
    fn sign(&mut self, name: Name<'_>, mark: Mark) -> Option<&mut Live> {
        if self.get(name).is_none() {
            let end = self.end_of(name);
            let forgotten = end.is_none() && self.forgotten_until.is_some_and(|until| mark <= until);
            if forgotten || end.is_some_and(|end| mark <= end) {
                return None;
            }
            self.place(name, Live::new(mark));
            self.bound_live();
        }
        let live = self.get_mut(name)?;
        live.seen(mark);
        Some(live)
    }

    /// The end of one agent, unless it was heard of later.
    fn end(&mut self, name: Name<'_>, mark: Mark) {
        if self.own_end(name).is_none_or(|known| known < mark) {
            let is_new = match self.ends.get_mut(name.session) {
                Some(ends) => ends.note(name.agent, mark),
                None => self.ends.entry(name.session.to_owned()).or_default().note(name.agent, mark),
            };
            self.ends_kept += u64::from(is_new);
        }
        match self.get_mut(name) {
            Some(live) if live.last < mark => {
                self.remove(name);
                self.ended += 1;
            }
            Some(live) => live.calls.settled(mark),
            None => {}
        }
        self.bound_ends();
    }

    fn session_ended(&mut self, session: &str, mark: Mark) {
        let subs = self.sub.get(session).into_iter().flatten();
        let over: Vec<String> = subs.filter(|(_, live)| live.last < mark).map(|(id, _)| id.clone()).collect();
        for agent in &over {
            self.end(Name { session, agent: Some(agent) }, mark);
        }
        self.end(Name { session, agent: None }, mark);
    }

    /// The agent of the session whose open call is this event; an inner none is the main one.
    fn caller(&self, session: &str, call: uuid::Uuid) -> Option<Option<String>> {
        if self.main.get(session).is_some_and(|live| live.calls.has_event(call)) {
            return Some(None);
        }
        let mut subs = self.sub.get(session)?.iter();
        subs.find(|(_, live)| live.calls.has_event(call)).map(|(id, _)| Some(id.clone()))
    }

    /// The end that counts: its own, or that of its session.
    fn end_of(&self, name: Name<'_>) -> Option<Mark> {
        self.own_end(name).max(self.own_end(Name { agent: None, ..name }))
    }

    fn own_end(&self, name: Name<'_>) -> Option<Mark> {
        self.ends.get(name.session)?.of(name.agent)
    }

    fn get(&self, name: Name<'_>) -> Option<&Live> {
        match name.agent {
            None => self.main.get(name.session),
            Some(agent) => self.sub.get(name.session)?.get(agent),
        }
    }

    fn get_mut(&mut self, name: Name<'_>) -> Option<&mut Live> {
        match name.agent {
            None => self.main.get_mut(name.session),
            Some(agent) => self.sub.get_mut(name.session)?.get_mut(agent),
        }
    }

    fn place(&mut self, name: Name<'_>, live: Live) {
        let session = name.session.to_owned();
        match name.agent {
            None => _ = self.main.insert(session, live),
            Some(agent) => _ = self.sub.entry(session).or_default().insert(agent.to_owned(), live),
        }
    }

    fn remove(&mut self, name: Name<'_>) {
        let Some(agent) = name.agent else {
            self.main.remove(name.session);
            return;
        };
        if let Some(subs) = self.sub.get_mut(name.session) {
            subs.remove(agent);
            if subs.is_empty() {
                self.sub.remove(name.session);
            }
        }
    }

    /// Asked only when an agent came to life: it looks at all of them.
    fn bound_live(&mut self) {
        while self.main.len() + self.sub.values().map(BTreeMap::len).sum::<usize>() > AGENTS_LIVE_MAX {
            let main = self.main.iter().map(|(session, live)| (live.last, session, None));
            let sub = self.sub.iter().flat_map(|(session, subs)| {
                subs.iter().map(move |(agent, live)| (live.last, session, Some(agent)))
            });
            let Some((mark, session, agent)) = main.chain(sub).min() else { break };
            let (session, agent) = (session.clone(), agent.cloned());
            self.remove(Name { session: &session, agent: agent.as_deref() });
            self.evicted += 1;
            self.forgotten_until = self.forgotten_until.max(Some(mark));
        }
    }

    fn bound_ends(&mut self) {
        if self.ends_kept <= ENDS_KEPT_MAX as u64 {
            return;
        }
        let mut marks: Vec<Mark> = self.ends.values().flat_map(Ends::marks).collect();
        let (_, until, _) = marks.select_nth_unstable(ENDS_LEAVING - 1);
        let until = *until;
        let stays = |mark: &Mark| *mark > until;
        self.ends.retain(|_, ends| {
            ends.main = ends.main.filter(stays);
            ends.sub.retain(|_, mark| stays(mark));
            ends.marks().next().is_some()
        });
        self.ends_kept -= ENDS_LEAVING as u64;
        self.forgotten_until = self.forgotten_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests;
