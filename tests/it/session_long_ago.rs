//! A session of long ago is shown as one of now: what its detail had to leave the state for, others that were seen after it, does not
//! show. A server, a command and an agent over MCP say the same.

use crate::http_emit::emit;
use crate::support::{Server, World};
use serde_json::{Value, json};

const CALLS: usize = 40;
const OTHERS: usize = 90;

/// A session with more calls, files and subagents than the state keeps of one that is over or was not seen lately.
fn record(server: &Server, id: &str) {
    let of = |kind: &str, payload: Value| json!({"kind": kind, "session": id, "payload": payload});
    let mut events = vec![of("prompt_submitted", json!({"prompt": "rework all of it"}))];
    for n in 0..CALLS {
        let (call, path) = (format!("call-{n}"), format!("/code/file-{n}.rs"));
        let start =
            json!({"tool": "Edit", "tool_use_id": call, "input": {"file_path": path, "old_string": "a"}});
        events.push(of("tool_call_started", start));
        let hunk = json!({"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1, "lines": ["-a", "+b"]});
        let (kind, end) = if n % 8 == 7 {
            ("tool_call_failed", json!({"error": "no such string", "interrupted": false}))
        } else {
            ("tool_call_completed", json!({"output": {"filePath": path, "structuredPatch": [hunk]}}))
        };
        let mut end = end;
        end["tool"] = json!("Edit");
        end["tool_use_id"] = json!(call);
        events.push(of(kind, end));
        if n % 2 == 0 {
            let agent = json!({"agent_id": format!("agent-{n}"), "agent_type": "scout"});
            events.push(of("subagent_started", agent.clone()));
            events.push(of("subagent_stopped", agent));
        }
    }
    events.push(of("turn_completed", json!({})));
    emit(server, &json!(events));
}

fn push_out(server: &Server) {
    let prompts = |n| json!({"kind": "prompt_submitted", "session": format!("other-{n}"), "payload": {"prompt": "hello"}});
    emit(server, &Value::Array((0..OTHERS).map(prompts).collect()));
}

/// What may differ: how far the state has come, and the moment of looking.
fn timeless(mut shown: Value) -> Value {
    shown["seq"] = Value::Null;
    shown["viewer"] = Value::Null;
    shown
}

fn len(shown: &Value, name: &str) -> usize {
    shown[name].as_array().unwrap_or_else(|| panic!("{name} in {shown}")).len()
}

#[test]
fn a_session_that_others_have_followed_is_shown_with_its_detail() {
    let world = World::new();
    let server = world.server();
    record(&server, "long-ago");
    let before = timeless(server.get("/sessions/long-ago").json());
    assert_eq!((len(&before, "calls"), len(&before, "files")), (CALLS, CALLS - CALLS / 8));
    assert_eq!((len(&before, "agents"), len(&before, "failures")), (CALLS / 2, 1));
    push_out(&server);
    // Control: the state itself has let the detail go.
    let kept = server.get("/state/sessions").json()["state"]["sessions"]["long-ago"].clone();
    assert_eq!(kept["calls"], json!({}), "{kept}");
    assert!(kept["agents"].as_object().is_some_and(|agents| agents.len() < CALLS / 2));
    let after = timeless(server.get("/sessions/long-ago").json());
    for (part, shown) in after.as_object().expect("an object") {
        assert_eq!(*shown, before[part], "{part}");
    }

    let timeline = server.get("/sessions/long-ago/timeline").json();
    assert_eq!(timeline["session"], before["session"]);
    let shown = world.ok(["session", "long-ago", "--json"]).json();
    for part in ["session", "agents", "failures", "files"] {
        assert_eq!(shown[part], before[part], "{part}");
    }
    assert_eq!(len(&timeline, "items"), len(&shown, "items"));
    server.stop();
}

#[test]
fn the_calls_of_a_session_that_is_over_are_shown_too() {
    let world = World::new();
    let server = world.server();
    record(&server, "over");
    let before = server.get("/sessions/over").json();
    emit(
        &server,
        &json!([{"kind": "session_ended", "session": "over", "payload": {"reason": "logout", "inferred": false}}]),
    );
    let kept = server.get("/state/sessions").json()["state"]["sessions"]["over"].clone();
    assert!(kept["calls"].as_object().is_some_and(|calls| calls.len() <= 16), "{kept}");
    for pushed_out in [false, true] {
        if pushed_out {
            push_out(&server);
        }
        let after = server.get("/sessions/over").json();
        assert_eq!(after["session"]["state"], "ended");
        for part in ["calls", "files", "agents", "failures"] {
            assert_eq!(after[part], before[part], "{part}, {pushed_out}");
        }
    }
    server.stop();
}
