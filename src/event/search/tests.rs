//! Queries and texts; the same counted a second time by cutting the whole text into words.

use super::words::words;
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn query(text: &str) -> Query {
    Query::parse("q", text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn finds(text: &str, payload: &Json) -> bool {
    let query = query(text);
    let found = query.count(&payload.to_string()).found;
    assert!(query.may_be_in(payload.to_string().as_bytes()) || !found, "the quick look refuses a hit");
    found
}

#[test]
fn words_phrases_and_what_must_not_be_there() {
    let payload = json!({"prompt": "Fix the parser: tool_call_failed in src/foo.rs:12", "n": 7, "list": ["Größe", "a b"]});
    for hit in [
        "fix",
        "PARSER",
        "call",
        "foo.rs:12",
        "\"the parser\"",
        "the parser -lexer",
        "GRÖßE",
        "\"tool call failed\"",
        "-\"parser the\" fix",
        "--lexer fix",
        "a, b",
        "\"the parser",
        "tool_call",
    ] {
        assert!(finds(hit, &payload), "{hit}");
    }
    for miss in ["pars", "\"parser the\"", "fix -parser", "recall", "7", "prompt", "\"12 größe\"", "b a c"]
    {
        assert!(!finds(miss, &payload), "{miss}");
    }
}

#[test]
fn scripts_without_blanks_are_searched_by_letter() {
    let payload = json!({"text": "東日本橋 で 검색을 한다, ภาษาไทย"});
    for hit in ["日本", "本橋で", "검색", "ภาษา", "日本 검색"] {
        assert!(finds(hit, &payload), "{hit}");
    }
    assert!(!finds("本日", &payload));
    assert!(!finds("k", &json!("\u{212a}")), "the Kelvin sign");
}

#[test]
fn any_punctuation_is_legal_and_finds_nothing_alone() {
    for text in ["!!!", "\"", "()[]{}*?\\", "OR:^~", "- -", "\"\" \"", "' OR 1=1 --", "日本\"-"] {
        let query = query(text);
        assert_eq!(query.is_empty(), !text.contains(char::is_alphanumeric), "{text}");
        assert!(!query.count("\"nothing of it\"").found);
    }
}

#[test]
fn what_cannot_be_asked_is_refused_by_name() {
    for text in [
        String::new(),
        " \n".into(),
        "-only -not".into(),
        "x".repeat(QUERY_BYTES_MAX + 1),
        (0..33).map(|n| n.to_string()).collect::<Vec<_>>().join(" "),
    ] {
        let error = Query::parse("q", &text).unwrap_err();
        assert_eq!((error.code, error.field.as_ref()), ("out_of_range", "q"), "{text}");
    }
}

#[test]
fn a_snippet_shows_the_hit_and_where_it_is() {
    let long =
        format!("{} the \n\t needle here and a Needle there {}", "before ".repeat(30), "after ".repeat(60));
    let snippet = query("needle").snippet(&json!({"a": "no", "b": long}));
    let parts: Vec<String> =
        snippet.parts().into_iter().filter(|(hit, _)| *hit).map(|(_, text)| text).collect();
    assert_eq!(parts, ["needle", "Needle"]);
    assert!(
        snippet.text.starts_with('…')
            && snippet.text.ends_with('…')
            && snippet.text.contains("the needle here")
    );
    assert!(snippet.text.chars().count() <= 162, "{}", snippet.text);
    let parts = query("日本").snippet(&json!("x日本y")).parts();
    assert_eq!(parts, [(false, "x".to_owned()), (true, "日本".into()), (false, "y".into())]);
}

/// The naive way: both cut into words, one looked for in the other at every place.
fn naive(term: &str, text: &str) -> usize {
    let (wanted, words) = (words(term), words(text));
    if wanted.is_empty() {
        return 0;
    }
    words.windows(wanted.len()).filter(|window| *window == wanted).count()
}

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("ab"),
        Just("a"),
        Just("B"),
        Just(" "),
        Just("_"),
        Just("日"),
        Just("本"),
        Just("ß"),
        Just("É"),
        Just("é"),
        Just("\u{212a}"),
        Just("İ"),
        Just("k"),
        Just("\""),
        Just("\\"),
        Just("\n"),
        Just("-"),
        Just("9"),
        Just("한"),
        Just("e\u{301}"),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_term_is_counted_as_by_cutting_the_text_into_words(term in texts(), text in texts()) {
        let Some(found) = Term::of(&term) else {
            prop_assert!(words(&term).is_empty());
            return Ok(());
        };
        prop_assert_eq!(found.count(&text) as usize, naive(&term, &text));
        let payload = json!({"k": text}).to_string();
        prop_assert!(found.may_be_in(payload.as_bytes()) || naive(&term, &text) == 0);
    }

    #[test]
    fn no_query_and_no_text_is_too_strange(text in ".{0,80}", payload in ".{0,80}") {
        if let Ok(query) = Query::parse("q", &text) {
            let payload = json!([payload]);
            let counts = query.count(&payload.to_string());
            let snippet = query.snippet(&payload);
            prop_assert_eq!(snippet.marks.is_empty(), counts.each.iter().all(|n| *n == 0));
        }
    }
}
