//! What a client asks to be emitted: the body of `POST /events/emit`, checked against the catalog before anything is written.
//!
//! Nothing is dropped in silence: a field of the request that does not exist is refused by name, while unknown fields of a payload are kept. A
//! kind that reports what this program itself did ([`is_own`]) cannot be emitted by a client: a journal whose recovery or whose
//! server start anybody may write proves nothing.

use super::catalog::is_canonical_uuid;
use super::{Event, Importance, Json, Kind, PayloadText, Source, Timestamp, json};
use uuid::Uuid;

/// Events that one request may carry.
pub const EMIT_EVENTS_MAX: usize = 1_000;

/// Bytes that a text of the envelope may have: identities are short, and every reader carries them about.
pub const ENVELOPE_TEXT_BYTES_MAX: usize = 1_024;

/// What is wrong with a field of something from outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct FieldError {
    /// The field's path, such as `[3].payload.tool`; empty where the whole is at fault.
    pub field: String,
    /// A stable code in `snake_case`.
    pub code: &'static str,
    /// What is wrong and what to do, for a person. Holds no value of the input, which may be secret.
    pub message: String,
}

impl FieldError {
    pub(super) fn new(
        field: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> FieldError {
        FieldError { field: field.into(), code, message: message.into() }
    }

    pub(super) fn missing(field: impl Into<String>) -> FieldError {
        FieldError::new(field, "missing_field", "this field is required")
    }

    pub(super) fn wrong_type(field: &str, expected: &str, found: &Json) -> FieldError {
        let found = match found {
            Json::Null => "null",
            Json::Bool(_) => "a truth value",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "a list",
            Json::Object(_) => "an object",
        };
        // A string where another sort of string is needed: the sorts differ in shape, not in type.
        let message = match (found, expected) {
            ("a string", "a string") => "expected another string".to_owned(),
            _ => format!("expected {expected}, found {found}"),
        };
        FieldError::new(field, "wrong_type", message)
    }

    pub(super) fn out_of_range(field: &str, message: &str) -> FieldError {
        FieldError::new(field, "out_of_range", message)
    }

    /// The same fault one level further out.
    fn under(mut self, path: &str) -> FieldError {
        let dot = if self.field.is_empty() || path.is_empty() { "" } else { "." };
        self.field = format!("{path}{dot}{}", self.field);
        self
    }
}

/// Whether a kind tells what this program's store or server did, so that only they may emit it.
pub const fn is_own(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::JournalRecovered
            | Kind::CorruptionDetected
            | Kind::InboxDrained
            | Kind::RetentionApplied
            | Kind::SubscriberLagged
            | Kind::RateLimited
            | Kind::WebhookDelivered
            | Kind::WebhookFailed
            | Kind::ServerStarted
            | Kind::ServerStopped
            | Kind::DatabaseOperation
    )
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
    /// Reads one request object, or an array of 1 to `EMIT_EVENTS_MAX`; one bad element refuses all.
    ///
    /// # Errors
    /// The first fault. Codes: `malformed_json`, `too_deep`, `missing_field`, `wrong_type`, `out_of_range`, `unknown_field`,
    /// `unknown_kind`, `own_kind`.
    pub fn parse(body: &[u8]) -> Result<Vec<EmitRequest>, FieldError> {
        let body = json::parse(body).map_err(|fault| FieldError::new("", fault.code(), fault.to_string()))?;
        match body {
            Json::Array(elements) if elements.is_empty() || elements.len() > EMIT_EVENTS_MAX => Err(
                FieldError::out_of_range("", &format!("an array holds from 1 to {EMIT_EVENTS_MAX} events")),
            ),
            Json::Array(elements) => elements
                .iter()
                .enumerate()
                .map(|(at, element)| parse_one(element).map_err(|fault| fault.under(&format!("[{at}]"))))
                .collect(),
            one => parse_one(&one).map(|request| vec![request]),
        }
    }

    /// How many events a body asks for, whether they are valid or not: at least one, and one for a body that is no JSON.
    pub fn count(body: &[u8]) -> u64 {
        match json::parse(body) {
            Ok(Json::Array(elements)) => elements.len().max(1) as u64,
            _ => 1,
        }
    }

    /// The event that is asked for.
    pub fn into_event(self, defaults: EmitDefaults) -> Event {
        let instance = self.session.clone().unwrap_or(defaults.instance);
        let (id, time) = (self.id.unwrap_or(defaults.id), self.time.unwrap_or(defaults.time));
        let mut event = Event::from_parts(id, time, instance, defaults.source, self.kind, self.payload);
        event.importance = self.importance.unwrap_or(event.importance);
        event.session = self.session;
        event.agent = self.agent;
        event.project = self.project;
        event.correlation = self.correlation.unwrap_or(id);
        event.causation = self.causation;
        event
    }
}

const REQUEST_FIELDS: [&str; 10] = [
    "kind",
    "payload",
    "id",
    "time",
    "importance",
    "session",
    "agent",
    "project",
    "correlation",
    "causation",
];

fn parse_one(value: &Json) -> Result<EmitRequest, FieldError> {
    let Some(object) = value.as_object() else { return Err(FieldError::wrong_type("", "an object", value)) };
    if let Some(unknown) = object.keys().find(|key| !REQUEST_FIELDS.contains(&key.as_str())) {
        let message = format!("no such field; there are {}", REQUEST_FIELDS.join(", "));
        return Err(FieldError::new(shown_key(unknown), "unknown_field", message));
    }
    let kind = kind_of(object.get("kind"))?;
    let empty = Json::Object(serde_json::Map::new());
    let payload = match object.get("payload") {
        None if kind.fields().iter().all(|field| !field.required) => &empty,
        None => return Err(FieldError::missing("payload")),
        Some(payload) => payload,
    };
    kind.validate(payload)?;
    let field = |name: &'static str| (name, object.get(name).filter(|value| !value.is_null()));
    Ok(EmitRequest {
        kind,
        payload: PayloadText::from_parsed(payload)
            .map_err(|fault| FieldError::new("payload", fault.code(), fault.to_string()))?,
        id: id_of(field("id"))?,
        time: time_of(field("time"))?,
        importance: importance_of(field("importance"))?,
        session: text_of(field("session"))?,
        agent: text_of(field("agent"))?,
        project: text_of(field("project"))?,
        correlation: id_of(field("correlation"))?,
        causation: id_of(field("causation"))?,
    })
}

/// A key from outside, short and plain enough to be shown.
fn shown_key(key: &str) -> String {
    const KEY_CHARS_SHOWN: usize = 40;
    key.chars().take(KEY_CHARS_SHOWN).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

fn kind_of(value: Option<&Json>) -> Result<Kind, FieldError> {
    let name = match value {
        None => return Err(FieldError::missing("kind")),
        Some(Json::String(name)) => name,
        Some(other) => return Err(FieldError::wrong_type("kind", "a string", other)),
    };
    let kind = Kind::from_name(name).ok_or_else(|| {
        let message =
            "no such kind; for what has no kind of its own use custom, with payload {\"name\", \"data\"}";
        FieldError::new("kind", "unknown_kind", message)
    })?;
    if is_own(kind) {
        let message = format!("{kind} is emitted by mnemosyne itself, not by clients");
        return Err(FieldError::new("kind", "own_kind", message));
    }
    Ok(kind)
}

fn id_of((name, value): (&str, Option<&Json>)) -> Result<Option<Uuid>, FieldError> {
    let Some(value) = value else { return Ok(None) };
    let id =
        value.as_str().filter(|text| is_canonical_uuid(text)).and_then(|text| Uuid::try_parse(text).ok());
    id.map(Some).ok_or_else(|| FieldError::wrong_type(name, super::FieldType::Id.expected(), value))
}

fn time_of((name, value): (&str, Option<&Json>)) -> Result<Option<Timestamp>, FieldError> {
    let Some(value) = value else { return Ok(None) };
    let time = value.as_str().and_then(|text| Timestamp::parse(text).ok());
    time.map(Some).ok_or_else(|| FieldError::wrong_type(name, super::FieldType::Time.expected(), value))
}

fn importance_of((name, value): (&str, Option<&Json>)) -> Result<Option<Importance>, FieldError> {
    match value {
        None => Ok(None),
        Some(Json::Number(number)) => {
            let importance =
                number.as_u64().and_then(|number| u8::try_from(number).ok()).and_then(Importance::new);
            importance
                .map(Some)
                .ok_or_else(|| FieldError::out_of_range(name, "must be a whole number from 1 to 10"))
        }
        Some(other) => Err(FieldError::wrong_type(name, "a whole number", other)),
    }
}

fn text_of((name, value): (&str, Option<&Json>)) -> Result<Option<String>, FieldError> {
    match value {
        None => Ok(None),
        Some(Json::String(text)) if (1..=ENVELOPE_TEXT_BYTES_MAX).contains(&text.len()) => {
            Ok(Some(text.clone()))
        }
        Some(Json::String(_)) => Err(FieldError::out_of_range(
            name,
            &format!("must have from 1 to {ENVELOPE_TEXT_BYTES_MAX} bytes"),
        )),
        Some(other) => Err(FieldError::wrong_type(name, "a string", other)),
    }
}
