//! Filters: each one through `events`, `tail`, `GET /events` and a naive filter over all events, which must agree.

use crate::support::World;
use serde_json::{Value, json};

fn recorded() -> World {
    let world = World::new();
    let server = world.server();
    for n in 0..24_u64 {
        let (kind, payload) = match n % 4 {
            0 => ("prompt_submitted", json!({"prompt": format!("Look for needle {n} in the hay")})),
            1 => ("notification_raised", json!({"message": "wait", "notification_type": "idle_prompt"})),
            2 => ("subagent_started", json!({"agent_id": "a1", "agent_type": "Explore"})),
            _ => ("custom", json!({"name": "deploy", "data": {"to": "NEEDLE"}})),
        };
        let mut event = json!({"kind": kind, "payload": payload, "importance": 1 + n % 10});
        if n % 3 != 0 {
            event["session"] = json!(format!("session-{}", n % 3));
        }
        if n % 5 == 0 {
            event["agent"] = json!(format!("helper-{}", n % 2));
        }
        if n % 2 == 0 {
            event["project"] = json!(if n % 6 == 0 { "parcels" } else { "letters" });
        }
        let answer = server.post("/events/emit", &event.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.stop();
    world
}

type Naive = fn(&Value) -> bool;

fn is(event: &Value, key: &str, wanted: &[&str]) -> bool {
    event[key].as_str().is_some_and(|found| wanted.contains(&found))
}

const CASES: &[(&[(&str, &str)], Naive)] = &[
    (&[], |_| true),
    (&[("session", "session-1")], |e| is(e, "session", &["session-1"])),
    (&[("session", "session-1"), ("session", "session-2")], |e| {
        is(e, "session", &["session-1", "session-2"])
    }),
    (&[("agent", "helper-0")], |e| is(e, "agent", &["helper-0"])),
    (&[("project", "parcels")], |e| is(e, "project", &["parcels"])),
    (&[("project", "project:parcels"), ("project", "letters")], |e| {
        is(e, "project", &["parcels", "letters"])
    }),
    (&[("kind", "prompt_*")], |e| is(e, "kind", &["prompt_submitted"])),
    (&[("kind", "custom,*_star?ed")], |e| {
        e["kind"].as_str().is_some_and(|k| k == "custom" || k.ends_with("_started"))
    }),
    (&[("category", "agent")], |e| is(e, "category", &["agent"])),
    (&[("category", "custom, session")], |e| is(e, "category", &["custom", "session"])),
    (&[("min_importance", "7")], |e| e["importance"].as_u64() >= Some(7)),
    (&[("grep", "needle")], |e| e.to_string().to_lowercase().contains("needle")),
    (&[("grep", "needle 4 in")], |e| e.to_string().contains("needle 4 in")),
    (&[("kind", "custom"), ("min_importance", "5"), ("project", "letters")], |_| false),
    (&[("kind", "prompt_submitted"), ("min_importance", "5"), ("project", "letters")], |e| {
        is(e, "kind", &["prompt_submitted"])
            && e["importance"].as_u64() >= Some(5)
            && is(e, "project", &["letters"])
    }),
    (&[("from", "9"), ("until", "17"), ("kind", "custom")], |e| {
        (9..=17).contains(&e["seq"].as_u64().unwrap_or(0)) && is(e, "kind", &["custom"])
    }),
    (&[("until", "2020-01-01T00:00:00Z")], |_| false),
    (&[("since", "2020-01-01T00:00:00Z"), ("agent", "helper-1")], |e| is(e, "agent", &["helper-1"])),
];

#[test]
fn every_filter_and_range_means_the_same_in_flags_and_in_urls() {
    let world = recorded();
    let server = world.server();
    let last = server.get("/events?limit=1000").json()["tail"].as_u64().expect("a tail").to_string();
    let all = world.events(["--until", &last]);
    for (pairs, naive) in CASES {
        let expected: Vec<&Value> = all.iter().filter(|event| naive(event)).collect();
        let mut args: Vec<String> = Vec::new();
        let mut query = String::from("/events?limit=1000");
        let until = ("until", last.as_str());
        let has_until = pairs.iter().any(|(key, _)| *key == "until");
        for (key, value) in pairs.iter().copied().chain((!has_until).then_some(until)) {
            args.extend([format!("--{}", key.replace('_', "-")), value.to_owned()]);
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            query.extend(["&", key, "=", &value]);
        }
        let by_events = world.events(args.iter().map(String::as_str));
        assert_eq!(by_events.iter().collect::<Vec<_>>(), expected, "events: {pairs:?}");
        let tail = ["tail", "--json", "-n", "1000"].into_iter().chain(args.iter().map(String::as_str));
        let by_tail = world.ok(tail).json_lines();
        assert_eq!(by_tail.iter().collect::<Vec<_>>(), expected, "tail: {pairs:?}");
        let answer = server.get(&query);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let page = answer.json();
        assert_eq!(
            page["events"].as_array().map(|events| events.iter().collect()),
            Some(expected),
            "{query}"
        );
    }
    server.stop();
}

#[test]
fn a_misspelt_kind_or_category_is_told_what_was_meant_in_every_place() {
    let world = recorded();
    let server = world.server();
    for (key, typed, meant) in
        [("kind", "promt_submitted", "prompt_submitted"), ("category", "sesion", "session")]
    {
        for command in ["events", "tail"] {
            let ran = world.run([command, &format!("--{key}"), typed]);
            assert_eq!(ran.code, Some(2), "{ran}");
            assert!(ran.stderr.contains(&format!("did you mean `{meant}`?")), "{ran}");
        }
        let answer = server.get(&format!("/events?{key}={typed}"));
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(&format!("did you mean `{meant}`?")), "{}", answer.text());
    }
    server.stop();
}
