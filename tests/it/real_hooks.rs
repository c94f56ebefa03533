//! Real input: the hook payloads of real sessions, and what each of them must become. The expectation is written here a
//! second time, on purpose: it shares no code with the program.

use crate::support::{shared_data, skipped};
use serde_json::Value;
use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;

/// The transcripts, in the order of their names.
pub(crate) fn transcripts() -> Option<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(shared_data()?.join("transcripts"))
        .expect("the directory can be listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no transcript where the real data are");
    Some(files)
}

/// The payloads of these transcripts in time order, without the delay that is no field of the agent. `None`, and said so, where
/// the data or the interpreter that makes payloads of them are absent.
pub(crate) fn payloads() -> Option<Vec<Value>> {
    let files = transcripts()?;
    let script = shared_data()?.join("transcript-to-hooks.py");
    let ran = match Command::new("python3").arg(script).args(files).output() {
        Ok(ran) => ran,
        Err(error) => {
            skipped(&format!("no python3 to make hook payloads of transcripts: {error}"));
            return None;
        }
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let lines = String::from_utf8(ran.stdout).expect("UTF-8");
    let payloads: Vec<Value> = lines
        .lines()
        .map(|line| {
            let mut payload: Value = serde_json::from_str(line).expect("JSON");
            payload.as_object_mut().expect("an object").remove("_delay_ms");
            payload
        })
        .collect();
    assert!(payloads.len() > 500, "{} payloads are too few to show anything", payloads.len());
    Some(payloads)
}

/// What can be told apart of an event from outside: session, kind, and the agent's own key where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Fact {
    pub(crate) session: String,
    pub(crate) kind: String,
    pub(crate) key: Option<String>,
}

/// What a payload must become.
pub(crate) fn expected(payload: &Value) -> Fact {
    let (kind, key) = match payload["hook_event_name"].as_str().expect("a hook's name") {
        "SessionStart" => ("session_started", None),
        "SessionEnd" => ("session_ended", None),
        "UserPromptSubmit" => ("prompt_submitted", Some("prompt_id")),
        "PreToolUse" => ("tool_call_started", Some("tool_use_id")),
        "PostToolUse" => ("tool_call_completed", Some("tool_use_id")),
        "PostToolUseFailure" => ("tool_call_failed", Some("tool_use_id")),
        "SubagentStart" => ("subagent_started", Some("agent_id")),
        "SubagentStop" => ("subagent_stopped", Some("agent_id")),
        "Stop" => ("turn_completed", None),
        "PreCompact" => ("agent_event", None),
        other => panic!("the real sessions have a hook that this test does not know: {other}"),
    };
    Fact {
        session: payload["session_id"].as_str().expect("a session").to_owned(),
        kind: kind.to_owned(),
        key: key.map(|name| payload[name].as_str().expect("its key").to_owned()),
    }
}

/// What an event is.
pub(crate) fn fact_of(event: &Value) -> Fact {
    let key =
        ["tool_use_id", "prompt_id", "agent_id"].iter().find_map(|name| event["payload"][name].as_str());
    Fact {
        session: event["session"].as_str().unwrap_or_default().to_owned(),
        kind: event["kind"].as_str().expect("a kind").to_owned(),
        key: key.map(str::to_owned),
    }
}

/// The facts of some payloads in their order. The same fact with a key of its own is one, however often it is sent; facts without
/// one are as many as were sent.
pub(crate) fn facts(payloads: &[Value]) -> Vec<Fact> {
    let mut seen = HashSet::new();
    payloads.iter().map(expected).filter(|fact| fact.key.is_none() || seen.insert(fact.clone())).collect()
}
