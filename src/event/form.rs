//! The JSON form of a stored event: one object on one line, the payload under its own key. The fields are those of the envelope
//! table, in its order; absent ones are left out; `cut` stands only where something was cut, `opaque` only where a later version
//! wrote the event. `category` and `summary` are derived and ignored on reading.

use super::envelope::{Cut, Event, KindName, Opaque, Source, StoredEvent, is_kind_name};
use super::{Importance, PayloadText, Seq, Timestamp, json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt::Display;
use uuid::Uuid;

/// Why a text is no event in JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an event in JSON: {0}")]
pub struct FormError(Box<str>);

impl StoredEvent {
    /// One JSON object on one line: the data of a server-sent event and the line that `events --json` prints.
    pub fn to_json(&self) -> String {
        let event = &self.event;
        let mut line = Line(String::with_capacity(512 + event.payload.as_str().len()));
        line.bare("seq", self.seq);
        line.quoted("id", event.id);
        line.quoted("kind", &event.kind);
        line.bare("version", event.version);
        line.quoted("time", event.time);
        line.quoted("recorded", self.recorded);
        line.quoted("category", event.category());
        line.bare("importance", event.importance);
        line.text("instance", Some(&event.instance));
        line.text("session", event.session.as_deref());
        line.text("agent", event.agent.as_deref());
        line.text("project", event.project.as_deref());
        line.quoted("correlation", event.correlation);
        if let Some(causation) = event.causation {
            line.quoted("causation", causation);
        }
        line.json("source", &SourceForm::of(&event.source));
        line.bare("payload", event.payload.as_str());
        if !event.cut.is_empty() {
            line.json("cut", &event.cut);
        }
        if let Some(opaque) = &event.opaque {
            line.json("opaque", &OpaqueForm { envelope_version: opaque.envelope_version });
        }
        line.text("summary", Some(&event.summary()));
        line.0.push('}');
        line.0
    }

    /// Reads what `to_json` wrote: unknown fields are ignored, unknown kinds kept by name.
    pub fn from_json(text: &str) -> Result<StoredEvent, FormError> {
        let form: Form<'_> =
            serde_json::from_str(text).map_err(|error| FormError(error.to_string().into()))?;
        if !is_kind_name(&form.kind) {
            return Err(FormError("kind is no snake_case name".into()));
        }
        let payload = PayloadText::parse(form.payload.get())
            .map_err(|fault: json::JsonFault| FormError(format!("payload: {fault}").into()))?;
        let kind = match &form.opaque {
            Some(_) => KindName::Other(form.kind.as_ref().into()),
            None => KindName::from_name(&form.kind),
        };
        Ok(StoredEvent {
            seq: form.seq,
            recorded: form.recorded,
            event: Event {
                id: form.id,
                kind,
                version: form.version,
                time: form.time,
                importance: form.importance,
                instance: form.instance,
                session: form.session,
                agent: form.agent,
                project: form.project,
                correlation: form.correlation,
                causation: form.causation,
                source: form.source.into(),
                cut: form.cut,
                ext: Vec::new(),
                payload,
                opaque: form.opaque.map(|opaque| Opaque {
                    envelope_version: opaque.envelope_version,
                    bytes: Box::default(),
                }),
            },
        })
    }
}

/// An object being written.
struct Line(String);

impl Line {
    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    /// A value whose text is JSON already.
    fn bare(&mut self, key: &str, value: impl Display) {
        self.key(key);
        write_to(&mut self.0, value);
    }

    /// A value whose text needs quotes but no escapes.
    fn quoted(&mut self, key: &str, value: impl Display) {
        self.key(key);
        self.0.push('"');
        write_to(&mut self.0, value);
        self.0.push('"');
    }

    fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.json(key, text);
        }
    }

    fn json<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        #[expect(clippy::expect_used, reason = "only strings, numbers and structs of them are written here")]
        let text = serde_json::to_string(value).expect("a string can always be written");
        self.0.push_str(&text);
    }
}

fn write_to(text: &mut String, value: impl Display) {
    use std::fmt::Write;
    // Writing to a string cannot fail, and no Display here does.
    let _ = write!(text, "{value}");
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct SourceForm {
    program: String,
    host: String,
    pid: u32,
}

impl SourceForm {
    fn of(source: &Source) -> SourceForm {
        SourceForm { program: source.program.clone(), host: source.host.clone(), pid: source.pid }
    }
}

impl From<SourceForm> for Source {
    fn from(form: SourceForm) -> Source {
        Source { program: form.program, host: form.host, pid: form.pid }
    }
}

#[derive(Serialize, Deserialize)]
struct OpaqueForm {
    envelope_version: u8,
}

#[derive(Deserialize)]
struct Form<'a> {
    seq: Seq,
    id: Uuid,
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
    version: u16,
    time: Timestamp,
    recorded: Timestamp,
    importance: Importance,
    instance: String,
    session: Option<String>,
    agent: Option<String>,
    project: Option<String>,
    correlation: Uuid,
    causation: Option<Uuid>,
    #[serde(default)]
    source: SourceForm,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default)]
    cut: Vec<Cut>,
    opaque: Option<OpaqueForm>,
}
