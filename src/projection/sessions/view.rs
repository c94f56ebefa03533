//! The JSON forms of sessions: one definition for the routes, for `--json` and for the terminal's tables.
//!
//! Each form has a `version`, the seq that it speaks of, and what the state says. What depends on the moment of looking
//! stands apart, under `viewer` ([`Viewer`]); ages are the reader's own subtraction.

use serde::{Deserialize, Serialize};

use super::files::{FileUse, Files, Lines};
use super::makers::{Known, Maker};
use super::state::{
    Agent, CALLS_KEPT_MAX, Call, Counts, FILES_KEPT_MAX, Failure, ModelUsage, Outcome, Phase, Process,
    Session, Split, Tokens,
};
use super::viewer::{Looking, Viewer};
use crate::event::{Seq, Timestamp};
use crate::projection::{Latest, Mark};

pub use super::list::{LIST_LIMIT_DEFAULT, ListQuery, SessionList, StateFilter, Unresolved, list, resolve};

/// The version of every form here.
pub const VERSION: u32 = 1;

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
    /// What is asked: the question itself, or what the tool would be given.
    pub question: Option<String>,
    /// The words of the agent's notification about it.
    pub message: Option<String>,
}

/// How full the main agent's context was, as its messages report: tokens read, from a cache or not, and written into one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextView {
    /// At its latest message.
    pub last_tokens: u64,
    /// At its fullest.
    pub peak_tokens: u64,
    /// When that was.
    pub peak: At,
}

/// What was done to files, in all. What a shell command does to them is not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesView {
    /// Reads by the agent's file tools.
    pub reads: u64,
    /// Writes by them.
    pub writes: u64,
    /// Of the writes, those whose lines nobody told.
    pub writes_unmeasured: u64,
    /// Lines that the other writes added and removed, by the tools' own patches.
    pub lines: Lines,
}

impl From<&Files> for FilesView {
    fn from(files: &Files) -> FilesView {
        let Files { reads, writes, writes_unmeasured, lines, .. } = *files;
        FilesView { reads, writes, writes_unmeasured, lines }
    }
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
    /// Its latest event; where its end is inferred, the latest sign of its agent.
    pub last_seen: At,
    /// Its end, if it is over.
    pub ended: Option<Ended>,
    /// What it waits for, if it waits.
    pub waiting_on: Option<WaitingOn>,
    /// From its first event to `last_seen`.
    pub span_ms: u64,
    /// All events that name it.
    pub events: u64,
    /// Everything counted.
    pub counts: Counts,
    /// Tokens as the provider reported them, each message once; null where no message reported any.
    pub tokens: Option<Tokens>,
    /// The same by model, the one that used most first.
    pub models: Vec<ModelUsage>,
    /// How full the context was; null where no message reported it.
    pub context: Option<ContextView>,
    /// What was done to files.
    pub files: FilesView,
    /// The agent's process, where it was told.
    pub process: Option<Process>,
    /// Calls running now.
    pub open_calls: u64,
    /// Calls that do not run any more and have no end on record.
    #[serde(default)]
    pub unfinished_calls: u64,
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
            last_seen: session.last_seen().into(),
            ended: session.ended().map(|end| Ended {
                time: end.mark.time(),
                seq: end.mark.seq(),
                reason: end.value.reason.clone(),
                inferred: end.value.inferred,
            }),
            waiting_on: waiting_on(session),
            span_ms: session.last_seen().millis_since(session.first),
            events: session.events,
            counts: session.counts.clone(),
            tokens: session.tokens_known(),
            models: models(session),
            context: session.context.last.as_ref().zip(session.context.peak.as_ref()).map(|(last, peak)| {
                ContextView { last_tokens: last.value, peak_tokens: peak.value, peak: peak.mark.into() }
            }),
            files: (&session.files).into(),
            process: session.process.as_ref().and_then(|process| process.value.clone()),
            open_calls: session.open_calls().count() as u64,
            unfinished_calls: unfinished_calls(session),
            open_agents: open_agents(session),
            partial: session.returned,
        }
    }
}

fn models(session: &Session) -> Vec<ModelUsage> {
    let used = session.usage.values().filter(|usage| usage.messages > 0);
    let mut models: Vec<_> = used.cloned().collect();
    models.sort_by_key(|usage| std::cmp::Reverse(usage.tokens.total()));
    models
}

/// What the other counts leave of all calls: those that were running when the turn or the session ended.
fn unfinished_calls(session: &Session) -> u64 {
    let counts = &session.counts;
    let ended = counts.tools_completed + counts.tools_failed + counts.tools_denied;
    counts.tool_calls.saturating_sub(ended + counts.tools_lost + session.open_calls().count() as u64)
}

fn open_agents(session: &Session) -> u64 {
    let over = session.phase() == Phase::Ended;
    session.agents.values().filter(|agent| agent.is_open() && !over).count() as u64
}

fn waiting_on(session: &Session) -> Option<WaitingOn> {
    if session.phase() != Phase::Waiting {
        return None;
    }
    let words = |register: &Latest<String>| register.value.clone();
    let told = session.question.as_ref();
    match session.open_waits().min_by_key(|wait| wait.asked) {
        Some(wait) => Some(WaitingOn {
            time: wait.asked.time(),
            seq: wait.asked.seq(),
            tool: Some(wait.tool.clone()),
            question: Some(wait.question.clone()),
            message: told.filter(|told| wait.asked <= told.mark).map(words),
        }),
        None => told.map(|told| WaitingOn {
            time: told.mark.time(),
            seq: told.mark.seq(),
            tool: None,
            question: Some(words(told)),
            message: Some(words(told)),
        }),
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
    /// Where its time went.
    pub times: Split,
    /// When the user was asked for permission.
    pub asked: Option<At>,
}

impl CallView {
    fn of(id: &str, call: &Call) -> CallView {
        let outcome = call.ended.as_ref().map(|ended| &ended.value);
        let ran = call.ran();
        CallView {
            tool_use_id: id.to_owned(),
            tool: call.tool.clone().into_owned(),
            agent: call.agent.clone(),
            started: call.started.map(At::from),
            ended: call.ended.as_ref().map(|ended| ended.mark.into()),
            outcome: outcome.map(|outcome| outcome.name().to_owned()),
            signature: outcome.and_then(Outcome::signature).map(str::to_owned),
            duration_ms: ran.map(super::state::Ran::ms),
            duration_origin: ran.map(|ran| ran.origin().to_owned()),
            times: call.split(),
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
    /// Their tokens; null where none reported any.
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
            tokens: (agent.messages_with_usage > 0).then_some(agent.tokens),
        }
    }
}

/// Failures that have their tool and what their errors have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// The same for the same tool and signature in every session, on every machine; null counts those beyond the kept ones
    /// together, and then only `count` is known.
    pub id: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// What the errors have in common.
    pub signature: Option<String>,
    /// How often.
    pub count: u64,
    /// The first one.
    pub first: Option<At>,
    /// The last one.
    pub last: Option<At>,
    /// The beginning of the first one's error.
    pub example: Option<String>,
}

impl FailureView {
    pub(super) fn of(key: u64, failure: &Failure) -> FailureView {
        FailureView {
            id: Some(format!("{key:016x}")),
            tool: Some(failure.tool.clone()),
            signature: Some(failure.signature.clone()),
            count: failure.count,
            first: Some(failure.first.mark.into()),
            last: Some(failure.last.into()),
            example: Some(failure.first.value.clone()),
        }
    }
}

/// What was done to one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// Its path as the tools name it.
    pub path: String,
    /// How often it was read.
    pub reads: u64,
    /// How often it was written.
    pub writes: u64,
    /// Of the writes, those whose lines nobody told.
    pub writes_unmeasured: u64,
    /// Lines that the other writes added and removed.
    pub lines: Lines,
    /// The first time.
    pub first: At,
    /// The last time.
    pub last: At,
}

/// The files, those written first, by the order of their first use.
pub(super) fn files_of(files: &Files) -> Vec<FileView> {
    let mut sorted: Vec<(&String, &FileUse)> = files.by_path.iter().collect();
    sorted.sort_by_key(|(_, file)| (file.writes == 0, file.first));
    let view = |(path, file): (&String, &FileUse)| FileView {
        path: path.clone(),
        reads: file.reads,
        writes: file.writes,
        writes_unmeasured: file.writes_unmeasured,
        lines: file.lines,
        first: file.first.into(),
        last: file.last.into(),
    };
    sorted.into_iter().map(view).collect()
}

/// One session with its detail: what the live state keeps, and what was read back from the journal where it had left that
/// ([`super::look::with_detail`]).
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
    /// Its calls, the earliest first: of many, all open ones and the latest others. The timeline has all.
    pub calls: Vec<CallView>,
    /// There are at most so many calls here.
    pub calls_kept_max: u64,
    /// Its files, those written first: of many, those touched last. The timeline has all.
    pub files: Vec<FileView>,
    /// Files that are not here; at most `files_kept_max` are.
    pub files_lost: u64,
    /// See `files_lost`.
    pub files_kept_max: u64,
    /// What depends on the moment of looking.
    pub viewer: Viewer,
}

/// The detail of one session, as it is looked at.
pub fn detail(id: &str, session: &Session, seq: Seq, looking: &Looking<'_>) -> SessionDetail {
    let view = SessionView::of(id, session);
    let mut agents: Vec<_> = session.agents.iter().collect();
    agents.sort_by_key(|(_, agent)| agent.first);
    let mut calls: Vec<_> = session.calls.iter().collect();
    calls.sort_by_key(|(_, call)| call.seen);
    let mut makers = session.makers();
    let mut failures: Vec<_> =
        session.failures.iter().map(|(key, failure)| FailureView::of(*key, failure)).collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    if session.failures_other > 0 {
        failures.push(FailureView {
            id: None,
            tool: None,
            signature: None,
            count: session.failures_other,
            first: None,
            last: None,
            example: None,
        });
    }
    let agents: Vec<_> = agents
        .into_iter()
        .map(|(id, agent)| AgentView::of(id, agent, session, makers.remove(id.as_str())))
        .collect();
    SessionDetail {
        version: VERSION,
        seq,
        viewer: Viewer::of_one(looking, &view, session, &agents),
        agents,
        failures,
        calls: calls.into_iter().map(|(id, call)| CallView::of(id, call)).collect(),
        calls_kept_max: CALLS_KEPT_MAX as u64,
        files: files_of(&session.files),
        files_lost: session.files.lost,
        files_kept_max: FILES_KEPT_MAX as u64,
        session: view,
    }
}
