//! `replay`: a session again, in the order in which it happened and with its own pauses.

use crate::support::World;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A world whose journal holds, in this order of seq, prompts of these times (milliseconds after noon).
fn recorded(times: &[u64]) -> World {
    let world = World::new();
    let server = world.server();
    for ms in times {
        let event = json!({
            "kind": "prompt_submitted", "session": "s", "payload": {"prompt": format!("at {ms}")},
            "time": format!("2026-01-02T12:00:{:02}.{:03}Z", ms / 1_000, ms % 1_000),
        });
        let answer = server.post("/events/emit", &event.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.stop();
    world
}

fn prompts(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["payload"]["prompt"].as_str()).collect()
}

#[test]
fn events_come_by_time_then_seq_whatever_their_order_of_arrival() {
    let world = recorded(&[0, 9_000, 3_000, 3_000, 1_000]);
    let events = world.ok(["replay", "s", "--speed", "max", "--json"]).json_lines();
    assert_eq!(prompts(&events), ["at 0", "at 1000", "at 3000", "at 3000", "at 9000"]);
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect();
    assert!(seqs[2] < seqs[3], "equal times by seq: {seqs:?}");
    assert_eq!(world.events(["--session", "s"]).len(), 5);
}

#[test]
fn both_ends_of_a_range_are_included_and_may_be_seqs_or_times() {
    let world = recorded(&[0, 1_000, 2_000, 3_000]);
    let replay = |more: [&str; 4]| {
        let args = ["replay", "s", "--speed", "max", "--json"].into_iter().chain(more);
        world.ok(args).json_lines()
    };
    let by_time = replay(["--from", "2026-01-02T12:00:01Z", "--until", "2026-01-02T12:00:02Z"]);
    assert_eq!(prompts(&by_time), ["at 1000", "at 2000"]);
    let seq = |n: usize| by_time[n]["seq"].to_string();
    assert_eq!(prompts(&replay(["--from", &seq(0), "--until", &seq(1)])), ["at 1000", "at 2000"]);
}

#[test]
fn pauses_are_those_of_the_session_over_the_speed_and_at_most_the_gap() {
    let world = recorded(&[0, 400, 59_000]);
    let took = |more: &[&str]| {
        let start = Instant::now();
        world.ok(["replay", "s"].iter().chain(more));
        start.elapsed()
    };
    assert!(took(&["--max-gap", "300ms"]) >= Duration::from_millis(600), "two pauses of 300 ms");
    assert!(took(&["--speed", "2", "--max-gap", "250ms"]) >= Duration::from_millis(450), "200 and 250 ms");
    assert!(
        took(&["--speed", "max"]) < Duration::from_secs(20),
        "no pause: an hour of session is no hour of waiting"
    );
}

#[test]
fn what_cannot_be_replayed_is_a_clear_error() {
    let world = recorded(&[0]);
    for (args, code) in [
        (["replay", "nobody", "--speed", "max"], 3),
        (["replay", "s", "--speed", "0.05"], 2),
        (["replay", "s", "--speed", "fast"], 2),
        (["replay", "s", "--max-gap", "2"], 2),
        (["replay", "s", "--from", "yesterday"], 2),
    ] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{args:?}: {ran}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
}
