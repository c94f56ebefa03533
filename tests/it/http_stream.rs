//! `GET /events/stream`: what was and what is, once and in order, from any cursor.

use crate::http_emit::{custom, emit};
use crate::support::{End, Server, Sse, World};
use serde_json::json;

#[track_caller]
fn seqs(stream: &Sse, n: usize) -> Vec<u64> {
    stream.take(n).iter().map(crate::support::Frame::seq).collect()
}

fn emit_n(server: &Server, n: u64) -> Vec<u64> {
    emit(server, &json!((0..n).map(|n| custom("n", json!(n))).collect::<Vec<_>>()))
}

#[test]
fn a_stream_from_the_first_seq_holds_the_past_and_then_the_present() {
    let world = World::new();
    let server = world.server();
    let past = emit_n(&server, 5);
    let stream = server.sse("/events/stream?from=1", &[]);
    assert_eq!(stream.status, 200);
    // What the server told of itself before: how many events that are is not the matter here.
    let before = stream.take(usize::try_from(past[0] - 1).expect("a few"));
    assert_eq!(
        before.iter().map(crate::support::Frame::seq).collect::<Vec<_>>(),
        (1..past[0]).collect::<Vec<_>>()
    );
    assert_eq!(before[0].retry.as_deref(), Some("1000"), "retry stands inside the first frame");
    let started =
        before.iter().find(|frame| frame.event.as_deref() == Some("server_started")).expect("a start");
    assert_eq!(started.json()["payload"]["listen_addr"], server.addr, "the address really bound");
    assert_eq!(seqs(&stream, 5), past);
    let present = emit_n(&server, 3);
    let frames = stream.take(3);
    assert_eq!(frames.iter().map(crate::support::Frame::seq).collect::<Vec<_>>(), present);
    assert!(frames.iter().all(|frame| frame.retry.is_none()));
    let line = server.get(&format!("/events/{}", present[0])).text();
    assert_eq!(frames[0].data, line, "the same object wherever an event is shown");
}

#[test]
fn the_headers_keep_everybody_on_the_way_from_holding_it_back() {
    let world = World::new();
    let server = world.server();
    for (path, accept) in [("/events/stream", "*/*"), ("/events", "text/event-stream")] {
        let stream = server.sse(path, &[("Accept", accept), ("Accept-Encoding", "gzip, br")]);
        let header =
            |name: &str| stream.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(header("content-type"), Some("text/event-stream"));
        assert_eq!(header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(header("x-accel-buffering"), Some("no"));
        assert_eq!(header("content-encoding"), None);
        assert_eq!(header("mnemosyne-journal").map(str::len), Some(32));
    }
}

#[test]
fn a_live_stream_says_where_it_began_and_shows_what_comes() {
    let world = World::new();
    let server = world.server();
    let last = *emit_n(&server, 4).last().expect("a seq");
    let stream = server.sse("/events/stream", &[]);
    let opening = stream.next().expect("a frame");
    assert_eq!((opening.event.as_deref(), opening.seq()), (Some("checkpoint"), last));
    let present = emit_n(&server, 2);
    assert_eq!(seqs(&stream, 2), present);
}

#[test]
fn the_cursor_is_taken_from_the_header_first_then_from_each_parameter() {
    let world = World::new();
    let server = world.server();
    let all = emit_n(&server, 20);
    let first =
        |path: &str, headers: &[(&str, &str)]| server.sse(path, headers).next().expect("a frame").seq();
    let at = |i: usize| all[i].to_string();
    let everything =
        format!("/events/stream?last_event_id={}&from={}&since=2000-01-01T00:00:00Z&tail=1", at(5), at(8));
    assert_eq!(first(&everything, &[("Last-Event-ID", &at(2))]), all[3]);
    assert_eq!(first(&everything, &[]), all[6]);
    assert_eq!(
        first(&format!("/events/stream?from={}&since=2000-01-01T00:00:00Z&tail=1", at(8)), &[]),
        all[8]
    );
    assert_eq!(first("/events/stream?since=2000-01-01T00:00:00Z&tail=1", &[]), 1);
    assert_eq!(first("/events/stream?tail=3", &[]), all[17]);
    let started = first("/events/stream?from=1&kind=server_*", &[]);
    assert_eq!(first("/events/stream?tail=3&kind=server_*", &[]), started, "the last of those that match");
    assert_eq!(first("/events/stream?from=0", &[]), 1);
}

#[test]
fn resuming_from_every_tenth_seq_gives_each_later_event_once() {
    let world = World::new();
    let server = world.server();
    let last = *emit_n(&server, 300).last().expect("a seq");
    for cursor in (0..=last).step_by(10) {
        let stream =
            server.sse(&format!("/events/stream?until={last}"), &[("Last-Event-ID", &cursor.to_string())]);
        let (frames, end) = stream.rest();
        let got: Vec<u64> = frames.iter().map(crate::support::Frame::seq).collect();
        assert_eq!((got, end), ((cursor + 1..=last).collect(), End::Clean), "after {cursor}");
    }
}

#[test]
fn until_ends_a_stream_by_seq_and_by_time() {
    let world = World::new();
    let server = world.server();
    let all = emit_n(&server, 6);
    let (frames, end) = server.sse(&format!("/events/stream?from={}&until={}", all[1], all[3]), &[]).rest();
    assert_eq!(
        (frames.iter().map(crate::support::Frame::seq).collect::<Vec<_>>(), end),
        (all[1..=3].to_vec(), End::Clean)
    );
    let recorded =
        server.get(&format!("/events/{}", all[5])).json()["recorded"].as_str().expect("a time").to_owned();
    let (frames, end) = server.sse(&format!("/events/stream?from={}&until={recorded}", all[0]), &[]).rest();
    assert_eq!((frames.len(), end), (6, End::Clean));
}

#[test]
fn a_filter_that_matches_nothing_still_moves_the_cursor() {
    let world = World::new();
    let server = world.server();
    for _ in 0..12 {
        emit_n(&server, 1_000);
    }
    let stream = server.sse("/events/stream?from=1&kind=phase_transition", &[]);
    let checkpoint = stream.next().expect("a frame");
    assert_eq!(checkpoint.event.as_deref(), Some("checkpoint"));
    assert_eq!(checkpoint.json()["seq"], checkpoint.seq());
    assert!(checkpoint.seq() > 1);
}

#[test]
fn a_bad_cursor_is_an_answer_that_ends_an_event_source() {
    let world = World::new();
    let server = world.server();
    let cases: &[(&str, &[(&str, &str)], u16, &str)] = &[
        ("/events/stream", &[("Last-Event-ID", "abc")], 400, "invalid_cursor"),
        ("/events/stream", &[("Last-Event-ID", "-1")], 400, "invalid_cursor"),
        ("/events/stream?from=x", &[("Last-Event-ID", "0")], 400, "invalid_cursor"),
        ("/events/stream", &[("Last-Event-ID", "1000000")], 409, "cursor_ahead"),
        ("/events/stream?from=1000000", &[], 409, "cursor_ahead"),
        ("/events/stream?journal=ffffffffffffffffffffffffffffffff", &[], 409, "other_journal"),
        ("/events/stream?tail=-1", &[], 400, "invalid_parameter"),
        ("/events/stream?since=yesterday", &[], 400, "invalid_parameter"),
        ("/events/stream?form=1", &[], 400, "unknown_parameter"),
        ("/events/stream?min_importance=99", &[], 400, "invalid_parameter"),
    ];
    for (path, headers, status, code) in cases {
        let answer = server.request("GET", path, headers, b"");
        assert_eq!((answer.status, answer.error_code().as_str()), (*status, *code), "{path} {headers:?}");
    }
    assert_eq!(server.sse("/events/stream", &[("Last-Event-ID", "")]).status, 200, "an empty one is none");
}

#[test]
fn a_graceful_stop_ends_streams_after_server_stopped_and_the_next_server_goes_on() {
    let world = World::new();
    let server = world.server();
    let stream = server.sse("/events/stream?from=1", &[]);
    let filtered = server.sse("/events/stream?from=1&kind=phase_*", &[]);
    emit_n(&server, 3);
    server.stop();
    let (frames, end) = stream.rest();
    assert_eq!(end, End::Clean);
    let last = frames.last().expect("frames");
    assert_eq!(last.event.as_deref(), Some("server_stopped"));
    let payload = &last.json()["payload"];
    assert_eq!(payload["requests_handled"], 3, "two streams and one emit, counted");
    assert!(payload["uptime_ms"].is_u64());
    assert_eq!(filtered.rest().1, End::Clean, "one whose filter takes nothing ends as well");
    let server = world.server();
    let stream = server.sse("/events/stream", &[("Last-Event-ID", &last.seq().to_string())]);
    let frames: Vec<_> = std::iter::from_fn(|| stream.next())
        .take_while(|frame| frame.event.as_deref() != Some("server_started"))
        .collect();
    let between: Vec<u64> = frames.iter().map(crate::support::Frame::seq).collect();
    assert_eq!(between, (last.seq() + 1..).take(between.len()).collect::<Vec<_>>(), "nothing is left out");
}

#[test]
fn the_safe_stop_by_http_ends_the_server_well() {
    let world = World::new();
    let server = world.server();
    let answer = server.post("/admin/shutdown", "{}");
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(server.wait().code, Some(0));
    assert!(!world.data().join("server.json").exists());
}
