//! `GET /events/replay`: one session as it happened, at a speed, the same bytes each time.

use crate::http_emit::emit;
use crate::support::{End, Frame, Server, World};
use serde_json::{Value, json};
use std::time::Instant;

fn prompt(session: &str, time: &str, text: &str) -> Value {
    json!({"kind": "prompt_submitted", "session": session, "time": time, "payload": {"prompt": text}})
}

/// Three prompts of session `s`, emitted out of order, and one of another session.
fn record(server: &Server) -> Vec<u64> {
    emit(
        server,
        &json!([
            prompt("s", "2026-01-01T00:00:00.000000Z", "first"),
            prompt("other", "2026-01-01T00:00:00.100000Z", "not this one"),
            prompt("s", "2026-01-01T00:01:00.000000Z", "last"),
            prompt("s", "2026-01-01T00:00:00.200000Z", "second"),
        ]),
    )
}

fn events(frames: &[Frame]) -> Vec<&Frame> {
    frames.iter().filter(|frame| frame.event.as_deref() == Some("prompt_submitted")).collect()
}

#[test]
fn a_replay_goes_by_the_time_of_events_and_names_its_end_first() {
    let world = World::new();
    let server = world.server();
    let seqs = record(&server);
    let (frames, end) = server.sse("/events/replay?session=s&speed=max", &[]).rest();
    assert_eq!(end, End::Clean);
    let first = frames.first().expect("frames");
    assert_eq!((first.event.as_deref(), first.id.as_deref()), (Some("clock"), None));
    assert_eq!(first.json(), json!({"elapsed_ms": 0, "until_seq": seqs[3], "done": false}));
    let shown: Vec<u64> = events(&frames).iter().map(|frame| frame.seq()).collect();
    assert_eq!(shown, [seqs[0], seqs[3], seqs[2]]);
    assert_eq!(frames.last().expect("frames").json()["done"], true);
}

#[test]
fn the_pace_is_that_of_the_session_up_to_the_longest_gap() {
    let world = World::new();
    let server = world.server();
    record(&server);
    let start = Instant::now();
    let (frames, _) = server.sse("/events/replay?session=s&speed=1&max_gap=300ms", &[]).rest();
    let took = start.elapsed().as_millis();
    assert_eq!(events(&frames).len(), 3);
    assert!((480..5_000).contains(&took), "200 ms and a gap of 300 ms took {took} ms");
    assert_eq!(frames.last().expect("frames").json()["elapsed_ms"], 500);
}

#[test]
fn two_replays_are_the_same_bytes() {
    let world = World::new();
    let server = world.server();
    record(&server);
    let path = "/events/replay?session=s&speed=10";
    let (one, other) = (server.get(path), server.get(path));
    assert_eq!(one.status, 200);
    assert!(!one.body.is_empty());
    assert_eq!(one.text(), other.text());
}

#[test]
fn clock_frames_stand_at_every_ten_seconds_of_scheduled_time() {
    let world = World::new();
    let server = world.server();
    record(&server);
    // A minute at fourfold speed: the schedule is what is tested, so this one test has to sit it out.
    let (frames, _) = server.sse("/events/replay?session=s&speed=4&max_gap=1h", &[]).rest();
    let ticks: Vec<_> = frames
        .iter()
        .filter(|frame| frame.event.as_deref() == Some("clock"))
        .map(|frame| frame.json()["elapsed_ms"].as_u64().expect("milliseconds"))
        .collect();
    assert_eq!(ticks, [0, 10_000, 15_000], "the start, one on the way, the end");
}

#[test]
fn a_replay_goes_on_after_the_last_event_that_was_seen() {
    let world = World::new();
    let server = world.server();
    let seqs = record(&server);
    let after =
        |seq: u64| server.sse("/events/replay?session=s&speed=max", &[("Last-Event-ID", &seq.to_string())]);
    let (frames, _) = after(seqs[3]).rest();
    assert_eq!(events(&frames).iter().map(|frame| frame.seq()).collect::<Vec<_>>(), [seqs[2]]);
    assert_eq!(after(seqs[2]).status, 204, "nothing is left, and an EventSource stops");
    assert_eq!(after(seqs[1]).status, 400, "an event of another session");
}

#[test]
fn a_part_is_chosen_by_seq_or_by_time_of_the_session() {
    let world = World::new();
    let server = world.server();
    let seqs = record(&server);
    let shown = |query: &str| {
        let (frames, _) = server.sse(&format!("/events/replay?session=s&speed=max&{query}"), &[]).rest();
        events(&frames).iter().map(|frame| frame.seq()).collect::<Vec<_>>()
    };
    assert_eq!(shown("from=2026-01-01T00:00:00.100000Z"), [seqs[3], seqs[2]]);
    assert_eq!(shown("until=2026-01-01T00:00:30Z"), [seqs[0], seqs[3]]);
    assert_eq!(shown(&format!("from={}", seqs[2])), [seqs[3], seqs[2]]);
}

#[test]
fn what_cannot_be_replayed_is_told_by_code() {
    let world = World::new();
    let server = world.server();
    record(&server);
    for (query, status, code) in [
        ("", 400, "invalid_parameter"),
        ("session=nobody", 404, "not_found"),
        ("session=s&speed=0", 400, "invalid_parameter"),
        ("session=s&speed=fast", 400, "invalid_parameter"),
        ("session=s&max_gap=5", 400, "invalid_parameter"),
        ("session=s&kind=x", 400, "unknown_parameter"),
    ] {
        let answer = server.get(&format!("/events/replay?{query}"));
        assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{query}");
    }
}
