//! The examples of docs/EVENTS.md are events that the program has recorded, and still records like that.
//!
//! Every kind is brought about here by the real program, or, where nothing emits it yet, handed to a server by a client. What
//! `src/event/doc/recorded.jsonl` holds of a kind must have the fields and types of what is recorded now, the free ones of
//! payloads included. `MNEMOSYNE_BLESS=1 cargo test --test it event_examples` writes those lines anew that have not, and those
//! alone; the page follows with `MNEMOSYNE_BLESS=1 cargo test -p mnemosyne --lib event::`.
//!
//! Nothing of the machine stays in an example but pids, ports, inodes and sizes: its name and the temporary home are replaced.

use crate::http_emit::{custom, emit};
use crate::life::{Agent, fed, silent};
use crate::support::{Server, World, head, wait_for};
use mnemosyne::event::{Kind, StoredEvent};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// The kinds that nothing here emits and no client may.
const BY_HAND: &[Kind] = &[Kind::WebhookDelivered, Kind::WebhookFailed];
const SESSION: &str = "0d8f6c1e-52a7-4b1c-9a53-7c1b0e6f4a20";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/event/doc/recorded.jsonl")
}

/// What was recorded, without what tells of the machine.
fn events_of(world: &World) -> Vec<Value> {
    let ran = world.run(["events", "--json"]);
    // Damage ends it with a code of its own.
    assert!(matches!(ran.code, Some(0 | 4)), "{ran}");
    let home = world.home().to_str().expect("UTF-8");
    let lines = ran.stdout.replace(home, "/home/ada");
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let named = events.filter(|event| event["kind"].is_string());
    named
        .map(|mut event| {
            event["source"]["host"] = json!("devbox");
            event
        })
        .collect()
}

fn with_config(config: &str) -> World {
    let world = World::new();
    std::fs::create_dir_all(world.data()).expect("the data directory");
    std::fs::write(world.data().join("config.toml"), config).expect("a configuration");
    world
}

fn hook(name: &str, more: &Value) -> Value {
    let mut payload = json!({
        "session_id": SESSION, "cwd": "/code/parcels", "permission_mode": "default", "hook_event_name": name,
        "transcript_path": format!("/code/.claude/projects/-code-parcels/{SESSION}.jsonl"),
    });
    for (key, value) in more.as_object().expect("an object") {
        payload[key] = value.clone();
    }
    payload
}

/// The demonstration's session through the real hook, with what does not happen in it put before its last two hooks.
fn session(world: &World) {
    let sample = include_str!("../../src/agent/sample/claude.jsonl");
    let mut payloads: Vec<Value> =
        sample.lines().map(|line| serde_json::from_str(line).expect("a payload")).collect();
    let call = json!({"tool_name": "Bash", "tool_use_id": "toolu_01Rm7", "tool_input": {"command": "rm -r target"},
        "reason": "not in this directory"});
    let further = [
        hook("PermissionDenied", &call),
        hook("CwdChanged", &json!({"old_cwd": "/code/parcels", "new_cwd": "/code/parcels/src"})),
        hook("PostCompact", &json!({"trigger": "auto", "compact_summary": "The time zone is fixed."})),
        hook("StopFailure", &json!({"error": "rate_limit", "error_details": "try again in 20 s"})),
    ];
    let last_two = payloads.len() - 2;
    payloads.splice(last_two..last_two, further);
    let agent = Agent::new();
    for payload in payloads {
        let mut command = world.command(["hook"]);
        silent(&fed(command.env("CLAUDE_PID", agent.pid().to_string()), &payload));
    }
}

/// A transcript of a prompt and its answer.
fn transcript(world: &World) -> String {
    let session = "3b9c2f5e-1c64-4a37-8c55-0a3a6f1b7d42";
    let line = |n: u32, more: Value| {
        let mut line = json!({"uuid": format!("00000000-0000-4000-8000-{n:012}"), "parentUuid": null, "isSidechain": false,
            "cwd": "/code/parcels", "sessionId": session, "version": "2.0.0",
            "timestamp": format!("2026-01-02T03:04:{n:02}.000Z")});
        line.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        line.to_string()
    };
    let directory = world.home().join(".claude/projects/-code-parcels");
    std::fs::create_dir_all(&directory).expect("a directory");
    let usage = json!({"input_tokens": 12, "output_tokens": 90, "cache_read_input_tokens": 18_000,
        "cache_creation_input_tokens": 400});
    let answer = json!({"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "role": "assistant", "model": "claude-opus-4-6",
        "content": [{"type": "text", "text": "The last line has no newline."}], "usage": usage});
    let lines = [
        line(
            1,
            json!({"type": "user", "message": {"role": "user", "content": "Why is the last line lost?"}}),
        ),
        line(2, json!({"type": "assistant", "requestId": "req_01", "message": answer})),
    ];
    let path = directory.join(format!("{session}.jsonl"));
    std::fs::write(&path, lines.join("\n") + "\n").expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

/// Commands, a session, a server and its clients.
fn of_a_day() -> Vec<Value> {
    let world = World::new();
    world.ok(["init", "--user"]);
    session(&world);
    for (setting, value) in [("emit.rate_per_second", "1"), ("emit.burst", "1000"), ("server.linger", "120")]
    {
        world.ok(["config", "set", setting, value]);
    }
    // The second time there is a value before.
    world.ok(["config", "set", "server.linger", "300"]);
    let path = transcript(&world);
    world.ok(["import", &path]);
    assert_eq!(world.run(["import", "/code/nowhere"]).code, Some(3));
    world.ok(["status"]);
    world.ok(["doctor"]);
    world.hook(&hook("UserPromptSubmit", &json!({"prompt": "and now?"})));
    let server = world.server();
    world.ok(["annotate", "3", "here it went wrong"]);
    emit(&server, &custom("deploy_finished", json!({"environment": "staging"})));
    for &kind in Kind::ALL.iter().filter(|kind| kind.reserved() && !BY_HAND.contains(kind)) {
        emit(&server, &json!({"kind": kind.name(), "payload": kind.example()}));
    }
    let batch: Value = (0..999).map(|n| custom("of a batch", json!(n))).collect();
    let refused = || server.post("/events/emit", &batch.to_string()).status == 429;
    wait_for("a source to be over its limit", || refused().then_some(()));
    server.stop();
    events_of(&world)
}

/// A server that is killed while it writes a batch.
fn of_a_crash() -> Vec<Value> {
    let world = World::new();
    let server = world.server();
    emit(&server, &custom("before", json!(1)));
    server.kill();
    let journal = world.data().join("journal");
    let last = world.names_in("journal").into_iter().rfind(|name| name.strip_suffix(".seg").is_some());
    let segment = journal.join(last.expect("a segment"));
    // Behind the last batch lie the zeros that are written ahead.
    let end =
        std::fs::read(&segment).expect("its bytes").iter().rposition(|byte| *byte != 0).expect("a batch") + 1;
    let file = std::fs::File::options().write(true).open(segment).expect("the segment");
    file.write_all_at(&[0xA5; 100], end.next_multiple_of(8) as u64).expect("a batch that was never finished");
    world.server().stop();
    events_of(&world)
}

fn filled(server: &Server) {
    for n in 0..24 {
        emit(server, &custom("fill", json!(format!("{n} ").repeat(6_000))));
    }
}

/// A bit that changes on the disk, and somebody who reads there.
fn of_rot() -> Vec<Value> {
    let world = with_config("[journal]\nsegment_bytes = 65536\n");
    let server = world.server();
    filled(&server);
    let segment = world.data().join("journal").join(&world.names_in("journal")[0]);
    let file = std::fs::File::options().read(true).write(true).open(segment).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 30_000).expect("a byte");
    file.write_all_at(&[byte[0] ^ 4], 30_000).expect("a byte");
    let stream = server.sse("/events/stream?from=1", &[]);
    while stream.next().expect("a frame").event.as_deref() != Some("corruption_detected") {}
    drop(stream);
    server.stop();
    events_of(&world)
}

/// More than is to be kept.
fn of_retention() -> Vec<Value> {
    let world = with_config("[journal]\nsegment_bytes = 65536\n");
    let server = world.server();
    filled(&server);
    server.stop();
    let policy = "[journal]\nsegment_bytes = 65536\n[retention]\nmax_bytes = 131072\nmin_bytes = 0\n";
    std::fs::write(world.data().join("config.toml"), policy).expect("a policy");
    world.ok(["gc"]);
    events_of(&world)
}

/// A client at the live end that stops reading, and goes on much later.
fn of_a_slow_client() -> Vec<Value> {
    let world = World::new();
    let server = world.server();
    let bearer = format!("Bearer {}", server.token);
    let headers = [("Authorization", bearer.as_str())];
    let mut socket = TcpStream::connect(&server.addr).expect("a connection");
    socket.set_read_timeout(Some(crate::support::BOUND)).expect("a bound");
    let request = head(&server.addr, "GET", "/events/stream?from=1", &headers) + "\r\n";
    socket.write_all(request.as_bytes()).expect("the request is taken");
    let mut stream = BufReader::new(socket);
    let mut read_to = |event: &str, last: u64| {
        let mut line = Vec::new();
        loop {
            line.clear();
            assert!(stream.read_until(b'\n', &mut line).expect("readable") > 0, "the stream ended");
            let line = String::from_utf8_lossy(&line);
            if line.trim_end() == event {
                return true;
            }
            if line.trim_end().strip_prefix("id: ").and_then(|id| id.parse().ok()) == Some(last) {
                return false;
            }
        }
    };
    let live = emit(&server, &custom("at the live end", json!(1)))[0];
    assert!(!read_to("event: lag", live));
    let batch: Value = vec![custom("fill", json!("x".repeat(500))); 1_000].into();
    // Thousands more than the sockets hold for it, whose limits are the machine's. It is told when it reads on.
    let lagged = (1..=4).any(|round| {
        let last = (0..12 * round).fold(0, |_, _| emit(&server, &batch)[999]);
        read_to("event: lag", last)
    });
    assert!(lagged, "it never fell behind");
    server.stop();
    events_of(&world)
}

/// The fields of a value and their types, without the values. Of a list, what sorts of items it has.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("true or false"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => {
            let mut shapes: Vec<Value> = Vec::new();
            for item in items.iter().map(shape) {
                if !shapes.contains(&item) {
                    shapes.push(item);
                }
            }
            Value::Array(shapes)
        }
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
    }
}

/// What must not differ: all names and types, and what the catalog says of the kind.
fn form(event: &Value) -> Value {
    let fixed = ["kind", "version", "category", "importance"].map(|name| event[name].clone());
    json!([fixed, shape(event)])
}

/// Of each kind the first event that has most of its fields.
fn fullest(events: Vec<Value>) -> BTreeMap<String, Value> {
    let fields = |event: &Value| event["payload"].as_object().map_or(0, serde_json::Map::len);
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for event in events {
        let kind = event["kind"].as_str().expect("a kind").to_owned();
        if found.get(&kind).is_none_or(|before| fields(before) < fields(&event)) {
            found.insert(kind, event);
        }
    }
    found
}

#[test]
fn what_the_page_shows_of_each_kind_is_what_is_recorded() {
    let worlds = [of_a_day, of_a_crash, of_rot, of_retention, of_a_slow_client];
    let now = fullest(worlds.into_iter().flat_map(|world| world()).collect());
    let text = std::fs::read_to_string(file()).expect("the examples");
    let lines: Vec<(&str, Value)> =
        text.lines().map(|line| (line, serde_json::from_str(line).expect("an event"))).collect();
    let (mut fresh, mut wrong) = (String::new(), Vec::new());
    for &kind in Kind::ALL.iter().filter(|kind| !BY_HAND.contains(kind)) {
        let recorded = now.get(kind.name()).unwrap_or_else(|| panic!("nothing here records {kind}"));
        let shown = lines.iter().find(|(_, event)| event["kind"] == kind.name());
        if let Some((line, _)) = shown.filter(|(_, event)| form(event) == form(recorded)) {
            fresh += line;
        } else {
            wrong.push(format!(
                "{kind}: shown is {}, recorded is {recorded}",
                shown.map_or("nothing", |(line, _)| line)
            ));
            fresh += &StoredEvent::from_json(&recorded.to_string()).expect("an event").to_json();
        }
        fresh.push('\n');
    }
    if std::env::var_os("MNEMOSYNE_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(file(), fresh).expect("the examples are written");
        return;
    }
    assert!(
        wrong.is_empty(),
        "examples that are not as the program records (see this file's head):\n{}",
        wrong.join("\n")
    );
    for kind in BY_HAND {
        assert!(!now.contains_key(kind.name()), "{kind} is recorded after all");
    }
}
