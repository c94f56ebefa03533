//! Summaries: what people read.

use super::codec::{any_event, example};
use crate::event::*;
use proptest::prelude::*;

fn of(kind: Kind, payload: &str) -> String {
    let mut event = example(kind);
    event.payload = PayloadText::parse(payload).unwrap();
    event.summary()
}

#[test]
fn summaries_say_what_happened() {
    assert_eq!(example(Kind::RememberExecuted).summary(), "remember_executed: Test (importance 8)");
    assert_eq!(
        of(Kind::CliCommandCompleted, r#"{"command":"remember","duration_ms":1234,"result_summary":""}"#),
        "cli_command_completed: remember (1.2 s)"
    );
    assert_eq!(example(Kind::ToolCallStarted).summary(), "tool_call_started: Bash cargo test");
    assert_eq!(
        of(Kind::ToolCallStarted, r#"{"tool":"X","input":{"a":1}}"#),
        r#"tool_call_started: X {"a":1}"#
    );
    assert_eq!(
        of(Kind::ToolCallFailed, r#"{"tool":"X","error":"no","duration_ms":61000}"#),
        "tool_call_failed: X: no (1 min 1 s)"
    );
    assert_eq!(
        of(Kind::InboxDrained, r#"{"events":1,"duplicates":0,"quarantined":0}"#),
        "inbox_drained: 1 event, 0 known before, 0 quarantined"
    );
    assert_eq!(
        of(Kind::JournalRecovered, r#"{"tail_seq":5,"torn_bytes":1,"damaged_ranges":2}"#),
        "journal_recovered: tail 5, 1 torn byte, 2 damaged ranges"
    );
    assert_eq!(example(Kind::HealthCheckStarted).summary(), "health_check_started");
    assert_eq!(of(Kind::TurnCompleted, "{}"), "turn_completed");
}

#[test]
fn a_summary_is_one_safe_line() {
    let line = of(Kind::PromptSubmitted, r#"{"prompt":"one\n two\t\tthree\u001b[31m\u202eevil\u0000"}"#);
    assert_eq!(line, "prompt_submitted: one two three\u{fffd}[31m\u{fffd}evil\u{fffd}");
}

#[test]
fn a_long_summary_ends_in_an_ellipsis_at_120_columns() {
    let line = of(Kind::PromptSubmitted, &format!(r#"{{"prompt":"{}"}}"#, "é".repeat(300)));
    assert_eq!(line.chars().count(), 120);
    assert!(line.ends_with("é…"), "{line}");
    let wide = of(Kind::PromptSubmitted, &format!(r#"{{"prompt":"{}"}}"#, "漢".repeat(300)));
    assert_eq!(wide.chars().filter(|c| *c == '漢').count(), 50);
    let exact = of(Kind::PromptSubmitted, &format!(r#"{{"prompt":"{}"}}"#, "x".repeat(102)));
    assert_eq!((exact.len(), exact.ends_with('x')), (120, true));
}

#[test]
fn templates_name_only_fields_that_exist() {
    for &kind in Kind::ALL {
        for name in crate::event::summary::names_in(kind) {
            assert!(kind.fields().iter().any(|field| field.name == name), "{kind} has no field {name}");
        }
        let summary = example(kind).summary();
        assert!(summary.starts_with(kind.name()), "{summary}");
        assert!(kind.fields().is_empty() || summary.len() > kind.name().len() + 2, "{summary}");
    }
}

proptest! {
    #[test]
    fn no_event_has_a_long_or_unsafe_summary(event in any_event(), prompt in "\\PC{0,200}|.{0,200}") {
        let mut spoken = example(Kind::PromptSubmitted);
        spoken.payload = PayloadText::from_json(&serde_json::json!({"prompt": prompt})).unwrap();
        for summary in [event.summary(), spoken.summary()] {
            prop_assert!(summary.chars().count() <= 120);
            prop_assert!(!summary.chars().any(char::is_control));
        }
    }
}
