//! The sessions projection: what every agent session did and does.
//!
//! **Time and seq.** A session's events may come in any order: hooks run side by side, and a transcript brings old lines
//! late. Everything here is joined by ids or decided by [`Mark`], (time, seq): the last word on the phase is the one
//! that happened last, not the one that arrived last. So a late import tells the same truth as a live recording, and
//! a line older than the session's end does not reopen it, while a younger one does.
//!
//! **What decides the phase.** Prompts, tool calls and messages of the main agent: working. The end of a turn: idle. A
//! permission request that its call has not answered, or a notification that asks: waiting. The session's end: ended,
//! until a later sign of the agent. Subagents do not decide: they may work on behind an idle prompt.
//! Whether a silent session still lives is for the viewer to presume ([`view`]), beside this.
//!
//! A call that is itself a question (`AskUserQuestion`) waits like a permission request, and so does an elicitation of a server of
//! tools.
//!
//! **Time, files, failures, tokens**: [`times`] splits the time of a call, [`files`] counts what the file tools did, failures are
//! counted by tool and signature, [`usage`] counts tokens once a message. Each figure is the agent's report or follows from two
//! events, and its name says which; what nobody told is none, not zero.
//!
//! **Subagents** are joined to the call that made them by what that call gave back, by a transcript, or, where neither has
//! come, because no other call can have made them ([`makers`]).
//!
//! **Bounds.** Counts are exact for as long as a session is in the state. Detail is bounded by the constants of
//! [`state`]: of calls the open and the latest are kept, fewer once a session has ended; what is older is read back
//! from the journal ([`timeline`]). Whatever leaves early is counted (`tools_lost`,
//! `waits_lost`, `subagents_lost`, `forgotten`, `departed`).
//!
//! **The state at any seq** is wanted at once, so little of it may have to be decoded. The sessions seen most recently are kept as they
//! are; the others lie in an archive as bytes, in pages that are sealed when they are full (`projection::archive`, `projection::pages`). Snapshots
//! name sealed pages by their hashes and share one copy of each.

mod archive;
mod calls;
mod departed;
pub mod files;
mod known;
mod list;
pub mod look;
pub mod makers;
pub mod state;
pub(in crate::projection) mod text;
pub mod timeline;
mod times;
pub mod turns;
pub mod unfinished;
mod usage;
pub mod view;
pub mod viewer;
mod window;

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny};
use serde_json::value::RawValue;

use self::calls::{Ending, Told};
use self::files::{Change, Deed, path_of_input};
use self::makers::{Maker, makes_agents};
use self::state::{
    End, Messages, Outcome, Phase, Process, SESSIONS_DETAILED_MAX, SESSIONS_KEPT_MAX, Session, Sessions, Wait,
};
use self::text::{clip, fingerprint, id_key, likeness, set_clipped, signature};
use self::times::asks_user;
use super::entries::Mapped;
use super::mark::{keep_earlier, keep_later};
use super::snapshot::Part;
use super::{Latest, Mark, Projection};
use crate::event::{Category, Event, FieldText, Json, Kind, PayloadText, StoredEvent, payload};

/// The projection's name and rules; its state is [`Sessions`].
pub enum SessionsProjection {}

impl Projection for SessionsProjection {
    const NAME: &'static str = "sessions";
    const SCHEMA: u32 = 4;
    type State = Sessions;

    fn session_json(state: &Sessions, session: &str) -> serde_json::Result<Json> {
        serde_json::to_value(state.get(session))
    }

    fn parts(state: &Sessions) -> Vec<Part> {
        state.parts().cloned().collect()
    }

    fn fill_parts(state: &mut Sessions, fill: &mut dyn FnMut(&mut Part) -> bool) -> bool {
        state.fill_parts(fill)
    }

    fn mapped(state: &Sessions) -> Option<Mapped<'_>> {
        Some(state.mapped())
    }

    fn apply(state: &mut Sessions, stored: &StoredEvent) {
        let Some(id) = stored.event.session.as_deref() else { return };
        let now = Now { event: &stored.event, mark: Mark::of(stored) };
        if !state.take(id, &now) {
            state.bring(id, now.mark);
            state.take(id, &now);
        }
    }

    fn concerns(stored: &StoredEvent) -> bool {
        stored.event.session.is_some()
    }
}

/// Whether an event tells of the agent. Others may name a session and say nothing of it: commands that run in it, notes,
/// and our own upkeep, such as an import long after its end.
pub(in crate::projection) fn is_of_agent(kind: Kind) -> bool {
    matches!(kind.category(), Category::Agent | Category::Session) && kind != Kind::TranscriptImported
}

/// One event on its way into a session.
struct Now<'a> {
    event: &'a Event,
    mark: Mark,
}

impl Now<'_> {
    fn agent(&self) -> Option<&str> {
        self.event.agent.as_deref()
    }

    fn by_main_agent(&self) -> bool {
        self.event.agent.is_none()
    }

    /// A question to the user that stands as of this event.
    fn wait(&self, tool: &str, tool_use_id: Option<&str>, input: &str) -> Wait {
        Wait {
            asked: self.mark,
            tool: clip(tool),
            agent: self.agent().map(id_key),
            tool_use_id: tool_use_id.map(id_key),
            question: question_of(self.event, input),
            input: likeness(input),
        }
    }

    fn told<'t>(&'t self, tool: &'t str, tool_use_id: &'t str) -> Told<'t> {
        let start = match self.event.kind.known() {
            Some(Kind::ToolCallStarted) => Some(self.event.id),
            _ => self.event.causation,
        };
        Told {
            mark: self.mark,
            agent: self.agent(),
            tool,
            tool_use_id,
            start: start.map(|id| *id.as_bytes()),
        }
    }
}

// The parts of payloads that are read here. Inputs and outputs stay unparsed: they are most of the bytes.

#[derive(Deserialize)]
pub(in crate::projection) struct CallStarted<'a> {
    #[serde(borrow)]
    pub(in crate::projection) tool: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::projection) tool_use_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::projection) input: &'a RawValue,
}

#[derive(Deserialize)]
struct CallCompleted<'a> {
    #[serde(borrow)]
    tool: Cow<'a, str>,
    #[serde(borrow)]
    tool_use_id: Cow<'a, str>,
    duration_ms: Option<u64>,
}

impl<'a> CallCompleted<'a> {
    fn of(payload: &'a PayloadText) -> Result<CallCompleted<'a>, serde_json::Error> {
        let [tool, tool_use_id, duration_ms] = payload.pick(["tool", "tool_use_id", "duration_ms"]);
        let duration_ms = match duration_ms {
            Some(field) => field.number().map_or_else(|| field.read(), |ms| Ok(Some(ms)))?,
            None => None,
        };
        Ok(CallCompleted { tool: text(tool)?, tool_use_id: text(tool_use_id)?, duration_ms })
    }
}

/// The start of a call, its input as JSON text.
struct Started<'a> {
    tool: Cow<'a, str>,
    tool_use_id: Cow<'a, str>,
    input: &'a str,
}

impl<'a> Started<'a> {
    fn of(payload: &'a PayloadText) -> Result<Started<'a>, serde_json::Error> {
        let [tool, tool_use_id, input] = payload.pick(["tool", "tool_use_id", "input"]);
        Ok(Started { tool: text(tool)?, tool_use_id: text(tool_use_id)?, input: there(input)?.as_json() })
    }
}

fn text(field: Option<FieldText<'_>>) -> Result<Cow<'_, str>, serde_json::Error> {
    there(field)?.text().ok_or_else(|| serde_json::Error::custom("a field that is to be text is not"))
}

fn there<T>(field: Option<T>) -> Result<T, serde_json::Error> {
    field.ok_or_else(|| serde_json::Error::custom("a field is missing"))
}

/// What the end of a call gave back, as JSON text.
fn output_of(event: &Event) -> Option<&str> {
    let [output] = event.payload.pick(["output"]);
    output.map(FieldText::as_json)
}

/// What a call that ran a subagent gives back, as far as it is read here.
#[derive(Deserialize)]
struct MadeAgent {
    #[serde(rename = "agentId", alias = "agent_id")]
    agent_id: String,
}

/// The subagent that the end of a call names.
pub(in crate::projection) fn agent_made(event: &Event) -> Option<String> {
    // Outputs have no fixed shape: one that names no subagent is none that cannot be read.
    let made: MadeAgent = serde_json::from_str(output_of(event)?).ok()?;
    Some(made.agent_id).filter(|id| !id.is_empty())
}

#[derive(Deserialize)]
struct PermissionAsked<'a> {
    #[serde(borrow)]
    tool: Cow<'a, str>,
    tool_use_id: Option<String>,
    #[serde(borrow)]
    input: &'a RawValue,
}

/// What a question asks: its own words, else what the tool would be given.
fn question_of(event: &Event, input: &str) -> String {
    #[derive(Deserialize)]
    struct Asked {
        questions: Vec<Question>,
    }
    #[derive(Deserialize)]
    struct Question {
        question: String,
    }
    let asked: Option<Asked> = serde_json::from_str(input).ok();
    if let Some(first) = asked.and_then(|asked| asked.questions.into_iter().next()) {
        return clip(&first.question);
    }
    let summary = event.summary();
    clip(summary.split_once(": ").map_or(summary.as_str(), |(_, words)| words))
}

/// A hook that has no kind of its own, as far as it is read here: a server of tools asks the user something.
#[derive(Deserialize)]
struct Elicited<'a> {
    #[serde(borrow)]
    hook: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What an elicitation says to the user.
#[derive(Deserialize)]
struct Elicitation {
    message: String,
}

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    usage: Option<payload::Usage>,
    #[serde(borrow, rename = "message_id")]
    id: Cow<'a, str>,
    #[serde(rename = "text")]
    _text: IgnoredAny,
}

impl<'a> Spoken<'a> {
    fn of(payload: &'a PayloadText) -> Result<Spoken<'a>, serde_json::Error> {
        let [model, said, usage, id] = payload.pick(["model", "text", "usage", "message_id"]);
        there(said)?;
        let usage = usage.map_or(Ok(None), usage_of)?;
        Ok(Spoken { model: text(model)?, usage, id: text(id)?, _text: IgnoredAny })
    }
}

/// The usage of a message: four numbers where they lie, and by the parser whatever else it may be.
fn usage_of(field: FieldText<'_>) -> Result<Option<payload::Usage>, serde_json::Error> {
    let [mut input, mut output, mut read, mut creation] = [None; 4];
    for (name, field) in field.fields() {
        let held = match name {
            "input_tokens" => &mut input,
            "output_tokens" => &mut output,
            "cache_read_tokens" => &mut read,
            "cache_creation_tokens" => &mut creation,
            _ => continue,
        };
        let is_first = held.is_none();
        *held = field.number();
        if !is_first || held.is_none() {
            input = None;
            break;
        }
    }
    if let (Some(input_tokens), Some(output_tokens), Some(cache_read_tokens), Some(cache_creation_tokens)) =
        (input, output, read, creation)
    {
        let usage = payload::Usage { input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens };
        return Ok(Some(usage));
    }
    field.read()
}

impl Session {
    /// Takes one event in. An error means that its payload could not be read.
    fn take(&mut self, now: &Now<'_>, messages: &mut Messages) -> Result<(), serde_json::Error> {
        let kind = now.event.kind.known().filter(|kind| is_of_agent(*kind));
        self.seen(now.mark, kind.is_some());
        let Some(kind) = kind else { return Ok(()) };
        if let Some(project) = &now.event.project {
            set_clipped(&mut self.project, now.mark, project);
        }
        if kind.category() == Category::Agent
            && let Some(agent) = now.agent()
        {
            self.agent(agent, now.mark);
        }
        let payload = &now.event.payload;
        match kind {
            Kind::SessionStarted => self.started(now, payload.read()?),
            Kind::SessionEnded => {
                self.has_ended(now, &payload.read()?);
                return Ok(());
            }
            Kind::PromptSubmitted => self.prompted(now, &payload.read()?),
            Kind::ToolCallStarted => {
                let call = Started::of(payload)?;
                let path = Deed::of(&call.tool).and_then(|_| path_of_input(call.input));
                let told = now.told(&call.tool, &call.tool_use_id);
                self.call_started(&told, likeness(call.input), path);
                if asks_user(&call.tool) {
                    self.asked(now.wait(&call.tool, Some(&call.tool_use_id), call.input));
                }
                self.decide(now, Phase::Working);
            }
            Kind::ToolCallCompleted => {
                let call = CallCompleted::of(payload)?;
                let told = now.told(&call.tool, &call.tool_use_id);
                let change = (Deed::of(&call.tool) == Some(Deed::Write)).then(|| Change::of(now.event));
                let ending = Ending::of(Outcome::Completed, call.duration_ms);
                self.call_ended(&told, Ending { change, ..ending });
                if makes_agents(&call.tool) {
                    self.made(now, &call.tool_use_id);
                }
                self.decide(now, Phase::Working);
            }
            Kind::ToolCallFailed => {
                let call: payload::ToolCallFailed = payload.read()?;
                let failed =
                    Outcome::Failed { signature: signature(&call.error), interrupted: call.interrupted };
                let ending = Ending::of(failed, call.duration_ms);
                let told = now.told(&call.tool, &call.tool_use_id);
                self.call_ended(&told, Ending { error: Some(call.error), ..ending });
                self.decide(now, Phase::Working);
            }
            Kind::PermissionRequested => {
                let wait: PermissionAsked<'_> = payload.read()?;
                self.counts.permissions_requested += 1;
                self.asked(now.wait(&wait.tool, wait.tool_use_id.as_deref(), wait.input.get()));
                self.decide(now, Phase::Working);
            }
            Kind::PermissionDenied => self.denied(now, payload.read()?),
            Kind::AgentMessage => self.message(now, &Spoken::of(payload)?, messages),
            Kind::TurnCompleted | Kind::TurnFailed => self.turn_over(now, kind),
            Kind::SubagentStarted => {
                let started: payload::SubagentStarted = payload.read()?;
                let agent = self.agent(&started.agent_id, now.mark);
                Latest::set(&mut agent.kind, now.mark, clip(&started.agent_type));
                keep_earlier(&mut agent.started, now.mark);
                if let Some(cause) = now.event.causation {
                    Latest::set(&mut agent.cause, now.mark, *cause.as_bytes());
                }
            }
            Kind::SubagentStopped => {
                let stopped: payload::SubagentStopped = payload.read()?;
                let agent = self.agent(&stopped.agent_id, now.mark);
                Latest::set(&mut agent.kind, now.mark, clip(&stopped.agent_type));
                keep_later(&mut agent.stopped, now.mark);
            }
            Kind::ContextCompacted => self.counts.compactions += 1,
            Kind::NotificationRaised => self.notified(now, &payload.read()?),
            Kind::AgentEvent => self.elicited(now, &payload.read()?),
            // A kind that `is_of_agent` took for one of the agent, and that tells nothing but that it was there.
            _ => {}
        }
        keep_later(&mut self.sign, now.mark);
        Ok(())
    }

    /// Notes the event in the span of the session: that of its agent's events, as soon as there is one.
    fn seen(&mut self, mark: Mark, of_agent: bool) {
        let known = self.sign.is_some() || self.end.is_some();
        if of_agent && !known {
            (self.first, self.last) = (mark, mark);
        } else if of_agent || !known {
            (self.first, self.last) = (self.first.min(mark), self.last.max(mark));
        }
    }

    fn decide(&mut self, now: &Now<'_>, phase: Phase) {
        if now.by_main_agent() {
            Latest::set(&mut self.decided, now.mark, phase);
        }
    }

    /// Nothing that was asked or begun before can go on.
    fn settle(&mut self, now: &Now<'_>) {
        if now.by_main_agent() {
            keep_later(&mut self.settled, now.mark);
        }
    }

    /// The end of a call that runs subagents, which may name the one that it made.
    fn made(&mut self, now: &Now<'_>, tool_use_id: &str) {
        if let Some(made) = agent_made(now.event) {
            let maker = || Maker { tool_use_id: id_key(tool_use_id), agent: now.agent().map(id_key) };
            Latest::set_first(&mut self.agent(&made, now.mark).maker, now.mark, maker);
        }
    }

    fn started(&mut self, now: &Now<'_>, started: payload::SessionStarted) {
        Latest::set_first(&mut self.started, now.mark, || ());
        // A start without them says nothing of the process, and ends what was known.
        let process = Process::of(&started, &now.event.source.host);
        Latest::set(&mut self.process, now.mark, process);
        if !started.cwd.is_empty() {
            Latest::set(&mut self.cwd, now.mark, started.cwd);
        }
        if let Some(model) = started.model {
            Latest::set(&mut self.model, now.mark, clip(&model));
        }
        // After a compaction the agent goes on in the middle of its turn.
        if started.source != "compact" {
            self.decide(now, Phase::Idle);
            self.settle(now);
        }
        Latest::set(&mut self.source, now.mark, clip(&started.source));
    }

    fn has_ended(&mut self, now: &Now<'_>, ended: &payload::SessionEnded) {
        self.counts.ends += 1;
        let end = End { reason: clip(&ended.reason), inferred: ended.inferred };
        Latest::set(&mut self.end, now.mark, end);
        Latest::set(&mut self.decided, now.mark, Phase::Ended);
        keep_later(&mut self.settled, now.mark);
        self.bound_calls();
    }

    fn prompted(&mut self, now: &Now<'_>, prompt: &payload::PromptSubmitted) {
        if let Some(agent) = now.agent() {
            self.agent(agent, now.mark).prompts += 1;
            return;
        }
        self.counts.prompts += 1;
        Latest::set_first(&mut self.title, now.mark, || clip(&prompt.prompt));
        self.decide(now, Phase::Working);
        self.settle(now);
    }

    fn denied(&mut self, now: &Now<'_>, denied: payload::PermissionDenied) {
        match denied.tool_use_id {
            Some(id) => self.call_ended(&now.told(&denied.tool, &id), Ending::of(Outcome::Denied, None)),
            None => self.counts.tools_denied += 1,
        }
        self.decide(now, Phase::Working);
    }

    fn turn_over(&mut self, now: &Now<'_>, kind: Kind) {
        if now.by_main_agent() {
            let failed = kind == Kind::TurnFailed;
            self.counts.turns += u64::from(!failed);
            self.counts.turns_failed += u64::from(failed);
        }
        self.decide(now, Phase::Idle);
        self.settle(now);
    }

    /// A server of tools asks the user, or has its answer.
    fn elicited(&mut self, now: &Now<'_>, hook: &Elicited<'_>) {
        match hook.hook.as_ref() {
            "Elicitation" => {
                // Its data has no fixed shape: one without a message still waits.
                let asked: Option<Elicitation> = serde_json::from_str(hook.data.get()).ok();
                let words = asked.map_or_else(|| "an answer".to_owned(), |asked| clip(&asked.message));
                Latest::set(&mut self.question, now.mark, words);
                self.decide(now, Phase::Waiting);
            }
            "ElicitationResult" => self.decide(now, Phase::Working),
            _ => {}
        }
    }

    fn notified(&mut self, now: &Now<'_>, notification: &payload::NotificationRaised) {
        self.counts.notifications += 1;
        match notification.notification_type.as_str() {
            "permission_prompt" | "elicitation_dialog" => {
                Latest::set(&mut self.question, now.mark, clip(&notification.message));
                self.decide(now, Phase::Waiting);
            }
            "idle_prompt" => self.decide(now, Phase::Idle),
            _ => {}
        }
    }
}

impl Sessions {
    /// Takes an event of a recent session in; says whether it is one.
    fn take(&mut self, id: &str, now: &Now<'_>) -> bool {
        let Sessions { recent, messages, unread, .. } = self;
        let Some(session) = recent.get_mut(id) else { return false };
        (session.events, session.seq_last) = (session.events + 1, now.mark.seq().get());
        *unread += u64::from(session.take(now, messages).is_err());
        true
    }

    /// Brings a session among the recent ones.
    fn bring(&mut self, id: &str, mark: Mark) {
        let key = fingerprint(id);
        let known = self.archive.take(key, id);
        let mut session = known.unwrap_or_else(|| Session::new(key, mark, self.departed.take(key)));
        session.seq_last = mark.seq().get();
        self.recent.insert(id.to_owned(), session);
        self.bound();
    }

    /// Lets detail and sessions beyond the bounds leave, the least recently seen first. Asked only when a session came.
    fn bound(&mut self) {
        while self.recent.len() > SESSIONS_DETAILED_MAX {
            let Some(id) = self.recent.least_by(|session| session.seq_last).cloned() else { break };
            let Some(mut session) = self.recent.remove(&id) else { break };
            session.drop_detail();
            self.archive.put(session.key, &id, &session);
        }
        while self.len() > SESSIONS_KEPT_MAX {
            let Some(key) = self.archive.forget_oldest() else { break };
            self.departed.put(key);
        }
    }
}

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod detail_tests;
#[cfg(test)]
mod tests;
