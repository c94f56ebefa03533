//! `diff` on real sessions: each with itself and each with each other.

use crate::support::{World, shared_data};
use serde_json::Value;

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// Every call of either side is told of once: as aligned, as changed in its input, or as one side's own.
fn accounts_for_every_call(diff: &Value) {
    let other_input = list(&diff["changed"]).iter().filter(|pair| !list(&pair["input"]).is_empty()).count();
    let both = count(&diff["aligned"]) + other_input as u64;
    for (side, own) in [("a", "only_a"), ("b", "only_b")] {
        let own = list(&diff[own]).len() as u64;
        assert_eq!(count(&diff[side]["calls"]), both + own, "{side}: {diff}");
    }
    assert_eq!((count(&diff["omitted"]), count(&diff["a"]["calls_omitted"])), (0, 0));
    // In their order each difference stands once, and the calls alike between them.
    let order = list(&diff["order"]);
    let differences: usize =
        ["changed", "only_a", "only_b"].iter().map(|part| list(&diff[*part]).len()).sum();
    assert_eq!((order.len(), count(&diff["order_omitted"])), (differences, 0), "{diff}");
    let alike: u64 = order.iter().map(|place| count(&place["alike"])).sum();
    let other_outcome = order.iter().filter(|place| place["how"] == "outcome").count() as u64;
    assert_eq!(alike + count(&diff["alike_last"]) + other_outcome, count(&diff["aligned"]), "{diff}");
}

#[test]
fn real_sessions_differ_from_each_other_the_same_both_ways_and_not_from_themselves() {
    let Some(data) = shared_data() else { return };
    let world = World::new();
    world.ok(["import", data.join("transcripts").to_str().expect("a path of UTF-8")]);
    let listed = world.ok(["sessions", "--limit", "100", "--json"]).json();
    let sessions: Vec<&str> =
        list(&listed["sessions"]).iter().map(|session| session["id"].as_str().expect("an id")).collect();
    assert!(sessions.len() >= 5, "{sessions:?}");
    let diff = |a: &str, b: &str| world.ok(["diff", a, b, "--json", "--limit", "100000"]).json();
    let mut calls = 0;
    for (n, a) in sessions.iter().enumerate() {
        let own = diff(a, a);
        assert_eq!((&own["same"], &own["first_divergence"]), (&Value::Bool(true), &Value::Null), "{own}");
        assert!(["changed", "only_a", "only_b"].iter().all(|part| list(&own[*part]).is_empty()), "{own}");
        assert_eq!(own["aligned"], own["a"]["calls"]);
        calls += count(&own["aligned"]);
        for b in &sessions[n + 1..] {
            let (there, back) = (diff(a, b), diff(b, a));
            accounts_for_every_call(&there);
            accounts_for_every_call(&back);
            for (one, other) in [("a", "b"), ("b", "a"), ("same", "same"), ("aligned", "aligned")] {
                assert_eq!(there[one], back[other], "{one} of {a} and {b}");
            }
            for figure in ["calls", "failed", "denied", "span_ms", "tool_ms"] {
                let (one, other) = (&there["delta"][figure], &back["delta"][figure]);
                assert_eq!(one.as_i64(), other.as_i64().map(|other| -other), "{figure} of {a} and {b}");
            }
            let parted = there["first_divergence"].is_object();
            assert_eq!(parted, there["same"] == false, "what is not the same parts somewhere: {there}");
        }
    }
    assert!(calls > 100, "{calls} calls are too few to show anything");
}
