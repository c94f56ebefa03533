//! What the tests of the store build on.

use std::sync::Arc;

use uuid::Uuid;

use crate::clock::SystemClock;
use crate::event::{Event, Source, Timestamp, payload};
use crate::store::Store;
use crate::store::log::{JournalId, MemoryLog};

pub(crate) fn journal_id() -> JournalId {
    JournalId::from_bytes(*b"a journal of ids")
}

pub(crate) fn memory_store() -> (Store, MemoryLog) {
    let log = MemoryLog::pretending(journal_id());
    (Store::over(Arc::new(log.clone()), Arc::new(SystemClock), "test"), log)
}

/// Ids that differ in their low half only a little, as a counter's would.
pub(crate) fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub(crate) fn event(n: u128) -> Event {
    event_with_id(uuid(n))
}

pub(crate) fn event_with_id(id: Uuid) -> Event {
    let source = Source { program: "test".into(), host: "here".into(), pid: 7 };
    let payload = payload::NotificationRaised {
        message: format!("event {id}"),
        notification_type: "test".into(),
        title: None,
    };
    Event::new(id, Timestamp::from_micros(1_700_000_000_000_000), "session-a", source, payload)
        .with_session("session-a")
}

pub(crate) fn event_saying(text: &str) -> Event {
    let mut event = event(1);
    event.payload = crate::event::PayloadText::from_json(&serde_json::json!({
        "message": text, "notification_type": "test"
    }))
    .unwrap();
    event
}
