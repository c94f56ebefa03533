//! Every hook payload of real sessions through the real `hook` command, half with no server and half with one, and then the
//! stream: each is there once, in the order in which the commands ran.

use crate::real_hooks::{Fact, fact_of, facts, payloads};
use crate::support::World;
use serde_json::{Value, json};

/// Events of the program about itself, which stand between those of the hooks.
fn is_of_an_agent(event: &Value) -> bool {
    event["category"] == "agent" || event["category"] == "session"
}

fn stream(server: &crate::support::Server, count: usize) -> Vec<Value> {
    let stream = server.sse("/events/stream?from=1", &[]);
    let mut events = Vec::new();
    while events.len() < count {
        let frame = stream.next().expect("the stream goes on");
        let event = frame.json();
        if event["kind"].is_string() && is_of_an_agent(&event) {
            assert_eq!(event["seq"].as_u64(), Some(frame.seq()));
            events.push(event);
        }
    }
    events
}

#[test]
fn every_real_hook_payload_reaches_the_stream_once_and_in_order_with_and_without_a_server() {
    let Some(mut payloads) = payloads() else { return };
    // The server would import the transcripts while the hooks arrive; here the hooks alone are looked at.
    for payload in &mut payloads {
        payload["transcript_path"] = json!("/code/gone.jsonl");
    }
    let world = World::new();
    let (before, after) = payloads.split_at(payloads.len() / 2);
    for payload in before {
        world.hook(payload);
    }
    assert_eq!(world.inbox_len(), before.len(), "with no server they wait");
    let server = world.server();
    for payload in after {
        world.hook(payload);
    }
    let expected = facts(&payloads);
    let events = stream(&server, expected.len());
    let seen: Vec<Fact> = events.iter().map(fact_of).collect();
    assert_eq!(seen.len(), expected.len());
    for (place, (seen, expected)) in seen.iter().zip(&expected).enumerate() {
        assert_eq!(seen, expected, "at place {place}");
    }
    server.stop();
    let stored: Vec<Fact> =
        world.events([]).iter().filter(|event| is_of_an_agent(event)).map(fact_of).collect();
    assert_eq!(stored, expected, "and nothing came after");
}

#[test]
fn equal_hooks_without_a_key_are_as_many_as_were_sent_and_equal_calls_are_one() {
    let world = World::new();
    let stop = json!({"session_id": "s", "hook_event_name": "Stop", "cwd": "/code/parcels", "stop_hook_active": false});
    let call = json!({"session_id": "s", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {}, "tool_use_id": "t1"});
    for payload in [&stop, &call, &stop, &call, &stop] {
        world.hook(payload);
    }
    let kinds: Vec<Fact> =
        world.events([]).iter().filter(|event| is_of_an_agent(event)).map(fact_of).collect();
    let names: Vec<&str> = kinds.iter().map(|fact| fact.kind.as_str()).collect();
    assert_eq!(names, ["turn_completed", "tool_call_started", "turn_completed", "turn_completed"]);
}
