//! Requests from clients: what is taken, and how a fault is named.

use super::codec::example;
use crate::event::*;
use proptest::prelude::*;
use uuid::Uuid;

fn fault(body: &str) -> (String, &'static str) {
    let error = EmitRequest::parse(body.as_bytes()).expect_err(body);
    (error.field, error.code)
}

#[test]
fn a_request_becomes_an_event() {
    let body = r#"{"kind":"custom","payload":{"name":"deployed","data":{"z":1.50,"a":2}},"session":"s-1","importance":9,
        "time":"2026-01-02T05:04:05+02:00","project":"parser","id":"0190A5C2-7d1e-7000-8000-000000000001","agent":null}"#;
    let request = EmitRequest::parse(body.as_bytes()).unwrap().remove(0);
    let defaults = EmitDefaults {
        id: Uuid::nil(),
        time: Timestamp::EPOCH,
        instance: "server".into(),
        source: Source::default(),
    };
    let event = request.into_event(defaults.clone());
    assert_eq!(event.payload.as_str(), r#"{"name":"deployed","data":{"z":1.50,"a":2}}"#);
    assert_eq!((event.instance.as_str(), event.session.as_deref(), event.agent), ("s-1", Some("s-1"), None));
    assert_eq!(event.time.to_string(), "2026-01-02T03:04:05.000000Z");
    assert_eq!(event.importance.get(), 9);
    assert_eq!(event.correlation, event.id);

    let bare =
        EmitRequest::parse(br#"[{"kind":"health_check_started"}]"#).unwrap().remove(0).into_event(defaults);
    assert_eq!((bare.id, bare.instance.as_str(), bare.importance.get()), (Uuid::nil(), "server", 5));
}

#[test]
fn every_fault_has_a_place_and_a_code() {
    let good = r#"{"kind":"custom","payload":{"name":"n","data":1}}"#;
    for (body, field, code) in [
        ("", "", "malformed_json"),
        ("{\"kind\":", "", "malformed_json"),
        (&"[".repeat(65), "", "too_deep"),
        ("7", "", "wrong_type"),
        ("[]", "", "out_of_range"),
        (&format!("[{}{good}]", format!("{good},").repeat(1_000)), "", "out_of_range"),
        (&format!("[{good},7]"), "[1]", "wrong_type"),
        (r#"{"payload":{}}"#, "kind", "missing_field"),
        (r#"{"kind":7,"payload":{}}"#, "kind", "wrong_type"),
        (r#"{"kind":"no_such_kind","payload":{}}"#, "kind", "unknown_kind"),
        (r#"{"kind":"server_started","payload":{}}"#, "kind", "own_kind"),
        (r#"{"kind":"custom"}"#, "payload", "missing_field"),
        (r#"{"kind":"custom","payload":[]}"#, "payload", "wrong_type"),
        (r#"{"kind":"custom","payload":{"data":1}}"#, "payload.name", "missing_field"),
        (r#"{"kind":"custom","payload":{"name":"n","data":1},"sesion":"s"}"#, "sesion", "unknown_field"),
        (r#"{"kind":"custom","payload":{"name":"n","data":1},"session":""}"#, "session", "out_of_range"),
        (
            r#"{"kind":"custom","payload":{"name":"n","data":1},"importance":11}"#,
            "importance",
            "out_of_range",
        ),
        (r#"{"kind":"custom","payload":{"name":"n","data":1},"importance":"9"}"#, "importance", "wrong_type"),
        (r#"{"kind":"custom","payload":{"name":"n","data":1},"time":"yesterday"}"#, "time", "wrong_type"),
        (r#"{"kind":"custom","payload":{"name":"n","data":1},"id":"x"}"#, "id", "wrong_type"),
        (
            &format!(r#"[{good},{good},{good},{{"kind":"tool_call_started","payload":{{"tool":1}}}}]"#),
            "[3].payload.tool",
            "wrong_type",
        ),
        (
            r#"{"kind":"memory_updated","payload":{"memory_id":"x","fields_changed":[]}}"#,
            "payload.memory_id",
            "wrong_type",
        ),
        (r#"{"kind":"evolve_started","payload":{"jobs":["a",2]}}"#, "payload.jobs[1]", "wrong_type"),
        (
            r#"{"kind":"dashboard_stopped","payload":{"duration_ms":-1}}"#,
            "payload.duration_ms",
            "out_of_range",
        ),
        (
            r#"{"kind":"dashboard_stopped","payload":{"duration_ms":1.5}}"#,
            "payload.duration_ms",
            "wrong_type",
        ),
        (
            r#"{"kind":"agent_message","payload":{"model":"m","text":"t","message_id":"i","usage":{}}}"#,
            "payload.usage.input_tokens",
            "missing_field",
        ),
    ] {
        assert_eq!(fault(body), (field.to_owned(), code), "{body:.200}");
    }
    let error = EmitRequest::parse(br#"{"kind":"no_such_kind","payload":{}}"#).unwrap_err();
    assert!(error.message.contains("custom"), "{error}");
}

#[test]
fn a_fault_never_shows_the_value() {
    for body in [
        r#"{"kind":"hunter2","payload":{}}"#,
        r#"{"kind":"custom","payload":{"name":["hunter2"],"data":1}}"#,
        r#"{"kind":"custom" "hunter2"}"#,
    ] {
        let error = EmitRequest::parse(body.as_bytes()).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

/// For each kind: its example is valid; without any one required field, or with that field null, it is not; and what is valid parses.
#[test]
fn validation_and_the_payload_structs_agree() {
    for &kind in Kind::ALL {
        let whole = kind.example();
        assert_eq!(kind.validate(&whole), Ok(()), "{kind}");
        for field in kind.fields() {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().shift_remove(field.name);
            let parsed = Payload::from_json_text(kind, &without.to_string());
            let path = format!("payload.{}", field.name);
            match kind.validate(&without) {
                Ok(()) => assert!(!field.required && parsed.is_ok(), "{kind}.{}", field.name),
                Err(error) => assert!(
                    error.field == path && error.code == "missing_field" && parsed.is_err(),
                    "{kind}: {error}"
                ),
            }
        }
    }
}

proptest! {
    #[test]
    fn a_field_of_another_type_is_refused_by_both_or_neither(
        kind in prop::sample::select(Kind::ALL), at: prop::sample::Index,
        value in prop::sample::select(vec!["null", "true", "-1", "0", "11", "0.5", "1e3", "4294967296", "18446744073709551616", "\"\"", "\"x\"", "[]", "[1]", "{}",
            "\"0190a5c2-7d1e-7000-8000-000000000001\"", "\"2026-01-02T03:04:05Z\"", "[\"x\"]"]),
    ) {
        prop_assume!(!kind.fields().is_empty());
        let field = &kind.fields()[at.index(kind.fields().len())];
        let mut payload = kind.example();
        payload[field.name] = serde_json::from_str(value).unwrap();
        let valid = kind.validate(&payload);
        let parsed = Payload::from_json_text(kind, &payload.to_string());
        prop_assert_eq!(valid.is_ok(), parsed.is_ok(), "{}.{} = {}: {:?} {:?}", kind, field.name, value, valid, parsed);
        if let Err(error) = valid {
            let path = format!("payload.{}", field.name);
            prop_assert!(error.field.starts_with(&path), "{}", error);
        }
    }

    #[test]
    fn any_body_is_read_without_panic(body: Vec<u8>) {
        let _ = EmitRequest::parse(&body);
    }
}

#[test]
fn importance_lies_in_the_range_of_its_category() {
    for &kind in Kind::ALL {
        let (least, greatest) = kind.category().importance_range();
        let importance = kind.importance().get();
        assert!(
            (least..=greatest).contains(&importance),
            "{kind}: {importance} is not from {least} to {greatest}"
        );
    }
}

#[test]
fn names_are_unique_and_read_back() {
    let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), Kind::ALL.len());
    for &kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
        assert!(
            !["gap", "checkpoint", "lag", "clock"].contains(&kind.name()),
            "{kind} is the name of a control frame"
        );
    }
    assert_eq!(example(Kind::Custom).kind, Kind::Custom);
}
