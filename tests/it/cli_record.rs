//! The wrapper from outside: what a run leaves on record, however it ends.

use crate::cli_basics::prompt;
use crate::support::{Running, World, kinds, wait_for};
use rustix::process::Signal;

/// The lifecycle events alone, oldest first.
fn lifecycle(world: &World) -> Vec<serde_json::Value> {
    world.events(["--category", "cli"])
}

#[test]
fn a_recorded_command_leaves_its_start_and_its_end() {
    let world = World::new();
    let empty = world.home().join("transcripts");
    std::fs::create_dir(&empty).expect("a directory");
    world.ok(["import", empty.to_str().expect("UTF-8")]);
    let events = lifecycle(&world);
    assert_eq!(kinds(&events), ["cli_command_started", "cli_command_completed"]);
    assert_eq!(events[0]["payload"]["command"], "import");
    assert_eq!(events[0]["payload"]["args"], serde_json::json!([empty]));
    assert_eq!(events[1]["correlation"], events[0]["correlation"]);
    assert_eq!(events[1]["causation"], events[0]["id"]);
    assert!(events[1]["payload"]["duration_ms"].is_u64());
    assert_eq!(events[1]["payload"]["result_summary"], "0 transcripts: 0 events added, 0 known already");
}

#[test]
fn a_failed_command_leaves_why_and_its_exit_code() {
    let world = World::new();
    world.hook(&prompt("s", "hello"));
    let ran = world.run(["import", "/nowhere/at/all"]);
    assert_eq!(ran.code, Some(3), "{ran}");
    let events = lifecycle(&world);
    assert_eq!(kinds(&events), ["cli_command_started", "cli_command_failed"]);
    assert_eq!(events[1]["payload"]["exit_code"], 3);
    assert!(events[1]["payload"]["error"].as_str().expect("words").contains("/nowhere/at/all"));
}

#[test]
fn commands_that_only_look_leave_nothing_unless_they_are_asked_to() {
    let world = World::new();
    world.hook(&prompt("s", "hello"));
    world.ok(["events"]);
    world.ok(["tail"]);
    assert_eq!(lifecycle(&world).len(), 0);
    world.ok(["tail", "--record", "-n", "1"]);
    let events = lifecycle(&world);
    assert_eq!(kinds(&events), ["cli_command_started", "cli_command_completed"]);
    assert_eq!(events[0]["payload"]["args"], serde_json::json!(["--record", "-n", "1"]));
}

#[test]
fn an_interrupted_command_is_on_record_with_130() {
    let world = World::new();
    world.hook(&prompt("s", "hello"));
    for signal in [Signal::INT, Signal::TERM] {
        let before = lifecycle(&world).len();
        let running = Running::start(&mut world.command(["tail", "-f", "--record"]));
        running.wait_for_stdout("prompt_submitted");
        running.signal(signal);
        let ran = running.wait();
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(130), ""), "{ran}");
        let events = lifecycle(&world).split_off(before);
        assert_eq!(kinds(&events), ["cli_command_started", "cli_command_failed"]);
        assert_eq!(events[1]["payload"]["exit_code"], 130);
    }
}

#[test]
fn a_command_that_is_killed_outright_is_ended_by_the_next_drain() {
    let world = World::new();
    world.server().kill();
    // Who only reads adds nothing of its own; the next server finds a start without an end, and no such process.
    assert_eq!(kinds(&lifecycle(&world)), ["cli_command_started"]);
    world.server().stop();
    let killed = lifecycle(&world).remove(0)["correlation"].clone();
    let events = wait_for("the inferred end", || {
        let mut events = lifecycle(&world);
        events.retain(|event| event["correlation"] == killed);
        (events.len() == 2).then_some(events)
    });
    assert_eq!(kinds(&events), ["cli_command_started", "cli_command_failed"]);
    assert_eq!(events[1]["payload"]["inferred"], true);
    assert_eq!(events[1]["correlation"], events[0]["correlation"]);
}

#[test]
fn a_server_that_is_asked_to_stop_has_done_its_work() {
    let world = World::new();
    world.server().stop();
    let mut events = world.events([]);
    // What the store says of itself has its own tests.
    events.retain(|event| event["category"] != "store");
    assert_eq!(
        kinds(&events),
        ["cli_command_started", "server_started", "server_stopped", "cli_command_completed"]
    );
    assert_eq!(events[0]["payload"]["command"], "api-server");
}

#[test]
fn recording_can_be_switched_off() {
    let world = World::new();
    let empty = world.home().join("transcripts");
    std::fs::create_dir(&empty).expect("a directory");
    for off in ["1", "true", "YES", "on"] {
        let mut command = world.command([std::ffi::OsStr::new("import"), empty.as_os_str()]);
        let ran = Running::start(command.env("MNEMOSYNE_DISABLE_EVENTS", off)).wait();
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    assert_eq!(lifecycle(&world).len(), 0);
    for on in ["0", "false", "no", "off", ""] {
        let mut command = world.command([std::ffi::OsStr::new("import"), empty.as_os_str()]);
        Running::start(command.env("MNEMOSYNE_DISABLE_EVENTS", on)).wait();
    }
    assert_eq!(lifecycle(&world).len(), 10);
}

#[test]
fn an_inbox_that_takes_nothing_fails_no_command() {
    let world = World::new();
    world.hook(&prompt("s", "hello"));
    let empty = world.home().join("transcripts");
    std::fs::create_dir(&empty).expect("a directory");
    world.ok(["events"]);
    let mark = world.data().join("inbox/full");
    // One deposit in 256 counts what waits, finds room and takes the mark away.
    for _ in 0..8 {
        // What an inbox at its cap looks like.
        std::fs::write(&mark, "").expect("a mark");
        let waiting = world.inbox_len();
        let ran = world.ok(["tail", "--record"]);
        assert_eq!(ran.stderr, "");
        if mark.exists() {
            assert_eq!(world.inbox_len(), waiting);
            return;
        }
    }
    panic!("the mark was never taken at its word");
}

#[test]
fn the_run_belongs_to_the_agent_session_that_ran_it_and_holds_no_secret() {
    let world = World::new();
    let secret = concat!("ghp_", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ2bC4dF6g");
    world.hook(&prompt("s", "hello"));
    let mut command = world.command(["events", "--record", "--grep", secret]);
    Running::start(command.env("CLAUDE_CODE_SESSION_ID", "agent-session-1")).wait();
    let events = lifecycle(&world);
    assert_eq!(events[0]["session"], "agent-session-1");
    assert_eq!(events[0]["instance"], "agent-session-1");
    let args = events[0]["payload"]["args"].to_string();
    assert!(args.contains("REDACTED") && !args.contains("aB3dE5"), "{args}");
}
