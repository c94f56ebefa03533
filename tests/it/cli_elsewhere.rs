//! `--server`: two machines, which are two homes here. What a command shows of the far one is what it shows there; nothing of the near
//! one is read or written for it.

use crate::retention_gc::{POLICY, filled, first_of, segments};
use crate::support::{Ran, Running, Server, World, http_request, wait_for};
use mnemosyne::cli::{COMMANDS, Reach};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

/// Two that share a beginning, long ago, so that no age changes while a test runs.
const SESSION: &str = "5e551010-aaaa-4000-8000-000000000001";
const OTHER: &str = "5e551010-bbbb-4000-8000-000000000002";

/// What another home's server is reached with.
pub(crate) struct Far {
    pub(crate) world: World,
    pub(crate) server: Server,
}

impl Far {
    pub(crate) fn new() -> Far {
        let world = World::new();
        let transcripts = world.home().join("transcripts");
        std::fs::create_dir(&transcripts).expect("a directory");
        for session in [SESSION, OTHER] {
            let lines = transcript(session).map(|line| line.to_string() + "\n").concat();
            std::fs::write(transcripts.join(format!("{session}.jsonl")), lines).expect("written");
        }
        world.ok(["import".as_ref(), transcripts.as_os_str()]);
        let server = world.server();
        world.ok(["annotate", "2", "this is where it went wrong"]);
        Far { world, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.addr)
    }

    /// The token in a private file of the near home.
    pub(crate) fn token_in(&self, near: &World) -> PathBuf {
        private(near, "token", &self.server.token)
    }

    /// The command on the near side.
    pub(crate) fn from(&self, near: &World, args: &[&str]) -> Ran {
        let (url, token) = (self.url(), self.token_in(near));
        let more = ["--server", &url, "--token-file", token.to_str().expect("UTF-8")];
        Running::start(&mut near.bare_command(args.iter().copied().chain(more))).wait()
    }

    fn emit(&self, events: &Value) {
        let token = format!("Bearer {}", self.server.token);
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
        let answer =
            http_request(&self.server.addr, "POST", "/events/emit", &headers, events.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

pub(crate) fn private(near: &World, name: &str, text: &str) -> PathBuf {
    let path = near.home().join(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a private file");
    path
}

fn transcript(session: &str) -> [Value; 4] {
    let line = |n: u32, more: Value| {
        let id = |n: u32| format!("{}-{n:012}", &session[..23]);
        let mut line = json!({
            "uuid": id(n), "parentUuid": (n > 1).then(|| id(n - 1)), "isSidechain": false, "cwd": "/code/app",
            "sessionId": session, "version": "2.0.0", "timestamp": format!("2026-01-02T03:04:0{n}.000Z"),
        });
        line.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        line
    };
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "/code/app/a.rs"}});
    let usage = json!({"input_tokens": 12, "output_tokens": 34, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0});
    let result =
        json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": "a needle", "is_error": false});
    [
        line(1, json!({"type": "user", "message": {"role": "user", "content": "find the needle"}})),
        line(
            2,
            json!({"type": "assistant", "message": {"id": "msg_1", "role": "assistant", "model": "m-1",
            "content": [call], "usage": usage}}),
        ),
        line(3, json!({"type": "user", "message": {"role": "user", "content": [result]}})),
        line(
            4,
            json!({"type": "assistant", "message": {"id": "msg_2", "role": "assistant", "model": "m-1",
            "content": [{"type": "text", "text": "found it"}], "usage": usage}}),
        ),
    ]
}

/// What depends on the moment of looking is not compared.
fn without_now(text: &str) -> String {
    let mut lines = text.lines().map(|line| match serde_json::from_str::<Value>(line) {
        Ok(mut value) if value["viewer"]["now"].is_string() => {
            value["viewer"]["now"] = Value::Null;
            value.to_string()
        }
        _ => line.to_owned(),
    });
    lines.by_ref().collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_shown_of_a_server_elsewhere_is_what_is_shown_there() {
    let (far, near) = (Far::new(), World::new());
    let (mine, both) = ("5e551010-a", "5e551010");
    let patch = json!([{"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1, "lines": ["-a", "+b"]}]);
    far.world.hook(&json!({"hook_event_name": "PostToolUse", "session_id": "patched", "tool_name": "Edit", "tool_use_id": "e-1", "cwd": "/p",
        "tool_input": {"file_path": "/p/a.rs"}, "tool_response": {"filePath": "/p/a.rs", "structuredPatch": patch}}));
    wait_for("the patch on record", || {
        far.world.run(["session", "patched", "--files", "--diff"]).stdout.contains("+b").then_some(())
    });
    let shown: &[&[&str]] = &[
        &["events"],
        &["events", "--json"],
        &["events", "--kind", "tool_call_*", "--session", mine],
        &["events", "--from", "2", "--limit", "3"],
        &["events", "--since", "2026-01-01", "--until", "4"],
        &["events", "--since", "2h", "--category", "agent"],
        &["events", "--search", "needle"],
        &["events", "--search", "needle", "--json", "--limit", "1", "--from", "3"],
        &["events", "--search", "--"],
        &["tail"],
        &["tail", "-n", "2", "--json"],
        &["tail", "-n", "0"],
        &["tail", "--from", "3", "--until", "5"],
        &["tail", "--until", "4", "-n", "2"],
        &["tail", "--since", "2h", "-n", "2", "--kind", "prompt_submitted"],
        &["sessions"],
        &["sessions", "--json"],
        &["sessions", "--state", "dead", "--since", "2026-01-01", "--limit", "1"],
        &["sessions", "--project", "no-such"],
        &["session", mine],
        &["session", mine, "--json"],
        &["session", mine, "--turns", "--calls", "--files", "--tokens", "--tree"],
        &["session", mine, "--files", "--diff"],
        &["session", mine, "--files", "--diff", "--json"],
        &["session", "patched", "--files", "--diff"],
        &["session", "patched", "--files", "--diff", "--json"],
        &["replay", mine, "--speed", "max"],
        &["replay", mine, "--speed", "max", "--json", "--from", "3"],
        &["replay", mine, "--step"],
        &["replay", mine, "--speed", "max", "--state"],
        &["replay", mine, "--speed", "max", "--state", "agents", "--json"],
        &["replay", mine, "--state", "nothing"],
        &["state", "sessions"],
        &["state", "sessions", "--json"],
        &["state", "agents", "--at", "3", "--json"],
        &["stats"],
        &["stats", "--json", "--by", "project"],
        &["stats", "tokens", "--by", "day"],
        &["stats", "sessions", "--json", "--by", "session"],
        &["diff", mine, OTHER],
        &["diff", mine, OTHER, "--json", "--limit", "1"],
        &["diff", OTHER, mine, "--fail-on-divergence"],
        &["diff", mine, "nobody"],
        &["diff", both, OTHER],
        &["why", "5"],
        &["why", "5", "--json", "--depth", "2"],
        &["bisect", ".sessions | length > 1"],
        &["bisect", ".sessions | length > 1", "--json"],
        &["bisect", ".sessions[].counts.tool_calls >= 1", "--session", OTHER, "--json"],
        &["bisect", ".sessions | length > 0", "--from", "2026-01-01", "--until", "2"],
        &["bisect", "length > 0", "notes", "--json"],
        &["bisect", ".sessions | length > 9"],
        &["bisect", ".sessions[].no_such > 1"],
        &["bisect", ".["],
        &["bisect", ".", "nothing"],
        &["bisect", ".", "--from", "99999"],
        &["bisect", ".", "--session", "nobody"],
        // What there is not.
        &["session", "nobody"],
        &["events", "--session", "nobody"],
        &["events", "--search", "needle", "--session", "00000000-0000-4000-8000-00000000beef"],
        &["tail", "--session", "nobody"],
        &["events", "--limit", "0"],
        &["session", both],
        &["events", "--session", both],
        &["events", "--from", "99999"],
        &["state", "nothing"],
        &["state", "sessions", "--at", "99999"],
        &["why", "99999"],
        &["replay", "nobody"],
        &["annotate", "99999", "x"],
        &["annotate", "2", " "],
    ];
    for args in shown {
        let there = far.world.run(*args);
        let here = far.from(&near, args);
        assert_eq!(there.code, here.code, "{args:?}\n{there}\n{here}");
        assert_eq!(without_now(&there.stdout), without_now(&here.stdout), "{args:?}\n{there}\n{here}");
    }
    let full = far.from(&near, &["events"]).stdout;
    assert!(full.contains("note ") && full.lines().count() > 8, "{full}");
    assert!(!near.data().exists() && !near.home().join(".local").exists(), "nothing is made on this side");
}

#[test]
fn how_a_server_elsewhere_fares_is_what_it_says_itself() {
    let (far, near) = (Far::new(), World::new());
    let tail = || far.server.get("/health").json()["tail"].clone();
    // What the note's run has left is taken in by and by.
    let (before, told) = wait_for("a moment in which nothing comes", || {
        let (before, ran) = (tail(), far.from(&near, &["status", "--json"]));
        assert_eq!(ran.code, Some(0), "{ran}");
        let told = ran.json_lines().remove(0);
        (tail() == before && told["inbox"]["waiting"] == 0).then_some((before, told))
    });
    assert_eq!(
        (&told["data_dir"], &told["disk"], &told["starts_unasked"]),
        (&json!(null), &json!(null), &json!(null))
    );
    let server = &told["server"];
    assert_eq!((&server["addr"], &server["pid"]), (&json!(far.server.addr), &json!(null)));
    assert_eq!((&server["version"], &server["trouble"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(null)));
    assert!(server["uptime_ms"].is_u64(), "{told}");
    let (journal, record) = (&told["journal"], &told["record"]);
    assert_eq!((&journal["last_seq"], &journal["first_seq"]), (&before, &json!(1)));
    assert_eq!((&journal["events_last_minute"], &journal["events_last_day"]), (&before, &before));
    assert_eq!((&record["known"], &record["committed"], &record["waiting"]), (&before, &before, &json!(0)));
    assert_eq!((&record["not_kept"], &record["quarantined"]), (&json!(0), &json!(null)));
    assert_eq!((&told["events"]["balanced"], &told["inbox"]["waiting"]), (&json!(true), &json!(0)));
    // It is what the command says there, but for what lies in files.
    let there = far.world.ok(["status", "--json"]).json_lines().remove(0);
    for same in ["sessions", "recovered", "corruption"] {
        assert_eq!(told[same], there[same], "{same}");
    }
    assert_eq!(journal["id"], there["journal"]["id"]);
    let text = far.from(&near, &["status"]);
    assert!(text.stdout.contains(&format!("http://{}, version ", far.server.addr)), "{text}");
    assert!(text.stdout.contains("not told by a server elsewhere"), "{text}");
    assert!(!near.data().exists() && !near.home().join(".local").exists(), "nothing is made on this side");
    // The controls: another token, and nobody there.
    let (url, wrong) = (far.url(), private(&near, "wrong", &"0".repeat(64)));
    let ask = ["status", "--server", &url, "--token-file", wrong.to_str().expect("UTF-8")];
    let ran = Running::start(&mut near.bare_command(ask)).wait();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stderr.contains("does not know this token"), "{ran}");
}

#[test]
fn what_a_bisection_of_a_server_elsewhere_cannot_do_is_said() {
    let (far, near) = (Far::new(), World::new());
    let ran = far.from(&near, &["bisect", ".sessions | length > 1", "--monotone"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
    assert!(ran.stderr.contains("leave it out"), "{ran}");
}

/// What is folded here begins with the first event; of what has gone there the server has the states, and this side has none.
#[test]
fn what_retention_has_dropped_there_is_known_to_status_and_ends_a_bisection() {
    let (world, near) = (filled(POLICY, 600), World::new());
    world.ok(["gc"]);
    let first = first_of(&segments(&world)[0]);
    assert!(first > 1, "something has gone");
    let question = ["bisect", ".sessions | length > 0", "--json"];
    let there = world.run(question);
    assert_eq!((there.code, &there.json()["held_before"]), (Some(0), &json!(true)), "the control: {there}");
    let far = Far { server: world.server(), world };
    let told = far.from(&near, &["status", "--json"]).json();
    assert_eq!(told["journal"]["first_seq"], first, "{told}");
    assert!(told["record"]["committed"].as_u64() > Some(first), "of all time: {told}");
    let ran = far.from(&near, &question);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stderr.contains(&format!("has dropped the events up to {}", first - 1)), "{ran}");
}

/// One flipped bit there: every command that reads over it says so here, and ends with 4, as it does there.
#[test]
fn damage_there_is_told_here() {
    let (world, near) = (World::new(), World::new());
    let transcripts = world.home().join("transcripts");
    std::fs::create_dir(&transcripts).expect("a directory");
    let lines = transcript(SESSION).map(|line| line.to_string() + "\n").concat();
    std::fs::write(transcripts.join(format!("{SESSION}.jsonl")), lines).expect("written");
    world.ok(["import".as_ref(), transcripts.as_os_str()]);
    let read: &[&[&str]] = &[
        &["session", SESSION],
        &["session", SESSION, "--json"],
        &["diff", SESSION, SESSION],
        &["diff", SESSION, SESSION, "--json"],
        &["events"],
        &["stats", "sessions", "--json"],
    ];
    let codes = |expected, from: &dyn Fn(&[&str]) -> Ran, said: &str| {
        for args in read {
            let ran = from(args);
            assert_eq!(ran.code, Some(expected), "{args:?} {ran}");
            let told = ran.stdout.contains("corruption") || ran.stderr.contains("damaged");
            assert_eq!(told, expected == 4, "{said} {args:?} {ran}");
        }
    };
    codes(0, &|args| world.run(args), "whole, there");
    // What comes later proves that it had been durable.
    world.ok(["annotate", "2", "a later batch"]);
    let name = world.names_in("journal").into_iter().find(|name| name.contains(".seg")).expect("a segment");
    let segment = world.data().join("journal").join(name);
    let mut bytes = std::fs::read(&segment).expect("the segment");
    let at = bytes.windows(8).position(|window| window == b"a needle").expect("its text");
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).expect("one flipped bit");
    codes(4, &|args| world.run(args), "damaged, there");
    let server = world.server();
    let far = Far { world, server };
    codes(4, &|args| far.from(&near, args), "damaged, here");
    for args in read.iter().filter(|args| args.contains(&"--json")) {
        let (there, here) = (far.world.run(*args), far.from(&near, args));
        assert_eq!(without_now(&there.stdout), without_now(&here.stdout), "{args:?}");
    }
}

#[test]
fn many_pages_are_one_answer() {
    let (far, near) = (Far::new(), World::new());
    for batch in 0..3 {
        let events = (0..900)
            .map(|n| json!({"kind": "custom", "payload": {"name": "n", "data": {"n": batch * 900 + n}}}));
        far.emit(&events.collect());
    }
    let there = far.world.ok(["events", "--json"]).stdout;
    let here = far.from(&near, &["events", "--json"]).stdout;
    assert!(there.lines().count() > 2_700);
    assert_eq!(there, here);
}

#[test]
fn following_shows_what_comes_ends_with_the_server_and_goes_on_by_its_cursor_file() {
    let (mut far, near) = (Far::new(), World::new());
    let cursor = near.home().join("cursor");
    let follow = |far: &Far| {
        let (url, token) = (far.url(), far.token_in(&near));
        let (cursor, token) = (cursor.to_str().expect("UTF-8"), token.to_str().expect("UTF-8"));
        let args = ["tail", "-f", "--json", "--cursor-file", cursor, "--server", &url, "--token-file", token];
        Running::start(&mut near.bare_command(args))
    };
    let custom = |name: &str| json!({"kind": "custom", "payload": {"name": name, "data": {}}});
    let following = follow(&far);
    following.wait_for_stdout("this is where it went wrong");
    far.emit(&custom("first"));
    following.wait_for_stdout("\"first\"");
    far.server.signal(Signal::TERM);
    let ran = following.wait();
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("has stopped; what comes next is after seq "), "{ran}");
    assert_eq!(ran.json_lines().last().expect("an event")["kind"], "server_stopped");

    wait_for("the first server's end", || (!far.server.is_alive()).then_some(()));
    let before = ran.json_lines();
    far.server = far.world.server();
    far.emit(&custom("second"));
    let following = follow(&far);
    following.wait_for_stdout("\"second\"");
    following.signal(Signal::INT);
    let ran = following.wait();
    assert_eq!(ran.code, Some(130), "{ran}");
    let seqs: Vec<_> = before.iter().chain(&ran.json_lines()).map(|event| event["seq"].as_u64()).collect();
    let last = seqs.last().copied().flatten().expect("a seq");
    assert!(seqs.iter().rev().zip((1..=last).rev()).all(|(seen, seq)| *seen == Some(seq)), "{seqs:?}");
}

#[test]
fn a_note_goes_to_the_named_server_or_nowhere() {
    let (far, near) = (Far::new(), World::new());
    near.hook(&crate::cli_basics::prompt("near", "of this machine"));
    let (url, token) = (far.url(), far.token_in(&near));
    let annotate = || {
        let token = token.to_str().expect("UTF-8");
        near.run(["annotate", "3", "seen from afar", "--json"].into_iter().chain([
            "--server",
            &url,
            "--token-file",
            token,
        ]))
    };
    // A data directory in the environment is what the flag overrules.
    let said = annotate().json();
    assert_eq!((&said["about"], &said["way"]), (&json!(3), &json!("server")));
    let noted = far.world.events(["--kind", "annotated", "--grep", "afar"]);
    assert_eq!(noted.len(), 1);
    assert_eq!((&noted[0]["seq"], &noted[0]["causation"]), (&said["seq"], &Value::Null), "{noted:?}");
    far.server.signal(Signal::KILL);
    let mut far = far;
    wait_for("its end", || (!far.server.is_alive()).then_some(()));
    let ran = annotate();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stderr.contains("cannot reach the server at"), "{ran}");
    let kinds: Vec<_> =
        near.events([]).iter().map(|event| event["kind"].as_str().map(str::to_owned)).collect();
    assert!(!kinds.contains(&Some("annotated".to_owned())), "{kinds:?}");
    let runs = kinds.iter().filter(|kind| kind.as_deref() == Some("cli_command_started")).count();
    assert_eq!(runs, 2, "the record of the runs stays here: {kinds:?}");
}

#[test]
fn what_works_on_this_machine_refuses_a_server_elsewhere() {
    let near = World::new();
    near.hook(&crate::cli_basics::prompt("near", "of this machine"));
    let token = private(&near, "token", &"a1".repeat(32));
    let (url, token) = ("http://127.0.0.1:9", token.to_str().expect("UTF-8"));
    let lines: &[&[&str]] = &[
        &["serve"],
        &["import"],
        &["gc"],
        &["backup", "copy"],
        &["init", "--user"],
        &["demo", "--once"],
        &["api-server", "--stop"],
        &["doctor"],
        &["config", "list"],
        &["update"],
        &["completions", "bash"],
        &["man"],
        &["internal", "session-started", "--instance-id", "x"],
    ];
    let named: Vec<_> = lines.iter().map(|line| line[0]).collect();
    for command in COMMANDS {
        assert_eq!(named.contains(&command.name), command.reach != Reach::Anywhere, "{}", command.name);
    }
    for line in lines {
        let command = COMMANDS.iter().find(|command| command.name == line[0]).expect("a command");
        let ran = near.run(line.iter().chain(&["--server", url, "--token-file", token]));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{line:?} {ran}");
        assert!(ran.stderr.contains("--server"), "{line:?} {ran}");
        if command.reach == Reach::Directory {
            let with = |command: &mut std::process::Command| {
                command.env("MNEMOSYNE_SERVER", url).env("MNEMOSYNE_TOKEN_FILE", token);
                Running::start(command).wait()
            };
            let ran = with(&mut near.command(line.iter()));
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{line:?} {ran}");
            assert!(ran.stderr.contains("MNEMOSYNE_SERVER names a server"), "{line:?} {ran}");
            let data = near.data();
            let data = data.to_str().expect("UTF-8");
            let ran = with(&mut near.command(line.iter().chain(&["--data-dir", data])));
            assert!(!ran.stderr.contains("MNEMOSYNE_SERVER"), "a flag overrules the environment: {ran}");
        }
    }
    let data = near.data();
    let data = data.to_str().expect("UTF-8");
    for (line, said) in [
        (&["events", "--server", url][..], "--token-file"),
        (&["events", "--token-file", token], "--server"),
        (&["events", "--server", url, "--token-file", token, "--data-dir", data], "two places"),
        (&["events", "--server", "https://127.0.0.1:3000", "--token-file", token], "ssh -N -L"),
        (&["events", "--server", "http://203.0.113.7:3000", "--token-file", token], "in the clear"),
    ] {
        let ran = near.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{line:?} {ran}");
        assert!(ran.stderr.contains(said), "{line:?} {ran}");
    }
}

#[test]
fn the_environment_names_a_server_too_and_hooks_and_servers_do_not_care() {
    let (far, near) = (Far::new(), World::new());
    let (url, token) = (far.url(), far.token_in(&near));
    let with = |args: &[&str]| {
        let mut command = near.bare_command(args);
        command.env("MNEMOSYNE_SERVER", &url).env("MNEMOSYNE_TOKEN_FILE", &token);
        command
    };
    let there = far.world.ok(["events"]).stdout;
    assert_eq!(Running::start(&mut with(&["events"])).wait().stdout, there);

    let data = near.data();
    let mut hook = with(&["--data-dir", data.to_str().expect("UTF-8"), "hook"]);
    hook.stdin(Stdio::piped());
    let mut hook = Running::start(&mut hook);
    hook.feed(crate::cli_basics::prompt("near", "of this machine").to_string().as_bytes());
    assert_eq!(hook.wait().code, Some(0));
    assert_eq!(near.inbox_len(), 1, "a hook leaves its event on this machine");

    let mut start = with(&["api-server", "--background", "--addr", "127.0.0.1:0", "--json"]);
    start.env("MNEMOSYNE_DATA_DIR", &data);
    let started = Running::start(&mut start).wait();
    let pid = started.json()["pid"].as_u64().expect("a pid");
    let environ = std::fs::read(format!("/proc/{pid}/environ")).expect("its environment");
    let mut stop = with(&["api-server", "--stop"]);
    stop.env("MNEMOSYNE_DATA_DIR", &data);
    assert_eq!(Running::start(&mut stop).wait().code, Some(0), "{started}");
    let environ = String::from_utf8_lossy(&environ);
    assert!(environ.contains("MNEMOSYNE_DATA_DIR=") && !environ.contains("MNEMOSYNE_SERVER"), "{environ}");
    assert!(!environ.contains("MNEMOSYNE_TOKEN_FILE"), "{environ}");
}

/// Hands every byte on, as `ssh -L` does.
fn tunnel(to: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(mut near), Ok(mut far)) = (near, TcpStream::connect(&to)) else { return };
            let (mut from_near, mut to_far) =
                (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
            std::thread::spawn(move || std::io::copy(&mut from_near, &mut to_far));
            std::thread::spawn(move || std::io::copy(&mut far, &mut near));
        }
    });
    addr
}

#[test]
fn through_a_tunnel_a_copy_of_server_json_says_what_the_server_wants_to_be_called() {
    let (far, near) = (Far::new(), World::new());
    let url = format!("http://{}", tunnel(far.server.addr.clone()));
    let runtime = std::fs::read_to_string(far.world.data().join("server.json")).expect("server.json");
    let copy = private(&near, "far.json", &runtime);
    let ask = |file: &std::path::Path| {
        near.run(["events", "--server", &url, "--token-file", file.to_str().expect("UTF-8")])
    };
    let there = far.world.ok(["events"]).stdout;
    let ran = ask(&copy);
    assert_eq!((ran.code, ran.stdout), (Some(0), there), "{}", ran.stderr);
    let ran = ask(&far.token_in(&near));
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("Host"), "{ran}");
}
