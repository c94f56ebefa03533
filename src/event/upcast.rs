//! Bringing old payloads up to the present version.

use super::catalog::{KindPayload, Payload};
use super::{Event, PayloadError};

/// The event's payload in its kind's present version.
pub(super) fn payload(event: &Event) -> Result<Payload, PayloadError> {
    let Some(kind) = event.kind.known() else {
        return Err(PayloadError::UnknownKind(event.kind.name().into()));
    };
    Payload::from_json_text(kind, event.payload.as_str())
        .map_err(|error| PayloadError::Shape { kind: kind.name(), detail: error.to_string().into() })
}

/// As `payload`, for a caller that knows the kind.
pub(super) fn payload_as<P: KindPayload>(event: &Event) -> Result<P, PayloadError> {
    event
        .payload
        .read()
        .map_err(|error| PayloadError::Shape { kind: P::KIND.name(), detail: error.to_string().into() })
}
