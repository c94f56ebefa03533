//! Disk form and JSON form: every kind goes through both and comes back the same, and hostile bytes do no harm.

use crate::event::*;
use proptest::prelude::*;
use uuid::Uuid;

const SESSION: &str = "258c7280-ae70-4798-800f-63464d01a85d";

pub(super) fn example(kind: Kind) -> Event {
    let time = Timestamp::parse("2026-01-02T03:04:05.000006Z").unwrap();
    let payload = PayloadText::from_json(&kind.example()).unwrap();
    let source = Source { program: "mnemosyne".into(), host: "devbox".into(), pid: 41_217 };
    let id = ids::natural(SESSION, kind.name(), "toolu_01");
    Event::from_parts(id, time, SESSION.into(), source, kind, payload)
}

#[test]
fn a_tool_call_envelope_is_small() {
    let correlation = ids::correlation_of_tool(SESSION, "toolu_01");
    let started = example(Kind::ToolCallStarted)
        .with_session(SESSION)
        .with_project("parser")
        .with_correlation(correlation);
    let envelope = started.encode().len() - started.payload.as_str().len();
    assert!(envelope <= 101, "{envelope} bytes");
    let alone = example(Kind::ToolCallStarted).with_session(SESSION);
    let envelope = alone.encode().len() - alone.payload.as_str().len();
    assert!(envelope <= 80, "{envelope} bytes");
}

#[test]
fn a_newer_envelope_is_named_and_copied() {
    let mut bytes = example(Kind::ToolCallStarted).encode();
    bytes[0] = 2;
    bytes.extend_from_slice(b"whatever a later version puts here");
    let event = Event::decode(&bytes).unwrap();
    assert_eq!(event.kind.name(), "tool_call_started");
    assert_eq!(event.id, example(Kind::ToolCallStarted).id);
    assert_eq!(event.time, example(Kind::ToolCallStarted).time);
    assert_eq!(event.encode(), bytes);
    assert!(matches!(event.payload(), Err(PayloadError::UnknownKind(_))));
    let stored = StoredEvent { seq: Seq::FIRST, recorded: event.time, event };
    let json = stored.to_json();
    assert!(json.contains("\"opaque\":{\"envelope_version\":2}"), "{json}");
    assert_eq!(StoredEvent::from_json(&json).unwrap().event.opaque.unwrap().envelope_version, 2);
}

#[test]
fn unknown_kinds_and_extensions_are_kept() {
    let mut event = example(Kind::Custom);
    event.kind = KindName::from_name("seen_in_the_future");
    event.ext = vec![Ext { tag: 900, bytes: vec![1, 2, 3] }, Ext { tag: 7, bytes: Vec::new() }];
    event.version = 9;
    let bytes = event.encode();
    assert_eq!(Event::decode(&bytes).unwrap(), event);
    assert_eq!(Event::decode(&bytes).unwrap().encode(), bytes);
    assert_eq!(event.category(), Category::Custom);
    assert!(matches!(event.payload(), Err(PayloadError::UnknownKind(_))));
}

#[test]
fn a_kind_name_that_could_break_a_line_is_refused() {
    let mut event = example(Kind::Custom);
    for name in ["a\nb", "", "Tool", "a b", "caf\u{e9}", &"x".repeat(65)] {
        event.kind = KindName::Other(name.into());
        assert_eq!(
            Event::decode(&event.encode()),
            Err(DecodeError::Envelope("its kind is no snake_case name")),
            "{name:?}"
        );
    }
}

#[test]
fn a_reader_of_envelopes_does_not_look_at_the_payload() {
    let mut bytes = example(Kind::Custom).encode();
    let end = bytes.len() - 1;
    bytes[end] = 0xFF;
    assert_eq!(EventRef::decode(&bytes).unwrap().kind, "custom");
    assert!(matches!(Event::decode(&bytes), Err(DecodeError::Payload(_))));
}

#[test]
fn every_truncation_of_the_envelope_is_an_error() {
    for &kind in Kind::ALL {
        let bytes = example(kind).encode();
        for end in 0..bytes.len() {
            assert!(Event::decode(&bytes[..end]).is_err(), "{kind} cut to {end} bytes was taken");
        }
    }
}

#[test]
fn every_kind_parses_into_its_struct() {
    for &kind in Kind::ALL {
        let event = example(kind);
        let payload = event.payload().unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(payload.kind(), kind);
        assert_eq!(PayloadText::from_payload(&payload), event.payload, "{kind}");
    }
}

fn any_id_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string()),
        "[a-z0-9]{0,12}",
        ".{0,20}",
        "[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}"
    ]
}

prop_compose! {
    pub(in crate::event) fn any_event()(
        kind in prop::sample::select(Kind::ALL),
        id: u128, time: i64, importance in 1_u8..=10, version in 1_u16..4,
        instance in any_id_text(), same: bool, session in prop::option::of(any_id_text()), agent in prop::option::of(any_id_text()),
        project in prop::option::of(".{0,12}"), correlation in prop::option::of(any::<u128>()), causation in prop::option::of(any::<u128>()),
        program in prop::sample::select(vec!["mnemosyne", "claude-code", "codex", "gemini", "cursor", "opencode", "", "made by hand"]),
        host in ".{0,12}", pid: u32, extra in prop::collection::vec((".{0,8}", ".{0,30}"), 0..4),
        cut in prop::collection::vec((".{0,12}", any::<u64>()), 0..3), ext in prop::collection::vec((any::<u16>(), any::<Vec<u8>>()), 0..3),
    ) -> Event {
        let session = if same { Some(instance.clone()) } else { session };
        let payload = PayloadText::from_json(&kind.example()).unwrap();
        let source = Source { program: program.into(), host, pid };
        let id = Uuid::from_u128(id);
        let mut event = Event::from_parts(id, Timestamp::from_micros(time), instance, source, kind, payload)
            .with_extra_fields(extra.into_iter().map(|(key, text)| (key, Json::String(text))));
        event.importance = Importance::new(importance).unwrap();
        event.version = version;
        event.session = session;
        event.agent = agent;
        event.project = project;
        event.correlation = correlation.map_or(id, Uuid::from_u128);
        event.causation = causation.map(Uuid::from_u128);
        event.cut = cut.into_iter().map(|(pointer, bytes)| Cut { pointer, bytes }).collect();
        event.ext = ext.into_iter().map(|(tag, bytes)| Ext { tag, bytes }).collect();
        event
    }
}

proptest! {
    #[test]
    fn every_event_comes_back_from_disk_byte_for_byte(event in any_event()) {
        let bytes = event.encode();
        let read = Event::decode(&bytes).unwrap();
        prop_assert_eq!(&read, &event);
        prop_assert_eq!(read.encode(), &bytes[..]);
        prop_assert_eq!(payload_of(&bytes), Some(event.payload.as_str().as_bytes()));
    }

    #[test]
    fn every_event_comes_back_from_json(mut event in any_event(), seq: u64, recorded: i64) {
        event.ext.clear();
        let stored = StoredEvent { seq: Seq::new(seq), recorded: Timestamp::from_micros(recorded), event };
        let json = stored.to_json();
        prop_assert!(!json.contains('\n') && !json.contains('\r'));
        let read = StoredEvent::from_json(&json).unwrap();
        prop_assert_eq!(&read, &stored);
        prop_assert_eq!(read.to_json(), json);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes: Vec<u8>) {
        let _ = Event::decode(&bytes);
        if let Ok(event) = EventRef::decode(&bytes) {
            prop_assert_eq!(payload_of(&bytes), Some(event.payload));
        }
        let _ = payload_of(&bytes);
    }

    /// What is the same in both is not written again, and nothing of the one before is left.
    #[test]
    fn an_event_over_another_is_as_one_alone(before in any_event(), event in any_event(), is_newer: bool) {
        let mut bytes = event.encode();
        bytes[0] += u8::from(is_newer);
        let alone = Event::decode(&bytes).unwrap();
        let mut over = before;
        for _ in 0..2 {
            over.decode_over(&bytes).unwrap();
            prop_assert_eq!(&over, &alone);
        }
        // One that is like it in nearly all.
        let mut like = event;
        like.id = Uuid::from_u128(7);
        over.decode_over(&like.encode()).unwrap();
        prop_assert_eq!(&over, &like);
    }

    #[test]
    fn a_damaged_event_does_no_harm(event in any_event(), at: prop::sample::Index, bit in 0_u8..8) {
        let mut bytes = event.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let stepped_over = payload_of(&bytes);
        if let Ok(event) = EventRef::decode(&bytes) {
            prop_assert_eq!(stepped_over, Some(event.payload));
        }
        if let Ok(read) = Event::decode(&bytes) {
            let _ = (read.encode(), read.summary(), read.payload());
        }
    }
}
