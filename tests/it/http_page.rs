//! docs/http.md is true: each of its requests is sent as it stands there, and the answer has the parts that the page shows,
//! with the same names and types. What differs is what a server has recorded.

use crate::support::{Running, Server, World};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const PAGE: &str = include_str!("../../docs/http.md");
/// The session of the page.
const SESSION: &str = "2f1c";

/// A request of the page, as a line for a shell, and the answer that is shown.
struct Shown {
    request: String,
    answer: String,
}

fn all_shown() -> Vec<Shown> {
    let blocks = PAGE.split("```console\n$ ").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .map(|block| {
            let mut lines = block.lines();
            let mut request = String::new();
            for line in lines.by_ref() {
                request += line;
                if !line.ends_with('\\') {
                    break;
                }
                request.push('\n');
            }
            Shown { request, answer: lines.collect::<Vec<_>>().join("\n") }
        })
        .collect()
}

/// A session, commands and other events: at least as many as the page speaks of.
fn record(world: &World) -> Server {
    let hook = |name: &str, more: Value| {
        let mut payload = json!({"session_id": SESSION, "hook_event_name": name, "cwd": "/code/app"});
        payload.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        world.hook(&payload);
    };
    hook("SessionStart", json!({"source": "startup", "model": "claude-opus-4-6"}));
    hook("UserPromptSubmit", json!({"prompt": "fix the build of the parser"}));
    let call =
        json!({"tool_name": "Bash", "tool_use_id": "toolu_01", "tool_input": {"command": "cargo build"}});
    hook("PreToolUse", call.clone());
    let mut ended = call;
    ended["tool_response"] = json!({"stdout": "ok"});
    hook("PostToolUse", ended);
    hook("Stop", json!({}));
    world.ok(["--record", "sessions"]);
    let server = world.server();
    // Each the cause of the next.
    let id = |n: u64| format!("00000000-0000-4000-8000-{n:012}");
    let emit = |kind: &str, n: u64| {
        let payload = json!({"name": "deploy", "data": {"to": "staging", "of": "parser"}});
        let event = json!({"kind": kind, "payload": payload, "id": id(n + 1), "causation": id(n)});
        server.post("/events/emit", &event.to_string()).status
    };
    assert_eq!(emit("of_no_such_kind", 0), 400);
    while let tail @ ..18 = server.get("/health").json()["tail"].as_u64().expect("a seq") {
        assert_eq!(emit("custom", tail), 200);
    }
    server
}

/// What the answer does not have as it is shown, by its path. Null and an empty list may be anything.
fn differences(shown: &Value, answered: &Value, path: &str) -> Vec<String> {
    match (shown, answered) {
        (Value::Null, _) | (_, Value::Null) => Vec::new(),
        (Value::Object(shown), Value::Object(answered)) => {
            let gone = shown.keys().filter(|key| !answered.contains_key(*key));
            let new = answered.keys().filter(|key| !shown.contains_key(*key));
            let mut found: Vec<String> = gone.map(|key| format!("{path}/{key} is not answered")).collect();
            found.extend(new.map(|key| format!("{path}/{key} is not shown")));
            let both = shown.iter().filter_map(|(key, value)| Some((key, value, answered.get(key)?)));
            found.extend(both.flat_map(|(key, shown, it)| differences(shown, it, &format!("{path}/{key}"))));
            found
        }
        (Value::Array(shown), Value::Array(answered)) => match (shown.first(), answered.first()) {
            (Some(shown), Some(answered)) => differences(shown, answered, &format!("{path}/0")),
            _ => Vec::new(),
        },
        _ if std::mem::discriminant(shown) == std::mem::discriminant(answered) => Vec::new(),
        _ => vec![format!("{path} is shown as {shown}, and answered as {answered}")],
    }
}

/// The names in a text that is JSON but for what it leaves out.
fn names(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text.split('"').collect();
    let named = parts.windows(2).filter(|pair| pair[1].starts_with(':'));
    named.map(|pair| pair[0]).collect()
}

/// What is shown and not answered.
fn missing(shown: &Shown, answer: &str) -> Vec<String> {
    let joined = shown.answer.replace('\n', "");
    if let (Ok(shown), Ok(answered)) = (serde_json::from_str(&joined), serde_json::from_str(answer)) {
        return differences(&shown, &answered, "");
    }
    let is_there = |part: &&str| answer.contains(*part);
    if joined.starts_with('{') {
        return names(&joined).into_iter().filter(|name| !is_there(name)).map(str::to_owned).collect();
    }
    // Headers, fields of a stream, metrics: what stands before the value.
    let before =
        |line: &str| line.rsplit_once(": ").or(line.rsplit_once(' ')).map(|(name, _)| name.to_owned());
    let parts = shown.answer.lines().filter(|line| !line.starts_with(['{', 'd'])).filter_map(before);
    parts.filter(|part| !is_there(&part.as_str())).collect()
}

#[test]
fn every_request_of_the_page_is_answered_as_it_shows() {
    let world = World::new();
    let server = record(&world);
    let all = all_shown();
    assert!(all.len() >= 15, "the requests are found: {}", all.len());
    let mut wrong = Vec::new();
    for shown in &all {
        // By itself where it is one program, so that a signal reaches it and not the shell.
        let exec = if shown.request.contains('|') { "" } else { "exec " };
        let mut command = Command::new("sh");
        // The copy goes where nothing outlives the test.
        let copy = world.home().join("copy");
        let request = shown.request.replace("/media/copy", &copy.display().to_string());
        command.arg("-c").arg(format!("{exec}{request}"));
        command.env("ADDR", &server.addr).env("TOKEN", &server.token);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = Running::start(&mut command);
        let answer = if shown.request.contains("/events/stream") {
            running.wait_for_stdout("\ndata: ");
            // SIGINT may be ignored where a gate runs in the background, and curl leaves it so.
            running.signal(rustix::process::Signal::TERM);
            running.wait().stdout
        } else {
            let ran = running.wait();
            assert_eq!(ran.code, Some(0), "{}: {ran}", shown.request);
            ran.stdout
        };
        wrong.extend(missing(shown, &answer).into_iter().map(|what| format!("{}: {what}", shown.request)));
    }
    assert_eq!(wrong, [""; 0]);
    assert!(world.home().join("copy/journal").is_dir(), "the copy was made here");
    // The last of them has asked it to stop.
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn a_part_that_is_gone_new_or_of_another_type_is_found() {
    let shown = json!({"a": 1, "list": [{"b": "x"}], "none": null});
    assert_eq!(differences(&shown, &json!({"a": 2, "list": [{"b": "y"}, 3], "none": 4}), ""), [""; 0]);
    for (answered, expected) in [
        (json!({"list": [], "none": 1}), "/a is not answered"),
        (json!({"a": 1, "list": [], "none": 1, "c": 1}), "/c is not shown"),
        (json!({"a": 1, "list": [{"b": 1}], "none": 1}), "/list/0/b is shown as \"x\", and answered as 1"),
    ] {
        assert_eq!(differences(&shown, &answered, ""), [expected]);
    }
    let cut = Shown { request: String::new(), answer: r#"{"seq":1,"event":{...}}"#.into() };
    assert_eq!(missing(&cut, r#"{"seq":7,"event":{"a":1}}"#), [""; 0]);
    assert_eq!(missing(&cut, r#"{"seq":7}"#), ["event"]);
}
