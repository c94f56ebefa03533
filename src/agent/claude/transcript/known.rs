//! What the journal already holds of the things that a transcript says.
//!
//! A fold over the journal's events: [`Known::learn`] takes each event, in any number of sittings; one that an import made may
//! come twice. An import asks it before it emits. It holds 8 bytes for each fact with a key, and 40 for each model response; nothing of the events themselves.
//!
//! ## Three ways to be the same fact
//! - **By key.** Tool calls by `tool_use_id`, prompts by `prompt_id`, subagents by `agent_id`, lines by their uuid. The keys
//!   are looked up without the session: a resumed or forked session copies lines of an older one under its own id, and a
//!   copied call is still that call.
//! - **By counting.** A turn's end, a session's start, a folded context and a prompt of an agent that gives prompts no id
//!   have nothing that a hook and a line share. Where hooks left `n` equal ones in the journal, the first `n` such lines of
//!   the transcript are those. Events that an import made itself are known by their line and are not counted.
//! - **By amount.** The tokens of a model response stand, partial, on each of its lines. Only an amount beyond what the journal
//!   holds for that response says something new.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use crate::event::payload::{TranscriptImported, Usage};
use crate::event::{Event, Kind};

/// The error of a turn that a person interrupted.
pub(crate) const INTERRUPTED_SAID: &str = "interrupted";

/// What the journal holds.
#[derive(Debug, Default)]
pub struct Known {
    keys: HashSet<u64>,
    uncounted: HashMap<u64, u32>,
    spent: HashMap<u64, Usage>,
    cursors: HashMap<String, Cursor>,
}

/// How far a transcript has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The file that was read; another one under the same path is read from its start.
    pub inode: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The uuid of the last line that had one.
    pub last_uuid: String,
}

/// A fact's key, or the group of facts that count as equal, as a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of(domain: &str, parts: &[&str]) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        for part in std::iter::once(&domain).chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut bytes = [0; 8];
        hasher.finalize_xof().fill(&mut bytes);
        Fingerprint(u64::from_le_bytes(bytes))
    }

    /// The key of a call's start.
    pub(crate) fn call_start(tool_use_id: &str) -> Fingerprint {
        Fingerprint::of("call start", &[tool_use_id])
    }

    /// The key of a call's end, good or bad: a call ends once.
    pub(crate) fn call_end(tool_use_id: &str) -> Fingerprint {
        Fingerprint::of("call end", &[tool_use_id])
    }

    /// The key of a prompt.
    pub(crate) fn prompt(prompt_id: &str) -> Fingerprint {
        Fingerprint::of("prompt", &[prompt_id])
    }

    /// The key of an event that is known by its id.
    pub(crate) fn id(event: &Event) -> Fingerprint {
        let (high, low) = event.id.as_u64_pair();
        Fingerprint(high ^ low.rotate_left(29))
    }

    /// The group of an event that shares no key with its twin. Equal are events of one kind, session and agent; prompts
    /// must say the same, too.
    pub(crate) fn group(event: &Event, said: &str) -> Fingerprint {
        let session = event.session.as_deref().unwrap_or_default();
        let agent = event.agent.as_deref().unwrap_or_default();
        Fingerprint::of("group", &[event.kind.name(), session, agent, said])
    }
}

impl Known {
    /// Takes in one event of the journal.
    pub fn learn(&mut self, event: &Event) {
        let Some(kind) = event.kind.known() else { return };
        match kind {
            Kind::ToolCallStarted => self.learn_call(event, Fingerprint::call_start),
            Kind::ToolCallCompleted | Kind::ToolCallFailed => self.learn_call(event, Fingerprint::call_end),
            Kind::PromptSubmitted => self.learn_prompt(event),
            Kind::AgentMessage => self.learn_message(event),
            Kind::SubagentStarted | Kind::SubagentStopped | Kind::AgentEvent => {
                self.keys.insert(Fingerprint::id(event).0);
            }
            Kind::SessionStarted | Kind::TurnCompleted | Kind::ContextCompacted => {
                self.learn_unkeyed(event, "");
            }
            Kind::TurnFailed => self.learn_failure(event),
            Kind::TranscriptImported => self.learn_cursor(event),
            _ => {}
        }
    }

    /// How far the transcript at this path has been read.
    pub fn cursor(&self, path: &str) -> Option<&Cursor> {
        self.cursors.get(path)
    }

    pub(crate) fn has(&self, key: Fingerprint) -> bool {
        self.keys.contains(&key.0)
    }

    /// How many events of this group hooks left behind.
    pub(crate) fn left_by_hooks(&self, group: Fingerprint) -> u32 {
        self.uncounted.get(&group.0).copied().unwrap_or(0)
    }

    /// The tokens that the journal holds for a model response.
    pub(crate) fn spent(&self, message_id: &str) -> Option<Usage> {
        self.spent.get(&Fingerprint::of("response", &[message_id]).0).copied()
    }

    fn learn_call(&mut self, event: &Event, key: fn(&str) -> Fingerprint) {
        #[derive(Deserialize)]
        struct Call {
            tool_use_id: String,
        }
        if let Ok(call) = event.payload.read::<Call>() {
            self.keys.insert(key(&call.tool_use_id).0);
        }
    }

    fn learn_prompt(&mut self, event: &Event) {
        #[derive(Deserialize)]
        struct Prompt {
            prompt: String,
            prompt_id: Option<String>,
        }
        let Ok(prompt) = event.payload.read::<Prompt>() else { return };
        match prompt.prompt_id {
            Some(id) => {
                self.keys.insert(Fingerprint::prompt(&id).0);
            }
            None => self.learn_unkeyed(event, &prompt.prompt),
        }
    }

    /// A person's interruption is no error of the agent, and neither stands for the other.
    fn learn_failure(&mut self, event: &Event) {
        #[derive(Deserialize)]
        struct Failure {
            error: String,
        }
        let interrupted =
            event.payload.read::<Failure>().is_ok_and(|failure| failure.error == INTERRUPTED_SAID);
        self.learn_unkeyed(event, if interrupted { INTERRUPTED_SAID } else { "" });
    }

    fn learn_message(&mut self, event: &Event) {
        #[derive(Deserialize)]
        struct Spoken {
            message_id: String,
            usage: Option<Usage>,
        }
        self.keys.insert(Fingerprint::id(event).0);
        if let Ok(Spoken { message_id, usage: Some(usage) }) = event.payload.read() {
            let spent = self.spent.entry(Fingerprint::of("response", &[&message_id]).0).or_default();
            *spent = most(*spent, usage);
        }
    }

    /// An import's own event has an id made from its line (v8); a hook's has not.
    fn learn_unkeyed(&mut self, event: &Event, said: &str) {
        if event.id.get_version_num() == 8 {
            self.keys.insert(Fingerprint::id(event).0);
        } else {
            *self.uncounted.entry(Fingerprint::group(event, said).0).or_default() += 1;
        }
    }

    fn learn_cursor(&mut self, event: &Event) {
        if let Some(Ok(TranscriptImported { path, inode, bytes, last_uuid, .. })) = event.payload_as() {
            self.cursors.insert(path, Cursor { inode, bytes, last_uuid });
        }
    }
}

/// The greater of each. What a response costs only grows.
pub(crate) fn most(a: Usage, b: Usage) -> Usage {
    Usage {
        input_tokens: a.input_tokens.max(b.input_tokens),
        output_tokens: a.output_tokens.max(b.output_tokens),
        cache_read_tokens: a.cache_read_tokens.max(b.cache_read_tokens),
        cache_creation_tokens: a.cache_creation_tokens.max(b.cache_creation_tokens),
    }
}
