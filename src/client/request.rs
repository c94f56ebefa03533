//! An event of this program as a request of `POST /events/emit` asks for it.

use serde_json::json;
use serde_json::value::RawValue;

use crate::event::Event;

/// The JSON of one request; the payload's text goes in as it is. It cannot say what was cut from an event nor which program
/// it comes from: an event that was cut goes through the inbox.
///
/// # Errors
/// When the payload is no JSON text.
pub fn request_of(event: &Event) -> Result<String, serde_json::Error> {
    let payload: &RawValue = serde_json::from_str(event.payload.as_str())?;
    let mut body = json!({
        "kind": event.kind.name(),
        "id": event.id,
        "time": event.time,
        "importance": event.importance,
        "correlation": event.correlation,
        "payload": payload,
    });
    let optional = [
        ("session", event.session.as_deref().map(Into::into)),
        ("agent", event.agent.as_deref().map(Into::into)),
        ("project", event.project.as_deref().map(Into::into)),
        ("causation", event.causation.map(|id| id.to_string().into())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    serde_json::to_string(&body)
}

/// The JSON of one request that asks for all of these, as one atomic batch.
pub fn request_of_all(requests: &[String]) -> String {
    format!("[{}]", requests.join(","))
}
