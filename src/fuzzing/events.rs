//! Bytes that become events: the disk form, JSON, bodies of requests, payloads of hooks, lines of transcripts.

use uuid::Uuid;

use crate::agent::claude::{hook, transcript};
use crate::agent::{Origin, SAMPLE_SESSION};
use crate::event::{
    EmitDefaults, EmitRequest, Event, EventRef, Filter, Kind, PayloadText, Redactor, Seq, Source,
    StoredEvent, Timestamp, doc,
};

const NOW: Timestamp = Timestamp::from_micros(1_770_000_000_000_000);

pub(super) fn origin() -> Origin {
    let source = Source { program: "test".into(), host: "here".into(), pid: 7 };
    Origin { now: NOW, source, instance: "nobody".into(), project_dir: None, process: None }
}

/// The event of a hook payload.
pub(super) fn hook(bytes: &[u8]) -> Result<Event, hook::HookError> {
    hook::event(bytes, &origin(), [7; 10])
}

/// What holds for every event, wherever it came from: each of its forms gives it back.
fn forms_agree(event: Event) {
    let bytes = event.encode();
    assert_eq!(Event::decode(&bytes).as_ref(), Ok(&event));
    let filter = Filter::from_pairs([("kind", "tool_*"), ("min_importance", "4"), ("session", "nobody")]);
    let filter = filter.expect("a filter");
    if let Ok(envelope) = EventRef::decode(&bytes) {
        assert_eq!(filter.matches_envelope(&envelope), filter.matches_event(&event));
    }
    let opaque = event.opaque.is_some();
    let mut stored = StoredEvent { seq: Seq::new(7), recorded: NOW, event };
    let json = stored.to_json();
    assert!(!json.contains(['\n', '\r']), "one line");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["kind"], stored.event.kind.name());
    let read = StoredEvent::from_json(&json).expect("what was written can be read");
    stored.event.ext.clear();
    // Of a name that stands twice, JSON readers keep the last.
    if let Ok(payload) = PayloadText::from_json(&stored.event.payload.to_json()) {
        stored.event.payload = payload;
    }
    if opaque {
        assert_eq!((read.event.id, &read.event.kind), (stored.event.id, &stored.event.kind));
    } else {
        assert_eq!(read, stored);
    }
}

/// What holds for an event that we make: its payload is of its kind, before and after secrets are taken out, and taking them
/// out again changes nothing.
fn is_ours(mut event: Event) {
    event.payload().unwrap_or_else(|error| panic!("{error}: {}", event.payload.as_str()));
    let redactor = Redactor::new();
    event.redact(&redactor);
    event.payload().unwrap_or_else(|error| panic!("{error}, redacted: {}", event.payload.as_str()));
    let mut again = event.clone();
    again.redact(&redactor);
    assert_eq!(again, event, "redacting twice is redacting once");
    forms_agree(event);
}

pub(super) fn disk_form(bytes: &[u8]) {
    if let Ok(event) = Event::decode(bytes) {
        // Whatever the payload is, it is told in words or refused.
        let _any = event.payload();
        forms_agree(event);
    }
}

fn examples() -> impl Iterator<Item = StoredEvent> {
    Kind::ALL.iter().map(|kind| doc::example(*kind))
}

pub(super) fn disk_form_seeds() -> Vec<Vec<u8>> {
    examples().map(|stored| stored.event.encode()).collect()
}

pub(super) fn json_form(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(mut stored) = StoredEvent::from_json(text) {
        let again = StoredEvent::from_json(&stored.to_json()).expect("what was written can be read");
        assert_eq!(again, stored);
        stored.event.opaque = None;
        let bytes = stored.event.encode();
        assert_eq!(Event::decode(&bytes).as_ref(), Ok(&stored.event));
    }
}

pub(super) fn json_form_seeds() -> Vec<Vec<u8>> {
    examples().map(|stored| stored.to_json().into_bytes()).collect()
}

pub(super) fn emit_body(bytes: &[u8]) {
    let Ok(requests) = EmitRequest::parse(bytes) else { return };
    assert!(!requests.is_empty());
    for request in requests {
        assert!(!crate::event::is_own(request.kind), "only we tell of ourselves");
        let defaults = EmitDefaults {
            id: Uuid::from_u128(1),
            time: NOW,
            instance: "nobody".into(),
            source: origin().source,
        };
        is_ours(request.into_event(defaults));
    }
}

pub(super) fn emit_body_seeds() -> Vec<Vec<u8>> {
    let one = |stored: StoredEvent| {
        format!("{{\"kind\":\"{}\",\"payload\":{}}}", stored.event.kind.name(), stored.event.payload.as_str())
    };
    let mut seeds: Vec<String> = examples().map(one).collect();
    seeds.push(format!("[{},{}]", seeds[0], seeds[1]));
    seeds.push(
        r#"{"kind":"custom","payload":{"name":"x","data":{"password":"hunter2hunter2"}},"id":"0190a5c2-7d1e-7000-8000-0000000000aa","time":"2026-01-02T03:04:05Z","importance":3,"session":"s","agent":"a","project":"p"}"#
            .to_owned(),
    );
    seeds.into_iter().map(String::into_bytes).collect()
}

/// The same bytes are the same event, whole or rescued.
pub(super) fn hook_payload(bytes: &[u8]) {
    let read = |bytes| match hook(bytes) {
        Ok(event) => Some(event),
        Err(error) => error.into_rescued(),
    };
    if let Some(event) = read(bytes) {
        assert_eq!(read(bytes).as_ref(), Some(&event));
        is_ours(event);
    }
}

pub(super) fn hook_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = SAMPLE_SESSION.lines().map(|line| line.as_bytes().to_vec()).collect();
    seeds.push(br#"{"session_id":"s","hook_event_name":"Stop","last_assistant_message":"#.to_vec());
    seeds.push(
        br#"{"session_id":"s","hook_event_name":"PreToolUse","tool_name":"Bash","tool_use_id":"t","tool_input":{"command":"export API_KEY=sk-ant-api03-0123456789abcdefghijABCDEFGHIJ","password":17,"a":["--token","abcdefghijklmnop"]}}"#.to_vec(),
    );
    seeds
}

pub(super) fn transcript(bytes: &[u8]) {
    let redactor = Redactor::new();
    let events = transcript::events_of(bytes, &origin(), &redactor);
    assert_eq!(transcript::events_of(bytes, &origin(), &redactor), events);
    events.into_iter().for_each(is_ours);
}

pub(super) fn transcript_seeds() -> Vec<Vec<u8>> {
    let lines = [
        r#"{"type":"user","sessionId":"s","uuid":"u1","timestamp":"2026-01-02T03:04:05Z","cwd":"/code/x","message":{"role":"user","content":"hello"}}"#,
        r#"{"type":"assistant","sessionId":"s","uuid":"u2","timestamp":"2026-01-02T03:04:06Z","message":{"id":"m1","model":"m","content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"ls"}}],"usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3}}}"#,
        r#"{"type":"user","sessionId":"s","uuid":"u3","message":{"content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":[{"type":"text","text":"no"}]}]}}"#,
        r#"{"type":"system","subtype":"turn_duration","sessionId":"s","uuid":"u4","durationMs":5}"#,
        r#"{"type":"system","subtype":"compact_boundary","sessionId":"s","uuid":"u5","compactMetadata":{"trigger":"auto","preTokens":9}}"#,
        r#"{"type":"user","sessionId":"s","uuid":"u6","isCompactSummary":true,"message":{"content":"so far"}}"#,
        r#"{"type":"assistant","sessionId":"s","agentId":"a1","uuid":"u7","isApiErrorMessage":true,"message":{"id":"m2","content":[{"type":"text","text":"error"}]}}"#,
        r#"{"type":"summary","summary":"x"}"#,
    ];
    let mut seeds: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    seeds.push(lines.join("\n").into_bytes());
    seeds
}
