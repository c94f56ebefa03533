//! `GET /metrics`: what became of every event that came, in books that balance exactly, whatever came at the same time.

use crate::http_emit::custom;
use crate::support::{Server, World, skipped, wait_for};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The numbers as the object.
#[track_caller]
pub(crate) fn counters(server: &Server) -> Value {
    let answer = server.get("/metrics?format=json");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Asserts that the books of every way balance; what is pending in all.
#[track_caller]
fn pending(counters: &Value) -> u64 {
    let mut pending = 0;
    for (way, account) in counters["events"].as_object().expect("events") {
        let refused: u64 = account["refused"].as_object().expect("refused").values().map(number).sum();
        let decided = ["committed_disk", "committed_os", "duplicates"].map(|name| number(&account[name]));
        let on_their_way = number(&account["pending"]);
        let sum = decided.iter().sum::<u64>() + refused + on_their_way;
        assert_eq!(number(&account["offered"]), sum, "{way}: {account}");
        pending += on_their_way;
    }
    pending
}

/// The numbers once nothing is on its way and everything is durable: the journal holds exactly what was committed.
#[track_caller]
fn settled(server: &Server) -> Value {
    let counters = wait_for("nothing to be on its way", || {
        let counters = counters(server);
        let is_durable = counters["journal"]["last_seq"] == counters["journal"]["durable_seq"];
        (pending(&counters) == 0 && is_durable && counters["inbox"]["waiting"] == 0).then_some(counters)
    });
    let events = counters["events"].as_object().expect("events");
    let committed: u64 = events
        .values()
        .map(|account| number(&account["committed_disk"]) + number(&account["committed_os"]))
        .sum();
    let journal = &counters["journal"];
    assert_eq!(number(&journal["opening_seq"]) + committed, number(&journal["last_seq"]), "{counters}");
    assert_eq!(number(&journal["records"]), committed, "{counters}");
    counters
}

fn hook(n: usize) -> Value {
    json!({"session_id": "metrics", "hook_event_name": "UserPromptSubmit", "prompt": format!("prompt {n}"),
           "cwd": "/code", "transcript_path": ""})
}

/// What one emitter does: so many events by each way, all of which the counters must show.
fn emit_in_every_way(server: &Server, world: &World, emitter: usize, rounds: usize) {
    let check = |answer: crate::support::Response, status: u16| {
        assert_eq!(answer.status, status, "{}", answer.text());
    };
    for round in 0..rounds {
        let n = emitter * 1_000 + round;
        let mut known = custom("known", json!(n));
        known["id"] = json!(format!("00000000-0000-4000-8000-{n:012x}"));
        let batch = json!([custom("one", json!(n)), known, custom("three", json!(n))]).to_string();
        check(server.post("/events/emit", &batch), 200);
        check(server.post("/events/emit?durability=os", &json!([known, known]).to_string()), 200);
        check(server.post("/events/emit", "{\"kind\":"), 400);
        let unknown = json!({"kind": "no_such_kind", "payload": {}});
        check(server.post("/events/emit", &json!([custom("good", json!(n)), unknown]).to_string()), 400);
        check(server.post("/events/emit?expected_seq=1", &custom("late", json!(n)).to_string()), 409);
        check(server.post("/events/emit?durability=maybe", &batch), 400);
        check(
            server.bare_request("POST", "/events/emit", &[("Content-Type", "application/json")], b"{}"),
            401,
        );
        check(server.post("/hooks/claude", &hook(n).to_string()), 200);
        check(server.post("/hooks/claude", "[]"), 400);
        world.hook(&hook(n + 500_000));
    }
}

#[test]
fn what_came_in_at_once_on_every_way_adds_up_exactly_and_so_it_does_after_a_kill() {
    const EMITTERS: usize = 4;
    const ROUNDS: usize = 5;
    let world = World::new();
    let server = world.server();
    let of_commands = number(&settled(&server)["events"]["inbox"]["committed_disk"]);
    std::thread::scope(|scope| {
        for emitter in 0..EMITTERS {
            let (server, world) = (&server, &world);
            scope.spawn(move || emit_in_every_way(server, world, emitter, ROUNDS));
        }
        // The books balance at every moment, not only at the end.
        for _ in 0..20 {
            pending(&counters(&server));
        }
    });
    let too_large = format!("{{\"kind\":\"custom\",\"payload\":{{\"name\":\"{}\"}}}}", "x".repeat(2 << 20));
    assert_eq!(server.post("/events/emit", &too_large).status, 413);

    let n = (EMITTERS * ROUNDS) as u64;
    let counted = settled(&server);
    let http = &counted["events"]["http"];
    assert_eq!(
        http,
        &json!({
            "offered": n * 11 + 1, "committed_disk": n * 3, "committed_os": 0, "duplicates": n * 2, "pending": 0,
            "refused": {"body_too_large": 1, "conflict": n, "invalid_parameter": n, "malformed_json": n,
                        "unauthorized": n, "unknown_kind": n * 2},
        })
    );
    let hooks = &counted["events"]["hook"];
    assert_eq!((number(&hooks["committed_disk"]), &hooks["refused"]), (n, &json!({"malformed_json": n})));
    assert_eq!(number(&counted["events"]["inbox"]["committed_disk"]), of_commands + n);
    assert_eq!(counted["inbox"], json!({"waiting": 0, "failed": 0}));
    let requests: BTreeMap<(&str, u64), u64> = counted["requests"]
        .as_array()
        .expect("requests")
        .iter()
        .map(|one| {
            let route = one["route"].as_str().expect("a route");
            ((route, number(&one["status"])), number(&one["count"]))
        })
        .collect();
    assert_eq!(requests[&("/events/emit", 200)], n * 2);
    assert_eq!(requests[&("/events/emit", 400)], n * 3);
    assert_eq!(requests[&("/hooks/claude", 200)], n);

    server.kill();
    for n in 0..7 {
        world.hook(&hook(n));
    }
    let server = world.server();
    let counted = settled(&server);
    let opening = number(&counted["journal"]["opening_seq"]);
    let since = crate::http_emit::all_events(&server).split_off(usize::try_from(opening).expect("small"));
    let of_kind = |begins: &str| {
        since
            .iter()
            .filter(|event| event["kind"].as_str().is_some_and(|kind| kind.starts_with(begins)))
            .count() as u64
    };
    assert_eq!(of_kind("prompt_submitted"), 7);
    // The start of this server, and the end of the one that was killed, came through the inbox too.
    let through_inbox = 7 + of_kind("cli_command_");
    assert_eq!(number(&counted["events"]["inbox"]["committed_disk"]), through_inbox, "{counted}");
    assert_eq!(number(&counted["events"]["http"]["offered"]), 0, "each life keeps its own books");
    assert!(number(&counted["journal"]["opening_seq"]) >= n * 5, "{counted}");
}

#[test]
fn a_file_of_the_inbox_that_is_no_event_is_entered_as_quarantined() {
    let world = World::new();
    let server = world.server();
    let of_commands = number(&settled(&server)["events"]["inbox"]["committed_disk"]);
    world.hook(&hook(1));
    std::fs::write(world.data().join("inbox/01700000000000000000-1-00"), b"not an event").expect("a file");
    world.hook(&hook(2));
    let counted = wait_for("the inbox to be empty", || {
        let counted = settled(&server);
        (number(&counted["events"]["inbox"]["offered"]) == of_commands + 3).then_some(counted)
    });
    let inbox = &counted["events"]["inbox"];
    assert_eq!(
        (number(&inbox["committed_disk"]), &inbox["refused"]),
        (of_commands + 2, &json!({"quarantined": 1}))
    );
}

#[test]
fn streams_and_what_they_deliver_are_counted() {
    let world = World::new();
    let server = world.server();
    let seqs = crate::http_emit::emit(&server, &json!([custom("a", json!(1)), custom("b", json!(2))]));
    let last = *seqs.last().expect("two");
    let streams: Vec<_> =
        (0..3).map(|_| server.sse(&format!("/events/stream?from={}", seqs[0]), &[])).collect();
    for stream in &streams {
        while stream.next().expect("a frame").seq() < last {}
    }
    let counted = counters(&server);
    let of = |name: &str| number(&counted["streams"][name]);
    assert_eq!((of("opened"), of("open"), of("lagging"), of("gaps")), (3, 3, 0, 0));
    assert!(of("deliveries") >= 6, "{counted}");
    drop(streams);
    wait_for("the streams to be closed", || (counters(&server)["streams"]["open"] == 0).then_some(()));
}

/// A sample: its metric and its labels.
type Samples = BTreeMap<(String, String), f64>;

/// Reads `OpenMetrics` text and is strict about it: every family told once with type and help before its samples, names by the
/// conventions, no sample twice, an end.
#[track_caller]
fn parse(text: &str) -> Samples {
    let mut samples = Samples::new();
    let (mut families, mut helped) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let body = text.strip_suffix("# EOF\n").expect("an end");
    for line in body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                assert!(help.len() > 10 && helped.insert((*name).to_owned()), "{line}");
            }
            ["#", "TYPE", name, of] => {
                assert!(families.insert((*name).to_owned()), "told twice: {line}");
                assert!(["counter", "gauge"].contains(of), "{line}");
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                (family, kind) = ((*name).to_owned(), (*of).to_owned());
            }
            ["#", "UNIT", name, unit] => assert!(*name == family && name.ends_with(unit), "{line}"),
            _ => {
                let (metric, value) = line.rsplit_once(' ').expect("a value");
                let (name, labels) = metric.split_once('{').unwrap_or((metric, "}"));
                let suffix = if kind == "counter" { "_total" } else { "" };
                assert_eq!(name, format!("{family}{suffix}"), "{line}");
                let value: f64 = value.parse().unwrap_or_else(|error| panic!("{error} in {line}"));
                assert!(labels.ends_with('}') && value >= 0.0, "{line}");
                let again = samples.insert((name.to_owned(), labels.trim_end_matches('}').to_owned()), value);
                assert_eq!(again, None, "twice: {line}");
            }
        }
    }
    assert_eq!(families, helped, "every metric has its help");
    samples
}

#[test]
fn the_text_is_openmetrics_and_says_what_the_object_says() {
    let world = World::new();
    let server = world.server();
    crate::http_emit::emit(&server, &custom("a", json!(1)));
    server.post("/events/emit", "nonsense");
    let stranger = server.bare_request("GET", "/metrics", &[], b"");
    assert_eq!(stranger.status, 401, "the token guards it");
    assert_eq!(server.get("/metrics?format=xml").status, 400);
    let counted = settled(&server);
    let answer = server.get("/metrics");
    assert_eq!(
        answer.header("content-type").map(|kind| kind.starts_with("application/openmetrics-text")),
        Some(true)
    );
    let samples = parse(&answer.text());
    let value = |name: &str, labels: &str| {
        *samples
            .get(&(format!("mnemosyne_{name}"), labels.to_owned()))
            .unwrap_or_else(|| panic!("{name} {labels}"))
    };
    let close = |found: f64, wanted: u64| (found - wanted as f64).abs() < 0.5;
    assert!(close(value("events_committed_total", "way=\"http\",level=\"disk\""), 1));
    assert!(close(value("events_refused_total", "way=\"http\",reason=\"malformed_json\""), 1));
    assert!(close(value("events_offered_total", "way=\"http\""), 2));
    assert!(close(value("journal_last_seq", ""), number(&counted["journal"]["last_seq"])));
    assert!(value("http_requests_total", "route=\"/metrics\",status=\"401\"") >= 1.0);
    assert!(value("journal_written_bytes_total", "") > 0.0 && value("uptime_seconds", "") > 0.0);
    check_with_promtool(&answer.text());
}

/// Prometheus' own opinion, where it is installed.
fn check_with_promtool(text: &str) {
    use std::io::Write;
    let spawned = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        return skipped("promtool is not installed, only our own parser has read the metrics");
    };
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
