//! Bringing old payloads up to the present version of their kind.
//!
//! When the fields of a kind change so that old payloads no longer parse, its version in the catalog rises by one and a step is added to
//! [`STEPS`]: a pure function from the payload of one version to that of the next. A payload passes all steps from its version to the
//! present one. The journal keeps what was written; only the reader's copy changes. No kind has needed one yet.

use super::catalog::{Kind, KindPayload, Payload};
use super::{Event, Json, PayloadError};

/// From the payload of version `from` to that of the next one.
struct Step {
    kind: Kind,
    from: u16,
    change: fn(&mut serde_json::Map<String, Json>),
}

/// Every step that a released version of the catalog needs.
const STEPS: &[Step] = &[];

/// The event's payload in its kind's present version.
pub(super) fn payload(event: &Event) -> Result<Payload, PayloadError> {
    let kind = known(event)?;
    let parsed = match raised(STEPS, kind, event, kind.version())? {
        None => Payload::from_json_text(kind, event.payload.as_str()),
        Some(text) => Payload::from_json_text(kind, &text),
    };
    parsed.map_err(|error| shape(kind, &error))
}

/// As `payload`, for a caller that knows the kind.
pub(super) fn payload_as<P: KindPayload>(event: &Event) -> Result<P, PayloadError> {
    let kind = known(event)?;
    let parsed = match raised(STEPS, kind, event, kind.version())? {
        None => event.payload.read(),
        Some(text) => serde_json::from_str(&text),
    };
    parsed.map_err(|error| shape(kind, &error))
}

fn known(event: &Event) -> Result<Kind, PayloadError> {
    event.kind.known().ok_or_else(|| PayloadError::UnknownKind(event.kind.name().into()))
}

fn shape(kind: Kind, error: &serde_json::Error) -> PayloadError {
    PayloadError::Shape { kind: kind.name(), detail: error.to_string().into() }
}

/// The payload's text after all steps up to `present`; nothing where it has that version already.
fn raised(steps: &[Step], kind: Kind, event: &Event, present: u16) -> Result<Option<String>, PayloadError> {
    if event.version == present {
        return Ok(None);
    }
    if event.version > present {
        return Err(PayloadError::NewerVersion { kind: kind.name(), found: event.version, known: present });
    }
    let Json::Object(mut object) = event.payload.to_json() else {
        return Err(PayloadError::Shape { kind: kind.name(), detail: "it is no object".into() });
    };
    for from in event.version..present {
        let step = steps.iter().find(|step| step.kind == kind && step.from == from);
        let detail = || format!("no step leads from version {from} to the next").into();
        let step = step.ok_or_else(|| PayloadError::Shape { kind: kind.name(), detail: detail() })?;
        (step.change)(&mut object);
    }
    Ok(Some(Json::Object(object).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kind that once called its name `title`, then kept its data as text.
    const EXAMPLE: &[Step] = &[
        Step {
            kind: Kind::Custom,
            from: 1,
            change: |object| {
                if let Some(title) = object.shift_remove("title") {
                    object.insert("name".to_owned(), title);
                }
            },
        },
        Step {
            kind: Kind::Custom,
            from: 2,
            change: |object| {
                let text = object.get("data").and_then(Json::as_str).unwrap_or("null");
                let data = serde_json::from_str(text).unwrap_or(Json::Null);
                object.insert("data".to_owned(), data);
            },
        },
    ];

    fn old(version: u16, payload: &str) -> Event {
        let mut event = super::super::doc::example(Kind::Custom).event;
        event.version = version;
        event.payload = super::super::PayloadText::parse(payload).unwrap();
        event
    }

    #[test]
    fn a_payload_passes_every_step_up_to_the_present_version() {
        let raise = |event: &Event| raised(EXAMPLE, Kind::Custom, event, 3);
        let expected = r#"{"data":{"n":1.50},"name":"deployed"}"#;
        assert_eq!(
            raise(&old(1, r#"{"data":"{\"n\":1.50}","title":"deployed"}"#)).unwrap().unwrap(),
            expected
        );
        assert_eq!(
            raise(&old(2, r#"{"data":"{\"n\":1.50}","name":"deployed"}"#)).unwrap().unwrap(),
            expected
        );
        assert_eq!(raise(&old(3, expected)), Ok(None));
        assert!(matches!(
            raise(&old(4, expected)),
            Err(PayloadError::NewerVersion { found: 4, known: 3, .. })
        ));
        assert!(matches!(raise(&old(0, expected)), Err(PayloadError::Shape { .. })));
    }

    #[test]
    fn every_old_version_of_every_kind_has_its_step() {
        for &kind in Kind::ALL {
            for from in 1..kind.version() {
                assert!(
                    STEPS.iter().any(|step| step.kind == kind && step.from == from),
                    "{kind} version {from}"
                );
            }
        }
        assert!(STEPS.iter().all(|step| step.from < step.kind.version()));
    }

    #[test]
    fn a_newer_payload_is_refused_by_name() {
        let event = old(9, "{}");
        assert!(matches!(
            event.payload(),
            Err(PayloadError::NewerVersion { kind: "custom", found: 9, known: 1 })
        ));
    }
}
