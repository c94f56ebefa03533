//! `events --search` and `GET /events?q=`: the same hits in the same order, on the command line and over HTTP.

use crate::support::World;
use serde_json::{Value, json};

/// A world with a server, in which these prompts were recorded, in sessions `s0`, `s1`, `s0`, ...
fn recorded(prompts: &[&str]) -> World {
    let world = World::new();
    let server = world.server();
    for (n, prompt) in prompts.iter().enumerate() {
        let event = json!({
            "kind": "prompt_submitted", "session": format!("s{}", n % 2), "payload": {"prompt": prompt},
        });
        assert_eq!(server.post("/events/emit", &event.to_string()).status, 200);
    }
    server.stop();
    world
}

const PROMPTS: [&str; 6] = [
    "fix the parser of the parcels",
    "parser parser parser",
    "why does src/parser.rs:12 fail? the test says: unexpected end, and it is a long story",
    "東日本橋 by train",
    "write a \"tool_call_failed\" test",
    "nothing",
];

fn prompts(hits: &[Value]) -> Vec<&str> {
    hits.iter().map(|hit| hit["event"]["payload"]["prompt"].as_str().expect("a prompt")).collect()
}

/// Percent-encoded, all of it.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn the_best_match_comes_first_and_both_ways_show_the_same() {
    let world = recorded(&PROMPTS);
    let server = world.server();
    let searches: [(&str, &[&str]); 9] = [
        ("parser", &[PROMPTS[1], PROMPTS[0], PROMPTS[2]]),
        ("parser -fail", &[PROMPTS[1], PROMPTS[0]]),
        ("\"the parser\"", &[PROMPTS[0]]),
        ("parser.rs:12", &[PROMPTS[2]]),
        ("日本", &[PROMPTS[3]]),
        ("TOOL_CALL", &[PROMPTS[4]]),
        ("pars", &[]),
        ("?!*", &[]),
        ("' OR \"", &[]),
    ];
    for (query, expected) in searches {
        let args = ["events", "--json", "--kind", "prompt_submitted", "--search", query];
        let hits = world.ok(args).json_lines();
        assert_eq!(prompts(&hits), expected, "{query}");
        let answer = server.get(&format!("/events?kind=prompt_submitted&q={}", encoded(query)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        assert_eq!(page["hits"].as_array(), Some(&hits), "{query}");
        assert_eq!(
            (page["matched"].as_u64(), page["searched"].as_u64()),
            (Some(expected.len() as u64), Some(6))
        );
        let mut scores = hits.iter().map(|hit| hit["score"].as_f64().expect("a score"));
        assert!(
            scores.clone().all(|score| score > 0.0)
                && scores.clone().zip(scores.by_ref().skip(1)).all(|(a, b)| a >= b)
        );
    }
    server.stop();
}

#[test]
fn filters_and_ranges_apply_before_the_ranking_and_the_limit() {
    let world = recorded(&PROMPTS);
    let search = |more: &[&str]| -> Vec<Value> {
        world.ok(["events", "--json", "--search", "parser"].iter().chain(more)).json_lines()
    };
    assert_eq!(prompts(&search(&["--session", "s0"])), [PROMPTS[0], PROMPTS[2]]);
    assert_eq!(prompts(&search(&["--limit", "1"])), [PROMPTS[1]]);
    let seq = search(&["--limit", "1"])[0]["event"]["seq"].to_string();
    assert_eq!(prompts(&search(&["--from", &seq])), [PROMPTS[1], PROMPTS[2]]);
    assert_eq!(prompts(&search(&["--until", &seq])), [PROMPTS[1], PROMPTS[0]]);
    assert_eq!(prompts(&search(&["--until", "2020-01-01"])), [""; 0]);
    assert_eq!(prompts(&search(&["--since", "2020-01-01"])).len(), 3);
}

#[test]
fn for_people_a_line_shows_where_and_marks_the_hit() {
    let world = recorded(&PROMPTS);
    let ran = world.ok(["events", "--search", "unexpected"]);
    assert!(
        ran.stdout.contains("s0        prompt_submitted: ") && ran.stdout.contains("«unexpected» end"),
        "{ran}"
    );
    assert!(ran.stderr.contains("1 of "), "{ran}");
    let colored = world.ok(["events", "--search", "unexpected", "--color", "always"]).stdout;
    assert!(colored.contains("\u{1b}[33munexpected\u{1b}[0m"), "{colored}");
    let none = world.ok(["events", "--search", "?!"]);
    assert!(none.stdout.is_empty() && none.stderr.contains("--grep finds punctuation"), "{none}");
}

#[test]
fn what_cannot_be_searched_for_is_a_usage_error_and_a_400() {
    let world = recorded(&[]);
    let server = world.server();
    for query in ["", "   ", "-not", &"x".repeat(1_025)] {
        let ran = world.run(["events", "--search", query]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{query}: {ran}");
        let answer = server.get(&format!("/events?q={}", encoded(query)));
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "invalid_parameter"), "{query}");
    }
    server.stop();
}
