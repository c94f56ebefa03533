//! Coding agents: what their hooks and transcripts say, as events.
//!
//! An agent's names, fields and values are data. Nothing here refuses what it does not know: a hook without a kind of its
//! own is kept whole as `agent_event`, and a known one keeps its unknown fields beside the known ones.
//!
//! One module an agent. [`claude`] is the first; others have hooks of nearly the same shape (a session or conversation id,
//! an event's name, a tool's name and input) and stand beside it when they come. What they share is here: [`fields`] reads
//! an object whose shape nobody promises, [`Origin`] says on whose behalf an event is made.

pub mod claude;
mod fields;

pub use fields::Fields;

use crate::clock::ProcessStamp;
use crate::event::{Source, Timestamp};

/// A small session of hook payloads, one JSON object a line, each with `_delay_ms` since the one before it: for a first
/// look and for tests. `_delay_ms` is ours and no field of the agent.
pub const SAMPLE_SESSION: &str = include_str!("sample/claude.jsonl");

/// What the maker of events knows and the agent's bytes do not say. All of it is an argument, so that the same bytes give
/// the same events on every machine.
#[derive(Clone, Debug)]
pub struct Origin {
    /// When the hook ran.
    pub now: Timestamp,
    /// Who makes the event.
    pub source: Source,
    /// The identity of an event whose payload names no session.
    pub instance: String,
    /// The project's directory, where the environment names it (`CLAUDE_PROJECT_DIR`); else the payload's working directory.
    pub project_dir: Option<String>,
    /// The agent's process (`CLAUDE_PID`), where the maker runs beside it and the hook is one that starts a session.
    pub process: Option<ProcessStamp>,
}

/// `project:<name>` of the project at this directory: its last name, whichever way the path is written.
pub fn project_of(directory: &str) -> Option<String> {
    let name = directory.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next()?;
    (!name.is_empty()).then(|| format!("project:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_by_the_last_part_of_its_directory() {
        assert_eq!(project_of("/code/parcels").as_deref(), Some("project:parcels"));
        assert_eq!(project_of("/code/parcels//").as_deref(), Some("project:parcels"));
        assert_eq!(project_of(r"C:\code\parcels").as_deref(), Some("project:parcels"));
        assert_eq!((project_of("/"), project_of("")), (None, None));
    }

    #[test]
    fn every_line_of_the_sample_session_is_a_hook_payload() {
        let mut hooks = Vec::new();
        for line in SAMPLE_SESSION.lines() {
            let payload: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(payload["_delay_ms"].is_u64() && payload["session_id"].is_string(), "{line}");
            hooks.push(payload["hook_event_name"].as_str().expect("a hook").to_owned());
        }
        assert!((15..=25).contains(&hooks.len()));
        for needed in
            ["UserPromptSubmit", "PostToolUseFailure", "SubagentStart", "PermissionRequest", "SessionEnd"]
        {
            assert!(hooks.iter().any(|hook| hook == needed), "{needed}");
        }
    }
}
