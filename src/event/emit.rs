//! What a client asks to be emitted.

use super::{Event, Importance, Kind, PayloadText, Source, Timestamp};
use uuid::Uuid;

/// Events that one request may carry.
pub const EMIT_EVENTS_MAX: usize = 1_000;

/// What is wrong with a field of something from outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct FieldError {
    /// The field's path, such as `[3].payload.tool`; empty where the whole is at fault.
    pub field: String,
    /// A stable code in `snake_case`.
    pub code: &'static str,
    /// What is wrong and what to do, for a person.
    pub message: String,
}

/// One event as a client asks for it, checked against the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct EmitRequest {
    /// The kind.
    pub kind: Kind,
    /// The payload, valid for the kind.
    pub payload: PayloadText,
    /// The client's id, by which a repetition is known.
    pub id: Option<Uuid>,
    /// When it happened.
    pub time: Option<Timestamp>,
    /// How much it matters.
    pub importance: Option<Importance>,
    /// The agent session.
    pub session: Option<String>,
    /// The agent inside it.
    pub agent: Option<String>,
    /// The project.
    pub project: Option<String>,
    /// The shared id.
    pub correlation: Option<Uuid>,
    /// The cause.
    pub causation: Option<Uuid>,
}

/// What an event takes where its request says nothing.
#[derive(Clone, Debug)]
pub struct EmitDefaults {
    /// A fresh id.
    pub id: Uuid,
    /// Now.
    pub time: Timestamp,
    /// The server's instance id, used where the request names no session.
    pub instance: String,
    /// Who emits.
    pub source: Source,
}

impl EmitRequest {
    /// Reads one request object, or an array of at most `EMIT_EVENTS_MAX`; one bad element refuses all.
    pub fn parse(body: &[u8]) -> Result<Vec<EmitRequest>, FieldError> {
        let _ = body;
        todo!()
    }

    /// The event that is asked for.
    pub fn into_event(self, defaults: EmitDefaults) -> Event {
        let _ = defaults;
        todo!()
    }
}
