//! The envelope: what every event carries beside its payload.

use super::catalog::{Kind, KindPayload, Payload};
use super::payload_text::{PayloadError, PayloadText};
use super::redact::Redactor;
use super::{Category, Importance, Json, Seq, Timestamp};
use std::fmt;
use uuid::Uuid;

/// The name of an event's kind: one of the catalog, or one that a later version or another program defined.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KindName {
    /// A kind of the catalog.
    Known(Kind),
    /// Any other name; also that of an event whose envelope a later version wrote.
    Other(Box<str>),
}

impl KindName {
    /// The name as a kind, known if the catalog has it.
    pub fn from_name(name: &str) -> KindName {
        Kind::from_name(name).map_or_else(|| KindName::Other(name.into()), KindName::Known)
    }

    /// The name.
    pub fn name(&self) -> &str {
        match self {
            KindName::Known(kind) => kind.name(),
            KindName::Other(name) => name,
        }
    }

    /// The kind, where the catalog has it.
    pub const fn known(&self) -> Option<Kind> {
        match self {
            KindName::Known(kind) => Some(*kind),
            KindName::Other(_) => None,
        }
    }

    /// The kind's category; `custom` for one that the catalog does not have.
    pub const fn category(&self) -> Category {
        match self {
            KindName::Known(kind) => kind.category(),
            KindName::Other(_) => Category::Custom,
        }
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl PartialEq<Kind> for KindName {
    fn eq(&self, other: &Kind) -> bool {
        self.known() == Some(*other)
    }
}

/// Whether a text can be a kind's name: `snake_case`, so that it is safe in a line of a stream, in a URL and on a terminal.
pub(super) fn is_kind_name(name: &str) -> bool {
    const KIND_NAME_BYTES_MAX: usize = 64;
    (1..=KIND_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// The process that emitted an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The program's name.
    pub program: String,
    /// The machine's name.
    pub host: String,
    /// The process id.
    pub pid: u32,
}

/// A string of the payload that was cut to make the payload fit its cap.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// Where it is: a JSON pointer into the payload.
    pub pointer: String,
    /// Its length before it was cut, in bytes.
    pub bytes: u64,
}

/// A part of the disk form that a later version may add. Unknown tags are kept and copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ext {
    /// What the bytes are.
    pub tag: u16,
    /// The part itself.
    pub bytes: Vec<u8>,
}

/// The bytes of an event whose envelope a later version wrote: only its kind's name, its id and its time can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque {
    /// The envelope version that it has.
    pub envelope_version: u8,
    /// The whole disk form, which `encode` gives back unchanged.
    pub bytes: Box<[u8]>,
}

/// What happened, before or after it has a place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Given by the emitter; appending the same id twice is appending one event.
    pub id: Uuid,
    /// What sort of event it is.
    pub kind: KindName,
    /// Schema version of the payload.
    pub version: u16,
    /// When it happened, by the emitter's clock.
    pub time: Timestamp,
    /// How much it matters.
    pub importance: Importance,
    /// The one identity: the agent's session id, else the server's instance id.
    pub instance: String,
    /// The agent session that it belongs to.
    pub session: Option<String>,
    /// The agent or subagent inside the session.
    pub agent: Option<String>,
    /// The project's name.
    pub project: Option<String>,
    /// Shared by all events of one command run, one tool call, one work item; the event's own id where it stands alone.
    pub correlation: Uuid,
    /// The event that caused this one.
    pub causation: Option<Uuid>,
    /// Who emitted it.
    pub source: Source,
    /// Strings of the payload that were cut.
    pub cut: Vec<Cut>,
    /// Parts of the disk form that this version does not know.
    pub ext: Vec<Ext>,
    /// The payload, as JSON text.
    pub payload: PayloadText,
    /// Set where a later version wrote the envelope; then the other fields hold only what every version keeps.
    pub opaque: Option<Opaque>,
}

impl Event {
    /// An event of its own: its correlation is its id, its importance that of its kind, its session unset.
    pub fn new(
        id: Uuid,
        time: Timestamp,
        instance: impl Into<String>,
        source: Source,
        payload: impl Into<Payload>,
    ) -> Event {
        let payload = payload.into();
        let kind = payload.kind();
        Event::from_parts(id, time, instance.into(), source, kind, PayloadText::from_payload(&payload))
    }

    /// As `new`, from a payload that is JSON text already.
    pub fn from_parts(
        id: Uuid,
        time: Timestamp,
        instance: String,
        source: Source,
        kind: Kind,
        payload: PayloadText,
    ) -> Event {
        Event {
            id,
            kind: KindName::Known(kind),
            version: kind.version(),
            time,
            importance: kind.importance(),
            instance,
            session: None,
            agent: None,
            project: None,
            correlation: id,
            causation: None,
            source,
            cut: Vec::new(),
            ext: Vec::new(),
            payload,
            opaque: None,
        }
    }

    /// In this agent session.
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Event {
        self.session = Some(session.into());
        self
    }

    /// By this agent or subagent.
    #[must_use]
    pub fn with_agent(mut self, agent: impl Into<String>) -> Event {
        self.agent = Some(agent.into());
        self
    }

    /// In this project.
    #[must_use]
    pub fn with_project(mut self, project: impl Into<String>) -> Event {
        self.project = Some(project.into());
        self
    }

    /// Among the events that share this id.
    #[must_use]
    pub fn with_correlation(mut self, correlation: Uuid) -> Event {
        self.correlation = correlation;
        self
    }

    /// Caused by this event.
    #[must_use]
    pub fn with_causation(mut self, causation: Uuid) -> Event {
        self.causation = Some(causation);
        self
    }

    /// Mattering more or less than its kind does.
    #[must_use]
    pub fn with_importance(mut self, importance: Importance) -> Event {
        self.importance = importance;
        self
    }

    /// With further payload fields that the kind's table does not know; those that it knows stay as they are.
    #[must_use]
    pub fn with_extra_fields(mut self, extra: impl IntoIterator<Item = (String, Json)>) -> Event {
        self.payload = self.payload.with_extra_fields(extra);
        self
    }

    /// What the kind is about.
    pub const fn category(&self) -> Category {
        self.kind.category()
    }

    /// The payload as the struct of its kind, an old version brought up to the present one.
    pub fn payload(&self) -> Result<Payload, PayloadError> {
        super::upcast::payload(self)
    }

    /// The payload as this struct, if the event is of its kind.
    pub fn payload_as<P: KindPayload>(&self) -> Option<Result<P, PayloadError>> {
        (self.kind.known() == Some(P::KIND)).then(|| super::upcast::payload_as(self))
    }

    /// One line of at most 120 columns for people.
    pub fn summary(&self) -> String {
        super::summary::of(self)
    }

    /// Takes out secrets and cuts the payload to the cap. The one call before any disk.
    pub fn redact(&mut self, redactor: &Redactor) {
        redactor.event(self);
    }
}

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Its place.
    pub seq: Seq,
    /// When the journal took it; never runs backwards.
    pub recorded: Timestamp,
    /// The event.
    pub event: Event,
}
