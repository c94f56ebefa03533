//! `status`: one screen whose figures agree with the events, with a server and without one.

use crate::support::{World, wait_for};
use serde_json::{Value, json};

const SESSION: &str = "5b0d2f1e-7a43-4f0a-9d5e-2a6d3c4b5e6f";

fn payload(hook: &str) -> Value {
    json!({
        "session_id": SESSION, "hook_event_name": hook, "cwd": "/code/app", "source": "startup",
        "transcript_path": "/nowhere/t.jsonl", "prompt": "p", "message": "m", "notification_type": "permission_prompt",
    })
}

fn status(world: &World) -> Value {
    world.ok(["status", "--json"]).json_lines().remove(0)
}

#[test]
fn without_a_server_the_files_say_it_all() {
    let world = World::new();
    for hook in ["SessionStart", "UserPromptSubmit", "Notification"] {
        world.hook(&payload(hook));
    }
    // One that could not be kept.
    let ran = world.run_with_stdin(["hook"], b"no json");
    assert_eq!(ran.code, Some(0), "{ran}");
    let told = status(&world);
    assert_eq!(told["server"], Value::Null);
    assert_eq!(told["starts_unasked"], false, "this world keeps hooks from it");
    assert_eq!(told["sessions"], json!({"working": 0, "waiting": 1, "idle": 0}));
    assert_eq!((&told["inbox"]["waiting"], &told["inbox"]["failed"]), (&json!(0), &json!(1)));
    assert!(told["inbox"]["last_failure_reason"].is_string(), "{told}");
    let last = told["journal"]["last_seq"].as_u64().expect("a seq");
    assert_eq!(told["journal"]["events_last_minute"], last, "all of it is from this moment");
    assert_eq!(told["events"], Value::Null);
    let record = &told["record"];
    assert_eq!(
        (&record["committed"], &record["waiting"], &record["not_kept"], &record["quarantined"]),
        (&json!(last), &json!(0), &json!(1), &json!(0))
    );
    assert_eq!((&record["known"], balanced(record)), (&json!(last + 1), true), "{record}");
    let not_known = json!([
        "what servers refused over HTTP",
        "what somebody removed from quarantine/",
        "how many of those not kept whole are on record, too"
    ]);
    assert_eq!(record["not_known"], not_known);
    assert!(told["disk"]["journal_bytes"].as_u64().expect("bytes") > 0);
    assert_eq!(told["disk"]["bytes_per_day"], Value::Null, "a moment says nothing about a day");
    let text = world.ok(["status"]).stdout;
    assert!(text.contains("0 at work, 1 waiting for you, 0 idle"), "{text}");
    assert!(text.contains("1 event could not be kept"), "{text}");
    let executed = world.events(["--kind", "status_check_executed"]);
    assert_eq!(executed.len(), 2);
    let summary = executed[0]["payload"]["status_summary"].as_str().expect("text");
    assert!(summary.starts_with("no server, 1 session open (1 waiting for you)"), "{summary}");
}

fn balanced(record: &Value) -> bool {
    let n = |name: &str| record[name].as_u64().expect("a count");
    n("known") == n("committed") + n("waiting") + n("not_kept") + n("quarantined")
}

#[test]
fn what_waits_and_what_was_set_aside_is_in_the_balance_with_a_server_and_without() {
    let world = World::new();
    world.hook(&payload("SessionStart"));
    let plant = |name: &str| {
        std::fs::write(world.data().join("inbox").join(name), b"no event").expect("planted");
    };
    plant("01700000000000000000-1-00000000000000ff");
    let told = status(&world);
    assert_eq!(told["record"]["quarantined"], 1, "{told}");
    assert!(balanced(&told["record"]), "{told}");
    let text = world.ok(["status"]).stdout;
    assert!(
        text.contains(
            " on record + 0 in the inbox + 0 not kept whole + 1 quarantined; not known: what servers refused"
        ),
        "{text}"
    );
    // Who holds the journal keeps others from taking in what waits.
    let server = world.server();
    server.signal(rustix::process::Signal::STOP);
    world.hook(&payload("UserPromptSubmit"));
    let ran = world.run(["status", "--json"]);
    let told = ran.json_lines().remove(0);
    assert!(told["record"]["waiting"].as_u64() > Some(0), "{ran}");
    assert!(balanced(&told["record"]) && told["events"].is_null(), "{ran}");
    assert_eq!(told["record"]["committed"], told["journal"]["last_seq"], "{ran}");
    server.signal(rustix::process::Signal::CONT);
    let told = wait_for("an empty inbox", || {
        let told = status(&world);
        (told["record"]["waiting"] == 0 && told["events"]["pending"] == 0).then_some(told)
    });
    assert!(balanced(&told["record"]), "{told}");
    assert_eq!(told["record"]["not_known"][0], "what servers before this one refused over HTTP");
    assert_eq!(told["record"]["quarantined"], 1, "of all time, not of this server");
}

/// The counter of failures says "not whole", and what was kept in part is on record as well.
#[test]
fn an_event_that_was_kept_in_part_is_said_to_be_in_the_balance_twice() {
    let world = World::new();
    world.hook(&payload("SessionStart"));
    let before = status(&world);
    let ran = world.run_with_stdin(["hook", "--bogus"], payload("UserPromptSubmit").to_string().as_bytes());
    assert_eq!(ran.code, Some(0), "{ran}");
    let told = status(&world);
    let n = |told: &Value, name: &str| told["record"][name].as_u64().expect("a count");
    assert_eq!((n(&before, "not_kept"), n(&told, "not_kept")), (0, 1), "{told}");
    assert!(world.events(["--kind", "prompt_submitted"]).len() == 1, "it is on record");
    let not_known = told["record"]["not_known"].to_string();
    assert!(not_known.contains("how many of those not kept whole are on record, too"), "{told}");
}

#[test]
fn with_a_server_the_events_that_came_are_those_that_went_somewhere() {
    let world = World::new();
    let server = world.server();
    let emitted = server.post("/events/emit", r#"[{"kind":"custom","payload":{"name":"a","data":1}},{"kind":"custom","payload":{"name":"b","data":2}}]"#);
    assert_eq!(emitted.status, 200, "{emitted:?}");
    assert_eq!(server.post("/events/emit", r#"[{"kind":"nothing"}]"#).status, 400);
    let told = wait_for("an empty inbox", || {
        let told = status(&world);
        (told["inbox"]["waiting"] == 0 && told["events"]["pending"] == 0).then_some(told)
    });
    assert_eq!(told["server"]["pid"], server.pid());
    assert_eq!(told["server"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["server"]["uptime_ms"].is_u64());
    let events = &told["events"];
    let n = |name: &str| events[name].as_u64().expect("a count");
    assert_eq!(n("offered"), n("committed") + n("duplicates") + n("refused") + n("pending"));
    assert_eq!((&events["balanced"], n("refused")), (&json!(true), 1));
    assert!(world.ok(["status"]).stdout.contains(&format!(
        "http://{}, process {}",
        server.addr,
        server.pid()
    )));
}

#[test]
fn nothing_is_made_where_nothing_is() {
    let world = World::new();
    let ran = world.run(["status"]);
    assert_eq!(ran.code, Some(3), "{ran}");
    assert!(ran.stderr.contains("no data directory"), "{ran}");
    assert!(!world.data().exists());
}
