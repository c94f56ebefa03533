//! Answers of a bounded size that say what was cut.
//!
//! What does not fit is cut where it costs least: long texts first, to ever shorter ones, each with its own mark; then the longest
//! lists, which keep their beginning. The answer then has a `cut`, which names each such list with how many elements were kept of how
//! many. What fits is not touched.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Largest answer of a tool in bytes of JSON: about what clients of models take without cutting it themselves.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Room for the words about what was cut.
const WORDS_BYTES: usize = 4 * 1024;
/// Texts are cut to these lengths in turn.
const TEXT_BYTES: [usize; 4] = [4096, 1024, 256, 64];
/// Lists that are named; of others, which lie inside of those, there is a count.
const LISTS_NAMED: usize = 24;
/// An object of more fields is a list by another name.
const FIELDS_MAX: usize = 64;

const _: () = assert!(WORDS_BYTES * 4 < ANSWER_BYTES_MAX);

/// The object, if need be cut to `bytes_max` bytes of JSON.
pub(super) fn bounded(answer: Value, bytes_max: usize) -> Value {
    if size(&answer) <= bytes_max {
        return answer;
    }
    let room = bytes_max.saturating_sub(WORDS_BYTES);
    let mut answer = answer;
    let mut texts = Texts::default();
    let mut lists = BTreeMap::new();
    for longest in TEXT_BYTES {
        if size(&answer) <= room {
            break;
        }
        // Below this, lists are shortened before words become unreadable.
        if longest < 1024 {
            shorten(&mut answer, room, 8, &mut lists);
        }
        if size(&answer) > room {
            texts.cut(&mut answer, longest);
        }
    }
    shorten(&mut answer, room, 1, &mut lists);
    let named = lists.iter().take(LISTS_NAMED);
    let named: Vec<Value> =
        named.map(|(pointer, (kept, of))| json!({"pointer": pointer, "kept": kept, "of": of})).collect();
    let cut = json!({
        "bytes_max": bytes_max, "texts": texts.count, "text_bytes": texts.bytes,
        "lists": named, "lists_more": lists.len().saturating_sub(LISTS_NAMED),
    });
    if size(&answer) > room {
        return json!({"version": 1, "cut": {"bytes_max": bytes_max, "everything": true}});
    }
    match &mut answer {
        Value::Object(fields) => drop(fields.insert("cut".to_owned(), cut)),
        _ => answer = json!({"version": 1, "answer": answer, "cut": cut}),
    }
    answer
}

fn size(value: &Value) -> usize {
    value.to_string().len()
}

#[derive(Default)]
struct Texts {
    count: u64,
    bytes: u64,
}

impl Texts {
    /// Cuts every text to at most this many bytes and its mark.
    fn cut(&mut self, value: &mut Value, longest: usize) {
        match value {
            Value::String(text) if text.len() > longest + MARK_BYTES => {
                let (kept, before) = original(text);
                let at = kept.floor_char_boundary(longest);
                let gone = (kept.len() - at) as u64;
                self.count += u64::from(before == 0);
                self.bytes += gone;
                *text = format!("{}{MARK}{} more bytes]", &kept[..at], before + gone);
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.cut(element, longest)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.cut(field, longest)),
            _ => {}
        }
    }
}

const MARK: &str = "… [";
/// Longest mark.
const MARK_BYTES: usize = 48;

/// A text without the mark that an earlier cut has left, and how many bytes that cut away.
fn original(text: &str) -> (&str, u64) {
    let marked = text.rsplit_once(MARK).and_then(|(kept, mark)| {
        let gone = mark.strip_suffix(" more bytes]")?.parse().ok()?;
        Some((kept, gone))
    });
    marked.unwrap_or((text, 0))
}

/// Halves the largest list until everything fits or none has more than `least` elements.
fn shorten(answer: &mut Value, room: usize, least: usize, lists: &mut BTreeMap<String, (usize, usize)>) {
    while size(answer) > room {
        let mut largest = None;
        find_largest(answer, &mut String::new(), least, &mut largest);
        let Some((_, pointer)) = largest else { return };
        let Some(list) = answer.pointer_mut(&pointer) else { return };
        let (kept, of) = halve(list, least);
        lists.entry(pointer).and_modify(|known| known.0 = kept).or_insert((kept, of));
    }
}

fn halve(list: &mut Value, least: usize) -> (usize, usize) {
    match list {
        Value::Array(elements) => {
            let of = elements.len();
            elements.truncate((of / 2).max(least));
            (elements.len(), of)
        }
        Value::Object(fields) => {
            let of = fields.len();
            let kept: Map<String, Value> =
                std::mem::take(fields).into_iter().take((of / 2).max(least)).collect();
            *fields = kept;
            (fields.len(), of)
        }
        _ => (0, 0),
    }
}

fn find_largest(value: &Value, pointer: &mut String, least: usize, largest: &mut Option<(usize, String)>) {
    let is_list = match value {
        Value::Array(elements) => elements.len() > least,
        Value::Object(fields) => fields.len() > least.max(FIELDS_MAX),
        _ => return,
    };
    if is_list {
        let size = size(value);
        if largest.as_ref().is_none_or(|(known, _)| size > *known) {
            *largest = Some((size, pointer.clone()));
        }
        // What lies inside is smaller.
        return;
    }
    let length = pointer.len();
    let mut inside = |name: &str, value: &Value| {
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        find_largest(value, pointer, least, largest);
        pointer.truncate(length);
    };
    match value {
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(at, element)| inside(&at.to_string(), element));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, field)| inside(name, field)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_fits_is_not_touched() {
        let answer = json!({"version": 1, "items": [1, 2, "x".repeat(1000)]});
        assert_eq!(bounded(answer.clone(), ANSWER_BYTES_MAX), answer);
    }

    #[test]
    fn long_texts_go_before_elements_and_say_how_much_is_gone() {
        let answer = json!({"version": 1, "items": ["x".repeat(200_000), "y"]});
        let cut = bounded(answer, ANSWER_BYTES_MAX);
        assert_eq!(cut["items"][0], format!("{}… [{} more bytes]", "x".repeat(4096), 200_000 - 4096));
        assert_eq!(cut["items"][1], "y");
        assert_eq!(cut["cut"]["texts"], 1);
        assert_eq!(cut["cut"]["text_bytes"], 200_000 - 4096);
        assert_eq!(cut["cut"]["lists"], json!([]));
    }

    #[test]
    fn a_long_list_keeps_its_beginning_and_is_named() {
        let answer = json!({"version": 1, "of": {"items": (0..50_000).collect::<Vec<_>>()}});
        let cut = bounded(answer, ANSWER_BYTES_MAX);
        let kept = cut["of"]["items"].as_array().unwrap();
        assert_eq!(
            kept.iter().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>(),
            (0..kept.len() as u64).collect::<Vec<_>>()
        );
        assert!(kept.len() > 5_000, "{}", kept.len());
        assert_eq!(cut["cut"]["lists"], json!([{"pointer": "/of/items", "kept": kept.len(), "of": 50_000}]));
    }

    #[test]
    fn an_object_of_thousands_is_a_list_too() {
        let many: Map<String, Value> = (0..5_000).map(|n| (format!("id-{n}"), json!({"n": n}))).collect();
        let cut = bounded(json!({"version": 1, "state": {"sessions": many}}), ANSWER_BYTES_MAX);
        assert_eq!(cut["cut"]["lists"][0]["pointer"], "/state/sessions");
        assert_eq!(cut["cut"]["lists"][0]["of"], 5_000);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            (0_usize..9_000).prop_map(|n| Value::from("é\"".repeat(n))),
        ];
        leaf.prop_recursive(4, 200, 40, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
                prop::collection::vec((".{0,9}", inner), 0..90)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_comes_the_bound_is_kept(answer in any_json()) {
            let bytes_max = 20_000;
            let before = size(&answer);
            let cut = bounded(answer.clone(), bytes_max);
            prop_assert!(size(&cut) <= bytes_max, "{} of {before}", size(&cut));
            prop_assert_eq!(before <= bytes_max, cut == answer);
        }
    }
}
