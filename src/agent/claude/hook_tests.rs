use serde_json::{Value, json};

use super::*;
use crate::event::{Source, Timestamp};

const RANDOM: [u8; 10] = [7; 10];

fn origin() -> Origin {
    Origin {
        now: Timestamp::from_micros(1_770_000_000_000_000),
        source: Source { program: "mnemosyne".into(), host: "here".into(), pid: 7 },
        instance: "nobody".into(),
        project_dir: None,
        process: None,
    }
}

fn of(payload: &Value) -> Event {
    event(payload.to_string().as_bytes(), &origin(), RANDOM).expect("an object")
}

fn with(hook: &str, more: &Value) -> Value {
    let mut payload = json!({"session_id": "s", "transcript_path": "/t/s.jsonl", "cwd": "/code/parcels", "permission_mode": "plan", "hook_event_name": hook});
    payload.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
    payload
}

#[test]
fn each_hook_with_a_kind_of_its_own_becomes_that_kind() {
    let call = json!({"tool_name": "Bash", "tool_use_id": "t1", "tool_input": {"command": "ls"}, "tool_response": "ok", "error": "no", "reason": "never"});
    let rows = [
        ("SessionStart", Kind::SessionStarted, json!({"source": "resume"})),
        ("SessionEnd", Kind::SessionEnded, json!({"reason": "logout"})),
        ("UserPromptSubmit", Kind::PromptSubmitted, json!({"prompt": "why?"})),
        ("PreToolUse", Kind::ToolCallStarted, call.clone()),
        ("PostToolUse", Kind::ToolCallCompleted, call.clone()),
        ("PostToolUseFailure", Kind::ToolCallFailed, call.clone()),
        ("PermissionRequest", Kind::PermissionRequested, call.clone()),
        ("PermissionDenied", Kind::PermissionDenied, call),
        ("SubagentStart", Kind::SubagentStarted, json!({"agent_id": "a1", "agent_type": "Explore"})),
        ("SubagentStop", Kind::SubagentStopped, json!({"agent_id": "a1", "agent_type": "Explore"})),
        ("Stop", Kind::TurnCompleted, json!({"stop_hook_active": false})),
        ("StopFailure", Kind::TurnFailed, json!({"error": "rate_limit"})),
        ("Notification", Kind::NotificationRaised, json!({"message": "look"})),
        ("PostCompact", Kind::ContextCompacted, json!({"trigger": "auto", "compact_summary": "short"})),
    ];
    for (hook, kind, more) in rows {
        let event = of(&with(hook, &more));
        assert_eq!(event.kind, kind, "{hook}");
        assert!(event.payload().is_ok(), "{hook}: {}", event.payload.as_str());
        assert_eq!(event.session.as_deref(), Some("s"));
        assert_eq!(event.project.as_deref(), Some("project:parcels"));
    }
}

#[test]
fn a_hook_without_a_kind_of_its_own_is_kept_whole() {
    for hook in ["PreCompact", "TaskCreated", "CwdChanged", "SomethingOfNextYear"] {
        let payload = with(hook, &json!({"odd": [1, {"deep": null}], "number": 1}));
        let event = of(&payload);
        assert_eq!(event.kind, Kind::AgentEvent);
        assert_eq!(event.payload.to_json(), json!({"hook": hook, "data": payload}));
    }
}

#[test]
fn a_known_hook_that_lacks_what_its_kind_needs_is_kept_whole() {
    let payload = with("PreToolUse", &json!({"tool_name": "Bash", "tool_input": {"command": "ls"}}));
    let event = of(&payload);
    assert_eq!(event.kind, Kind::AgentEvent);
    assert_eq!(event.payload.to_json()["data"], payload);
    assert_eq!(
        of(&json!({"prompt": 4})).payload.to_json(),
        json!({"hook": "unknown", "data": {"prompt": 4}})
    );
}

#[test]
fn unknown_fields_and_odd_types_of_a_known_hook_stay_beside_the_known_ones() {
    let event = of(&with(
        "PostToolUse",
        &json!({"tool_name": "Bash", "tool_use_id": "t1", "tool_response": [1], "duration_ms": "soon", "effort": {"level": "high"}}),
    ));
    assert_eq!(
        event.payload.to_json(),
        json!({"tool": "Bash", "tool_use_id": "t1", "output": [1], "hook_duration_ms": "soon", "effort": {"level": "high"}})
    );
}

#[test]
fn both_ends_of_a_call_share_a_correlation_and_the_end_names_its_start() {
    let call = json!({"tool_name": "Bash", "tool_use_id": "t1", "tool_input": {}, "tool_response": "ok"});
    let (start, end) = (of(&with("PreToolUse", &call.clone())), of(&with("PostToolUse", &call.clone())));
    assert_eq!(start.id, of(&with("PreToolUse", &call)).id, "two registrations of one hook are one event");
    assert_ne!(start.id, end.id);
    assert_eq!(start.correlation, end.correlation);
    assert_eq!((start.causation, end.causation), (None, Some(start.id)));
}

#[test]
fn the_same_call_of_another_session_is_another_event() {
    let call = json!({"tool_name": "Bash", "tool_use_id": "t1", "tool_input": {}});
    let mut other = with("PreToolUse", &call.clone());
    other["session_id"] = json!("other");
    assert_ne!(of(&with("PreToolUse", &call)).id, of(&other).id);
}

#[test]
fn hooks_with_equal_content_and_no_key_are_not_one_event() {
    let stop = with("Stop", &json!({"stop_hook_active": false})).to_string();
    let ids: Vec<_> =
        (0..3).map(|n| event(stop.as_bytes(), &origin(), [n; 10]).expect("an object").id).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

#[test]
fn a_subagent_names_itself_and_its_end_names_its_start() {
    let agent = json!({"agent_id": "a1", "agent_type": "Explore", "agent_transcript_path": "/t/a1.jsonl"});
    let (start, end) = (of(&with("SubagentStart", &agent.clone())), of(&with("SubagentStop", &agent)));
    assert_eq!((start.agent.as_deref(), end.agent.as_deref()), (Some("a1"), Some("a1")));
    assert_eq!((end.causation, end.correlation), (Some(start.id), start.id));
    assert_eq!(end.payload.to_json()["agent_transcript_path"], "/t/a1.jsonl");
}

#[test]
fn a_payload_that_breaks_off_is_an_error_that_saves_its_head() {
    let whole = with("PostToolUse", &json!({"tool_name": "Bash", "tool_response": "long"})).to_string();
    let error = event(&whole.as_bytes()[..whole.len() - 4], &origin(), RANDOM).expect_err("it breaks off");
    assert_eq!(error.code(), "malformed_json");
    let rescued = error.into_rescued().expect("the head names its hook");
    let data = &rescued.payload.to_json()["data"];
    assert_eq!((&data["tool_name"], &data["broken_off"]), (&json!("Bash"), &json!(true)));
    assert!(data.get("tool_response").is_none());
}

#[test]
fn a_payload_over_the_limit_is_an_error_that_saves_its_head() {
    let long = with("PostToolUse", &json!({"tool_response": "x".repeat(HOOK_BYTES_MAX)})).to_string();
    let error = event(long.as_bytes(), &origin(), RANDOM).expect_err("it is too long");
    assert_eq!(error.code(), "payload_too_large");
    assert_eq!(
        error.into_rescued().expect("the head names its hook").payload.to_json()["hook"],
        "PostToolUse"
    );
}

#[test]
fn what_is_no_object_is_an_error_and_saves_nothing() {
    for bytes in ["", "null", "[1]", "garbage", "\u{fffd}"] {
        assert!(event(bytes.as_bytes(), &origin(), RANDOM).expect_err(bytes).into_rescued().is_none());
    }
}

#[test]
fn the_environment_names_the_project_before_the_working_directory_does() {
    let origin = Origin { project_dir: Some("/code/shop/".into()), ..origin() };
    let event = event(with("Stop", &json!({})).to_string().as_bytes(), &origin, RANDOM).expect("an object");
    assert_eq!(event.project.as_deref(), Some("project:shop"));
}
