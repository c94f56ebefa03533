//! What changed from one JSON value to another: a structural difference, as short as it can be said without guessing.
//!
//! Objects are compared by key and lists by place; what is only in one of the two is told whole. Pure.

use serde::{Deserialize, Deserializer, Serialize};

use crate::event::Json;

/// One place that is not the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where, as a JSON pointer (RFC 6901): `/counts/prompts`, `/waits/0/tool`; empty for the whole value.
    pub path: String,
    /// What stood there; absent where nothing did.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "there")]
    pub old: Option<Json>,
    /// What stands there; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "there")]
    pub new: Option<Json>,
}

/// A value that is there is there, `null` too.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// Everything that changed, in the order of the new value; what is gone comes last of its object.
pub fn changes(old: &Json, new: &Json) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&mut String::new(), old, new, &mut changes);
    changes
}

fn compare(path: &mut String, old: &Json, new: &Json, changes: &mut Vec<Change>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Json::Object(old), Json::Object(new)) => {
            for (key, value) in new {
                at(path, key, |path| child(path, old.get(key), Some(value), changes));
            }
            for (key, value) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                at(path, key, |path| child(path, Some(value), None, changes));
            }
        }
        (Json::Array(old), Json::Array(new)) => {
            for place in 0..old.len().max(new.len()) {
                at(path, &place.to_string(), |path| child(path, old.get(place), new.get(place), changes));
            }
        }
        (old, new) => child(
            path,
            Some(old).filter(|old| !old.is_null()),
            Some(new).filter(|new| !new.is_null()),
            changes,
        ),
    }
}

fn child(path: &mut String, old: Option<&Json>, new: Option<&Json>, changes: &mut Vec<Change>) {
    match (old, new) {
        (Some(old), Some(new)) if are_trees(old, new) => compare(path, old, new, changes),
        (old, new) if old == new => {}
        (old, new) => changes.push(Change { path: path.clone(), old: old.cloned(), new: new.cloned() }),
    }
}

fn are_trees(old: &Json, new: &Json) -> bool {
    (old.is_object() && new.is_object()) || (old.is_array() && new.is_array())
}

fn at(path: &mut String, key: &str, then: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&key.replace('~', "~0").replace('/', "~1"));
    then(path);
    path.truncate(length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(old: &Json, new: &Json) -> Vec<String> {
        let text = |value: Option<Json>| value.map_or("-".to_owned(), |value| value.to_string());
        let one = |change: Change| format!("{}: {} -> {}", change.path, text(change.old), text(change.new));
        changes(old, new).into_iter().map(one).collect()
    }

    #[test]
    fn only_what_differs_is_told_by_its_path() {
        let old = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}, "gone": {"e": 1}, "same": [{}]});
        let new = json!({"a": 2, "b": {"c": [1, 3, 4], "d": "x"}, "new": [], "same": [{}]});
        let expected =
            ["/a: 1 -> 2", "/b/c/1: 2 -> 3", "/b/c/2: - -> 4", "/new: - -> []", "/gone: {\"e\":1} -> -"];
        assert_eq!(told(&old, &new), expected);
        assert_eq!(told(&new, &new), [""; 0]);
        assert_eq!(told(&json!({"x/y~": 1}), &json!({"x/y~": 2})), ["/x~1y~0: 1 -> 2"]);
    }

    #[test]
    fn a_value_that_begins_or_ends_is_told_whole() {
        assert_eq!(told(&Json::Null, &json!({"a": 1})), [": - -> {\"a\":1}"]);
        assert_eq!(told(&json!({"a": null}), &json!({"a": {"b": 1}})), ["/a: null -> {\"b\":1}"]);
        assert_eq!(told(&json!({"a": [1]}), &json!({"a": {"0": 1}})), ["/a: [1] -> {\"0\":1}"]);
    }
}
