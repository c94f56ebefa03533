//! What of the events around the one in question can be a cause: about 300 bytes an event instead of the event.

use std::collections::BTreeMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::event::{Event, Kind, Seq, StoredEvent, payload};
use crate::projection::Mark;
use crate::projection::sessions::files::{Deed, path_of_input};
use crate::projection::sessions::{CallStarted, agent_made};

/// One event, as far as it can be an effect or a cause.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) mark: Mark,
    pub(super) id: Uuid,
    pub(super) kind: Option<Kind>,
    /// Whether it is of the session of the event in question.
    pub(super) of_session: bool,
    pub(super) agent: Option<String>,
    pub(super) correlation: Uuid,
    pub(super) causation: Option<Uuid>,
    pub(super) tool_use_id: Option<String>,
    pub(super) tool: Option<String>,
    /// The file that a file tool's input names.
    pub(super) path: Option<String>,
    /// The subagent that a start, or the end of a call that made one, names.
    pub(super) made: Option<String>,
    /// The event that a note is about.
    pub(super) about: Option<Seq>,
}

impl Fact {
    /// What it does to a file.
    pub(super) fn deed(&self) -> Option<Deed> {
        self.tool.as_deref().and_then(Deed::of)
    }
}

/// The facts, by (time, seq), and how to find them.
pub(super) struct Facts {
    session: Option<String>,
    correlation: Uuid,
    causation: Option<Uuid>,
    all: Vec<Fact>,
    by_seq: BTreeMap<Seq, usize>,
    by_id: BTreeMap<Uuid, usize>,
    /// Calls of the session: their starts and their ends.
    starts: BTreeMap<String, usize>,
    ends: BTreeMap<String, usize>,
}

impl Facts {
    /// None yet, for a chain that begins at `target`.
    pub(super) fn about(target: &Event) -> Facts {
        Facts {
            session: target.session.clone(),
            correlation: target.correlation,
            causation: target.causation,
            all: Vec::new(),
            by_seq: BTreeMap::new(),
            by_id: BTreeMap::new(),
            starts: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Keeps what of an event can matter: everything of the session, what shares an id with the event in question, and writes of any
    /// session, since sessions share files. Without a session all events are kept that have none.
    pub(super) fn take(&mut self, stored: &StoredEvent) {
        let event = &stored.event;
        let of_session = event.session == self.session;
        let related = event.correlation == self.correlation || Some(event.id) == self.causation;
        let fact = || fact(stored, of_session);
        if of_session || related {
            self.all.push(fact());
        } else if matches!(event.kind.known(), Some(Kind::ToolCallStarted)) {
            let fact = fact();
            if fact.deed() == Some(Deed::Write) {
                self.all.push(fact);
            }
        }
    }

    /// To be called after the last one was taken.
    pub(super) fn settle(&mut self) {
        self.all.sort_by_key(|fact| fact.mark);
        for (at, fact) in self.all.iter().enumerate() {
            self.by_seq.insert(fact.mark.seq(), at);
            self.by_id.entry(fact.id).or_insert(at);
            let Some(call) = fact.tool_use_id.clone().filter(|_| fact.of_session) else { continue };
            match fact.kind {
                Some(Kind::ToolCallStarted) => _ = self.starts.entry(call).or_insert(at),
                Some(Kind::ToolCallCompleted | Kind::ToolCallFailed | Kind::PermissionDenied) => {
                    _ = self.ends.entry(call).or_insert(at);
                }
                _ => {}
            }
        }
    }

    pub(super) fn at(&self, seq: Seq) -> Option<&Fact> {
        self.by_seq.get(&seq).map(|at| &self.all[*at])
    }

    pub(super) fn by_id(&self, id: Uuid) -> Option<&Fact> {
        self.by_id.get(&id).map(|at| &self.all[*at])
    }

    /// The start of a call of the session.
    pub(super) fn start(&self, tool_use_id: &str) -> Option<&Fact> {
        self.starts.get(tool_use_id).map(|at| &self.all[*at])
    }

    /// The end of a call of the session.
    pub(super) fn end(&self, tool_use_id: &str) -> Option<&Fact> {
        self.ends.get(tool_use_id).map(|at| &self.all[*at])
    }

    /// What happened before `mark`, the latest first.
    pub(super) fn before(&self, mark: Mark) -> impl Iterator<Item = &Fact> {
        let end = self.all.partition_point(|fact| fact.mark < mark);
        self.all[..end].iter().rev()
    }

    /// Whether the event in question is of a session.
    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// All of them, by (time, seq).
    pub(super) fn all(&self) -> &[Fact] {
        &self.all
    }
}

/// The part of a payload that most kinds share.
#[derive(Default, Deserialize)]
struct Shared {
    tool_use_id: Option<String>,
    tool: Option<String>,
}

fn fact(stored: &StoredEvent, of_session: bool) -> Fact {
    let event = &stored.event;
    let kind = event.kind.known();
    let mut fact = Fact {
        mark: Mark::of(stored),
        id: event.id,
        kind,
        of_session,
        agent: event.agent.clone(),
        correlation: event.correlation,
        causation: event.causation,
        tool_use_id: None,
        tool: None,
        path: None,
        made: None,
        about: None,
    };
    // A payload that cannot be read leaves what the envelope says.
    match kind {
        Some(Kind::ToolCallStarted) => {
            if let Ok(started) = event.payload.read::<CallStarted<'_>>() {
                fact.path = Deed::of(&started.tool).and_then(|_| path_of_input(started.input.get()));
                fact.tool_use_id = Some(started.tool_use_id.into_owned());
                fact.tool = Some(started.tool.into_owned());
            }
        }
        Some(
            Kind::ToolCallCompleted
            | Kind::ToolCallFailed
            | Kind::PermissionRequested
            | Kind::PermissionDenied,
        ) => {
            let shared: Shared = event.payload.read().unwrap_or_default();
            (fact.tool_use_id, fact.tool) = (shared.tool_use_id, shared.tool);
            if kind == Some(Kind::ToolCallCompleted) {
                fact.made = agent_made(event);
            }
        }
        Some(Kind::SubagentStarted | Kind::SubagentStopped) => {
            fact.made = event.payload.read::<Named>().ok().map(|named| named.agent_id);
        }
        Some(Kind::Annotated) => {
            let note = event.payload.read::<payload::Annotated>().ok();
            fact.about = note.map(|note| Seq::new(note.seq));
        }
        _ => {}
    }
    fact
}

#[derive(Deserialize)]
struct Named {
    agent_id: String,
}
