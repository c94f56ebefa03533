//! What changed in a state, for people: `/counts/prompts: 0 -> 1`.
//!
//! A state says of much of what it holds when it was said, and keeps fingerprints to join events by. At each step that is most of what
//! changes and nothing that anybody looks for, so it is left out here, as is what stands at nothing in a value that is new. Programs get
//! all of it as JSON.

use crate::event::{Json, Timestamp};
use crate::projection::changes::Change;

/// Beyond this a number is a fingerprint, not a count: JSON's own numbers end here too.
const COUNT_MAX: u64 = 1 << 53;

/// A line for each place that is worth one.
pub(super) fn of(changes: &[Change]) -> Vec<String> {
    changes.iter().filter_map(line).collect()
}

fn line(change: &Change) -> Option<String> {
    let mut path: Vec<&str> = change.path.split('/').skip(1).collect();
    let within_mark = path.last().is_some_and(|last| matches!(*last, "micros" | "seq"));
    if within_mark || path.iter().any(|name| is_of_the_fold(name)) {
        return None;
    }
    // What was said, and when: the first is meant.
    if path.last() == Some(&"value") {
        path.pop();
    }
    let value = |value: Option<&Json>| match value {
        None => Some("-".to_owned()),
        Some(value) if is_plain(value) => Some(value.to_string()),
        Some(value) => moment(value).or_else(|| brief(value)).map(|value| value.to_string()),
    };
    let (old, new) = (value(change.old.as_ref()), value(change.new.as_ref()));
    if old.is_none() && new.is_none() {
        return None;
    }
    let or_nothing = |value: Option<String>| value.unwrap_or_else(|| "{}".to_owned());
    Some(format!("/{}: {} -> {}", path.join("/"), or_nothing(old), or_nothing(new)))
}

/// Names of what only the fold has use for.
fn is_of_the_fold(name: &str) -> bool {
    matches!(name, "seq_first" | "seq_last" | "key" | "touch")
}

fn is_plain(value: &Json) -> bool {
    match value {
        Json::Object(_) | Json::Array(_) => false,
        Json::Number(number) => number.as_u64().is_none_or(|number| number < COUNT_MAX),
        Json::Null | Json::Bool(_) | Json::String(_) => true,
    }
}

/// A value without what is nothing, a fingerprint, or a moment; none if that is all of it.
fn brief(value: &Json) -> Option<Json> {
    match value {
        Json::Object(fields) => {
            if moment(value).is_some() {
                return None;
            }
            if let (Some(said), true) = (fields.get("value"), fields.contains_key("mark")) {
                return brief(said);
            }
            // A call keeps the likeness of its input.
            let is_likeness = |name: &str, value: &Json| {
                name == "input" && value.is_number() && fields.contains_key("tool")
            };
            let fields =
                fields.iter().filter(|(name, value)| !is_of_the_fold(name) && !is_likeness(name, value));
            let kept: serde_json::Map<_, _> =
                fields.filter_map(|(name, value)| Some((name.clone(), brief(value)?))).collect();
            (!kept.is_empty()).then_some(Json::Object(kept))
        }
        // Numbers in a row are the bytes of an id or the buckets of a histogram.
        Json::Array(items) if items.iter().all(Json::is_number) => None,
        Json::Array(items) => {
            let kept: Vec<_> = items.iter().filter_map(brief).collect();
            (!kept.is_empty()).then_some(Json::Array(kept))
        }
        Json::Number(number) if number.as_u64() == Some(0) => None,
        Json::Null | Json::Bool(false) => None,
        plain => is_plain(plain).then(|| plain.clone()),
    }
}

/// A place in time and in the journal: its time.
fn moment(mark: &Json) -> Option<Json> {
    mark.get("seq")?;
    Some(Timestamp::from_micros(mark.get("micros")?.as_i64()?).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::changes::changes;
    use serde_json::json;

    #[test]
    fn what_somebody_looks_for_is_told_and_nothing_else() {
        let mark = |seq: u64| json!({"micros": 1_770_757_912_438_000_i64, "seq": seq});
        let old = json!({
            "key": 10_605_221_131_940_099_314_u64, "last": mark(1), "seq_last": 1, "counts": {"prompts": 0},
            "decided": {"mark": mark(1), "value": "idle"}, "title": null, "calls": {}, "seen_by": {"a": mark(1)},
        });
        let new = json!({
            "key": 10_605_221_131_940_099_314_u64, "last": mark(2), "seq_last": 2, "counts": {"prompts": 1},
            "decided": {"mark": mark(2), "value": "working"}, "title": {"mark": mark(2), "value": "why?"},
            "calls": {"t1": {"tool": "Bash", "agent": null, "seen": mark(2), "input": 253_285_520_191_u64,
                "start": [1, 2], "touch": {"path": null, "counted": false}}},
            "seen_by": {"a": mark(2)},
        });
        let expected = [
            "/calls/t1: - -> {\"tool\":\"Bash\"}",
            "/counts/prompts: 0 -> 1",
            "/decided: \"idle\" -> \"working\"",
            "/title: null -> \"why?\"",
        ];
        let mut told = of(&changes(&old, &new));
        told.sort();
        assert_eq!(told, expected);
        let begun = of(&changes(&Json::Null, &old));
        assert_eq!(begun.len(), 1, "{begun:?}");
        assert!(begun[0].starts_with("/: - -> {") && begun[0].contains("\"decided\":\"idle\""), "{begun:?}");
        assert!(!begun[0].contains("10605221131940099314") && !begun[0].contains("counts"), "{begun:?}");
    }

    #[test]
    fn what_ends_is_told_as_what_begins() {
        let old = json!({"waits": [{"tool": "Bash"}], "n": 10_605_221_131_940_099_314_u64});
        let new = json!({"waits": [], "n": 1});
        let mut told = of(&changes(&old, &new));
        told.sort();
        assert_eq!(told, ["/n: {} -> 1", "/waits/0: {\"tool\":\"Bash\"} -> -"]);
    }
}
