//! `POST /events/emit`, `GET /events` and `GET /events/{seq}`: what was answered with 200 is there, and what was
//! refused left nothing behind.

use crate::support::{Server, World};
use serde_json::{Value, json};

/// An emit request of kind `custom`.
pub(crate) fn custom(name: &str, data: Value) -> Value {
    let mut request = json!({"kind": "custom", "payload": {"name": name}});
    request["payload"]["data"] = data;
    request
}

/// Emits and demands a 200; the seqs.
#[track_caller]
pub(crate) fn emit(server: &Server, body: &Value) -> Vec<u64> {
    let answer = server.post("/events/emit", &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seqs = answer.json()["seqs"].as_array().expect("seqs").clone();
    seqs.iter().map(|seq| seq.as_u64().expect("a seq")).collect()
}

/// Every event of the journal, by pages.
#[track_caller]
pub(crate) fn all_events(server: &Server) -> Vec<Value> {
    let (mut after, mut events) = (0, Vec::new());
    loop {
        let answer = server.get(&format!("/events?after={after}&limit=1000"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut page = answer.json();
        let Value::Array(more) = page["events"].take() else { panic!("no events in {page}") };
        events.extend(more);
        after = page["next"].as_u64().expect("next");
        if page["more"] == json!(false) {
            return events;
        }
    }
}

fn tail(server: &Server) -> u64 {
    server.bare_request("GET", "/health", &[], b"").json()["tail"].as_u64().expect("a tail")
}

/// Sends `body` and demands this refusal, with nothing stored.
#[track_caller]
fn refused(server: &Server, body: &str, status: u16, code: &str, field: Option<&str>) {
    let before = tail(server);
    let answer = server.post("/events/emit", body);
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, error["code"].as_str()), (status, Some(code)), "{error}");
    assert_eq!(error.get("field").and_then(Value::as_str), field, "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{error}");
    assert_eq!(tail(server), before, "a refused request stores nothing");
}

#[test]
fn an_emitted_event_is_read_back_by_its_seq() {
    let world = World::new();
    let server = world.server();
    let answer = server.post("/events/emit", &custom("a", json!({"n": 1})).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let emitted = answer.json();
    assert_eq!((&emitted["durability"], &emitted["duplicates"]), (&json!("disk"), &json!([])));
    let seq = emitted["seqs"][0].as_u64().expect("a seq");
    let answer = server.get(&format!("/events/{seq}"));
    assert_eq!(answer.header("mnemosyne-journal").map(str::len), Some(32));
    let event = answer.json();
    assert_eq!((&event["seq"], &event["kind"]), (&json!(seq), &json!("custom")));
    assert_eq!(event["payload"], json!({"name": "a", "data": {"n": 1}}));
}

#[test]
fn a_batch_is_answered_in_its_order_and_the_level_is_told() {
    let world = World::new();
    let server = world.server();
    let batch: Vec<_> = (0..10).map(|n| custom("batch", json!(n))).collect();
    let answer = server.post("/events/emit?durability=os", &json!(batch).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["durability"], "os");
    let seqs = answer.json()["seqs"].as_array().expect("seqs").clone();
    assert!(seqs.windows(2).all(|pair| pair[0].as_u64().map(|seq| seq + 1) == pair[1].as_u64()), "{seqs:?}");
    emit(&server, &custom("flush", json!(null)));
    let events = all_events(&server);
    let data: Vec<_> = events
        .iter()
        .filter(|event| event["payload"]["name"] == "batch")
        .map(|event| event["payload"]["data"].clone())
        .collect();
    assert_eq!(json!(data), json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
}

#[test]
fn the_same_id_is_one_event() {
    let world = World::new();
    let server = world.server();
    let mut event = custom("once", json!(1));
    event["id"] = json!("11111111-2222-4333-8444-555555555555");
    let first = emit(&server, &event);
    let again = server.post("/events/emit", &json!([custom("new", json!(2)), event]).to_string()).json();
    assert_eq!((&again["seqs"][1], &again["duplicates"]), (&json!(first[0]), &json!([1])));
    let named: Vec<_> = all_events(&server).into_iter().filter(|e| e["payload"]["name"] == "once").collect();
    assert_eq!(named.len(), 1);
}

#[test]
fn a_conditional_append_meets_its_tail_or_tells_the_true_one() {
    let world = World::new();
    let server = world.server();
    let next = tail(&server) + 1;
    let good = server.post(&format!("/events/emit?expected_seq={next}"), &custom("a", json!(1)).to_string());
    assert_eq!(good.json()["seqs"], json!([next]), "{}", good.text());
    let late = server.post(&format!("/events/emit?expected_seq={next}"), &custom("b", json!(2)).to_string());
    let error = late.json()["error"].clone();
    assert_eq!((late.status, &error["code"], &error["actual"]), (409, &json!("conflict"), &json!(next + 1)));
    assert_eq!(tail(&server), next);
}

#[test]
fn a_bad_body_is_refused_by_code_and_field_and_stores_nothing() {
    let world = World::new();
    let server = world.server();
    let text = |value: Value| value.to_string();
    refused(&server, "", 400, "malformed_json", None);
    refused(&server, "{\"kind\":", 400, "malformed_json", None);
    refused(&server, "{\"kind\":\"custom\"} x", 400, "malformed_json", None);
    refused(&server, &"[".repeat(100_000), 400, "too_deep", None);
    refused(&server, "[]", 400, "out_of_range", None);
    refused(
        &server,
        &text(json!({"kind": "no_such_kind", "payload": {}})),
        400,
        "unknown_kind",
        Some("kind"),
    );
    refused(&server, &text(json!({"payload": {}})), 400, "missing_field", Some("kind"));
    let own = json!({"kind": "server_started", "payload": {"server_type": "api", "listen_addr": "x"}});
    refused(&server, &text(own), 400, "own_kind", Some("kind"));
    let call = |payload: Value| json!({"kind": "tool_call_started", "payload": payload});
    let whole = json!({"tool": "Read", "tool_use_id": "t", "input": {}});
    refused(
        &server,
        &text(call(json!({"tool_use_id": "t", "input": {}}))),
        400,
        "missing_field",
        Some("payload.tool"),
    );
    refused(
        &server,
        &text(json!([
            call(whole.clone()),
            call(whole.clone()),
            call(whole),
            call(json!({"tool": 7, "tool_use_id": "t", "input": {}}))
        ])),
        400,
        "wrong_type",
        Some("[3].payload.tool"),
    );
    let mut event = custom("a", json!(1));
    event["importance"] = json!(11);
    refused(&server, &text(event), 400, "out_of_range", Some("importance"));
    let deep = format!(
        "{{\"kind\":\"custom\",\"payload\":{{\"name\":\"a\",\"data\":{}1{}}}}}",
        "[".repeat(70),
        "]".repeat(70)
    );
    refused(&server, &deep, 400, "too_deep", None);
    let many = json!((0..1_001).map(|n| custom("n", json!(n))).collect::<Vec<_>>());
    refused(&server, &text(many), 400, "out_of_range", None);
}

#[test]
fn a_body_over_a_mebibyte_is_413_and_its_sender_gets_to_read_that() {
    let world = World::new();
    let server = world.server();
    let large = custom("a", json!("x".repeat(2 * 1024 * 1024))).to_string();
    refused(&server, &large, 413, "body_too_large", None);
    let hook = json!({"session_id": "s", "hook_event_name": "PostToolUse", "tool_name": "Read", "tool_use_id": "t",
        "tool_input": {}, "tool_response": "y".repeat(2 * 1024 * 1024), "cwd": "/w", "transcript_path": ""});
    let answer = server.post("/hooks/claude", &hook.to_string());
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "a hook may be larger");
    let seq: u64 = answer.header("mnemosyne-seq").expect("its seq").parse().expect("a number");
    let event = server.get(&format!("/events/{seq}")).json();
    assert_eq!(event["kind"], "tool_call_completed");
    assert!(event["cut"].as_array().is_some_and(|cut| !cut.is_empty()), "cut to the cap, and told");
}

#[test]
fn a_hook_that_is_no_json_object_is_refused() {
    let world = World::new();
    let server = world.server();
    for body in ["", "nonsense", "[]", "{\"session_id\":"] {
        let answer = server.post("/hooks/claude", body);
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "malformed_json"), "{body}");
    }
}

#[test]
fn half_a_character_is_mended_in_a_hook_and_refused_in_an_emit() {
    let world = World::new();
    let server = world.server();
    let json = [("Content-Type", "application/json")];
    let head = r#"{"session_id":"s","hook_event_name":"PostToolUse","tool_name":"Bash","tool_use_id":"#;
    for (id, cut) in [("t1", &br"cut \ud83d"[..]), ("t2", b"cut \xe9")] {
        let hook =
            [format!("{head}\"{id}\",\"tool_response\":{{\"stdout\":\"").as_bytes(), cut, b"\"}}"].concat();
        let answer = server.request("POST", "/hooks/claude", &json, &hook);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seq: u64 = answer.header("mnemosyne-seq").expect("its seq").parse().expect("a number");
        let event = server.get(&format!("/events/{seq}")).json();
        assert_eq!(event["kind"], "tool_call_completed");
        assert_eq!(event["payload"]["output"]["stdout"], "cut \u{fffd}");
        let emit = [br#"{"kind":"custom","payload":{"name":""#, cut, b"\"}}"].concat();
        let answer = server.request("POST", "/events/emit", &json, &emit);
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "malformed_json"));
    }
}

#[test]
fn pages_follow_each_other_and_filters_move_the_cursor() {
    let world = World::new();
    let server = world.server();
    let batch: Vec<_> =
        (0..25).map(|n| custom(if n % 5 == 0 { "five" } else { "other" }, json!(n))).collect();
    let seqs = emit(&server, &json!(batch));
    let first = server.get(&format!("/events?from={}&limit=10", seqs[0])).json();
    assert_eq!(
        (first["events"].as_array().map(Vec::len), &first["next"], &first["more"]),
        (Some(10), &json!(seqs[9]), &json!(true))
    );
    let found = server.get("/events?grep=five&kind=custom").json();
    assert_eq!(found["events"].as_array().map(Vec::len), Some(5));
    assert_eq!((&found["next"], &found["more"]), (&found["tail"], &json!(false)));
    let until = server.get(&format!("/events?until={}", seqs[3])).json();
    assert_eq!((&until["next"], &until["more"]), (&json!(seqs[3]), &json!(false)));
}

#[test]
fn reading_what_is_not_there_is_told_by_code() {
    let world = World::new();
    let server = world.server();
    let cases = [
        ("/events/0", 404, "not_found"),
        ("/events/999999", 404, "not_found"),
        ("/events/x", 404, "not_found"),
        ("/events/1?what=1", 400, "unknown_parameter"),
        ("/events?limit=0", 400, "invalid_parameter"),
        ("/events?limit=1001", 400, "invalid_parameter"),
        ("/events?after=-1", 400, "invalid_cursor"),
        ("/events?after=999999", 409, "cursor_ahead"),
        ("/events?journal=0123", 409, "other_journal"),
        ("/events?min_importance=x", 400, "invalid_parameter"),
        ("/events?kinds=a", 400, "unknown_parameter"),
        ("/health?x=1", 400, "unknown_parameter"),
        ("/nowhere", 404, "not_found"),
        ("/", 404, "not_found"),
    ];
    for (path, status, code) in cases {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{path}");
    }
    for (path, words) in [
        ("/events?frm=3", "the route has no parameter `frm`; did you mean `from`?"),
        ("/sessions?sinse=2h", "the route has no parameter `sinse`; did you mean `since`?"),
        ("/events?limit=x", "`limit`: a whole number is wanted"),
        ("/sessions/s/timeline?patches=yes", "`patches`: true or false is wanted"),
        (
            "/events?category=agnet",
            "there is no category `agnet`; did you mean `agent`? There are orchestration,",
        ),
    ] {
        let said = server.get(path).json()["error"]["message"].as_str().expect("words").to_owned();
        assert!(said.starts_with(words), "{path}: {said}");
    }
    assert_eq!(server.post("/admin/shutdown?when=now", "{}").status, 400);
    assert_eq!(server.get("/health").status, 200, "and it goes on");
}

#[test]
fn another_method_is_405_and_allow_says_which() {
    let world = World::new();
    let server = world.server();
    let answer = server.get("/events/emit");
    assert_eq!(
        (answer.status, answer.error_code().as_str(), answer.header("allow")),
        (405, "method_not_allowed", Some("POST"))
    );
    let answer = server.post("/events", "{}");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")));
    let answer = server.request("OPTIONS", "/events", &[], b"");
    assert_eq!(answer.status, 405);
    let head = server.request("HEAD", "/events", &[("Connection", "close")], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}
