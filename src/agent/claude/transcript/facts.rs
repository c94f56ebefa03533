//! The lines of one transcript, one after the other, as facts.
//!
//! | line | facts |
//! |---|---|
//! | the first of a session | `session_started`; its source is what the session's own `SessionStart` hook line says |
//! | the first of a subagent's file | `subagent_started` |
//! | user: a text | `prompt_submitted`; `turn_failed` for the note that a person interrupted |
//! | user: an answer of a tool | `tool_call_completed`, `tool_call_failed`; `subagent_stopped` where the answer is a subagent's |
//! | user: the summary after a compaction | the `summary` of its `context_compacted` |
//! | assistant: a text | `agent_message` |
//! | assistant: a tool's use | `tool_call_started` |
//! | assistant: an error of the API | `turn_failed` |
//! | system: `stop_hook_summary`, `turn_duration` | `turn_completed`, once |
//! | system: `compact_boundary` | `context_compacted` |
//! | any other | none; counted by its type |
//!
//! Tokens: a model response is several lines with one `message.id`, each with what it had cost by then. The last text of
//! the response carries what its last line says; a response without a text (a bare tool call) gets an `agent_message` with
//! an empty one. Where a response goes on after an import, a further event says the greater amount: of one `message_id`, the
//! last amount counts.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::UNKNOWN;
use super::known::{Fingerprint, INTERRUPTED_SAID, Known, most};
use super::line::{Block, Line, text_of};
use crate::agent::claude::ids;
use crate::agent::{Origin, project_of};
use crate::event::payload::{self, Usage};
use crate::event::{Event, Kind, Payload, PayloadText, Redactor, Timestamp};

/// How an interruption by a person begins, in place of a prompt.
const INTERRUPTED: &str = "[Request interrupted by user";

/// A fact that a line says, and how to tell whether it is known.
pub(super) struct Candidate {
    pub(super) event: Event,
    pub(super) key: Fingerprint,
    pub(super) group: Option<Fingerprint>,
    /// The place of the line in the file: facts found late go back to where they belong.
    pub(super) at: u64,
}

/// What became of a line.
pub(super) enum Read {
    Facts,
    Ignored(String),
    Broken(String),
}

/// Which tool call made a subagent, over all files of an import: the parent's file says it, the subagent's does not.
#[derive(Debug, Default)]
pub(super) struct Parents(HashMap<(String, String), Maker>);

#[derive(Debug, Clone)]
struct Maker {
    tool_use_id: String,
    agent_type: Option<String>,
}

/// Reads the lines of one file.
pub(super) struct Facts<'a> {
    origin: &'a Origin,
    redactor: &'a Redactor,
    parents: &'a mut Parents,
    path: &'a str,
    project: Option<String>,
    at: u64,
    now: Timestamp,
    begun: HashSet<(String, String)>,
    calls: HashMap<String, Tool>,
    responses: Vec<Response>,
    response_of: HashMap<String, usize>,
    compaction: Option<Compaction>,
    turn_end: Option<String>,
    found: Vec<Candidate>,
    session: Option<String>,
    last_uuid: String,
}

struct Tool {
    name: String,
    agent_type: Option<String>,
}

struct Response {
    message_id: String,
    model: String,
    usage: Usage,
    at: Place,
    line: u64,
    /// Where its texts stand in what was found.
    texts: Vec<usize>,
}

struct Compaction {
    at: Place,
    line: u64,
    trigger: String,
    pre_tokens: Option<u64>,
}

/// Where and when a line stands.
#[derive(Clone)]
struct Place {
    session: String,
    agent: Option<String>,
    uuid: String,
    time: Timestamp,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        origin: &'a Origin,
        redactor: &'a Redactor,
        parents: &'a mut Parents,
        path: &'a str,
    ) -> Facts<'a> {
        Facts {
            origin,
            redactor,
            parents,
            path,
            project: origin.project_dir.as_deref().and_then(project_of),
            at: 0,
            now: origin.now,
            begun: HashSet::new(),
            calls: HashMap::new(),
            responses: Vec::new(),
            response_of: HashMap::new(),
            compaction: None,
            turn_end: None,
            found: Vec::new(),
            session: None,
            last_uuid: String::new(),
        }
    }

    /// Takes the next line.
    pub(super) fn line(&mut self, bytes: &[u8]) -> Read {
        self.at += 1;
        let line = match Line::parse(bytes) {
            Ok(line) => line,
            Err(fault) => return Read::Broken(fault),
        };
        self.now = line.time().unwrap_or(self.now);
        let Some(session) = line.text("sessionId") else { return Read::Ignored(line.name()) };
        let place = Place {
            session: session.to_owned(),
            agent: line.text("agentId").map(str::to_owned),
            uuid: line.text("uuid").unwrap_or_default().to_owned(),
            time: self.now,
        };
        if !place.uuid.is_empty() {
            self.last_uuid.clone_from(&place.uuid);
        }
        self.session = Some(place.session.clone());
        if self.project.is_none() {
            self.project = line.text("cwd").and_then(project_of);
        }
        self.begin(&line, &place);
        match line.text("type") {
            Some("user") => self.user(&line, &place),
            Some("assistant") => self.assistant(&line, &place),
            Some("system") => self.system(&line, &place),
            Some("progress") => self.progress(&line, &place),
            _ => Read::Ignored(line.name()),
        }
    }

    /// The facts so far, tokens and all, in the order of their lines. Nothing is held back: a response that goes on later
    /// says a greater amount then.
    pub(super) fn take(&mut self, known: &Known) -> Vec<Candidate> {
        self.close_compaction(None);
        self.response_of.clear();
        for response in std::mem::take(&mut self.responses) {
            self.spend(response, known);
        }
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|candidate| candidate.at);
        found
    }

    /// The session of the last line that had one, and the uuid of the last line that had one.
    pub(super) fn ended_at(self) -> (Option<String>, String) {
        (self.session, self.last_uuid)
    }

    fn begin(&mut self, line: &Line, place: &Place) {
        // A line without a uuid (a queue's, a title's) is written apart from the session's own.
        if place.uuid.is_empty()
            || !self.begun.insert((place.session.clone(), place.agent.clone().unwrap_or_default()))
        {
            return;
        }
        if let Some(agent_id) = &place.agent {
            let maker = self.parents.0.get(&(place.session.clone(), agent_id.clone())).cloned();
            let agent_type = maker.as_ref().and_then(|maker| maker.agent_type.clone());
            let fact = payload::SubagentStarted {
                agent_id: agent_id.clone(),
                agent_type: agent_type.unwrap_or_else(|| UNKNOWN.to_owned()),
            };
            let mut event = self.event(place, ids::subagent_started(&place.session, agent_id), fact);
            event.causation = maker.map(|maker| ids::call_started(&place.session, &maker.tool_use_id));
            self.keyed(event);
            return;
        }
        let hook = line.get("data").get("hookName").and_then(Value::as_str);
        let source = hook.and_then(|name| name.strip_prefix("SessionStart:")).unwrap_or(UNKNOWN);
        let fact = payload::SessionStarted {
            source: source.to_owned(),
            cwd: line.text("cwd").unwrap_or_default().to_owned(),
            transcript_path: Some(self.path.to_owned()),
            model: None,
            agent_pid: None,
            agent_start_ticks: None,
        };
        let id = ids::of(&place.session, Kind::SessionStarted, "transcript");
        self.counted(place, id, fact, "");
    }

    fn user(&mut self, line: &Line, place: &Place) -> Read {
        if line.flag("isCompactSummary") {
            self.compact_summary(line, place);
            return Read::Facts;
        }
        let mut texts = Vec::new();
        let mut results = 0;
        let blocks = line.blocks();
        for block in &blocks {
            match block {
                Block::Text(text) => texts.push(*text),
                Block::ToolResult { id, failed, content } => {
                    results += 1;
                    self.tool_result(line, place, id, *failed, content);
                }
                _ => {}
            }
        }
        let prompt = texts.join("\n");
        if results > 0 {
            return Read::Facts;
        }
        if line.flag("isMeta") || prompt.trim().is_empty() {
            return Read::Ignored("user/meta".to_owned());
        }
        if prompt.starts_with(INTERRUPTED) {
            let fact = payload::TurnFailed { error: INTERRUPTED_SAID.to_owned(), details: Some(prompt) };
            self.counted(place, ids::of_line(Kind::TurnFailed, &place.uuid, 0), fact, INTERRUPTED_SAID);
            return Read::Facts;
        }
        self.prompt(line, place, prompt);
        Read::Facts
    }

    fn prompt(&mut self, line: &Line, place: &Place, prompt: String) {
        // A subagent's lines bear the id of the person's prompt that set it off; its own prompt is another.
        let person = place.agent.is_none().then(|| line.text("promptId")).flatten();
        let id = person.unwrap_or(&place.uuid).to_owned();
        let fact = payload::PromptSubmitted { prompt, prompt_id: Some(id.clone()) };
        let mut event = self.event(place, ids::of(&place.session, Kind::PromptSubmitted, &id), fact);
        // What the journal holds is redacted and cut; so must be what is compared with it.
        event.redact(self.redactor);
        let said = event.payload.to_json()["prompt"].as_str().unwrap_or_default().to_owned();
        let group = Some(Fingerprint::group(&event, &said));
        self.found.push(Candidate { event, key: Fingerprint::prompt(&id), group, at: self.at });
    }

    fn tool_result(&mut self, line: &Line, place: &Place, id: &str, failed: bool, content: &Value) {
        let tool = self.calls.get(id).map_or_else(|| UNKNOWN.to_owned(), |tool| tool.name.clone());
        let result = line.get("toolUseResult");
        let duration = ["durationMs", "totalDurationMs"].iter().find_map(|name| result.get(name)?.as_u64());
        let tool_use_id = id.to_owned();
        let payload: Payload = if failed {
            let error = text_of(content);
            let interrupted = result.get("interrupted").and_then(Value::as_bool).unwrap_or(false);
            payload::ToolCallFailed { tool, tool_use_id, error, interrupted, duration_ms: duration }.into()
        } else {
            let output = if result.is_null() { content.clone() } else { result.clone() };
            payload::ToolCallCompleted { tool, tool_use_id, output, duration_ms: duration }.into()
        };
        let event = self.event(place, ids::of(&place.session, payload.kind(), id), payload);
        let event = ids::join_call(event, &place.session, id);
        self.found.push(Candidate { event, key: Fingerprint::call_end(id), group: None, at: self.at });
        self.subagent_result(place, id, result);
    }

    /// A tool's answer that names a subagent is that subagent's, and its end unless it only says that it has begun.
    fn subagent_result(&mut self, place: &Place, tool_use_id: &str, result: &Value) {
        let Some(agent_id) = result.get("agentId").and_then(Value::as_str) else { return };
        let agent_type = self.made_by(place, agent_id, tool_use_id);
        if result.get("status").and_then(Value::as_str) != Some("completed") {
            return;
        }
        let fact = payload::SubagentStopped {
            agent_id: agent_id.to_owned(),
            agent_type: agent_type.unwrap_or_else(|| UNKNOWN.to_owned()),
            last_message: result.get("content").map(text_of).filter(|text| !text.is_empty()),
        };
        let place = Place { agent: Some(agent_id.to_owned()), ..place.clone() };
        let event = self.event(&place, ids::of(&place.session, Kind::SubagentStopped, agent_id), fact);
        let event = ids::join_subagent(event, &place.session, agent_id);
        self.keyed(event);
    }

    fn made_by(&mut self, place: &Place, agent_id: &str, tool_use_id: &str) -> Option<String> {
        let agent_type = self.calls.get(tool_use_id).and_then(|tool| tool.agent_type.clone());
        let maker = Maker { tool_use_id: tool_use_id.to_owned(), agent_type: agent_type.clone() };
        self.parents.0.insert((place.session.clone(), agent_id.to_owned()), maker);
        agent_type
    }

    fn assistant(&mut self, line: &Line, place: &Place) -> Read {
        let message = line.get("message");
        let named = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        let message_id = named("id").unwrap_or_else(|| place.uuid.clone());
        let model = named("model").unwrap_or_else(|| UNKNOWN.to_owned());
        let blocks = line.blocks();
        if line.flag("isApiErrorMessage") {
            let details = blocks.iter().find_map(|block| {
                if let Block::Text(text) = block { Some((*text).to_owned()) } else { None }
            });
            let error = line.text("error").unwrap_or("api_error").to_owned();
            self.counted(
                place,
                ids::of_line(Kind::TurnFailed, &place.uuid, 0),
                payload::TurnFailed { error, details },
                "",
            );
            return Read::Facts;
        }
        let mut texts = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            match block {
                Block::Text(text) if !text.trim().is_empty() => {
                    let fact = payload::AgentMessage {
                        model: model.clone(),
                        text: (*text).to_owned(),
                        usage: None,
                        message_id: message_id.clone(),
                    };
                    texts.push(self.found.len());
                    let event = self.event(place, ids::of_line(Kind::AgentMessage, &place.uuid, index), fact);
                    self.keyed(event);
                }
                Block::ToolUse { id, tool, input } => self.tool_use(place, id, tool, input),
                _ => {}
            }
        }
        if let Some(usage) = line.usage() {
            self.respond(Response { message_id, model, usage, at: place.clone(), line: self.at, texts });
        }
        Read::Facts
    }

    /// Keeps the last that is said of a response, and all its texts.
    fn respond(&mut self, mut response: Response) {
        if let Some(&index) = self.response_of.get(&response.message_id) {
            let before = &mut self.responses[index];
            before.texts.append(&mut response.texts);
            response.texts = std::mem::take(&mut before.texts);
            *before = response;
        } else {
            self.response_of.insert(response.message_id.clone(), self.responses.len());
            self.responses.push(response);
        }
    }

    fn tool_use(&mut self, place: &Place, id: &str, tool: &str, input: &Value) {
        let agent_type = input.get("subagent_type").and_then(Value::as_str).map(str::to_owned);
        self.calls.insert(id.to_owned(), Tool { name: tool.to_owned(), agent_type });
        let fact = payload::ToolCallStarted {
            tool: tool.to_owned(),
            tool_use_id: id.to_owned(),
            input: input.clone(),
        };
        let event = self.event(place, ids::call_started(&place.session, id), fact);
        let event = ids::join_call(event, &place.session, id);
        self.found.push(Candidate { event, key: Fingerprint::call_start(id), group: None, at: self.at });
    }

    /// Puts the tokens of a response, where they are more than the journal holds, on its last text that is new, else on an event
    /// of their own.
    fn spend(&mut self, response: Response, known: &Known) {
        let spent = known.spent(&response.message_id);
        let usage = most(response.usage, spent.unwrap_or_default());
        if spent == Some(usage) {
            return;
        }
        let Response { message_id, model, at, line, texts, .. } = response;
        let new = texts.into_iter().rev().find(|&index| !known.has(self.found[index].key));
        if let Some(candidate) = new.map(|index| &mut self.found[index])
            && let Some(mut message) = message(&candidate.event)
        {
            message.usage = Some(usage);
            candidate.event.payload = PayloadText::from_payload(&message.into());
            return;
        }
        let fact = payload::AgentMessage { model, text: String::new(), usage: Some(usage), message_id };
        let event = self.event(&at, ids::of_tokens(&at.uuid, usage.output_tokens), fact);
        let key = Fingerprint::id(&event);
        self.found.push(Candidate { event, key, group: None, at: line });
    }

    fn system(&mut self, line: &Line, place: &Place) -> Read {
        match line.text("subtype") {
            Some("stop_hook_summary") => self.turn_end = Some(place.uuid.clone()),
            // The same end, told again.
            Some("turn_duration")
                if line.text("parentUuid").is_some_and(|parent| self.turn_end.as_deref() == Some(parent)) =>
            {
                return Read::Ignored(line.name());
            }
            Some("turn_duration") => {}
            Some("compact_boundary") => {
                self.close_compaction(None);
                let about = line.get("compactMetadata");
                self.compaction = Some(Compaction {
                    at: place.clone(),
                    line: self.at,
                    trigger: about.get("trigger").and_then(Value::as_str).unwrap_or(UNKNOWN).to_owned(),
                    pre_tokens: about.get("preTokens").and_then(Value::as_u64),
                });
                return Read::Facts;
            }
            _ => return Read::Ignored(line.name()),
        }
        let fact = payload::TurnCompleted { last_message: None };
        self.counted(place, ids::of_line(Kind::TurnCompleted, &place.uuid, 0), fact, "");
        Read::Facts
    }

    fn compact_summary(&mut self, line: &Line, place: &Place) {
        let summary = text_of(line.get("message").get("content").unwrap_or(&Value::Null));
        if self.compaction.is_some() {
            return self.close_compaction(Some(summary));
        }
        // Its boundary was read in an earlier import, which could not wait for it.
        let data = serde_json::json!({ "summary": summary });
        let fact = payload::AgentEvent { hook: "compact_summary".to_owned(), data };
        let event = self.event(place, ids::of_line(Kind::AgentEvent, &place.uuid, 0), fact);
        self.keyed(event);
    }

    fn close_compaction(&mut self, summary: Option<String>) {
        let Some(Compaction { at, line, trigger, pre_tokens }) = self.compaction.take() else { return };
        let fact = payload::ContextCompacted { trigger, pre_tokens, summary };
        self.counted(&at, ids::of_line(Kind::ContextCompacted, &at.uuid, 0), fact, "");
        if let Some(last) = self.found.last_mut() {
            last.at = line;
        }
    }

    fn progress(&mut self, line: &Line, place: &Place) -> Read {
        let agent = line.get("data").get("agentId").and_then(Value::as_str);
        if let (Some(agent_id), Some(tool_use_id)) = (agent, line.text("parentToolUseID")) {
            self.made_by(place, agent_id, tool_use_id);
        }
        Read::Ignored(line.name())
    }

    fn event(&self, place: &Place, id: uuid::Uuid, payload: impl Into<Payload>) -> Event {
        let mut event =
            Event::new(id, place.time, place.session.clone(), self.origin.source.clone(), payload);
        event.session = Some(place.session.clone());
        event.agent.clone_from(&place.agent);
        event.project.clone_from(&self.project);
        event
    }

    /// A fact that is known by its id.
    fn keyed(&mut self, event: Event) {
        self.found.push(Candidate { key: Fingerprint::id(&event), event, group: None, at: self.at });
    }

    /// A fact that shares no key with its hook.
    fn counted(&mut self, place: &Place, id: uuid::Uuid, payload: impl Into<Payload>, said: &str) {
        let event = self.event(place, id, payload);
        let group = Some(Fingerprint::group(&event, said));
        self.found.push(Candidate { key: Fingerprint::id(&event), event, group, at: self.at });
    }
}

fn message(event: &Event) -> Option<payload::AgentMessage> {
    event.payload_as()?.ok()
}
