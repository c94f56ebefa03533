//! Filters: what they want, what they refuse, and what they share.

use super::codec::{any_event, example};
use crate::event::*;
use proptest::prelude::*;

fn filter(pairs: &[(&str, &str)]) -> Filter {
    Filter::from_pairs(pairs.iter().copied()).unwrap_or_else(|error| panic!("{pairs:?}: {error}"))
}

fn wants(pairs: &[(&str, &str)], event: &Event) -> bool {
    let filter = filter(pairs);
    let bytes = event.encode();
    let wanted = filter.matches_event(event);
    let envelope = filter.matches_envelope(&EventRef::decode(&bytes).unwrap());
    assert!(envelope || !wanted, "the envelope refuses what the event has");
    assert!(filter.needs_payload() || envelope == wanted);
    wanted
}

#[test]
fn each_key_chooses() {
    let event = example(Kind::ToolCallStarted)
        .with_session("258c7280-ae70-4798-800f-63464d01a85d")
        .with_agent("a2898e3")
        .with_project("project:parser");
    for (key, yes, no) in [
        ("session", "258c7280-ae70-4798-800f-63464d01a85d", "258c7280"),
        ("agent", "a2898e3", "a"),
        ("project", "parser", "pars"),
        ("project", "project:parser", "project:pars"),
        ("kind", "tool_call_started", "tool_call_failed"),
        ("kind", "prompt_submitted, tool_*", "*_completed"),
        ("kind", "*", "session_start?d"),
        ("kind", "to?l_*_st*d", "*ex*"),
        ("category", "store,agent", "session"),
        ("min_importance", "4", "5"),
        ("grep", "CARGO Test", "cargo  test"),
        ("grep", "\"command\":\"cargo", "command: cargo"),
    ] {
        assert!(wants(&[(key, yes)], &event), "{key}={yes}");
        assert!(!wants(&[(key, no)], &event), "{key}={no}");
    }
    assert!(wants(&[("session", "x"), ("session", "258c7280-ae70-4798-800f-63464d01a85d")], &event));
    assert!(!wants(&[("kind", "tool_*"), ("min_importance", "5")], &event));
    assert!(wants(&[], &event));
    assert!(!wants(&[("session", "s")], &example(Kind::ServerStarted)));
}

#[test]
fn grep_finds_what_json_escapes_and_letters_beyond_ascii() {
    let mut event = example(Kind::PromptSubmitted);
    event.payload = PayloadText::parse(r#"{"prompt":"sag \"Größe\"\nund geh"}"#).unwrap();
    for needle in
        ["\"größe\"", "GRÖSSE".to_lowercase().replace("ss", "ß").as_str(), "\"\nund", "prompt_submitted: sag"]
    {
        assert!(wants(&[("grep", needle)], &event), "{needle}");
    }
    assert!(!wants(&[("grep", ".*")], &event));
}

#[test]
fn a_bad_filter_is_refused_by_name() {
    for (key, value, code) in [
        ("sesion", "x", "unknown_key"),
        ("session", "", "out_of_range"),
        ("min_importance", "0", "out_of_range"),
        ("min_importance", "11", "out_of_range"),
        ("min_importance", "high", "out_of_range"),
        ("category", "agents", "unknown_category"),
        ("category", "agent,", "out_of_range"),
        ("kind", "Tool", "out_of_range"),
        ("kind", "a,,b", "out_of_range"),
        ("kind", "nope", "unknown_kind"),
        ("kind", "tool_*,tool_call_started?", "unknown_kind"),
    ] {
        let error = Filter::from_pairs([(key, value)]).unwrap_err();
        assert_eq!((error.field.as_str(), error.code), (key, code), "{key}={value}");
    }
    assert_eq!(Filter::from_pairs([("grep", "a"), ("grep", "b")]).unwrap_err().code, "repeated_key");
}

#[test]
fn filters_that_want_the_same_share_a_key() {
    let one = filter(&[
        ("kind", "turn_completed,custom"),
        ("session", "y"),
        ("session", "x"),
        ("project", "project:p"),
    ]);
    let two = filter(&[
        ("project", "p"),
        ("session", "x"),
        ("session", "y"),
        ("kind", "custom"),
        ("kind", "turn_completed"),
        ("kind", "custom"),
    ]);
    assert_eq!(one.key(), two.key());
    assert_eq!(one, two);
    assert!(Filter::all().is_all() && !one.is_all());
    assert_ne!(
        filter(&[("session", "a;agent=1:b")]).key(),
        filter(&[("session", "a"), ("agent", "b")]).key()
    );
}

proptest! {
    #[test]
    fn a_filter_goes_through_its_pairs(
        pairs in prop::collection::vec(prop_oneof![
            ("session|agent|project", ".{1,8}"), ("kind", "(custom|tool_\\*|\\*|turn_c\\*)(,(custom|t\\*_starte\\?))?"), ("category", "agent|store,cli")], 0..5),
        grep in prop::option::of(".{1,6}"), event in any_event(),
    ) {
        let pairs: Vec<_> = pairs.into_iter().chain(grep.map(|grep| ("grep".to_owned(), grep))).collect();
        let filter = Filter::from_pairs(pairs).unwrap();
        let again = Filter::from_pairs(filter.to_pairs()).unwrap();
        prop_assert_eq!(&again, &filter);
        prop_assert_eq!(again.matches_event(&event), filter.matches_event(&event));
    }
}

#[test]
fn a_kind_that_there_is_not_is_told_with_the_nearest_one() {
    let message = |kind: &str| Filter::from_pairs([("kind", kind)]).unwrap_err().to_string();
    assert!(
        message("tool_call_start").ends_with("did you mean `tool_call_started`?"),
        "{}",
        message("tool_call_start")
    );
    assert!(message("promt_*").contains("did you mean `prompt_submitted`?"), "{}", message("promt_*"));
    assert!(message("zzzz").contains("`custom`"), "{}", message("zzzz"));
}

/// Found by fuzzing: a project of nothing but its prefix made a filter that could not be written down.
#[test]
fn a_project_of_nothing_but_its_prefix_is_empty() {
    let error = Filter::from_pairs([("project", "project:")]).unwrap_err();
    assert_eq!((error.field.as_str(), error.code), ("project", "out_of_range"));
    assert!(Filter::from_pairs([("project", "project:parser")]).is_ok());
}
