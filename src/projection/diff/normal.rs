//! What of a tool call's input counts when two runs are compared.
//!
//! Two runs of the same work never give the same bytes: ids, times and temporary paths differ, the same directory lies elsewhere, and a
//! model words its descriptions anew. None of that is a difference. What is left is compared exactly.

use serde_json::Value;

/// Fields of an input that hold prose: a model words them anew each time.
const PROSE: &[&str] = &[
    "description",
    "prompt",
    "plan",
    "todos",
    "questions",
    "explanation",
    "message",
    "subject",
    "activeForm",
];

/// Where temporary files live.
const TEMPORARY: &[&str] = &["/tmp/", "/var/tmp/", "/private/tmp/", "/var/folders/", "/private/var/folders/"];

/// Fields that say what a call is about, the most telling first.
const TARGETS: &[&str] =
    &["file_path", "notebook_path", "path", "url", "command", "pattern", "query", "subagent_type", "skill"];

/// A hexadecimal word of at least so many digits is an id.
const HEX_ID_CHARS: usize = 16;

/// An input as far as it counts: its fields without prose, in the order of their names, noise replaced.
pub(super) fn fields(input: Value, cwd: Option<&str>) -> Vec<(String, Value)> {
    let mut fields: Vec<(String, Value)> = match input {
        Value::Object(object) => {
            object.into_iter().filter(|(name, _)| !PROSE.contains(&name.as_str())).collect()
        }
        Value::Null => Vec::new(),
        other => vec![(String::new(), other)],
    };
    for (_, value) in &mut fields {
        without_noise(value, cwd);
    }
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields
}

/// What a call is about: a file, an address, the program of a command. Two calls of one tool about the same are the same step taken
/// differently.
pub(super) fn target(fields: &[(String, Value)]) -> Option<(&str, &str)> {
    let text =
        |name: &str| fields.iter().find(|(field, _)| field == name).and_then(|(_, value)| value.as_str());
    let (name, value) = TARGETS.iter().find_map(|name| Some((*name, text(name)?)))?;
    Some((name, value))
}

/// The part of a command line that names the program: its first word.
pub(super) fn program(command: &str) -> &str {
    command.split_whitespace().next().unwrap_or_default()
}

fn without_noise(value: &mut Value, cwd: Option<&str>) {
    match value {
        Value::String(text) => *text = text_without_noise(text, cwd),
        Value::Array(elements) => elements.iter_mut().for_each(|element| without_noise(element, cwd)),
        Value::Object(object) => {
            object.values_mut().for_each(|value| without_noise(value, cwd));
            object.sort_keys();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text with ids, times, temporary paths and the session's directory replaced by words that are always the same.
pub(super) fn text_without_noise(text: &str, cwd: Option<&str>) -> String {
    let of_word = |c: char| c.is_alphanumeric() || "/._-~:+".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c| !of_word(c)).unwrap_or(rest.len());
        let (of, after) = rest.split_at(word);
        push_word(&mut out, of, cwd);
        let between = after.find(of_word).unwrap_or(after.len());
        out.push_str(&after[..between]);
        rest = &after[between..];
    }
    out
}

fn push_word(out: &mut String, word: &str, cwd: Option<&str>) {
    let below = cwd.filter(|cwd| cwd.len() > 1).and_then(|cwd| word.strip_prefix(cwd));
    if let Some(below) = below.filter(|below| below.is_empty() || below.starts_with('/')) {
        out.push('.');
        out.push_str(below);
    } else if TEMPORARY.iter().any(|place| word.starts_with(place)) {
        out.push_str("<tmp>");
    } else if is_time(word) {
        out.push_str("<time>");
    } else if is_id(word) {
        out.push_str("<id>");
    } else {
        out.push_str(word);
    }
}

/// A day alone is no moment: it may name a file that matters.
fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 16
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
}

fn is_id(word: &str) -> bool {
    if word.starts_with("toolu_") || word.starts_with("msg_") {
        return true;
    }
    let hex = word.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = word.bytes().filter(|byte| *byte == b'-').count();
    let is_uuid = word.len() == 36 && hex == 32 && dashes == 4;
    let mixed = word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().any(|b| b.is_ascii_alphabetic());
    is_uuid || (hex == word.len() && hex >= HEX_ID_CHARS && mixed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_in_every_run_is_no_difference() {
        let one = json!({"command": "cd /home/a/app && ls /tmp/x1/y --at 2026-01-02T03:04:05Z 258c7280-0000-4000-8000-000000000001",
            "description": "List it"});
        let other = json!({"description": "Look at the files", "command": "cd /srv/app && ls /tmp/zz --at 2027-11-02T13:04:05Z 6d1f3c52-98a4-4a0e-8d3b-2f6f5b7c1e10"});
        let of = |input, cwd| fields(input, Some(cwd));
        assert_eq!(of(one, "/home/a/app"), of(other, "/srv/app"));
    }

    #[test]
    fn what_was_done_is_a_difference() {
        let of = |text| text_without_noise(text, Some("/code/app"));
        for text in ["cargo test", "2026-01-02.log", "deadbeef", "src/a.rs:10", "/code/apple"] {
            assert_eq!(of(text), text);
        }
        assert_eq!(of("/code/app/src/a.rs"), "./src/a.rs");
        assert_ne!(of("a = 1"), of("a = 2"));
    }

    #[test]
    fn a_call_is_about_its_file_before_anything_else() {
        let named = fields(json!({"pattern": "x", "path": "src"}), None);
        assert_eq!(target(&named), Some(("path", "src")));
        assert_eq!(target(&fields(json!({"todos": []}), None)), None);
        assert_eq!(program("  cargo test --lib"), "cargo");
    }
}
