//! What happened in one session, by (time, seq), read back from the journal.
//!
//! A [`Builder`] takes the events of the session in any order and joins the ends of tool calls to their starts and the
//! lines of one model message to one usage. It keeps a line of text an event, not the event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::files::{Change, Deed, Files, Hunk, Lines, path_of_input};
use super::makers::{self, Candidate, makes_agents};
use super::state::{Phase, Ran, Split, Tokens};
use super::text::fingerprint;
use super::times::Times;
use super::turns::{self, ContextSeries, Turn};
use super::view::{self, At, FileView, SessionView, VERSION};
use super::{CallCompleted, CallStarted, PermissionAsked, Spoken, agent_made};
use crate::event::{Kind, Seq, StoredEvent, Timestamp, payload};
use crate::projection::mark::keep_earlier;
use crate::projection::{GapView, Latest, Mark};

/// Items that a timeline holds; further ones are counted. About 400 bytes each.
pub const ITEMS_MAX: usize = 250_000;
/// Lines of patches that a timeline holds; further changes are counted.
pub const PATCH_LINES_MAX: usize = 500_000;
/// Makers of makers are followed so far.
const DEPTH_MAX: u32 = 16;

/// One thing that happened. A tool call is one item, at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its place in the journal.
    pub seq: Seq,
    /// When it happened.
    pub time: Timestamp,
    /// The kind of its event.
    pub kind: String,
    /// The subagent; null is the main agent.
    pub agent: Option<String>,
    /// 0 for the main agent, 1 for its subagents, and so on.
    pub depth: u32,
    /// What happened, on one line.
    pub text: String,
    /// Of a tool call: how it went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub call: Option<CallItem>,
    /// On the last line of a model message: what the whole message used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens: Option<Tokens>,
}

/// How a tool call went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallItem {
    /// The tool.
    pub tool: String,
    /// The agent's own id of the call.
    pub tool_use_id: String,
    /// `completed`, `failed`, `interrupted`, `denied`, or null where no end is on record.
    pub outcome: Option<String>,
    /// The whole error of a failure.
    pub error: Option<String>,
    /// When it ended.
    pub ended: Option<At>,
    /// How long it ran.
    pub duration_ms: Option<u64>,
    /// `reported` by the agent, or `derived` from its two ends.
    pub duration_origin: Option<String>,
    /// Where its time went.
    pub times: Split,
}

/// A change of a file, by the tool's own patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The end of the call that made it.
    pub at: At,
    /// The tool.
    pub tool: String,
    /// The agent's own id of the call.
    pub tool_use_id: String,
    /// The file.
    pub path: String,
    /// Whether the file was made by it.
    pub created: bool,
    /// The patch; null where the tool gave none, or it was cut to fit the event.
    pub hunks: Option<Vec<Hunk>>,
}

/// A whole session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// See [`VERSION`].
    pub version: u32,
    /// The last event that this knows.
    pub seq: Seq,
    /// The session.
    pub session: SessionView,
    /// What happened, by (time, seq).
    pub items: Vec<Item>,
    /// Records of it that are no event to this version; they are not here.
    pub unreadable: u64,
    /// Ranges that can no longer be read: what was of this session in them is not here.
    pub gaps: Vec<GapView>,
    /// Items beyond [`ITEMS_MAX`], which are not here and do not count in `turns` and `context`.
    pub omitted: u64,
    /// Its turns, in their order.
    pub turns: Vec<Turn>,
    /// The files that it read and wrote, all of them, those written first.
    pub files: Vec<FileView>,
    /// How full its context was.
    pub context: ContextSeries,
    /// The changes of files, in their order, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patches: Option<Vec<Patch>>,
    /// Changes beyond [`PATCH_LINES_MAX`] lines in all, which are not in `patches`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patches_omitted: Option<u64>,
}

/// Makes a timeline from the events of one session, in any order.
#[derive(Default)]
pub struct Builder {
    rows: Vec<Row>,
    omitted: u64,
    calls: BTreeMap<String, Joined>,
    messages: BTreeMap<String, (Mark, Tokens)>,
    /// Id of the event that started a call, to the call.
    starts: BTreeMap<[u8; 16], String>,
    /// Subagent, to the event that started the call that made it.
    causes: BTreeMap<String, [u8; 16]>,
    /// Subagent, to the call whose end named it first.
    reported: BTreeMap<String, Option<Latest<String>>>,
    /// Subagent, to the call that made it.
    makers: BTreeMap<String, String>,
    /// Subagent, to its first start.
    agents: BTreeMap<String, Mark>,
    /// Whether the changes of files are kept.
    with_patches: bool,
    questions: Vec<Question>,
    patch_lines: usize,
    patches_omitted: u64,
}

struct Row {
    mark: Mark,
    item: Item,
    message: Option<String>,
}

/// What is known of a tool call beside its row.
#[derive(Default)]
struct Joined {
    started: Option<Mark>,
    ended: Option<(Mark, &'static str)>,
    tool: String,
    caller: Option<String>,
    error: Option<String>,
    reported_ms: Option<u64>,
    asked: Option<Mark>,
    input: u64,
    /// The file that its input names.
    path: Option<String>,
    lines: Option<Lines>,
    /// Without its patch, unless patches are wanted.
    change: Option<Change>,
}

/// A permission request: which call it was for is told by its tool, its caller and its input.
struct Question {
    asked: Mark,
    tool_use_id: Option<String>,
    tool: String,
    caller: Option<String>,
    input: u64,
}

impl Builder {
    /// One that keeps the changes of files too.
    pub fn with_patches() -> Builder {
        Builder { with_patches: true, ..Builder::default() }
    }

    /// Takes in one event of the session.
    pub fn push(&mut self, stored: &StoredEvent) {
        let mark = Mark::of(stored);
        match self.join(stored, mark) {
            Ok(Shown::Row(message)) => self.row(stored, mark, message),
            Ok(Shown::Joined) => {}
            // A payload that cannot be read is shown as what its envelope says.
            Err(_) => self.row(stored, mark, None),
        }
    }

    fn join(&mut self, stored: &StoredEvent, mark: Mark) -> Result<Shown, serde_json::Error> {
        let event = &stored.event;
        let Some(kind) = event.kind.known() else { return Ok(Shown::Row(None)) };
        match kind {
            Kind::ToolCallStarted => {
                let started: CallStarted<'_> = event.payload.read()?;
                self.starts.insert(*event.id.as_bytes(), started.tool_use_id.clone().into_owned());
                let call = self.calls.entry(started.tool_use_id.into_owned()).or_default();
                call.started = Some(mark);
                call.caller.clone_from(&event.agent);
                call.input = fingerprint(started.input.get());
                call.path = Deed::of(&started.tool).and_then(|_| path_of_input(started.input.get()));
                call.tool = started.tool.into_owned();
            }
            Kind::ToolCallCompleted => {
                let ended: CallCompleted<'_> = event.payload.read()?;
                if let Some(made) = makes_agents(&ended.tool).then(|| agent_made(event)).flatten() {
                    let call = ended.tool_use_id.clone().into_owned();
                    Latest::set_first(self.reported.entry(made).or_default(), mark, || call);
                }
                let is_new = self.calls.get(&*ended.tool_use_id).is_none_or(|call| call.ended.is_none());
                let change =
                    (is_new && Deed::of(&ended.tool) == Some(Deed::Write)).then(|| Change::of(event));
                let (id, tool) = (&ended.tool_use_id, &ended.tool);
                let shown = self.end(id, tool, (mark, "completed"), ended.duration_ms, None);
                if let (Some(mut change), Some(call)) = (change, self.calls.get_mut(&*ended.tool_use_id)) {
                    call.lines = change.lines();
                    change.patch = change.patch.filter(|_| self.with_patches);
                    call.change = Some(change);
                }
                return Ok(shown);
            }
            Kind::ToolCallFailed => {
                let failed: payload::ToolCallFailed = event.payload.read()?;
                let how = if failed.interrupted { "interrupted" } else { "failed" };
                let error = Some(failed.error);
                return Ok(self.end(
                    &failed.tool_use_id,
                    &failed.tool,
                    (mark, how),
                    failed.duration_ms,
                    error,
                ));
            }
            Kind::PermissionRequested => {
                let asked: PermissionAsked<'_> = event.payload.read()?;
                self.questions.push(Question {
                    asked: mark,
                    tool_use_id: asked.tool_use_id,
                    tool: asked.tool.into_owned(),
                    caller: event.agent.clone(),
                    input: fingerprint(asked.input.get()),
                });
            }
            Kind::PermissionDenied => {
                let denied: payload::PermissionDenied = event.payload.read()?;
                if let Some(id) = denied.tool_use_id {
                    self.end(&id, &denied.tool, (mark, "denied"), None, None);
                }
            }
            Kind::SubagentStarted => {
                let started: payload::SubagentStarted = event.payload.read()?;
                let first = self.agents.entry(started.agent_id.clone()).or_insert(mark);
                *first = mark.min(*first);
                if let Some(cause) = event.causation {
                    self.causes.insert(started.agent_id, *cause.as_bytes());
                }
            }
            Kind::AgentMessage => {
                let line: Spoken<'_> = event.payload.read()?;
                if let Some(usage) = &line.usage {
                    let told = (mark, Tokens::from(usage));
                    let held = self.messages.entry(line.id.clone().into_owned()).or_insert(told);
                    if held.0 < mark {
                        *held = told;
                    }
                }
                return Ok(Shown::Row(Some(line.id.into_owned())));
            }
            _ => {}
        }
        Ok(Shown::Row(None))
    }

    fn end(
        &mut self,
        id: &str,
        tool: &str,
        ended: (Mark, &'static str),
        reported_ms: Option<u64>,
        error: Option<String>,
    ) -> Shown {
        let call = self.calls.entry(id.to_owned()).or_default();
        if call.tool.is_empty() {
            tool.clone_into(&mut call.tool);
        }
        if call.ended.is_none() {
            (call.ended, call.reported_ms, call.error) = (Some(ended), reported_ms, error);
        }
        Shown::Joined
    }

    fn row(&mut self, stored: &StoredEvent, mark: Mark, message: Option<String>) {
        if self.rows.len() >= ITEMS_MAX {
            self.omitted += 1;
            return;
        }
        let event = &stored.event;
        let summary = event.summary();
        let text = summary.strip_prefix(event.kind.name()).and_then(|rest| rest.strip_prefix(": "));
        let item = Item {
            seq: stored.seq,
            time: event.time,
            kind: event.kind.name().to_owned(),
            agent: event.agent.clone(),
            depth: 0,
            text: text.unwrap_or_default().to_owned(),
            call: None,
            tokens: None,
        };
        let item = if event.kind == Kind::ToolCallStarted { with_call_id(item, stored) } else { item };
        self.rows.push(Row { mark, item, message });
    }

    /// The timeline, by (time, seq). `seq` is the last event that was looked at.
    pub fn finish(mut self, session: SessionView, seq: Seq) -> Timeline {
        self.add_ends_without_start();
        self.join_agents();
        self.join_questions();
        self.rows.sort_by_key(|row| row.mark);
        let mut rows = std::mem::take(&mut self.rows);
        for row in &mut rows {
            row.item.depth = self.depth(row.item.agent.as_deref());
            if let Some(call) = &mut row.item.call {
                self.fill(call);
            }
        }
        // From the end: the last line of a message carries its tokens.
        for row in rows.iter_mut().rev() {
            row.item.tokens =
                row.message.take().and_then(|id| self.messages.remove(&id)).map(|(_, tokens)| tokens);
        }
        let items: Vec<_> = rows.into_iter().map(|row| row.item).collect();
        let turns = turns::turns(&items, session.state == Phase::Ended);
        let context = turns::context(&items);
        let (files, patches) = self.files();
        let files = view::files_of(&files);
        let patches_omitted = patches.as_ref().map(|_| self.patches_omitted);
        let omitted = self.omitted;
        Timeline {
            version: VERSION,
            seq,
            session,
            unreadable: 0,
            gaps: Vec::new(),
            items,
            omitted,
            turns,
            files,
            context,
            patches,
            patches_omitted,
        }
    }

    /// Joins each permission request to the call that it was asked for, as the live state does.
    fn join_questions(&mut self) {
        self.questions.sort_by_key(|question| question.asked);
        for question in std::mem::take(&mut self.questions) {
            let is_answer = |call: &Joined| call.ended.is_none_or(|(ended, _)| question.asked < ended);
            let call = match &question.tool_use_id {
                Some(id) => self.calls.get_mut(id).filter(|call| is_answer(call)),
                None => self
                    .calls
                    .values_mut()
                    .filter(|call| {
                        call.tool == question.tool
                            && call.caller == question.caller
                            && call.input == question.input
                            && is_answer(call)
                    })
                    .min_by_key(|call| {
                        call.started.into_iter().chain(call.ended.map(|(mark, _)| mark)).min()
                    }),
            };
            if let Some(call) = call {
                keep_earlier(&mut call.asked, question.asked);
            }
        }
    }

    /// What the calls did to files, and the changes themselves if they are wanted.
    fn files(&mut self) -> (Files, Option<Vec<Patch>>) {
        let mut done: Vec<_> = std::mem::take(&mut self.calls)
            .into_iter()
            .filter_map(|(id, call)| {
                let (ended, _) = call.ended.filter(|(_, how)| *how == "completed")?;
                let deed = Deed::of(&call.tool)?;
                let path = call.change.as_ref().and_then(|change| change.path.clone()).or(call.path)?;
                Some((ended, id, call.tool, deed, path, call.lines, call.change))
            })
            .collect();
        done.sort_by_key(|(ended, ..)| *ended);
        let (mut files, mut patches) = (Files::default(), Vec::new());
        for (ended, tool_use_id, tool, deed, path, lines, change) in done {
            files.take(&path, ended, deed, lines);
            let Some(Change { patch: hunks, created, .. }) = change.filter(|_| self.with_patches) else {
                continue;
            };
            self.patch_lines += hunks.iter().flatten().map(|hunk| hunk.lines.len()).sum::<usize>();
            if self.patch_lines > PATCH_LINES_MAX {
                self.patches_omitted += 1;
            } else {
                patches.push(Patch { at: ended.into(), tool, tool_use_id, path, created, hunks });
            }
        }
        (files, self.with_patches.then_some(patches))
    }

    /// A call whose start is not on record stands where it ended.
    fn add_ends_without_start(&mut self) {
        for (id, call) in &self.calls {
            let (None, Some((mark, how))) = (call.started, call.ended) else { continue };
            if how == "denied" {
                continue; // The denial has its own row.
            }
            if self.rows.len() >= ITEMS_MAX {
                self.omitted += 1;
                continue;
            }
            let item = Item {
                seq: mark.seq(),
                time: mark.time(),
                kind: if how == "completed" { Kind::ToolCallCompleted } else { Kind::ToolCallFailed }
                    .name()
                    .to_owned(),
                agent: None,
                depth: 0,
                text: call.tool.clone(),
                call: Some(CallItem::of(id)),
                tokens: None,
            };
            self.rows.push(Row { mark, item, message: None });
        }
    }

    fn fill(&self, item: &mut CallItem) {
        let Some(call) = self.calls.get(&item.tool_use_id) else { return };
        call.tool.clone_into(&mut item.tool);
        item.error.clone_from(&call.error);
        let Some((ended, how)) = call.ended else { return };
        item.outcome = Some(how.to_owned());
        item.ended = Some(ended.into());
        let times = Times {
            tool: &call.tool,
            started: call.started,
            ended: Some(ended),
            asked: call.asked,
            reported_ms: call.reported_ms,
            denied: how == "denied",
        };
        let ran = times.ran();
        item.times = times.split();
        item.duration_ms = ran.map(Ran::ms);
        item.duration_origin = ran.map(|ran| ran.origin().to_owned());
    }

    /// Finds the maker of each subagent that no end of a call named.
    fn join_agents(&mut self) {
        for (agent, call) in std::mem::take(&mut self.reported) {
            self.makers.extend(call.map(|call| (agent, call.value)));
        }
        for (agent, cause) in &self.causes {
            if let Some(call) = self.starts.get(cause) {
                self.makers.entry(agent.clone()).or_insert_with(|| call.clone());
            }
        }
        let taken = self.makers.values().map(String::as_str).collect();
        let unknown = self.agents.iter().filter(|(agent, _)| !self.makers.contains_key(*agent));
        let agents = unknown.map(|(agent, started)| (*started, agent.as_str())).collect();
        let calls = self.calls.iter().filter(|(_, call)| makes_agents(&call.tool));
        let candidates: Vec<_> = calls
            .filter(|(_, call)| call.ended.is_none_or(|(_, how)| how != "denied"))
            .filter_map(|(id, call)| {
                let (caller, ended) = (call.caller.as_deref(), call.ended.map(|(mark, _)| mark));
                Some(Candidate { tool_use_id: id, caller, started: call.started?, ended })
            })
            .collect();
        let inferred: Vec<_> = makers::infer(agents, &candidates, taken)
            .into_iter()
            .map(|(agent, call)| (agent.to_owned(), call.to_owned()))
            .collect();
        self.makers.extend(inferred);
    }

    fn depth(&self, agent: Option<&str>) -> u32 {
        let (mut depth, mut agent) = (0, agent);
        while let Some(name) = agent {
            depth += 1;
            if depth >= DEPTH_MAX {
                break;
            }
            let maker = self.makers.get(name).and_then(|call| self.calls.get(call));
            agent = maker.and_then(|call| call.caller.as_deref());
        }
        depth
    }
}

/// Whether an event has a row of its own.
enum Shown {
    Row(Option<String>),
    Joined,
}

fn with_call_id(mut item: Item, stored: &StoredEvent) -> Item {
    if let Ok(call) = stored.event.payload.read::<CallCompleted<'_>>() {
        item.call = Some(CallItem::of(&call.tool_use_id));
    }
    item
}

impl CallItem {
    fn of(id: &str) -> CallItem {
        CallItem {
            tool: String::new(),
            tool_use_id: id.to_owned(),
            outcome: None,
            error: None,
            ended: None,
            duration_ms: None,
            duration_origin: None,
            times: Split::default(),
        }
    }
}
