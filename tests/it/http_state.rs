//! `GET /state/{projection}` of a running server: the bytes that `state --json` prints, now, at a seq and at a time; and what cannot be
//! shown, by its code.

use crate::http_emit::emit;
use crate::retention_backup::{event, small_segments};
use crate::support::{Server, World};
use serde_json::{Value, json};

const PROJECTIONS: [&str; 5] = ["sessions", "health", "orchestrator", "commands", "agents"];

/// Something for every projection: a session with a call, a command, a server's start, a run of a plan.
fn record(server: &Server) -> Vec<u64> {
    let item = "0190a5c2-7d1e-7000-8000-00000000000a";
    let of = |kind: &str, session: &str, payload: Value| json!({"kind": kind, "session": session, "payload": payload});
    let plan = "0190a5c2-7d1e-7000-8000-0000000000bb";
    let body = json!([
        of("prompt_submitted", "s-1", json!({"prompt": "hello"})),
        of("tool_call_started", "s-1", json!({"tool": "Bash", "tool_use_id": "t-1", "input": {"command": "ls"}})),
        {"kind": "orchestration_started", "correlation": plan, "payload": {"plan_description": "a plan", "max_concurrent": 2}},
        {"kind": "work_item_assigned", "correlation": plan,
            "payload": {"agent": "worker", "item_id": item, "description": "work", "phase": "build"}},
        of("tool_call_completed", "s-1", json!({"tool": "Bash", "tool_use_id": "t-1", "output": {"stdout": "x"}})),
        of("turn_failed", "s-1", json!({"error": "rate_limit"})),
        of("prompt_submitted", "s-2", json!({"prompt": "again"})),
    ]);
    emit(server, &body)
}

/// What the server answers, once the command was seen to print the same bytes.
#[track_caller]
fn same(world: &World, server: &Server, projection: &str, at: Option<&str>) -> Value {
    let query = at.map_or_else(String::new, |at| format!("?at={at}"));
    let answer = server.get(&format!("/state/{projection}{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-type").is_some_and(|it| it.starts_with("application/json")));
    // Asked for now, the command is asked for the seq that the answer names: a server may have more to tell meanwhile.
    let seq = answer.json()["seq"].to_string();
    let printed = world.run(["state", projection, "--json", "--at", at.unwrap_or(&seq)]);
    assert_eq!(answer.text(), printed.stdout.trim_end_matches('\n'), "{projection} {at:?}");
    answer.json()
}

#[test]
fn each_state_is_the_one_of_the_command_now_at_a_seq_and_at_a_time() {
    let world = World::new();
    let server = world.server();
    let seqs = record(&server);
    let (first, last) = (seqs[0], *seqs.last().expect("seqs"));
    let recorded =
        server.get(&format!("/events/{last}")).json()["recorded"].as_str().expect("a time").to_owned();
    for projection in PROJECTIONS {
        let now = same(&world, &server, projection, None);
        assert_eq!(
            (&now["version"], &now["projection"], &now["missing"]),
            (&json!(1), &json!(projection), &json!(0))
        );
        assert!(now["seq"].as_u64() >= Some(last), "what was durable before the request is in it: {now}");
        let mut hashes = std::collections::BTreeSet::new();
        for seq in 0..=last {
            let at = same(&world, &server, projection, Some(&seq.to_string()));
            assert_eq!(at["seq"].as_u64(), Some(seq));
            hashes.insert(at["hash"].to_string());
        }
        assert!(hashes.len() > 1, "nothing of this changes {projection}");
        let then = same(&world, &server, projection, Some(&recorded));
        assert!(then["seq"].as_u64() >= Some(last), "recorded by then: {then}");
        let before = same(&world, &server, projection, Some("2000-01-01T00:00:00Z"));
        assert_eq!((before["seq"].as_u64(), first >= 1), (Some(0), true));
    }
    server.stop();
}

#[test]
fn what_cannot_be_shown_is_refused_by_code() {
    let world = World::new();
    let server = world.server();
    let last = *record(&server).last().expect("seqs");
    let unknown = server.get("/state/sesions");
    assert_eq!((unknown.status, unknown.error_code().as_str()), (404, "not_found"));
    assert!(unknown.text().contains("did you mean `sessions`?"), "{}", unknown.text());
    let beyond = server.get(&format!("/state/agents?at={}", last + 1_000));
    assert_eq!((beyond.status, beyond.error_code().as_str()), (409, "cursor_ahead"), "{}", beyond.text());
    for query in ["at=soon", "at=-1", "at=", "when=3"] {
        let refused = server.get(&format!("/state/agents?{query}"));
        assert_eq!(refused.status, 400, "{query}: {}", refused.text());
    }
    let stranger = server.bare_request("GET", "/state/agents", &[], b"");
    assert_eq!(stranger.status, 401, "{}", stranger.text());
    server.stop();
}

/// What a flag takes for a time its parameter takes too, and what it refuses is refused with the same words.
#[test]
fn times_are_written_as_on_the_command_line() {
    let world = World::new();
    let server = world.server();
    record(&server);
    let rows: &[(&str, &[&str])] = &[
        ("/events?since=", &["events", "--since"]),
        ("/events?until=", &["events", "--until"]),
        ("/events?q=hello&since=", &["events", "--search", "hello", "--since"]),
        ("/events?q=hello&until=", &["events", "--search", "hello", "--until"]),
        ("/events/stream?since=", &["tail", "--since"]),
        ("/events/stream?until=", &["tail", "--until"]),
        ("/events/replay?session=s-1&speed=max&from=", &["replay", "s-1", "--speed", "max", "--from"]),
        ("/events/replay?session=s-1&speed=max&until=", &["replay", "s-1", "--speed", "max", "--until"]),
        ("/sessions?since=", &["sessions", "--since"]),
        ("/state/sessions?at=", &["state", "sessions", "--at"]),
        ("/stats?since=", &["stats", "--since"]),
        ("/stats?until=", &["stats", "--until"]),
    ];
    for (path, flags) in rows {
        let ran = |text: &str| world.run(flags.iter().copied().chain([text]));
        for text in ["2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00", "2h", "1h30m"] {
            let target = format!("{path}{}", text.replace('+', "%2B"));
            // A stream does not end, so only its head is looked at.
            let follows = path.starts_with("/events/stream");
            let status = if follows { server.sse(&target, &[]).status } else { server.get(&target).status };
            assert_eq!((status, ran(text).code), (200, Some(0)), "{path}{text}");
        }
        for text in ["soon", "2x", "2020-13-01"] {
            let (refused, ran) = (server.get(&format!("{path}{text}")), ran(text));
            assert_eq!((refused.status, ran.code), (400, Some(2)), "{path}{text}: {} {ran}", refused.text());
            let told = refused.json()["error"]["message"].as_str().expect("words").to_owned();
            let (_, takes) = told.split_once(" takes ").expect("what it takes");
            assert!(ran.stderr.contains(takes), "{told}\n{ran}");
        }
    }
    let states = ["2020-01-01", "2020-01-01T00:00:00Z", "0"]
        .map(|at| server.get(&format!("/state/sessions?at={at}")).text());
    assert!(states[0] == states[1] && states[1] == states[2], "{states:?}");
    for path in [
        "/events?from=5&until=4",
        "/events?since=2020-01-02&until=2020-01-01",
        "/events/stream?from=5&until=4",
        "/events/replay?session=s-1&from=5&until=4",
        "/stats?since=2020-01-02&until=2020-01-01",
    ] {
        let refused = server.get(path);
        assert_eq!((refused.status, &refused.json()["error"]["field"]), (400, &json!("until")), "{path}");
    }
    // Who goes on after a cursor has come to the end of its range, and begins none.
    assert_eq!(server.get("/events?after=5&until=4").status, 200);
    server.stop();
}

fn fill(server: &Server, events: usize) {
    let batch: Vec<String> = (0..events).map(|n| event(n, 1_000)).collect();
    for some in batch.chunks(100) {
        let answer = server.post("/events/emit", &format!("[{}]", some.join(",")));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn after_a_cut_the_states_that_are_left_are_the_same_and_the_others_are_gone() {
    let world = World::new();
    small_segments(&world, "");
    let server = world.server();
    record(&server);
    fill(&server, 600);
    let last = server.get("/state/agents").json()["seq"].as_u64().expect("a seq");
    let states = |server: &Server, seq: u64| -> Vec<String> {
        let get = |name: &&str| server.get(&format!("/state/{name}?at={seq}")).text();
        PROJECTIONS.iter().map(get).collect()
    };
    let known: Vec<Vec<String>> = (0..=last).step_by(10).map(|seq| states(&server, seq)).collect();
    server.stop();
    small_segments(&world, "[retention]\nmax_bytes = 200000\nmin_bytes = 0\n");
    let ran = world.ok(["gc", "--json"]).json();
    let first = ran["kept"]["first_seq"].as_u64().expect("a seq");
    assert!(first > 20, "{ran}");

    let server = world.server();
    for projection in PROJECTIONS {
        let gone = server.get(&format!("/state/{projection}?at=1"));
        assert_eq!((gone.status, gone.error_code().as_str()), (410, "gone"), "{}", gone.text());
        let actual = gone.json()["error"]["actual"].as_u64().expect("the first that can be shown");
        assert!(actual + 1 >= first, "{}", gone.text());
        assert_eq!(server.get(&format!("/state/{projection}?at={}", actual - 1)).status, 410);
        let shown = same(&world, &server, projection, Some(&actual.to_string()));
        assert_eq!((shown["seq"].as_u64(), &shown["missing"]), (Some(actual), &json!(0)));
    }
    for (seq, before) in (0..=last).step_by(10).zip(&known).filter(|(seq, _)| *seq >= first) {
        assert_eq!(&states(&server, seq), before, "at {seq}");
    }
    server.stop();
}
