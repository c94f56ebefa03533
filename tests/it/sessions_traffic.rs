//! `sessions` and `session` over real hook traffic: what they count is what a second, independent count finds, and a
//! server says the same as the commands do without one.

use crate::real_hooks;
use crate::support::{World, wait_for};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What one session must show, counted from the payloads alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    events: u64,
    prompts: u64,
    turns: u64,
    calls: BTreeSet<String>,
    completed: u64,
    failed: u64,
    reported_ms: u64,
    agents: BTreeSet<String>,
    /// Subagent, to the call whose end names it.
    makers: BTreeMap<String, String>,
    ended: bool,
}

fn count(payloads: &[Value]) -> BTreeMap<String, Expected> {
    let mut sessions = BTreeMap::<String, Expected>::new();
    for payload in payloads {
        let text = |name: &str| payload[name].as_str().map(str::to_owned);
        let session = sessions.entry(text("session_id").expect("a session")).or_default();
        session.events += 1;
        session.agents.extend(text("agent_id"));
        if matches!(payload["tool_name"].as_str(), Some("Task" | "Agent")) {
            let made = payload["tool_response"]["agentId"].as_str().map(str::to_owned);
            session.makers.extend(made.clone().zip(text("tool_use_id")));
            session.agents.extend(made);
        }
        session.calls.extend(text("tool_use_id"));
        let by_main_agent = u64::from(payload["agent_id"].is_null());
        let hook = payload["hook_event_name"].as_str().expect("a hook's name");
        match hook {
            "UserPromptSubmit" => session.prompts += by_main_agent,
            "Stop" => session.turns += by_main_agent,
            "PostToolUse" => session.completed += 1,
            "PostToolUseFailure" => session.failed += 1,
            _ => {}
        }
        if hook.starts_with("PostToolUse") {
            session.reported_ms += payload["duration_ms"].as_u64().expect("a duration");
        }
        session.ended = hook == "SessionEnd";
    }
    sessions
}

fn shown(session: &Value) -> Expected {
    let counts = &session["counts"];
    let n = |name: &str| counts[name].as_u64().unwrap_or_else(|| panic!("{name} in {counts}"));
    let some = |count: u64, word: &str| (0..count).map(|n| format!("{word}{n}")).collect();
    Expected {
        events: session["events"].as_u64().expect("events"),
        prompts: n("prompts"),
        turns: n("turns"),
        calls: some(n("tool_calls"), "call"),
        completed: n("tools_completed"),
        failed: n("tools_failed"),
        reported_ms: n("tool_ms_reported"),
        agents: some(n("agents"), "agent"),
        makers: BTreeMap::new(),
        ended: session["state"] == "ended",
    }
}

fn sizes(expected: &Expected) -> (u64, u64, u64, usize, u64, u64, u64, usize, bool) {
    let Expected { events, prompts, turns, calls, completed, failed, reported_ms, agents, ended, .. } =
        expected;
    (*events, *prompts, *turns, calls.len(), *completed, *failed, *reported_ms, agents.len(), *ended)
}

/// Without what depends on the moment of looking.
fn unviewed(mut value: Value) -> Value {
    value.as_object_mut().expect("an object").remove("viewer").expect("the viewer's part");
    value
}

#[test]
fn counts_of_real_sessions_are_those_of_their_payloads_with_a_server_and_without() {
    let Some(mut payloads) = real_hooks::payloads() else { return };
    let world = World::new();
    for payload in &mut payloads {
        payload["transcript_path"] = json!("/nowhere/transcript.jsonl");
        world.hook(payload);
    }
    let expected = count(&payloads);
    let list = world.ok(["sessions", "--json", "--limit", "1000"]).json();
    assert_eq!((list["version"].as_u64(), list["total"].as_u64()), (Some(1), Some(expected.len() as u64)));
    for session in list["sessions"].as_array().expect("the sessions") {
        let id = session["id"].as_str().expect("an id");
        assert_eq!(sizes(&shown(session)), sizes(&expected[id]), "{id}");
        assert_eq!(session["tokens"], Value::Null, "hooks carry no tokens: unknown, not 0");
    }

    let mut joined = 0;
    for (id, expected) in &expected {
        let shown = world.ok(["session", id, "--json"]).json();
        for (agent, call) in &expected.makers {
            let agents = shown["agents"].as_array().expect("the subagents");
            let agent = agents.iter().find(|shown| shown["agent_id"] == **agent).expect("the subagent");
            assert_eq!((&agent["tool_use_id"], &agent["parent_origin"]), (&json!(call), &json!("reported")));
            joined += 1;
        }
    }
    assert!(joined >= 2, "hooks alone name the makers of {joined} subagents");

    let server = world.server();
    let id = list["sessions"][0]["id"].as_str().expect("an id").to_owned();
    // The server tells of its own start, which moves the seq but no session.
    let without_seq = |mut value: Value| {
        value["seq"] = Value::Null;
        unviewed(value)
    };
    let from_server = server.get("/sessions?limit=1000").json();
    assert_eq!(without_seq(from_server), without_seq(list));
    let one = world.ok(["session", &id, "--json"]).json();
    let (detail, timeline) =
        (server.get(&format!("/sessions/{id}")), server.get(&format!("/sessions/{id}/timeline")));
    assert_eq!(detail.json()["session"], one["session"]);
    assert_eq!(detail.json()["agents"], one["agents"]);
    assert_eq!(timeline.json()["items"], one["items"]);
    let calls =
        one["items"].as_array().expect("items").iter().filter(|item| item["call"].is_object()).count();
    assert_eq!(calls, expected[&id].calls.len(), "every call is one line");

    // What is emitted is seen by the next request, and by the next command beside the server.
    world.hook(
        &json!({"session_id": "fresh", "hook_event_name": "UserPromptSubmit", "prompt": "p", "cwd": "/w"}),
    );
    wait_for("the server to take in the hook", || {
        (server.get("/sessions/fresh").status == 200).then_some(())
    });
    assert_eq!(world.ok(["session", "fresh", "--json"]).json()["session"]["counts"]["prompts"], 1);
    server.stop();
}

#[test]
fn snapshots_change_no_answer_whether_whole_damaged_or_gone() {
    let world = World::new();
    for n in 0..40 {
        let prompt = format!("prompt {n}");
        world.hook(&json!({"session_id": format!("s{}", n % 7), "hook_event_name": "UserPromptSubmit", "prompt": prompt}));
    }
    let server = world.server();
    assert_eq!(server.get("/sessions").status, 200, "answered when all is taken in");
    server.stop();
    let snapshots = world.data().join("snapshots");
    let names = world.names_in("snapshots");
    assert!(names.iter().any(|name| name.starts_with("sessions.")), "a stop saves the projection: {names:?}");
    let answer = || unviewed(world.ok(["sessions", "--json"]).json());
    let whole = answer();
    for name in &names {
        let path = snapshots.join(name);
        let mut bytes = std::fs::read(&path).expect("the snapshot");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("damage");
    }
    assert_eq!(answer(), whole);
    std::fs::remove_dir_all(&snapshots).expect("the directory goes");
    assert_eq!(answer(), whole);
}

#[test]
fn a_session_is_named_by_a_prefix_and_what_names_none_is_told() {
    let world = World::new();
    assert_eq!(world.run(["sessions"]).code, Some(3), "no data directory, and none is made");
    assert!(!world.data().exists());
    for id in ["abc-1", "abc-2", "xyz"] {
        world.hook(&json!({"session_id": id, "hook_event_name": "UserPromptSubmit", "prompt": "p"}));
    }
    assert_eq!(world.ok(["session", "x", "--json"]).json()["session"]["id"], "xyz");
    let ambiguous = world.run(["session", "abc"]);
    assert_eq!(ambiguous.code, Some(2), "{ambiguous}");
    assert!(ambiguous.stderr.contains("abc-1, abc-2"), "{ambiguous}");
    let unknown = world.run(["session", "nobody"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(3), ""), "{unknown}");
    let cut = world.ok(["sessions", "--limit", "2"]);
    assert!(cut.stderr.contains("2 of 3 sessions shown"), "{cut}");
    assert_eq!(world.run(["sessions", "--limit", "0"]).code, Some(2));
}

#[test]
fn nothing_from_an_event_reaches_the_terminal_unseen() {
    let world = World::new();
    let hostile = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}evil\u{200b}\r\nnext";
    let id = "hostile-1";
    world.hook(
        &json!({"session_id": id, "hook_event_name": "SessionStart", "source": hostile, "cwd": hostile}),
    );
    world.hook(&json!({"session_id": id, "hook_event_name": "UserPromptSubmit", "prompt": hostile}));
    world.hook(&json!({"session_id": id, "hook_event_name": "PreToolUse", "tool_name": hostile,
        "tool_use_id": hostile, "tool_input": {"command": hostile}}));
    world.hook(&json!({"session_id": id, "hook_event_name": "PostToolUseFailure", "tool_name": hostile,
        "tool_use_id": hostile, "tool_input": {}, "error": hostile}));
    world.hook(&json!({"session_id": id, "hook_event_name": "Notification", "message": hostile,
        "notification_type": "permission_prompt"}));
    for args in [vec!["sessions"], vec!["session", id], vec!["replay", id, "--speed", "max"], vec!["events"]]
    {
        let ran = world.ok(&args);
        let bad = |c: &char| (c.is_control() && *c != '\n') || ['\u{202e}', '\u{200b}'].contains(c);
        let text = ran.stdout.clone() + &ran.stderr;
        assert_eq!(text.chars().find(bad), None, "{args:?}: {ran}");
        assert!(text.contains("evil"), "{args:?} shows nothing of it: {ran}");
    }
}

/// The names of all fields, with the path to each; of arrays the first element.
pub(crate) fn shape(value: &serde_json::Value, path: &str, into: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                into.insert(path.clone());
                shape(value, &path, into);
            }
        }
        serde_json::Value::Array(items) => {
            if let Some(first) = items.first() {
                shape(first, &format!("{path}[]"), into);
            }
        }
        _ => {}
    }
}

#[test]
fn the_bodies_that_the_documentation_shows_have_the_fields_that_the_server_answers_with() {
    let world = World::new();
    let common = |hook: &str| json!({"session_id": "2f1c", "cwd": "/code/app", "transcript_path": "", "hook_event_name": hook});
    let with = |hook: &str, more: &serde_json::Value| {
        let mut payload = common(hook);
        payload.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        world.hook(&payload);
    };
    with("SessionStart", &json!({"source": "startup", "model": "claude-opus-4-6"}));
    with("UserPromptSubmit", &json!({"prompt": "fix the build"}));
    let call = json!({"tool_name": "Bash", "tool_use_id": "toolu_01", "tool_input": {"command": "cargo build"}, "tool_response": {}});
    with("PreToolUse", &call);
    with("PostToolUse", &call);
    with("Stop", &json!({}));
    let server = world.server();
    let page = include_str!("../../docs/http.md");
    for (route, path) in [
        ("/sessions", "/sessions?limit=1"),
        ("/sessions/{id}", "/sessions/2f1c"),
        ("/sessions/{id}/timeline", "/sessions/2f1c/timeline"),
    ] {
        let section = page.split_once(&format!("### GET {route}\n")).expect("a section").1;
        let example =
            section.split_once("```console\n").expect("an example").1.split_once("```").expect("its end").0;
        let body = example.split_once('\n').expect("a command and its answer").1;
        let documented: serde_json::Value =
            serde_json::from_str(body).unwrap_or_else(|e| panic!("{route}: {e}"));
        let (mut told, mut real) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        shape(&documented, "", &mut told);
        shape(&server.get(path).json(), "", &mut real);
        assert_eq!(told, real, "{route}");
    }
    server.stop();
}

/// What the transcripts say of files and tokens, counted line by line without any of our code.
#[derive(Debug, Default, PartialEq, Eq)]
struct Recount {
    reads: u64,
    writes: u64,
    added: u64,
    removed: u64,
    failed: u64,
    /// Model to (messages, input, output, read from cache, written to cache).
    models: BTreeMap<String, [u64; 5]>,
}

fn recount(directory: &std::path::Path) -> Recount {
    let mut recount = Recount::default();
    let mut ended = BTreeSet::new();
    let mut spent = BTreeMap::<String, (String, String, [u64; 4])>::new();
    for path in
        std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path())
    {
        let text = std::fs::read_to_string(path).expect("a transcript");
        let mut tools = BTreeMap::new();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(session) = line["sessionId"].as_str() else { continue };
            let message = &line["message"];
            for block in message["content"].as_array().into_iter().flatten() {
                if block["type"] == "tool_use" {
                    tools.insert(
                        block["id"].to_string(),
                        block["name"].as_str().unwrap_or_default().to_owned(),
                    );
                }
                let id = block["tool_use_id"].to_string();
                if block["type"] != "tool_result" || !ended.insert((session.to_owned(), id.clone())) {
                    continue;
                }
                if block["is_error"] == true {
                    recount.failed += 1;
                    continue;
                }
                let result = &line["toolUseResult"];
                match tools.get(&id).map(String::as_str) {
                    Some("Read") => recount.reads += 1,
                    Some("Edit" | "Write" | "MultiEdit") => {
                        recount.writes += 1;
                        let hunks = result["structuredPatch"].as_array().into_iter().flatten();
                        for patched in hunks.flat_map(|hunk| hunk["lines"].as_array().into_iter().flatten()) {
                            let patched = patched.as_str().expect("a line");
                            recount.added += u64::from(patched.starts_with('+'));
                            recount.removed += u64::from(patched.starts_with('-'));
                        }
                        if result["type"] == "create" {
                            recount.added +=
                                result["content"].as_str().expect("a content").lines().count() as u64;
                        }
                    }
                    _ => {}
                }
            }
            if let (Some(id), Some(usage)) = (message["id"].as_str(), message["usage"].as_object()) {
                let n = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
                let tokens = [
                    "input_tokens",
                    "output_tokens",
                    "cache_read_input_tokens",
                    "cache_creation_input_tokens",
                ]
                .map(n);
                let time = line["timestamp"].as_str().unwrap_or_default().to_owned();
                let model = message["model"].as_str().unwrap_or("unknown").to_owned();
                let is_error = line["isApiErrorMessage"] == true;
                let known = spent.get(id).is_some_and(|(before, ..)| *before > time);
                if !is_error && !known {
                    spent.insert(id.to_owned(), (time, model, tokens));
                }
            }
        }
    }
    for (_, model, tokens) in spent.into_values() {
        let of_model = recount.models.entry(model).or_default();
        of_model[0] += 1;
        for (sum, tokens) in of_model[1..].iter_mut().zip(tokens) {
            *sum += tokens;
        }
    }
    recount
}

fn told(sessions: &Value) -> Recount {
    let mut told = Recount::default();
    for session in sessions["sessions"].as_array().expect("sessions") {
        let n = |pointer: &str| {
            session.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}"))
        };
        told.reads += n("/files/reads");
        told.writes += n("/files/writes");
        told.added += n("/files/lines/added");
        told.removed += n("/files/lines/removed");
        told.failed += n("/counts/tools_failed");
        for usage in session["models"].as_array().expect("models") {
            let n = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).expect("a number");
            let of_model =
                told.models.entry(usage["model"].as_str().expect("a name").to_owned()).or_default();
            let names = [
                "/messages",
                "/tokens/input",
                "/tokens/output",
                "/tokens/cache_read",
                "/tokens/cache_creation",
            ];
            for (sum, name) in of_model.iter_mut().zip(names) {
                *sum += n(name);
            }
        }
    }
    told
}

#[test]
fn files_failures_and_tokens_of_real_transcripts_are_what_a_second_count_finds() {
    let Some(data) = crate::support::shared_data() else { return };
    let world = World::new();
    let transcripts = data.join("transcripts");
    world.ok(["import", transcripts.to_str().expect("a path of UTF-8")]);
    let list = world.ok(["sessions", "--json", "--limit", "1000"]).json();
    let expected = recount(&transcripts);
    assert!(expected.writes > 10 && expected.added > 100 && !expected.models.is_empty(), "{expected:?}");
    assert_eq!(told(&list), expected);

    // Each part can be shown, and the changes are those that were counted.
    let mut changed = 0;
    for session in list["sessions"].as_array().expect("sessions") {
        let id = session["id"].as_str().expect("an id");
        let whole = world.ok(["session", id, "--files", "--diff", "--json"]).json();
        for patch in whole["patches"].as_array().expect("patches") {
            let hunks = patch["hunks"].as_array().into_iter().flatten();
            let lines = hunks.flat_map(|hunk| hunk["lines"].as_array().expect("lines"));
            changed +=
                lines.filter(|line| line.as_str().is_some_and(|line| line.starts_with(['+', '-']))).count();
        }
        let turns =
            whole["turns"].as_array().expect("turns").iter().filter(|turn| !turn["ended"].is_null()).count();
        let counts = &session["counts"];
        let ends = counts["turns"].as_u64().expect("turns") + counts["turns_failed"].as_u64().expect("turns");
        assert_eq!(turns as u64, ends, "{id}");
        let parts = ["--turns", "--calls", "--files", "--diff", "--failures", "--tree", "--tokens"];
        let shown = world.ok(["session", id].into_iter().chain(parts)).stdout;
        for part in ["turns:", "calls:", "files:", "failures:", "subagents:", "tokens:", "context:"] {
            assert!(shown.lines().any(|line| line.starts_with(part)), "{part} of {id}:\n{shown}");
        }
    }
    assert_eq!(changed as u64, expected.added + expected.removed);
}

#[test]
fn what_has_a_key_counts_the_same_whether_hooks_or_the_import_came_first() {
    let (Some(data), Some(mut payloads)) = (crate::support::shared_data(), real_hooks::payloads()) else {
        return;
    };
    for payload in &mut payloads {
        payload["transcript_path"] = json!("/nowhere/transcript.jsonl");
    }
    let transcripts = data.join("transcripts");
    let counted = |imports_first: bool| {
        let world = World::new();
        let import = || world.ok(["import", transcripts.to_str().expect("a path of UTF-8")]);
        if imports_first {
            import();
        }
        payloads.iter().for_each(|payload| world.hook(payload));
        if !imports_first {
            import();
        }
        let list = world.ok(["sessions", "--json", "--limit", "1000"]).json();
        let sessions = list["sessions"].as_array().expect("sessions").iter();
        let calls = ["tool_calls", "tools_completed", "tools_failed", "messages", "agents"];
        let counts = |session: &Value| calls.map(|name| session["counts"][name].as_u64().expect("a count"));
        let by_id: BTreeMap<_, _> =
            sessions.map(|session| (session["id"].to_string(), counts(session))).collect();
        (by_id, told(&list))
    };
    let (hooks_first, imports_first) = (counted(false), counted(true));
    assert!(hooks_first.0.values().map(|counts| counts[0]).sum::<u64>() > 50);
    assert_eq!(hooks_first, imports_first);
}
