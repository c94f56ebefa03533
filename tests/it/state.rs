//! `state` and `GET /state/{projection}`: the same answer from the command line, over HTTP, now and as of a seq.

use crate::cli_basics::prompt;
use crate::support::World;
use serde_json::{Value, json};

fn world(prompts: usize) -> World {
    let world = World::new();
    for n in 0..prompts {
        world.hook(&prompt("s-1", &format!("prompt {n}")));
    }
    world.ok(["events"]);
    world
}

#[test]
fn the_state_of_every_projection_is_shown_as_of_any_seq() {
    let world = world(3);
    for projection in ["sessions", "health", "orchestrator", "commands", "agents", "notes"] {
        let now = world.ok(["state", projection, "--json"]).json();
        assert_eq!((now["version"].as_u64(), now["projection"].as_str()), (Some(1), Some(projection)));
        let last = now["seq"].as_u64().expect("a seq");
        assert_eq!(world.ok(["state", projection, "--json", "--at", &last.to_string()]).json(), now);
        let before = world.ok(["state", projection, "--json", "--at", "0"]).json();
        assert_eq!(before["seq"].as_u64(), Some(0));
        assert_eq!(world.ok(["state", projection, "--json", "--at", "2000-01-01"]).json(), before);
    }
    let earlier = world.ok(["state", "sessions", "--json", "--at", "1"]).json();
    assert_ne!(earlier["hash"], world.ok(["state", "sessions", "--json"]).json()["hash"]);
    assert!(world.ok(["state", "sessions"]).stdout.starts_with("sessions at seq "));
}

#[test]
fn what_does_not_exist_is_refused_with_the_next_step() {
    let world = world(1);
    let unknown = world.run(["state", "sesions"]);
    assert_eq!(unknown.code, Some(3));
    assert!(unknown.stderr.contains("did you mean `sessions`?"), "{}", unknown.stderr);
    let beyond = world.run(["state", "sessions", "--at", "999"]);
    assert_eq!(beyond.code, Some(3));
    assert!(beyond.stderr.contains("last seq"), "{}", beyond.stderr);
}

/// For people `state agents` is the list of who lives, and `state orchestrator` the runs with their items, not the tables that the folds keep.
#[test]
fn agents_and_runs_are_shown_to_people_as_such() {
    let world = world(1);
    let item = "0190a5c2-7d1e-7000-8000-00000000000a";
    let plan = "0190a5c2-7d1e-7000-8000-0000000000bb";
    let server = world.server();
    let body = json!([
        {"kind": "orchestration_started", "correlation": plan, "payload": {"plan_description": "a plan", "max_concurrent": 2}},
        {"kind": "work_item_assigned", "correlation": plan,
            "payload": {"agent": "worker", "item_id": item, "description": "the work", "phase": "build"}},
    ]);
    assert_eq!(server.post("/events/emit", &body.to_string()).status, 200);
    server.stop();
    let agents = world.ok(["state", "agents"]).stdout;
    assert!(agents.contains("session  \"s-1\"") || agents.contains("session  s-1"), "{agents}");
    assert!(agents.contains("presumed_dead  false") && !agents.contains("ends_kept"), "{agents}");
    assert!(
        agents.lines().any(|line| line.trim_start().starts_with("last  ") && line.contains(", seq 1")),
        "{agents}"
    );
    let runs = world.ok(["state", "orchestrator"]).stdout;
    assert!(runs.contains("the work") && runs.contains("max_concurrent  2"), "{runs}");
    assert!(!runs.contains("by_start"), "{runs}");
    // As JSON it stays the state.
    assert!(world.ok(["state", "agents", "--json"]).json()["state"]["ends"].is_object());
}

/// For people `state health` and `state commands` are figures in words, the latest hours and days, not histograms and registers.
#[test]
fn health_and_commands_are_shown_to_people_as_figures() {
    let world = world(1);
    let server = world.server();
    let run = "0190a5c2-7d1e-7000-8000-0000000000cc";
    let again = "0190a5c2-7d1e-7000-8000-0000000000dd";
    let body = json!([
        {"kind": "tool_call_failed", "session": "s-1", "payload":
            {"tool": "Bash", "tool_use_id": "t1", "error": "Exit code 1", "interrupted": false}},
        {"kind": "cli_command_started", "correlation": run, "payload": {"command": "deploy", "args": []}},
        {"kind": "cli_command_completed", "correlation": run,
            "payload": {"command": "deploy", "duration_ms": 1_200, "result_summary": ""}},
        {"kind": "cli_command_started", "correlation": again, "payload": {"command": "deploy", "args": []}},
        {"kind": "cli_command_failed", "correlation": again, "payload": {"command": "deploy", "error": "no room", "duration_ms": 1_200}},
    ]);
    let answer = server.post("/events/emit", &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.stop();
    let health = world.ok(["state", "health"]).stdout;
    assert!(health.contains("tool_calls  1 ended, 1 failed (100.00 %)"), "{health}");
    assert!(health.contains("hours") && health.contains("starts  1"), "{health}");
    assert!(!health.contains("older_until") && !health.contains("ended 1, failed 1"), "{health}");
    let commands = world.ok(["state", "commands"]).stdout;
    for line in [
        "  deploy",
        "    runs  2: 1 completed, 1 failed (50.00 % of those that ended failed)",
        "    took  1.2 s on average of 2; half at most 1.2 s, 95 % at most 1.2 s, 99 % at most 1.2 s",
        "    events  4, 2.00 a run, of importance up to 6",
        // A session without an end.
        "  sessions  1: 1 open",
    ] {
        assert!(commands.lines().any(|shown| shown == line), "{line}\n{commands}");
    }
    // The server is a command, too.
    assert!(commands.contains("  3 runs, 1 failed, 1 session"), "{commands}");
    for raw in ["by_correlation", "buckets", "_ms", "_bp", "_hundredths", "from_seq"] {
        assert!(!commands.contains(raw), "{raw}\n{commands}");
    }
    // As JSON they stay the states.
    assert!(world.ok(["state", "health", "--json"]).json()["state"]["hours"].is_object());
    assert!(world.ok(["state", "commands", "--json"]).json()["state"]["spans"].is_object());
}

/// One flipped bit on the disk costs one event, and every state says so from there on: from the command line, over HTTP, at a seq
/// and now, and from a snapshot that never met the damage itself.
#[test]
fn what_damage_took_is_missing_from_the_state_and_told_with_it() {
    const PROMPTS: u64 = 8;
    let world = world(usize::try_from(PROMPTS).expect("few") - 1);
    // A later batch proves that the damaged one had been durable.
    world.hook(&prompt("s-1", "the last one"));
    let whole = world.ok(["state", "sessions", "--json"]).json();
    let last = whole["seq"].as_u64().expect("a seq");
    let damaged = world
        .events(["--kind", "prompt_submitted"])
        .iter()
        .find(|event| event["payload"]["prompt"] == "prompt 4")
        .and_then(|event| event["seq"].as_u64())
        .expect("the event");
    let names = world.names_in("journal");
    let name = names.iter().find(|name| name.strip_suffix(".seg").is_some()).expect("a segment");
    let segment = world.data().join("journal").join(name);
    let mut bytes = std::fs::read(&segment).expect("the segment");
    let at = bytes.windows(8).position(|window| window == b"prompt 4").expect("its text");
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).expect("one flipped bit");

    let prompts = |state: &Value| state["state"]["sessions"]["s-1"]["counts"]["prompts"].as_u64();
    let at = |seq: u64| world.run(["state", "sessions", "--json", "--at", &seq.to_string()]);
    let before = at(damaged - 1);
    assert_eq!((before.code, &before.json()["missing"]), (Some(0), &json!(0)), "{before}");
    let after = at(last);
    let state = after.json();
    assert_eq!((after.code, &state["missing"], &state["seq"]), (Some(4), &json!(1), &json!(last)), "{after}");
    assert_eq!((prompts(&whole), prompts(&state)), (Some(PROMPTS), Some(PROMPTS - 1)));
    assert_ne!(state["hash"], whole["hash"]);
    let shown = world.run(["state", "sessions", "--at", &last.to_string()]);
    assert!(shown.stdout.contains("missing  1 event could not be read"), "{shown}");

    let server = world.server();
    let get = |query: &str| server.get(&format!("/state/sessions{query}"));
    assert_eq!(get(&format!("?at={}", damaged - 1)).json(), before.json());
    assert_eq!(get(&format!("?at={last}")).json(), state);
    assert_eq!(get("").json()["missing"], json!(1));
    assert_eq!(server.stop().code, Some(0));
    // The server has left its snapshots: what is folded from them meets no damage any more, and says the same.
    assert!(world.names_in("snapshots").iter().any(|name| name.starts_with("sessions.")));
    let now = world.run(["state", "sessions", "--json"]).json();
    assert_eq!((&now["missing"], prompts(&now)), (&json!(1), Some(PROMPTS - 1)));
}
