//! The tool calls of one session, in an order that two runs share.
//!
//! Calls go by the (time, seq) of their start, those of one subagent together, where its first one stands: subagents run side by side, and
//! how their calls interleave differs from run to run and means nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::align::Signature;
use super::normal;
use crate::event::{Kind, Seq, StoredEvent, Timestamp, payload};
use crate::projection::Mark;
use crate::projection::sessions::text::{clip, fingerprint, signature};

/// Calls of a session that are compared; further ones are counted. About 1 KB each.
pub const CALLS_MAX: usize = 100_000;

/// One call, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallView {
    /// Where its start stands; its end, where no start is on record.
    pub seq: Seq,
    /// When it started.
    pub time: Timestamp,
    /// The subagent; null is the main agent.
    pub agent: Option<String>,
    /// The tool.
    pub tool: String,
    /// The agent's own id of the call.
    pub tool_use_id: String,
    /// What it was about, on one line.
    pub text: String,
    /// `completed`, `failed`, `interrupted`, `denied`; null where no end is on record.
    pub outcome: Option<Cow<'static, str>>,
    /// The beginning of the error of a failure.
    pub error: Option<String>,
    /// As the agent reported it; null where it did not.
    pub duration_ms: Option<u64>,
}

/// A call with what it is compared by.
pub(super) struct Call {
    pub(super) view: CallView,
    pub(super) signature: Signature,
    /// Fields of the input, each with the fingerprint of what counts of it.
    pub(super) fields: Vec<(String, u64)>,
    /// What its failures of another run have in common with this one.
    failure: Option<String>,
}

impl Call {
    /// Whether both ended the same way, failures with the same signature.
    pub(super) fn ended_like(&self, other: &Call) -> bool {
        self.view.outcome == other.view.outcome && self.failure == other.failure
    }

    /// The fields of the input that differ.
    pub(super) fn changed_fields(&self, other: &Call) -> Vec<String> {
        let (ours, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (self.fields.iter().cloned().collect(), other.fields.iter().cloned().collect());
        let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).cloned().collect()
    }
}

/// Takes in the events of one session, in any order.
#[derive(Default)]
pub(super) struct Collector {
    cwd: Option<String>,
    calls: BTreeMap<String, Parts>,
    omitted: u64,
}

#[derive(Default)]
struct Parts {
    started: Option<(Mark, Option<String>)>,
    ended: Option<(Mark, &'static str)>,
    agent: Option<String>,
    tool: String,
    fields: Vec<(String, u64)>,
    target: String,
    text: String,
    error: Option<String>,
    duration_ms: Option<u64>,
}

impl Collector {
    /// For a session that works in `cwd`: its paths are compared below it.
    pub(super) fn new(cwd: Option<String>) -> Collector {
        Collector { cwd, ..Collector::default() }
    }

    /// Calls beyond [`CALLS_MAX`].
    pub(super) fn omitted(&self) -> u64 {
        self.omitted
    }

    pub(super) fn push(&mut self, stored: &StoredEvent) {
        let (event, mark) = (&stored.event, Mark::of(stored));
        match event.kind.known() {
            Some(Kind::ToolCallStarted) => {
                // A payload that cannot be read tells of no call that could be compared.
                let Ok(started) = event.payload.read::<payload::ToolCallStarted>() else { return };
                let cwd = self.cwd.clone();
                let Some(call) = self.call(&started.tool_use_id) else { return };
                call.started = Some((mark, event.agent.clone()));
                call.take_input(started.tool, started.input, cwd.as_deref());
            }
            Some(Kind::ToolCallCompleted) => {
                let Ok(ended) = event.payload.read::<Ended>() else { return };
                self.end(&ended, (mark, "completed"), event.agent.as_ref());
            }
            Some(Kind::ToolCallFailed) => {
                let Ok(ended) = event.payload.read::<Ended>() else { return };
                let how = if ended.interrupted { "interrupted" } else { "failed" };
                self.end(&ended, (mark, how), event.agent.as_ref());
            }
            Some(Kind::PermissionDenied) => {
                let Ok(ended) = event.payload.read::<Ended>() else { return };
                self.end(&ended, (mark, "denied"), event.agent.as_ref());
            }
            _ => {}
        }
    }

    fn call(&mut self, id: &str) -> Option<&mut Parts> {
        if self.calls.len() >= CALLS_MAX && !self.calls.contains_key(id) {
            self.omitted += 1;
            return None;
        }
        Some(self.calls.entry(id.to_owned()).or_default())
    }

    fn end(&mut self, ended: &Ended, how: (Mark, &'static str), agent: Option<&String>) {
        let Some(id) = ended.tool_use_id.as_deref() else { return };
        let Some(call) = self.call(id) else { return };
        if call.ended.is_some() {
            return; // The first word on a call stands.
        }
        if call.tool.is_empty() {
            call.tool.clone_from(&ended.tool);
            call.agent = agent.cloned();
        }
        call.ended = Some(how);
        call.error = ended.error.clone().or_else(|| ended.reason.clone());
        call.duration_ms = ended.duration_ms;
    }

    /// The calls in the order of the module.
    pub(super) fn finish(self) -> Vec<Call> {
        let cwd = self.cwd;
        let mut calls: Vec<(Mark, Option<String>, Call)> = self
            .calls
            .into_iter()
            .filter_map(|(id, parts)| {
                let (mark, agent) = match &parts.started {
                    Some((mark, agent)) => (*mark, agent.clone()),
                    None => (parts.ended?.0, parts.agent.clone()),
                };
                Some((mark, agent.clone(), parts.call(id, mark, agent, cwd.as_deref())))
            })
            .collect();
        let mut first: BTreeMap<String, Mark> = BTreeMap::new();
        for (mark, agent, _) in &calls {
            if let Some(agent) = agent {
                let held = first.entry(agent.clone()).or_insert(*mark);
                *held = (*held).min(*mark);
            }
        }
        let place = |mark: Mark, agent: &Option<String>| {
            agent.as_ref().and_then(|agent| first.get(agent)).copied().unwrap_or(mark)
        };
        calls.sort_by_key(|(mark, agent, _)| (place(*mark, agent), *mark));
        calls.into_iter().map(|(_, _, call)| call).collect()
    }
}

/// The end of a call, as far as it is compared.
#[derive(serde::Deserialize)]
struct Ended {
    tool: String,
    tool_use_id: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    interrupted: bool,
    duration_ms: Option<u64>,
}

impl Parts {
    fn take_input(&mut self, tool: String, input: Value, cwd: Option<&str>) {
        let fields = normal::fields(input, cwd);
        if let Some((name, value)) = normal::target(&fields) {
            self.text = clip(value);
            let about = if name == "command" { normal::program(value) } else { value };
            self.target = format!("{name}\0{about}");
        }
        self.fields =
            fields.iter().map(|(name, value)| (name.clone(), fingerprint(&value.to_string()))).collect();
        self.tool = tool;
    }

    fn call(self, id: String, mark: Mark, agent: Option<String>, cwd: Option<&str>) -> Call {
        // A subagent's id differs from run to run; that it is one does not.
        let by = if agent.is_some() { "sub" } else { "main" };
        let mut whole = format!("{by}\0{}", self.tool);
        for (name, value) in &self.fields {
            whole.push('\0');
            whole.push_str(name);
            whole.push('\0');
            whole.push_str(&value.to_string());
        }
        let signed = Signature {
            exact: fingerprint(&whole),
            target: fingerprint(&format!("{by}\0{}\0{}", self.tool, self.target)),
        };
        let failure = self.error.as_deref().map(|error| signature(&normal::text_without_noise(error, cwd)));
        let view = CallView {
            seq: mark.seq(),
            time: mark.time(),
            agent,
            tool: self.tool,
            tool_use_id: id,
            text: self.text,
            outcome: self.ended.map(|(_, how)| how.into()),
            error: self.error.as_deref().map(clip),
            duration_ms: self.duration_ms,
        };
        Call { view, signature: signed, fields: self.fields, failure }
    }
}
