//! The rate limit: over it nothing of a batch is stored, the answer says when to come again, and the journal tells of it.

use crate::http_emit::{all_events, custom, emit};
use crate::http_metrics::counters;
use crate::support::{Server, World, wait_for};
use serde_json::{Value, json};

/// A server whose sources may emit 1,000 events at once and then `per_second`.
fn server(world: &World, per_second: u32) -> Server {
    // The first server makes the data directory.
    world.server().stop();
    let config = format!("[emit]\nrate_per_second = {per_second}\nburst = 1000\n");
    std::fs::write(world.data().join("config.toml"), config).expect("a configuration");
    world.server()
}

fn of_session(session: &str, count: usize) -> Value {
    let event = |n| {
        let mut event = custom("rate", json!(n));
        event["session"] = json!(session);
        event
    };
    (0..count).map(event).collect()
}

#[test]
fn a_source_over_its_limit_is_refused_whole_and_told_when_to_come_again() {
    let world = World::new();
    let server = server(&world, 1);
    emit(&server, &of_session("a", 1_000));
    for _ in 0..3 {
        let answer = server.post("/events/emit", &of_session("a", 600).to_string());
        assert_eq!((answer.status, answer.error_code().as_str()), (429, "rate_limited"));
        let seconds: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
        assert!((1..=600).contains(&seconds), "{seconds}");
    }
    // Another session, and events without one, are sources of their own.
    emit(&server, &of_session("b", 1_000));
    emit(&server, &custom("none", json!(1)));
    let hook = json!({"session_id": "a", "hook_event_name": "Stop", "cwd": "/", "transcript_path": ""});
    let answer = server.post("/hooks/claude", &hook.to_string());
    let limited = answer.status;
    assert!(limited == 429 || limited == 200, "a second may have passed: {}", answer.text());

    let told = wait_for("the refusals to be told", || {
        let events = all_events(&server);
        events.into_iter().find(|event| event["kind"] == "rate_limited")
    });
    let payload = &told["payload"];
    assert_eq!((&payload["route"], &payload["limit_per_second"]), (&json!("/events/emit"), &json!(1)));
    let stored = all_events(&server);
    let of = |session: &str| {
        let is_of = |event: &&Value| event["session"] == session && event["payload"]["name"] == "rate";
        stored.iter().filter(is_of).count()
    };
    assert_eq!((of("a"), of("b")), (1_000, 1_000), "nothing of a refused batch is stored");
    let http = counters(&server)["events"]["http"].clone();
    assert_eq!(http["refused"], json!({"rate_limited": 1_800}));

    let refused = payload["refused"].as_u64().expect("a number");
    let requests = if refused == 1 { "1 request".to_owned() } else { format!("{refused} requests") };
    let said = format!("rate_limited: {requests} with {} events refused on /events/emit", 600 * refused);
    assert_eq!((&payload["events"], &told["summary"]), (&json!(600 * refused), &json!(said)));

    // What was not told within the minute is told before the end.
    server.stop();
    let told: Vec<Value> = world
        .events(["--kind", "rate_limited"])
        .into_iter()
        .filter(|event| event["payload"]["route"] == "/events/emit")
        .collect();
    let sum = |field: &str| {
        told.iter().map(|event| event["payload"][field].as_u64().expect("a number")).sum::<u64>()
    };
    assert_eq!((sum("refused"), sum("events")), (3, 1_800), "each refusal is told once, with its events");
}

#[test]
fn without_a_limit_nothing_is_refused() {
    let world = World::new();
    let server = server(&world, 0);
    for _ in 0..5 {
        emit(&server, &of_session("a", 1_000));
    }
    assert_eq!(counters(&server)["events"]["http"]["refused"], json!({}));
}

#[test]
fn an_import_waits_as_it_is_told_and_loses_nothing() {
    let world = World::new();
    let server = server(&world, 500);
    let session = "9a1b2c3d-0000-4000-8000-000000000001";
    let line = |n: usize| {
        json!({"type": "user", "sessionId": session, "uuid": format!("00000000-0000-4000-8000-{n:012x}"),
               "timestamp": "2026-01-31T08:00:00.000Z", "cwd": "/code", "version": "2.0.0", "parentUuid": null,
               "isSidechain": false, "message": {"role": "user", "content": format!("prompt {n}")}})
        .to_string()
    };
    let lines: Vec<String> = (0..1_600).map(line).collect();
    let path = world.home().join(format!("{session}.jsonl"));
    std::fs::write(&path, lines.join("\n") + "\n").expect("a transcript");
    let imported = world.ok(["import", "--json", path.to_str().expect("UTF-8")]).json();
    let added = imported["added"].as_u64().expect("a number");
    assert!(added >= 1_600, "{imported}");
    let events = counters(&server)["events"]["http"].clone();
    let cursors = world.events(["--kind", "transcript_imported"]).len() as u64;
    assert_eq!(events["committed_disk"], json!(added + cursors), "{events}");
    assert!(events["refused"]["rate_limited"].as_u64() > Some(0), "the limit was met: {events}");
}
