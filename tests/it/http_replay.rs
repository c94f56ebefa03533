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
fn a_session_is_named_by_the_beginning_of_its_id_as_on_the_command_line() {
    let world = World::new();
    let server = world.server();
    let time = "2026-01-01T00:00:00.000000Z";
    emit(
        &server,
        &json!([
            prompt("abc-1", time, "one"),
            prompt("abc-2", time, "two"),
            prompt("abc", time, "three"),
            prompt("xyz", time, "four")
        ]),
    );
    let ask = |session: &str| server.get(&format!("/events/replay?session={session}&speed=max"));
    let command = |session: &str| world.run(["replay", session, "--speed", "max"]);
    let whole = ask("xyz");
    assert!(whole.status == 200 && whole.text().contains("four"), "{}", whole.text());
    assert_eq!(ask("x").text(), whole.text());
    assert!(command("x").stdout.contains("four"));
    let exact = ask("abc");
    assert!(exact.text().contains("three") && !exact.text().contains("\"one\""), "{}", exact.text());

    let several = ask("ab");
    assert_eq!((several.status, several.error_code().as_str()), (400, "invalid_parameter"));
    let said = several.json()["error"]["message"].as_str().expect("words").to_owned();
    assert_eq!(several.json()["error"]["field"], "session");
    assert!(said.contains("`ab`: abc, abc-1, abc-2"), "{said}");
    let refused = command("ab");
    assert!(refused.code == Some(2) && refused.stderr.contains(&said), "{refused}");

    let none = ask("nobody");
    assert_eq!((none.status, none.error_code().as_str()), (404, "not_found"), "{}", none.text());
    assert_eq!((command("nobody").code, ask("").status), (Some(3), 400));
}

/// A session whose events change its state in every way that matters here: values that come, change and go, lists that grow. The last
/// two were taken in the other order.
fn record_changes(server: &Server) -> Vec<u64> {
    let of = |time: &str, kind: &str, payload: Value| json!({"kind": kind, "session": "s", "time": format!("2026-01-01T00:00:{time}Z"), "payload": payload});
    let call = |id: &str| json!({"tool": "Bash", "tool_use_id": id, "input": {"command": "ls"}});
    emit(
        server,
        &json!([
            of("00", "session_started", json!({"source": "startup", "cwd": "/code"})),
            of("01", "prompt_submitted", json!({"prompt": "first"})),
            {"kind": "turn_completed", "session": "other", "payload": {"last_message": null}},
            of("02", "tool_call_started", call("t-1")),
            of("03", "permission_requested", call("t-1")),
            of("04", "tool_call_completed", json!({"tool": "Bash", "tool_use_id": "t-1", "output": {"stdout": "x"}})),
            of("09", "session_ended", json!({"reason": "other", "inferred": false})),
            of("05", "turn_completed", json!({"last_message": null})),
        ]),
    )
}

/// The value after these changes.
fn changed(mut value: Value, changes: &Value) -> Value {
    for change in changes.as_array().expect("changes") {
        let path = change["path"].as_str().expect("a path");
        let new = change.get("new").cloned();
        let Some((parent, key)) = path.rsplit_once('/') else {
            value = new.unwrap_or(Value::Null);
            continue;
        };
        let key = key.replace("~1", "/").replace("~0", "~");
        match (value.pointer_mut(parent).expect("a place"), new) {
            (Value::Object(object), Some(new)) => _ = object.insert(key, new),
            (Value::Object(object), None) => _ = object.shift_remove(&key),
            (Value::Array(list), Some(new)) if key.parse() == Ok(list.len()) => list.push(new),
            (Value::Array(list), Some(new)) => list[key.parse::<usize>().expect("a place")] = new,
            (Value::Array(list), None) => list.truncate(key.parse().expect("a place")),
            (other, _) => panic!("{path} in {other}"),
        }
    }
    value
}

#[test]
fn each_event_comes_after_what_it_changes_in_the_state() {
    let world = World::new();
    let server = world.server();
    let seqs = record_changes(&server);
    let path = "/events/replay?session=s&speed=max";
    let (frames, end) = server.sse(&format!("{path}&state=sessions"), &[]).rest();
    assert_eq!(end, End::Clean);
    let state_at =
        |seq: u64| server.get(&format!("/state/sessions?at={seq}")).json()["state"]["sessions"]["s"].clone();
    let (mut shown, mut told) = (Vec::new(), Vec::new());
    for pair in frames.windows(2).filter(|pair| pair[0].event.as_deref() == Some("state")) {
        let (state, seq) = (pair[0].json(), pair[1].seq());
        assert_eq!((pair[0].id.as_deref(), state["seq"].as_u64()), (None, Some(seq)), "{state}");
        assert_eq!(state["projection"], "sessions");
        assert_eq!(changed(state_at(seq - 1), &state["changes"]), state_at(seq), "{state}");
        assert_ne!(state_at(seq - 1), state_at(seq), "each of these events changes something");
        shown.push(seq);
        told.push(state);
    }
    assert_eq!(shown, [seqs[0], seqs[1], seqs[3], seqs[4], seqs[5], seqs[7], seqs[6]], "by time");
    let printed = world.ok(["replay", "s", "--state", "--json", "--speed", "max"]).stdout;
    let printed = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let printed: Vec<Value> = printed.filter_map(|line| line.get("state").cloned()).collect();
    assert_eq!(printed, told, "the command says the same");
    let without = server.sse(path, &[]).rest().0;
    let events: Vec<_> = frames.iter().filter(|frame| frame.event.as_deref() != Some("state")).collect();
    assert_eq!(events.len(), without.len());
    assert!(
        events
            .iter()
            .zip(&without)
            .all(|(one, other)| (&one.event, &one.data) == (&other.event, &other.data))
    );
    let again = format!("{path}&state=sessions");
    assert_eq!(server.get(&again).text(), server.get(&again).text(), "the same bytes each time");
}

#[test]
fn a_replay_with_states_goes_on_where_it_was_cut_off_and_knows_its_projections() {
    let world = World::new();
    let server = world.server();
    let seqs = record_changes(&server);
    let path = "/events/replay?session=s&speed=max&state=agents";
    let whole = server.sse(path, &[]).rest().0;
    let states = |frames: &[Frame]| -> Vec<Value> {
        frames.iter().filter(|frame| frame.event.as_deref() == Some("state")).map(Frame::json).collect()
    };
    let after = |seq: u64| server.sse(path, &[("Last-Event-ID", &seq.to_string())]).rest().0;
    assert_eq!(states(&whole).len(), 7);
    // Cut off after the state frame of an event or before it: the client has seen the same event, and asks for the same.
    assert_eq!(states(&after(seqs[3])), states(&whole)[3..]);
    let (one, other) = (after(seqs[7]), &whole[whole.len() - 3..]);
    assert_eq!(states(&one), states(other), "the last one alone, with what it changes");
    let refused = server.get("/events/replay?session=s&state=sesions");
    assert_eq!((refused.status, refused.error_code().as_str()), (400, "invalid_parameter"));
    assert!(refused.text().contains("did you mean `sessions`?"), "{}", refused.text());
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
