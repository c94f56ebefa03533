//! `serve`, asked by a client that was written here, line by line, so that it can be wrong in every way; and each answer is the one
//! that the command prints with `--json`.

use crate::cli_basics::prompt;
use crate::support::{BOUND, Ran, Running, World, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{ChildStdin, Stdio};

const SESSION: &str = "cccccccc-0000-4000-8000-000000000003";
const OTHER: &str = "dddddddd-0000-4000-8000-000000000004";

/// A client: what it writes, and every line that came back.
struct Client {
    running: Running,
    stdin: Option<ChildStdin>,
    asked: u64,
}

impl Client {
    fn silent(world: &World) -> Client {
        let mut running = Running::start(world.command(["serve"]).stdin(Stdio::piped()));
        let stdin = Some(running.take_stdin());
        Client { running, stdin, asked: 0 }
    }

    #[track_caller]
    fn new(world: &World) -> Client {
        let mut client = Client::silent(world);
        client.initialize("2025-06-18");
        client
    }

    #[track_caller]
    fn initialize(&mut self, version: &str) -> Value {
        let info = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": info});
        let answer = self.request("initialize", &params);
        self.line(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
        answer["result"].clone()
    }

    fn line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    fn ask(&mut self, method: &str, params: &Value) -> u64 {
        self.asked += 1;
        let id = self.asked;
        self.line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        id
    }

    #[track_caller]
    fn answer(&self, id: &Value) -> Value {
        wait_for("an answer", || self.lines().into_iter().find(|line| line["id"] == *id))
    }

    #[track_caller]
    fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.ask(method, params);
        self.answer(&json!(id))
    }

    /// The result of a tool, which must be no error; text and structure say the same.
    #[track_caller]
    fn tool(&mut self, name: &str, arguments: &Value) -> Value {
        let answer = self.request("tools/call", &json!({"name": name, "arguments": arguments}));
        let result = &answer["result"];
        assert_eq!(result["isError"], json!(false), "{name} {arguments}: {answer}");
        let text = result["content"][0]["text"].as_str().expect("text");
        let of_text: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(of_text, result["structuredContent"]);
        of_text
    }

    /// The error of a tool.
    #[track_caller]
    fn refusal(&mut self, name: &str, arguments: &Value) -> (String, String) {
        let answer = self.request("tools/call", &json!({"name": name, "arguments": arguments}));
        let result = &answer["result"];
        assert_eq!(result["isError"], json!(true), "{name} {arguments}: {answer}");
        let error = &result["structuredContent"]["error"];
        assert_eq!(result["content"][0]["text"], error["message"]);
        let text = |name: &str| error[name].as_str().expect("a text").to_owned();
        (text("code"), text("message"))
    }

    /// Every whole line of stdout so far; each must be JSON, for stdout carries nothing else.
    #[track_caller]
    fn lines(&self) -> Vec<Value> {
        let stdout = self.running.stdout();
        let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    #[track_caller]
    fn end(mut self) -> Ran {
        self.stdin = None;
        let ran = self.running.wait();
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
        ran
    }
}

/// Two sessions of two calls, one of which failed once.
fn recorded() -> World {
    let world = World::new();
    for (session, fails) in [(SESSION, false), (OTHER, true)] {
        let hook = |name: &str, more: Value| {
            let mut payload = json!({"session_id": session, "hook_event_name": name, "cwd": "/code/app"});
            let fields = payload.as_object_mut().expect("an object");
            fields.extend(more.as_object().expect("an object").clone());
            world.hook(&payload);
        };
        hook("SessionStart", json!({"source": "startup"}));
        world.hook(&prompt(session, "find the needle"));
        for n in 1..=2 {
            let call = json!({"tool_name": "Bash", "tool_use_id": format!("{session}-{n}"), "tool_input": {"command": format!("make {n}")}});
            hook("PreToolUse", call.clone());
            let mut ended = call;
            if fails && n == 2 {
                ended["error"] = json!("no needle here");
                hook("PostToolUseFailure", ended);
            } else {
                ended["tool_response"] = json!({"stdout": "ok"});
                hook("PostToolUse", ended);
            }
        }
        hook("Stop", json!({}));
    }
    world
}

/// Without what depends on the moment of asking.
fn timeless(mut answer: Value) -> Value {
    if let Some(viewer) = answer.get_mut("viewer") {
        viewer["now"] = json!("then");
    }
    answer
}

#[test]
fn each_tools_answer_is_the_commands() {
    let world = recorded();
    let mut client = Client::new(&world);
    // The record of its own start is in the journal before either asks.
    let started = || world.events(["--kind", "server_started"]).pop();
    let started = wait_for("the start on record", started);
    assert_eq!(
        (&started["payload"]["server_type"], &started["payload"]["listen_addr"]),
        (&json!("mcp"), &json!("stdio"))
    );
    let failed = world.events(["--kind", "tool_call_failed"]).pop().expect("one failed")["seq"].clone();
    let seq = failed.to_string();
    let rows: &[(&str, Value, &[&str])] = &[
        ("sessions", json!({}), &["sessions"]),
        ("sessions", json!({"limit": 1, "state": "idle"}), &["sessions", "--limit", "1", "--state", "idle"]),
        ("session", json!({"session": SESSION}), &["session", SESSION]),
        ("session", json!({"session": "dddd", "patches": true}), &["session", OTHER, "--files", "--diff"]),
        ("why", json!({"seq": failed}), &["why", &seq]),
        ("why", json!({"seq": failed, "depth": 1}), &["why", &seq, "--depth", "1"]),
        ("diff", json!({"a": SESSION, "b": OTHER}), &["diff", SESSION, OTHER]),
        ("state", json!({"projection": "sessions"}), &["state", "sessions"]),
        ("state", json!({"projection": "agents", "at": failed}), &["state", "agents", "--at", &seq]),
        ("state", json!({"projection": "health", "at": seq}), &["state", "health", "--at", &seq]),
        ("stats", json!({}), &["stats"]),
        (
            "stats",
            json!({"which": "health", "by": "session", "since": "2026-01-01"}),
            &["stats", "health", "--by", "session", "--since", "2026-01-01"],
        ),
    ];
    for (tool, arguments, command) in rows {
        let printed = world.ok(command.iter().copied().chain(["--json"])).json();
        assert_eq!(timeless(client.tool(tool, arguments)), timeless(printed), "{tool} {arguments}");
    }
    let ran = client.end();
    assert_eq!(ran.stdout.lines().count(), rows.len() + 1, "one line for each request, and no other");
}

#[test]
fn events_are_read_page_by_page_and_are_those_of_the_command() {
    let world = recorded();
    let mut client = Client::new(&world);
    wait_for("the start on record", || world.events(["--kind", "server_started"]).pop());
    let printed = world.events([]);
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let page = client.tool("events", &json!({"after": after, "limit": 4}));
        assert_eq!((&page["version"], &page["gaps"]), (&json!(1), &json!([])));
        read.extend(page["events"].as_array().expect("a list").clone());
        after = page["next"].as_u64().expect("a seq");
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(read, printed);
    let filtered = client.tool(
        "events",
        &json!({"session": "cccc", "kind": "tool_call_*", "grep": "MAKE 2", "min_importance": 4}),
    );
    let printed = world.events([
        "--session",
        SESSION,
        "--kind",
        "tool_call_*",
        "--grep",
        "make 2",
        "--min-importance",
        "4",
    ]);
    assert_eq!((filtered["events"].as_array(), printed.len()), (Some(&printed), 1));
    let until = client.tool("events", &json!({"from": 2, "until": 3}));
    assert_eq!(until["events"].as_array().map(Vec::len), Some(2));
    let found = client.tool("search", &json!({"words": "needle -here", "session": OTHER}));
    let hits = world.ok(["events", "--search", "needle -here", "--session", OTHER, "--json"]).json_lines();
    assert_eq!((found["hits"].as_array(), &found["matched"]), (Some(&hits), &json!(hits.len())));
    assert_eq!(hits.len(), 1);
    client.end();
}

#[test]
fn a_note_is_the_commands_event_without_its_secret_and_shown_beside_what_it_is_about() {
    let world = recorded();
    let mut client = Client::new(&world);
    let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let said = client.tool("annotate", &json!({"seq": 3, "text": format!("looks odd, {secret}")}));
    assert_eq!((&said["version"], &said["about"], &said["way"]), (&json!(1), &json!(3), &json!("journal")));
    let notes = world.events(["--kind", "annotated"]);
    assert_eq!((&notes[0]["seq"], &notes[0]["id"]), (&said["seq"], &said["id"]));
    let text = notes[0]["payload"]["text"].as_str().expect("a text");
    assert!(text.starts_with("looks odd, ") && !text.contains(secret), "{text}");
    let run = world.events(["--kind", "cli_command_started"]).pop().expect("the run of `serve`");
    assert_eq!((&notes[0]["causation"], &notes[0]["session"]), (&run["id"], &json!(SESSION)));
    let why = client.tool("why", &json!({"seq": 3}));
    assert!(
        why["events"][0]["notes"][0]["text"].as_str().is_some_and(|note| note.starts_with("looks odd")),
        "{why}"
    );
    // A server that runs takes it, and the lock was free for it.
    let server = world.server();
    assert_eq!(client.tool("annotate", &json!({"seq": 3, "text": "again"}))["way"], "server");
    server.stop();
    assert_eq!(
        client.refusal("annotate", &json!({"seq": 3, "text": " "})),
        ("usage".into(), "the note is empty".into())
    );
    let ran = client.end();
    assert!(!ran.stdout.contains(secret), "{ran}");
}

#[test]
fn the_tools_are_listed_with_schemas_that_refuse_what_they_do_not_know() {
    let world = World::new();
    let mut client = Client::new(&world);
    let listed = client.request("tools/list", &json!({}));
    let tools = listed["result"]["tools"].as_array().expect("a list");
    let names: Vec<_> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(
        names,
        ["sessions", "session", "events", "search", "why", "diff", "state", "stats", "annotate"]
    );
    for tool in tools {
        let schema = &tool["inputSchema"];
        assert_eq!(
            (&schema["type"], &schema["additionalProperties"]),
            (&json!("object"), &json!(false)),
            "{tool}"
        );
        let reads = tool["name"] != "annotate";
        assert_eq!(
            (&tool["annotations"]["readOnlyHint"], &tool["annotations"]["destructiveHint"]),
            (&json!(reads), &json!(false))
        );
    }
    client.end();
    assert!(!world.data().exists(), "nothing was made");
}

#[test]
fn what_a_tool_cannot_answer_it_says_with_the_next_step() {
    let world = World::new();
    let mut client = Client::new(&world);
    let (code, words) = client.refusal("sessions", &json!({}));
    assert_eq!(code, "no_data_dir");
    assert!(words.contains("mnemosyne init --claude"), "{words}");
    assert!(!world.data().exists(), "and none is made");
    // One that comes later is found by the same server, and the record of its start is no longer held back.
    world.hook(&prompt(SESSION, "begin"));
    assert_eq!(client.tool("sessions", &json!({}))["total"], 1);
    let rows: &[(&str, Value, &str, &str)] = &[
        ("sessions", json!({"state": "lost"}), "usage", "a state is working"),
        ("sessions", json!({"limit": 0}), "usage", "`limit`"),
        ("session", json!({"session": "nobody"}), "not_found", "`mnemosyne sessions`"),
        ("session", json!({}), "usage", "missing field `session`"),
        ("events", json!({"frm": 2}), "usage", "unknown field `frm`, expected one of"),
        ("events", json!({"from": 1, "after": 1}), "usage", "give one"),
        ("events", json!({"after": 4_000}), "cursor_ahead", "4001"),
        ("events", json!({"limit": 501}), "usage", "1 to 500"),
        ("events", json!({"kind": "promt_submitted"}), "usage", "prompt_submitted"),
        ("events", json!({"since": "yesterday"}), "usage", "`since` takes a time"),
        ("search", json!({"words": 3}), "usage", "invalid type"),
        ("why", json!({"seq": 99}), "not_found", "99"),
        ("why", json!({"seq": -1}), "usage", "invalid number"),
        ("diff", json!({"a": SESSION, "b": "x"}), "not_found", "`x`"),
        ("state", json!({"projection": "sesions"}), "not_found", "did you mean `sessions`?"),
        ("state", json!({"projection": "sessions", "at": 4_000}), "cursor_ahead", "beyond the end"),
        ("stats", json!({"by": "year"}), "usage", "hour, day, session or project"),
        ("annotate", json!({"seq": 99, "text": "x"}), "not_found", "99"),
        ("annotate", json!({"seq": 1, "text": "x".repeat(40_000)}), "usage", "32768"),
    ];
    for (tool, arguments, code, words) in rows {
        let (found, said) = client.refusal(tool, arguments);
        assert_eq!(found, *code, "{tool} {arguments}: {said}");
        assert!(said.contains(words), "{tool} {arguments}: {said}");
    }
    client.end();
}

#[test]
fn what_is_no_message_is_answered_with_its_code_and_disturbs_nothing() {
    let world = recorded();
    let mut client = Client::silent(&world);
    // Before the beginning: none of this is for anybody.
    client.line(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
    client.line(&json!({"jsonrpc": "2.0", "id": 9, "result": {}}).to_string());
    assert_eq!(client.request("tools/list", &json!({}))["error"]["code"], -32602, "not before `initialize`");
    client.initialize("2025-06-18");
    let before = client.lines().len();
    let garbage: &[(&str, i64)] = &[
        ("{", -32700),
        ("not json", -32700),
        ("[]", -32600),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600),
        ("\"text\"", -32600),
        ("{\"jsonrpc\":\"1.0\",\"id\":70,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":71,\"method\":\"tools/call\",\"params\":{\"name\":\"nope\"}}", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":72,\"method\":\"tools/call\",\"params\":{}}", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":73,\"method\":\"no/such\"}", -32601),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":74,\"method\":\"resources/read\",\"params\":{\"uri\":\"x:y\"}}",
            -32601,
        ),
    ];
    for (line, _) in garbage {
        client.line(line);
    }
    client.line("");
    client.line(&"[".repeat(50_000));
    client.line(&format!("\"{}\"", "x".repeat(2 * 1024 * 1024)));
    client.line(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": 3}).to_string());
    client.line(&json!({"jsonrpc": "2.0", "method": "notifications/nobody/knows"}).to_string());
    assert_eq!(client.request("ping", &json!({}))["result"], json!({}), "it lives");
    let expected = garbage.iter().map(|(_, code)| *code).chain([-32700, -32600]);
    let expected: Vec<i64> = expected.collect();
    let codes = || {
        let lines = client.lines();
        let codes: Vec<_> =
            lines[before..].iter().filter_map(|line| line["error"]["code"].as_i64()).collect();
        (codes.len() == expected.len()).then_some(codes)
    };
    let sorted = |mut codes: Vec<i64>| {
        codes.sort_unstable();
        codes
    };
    assert_eq!(sorted(wait_for("all answers", codes)), sorted(expected));
    for (id, code) in [(70, -32600), (71, -32602), (72, -32602), (73, -32601), (74, -32601)] {
        assert_eq!(client.answer(&json!(id))["error"]["code"], code, "{id}");
    }
    client.end();
}

#[test]
fn all_that_was_asked_is_answered_when_stdin_ends_at_once() {
    let world = recorded();
    let info = json!({"name": "t", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
    let mut lines = vec![json!({"jsonrpc": "2.0", "id": "a", "method": "initialize", "params": params})];
    lines.push(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    for n in 0..40 {
        let params = json!({"name": "sessions", "arguments": {}, "_meta": {"progressToken": n}});
        lines.push(json!({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params}));
    }
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    // The last line has no end.
    let ran = world.run_with_stdin(["serve"], lines.join("\n").as_bytes());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    let ids: BTreeSet<_> = ran.json_lines().iter().map(|line| line["id"].to_string()).collect();
    assert_eq!((ran.stdout.lines().count(), ids.len()), (41, 41));
    let stopped = world.events(["--kind", "server_stopped"]).pop().expect("on record");
    assert_eq!(
        (&stopped["payload"]["server_type"], &stopped["payload"]["requests_handled"]),
        (&json!("mcp"), &json!(41))
    );
    let kinds: Vec<_> =
        world.events(["--category", "cli"]).iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["cli_command_started", "cli_command_completed"]);
}

#[test]
fn a_client_of_any_version_begins() {
    let world = World::new();
    for (asked, given) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-11-25", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let mut client = Client::silent(&world);
        let begun = client.initialize(asked);
        assert_eq!(begun["protocolVersion"], given);
        assert_eq!(
            (&begun["serverInfo"]["name"], &begun["serverInfo"]["version"]),
            (&json!("mnemosyne"), &json!(env!("CARGO_PKG_VERSION")))
        );
        client.end();
    }
}

#[test]
fn a_signal_ends_it_well_with_nothing_left_behind() {
    let world = recorded();
    for (n, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let mut client = Client::new(&world);
        client.tool("sessions", &json!({}));
        client.running.signal(signal);
        let Client { running, stdin, .. } = client;
        let ran = running.wait();
        drop(stdin);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{signal:?}: {ran}");
        let ended = world.events(["--kind", "server_stopped,cli_command_completed"]);
        assert_eq!(ended.len(), 2 * (n + 1), "{ended:?}");
    }
    assert_eq!(world.inbox_len(), 0);
}

#[test]
fn a_client_that_goes_away_ends_it() {
    let world = recorded();
    let mut running = Running::start(world.command(["serve"]).stdin(Stdio::piped()).stdout(Stdio::null()));
    drop(running.take_stdin());
    assert_eq!(running.wait_at_most(BOUND).code, Some(0));
}

#[test]
fn a_question_that_is_taken_back_gets_no_answer() {
    let world = recorded();
    let mut client = Client::new(&world);
    // Many, so that the last ones wait for their turn when they are taken back.
    let asked: Vec<u64> =
        (0..30).map(|_| client.ask("tools/call", &json!({"name": "stats", "arguments": {}}))).collect();
    let last = *asked.last().expect("some");
    let params = json!({"requestId": last, "reason": "no longer wanted"});
    client
        .line(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).to_string());
    let after = client.request("ping", &json!({}));
    assert_eq!(after["result"], json!({}));
    let ran = client.end();
    let answered: BTreeSet<_> = ran.json_lines().iter().filter_map(|line| line["id"].as_u64()).collect();
    assert!(!answered.contains(&last), "{answered:?}");
    assert!(asked[..29].iter().all(|id| answered.contains(id)), "all others have theirs: {answered:?}");
}

#[test]
fn a_large_answer_is_bounded_and_says_what_was_cut() {
    let world = World::new();
    for n in 0..12 {
        world.hook(&prompt(SESSION, &format!("{n} {}", "long words ".repeat(5_000))));
    }
    let mut client = Client::new(&world);
    let page = client.tool("events", &json!({"kind": "prompt_submitted"}));
    assert!(page.to_string().len() <= 65_536);
    assert_eq!(page["more"], true);
    let next = page["next"].as_u64().expect("a seq");
    assert_eq!(
        page["events"].as_array().map(Vec::len),
        Some(usize::try_from(next).expect("few")),
        "none is passed over"
    );
    let found = client.tool("search", &json!({"words": "words", "limit": 12}));
    assert!(found.to_string().len() <= 65_536);
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(12), "texts go before hits");
    assert!(
        found["cut"]["texts"].as_u64() >= Some(12) && found["cut"]["lists"] == json!([]),
        "{}",
        found["cut"]
    );
    let one = client.tool("events", &json!({"from": 1, "until": 1}));
    let whole = world.events(["--until", "1"]);
    assert!(one["cut"].is_null() && one["events"][0] == whole[0], "what fits is whole");
    client.end();
}

#[test]
fn what_events_say_reaches_no_terminal_raw() {
    let world = World::new();
    let hostile = "\u{1b}[2J\u{202e}evil";
    world.hook(&prompt(SESSION, hostile));
    let mut client = Client::new(&world);
    let page = client.tool("events", &json!({"kind": "prompt_submitted"}));
    assert_eq!(page["events"][0]["payload"]["prompt"], hostile);
    client.tool("sessions", &json!({}));
    client.refusal("session", &json!({"session": hostile}));
    let ran = client.end();
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stdout.contains('\u{202e}'), "{ran}");
}
