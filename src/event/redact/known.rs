//! Secrets that the user has named: these very values, wherever they stand.

use std::sync::OnceLock;

use memchr::memmem::Finder;

use super::Spans;

/// Of each value, as it is and as it stands in JSON, and in JSON within JSON.
static KNOWN: OnceLock<Vec<Finder<'static>>> = OnceLock::new();
/// How often a value may have been quoted.
const QUOTED_MAX: usize = 2;

/// From now on every redactor of this process takes these values out too. For the start of a process, before it holds an event: only the
/// first call counts.
pub fn know(values: impl IntoIterator<Item = String>) {
    KNOWN.get_or_init(|| finders(values));
}

fn finders(values: impl IntoIterator<Item = String>) -> Vec<Finder<'static>> {
    let mut found = Vec::new();
    for value in values.into_iter().filter(|value| !value.is_empty()) {
        let mut written = value;
        for _ in 0..=QUOTED_MAX {
            let quoted = written.replace('\\', "\\\\").replace('"', "\\\"");
            let same = quoted == written;
            found.push(Finder::new(&written).into_owned());
            if same {
                break;
            }
            written = quoted;
        }
    }
    found
}

pub(super) fn find(text: &str, spans: &mut Spans) {
    find_each(KNOWN.get().map_or(&[], Vec::as_slice), text, spans);
}

fn find_each(known: &[Finder<'static>], text: &str, spans: &mut Spans) {
    for finder in known {
        for start in finder.find_iter(text.as_bytes()) {
            let end = start + finder.needle().len();
            // A value in UTF-8 begins and ends where characters do.
            if text.is_char_boundary(start) && text.is_char_boundary(end) {
                spans.add(start, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(values: &[&str], text: &str) -> Option<String> {
        let mut spans = Spans::default();
        find_each(&finders(values.iter().map(|value| (*value).to_owned())), text, &mut spans);
        spans.replace(text)
    }

    #[test]
    fn these_values_are_found_wherever_they_stand_and_no_other() {
        let known = ["correct-horse", "staple"];
        assert_eq!(without(&known, "xcorrect-horsex staple"), Some("x***REDACTED***x ***REDACTED***".into()));
        assert_eq!(without(&known, "correct horse, stapl"), None);
        assert_eq!(
            without(&["\u{e9}t\u{e9}-\u{e9}t\u{e9}"], "\u{e9}t\u{e9}-\u{e9}t\u{e9}!"),
            Some("***REDACTED***!".into())
        );
        assert_eq!(without(&[], "correct-horse"), None);
    }

    #[test]
    fn a_value_with_quotes_is_found_in_json_within_json() {
        let value = "a\"b\\c-12345";
        let once = serde_json::to_string(value).unwrap();
        let twice = serde_json::to_string(&once).unwrap();
        for text in [value, &once, &twice] {
            let redacted = without(&[value], text).unwrap();
            assert!(!redacted.contains("12345"), "{redacted}");
        }
    }
}
