//! What is known of every session, and the bounds of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::archive::Archived;
use super::departed::Departed;
use super::files::{Files, Touch};
use super::makers::{Concluded, Maker};
use super::text::clip;
use crate::clock::ProcessStamp;
use crate::event::payload;
use crate::projection::by_id::ById;
use crate::projection::{Latest, Mark};

pub use super::times::{Ran, Split};
pub use super::usage::{Context, Messages, ModelUsage, Tokens};

/// Sessions that the state knows; the one seen least recently leaves first. About half a KiB each.
pub const SESSIONS_KEPT_MAX: usize = 16_384;
/// Sessions that are kept with their tool calls, the most recently seen ones; the others lie packed in an archive.
pub const SESSIONS_DETAILED_MAX: usize = 64;
/// Tool calls kept of a session: all that are open and the latest of the others.
pub const CALLS_KEPT_MAX: usize = 256;
/// Tool calls kept of a session that has ended.
pub const CALLS_KEPT_ENDED_MAX: usize = 16;
/// Of open tool calls, requests, files and subagents alike, how many a session keeps once it is not among the recent ones.
pub const KEPT_WITHOUT_DETAIL_MAX: usize = 16;
/// Permission requests of a session kept while nobody has answered them.
pub const WAITS_KEPT_MAX: usize = 64;
/// Subagents kept of a session; stopped ones leave first, then the one seen least recently.
pub const AGENTS_KEPT_MAX: usize = 256;
/// Kinds of failure told apart in a session; later ones are counted together.
pub const SIGNATURES_KEPT_MAX: usize = 64;
/// Files kept of a session; the one touched least recently leaves first.
pub const FILES_KEPT_MAX: usize = 256;
/// Models told apart in a session; later ones are counted together.
pub const MODELS_KEPT_MAX: usize = 16;
/// Model messages remembered to count their tokens once: copies in a resumed or forked session lie within one import.
pub const MESSAGES_REMEMBERED_MAX: usize = 65_536;
/// Of these, the latest ones, whose usage can still change: lines of one message lie close together.
pub const MESSAGES_CHANGEABLE_MAX: usize = 1_024;
/// Longest text taken into the state, in characters: a prompt's beginning, a signature, a name.
pub const TEXT_CHARS_MAX: usize = 120;

/// The state of the sessions projection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// The sessions seen most recently, by id, with their detail.
    pub recent: ById<Session>,
    /// The others that the state knows.
    pub(super) archive: Archived,
    /// Those beyond: counted, and read back from the journal when asked for.
    pub(super) departed: Departed,
    /// Model messages seen, for counting tokens once.
    pub messages: Messages,
    /// Events of a known kind whose payload could not be read; they count in `events` only.
    pub unread: u64,
}

/// One agent session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// A fingerprint of its id.
    pub(super) key: u64,
    /// The earliest and the latest event of its agent, by time; of all that name it while there is none of its agent.
    pub first: Mark,
    /// See `first`.
    pub last: Mark,
    /// Where its events begin in the journal.
    pub seq_first: u64,
    /// Where its events end, so far.
    pub seq_last: u64,
    /// All events that name it.
    pub events: u64,
    /// It was known before, left the state and came back: counts are of the time since `seq_first`.
    pub returned: bool,
    /// The earliest start reported.
    pub started: Option<Latest<()>>,
    /// How it was last started: startup, resume, clear, compact, fork.
    pub source: Option<Latest<String>>,
    /// Where it works.
    pub cwd: Option<Latest<String>>,
    /// Its project.
    pub project: Option<Latest<String>>,
    /// The model that last answered its main agent.
    pub model: Option<Latest<String>>,
    /// Its latest end.
    pub end: Option<Latest<End>>,
    /// The beginning of its first prompt.
    pub title: Option<Latest<String>>,
    /// The process of the agent, as the latest start told it; none where that start told none.
    pub process: Option<Latest<Option<Process>>>,
    /// What the agent last asked of the user.
    pub question: Option<Latest<String>>,
    /// The latest event that decides between working, waiting, idle and ended.
    pub decided: Option<Latest<Phase>>,
    /// The latest sign of the agent.
    pub sign: Option<Mark>,
    /// The latest event after which nothing asked or begun before it can still go on.
    pub settled: Option<Mark>,
    /// Everything counted. Exact, whatever detail has left.
    pub counts: Counts,
    /// Tokens over all messages.
    pub tokens: Tokens,
    /// Tokens by model, under a fingerprint of its name.
    pub usage: BTreeMap<u64, ModelUsage>,
    /// How full the main agent's context was.
    pub context: Context,
    /// What was done to files.
    pub files: Files,
    /// Failures by tool and signature, under a fingerprint of both.
    pub failures: BTreeMap<u64, Failure>,
    /// Failures of further signatures.
    pub failures_other: u64,
    /// Tool calls kept, by `tool_use_id`.
    pub calls: ById<Call>,
    /// Questions to the user that no call has answered yet.
    pub waits: Vec<Wait>,
    /// Subagents kept, by agent id.
    pub agents: BTreeMap<String, Agent>,
    /// It is folded again to be shown: no calls leave because it has ended. Never so in a state.
    #[serde(skip)]
    pub(super) keeps_calls: bool,
}

/// What a session does, as its events say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The agent is at work.
    Working,
    /// The agent waits for the user's answer.
    Waiting,
    /// The turn is over; the agent waits for a prompt.
    Idle,
    /// The session is over.
    Ended,
}

impl Phase {
    /// The word in JSON and on the terminal.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Working => "working",
            Phase::Waiting => "waiting",
            Phase::Idle => "idle",
            Phase::Ended => "ended",
        }
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The agent's own word for why.
    pub reason: String,
    /// Whether the end was concluded from the absence of the process rather than reported.
    pub inferred: bool,
}

/// The process of an agent: enough to see whether that very process lives, on the machine that it ran on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// When it started, in ticks since the machine did: a process that has its id later is another.
    pub start_ticks: u64,
    /// The machine's name.
    pub host: String,
}

impl Process {
    /// As a start tells it, on the machine of this name; none where it does not.
    pub(in crate::projection) fn of(started: &payload::SessionStarted, host: &str) -> Option<Process> {
        let (pid, start_ticks) = started.agent_pid.zip(started.agent_start_ticks)?;
        Some(Process { pid, start_ticks, host: clip(host) })
    }

    /// The process on the machine of this name; `None` if it ran on another one, where nothing can be told of it.
    pub fn on(&self, host: &str) -> Option<ProcessStamp> {
        (self.host == host).then_some(ProcessStamp { pid: self.pid, start_ticks: self.start_ticks })
    }
}

/// Failures that have their tool and their signature in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The tool.
    pub tool: String,
    /// The error with what changes from run to run left out.
    pub signature: String,
    /// How often.
    pub count: u64,
    /// The first one, with the beginning of its error.
    pub first: Latest<String>,
    /// The last one.
    pub last: Mark,
}

/// Counts of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Prompts of the user to the main agent.
    pub prompts: u64,
    /// Turns that the main agent completed.
    pub turns: u64,
    /// Turns that failed.
    pub turns_failed: u64,
    /// Tool calls, of the main agent and of subagents.
    pub tool_calls: u64,
    /// Of these, completed.
    pub tools_completed: u64,
    /// Of these, failed.
    pub tools_failed: u64,
    /// Of the failed, interrupted by the user.
    pub tools_interrupted: u64,
    /// Of these, denied.
    pub tools_denied: u64,
    /// Open calls that had to leave the state; their end will not be joined to them.
    pub tools_lost: u64,
    /// Milliseconds of tool calls as the agent reported them.
    pub tool_ms_reported: u64,
    /// Milliseconds of the other ended calls: end minus start.
    pub tool_ms_derived: u64,
    /// Milliseconds in which calls waited for the user, where that is known: see `times`.
    pub wait_ms_derived: u64,
    /// Milliseconds of hooks and of the agent's own work around calls, where that is known.
    pub hook_ms_derived: u64,
    /// Permission requests.
    pub permissions_requested: u64,
    /// Requests that had to leave the state unanswered.
    pub waits_lost: u64,
    /// Model messages, each once.
    pub messages: u64,
    /// Of these, with a usage: without one, tokens are unknown.
    pub messages_with_usage: u64,
    /// Messages that another session had already counted: a resumed or forked session copies them.
    pub messages_copied: u64,
    /// Compactions of the context.
    pub compactions: u64,
    /// Notifications.
    pub notifications: u64,
    /// Subagents. One that left the state and was seen again counts again.
    pub agents: u64,
    /// Subagents that had to leave the state.
    pub subagents_lost: u64,
    /// Ends reported or inferred; more than one when it was reopened.
    pub ends: u64,
}

/// One tool call. Its start and its end are joined by `tool_use_id`, whichever arrives first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The tool.
    pub tool: Cow<'static, str>,
    /// The subagent that called it; none is the main agent.
    pub agent: Option<String>,
    /// Its first event.
    pub seen: Mark,
    /// When it started.
    pub started: Option<Mark>,
    /// When it ended, and how.
    pub ended: Option<Latest<Outcome>>,
    /// Its duration as the agent reported it.
    pub reported_ms: Option<u64>,
    /// When permission was asked for it.
    pub asked: Option<Mark>,
    /// The file that it works on.
    pub(super) touch: Touch,
    /// A fingerprint of the input, to join a permission request, which carries no `tool_use_id`.
    pub(super) input: u64,
    /// The id of the event that started it, to join the subagent that it made.
    pub(super) start: Option<[u8; 16]>,
}

/// How a tool call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It completed.
    Completed,
    /// It failed, with this signature.
    Failed {
        /// The error with what changes from run to run left out.
        signature: String,
        /// The user interrupted it.
        interrupted: bool,
    },
    /// It was not allowed.
    Denied,
}

impl Call {
    /// Both ends are known.
    pub(super) fn is_whole(&self) -> bool {
        self.started.is_some() && self.ended.is_some()
    }
}

/// A question to the user that nothing has answered: a permission request, or a call that is itself a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// When it was asked.
    pub asked: Mark,
    /// For which tool.
    pub tool: String,
    /// By which subagent; none is the main agent.
    pub agent: Option<String>,
    /// For which call, if it was said.
    pub tool_use_id: Option<String>,
    /// What is asked: the question, or what the tool would be given, on one line.
    pub question: String,
    pub(super) input: u64,
}

/// One subagent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// A fingerprint of its id.
    pub(super) key: u64,
    /// Its earliest and its latest event.
    pub first: Mark,
    /// See `first`.
    pub last: Mark,
    /// Its type.
    pub kind: Option<Latest<String>>,
    /// Its first start.
    pub started: Option<Mark>,
    /// Its last stop.
    pub stopped: Option<Mark>,
    /// Prompts given to it.
    pub prompts: u64,
    /// Its tool calls.
    pub tool_calls: u64,
    /// Of these, failed.
    pub tools_failed: u64,
    /// Its model messages.
    pub messages: u64,
    /// Of these, with a usage.
    pub messages_with_usage: u64,
    /// Their tokens.
    pub tokens: Tokens,
    /// The event that started the tool call that made it, where the recorder knew.
    pub(super) cause: Option<Latest<[u8; 16]>>,
    /// The call whose end named it.
    pub(super) maker: Option<Latest<Maker>>,
    /// What the calls told of its maker when some of them left the state.
    pub(super) concluded: Concluded,
}

impl Agent {
    pub(super) fn new(key: u64, mark: Mark) -> Agent {
        Agent {
            key,
            first: mark,
            last: mark,
            kind: None,
            started: None,
            stopped: None,
            prompts: 0,
            tool_calls: 0,
            tools_failed: 0,
            messages: 0,
            messages_with_usage: 0,
            tokens: Tokens::default(),
            cause: None,
            maker: None,
            concluded: Concluded::NotYet,
        }
    }

    /// It started and has not stopped since.
    pub fn is_open(&self) -> bool {
        self.started.is_some() && self.stopped.is_none_or(|stopped| Some(stopped) < self.started)
    }
}

impl Session {
    pub(super) fn new(key: u64, mark: Mark, returned: bool) -> Session {
        let seq = mark.seq().get();
        Session {
            key,
            first: mark,
            last: mark,
            seq_first: seq,
            seq_last: seq,
            events: 0,
            returned,
            started: None,
            source: None,
            cwd: None,
            project: None,
            model: None,
            end: None,
            title: None,
            process: None,
            question: None,
            decided: None,
            sign: None,
            settled: None,
            counts: Counts::default(),
            tokens: Tokens::default(),
            usage: BTreeMap::new(),
            context: Context::default(),
            files: Files::default(),
            failures: BTreeMap::new(),
            failures_other: 0,
            calls: ById::default(),
            waits: Vec::new(),
            agents: BTreeMap::new(),
            keeps_calls: false,
        }
    }

    /// What it does. An ended session of which a later sign came is open again.
    pub fn phase(&self) -> Phase {
        let decided = self.decided.as_ref().map_or(Phase::Idle, |decided| decided.value);
        let last_word = self.decided.as_ref().map(|decided| decided.mark);
        match decided {
            Phase::Ended if self.sign > last_word => Phase::Idle,
            Phase::Ended => Phase::Ended,
            _ if self.open_waits().next().is_some() => Phase::Waiting,
            decided => decided,
        }
    }

    /// The latest event of its agent. An end that was inferred is none: it tells when the agent was found gone, not how long it was there.
    pub fn last_seen(&self) -> Mark {
        match self.ended() {
            Some(end) if end.value.inferred => self.sign.unwrap_or(self.first).max(self.first),
            _ => self.last,
        }
    }

    /// Its end, if that still holds.
    pub fn ended(&self) -> Option<&Latest<End>> {
        self.end.as_ref().filter(|_| self.phase() == Phase::Ended)
    }

    /// Questions that are neither answered nor overtaken by the next prompt or the end of the turn.
    pub fn open_waits(&self) -> impl Iterator<Item = &Wait> {
        self.waits.iter().filter(|wait| self.settled.is_none_or(|settled| settled < wait.asked))
    }

    /// Calls that are running: started, not ended, and begun since the last prompt or end of a turn. A subagent's
    /// calls outlive the turn that started it and run until it stops.
    pub fn open_calls(&self) -> impl Iterator<Item = (&String, &Call)> {
        let over = self.phase() == Phase::Ended;
        self.calls.iter().filter(move |(_, call)| {
            let settled = match &call.agent {
                None => self.settled,
                Some(agent) => self.agents.get(agent).and_then(|agent| agent.stopped),
            };
            call.ended.is_none() && settled.is_none_or(|settled| settled < call.seen) && !over
        })
    }
}
