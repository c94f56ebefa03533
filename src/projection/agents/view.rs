//! What people and programs read of the agents projection. What depends on the moment of looking stands apart.

use serde::{Deserialize, Serialize};

use super::{AgentsProjection, Live};
use crate::event::{Json, Seq, Timestamp};
use crate::projection::Fold;
use crate::projection::sessions::view::At;
use crate::projection::sessions::viewer::Looking;

/// The version of this form: raised when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The agents that live, as far as was told; the one heard of last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentsView {
    /// See [`VERSION`].
    pub version: u32,
    /// The last event that this knows.
    pub seq: Seq,
    /// Agents that ended.
    pub ended: u64,
    /// Agents that left to bound the state.
    pub evicted: u64,
    /// The agents.
    pub agents: Vec<AgentView>,
    /// What depends on the moment of looking, for each agent in the same order.
    pub viewer: Viewer,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// Its session.
    pub session: String,
    /// Its own id; null is the session's main agent.
    pub agent: Option<String>,
    /// What sort of subagent it is.
    pub agent_type: Option<String>,
    /// The subagent that made it; null is the main agent if `parent_known`.
    pub parent: Option<String>,
    /// Whether it is known who made it. Of a main agent nobody did.
    pub parent_known: bool,
    /// Its first sign.
    pub since: At,
    /// Its last sign.
    pub last: At,
    /// The tool that it uses, as far as is known.
    pub tool: Option<String>,
    /// Since when.
    pub tool_since: Option<At>,
    /// Tool calls that go on.
    pub open_calls: u64,
}

/// What depends on the moment of looking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    /// The moment.
    pub now: Timestamp,
    /// How long each has been silent.
    pub silent_ms: Vec<u64>,
    /// Whether each is presumed dead: its process is gone, or, where none is known here, it has been silent for long.
    pub presumed_dead: Vec<bool>,
}

impl AgentView {
    fn of(session: &str, agent: Option<&str>, live: &Live) -> AgentView {
        let current = live.calls.current();
        AgentView {
            session: session.to_owned(),
            agent: agent.map(str::to_owned),
            agent_type: live.agent_type.as_ref().map(|told| told.value.clone()),
            parent: live.parent.as_ref().and_then(|told| told.value.clone()),
            parent_known: live.parent.is_some(),
            since: live.since.into(),
            last: live.last.into(),
            tool: current.map(|call| call.tool.clone()),
            tool_since: current.map(|call| call.started.into()),
            open_calls: live.calls.count(),
        }
    }

    fn silent_ms(&self, now: Timestamp) -> u64 {
        let micros = i128::from(now.as_micros()) - i128::from(self.last.time.as_micros());
        u64::try_from(micros / 1_000).unwrap_or(0)
    }
}

/// The agents, as they are looked at.
pub fn agents(fold: &Fold<AgentsProjection>, looking: &Looking<'_>) -> AgentsView {
    let state = fold.state();
    let main = state.main.iter().map(|(session, live)| AgentView::of(session, None, live));
    let sub = state.sub.iter().flat_map(|(session, subs)| {
        subs.iter().map(move |(agent, live)| AgentView::of(session, Some(agent), live))
    });
    let mut agents: Vec<_> = main.chain(sub).collect();
    agents.sort_by_key(|agent| std::cmp::Reverse((agent.last.time, agent.last.seq)));
    let now = looking.now;
    let silent_ms: Vec<u64> = agents.iter().map(|agent| agent.silent_ms(now)).collect();
    // Subagents run in the process of their session.
    let process = |agent: &AgentView| state.main.get(&agent.session)?.process.as_ref()?.value.as_ref();
    let dead = |agent: &AgentView| looking.presumes_of(process(agent), agent.last.time).is_some();
    let viewer = Viewer { now, presumed_dead: agents.iter().map(dead).collect(), silent_ms };
    AgentsView {
        version: VERSION,
        seq: fold.seq(),
        ended: state.ended,
        evicted: state.evicted,
        agents,
        viewer,
    }
}

/// The agents for people: each with its silence, and without what is not known of it.
pub(super) fn shown(fold: &Fold<AgentsProjection>, looking: &Looking<'_>) -> serde_json::Result<Json> {
    let AgentsView { ended, evicted, agents, viewer, .. } = agents(fold, looking);
    let mut lines = Vec::new();
    for (agent, (silent_ms, dead)) in agents.iter().zip(viewer.silent_ms.iter().zip(&viewer.presumed_dead)) {
        let mut line = serde_json::to_value(agent)?;
        if let Json::Object(fields) = &mut line {
            fields.retain(|_, value| !value.is_null());
            fields.insert("silent_ms".to_owned(), (*silent_ms).into());
            fields.insert("presumed_dead".to_owned(), (*dead).into());
        }
        lines.push(line);
    }
    Ok(serde_json::json!({"agents": lines, "ended": ended, "evicted": evicted}))
}
