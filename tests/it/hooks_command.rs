//! The `hook` command from outside: silent, successful and quick to forget about, whatever it is given; what it could not keep
//! is counted.

use crate::cli_basics::prompt;
use crate::support::{Ran, Running, World};
use serde_json::{Value, json};
use std::process::Stdio;

/// The count in `inbox/failed`: eight bytes, little-endian, after the magic.
fn failures(world: &World) -> u64 {
    let block = std::fs::read(world.data().join("inbox/failed")).expect("the counter is there");
    u64::from_le_bytes(block[8..16].try_into().expect("eight bytes"))
}

#[track_caller]
fn silent(ran: &Ran) {
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{ran}");
}

fn payload() -> Value {
    json!({"session_id": "s", "hook_event_name": "Stop", "cwd": "/code/parcels"})
}

fn call(response: &str) -> Value {
    json!({"session_id": "s", "hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_use_id": "t1", "tool_response": {"stdout": response}})
}

#[test]
fn a_hook_makes_its_data_directory_and_leaves_one_event_there() {
    let world = World::new();
    let elsewhere = world.home().join("not/yet/there");
    let mut command = world.bare_command(["hook", "--data-dir"]);
    command.arg(&elsewhere).stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(payload().to_string().as_bytes());
    silent(&running.wait());
    let events =
        world.ok(["events", "--json", "--data-dir", elsewhere.to_str().expect("UTF-8")]).json_lines();
    let own: Vec<_> = events.iter().filter(|event| event["kind"] == "turn_completed").collect();
    assert_eq!(own.len(), 1, "{events:?}");
    assert_eq!(
        (own[0]["session"].as_str(), own[0]["project"].as_str()),
        (Some("s"), Some("project:parcels"))
    );
}

#[test]
fn what_is_no_payload_is_counted_and_nothing_is_said() {
    let world = World::new();
    for (n, stdin) in [&b""[..], b"garbage", b"[1, 2]", b"\xff\xfe\x00", b"{\"a\":"].iter().enumerate() {
        silent(&world.run_with_stdin(["hook"], stdin));
        assert_eq!(failures(&world), n as u64 + 1);
    }
    assert_eq!(world.inbox_len(), 0);
}

#[test]
fn half_a_character_costs_a_payload_nothing_but_itself() {
    let world = World::new();
    let head = r#"{"session_id":"s","hook_event_name":"PostToolUse","tool_name":"Bash","#;
    for (n, (before, cut, left)) in [
        (&b""[..], &br"cut \ud83d"[..], "cut \u{fffd}"),
        (b"", b"cut \xe9", "cut \u{fffd}"),
        (b"", br"\ude00 and \ud83d\ude00", "\u{fffd} and \u{1f600}"),
        (b"\xef\xbb\xbf", b"marked", "marked"),
    ]
    .into_iter()
    .enumerate()
    {
        let tail = format!(r#""tool_use_id":"t{n}","tool_response":{{"stdout":""#);
        let payload = [before, head.as_bytes(), tail.as_bytes(), cut, b"\"}}"].concat();
        silent(&world.run_with_stdin(["hook"], &payload));
        let events = world.events(["--kind", "tool_call_completed"]);
        assert_eq!(events.len(), n + 1, "{left}: {events:?}");
        assert_eq!(events[n]["payload"]["output"]["stdout"], left);
    }
    assert_eq!((failures(&world), world.events(["--kind", "agent_event"]).len()), (0, 0));
    // The control: what also breaks off is a failure as before.
    silent(&world.run_with_stdin(["hook"], format!(r#"{head}"tool_response":"cut \ud83d"#).as_bytes()));
    assert_eq!((failures(&world), world.events(["--kind", "agent_event"]).len()), (1, 1));
}

#[test]
fn a_hook_with_no_stdin_at_all_is_counted() {
    let world = World::new();
    // A shell closes the descriptor; what a parent gives as stdin is otherwise always open.
    let program = env!("CARGO_BIN_EXE_mnemosyne");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$0\" hook <&- >&- 2>&-", program]);
    command.env("MNEMOSYNE_DATA_DIR", world.data()).stdout(Stdio::piped()).stderr(Stdio::piped());
    silent(&Running::start(&mut command).wait());
    assert_eq!(failures(&world), 1);
}

#[test]
fn a_wrong_argument_is_counted_and_the_payload_is_kept() {
    let world = World::new();
    for (n, arguments) in
        [&["hook", "--bogus"][..], &["--bogus", "hook"], &["hook", "now"], &["hook", "--help"]]
            .iter()
            .enumerate()
    {
        silent(&world.run_with_stdin(arguments.iter(), payload().to_string().as_bytes()));
        assert_eq!((failures(&world), world.inbox_len()), (n as u64 + 1, n + 1), "{arguments:?}");
    }
}

#[test]
fn a_payload_over_the_limit_is_counted_and_its_head_is_kept() {
    let world = World::new();
    let long = call(&"x".repeat(17 * 1024 * 1024)).to_string();
    silent(&world.run_with_stdin(["hook"], long.as_bytes()));
    assert_eq!(failures(&world), 1);
    let events = world.events(["--kind", "agent_event"]);
    assert_eq!(events.len(), 1);
    let data = &events[0]["payload"]["data"];
    assert_eq!((data["tool_use_id"].as_str(), data["broken_off"].as_bool()), (Some("t1"), Some(true)));
}

#[test]
fn a_payload_within_the_limit_is_cut_to_the_cap_and_says_so() {
    let world = World::new();
    let long = "line of output\n".repeat(700_000);
    world.hook(&call(&long));
    let events = world.events(["--kind", "tool_call_completed"]);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["cut"][0]["pointer"], "/output/stdout");
    assert_eq!(events[0]["cut"][0]["bytes"].as_u64(), Some(long.len() as u64));
    assert!(events[0].to_string().len() < 80_000);
    assert_eq!(failures(&world), 0);
}

#[test]
fn a_secret_in_a_payload_reaches_no_disk() {
    let world = World::new();
    let secret = "ghp_x7Qm2VtR9bLk4ZsW1nYc8PdH3fJg6TaU5eMo";
    world.hook(&call(&format!("token: {secret}")));
    let events = world.events(["--kind", "tool_call_completed"]);
    assert!(
        events[0]["payload"]["output"]["stdout"].as_str().is_some_and(|text| text.contains("***REDACTED***"))
    );
    let found = std::process::Command::new("grep")
        .args(["-r", "-c", secret])
        .arg(world.data())
        .output()
        .expect("grep");
    assert_eq!(found.status.code(), Some(1), "{}", String::from_utf8_lossy(&found.stdout));
    // The control: what is not secret is there to be found by the same search.
    let control = std::process::Command::new("grep")
        .args(["-r", "-q", "REDACTED"])
        .arg(world.data())
        .output()
        .expect("grep");
    assert_eq!(control.status.code(), Some(0));
}

#[test]
fn a_directory_that_cannot_be_made_costs_nobody_anything() {
    let world = World::new();
    let file = world.home().join("file");
    std::fs::write(&file, "").expect("written");
    for place in [file.join("data"), "/proc/none".into(), "/dev/null".into()] {
        let mut command = world.bare_command(["hook", "--data-dir"]);
        command.arg(&place).stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        running.feed(payload().to_string().as_bytes());
        silent(&running.wait());
    }
}

#[test]
fn an_inbox_that_takes_nothing_more_is_counted() {
    let world = World::new();
    world.hook(&payload());
    // One call in 256 counts what waits, finds room and takes the mark away.
    for _ in 0..8 {
        // The mark that an inbox at its cap carries.
        std::fs::write(world.data().join("inbox/full"), "").expect("written");
        let waiting = world.inbox_len();
        world.hook(&payload());
        if world.inbox_len() == waiting {
            break;
        }
    }
    assert_eq!(failures(&world), 1);
    assert!(world.data().join("inbox/full").exists(), "the mark is taken at its word");
}

#[test]
fn a_user_configuration_that_cannot_be_read_costs_no_event() {
    let world = World::new();
    std::fs::create_dir_all(world.home().join(".config/mnemosyne")).expect("made");
    std::fs::write(world.home().join(".config/mnemosyne/config.toml"), "no = [toml").expect("written");
    let mut command = world.bare_command(["hook"]);
    command.env("CLAUDE_PROJECT_DIR", world.home()).stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(payload().to_string().as_bytes());
    silent(&running.wait());
    let inbox = world.home().join(".local/share/mnemosyne/inbox");
    let block = std::fs::read(inbox.join("failed")).expect("counted where the event went");
    assert_eq!(block[8], 1);
    assert_eq!(std::fs::read_dir(inbox).expect("listed").count(), 2, "the counter and the event");
}

#[test]
fn with_events_disabled_nothing_is_recorded_nor_made() {
    let world = World::new();
    let mut command = world.command(["hook"]);
    command.env("MNEMOSYNE_DISABLE_EVENTS", "true").stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(payload().to_string().as_bytes());
    silent(&running.wait());
    assert!(!world.data().exists());
    // The control: a word that is neither yes nor no does not cost an event.
    let mut command = world.command(["hook"]);
    command.env("MNEMOSYNE_DISABLE_EVENTS", "perhaps").stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(payload().to_string().as_bytes());
    silent(&running.wait());
    assert_eq!(world.inbox_len(), 1);
}

#[test]
fn a_plugin_stands_aside_where_the_settings_register_the_same_hook() {
    let world = World::new();
    let settings = json!({"hooks": {"Stop": [{"matcher": "*", "hooks": [{"type": "command", "command": "mnemosyne", "args": ["hook"]}]}]}});
    std::fs::create_dir_all(world.home().join(".claude")).expect("made");
    std::fs::write(world.home().join(".claude/settings.json"), settings.to_string()).expect("written");
    silent(&world.run_with_stdin(["hook", "--plugin"], payload().to_string().as_bytes()));
    assert_eq!(world.inbox_len(), 0, "the settings' call records it");
    silent(&world.run_with_stdin(["hook"], payload().to_string().as_bytes()));
    silent(&world.run_with_stdin(["hook", "--plugin"], call("ok").to_string().as_bytes()));
    assert_eq!(world.inbox_len(), 2, "a hook that only the plugin registers is the plugin's");
}

#[test]
fn a_hook_neither_takes_the_lock_nor_asks_the_server() {
    let world = World::new();
    world.hook(&payload());
    // Held by another process of this test's choosing: a hook that waited for it would not end.
    let lock = std::fs::File::create(world.data().join("lock")).expect("made");
    lock.lock().expect("taken");
    let start = std::time::Instant::now();
    world.hook(&payload());
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
    assert_eq!(world.inbox_len(), 2);
}

#[test]
fn a_sound_inbox_takes_the_event_whatever_else_is_wrong_with_the_directory() {
    let world = World::new();
    world.hook(&prompt("one", "before"));
    for name in ["journal", "snapshots", "index"] {
        let place = world.data().join(name);
        std::fs::remove_dir_all(&place).expect("removed");
        std::fs::write(&place, "planted").expect("written");
    }
    std::fs::remove_file(world.data().join(".gitignore")).expect("removed");
    let started =
        json!({"session_id": "one", "hook_event_name": "SessionStart", "source": "startup", "cwd": "/"});
    world.hook(&started);
    world.hook(&prompt("one", "after"));
    assert_eq!(world.inbox_len(), 3);
    let failed = std::fs::read(world.data().join("inbox/failed")).expect("the counter");
    assert_eq!(failed[8..16], [0; 8], "nothing was lost, so nothing is counted");
    // The control: what is no inbox takes nothing.
    let elsewhere = world.home().join("elsewhere");
    std::fs::rename(world.data().join("inbox"), &elsewhere).expect("moved");
    let before = std::fs::read_dir(&elsewhere).expect("a directory").count();
    std::os::unix::fs::symlink(&elsewhere, world.data().join("inbox")).expect("a link");
    world.hook(&prompt("one", "behind a link"));
    assert_eq!(std::fs::read_dir(&elsewhere).expect("a directory").count(), before);
}
