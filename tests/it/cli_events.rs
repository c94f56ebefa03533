//! `events`: every filter and range, offline and beside a server, and what damage looks like.

use crate::cli_basics::prompt;
use crate::cli_elsewhere::private;
use crate::support::{Running, World, kinds, wait_for};
use serde_json::{Value, json};

/// A world with a small recorded history: two sessions, a tool call, a subagent's event, a notification.
fn recorded() -> World {
    let world = World::new();
    let hook = |session: &str, name: &str, more: Value| {
        let mut payload = json!({
            "session_id": session, "transcript_path": "/nowhere/t.jsonl", "cwd": "/code/parcels",
            "hook_event_name": name,
        });
        for (key, value) in more.as_object().expect("an object") {
            payload[key] = value.clone();
        }
        world.hook(&payload);
    };
    hook("one", "SessionStart", json!({"source": "startup"}));
    hook("one", "UserPromptSubmit", json!({"prompt": "count the needles"}));
    hook(
        "one",
        "PreToolUse",
        json!({"tool_name": "Bash", "tool_use_id": "t1", "tool_input": {"command": "ls"}}),
    );
    hook(
        "one",
        "PostToolUse",
        json!({"tool_name": "Bash", "tool_use_id": "t1", "tool_input": {"command": "ls"},
        "tool_response": {"stdout": "a haystack"}}),
    );
    hook("two", "SessionStart", json!({"source": "startup", "cwd": "/code/letters"}));
    hook("two", "SubagentStart", json!({"agent_id": "helper-1", "agent_type": "Explore"}));
    hook("two", "SessionEnd", json!({"reason": "other"}));
    world
}

fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

#[test]
fn all_of_them_oldest_first_one_object_a_line() {
    let world = recorded();
    let events = world.events([]);
    assert_eq!(
        kinds(&events),
        [
            "session_started",
            "prompt_submitted",
            "tool_call_started",
            "tool_call_completed",
            "session_started",
            "subagent_started",
            "session_ended",
        ]
    );
    assert_eq!(seqs(&events), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn for_people_each_is_a_line_with_its_seq_and_what_happened() {
    let world = recorded();
    let text = world.ok(["events"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7);
    assert!(lines[1].trim_start().starts_with("2 ") && lines[1].contains("prompt_submitted"), "{text}");
}

#[test]
fn each_filter_leaves_what_it_says() {
    let world = recorded();
    for (args, expected) in [
        (&["--session", "two"][..], &[5, 6, 7][..]),
        (&["--kind", "tool_call_*"], &[3, 4]),
        (&["--kind", "session_ended,prompt_submitted"], &[2, 7]),
        (&["--category", "session"], &[1, 5, 7]),
        (&["--grep", "needles"], &[2]),
        (&["--min-importance", "8"], &[1, 5, 7]),
        (&["--agent", "helper-1"], &[6]),
        (&["--project", "project:letters"], &[5]),
        (&["--session", "one", "--category", "agent"], &[2, 3, 4]),
    ] {
        assert_eq!(seqs(&world.events(args.iter().copied())), expected, "{args:?}");
    }
}

#[test]
fn a_range_of_seqs_and_a_limit_that_counts_matches() {
    let world = recorded();
    assert_eq!(seqs(&world.events(["--from", "6"])), [6, 7]);
    assert_eq!(seqs(&world.events(["--from", "8"])), [0; 0]);
    assert_eq!(seqs(&world.events(["--limit", "2"])), [1, 2]);
    assert_eq!(seqs(&world.events(["--limit", "2", "--session", "two"])), [5, 6]);
    for (args, note) in [
        (&["events", "--project", "nonesuch"][..], true),
        (&["events", "--from", "8"], true),
        (&["events"], false),
    ] {
        let ran = world.ok(args.iter().copied());
        assert_eq!(ran.stderr.contains("no event on record matches"), note, "{args:?}: {ran}");
    }
    for args in [
        &["events", "--from", "6", "--until", "5"][..],
        &["events", "--since", "2026-01-02", "--until", "2026-01-01"],
        &["tail", "--from", "6", "--until", "5"],
        &["replay", "one", "--speed", "max", "--from", "6", "--until", "5"],
        &["stats", "--since", "2026-01-02", "--until", "2026-01-01"],
    ] {
        let ran = world.run(args.iter().copied());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {ran}");
    }
    let place = world.run(["events", "--until", "yesterday"]);
    assert!(place.stderr.contains("--until takes a seq like 412, or a time like"), "{place}");
    let beyond = world.run(["events", "--from", "9"]);
    assert_eq!(beyond.code, Some(3), "{beyond}");
    assert!(beyond.stderr.contains("last seq 7"), "{beyond}");
}

#[test]
fn since_and_until_go_by_when_the_journal_took_it() {
    let world = recorded();
    let events = world.events([]);
    let recorded = |n: usize| events[n]["recorded"].as_str().expect("a time");
    // What one drain took in has one time.
    let (first, last) = (recorded(0), recorded(6));
    assert_eq!(world.events(["--since", first]).len(), 7);
    assert_eq!(world.events(["--until", last]).len(), 7);
    assert_eq!(world.events(["--since", "1h"]).len(), 7);
    assert_eq!(world.events(["--until", "1h"]).len(), 0);
    assert_eq!(world.events(["--since", "2020-01-01"]).len(), 7);
    assert_eq!(world.events(["--until", "2020-01-01"]).len(), 0);
    let wrong = world.run(["events", "--since", "yesterday"]);
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert!(wrong.stderr.contains("--since takes a time like"), "{wrong}");
}

#[test]
fn a_filter_that_does_not_exist_is_a_usage_error() {
    let world = recorded();
    for args in [
        ["events", "--category", "nonsense"],
        ["events", "--min-importance", "11"],
        ["events", "--kind", "[unclosed"],
        ["events", "--limit", "many"],
        ["events", "--from", "-1"],
    ] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {ran}");
    }
}

#[test]
fn beside_a_server_the_answer_is_the_same() {
    let world = recorded();
    let before = world.events(["--limit", "7"]);
    let server = world.server();
    assert_eq!(world.events(["--limit", "7"]), before);
    assert_eq!(before, {
        let answer = server.get("/events?limit=7").json();
        answer["events"].as_array().expect("a page").clone()
    });
    server.stop();
}

#[test]
fn damage_is_shown_in_its_place_everything_else_is_printed_and_the_exit_code_is_4() {
    let world = recorded();
    // Later batches prove that the damaged one had been durable.
    assert_eq!(world.events([]).len(), 7);
    world.hook(&prompt("three", "later"));
    assert_eq!(world.events([]).len(), 8);
    let journal = world.data().join("journal");
    let segment = std::fs::read_dir(&journal)
        .expect("the journal")
        .map(|item| item.expect("a file").path())
        .find(|path| path.extension().is_some_and(|e| e == "seg"))
        .expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("its bytes");
    let needle = b"count the needles";
    let at = bytes.windows(needle.len()).position(|window| window == needle).expect("the prompt");
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).expect("one flipped bit");

    let ran = world.run(["events", "--json"]);
    assert_eq!(ran.code, Some(4), "{ran}");
    let lines = ran.json_lines();
    assert_eq!(lines[0]["seq"], 1);
    assert_eq!(lines[1], json!({"gap": {"from_seq": 2, "to_seq": 2, "reason": "corruption"}}));
    let rest: Vec<u64> = lines[2..].iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(rest[..6], [3, 4, 5, 6, 7, 8]);
    assert!(ran.stderr.contains("seq 2 cannot be read"), "{ran}");

    let text = world.run(["events"]);
    assert_eq!(text.code, Some(4), "{text}");
    assert!(text.stdout.contains("seq 2 cannot be read (corruption)"), "{text}");
    assert_eq!(world.run(["tail"]).code, Some(4));

    // What led to an event is told, and that its cause may be what cannot be read.
    let why = world.run(["why", "3"]);
    assert!(why.code == Some(4) && why.stderr.contains("a cause may be among them"), "{why}");
    let why = world.run(["why", "2"]);
    assert!(
        why.code == Some(3) && why.stderr.contains("a readable event 2 does not exist: it is damaged"),
        "{why}"
    );
    // The damage was met, and that is on record now: seq 9, once.
    let beyond = world.run(["why", "900"]);
    assert!(
        beyond.code == Some(3) && beyond.stderr.contains("an event 900 does not exist: the last one is 9"),
        "{beyond}"
    );
    let sessions = world.run(["sessions"]);
    assert!(sessions.stderr.contains("event 2 is damaged and does not count here"), "{sessions}");

    // A saved state that was folded over it does not make it whole, here or at a server.
    let server = world.server();
    let (url, token) = (format!("http://{}", server.addr), private(&world, "token", &server.token));
    let far = ["--server", &url, "--token-file", token.to_str().expect("UTF-8")];
    for command in [&["sessions"][..], &["state", "sessions"]] {
        let ran = world.run([command, &far].concat());
        assert!(ran.code == Some(4) && ran.stderr.contains("1 event could not be read"), "{ran}");
    }
    server.signal(rustix::process::Signal::TERM);
    server.wait();
    assert!(!world.names_in("snapshots").is_empty());
    for command in [&["sessions"][..], &["state", "sessions"], &["state", "health"]] {
        let ran = world.run(command);
        assert!(ran.code == Some(4) && ran.stderr.contains("1 event could not be read"), "{ran}");
    }
    assert_eq!(world.run(["sessions", "--json"]).json()["missing"], 1);
}

#[test]
fn events_of_an_unknown_kind_and_hostile_text_reach_no_terminal_raw() {
    let world = World::new();
    world.hook(&prompt("s", "clear \u{1b}[2J the screen \u{202e}now"));
    let text = world.ok(["events", "--color", "never"]).stdout;
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
    let json = world.events([]);
    assert_eq!(json[0]["payload"]["prompt"], "clear \u{1b}[2J the screen \u{202e}now");
}

#[test]
fn a_copied_directory_shows_the_same() {
    let world = recorded();
    let original = world.events([]);
    let copy = World::new();
    copy_tree(&world.data(), &copy.data());
    assert_eq!(copy.events([]), original);
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).expect("a directory");
    for item in std::fs::read_dir(from).expect("a listing") {
        let item = item.expect("an item");
        let target = to.join(item.file_name());
        if item.file_type().expect("its type").is_dir() {
            copy_tree(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).expect("a copy");
        }
    }
}

#[test]
fn what_waits_in_the_inbox_while_another_holds_the_journal_is_told() {
    let world = recorded();
    assert_eq!(world.events([]).len(), 7);
    let server = world.server();
    server.signal(rustix::process::Signal::STOP);
    world.hook(&prompt("s", "while the server stands still"));
    let ran = Running::start(&mut world.command(["events"])).wait();
    server.signal(rustix::process::Signal::CONT);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("1 event in the inbox not shown"), "{ran}");
    let quiet = world.ok(["events", "--quiet"]);
    assert_eq!(quiet.stderr, "");
    server.stop();
}

/// The lists show eight characters of an id; what they show has to find something.
#[test]
fn the_beginning_of_a_sessions_id_is_enough_where_it_means_one() {
    let world = recorded();
    let whole = world.events(["--session", "one"]);
    assert_eq!((whole.len(), world.events(["--session", "on"])), (4, whole));
    let tail = world.ok(["tail", "--session", "on", "--json"]).json_lines();
    assert_eq!(tail.len(), 4);

    world.hook(&prompt("other", "a second one with an o"));
    let ran = world.run(["events", "--session", "o"]);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("several sessions begin with `o`: one, other"), "{ran}");
    for args in [&["events", "--session", "three"][..], &["tail", "--session", "three"]] {
        let ran = world.run(args);
        assert!(
            ran.code == Some(3) && ran.stderr.contains("a session `three` does not exist"),
            "{args:?}: {ran}"
        );
    }
    // Who follows waits for a session that may come.
    let follower = Running::start(&mut world.command(["tail", "-f", "--session", "three", "--json"]));
    wait_for("the note", || {
        follower.stderr().contains("no session on record is or begins with `three`").then_some(())
    });
    world.hook(&prompt("three", "here it is"));
    follower.wait_for_stdout("here it is");
    follower.kill();
}

#[test]
fn what_happened_on_another_day_is_shown_with_its_date() {
    let world = World::new();
    world.hook(&prompt("s", "today's"));
    let transcript = world.home().join("old.jsonl");
    let line = json!({"type": "user", "uuid": "00000000-0000-4000-8000-000000000001", "sessionId": "old", "cwd": "/code",
        "timestamp": "2025-03-05T12:00:00.000Z", "message": {"role": "user", "content": "long ago"}});
    std::fs::write(&transcript, format!("{line}\n")).expect("written");
    world.ok(["import", transcript.to_str().expect("a path of UTF-8")]);
    let shown = world.ok(["events", "--kind", "prompt_submitted"]).stdout;
    let (today, old) = shown.trim_end().split_once('\n').expect("two lines");
    assert!(old.contains("  2025-03-05 ") && old.contains("long ago"), "{old}");
    assert!(!today.contains("20") || !today.contains('-'), "today's has its time alone: {today}");
}

#[test]
fn json_holds_no_character_that_a_terminal_obeys_and_the_same_values() {
    let world = World::new();
    let hostile = "\u{9b}31m\u{202e}evil\u{200b}";
    world.hook(&prompt("s", hostile));
    for args in [["events", "--json"], ["tail", "--json"], ["sessions", "--json"]] {
        let ran = world.ok(args);
        assert!(ran.stdout.contains("\\u009b31m\\u202eevil\\u200b"), "{ran}");
        assert!(!ran.stdout.trim_end().chars().any(|c| c.is_control() || hostile.starts_with(c)), "{ran}");
    }
    assert_eq!(world.events([])[0]["payload"]["prompt"], hostile);
}

#[test]
fn a_kind_that_there_is_not_is_a_usage_error_here_and_over_http() {
    let world = World::new();
    let server = world.server();
    for command in [["events", "--kind", "tool_cal_started"], ["tail", "--kind", "tool_cal_started"]] {
        let ran = world.run(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
        assert!(ran.stderr.contains("did you mean `tool_call_started`?"), "{ran}");
    }
    for path in ["/events", "/events/stream"] {
        let answer = server.get(&format!("{path}?kind=tool_cal_started"));
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "invalid_parameter"));
        assert!(answer.text().contains("did you mean `tool_call_started`?"), "{}", answer.text());
    }
}

#[test]
fn where_the_journal_has_no_room_that_is_said_of_what_waits() {
    let world = World::new();
    std::fs::create_dir_all(world.data()).expect("the data directory");
    let config = "[journal]\nsegment_bytes = 65536\n[disk]\nmax_bytes = 16777216\n";
    std::fs::write(world.data().join("config.toml"), config).expect("a configuration");
    let server = world.server();
    let custom = |bytes| json!({"kind": "custom", "payload": {"name": "load", "data": "x".repeat(bytes)}});
    assert_eq!(server.post("/events/emit", &custom(10).to_string()).status, 200);
    // What was set aside counts: it takes all that the limit allows.
    let aside = world.data().join("journal/quarantine");
    std::fs::create_dir_all(&aside).expect("a directory");
    std::fs::write(aside.join("00000000000000000001-0000000128.torn"), vec![1; 17 << 20]).expect("a file");
    let mut status = 200;
    for _ in 0..40 {
        status = server.post("/events/emit", &custom(60_000).to_string()).status;
        if status != 200 {
            break;
        }
    }
    assert_eq!(status, 507, "the limit is reached");
    let ran = world.run(["annotate", "1", "why is it full?"]);
    assert!(ran.stdout.contains("waits in the inbox: the journal has no room for it"), "{ran}");
    assert!(!format!("{ran}").contains("another process"), "{ran}");
    let ran = world.run(["events", "--limit", "1"]);
    let words = "in the inbox not shown: the journal has no room for them: disk.max_bytes is reached";
    assert!(ran.stderr.contains(words), "{ran}");
    server.stop();
}
