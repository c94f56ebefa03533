//! The JSON forms of sessions: one definition for the routes, for `--json` and for the terminal's tables.
//!
//! Each form has a `version`, the seq that it speaks of, and what the state says. What depends on the moment of looking
//! stands apart, under `viewer`: ages are the reader's own subtraction, and a session that is not over but has given
//! no sign for [`SILENCE_PRESUMED_DEAD`] is *presumed* dead, which the state never claims.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SessionsProjection;
use super::makers::{Known, Maker};
use super::state::{Agent, CALLS_KEPT_MAX, Call, Counts, Outcome, Phase, Session, Sessions, Tokens};
use crate::event::{Seq, Timestamp};
use crate::projection::{Fold, Latest, Mark};

/// The version of every form here.
pub const VERSION: u32 = 1;
/// Sessions in a list unless another number is asked for.
pub const LIST_LIMIT_DEFAULT: u64 = 50;
/// After so long without a sign an unfinished session is presumed dead: its end was never reported.
pub const SILENCE_PRESUMED_DEAD: Duration = Duration::from_hours(12);

/// When and where something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// By the emitter's clock.
    pub time: Timestamp,
    /// Its place in the journal.
    pub seq: Seq,
}

impl From<Mark> for At {
    fn from(mark: Mark) -> At {
        At { time: mark.time(), seq: mark.seq() }
    }
}

/// The beginning of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// When, by the emitter's clock.
    pub time: Timestamp,
    /// Its place in the journal.
    pub seq: Seq,
    /// Whether the agent reported it; otherwise this is its earliest event.
    pub reported: bool,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When, by the emitter's clock.
    pub time: Timestamp,
    /// Its place in the journal.
    pub seq: Seq,
    /// The agent's own word for why.
    pub reason: String,
    /// Concluded from the absence of the process rather than reported.
    pub inferred: bool,
}

/// What a session waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingOn {
    /// Since when, by the emitter's clock.
    pub time: Timestamp,
    /// The place of the question in the journal.
    pub seq: Seq,
    /// For permission to use this tool.
    pub tool: Option<String>,
    /// What the agent asked.
    pub question: Option<String>,
}

/// One session, as a row of the list and as the head of its own page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// The agent's own id.
    pub id: String,
    /// What it does, as its events say.
    pub state: Phase,
    /// Its project.
    pub project: Option<String>,
    /// Where it works.
    pub cwd: Option<String>,
    /// The model that last answered.
    pub model: Option<String>,
    /// How it was last started.
    pub source: Option<String>,
    /// The beginning of its first prompt.
    pub title: Option<String>,
    /// Its beginning.
    pub started: Started,
    /// Its latest event.
    pub last_seen: At,
    /// Its end, if it is over.
    pub ended: Option<Ended>,
    /// What it waits for, if it waits.
    pub waiting_on: Option<WaitingOn>,
    /// From its first event to its last.
    pub span_ms: u64,
    /// All events that name it.
    pub events: u64,
    /// Everything counted.
    pub counts: Counts,
    /// Tokens as the provider reported them, each message once; null where no message reported any.
    pub tokens: Option<Tokens>,
    /// Calls running now.
    pub open_calls: u64,
    /// Subagents running now.
    pub open_agents: u64,
    /// Earlier events of it are in the journal but not in these counts.
    pub partial: bool,
}

impl SessionView {
    /// The view of a session.
    pub fn of(id: &str, session: &Session) -> SessionView {
        let value = |register: &Option<Latest<String>>| register.as_ref().map(|r| r.value.clone());
        let reported = session.started.as_ref().map(|started| started.mark);
        let started = reported.unwrap_or(session.first);
        SessionView {
            id: id.to_owned(),
            state: session.phase(),
            project: value(&session.project),
            cwd: value(&session.cwd),
            model: value(&session.model),
            source: value(&session.source),
            title: value(&session.title),
            started: Started { time: started.time(), seq: started.seq(), reported: reported.is_some() },
            last_seen: session.last.into(),
            ended: session.ended().map(|end| Ended {
                time: end.mark.time(),
                seq: end.mark.seq(),
                reason: end.value.reason.clone(),
                inferred: end.value.inferred,
            }),
            waiting_on: waiting_on(session),
            span_ms: session.last.millis_since(session.first),
            events: session.events,
            counts: session.counts.clone(),
            tokens: session.tokens_known(),
            open_calls: session.open_calls().count() as u64,
            open_agents: open_agents(session),
            partial: session.returned,
        }
    }

    /// Whether nobody will hear of it again, as far as silence tells.
    pub fn is_presumed_dead(&self, now: Timestamp) -> bool {
        let silence = i128::from(now.as_micros()) - i128::from(self.last_seen.time.as_micros());
        self.state != Phase::Ended
            && u128::try_from(silence).is_ok_and(|silence| silence >= SILENCE_PRESUMED_DEAD.as_micros())
    }
}

fn open_agents(session: &Session) -> u64 {
    let over = session.phase() == Phase::Ended;
    session.agents.values().filter(|agent| agent.is_open() && !over).count() as u64
}

fn waiting_on(session: &Session) -> Option<WaitingOn> {
    if session.phase() != Phase::Waiting {
        return None;
    }
    let question = session.question.as_ref();
    let waiting = |mark: Mark, tool, question: Option<&Latest<String>>| WaitingOn {
        time: mark.time(),
        seq: mark.seq(),
        tool,
        question: question.map(|question| question.value.clone()),
    };
    match session.open_waits().min_by_key(|wait| wait.asked) {
        Some(wait) => {
            let question = question.filter(|question| wait.asked <= question.mark);
            Some(waiting(wait.asked, Some(wait.tool.clone()), question))
        }
        None => question.map(|asked| waiting(asked.mark, None, Some(asked))),
    }
}

/// What depends on the moment of looking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    /// The moment.
    pub now: Timestamp,
    /// Shown sessions that are presumed dead.
    pub presumed_dead: Vec<String>,
}

impl Viewer {
    fn of<'a>(now: Timestamp, shown: impl IntoIterator<Item = &'a SessionView>) -> Viewer {
        let dead = shown.into_iter().filter(|session| session.is_presumed_dead(now));
        Viewer { now, presumed_dead: dead.map(|session| session.id.clone()).collect() }
    }
}

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Only sessions of this project, with or without `project:` before its name.
    pub project: Option<String>,
    /// At most so many.
    pub limit: u64,
}

impl Default for ListQuery {
    fn default() -> Self {
        ListQuery { project: None, limit: LIST_LIMIT_DEFAULT }
    }
}

/// The list of sessions, the one seen last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// See [`VERSION`].
    pub version: u32,
    /// The last event that this list knows.
    pub seq: Seq,
    /// How many match, shown or not.
    pub total: u64,
    /// Older sessions that are in the journal alone: the live state is bounded. `session ID` finds them.
    pub departed: u64,
    /// The sessions.
    pub sessions: Vec<SessionView>,
    /// What depends on the moment of looking.
    pub viewer: Viewer,
}

/// The list at `now`.
pub fn list(fold: &Fold<SessionsProjection>, query: &ListQuery, now: Timestamp) -> SessionList {
    let bare = |name: &str| name.strip_prefix("project:").unwrap_or(name).to_owned();
    let wanted = query.project.as_deref().map(bare);
    let of_project = |session: &Session| match (&wanted, &session.project) {
        (None, _) => true,
        (Some(wanted), Some(project)) => *wanted == bare(&project.value),
        (Some(_), None) => false,
    };
    let state = fold.state();
    let mut found: Vec<_> = state.sessions.iter().filter(|(_, session)| of_project(session)).collect();
    found.sort_by_key(|(_, session)| std::cmp::Reverse(session.last));
    let total = found.len() as u64;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let sessions: Vec<_> =
        found.into_iter().take(limit).map(|(id, session)| SessionView::of(id, session)).collect();
    let viewer = Viewer::of(now, &sessions);
    SessionList {
        version: VERSION,
        seq: fold.seq(),
        total,
        departed: state.departed.len() as u64,
        sessions,
        viewer,
    }
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallView {
    /// The agent's own id of the call.
    pub tool_use_id: String,
    /// The tool.
    pub tool: String,
    /// The subagent that called it; null is the main agent.
    pub agent: Option<String>,
    /// When it started, if that is known.
    pub started: Option<At>,
    /// When it ended, if it has.
    pub ended: Option<At>,
    /// `completed`, `failed`, `interrupted`, `denied`, or null while it has no end.
    pub outcome: Option<String>,
    /// The signature of its failure.
    pub signature: Option<String>,
    /// How long it ran.
    pub duration_ms: Option<u64>,
    /// `reported` by the agent, or `derived` from its two ends.
    pub duration_origin: Option<String>,
    /// When the user was asked for permission.
    pub asked: Option<At>,
}

impl CallView {
    fn of(id: &str, call: &Call) -> CallView {
        let outcome = call.ended.as_ref().map(|ended| &ended.value);
        let ran = call.ran();
        CallView {
            tool_use_id: id.to_owned(),
            tool: call.tool.clone(),
            agent: call.agent.clone(),
            started: call.started.map(At::from),
            ended: call.ended.as_ref().map(|ended| ended.mark.into()),
            outcome: outcome.map(|outcome| outcome.name().to_owned()),
            signature: outcome.and_then(Outcome::signature).map(str::to_owned),
            duration_ms: ran.map(super::state::Ran::ms),
            duration_origin: ran.map(|ran| ran.origin().to_owned()),
            asked: call.asked.map(At::from),
        }
    }
}

impl Outcome {
    /// The word in JSON and on the terminal.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Failed { interrupted: true, .. } => "interrupted",
            Outcome::Failed { .. } => "failed",
            Outcome::Denied => "denied",
        }
    }

    /// The signature of a failure.
    pub fn signature(&self) -> Option<&str> {
        match self {
            Outcome::Failed { signature, .. } => Some(signature),
            Outcome::Completed | Outcome::Denied => None,
        }
    }
}

/// A subagent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// The agent's own id of it.
    pub agent_id: String,
    /// Its type.
    pub agent_type: Option<String>,
    /// The tool call that made it, where that is known and kept.
    pub tool_use_id: Option<String>,
    /// The subagent that made it; null is the main agent, or unknown where `tool_use_id` is null.
    pub parent: Option<String>,
    /// How these two are known: `reported` by the agent, or `inferred` because no other call was open; null where
    /// `tool_use_id` is.
    pub parent_origin: Option<Known>,
    /// When it started, if that was reported.
    pub started: Option<At>,
    /// When it last stopped, if it has.
    pub stopped: Option<At>,
    /// Whether it runs.
    pub open: bool,
    /// Prompts given to it.
    pub prompts: u64,
    /// Its tool calls.
    pub tool_calls: u64,
    /// Of these, failed.
    pub tools_failed: u64,
    /// Its model messages.
    pub messages: u64,
    /// Their tokens; null where it has no message on record.
    pub tokens: Option<Tokens>,
}

impl AgentView {
    fn of(id: &str, agent: &Agent, session: &Session, maker: Option<(Maker, Known)>) -> AgentView {
        let (maker, known) = maker.unzip();
        AgentView {
            agent_id: id.to_owned(),
            agent_type: agent.kind.as_ref().map(|kind| kind.value.clone()),
            tool_use_id: maker.as_ref().map(|maker| maker.tool_use_id.clone()),
            parent: maker.and_then(|maker| maker.agent),
            parent_origin: known,
            started: agent.started.map(At::from),
            stopped: agent.stopped.map(At::from),
            open: agent.is_open() && session.phase() != Phase::Ended,
            prompts: agent.prompts,
            tool_calls: agent.tool_calls,
            tools_failed: agent.tools_failed,
            messages: agent.messages,
            tokens: (agent.messages > 0).then_some(agent.tokens),
        }
    }
}

/// How often a failure happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// What the errors have in common; null counts those beyond the kept signatures together.
    pub signature: Option<String>,
    /// How often.
    pub count: u64,
}

/// One session with the detail that the live state keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDetail {
    /// See [`VERSION`].
    pub version: u32,
    /// The last event that this knows.
    pub seq: Seq,
    /// The session.
    pub session: SessionView,
    /// Its subagents, the earliest first.
    pub agents: Vec<AgentView>,
    /// Its failures, the most frequent first.
    pub failures: Vec<FailureView>,
    /// The calls that the live state keeps, the earliest first: all open ones and the latest others. The timeline has all.
    pub calls: Vec<CallView>,
    /// At most so many calls are kept.
    pub calls_kept_max: u64,
    /// What depends on the moment of looking.
    pub viewer: Viewer,
}

/// The detail of one session at `now`.
pub fn detail(id: &str, session: &Session, seq: Seq, now: Timestamp) -> SessionDetail {
    let view = SessionView::of(id, session);
    let mut agents: Vec<_> = session.agents.iter().collect();
    agents.sort_by_key(|(_, agent)| agent.first);
    let mut calls: Vec<_> = session.calls.iter().collect();
    calls.sort_by_key(|(_, call)| call.seen);
    let mut makers = session.makers();
    let mut failures: Vec<_> = session
        .failures
        .iter()
        .map(|(signature, count)| FailureView { signature: Some(signature.clone()), count: *count })
        .collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    if session.failures_other > 0 {
        failures.push(FailureView { signature: None, count: session.failures_other });
    }
    SessionDetail {
        version: VERSION,
        seq,
        agents: agents
            .into_iter()
            .map(|(id, agent)| AgentView::of(id, agent, session, makers.remove(id.as_str())))
            .collect(),
        failures,
        calls: calls.into_iter().map(|(id, call)| CallView::of(id, call)).collect(),
        calls_kept_max: CALLS_KEPT_MAX as u64,
        viewer: Viewer::of(now, [&view]),
        session: view,
    }
}

/// Why an id or a prefix named no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No session begins with it.
    Unknown,
    /// Several do; here are the first of them.
    Ambiguous(Vec<String>),
}

/// The session that `given` names: its whole id, or the beginning of it that no other id shares.
pub fn resolve<'a>(state: &'a Sessions, given: &str) -> Result<(&'a str, &'a Session), Unresolved> {
    if let Some((id, session)) = state.sessions.get_key_value(given) {
        return Ok((id, session));
    }
    if given.is_empty() {
        return Err(Unresolved::Unknown);
    }
    let from = state.sessions.range::<str, _>((std::ops::Bound::Included(given), std::ops::Bound::Unbounded));
    let mut matching = from.take_while(|(id, _)| id.starts_with(given));
    match (matching.next(), matching.next()) {
        (None, _) => Err(Unresolved::Unknown),
        (Some((id, session)), None) => Ok((id, session)),
        (Some((first, _)), Some((second, _))) => {
            let rest = matching.take(3).map(|(id, _)| id.clone());
            Err(Unresolved::Ambiguous([first.clone(), second.clone()].into_iter().chain(rest).collect()))
        }
    }
}
