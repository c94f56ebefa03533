//! `internal session-started` and `session-ended`: one event with the agent's own hook of the same start, and two where
//! there are two starts.

use crate::life::{Home, fed, silent, started};
use crate::support::{Running, World, kinds, wait_for};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::{Command, Stdio};

const SESSION: &str = "8f2c1f0a-0d3e-4a55-9a3b-5f6f7a8b9c0d";

fn payload(hook: &str, why: &str) -> Value {
    let key = if hook == "SessionStart" { "source" } else { "reason" };
    json!({
        "session_id": SESSION, "hook_event_name": hook, "cwd": "/code/app", key: why,
        "transcript_path": "/nowhere/t.jsonl",
    })
}

/// One of the two ways in, with what an agent gives a hook.
fn way(world: &World, args: &[&str]) -> Command {
    let mut command = world.command(args);
    command.env("CLAUDE_PID", std::process::id().to_string()).env("CLAUDE_CODE_SESSION_ID", SESSION);
    command
}

/// Starts each of these with the payload on its stdin, all at once, and waits for all of them.
fn at_once(commands: Vec<Command>, payload: &Value) {
    let payload = payload.to_string();
    let running: Vec<Running> = commands
        .into_iter()
        .map(|mut command| {
            let mut running = Running::start(command.stdin(Stdio::piped()));
            running.feed(payload.as_bytes());
            running
        })
        .collect();
    for ran in running.into_iter().map(Running::wait) {
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{ran}");
    }
}

/// The events of sessions' starts and ends, in their order.
fn told(world: &World) -> Vec<Value> {
    world.events(["--kind", "session_*"])
}

const HOOK: &[&str] = &["hook"];
const STARTED: &[&str] = &["internal", "session-started"];
const ENDED: &[&str] = &["internal", "session-ended"];

#[test]
fn a_hook_and_a_script_of_one_start_are_one_event_each_of_many_times() {
    let world = World::new();
    for round in 1..=20 {
        at_once(vec![way(&world, HOOK), way(&world, STARTED)], &payload("SessionStart", "compact"));
        assert_eq!(told(&world).len(), round, "the start of round {round}");
    }
    at_once(vec![way(&world, ENDED), way(&world, HOOK)], &payload("SessionEnd", "logout"));
    let events = told(&world);
    assert_eq!((events.len(), events[20]["kind"].as_str()), (21, Some("session_ended")));
    let start = &events[0];
    assert_eq!(
        (
            &start["session"],
            &start["project"],
            &start["payload"]["source"],
            &start["payload"]["transcript_path"]
        ),
        (&json!(SESSION), &json!("project:app"), &json!("compact"), &json!("/nowhere/t.jsonl"))
    );
    assert!(!world.names_in("inbox").iter().any(|name| name.starts_with("meet-")), "no note stays behind");
}

#[test]
fn either_may_come_first_and_either_may_be_alone() {
    let world = World::new();
    for order in [[HOOK, STARTED], [STARTED, HOOK]] {
        for args in order {
            at_once(vec![way(&world, args)], &payload("SessionStart", "startup"));
        }
    }
    assert_eq!(told(&world).len(), 2, "two starts, each told twice");
    for alone in [HOOK, STARTED] {
        let world = World::new();
        at_once(vec![way(&world, alone)], &payload("SessionStart", "startup"));
        at_once(vec![way(&world, alone)], &payload("SessionStart", "compact"));
        let sources: Vec<Value> =
            told(&world).iter().map(|event| event["payload"]["source"].clone()).collect();
        assert_eq!(sources, ["startup", "compact"], "{alone:?}");
    }
}

/// The control: what makes two reports one is that they are of one session and one process.
#[test]
fn starts_of_two_processes_and_of_two_sessions_stay_apart() {
    let world = World::new();
    let mut other = way(&world, STARTED);
    other.env("CLAUDE_PID", "1");
    at_once(vec![way(&world, HOOK), other], &payload("SessionStart", "resume"));
    assert_eq!(told(&world).len(), 2);
    let mut elsewhere = payload("SessionStart", "resume");
    elsewhere["session_id"] = json!("another");
    at_once(vec![way(&world, STARTED)], &elsewhere);
    assert_eq!(told(&world).len(), 3);
}

#[test]
fn without_a_payload_the_session_is_named_by_the_flag_or_the_environment() {
    let world = World::new();
    let ran = world.ok(["internal", "session-started", "--instance-id", "the-instance"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let ran = Running::start(&mut way(&world, ENDED)).wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    let events = told(&world);
    assert_eq!(kinds(&events), ["session_started", "session_ended"]);
    assert_eq!((&events[0]["session"], &events[1]["session"]), (&json!("the-instance"), &json!(SESSION)));
    assert_eq!(world.run(["internal", "session-started"]).code, Some(2), "nobody says which session");
}

#[test]
fn what_is_no_payload_of_this_hook_is_refused_and_counted_with_its_reason_until_it_is_noted() {
    let world = World::new();
    let refused = |stdin: &str| {
        let ran = world.run_with_stdin(["internal", "session-started"], stdin.as_bytes());
        assert!(ran.code.is_some_and(|code| code > 0) && ran.stdout.is_empty(), "{ran}");
    };
    let counted = || std::fs::read(world.data().join("inbox/failed")).expect("the counter")[8];
    for (n, (stdin, why)) in [
        ("garbage", "its payload was not one whole JSON object"),
        ("[1]", "its payload was not one whole JSON object"),
        (
            r#"{"hook_event_name": "Stop", "session_id": "s"}"#,
            "its payload was of another hook than the script's",
        ),
    ]
    .iter()
    .enumerate()
    {
        refused(stdin);
        assert_eq!(usize::from(counted()), n + 1);
        for command in ["status", "doctor"] {
            let told = world.run([command]).stdout;
            assert!(told.contains(why), "{command}: {told}");
        }
    }
    assert_eq!(told(&world).len(), 0);
    // Who knows of them is not told for ever, and what fails later is told again.
    let fixed = world.run(["doctor", "--fix"]).stdout;
    assert!(fixed.contains("noted that you know: 3 events could not be kept whole"), "{fixed}");
    let told = || [world.run(["status"]).stdout, world.run(["doctor"]).stdout].concat();
    assert!(!told().contains("could not be kept"), "{}", told());
    assert_eq!(counted(), 3, "the count itself stays");
    refused("garbage");
    assert_eq!(told().matches("1 event could not be kept whole").count(), 2, "{}", told());
}

#[test]
fn its_run_is_on_record_and_its_help_is_not_shown() {
    let world = World::new();
    at_once(vec![way(&world, STARTED)], &payload("SessionStart", "startup"));
    let events = world.events([]);
    let mut found = kinds(&events);
    found.sort_unstable();
    found.retain(|kind| kind.starts_with("cli_") || kind.starts_with("session_"));
    assert_eq!(found, ["cli_command_completed", "cli_command_started", "session_started"]);
    assert!(!world.ok(["--help"]).stdout.contains("internal"));
}

/// What a script calls at a session's start, free to start a server unless `switch` says otherwise.
fn start_of(home: &Home, session: &str, switch: Option<&str>) {
    let mut command = home.world.command(STARTED);
    match switch {
        Some(word) => command.env("MNEMOSYNE_DISABLE_AUTO_START_API", word),
        None => command.env_remove("MNEMOSYNE_DISABLE_AUTO_START_API"),
    };
    silent(&fed(&mut command, &started(session)));
}

#[test]
fn a_session_that_a_script_tells_of_starts_a_server_unless_it_is_told_not_to() {
    for (n, word) in ["true", "1", "Yes", "on"].into_iter().enumerate() {
        let home = Home::new();
        start_of(&home, "one", Some(word));
        // The file of the last start is written before anything is started.
        assert_eq!((home.last_start(), home.runtime()), (None, None), "{n}: {word}");
        assert_eq!(home.processes(), [0; 0], "{word}");
        assert_eq!(home.world.events(["--kind", "session_started"]).len(), 1, "it is on record all the same");
    }
    // The control.
    for word in [None, Some("false"), Some("0"), Some("no"), Some("")] {
        let home = Home::new();
        start_of(&home, "one", word);
        let server = home.server();
        assert_eq!(server.get("/health").status, 200, "{word:?}");
        wait_for("the event", || (home.world.events(["--kind", "session_started"]).len() == 1).then_some(()));
    }
}

#[test]
fn a_server_that_nobody_asked_for_listens_where_config_set_says() {
    // Free a moment ago, and asked for by nobody else.
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("its address").to_string()
    };
    let home = Home::with_config("");
    home.world.ok(["config", "set", "server.addr", "127.0.0.1:0"]);
    start_of(&home, "one", None);
    let server = home.server();
    let (ip, port) = server.addr.rsplit_once(':').expect("an address");
    assert_eq!(ip, "127.0.0.1");
    assert!(!["0", "3000"].contains(&port), "a free one: {port}");
    assert_eq!(server.get("/health").status, 200);
    home.stop();

    let fixed = free();
    home.world.ok(["config", "set", "server.addr", &fixed]);
    start_of(&home, "two", None);
    let server = home.server();
    assert_eq!(server.addr, fixed);
    assert_eq!(server.get("/health").status, 200);
    home.stop();

    // The control: it is the setting that it followed.
    home.world.ok(["config", "set", "server.addr", "127.0.0.1:0"]);
    start_of(&home, "three", None);
    assert_ne!(home.server().addr, fixed);
}
