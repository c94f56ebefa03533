//! A hook payload of Claude Code as an event.
//!
//! [`event`] is a function of its arguments: bytes, the moment, random bytes and what the environment says. The `hook`
//! command and `POST /hooks/claude` both call it.
//!
//! ## How
//! A hook with a kind of its own gives that kind; its fields that the kind does not know stay beside those that it does,
//! under their own names. Every other hook, and a known one that lacks what its kind cannot do without (a tool call with no
//! `tool_use_id`), is kept whole as `agent_event`. `PreCompact` is such a hook on purpose: it says that the context is about
//! to be folded, which another hook may still stop; `PostCompact`, or the transcript, says that it was.
//!
//! Left out, because they are said elsewhere: what the envelope holds (`session_id`, `hook_event_name`, `agent_id`); the
//! `tool_input` of a call's end, which its start has under the same `tool_use_id`; `transcript_path` where nothing is read
//! from it (it stays where a session begins, and where a turn, a subagent or a session ends and the transcript is worth
//! reading on); `cwd` and `permission_mode` on what ends something that began with them.
//!
//! ## Broken payloads
//! Half a surrogate pair, bytes that are no UTF-8 and a byte order mark are mended: an agent cuts texts where it likes. Bytes
//! that are no JSON object even so, or break off, give an error. Where the whole fields before the break still say which hook
//! ran, the error carries an `agent_event` with them: half a fact, marked as such, is better than none.

use uuid::Uuid;

use super::ids;
use crate::agent::{Fields, Origin, project_of};
use crate::clock::ProcessStamp;
use crate::event::{Event, Json, Kind, Payload, ids as event_ids, payload};

/// Bytes of one hook payload that are read. A tool's answer of many megabytes must not become a lost event.
pub const HOOK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What stands in a payload for a field that is always there in the versions we know, when it is not.
const UNKNOWN: &str = "unknown";

/// Why a payload gave no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// Not one JSON object. `rescued` is what stood whole before the fault, if that names its hook.
    #[error("the hook payload is not one JSON object: {fault}")]
    Broken {
        /// What the JSON reader says, with line and column.
        fault: String,
        /// An `agent_event` of the fields before the fault.
        rescued: Option<Box<Event>>,
    },
    /// Longer than [`HOOK_BYTES_MAX`].
    #[error("the hook payload is longer than {HOOK_BYTES_MAX} bytes")]
    TooLong {
        /// An `agent_event` of the fields that stood whole within the limit.
        rescued: Option<Box<Event>>,
    },
}

impl HookError {
    /// A stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            HookError::Broken { .. } => "malformed_json",
            HookError::TooLong { .. } => "payload_too_large",
        }
    }

    /// What could be kept.
    pub fn into_rescued(self) -> Option<Event> {
        match self {
            HookError::Broken { rescued, .. } | HookError::TooLong { rescued } => rescued.map(|event| *event),
        }
    }
}

/// The event of a hook payload. It is not redacted yet. `random` is used for the id of a hook that has no key of its own.
///
/// # Errors
/// [`HookError`] when `bytes` is not one JSON object or is longer than [`HOOK_BYTES_MAX`].
pub fn event(bytes: &[u8], origin: &Origin, random: [u8; 10]) -> Result<Event, HookError> {
    let too_long = bytes.len() > HOOK_BYTES_MAX;
    match Fields::parse(&bytes[..bytes.len().min(HOOK_BYTES_MAX)]) {
        Ok(fields) if !too_long => Ok(Call::new(fields, origin, random).event()),
        Ok(fields) => Err(HookError::TooLong { rescued: rescue(fields, origin, random) }),
        Err((fields, _)) if too_long => Err(HookError::TooLong { rescued: rescue(fields, origin, random) }),
        Err((fields, fault)) => {
            Err(HookError::Broken { fault: fault.to_string(), rescued: rescue(fields, origin, random) })
        }
    }
}

/// The hook that a payload is of, if it says so.
pub fn name(bytes: &[u8]) -> Option<String> {
    let (Ok(fields) | Err((fields, _))) = Fields::parse(bytes);
    fields.peek("hook_event_name").map(str::to_owned)
}

/// The whole fields of a broken payload, if they name the hook and its session.
fn rescue(mut fields: Fields, origin: &Origin, random: [u8; 10]) -> Option<Box<Event>> {
    fields.peek("session_id")?;
    fields.peek("hook_event_name")?;
    fields.set("broken_off", Json::Bool(true));
    Some(Box::new(Call::new(fields, origin, random).kept_whole()))
}

/// A fact: its payload, and its key where the agent gives it one.
struct Fact {
    payload: Payload,
    key: Key,
}

enum Key {
    None,
    Call(String),
    Subagent(String),
    Prompt(String),
}

/// One hook call on its way to an event.
struct Call<'a> {
    fields: Fields,
    origin: &'a Origin,
    random: [u8; 10],
}

impl<'a> Call<'a> {
    fn new(mut fields: Fields, origin: &'a Origin, random: [u8; 10]) -> Call<'a> {
        fields.forget(&["_delay_ms"]);
        Call { fields, origin, random }
    }

    fn event(mut self) -> Event {
        let hook = self.fields.peek("hook_event_name").unwrap_or_default().to_owned();
        let envelope = Envelope::read(&self.fields, self.origin);
        if !has_what_it_needs(&hook, &self.fields) {
            return self.kept_whole();
        }
        let Some(fact) = read_fact(&hook, &mut self.fields, self.origin.process) else {
            return self.kept_whole();
        };
        self.fields.forget(said_elsewhere(&hook));
        envelope.event(fact, self.fields, self.origin, self.random)
    }

    /// The payload as it is, for a hook that has no kind of its own.
    fn kept_whole(self) -> Event {
        let envelope = Envelope::read(&self.fields, self.origin);
        let hook = self.fields.peek("hook_event_name").unwrap_or(UNKNOWN).to_owned();
        let data = Json::Object(self.fields.into_rest());
        let fact = Fact { payload: payload::AgentEvent { hook, data }.into(), key: Key::None };
        envelope.event(fact, Fields::default(), self.origin, self.random)
    }
}

/// Whether the fields are there without which the hook's kind would say nothing.
fn has_what_it_needs(hook: &str, fields: &Fields) -> bool {
    let needed: &[&str] = match hook {
        "UserPromptSubmit" => &["prompt"],
        "PreToolUse" | "PostToolUse" | "PostToolUseFailure" => &["session_id", "tool_name", "tool_use_id"],
        "PermissionRequest" | "PermissionDenied" => &["tool_name"],
        "SubagentStart" | "SubagentStop" => &["session_id", "agent_id"],
        "Notification" => &["message"],
        "SessionStart" | "SessionEnd" => &["session_id"],
        _ => &[],
    };
    needed.iter().all(|name| fields.peek(name).is_some())
}

/// The fact of a hook that has a kind of its own.
fn read_fact(hook: &str, fields: &mut Fields, process: Option<ProcessStamp>) -> Option<Fact> {
    let unkeyed = |payload: Payload| Some(Fact { payload, key: Key::None });
    match hook {
        "SessionStart" => unkeyed(
            payload::SessionStarted {
                source: text(fields, "source"),
                cwd: fields.text("cwd").unwrap_or_default(),
                transcript_path: fields.name("transcript_path"),
                model: fields.name("model"),
                agent_pid: process.map(|process| process.pid),
                agent_start_ticks: process.map(|process| process.start_ticks),
            }
            .into(),
        ),
        "SessionEnd" => {
            unkeyed(payload::SessionEnded { reason: text(fields, "reason"), inferred: false }.into())
        }
        "UserPromptSubmit" => {
            let prompt = payload::PromptSubmitted {
                prompt: text(fields, "prompt"),
                prompt_id: fields.name("prompt_id"),
            };
            let key = prompt.prompt_id.clone().map_or(Key::None, Key::Prompt);
            Some(Fact { payload: prompt.into(), key })
        }
        "PreToolUse" | "PostToolUse" | "PostToolUseFailure" | "PermissionRequest" | "PermissionDenied" => {
            Some(read_call(hook, fields))
        }
        "SubagentStart" | "SubagentStop" => Some(read_subagent(hook, fields)),
        "Stop" => {
            unkeyed(payload::TurnCompleted { last_message: fields.name("last_assistant_message") }.into())
        }
        "StopFailure" => unkeyed(
            payload::TurnFailed { error: text(fields, "error"), details: fields.text("error_details") }
                .into(),
        ),
        "Notification" => unkeyed(
            payload::NotificationRaised {
                message: text(fields, "message"),
                notification_type: text(fields, "notification_type"),
                title: fields.name("title"),
            }
            .into(),
        ),
        "PostCompact" => unkeyed(
            payload::ContextCompacted {
                trigger: text(fields, "trigger"),
                pre_tokens: None,
                summary: fields.name("compact_summary"),
            }
            .into(),
        ),
        _ => None,
    }
}

fn read_call(hook: &str, fields: &mut Fields) -> Fact {
    let tool = text(fields, "tool_name");
    let id = fields.name("tool_use_id");
    let key = id.clone().map_or(Key::None, Key::Call);
    let tool_use_id = id.clone().unwrap_or_default();
    let payload: Payload = match hook {
        "PreToolUse" => {
            payload::ToolCallStarted { tool, tool_use_id, input: fields.value("tool_input") }.into()
        }
        "PostToolUse" => payload::ToolCallCompleted {
            tool,
            tool_use_id,
            output: fields.value("tool_response"),
            duration_ms: fields.number("duration_ms"),
        }
        .into(),
        "PostToolUseFailure" => payload::ToolCallFailed {
            tool,
            tool_use_id,
            error: text(fields, "error"),
            interrupted: fields.flag("is_interrupt").unwrap_or(false),
            duration_ms: fields.number("duration_ms"),
        }
        .into(),
        "PermissionDenied" => {
            payload::PermissionDenied { tool, tool_use_id: id, reason: text(fields, "reason") }.into()
        }
        _ => payload::PermissionRequested { tool, tool_use_id: id, input: fields.value("tool_input") }.into(),
    };
    Fact { payload, key }
}

fn read_subagent(hook: &str, fields: &mut Fields) -> Fact {
    let agent_id = text(fields, "agent_id");
    let agent_type = text(fields, "agent_type");
    let key = Key::Subagent(agent_id.clone());
    let payload = if hook == "SubagentStart" {
        payload::SubagentStarted { agent_id, agent_type }.into()
    } else {
        payload::SubagentStopped { agent_id, agent_type, last_message: fields.name("last_assistant_message") }
            .into()
    };
    Fact { payload, key }
}

fn text(fields: &mut Fields, name: &str) -> String {
    fields.text(name).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Fields of a hook that another event or the envelope holds.
fn said_elsewhere(hook: &str) -> &'static [&'static str] {
    match hook {
        "SessionStart" => &["session_id", "hook_event_name", "agent_id"],
        // The transcript is read on when these arrive.
        "SessionEnd" | "Stop" | "StopFailure" | "SubagentStop" | "PostCompact" => {
            &["session_id", "hook_event_name", "agent_id", "cwd", "permission_mode"]
        }
        "PostToolUse" | "PostToolUseFailure" => &[
            "session_id",
            "hook_event_name",
            "agent_id",
            "agent_type",
            "transcript_path",
            "cwd",
            "permission_mode",
            "tool_input",
        ],
        _ => &["session_id", "hook_event_name", "agent_id", "agent_type", "transcript_path"],
    }
}

/// What a hook's fields say about the envelope.
struct Envelope {
    session: Option<String>,
    agent: Option<String>,
    project: Option<String>,
}

impl Envelope {
    fn read(fields: &Fields, origin: &Origin) -> Envelope {
        Envelope {
            session: fields.peek("session_id").map(str::to_owned),
            agent: fields.peek("agent_id").map(str::to_owned),
            project: origin.project_dir.as_deref().or_else(|| fields.peek("cwd")).and_then(project_of),
        }
    }

    fn event(self, fact: Fact, rest: Fields, origin: &Origin, random: [u8; 10]) -> Event {
        let session = self.session.as_deref().unwrap_or_default();
        let kind = fact.payload.kind();
        let id = fact.id(session, || event_ids::v7(origin.now, random));
        let instance = self.session.clone().unwrap_or_else(|| origin.instance.clone());
        let mut event = Event::new(id, origin.now, instance, origin.source.clone(), fact.payload);
        if !rest.is_empty() {
            event = event.with_extra_fields(beside(kind, rest));
        }
        event = match &fact.key {
            Key::Call(tool_use_id) => ids::join_call(event, session, tool_use_id),
            Key::Subagent(agent_id) => ids::join_subagent(event, session, agent_id),
            Key::Prompt(_) | Key::None => event,
        };
        event.session = self.session;
        event.agent = self.agent;
        event.project = self.project;
        event
    }
}

impl Fact {
    /// The id of its key, else a fresh one. A permission may be asked for more than once in one call, so asking has no key.
    fn id(&self, session: &str, fresh: impl FnOnce() -> Uuid) -> Uuid {
        let kind = self.payload.kind();
        match &self.key {
            _ if session.is_empty() || kind == Kind::PermissionRequested => fresh(),
            Key::Call(key) | Key::Subagent(key) | Key::Prompt(key) => ids::of(session, kind, key),
            Key::None => fresh(),
        }
    }
}

/// Fields without a place in the kind's table, under their own names; one whose name the table uses for something else
/// gets `hook_` before it.
fn beside(kind: Kind, rest: Fields) -> impl Iterator<Item = (String, Json)> {
    rest.into_rest().into_iter().map(move |(name, value)| {
        let taken = kind.fields().iter().any(|field| field.name == name);
        (if taken { format!("hook_{name}") } else { name }, value)
    })
}

#[cfg(test)]
#[path = "hook_tests.rs"]
mod tests;
