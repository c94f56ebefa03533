//! The dashboard of docs/EVENTS.md is run as it stands there, and counts what really happened, over every change of who serves.

use crate::http_foreign::{or_skip, which};
use crate::support::{Running, World};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

fn tool(session: &str, n: usize) -> Value {
    json!({"session_id": session, "hook_event_name": "PostToolUse", "cwd": "/code/app", "tool_name": "Bash",
        "tool_use_id": format!("{session}-{n}"), "tool_input": {"command": "true"}, "tool_response": {"stdout": "ü\n\nend"}})
}

fn prompt(session: &str) -> Value {
    json!({"session_id": session, "hook_event_name": "UserPromptSubmit", "cwd": "/code/app", "prompt": "go on"})
}

/// The script of the page.
fn script() -> String {
    let page = include_str!("../../docs/EVENTS.md");
    let block = page.split("```js\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("a script on the page").to_owned()
}

#[test]
fn the_dashboard_of_the_page_counts_what_happened_over_restarts() {
    let node = if which("node") { Ok(()) } else { Err("there is no `node`".to_owned()) };
    if or_skip("the dashboard", node).is_none() {
        return;
    }
    let world = World::new();
    let path = world.home().join("dashboard.mjs");
    std::fs::write(&path, script()).expect("written");
    // A past that it finds.
    world.hook(&prompt("one"));
    world.hook(&tool("one", 0));
    let mut server = world.server();
    let mut command = Command::new("node");
    command.arg(&path).arg(world.data()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let dashboard = Running::start(&mut command);
    let mut calls = 1;
    for round in 0..3 {
        for session in ["one", "two"] {
            world.hook(&prompt(session));
        }
        for _ in 0..20 {
            world.hook(&tool("one", calls));
            calls += 1;
        }
        dashboard.wait_for_stdout(&format!("\"tools\":{calls}"));
        // An orderly stop and a kill; what happens in between is told afterwards.
        if round == 0 {
            server.stop();
        } else {
            server.kill();
        }
        world.hook(&tool("one", calls));
        calls += 1;
        server = world.server();
        dashboard.wait_for_stdout(&format!("\"tools\":{calls},"));
    }
    let told: Vec<Value> = dashboard
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect();
    dashboard.signal(rustix::process::Signal::TERM);
    dashboard.wait();
    server.stop();
    // Behind the state that it found: each event once, in order, as the journal has it.
    let seqs: Vec<u64> = told.iter().filter_map(|line| line["seq"].as_u64()).collect();
    let all = world.events([]);
    let (first, last) = (seqs[0], seqs[seqs.len() - 1]);
    let recorded = all.iter().filter_map(|event| event["seq"].as_u64());
    assert_eq!(seqs, recorded.filter(|seq| (first..=last).contains(seq)).collect::<Vec<_>>());
    let of = |session: &str| told.iter().rfind(|line| line["session"] == session).expect("a line").clone();
    assert_eq!((&of("one")["prompts"], &of("one")["tools"]), (&json!(4), &json!(calls)));
    assert_eq!((&of("two")["prompts"], &of("two")["tools"]), (&json!(3), &json!(0)));
}
