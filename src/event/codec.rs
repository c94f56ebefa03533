//! The disk form of an event.
//!
//! ```text
//! u8      envelope version, 1
//! Head    kind name, id, time: postcard; the same in every version, so that an older program can still name a newer event
//! Body    the rest of the envelope, of this version: postcard
//! ext     u16 tag and bytes each, a postcard list; unknown tags are kept and copied
//! ..      the payload: compact JSON text of one object, to the end of the record
//! ```
//!
//! postcard is positional: a field is its place, integers are variable length, strings and lists begin with their length. So a
//! field is never inserted, removed or reordered within a version; what comes later goes into `ext` or takes a new version. The kind is its
//! name and never a number, because numbers of an enum change their meaning when the enum changes.
//!
//! Most records are small, so the envelope is: a UUID-shaped string takes 16 bytes, the usual combinations of instance, session and
//! agent have a variant of their own, `correlation` is left out where it equals `id`, and the well-known programs are one byte. A
//! tool call's envelope takes about 100 bytes.
//!
//! Decoding trusts nothing: lengths are compared with the bytes present before anything is allocated, kind names must be `snake_case`
//! (they become a line of a server-sent event), and the payload must be a compact object of at most 64 levels.

use super::envelope::{Cut, Event, Ext, KindName, Opaque, Source, is_kind_name};
use super::{Importance, Kind, PayloadText, Timestamp, json};
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

mod reading;

/// The envelope version that this program writes.
pub const ENVELOPE_VERSION: u8 = 1;

/// Why bytes are no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No byte at all.
    #[error("the record is empty")]
    Empty,
    /// A version that no release wrote.
    #[error("envelope version 0 does not exist")]
    VersionZero,
    /// The envelope ends early or breaks its own rules.
    #[error("the envelope cannot be read: {0}")]
    Envelope(&'static str),
    /// The envelope was written by a later version, and the reader asked for more than its head.
    #[error("envelope version {0} is newer than this program")]
    NewerEnvelope(u8),
    /// The payload is no compact JSON object.
    #[error("the payload cannot be read: {0}")]
    Payload(json::JsonFault),
}

/// What every envelope version begins with.
#[derive(Serialize)]
struct Head<'a> {
    kind: &'a str,
    id: [u8; 16],
    time: i64,
}

/// The rest of envelope version 1.
#[derive(Debug, Serialize)]
struct Body<'a> {
    version: u16,
    importance: u8,
    who: Who<'a>,
    project: Option<&'a str>,
    links: Links,
    program: Program<'a>,
    host: &'a str,
    pid: u32,
    cut: Vec<(&'a str, u64)>,
    ext: Vec<(u16, &'a [u8])>,
}

/// Instance, session and agent; the first three variants are the usual cases, in one byte and 16.
#[derive(Clone, Copy, Debug, Serialize)]
enum Who<'a> {
    /// A session, which is also the instance.
    Session([u8; 16]),
    /// The same, and an agent inside it.
    Agent([u8; 16], IdText<'a>),
    /// An instance without a session.
    Instance([u8; 16]),
    /// Anything else; no instance means that it equals the session.
    Other { instance: Option<IdText<'a>>, session: Option<IdText<'a>>, agent: Option<IdText<'a>> },
}

/// Correlation and causation; no correlation means that it equals the id.
#[derive(Clone, Copy, Debug, Serialize)]
enum Links {
    None,
    Correlation([u8; 16]),
    Causation([u8; 16]),
    Both([u8; 16], [u8; 16]),
}

/// The emitting program. Variants are numbered by place: append only, and only with a new envelope version.
#[derive(Clone, Copy, Debug, Serialize)]
enum Program<'a> {
    Named(&'a str),
    Mnemosyne,
    ClaudeCode,
    Codex,
    Gemini,
    Cursor,
    OpenCode,
}

impl<'a> Program<'a> {
    fn of(name: &'a str) -> Program<'a> {
        match name {
            "mnemosyne" => Program::Mnemosyne,
            "claude-code" => Program::ClaudeCode,
            "codex" => Program::Codex,
            "gemini" => Program::Gemini,
            "cursor" => Program::Cursor,
            "opencode" => Program::OpenCode,
            _ => Program::Named(name),
        }
    }

    fn name(self) -> &'a str {
        match self {
            Program::Named(name) => name,
            Program::Mnemosyne => "mnemosyne",
            Program::ClaudeCode => "claude-code",
            Program::Codex => "codex",
            Program::Gemini => "gemini",
            Program::Cursor => "cursor",
            Program::OpenCode => "opencode",
        }
    }
}

/// A string that is 16 bytes where it has the canonical shape of a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum IdText<'a> {
    /// Lower case, hyphenated.
    Uuid([u8; 16]),
    /// Anything else.
    Text(&'a str),
}

impl<'a> IdText<'a> {
    /// The string in its short form.
    pub fn of(text: &'a str) -> IdText<'a> {
        canonical_uuid(text).map_or(IdText::Text(text), IdText::Uuid)
    }

    /// The string, in this room where it is a UUID.
    fn text<'b>(&self, room: &'b mut [u8; 45]) -> &'b str
    where
        'a: 'b,
    {
        match self {
            IdText::Uuid(bytes) => Uuid::from_bytes(*bytes).hyphenated().encode_lower(room),
            IdText::Text(text) => text,
        }
    }

    fn write_over(&self, held: &mut String) {
        set(held, self.text(&mut Uuid::encode_buffer()));
    }

    /// Whether it is this string; allocates nothing.
    pub fn is(&self, text: &str) -> bool {
        *self == IdText::of(text)
    }
}

impl fmt::Display for IdText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdText::Uuid(bytes) => Uuid::from_bytes(*bytes).hyphenated().fmt(f),
            IdText::Text(text) => f.write_str(text),
        }
    }
}

/// The bytes of a UUID whose text reads back exactly as it is.
fn canonical_uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    Uuid::try_parse(text).ok().map(Uuid::into_bytes)
}

/// An event's envelope, borrowed from its disk form; the payload is left unread.
#[derive(Clone, Debug)]
pub struct EventRef<'a> {
    /// The kind's name.
    pub kind: &'a str,
    /// The event's id.
    pub id: Uuid,
    /// When it happened.
    pub time: Timestamp,
    /// Schema version of the payload.
    pub version: u16,
    /// How much it matters.
    pub importance: Importance,
    /// The one identity.
    pub instance: IdText<'a>,
    /// The agent session.
    pub session: Option<IdText<'a>>,
    /// The agent inside it.
    pub agent: Option<IdText<'a>>,
    /// The project's name.
    pub project: Option<&'a str>,
    /// The shared id.
    pub correlation: Uuid,
    /// The cause.
    pub causation: Option<Uuid>,
    /// The emitting program.
    pub program: &'a str,
    /// Its machine.
    pub host: &'a str,
    /// Its process id.
    pub pid: u32,
    /// The payload's bytes, not yet checked.
    pub payload: &'a [u8],
    known: Option<Kind>,
    cut: Vec<(&'a str, u64)>,
    ext: Vec<(u16, &'a [u8])>,
}

impl<'a> EventRef<'a> {
    /// Reads the envelope alone: about as fast as its bytes can be copied, whatever the payload's size.
    ///
    /// # Errors
    /// As `Event::decode`, but for a fault of the payload, which is not looked at; and `NewerEnvelope`.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<EventRef<'a>, DecodeError> {
        let Beginning { version, head, known, rest } = Beginning::of(bytes)?;
        if version > ENVELOPE_VERSION {
            return Err(DecodeError::NewerEnvelope(version));
        }
        let (body, payload) = reading::body(rest)?;
        let (instance, session, agent) = match body.who {
            Who::Session(id) => (IdText::Uuid(id), Some(IdText::Uuid(id)), None),
            Who::Agent(id, agent) => (IdText::Uuid(id), Some(IdText::Uuid(id)), Some(agent)),
            Who::Instance(id) => (IdText::Uuid(id), None, None),
            Who::Other { instance, session, agent } => {
                let instance = instance.or(session).ok_or(DecodeError::Envelope("it names no instance"))?;
                (instance, session, agent)
            }
        };
        let id = Uuid::from_bytes(head.id);
        let (correlation, causation) = match body.links {
            Links::None => (id, None),
            Links::Correlation(correlation) => (Uuid::from_bytes(correlation), None),
            Links::Causation(causation) => (id, Some(Uuid::from_bytes(causation))),
            Links::Both(correlation, causation) => {
                (Uuid::from_bytes(correlation), Some(Uuid::from_bytes(causation)))
            }
        };
        Ok(EventRef {
            kind: head.kind,
            id,
            time: Timestamp::from_micros(head.time),
            version: body.version,
            importance: Importance::new(body.importance)
                .ok_or(DecodeError::Envelope("its importance is not from 1 to 10"))?,
            instance,
            session,
            agent,
            project: body.project,
            correlation,
            causation,
            program: body.program.name(),
            host: body.host,
            pid: body.pid,
            payload,
            known,
            cut: body.cut,
            ext: body.ext,
        })
    }

    /// The payload as text; checked to be a compact JSON object.
    pub fn payload_text(&self) -> Result<&'a str, DecodeError> {
        let text = self.payload_unchecked()?;
        json::check_compact_object(text).map_err(DecodeError::Payload)?;
        Ok(text)
    }

    /// The payload as text, which may be no JSON.
    fn payload_unchecked(&self) -> Result<&'a str, DecodeError> {
        let not_text = |_| DecodeError::Payload(json::JsonFault::Malformed("it is not UTF-8".into()));
        str::from_utf8(self.payload).map_err(not_text)
    }

    /// The whole event, with its payload checked.
    pub fn to_event(&self) -> Result<Event, DecodeError> {
        let mut event = Event::blank();
        self.write_over(&mut event)?;
        Ok(event)
    }

    /// Makes `event` this one, in the memory that it has. Where the payload is at fault, nothing is changed.
    #[inline]
    fn write_over(&self, event: &mut Event) -> Result<(), DecodeError> {
        // Written before the payload is checked and copied after: what is copied at once has not reached the cache, and is waited for.
        let mut room = Uuid::encode_buffer();
        let instance = self.instance.text(&mut room);
        event.payload.become_checked(self.payload_unchecked()?).map_err(DecodeError::Payload)?;
        match (self.known, &event.kind) {
            (Some(kind), KindName::Known(held)) if kind == *held => {}
            (Some(kind), _) => event.kind = KindName::Known(kind),
            (None, _) => event.kind = KindName::Other(self.kind.into()),
        }
        (event.id, event.version, event.time) = (self.id, self.version, self.time);
        event.importance = self.importance;
        set(&mut event.instance, instance);
        if self.session == Some(self.instance) {
            set(event.session.get_or_insert_default(), instance);
        } else {
            set_id(&mut event.session, self.session);
        }
        set_id(&mut event.agent, self.agent);
        match (self.project, &mut event.project) {
            (Some(project), Some(held)) => set(held, project),
            (None, None) => {}
            (project, held) => *held = project.map(str::to_owned),
        }
        (event.correlation, event.causation) = (self.correlation, self.causation);
        set(&mut event.source.program, self.program);
        set(&mut event.source.host, self.host);
        event.source.pid = self.pid;
        if !(self.cut.is_empty() && event.cut.is_empty()) {
            let cut = |(pointer, bytes): &(&str, u64)| Cut { pointer: (*pointer).to_owned(), bytes: *bytes };
            event.cut = self.cut.iter().map(cut).collect();
        }
        if !(self.ext.is_empty() && event.ext.is_empty()) {
            event.ext =
                self.ext.iter().map(|(tag, bytes)| Ext { tag: *tag, bytes: bytes.to_vec() }).collect();
        }
        if event.opaque.is_some() {
            event.opaque = None;
        }
        Ok(())
    }
}

/// What is the same already is not written: events are handed from core to core and back, and memory that is only read stays with both.
fn set(held: &mut String, text: &str) {
    if held != text {
        held.clear();
        held.push_str(text);
    }
}

fn set_id(held: &mut Option<String>, id: Option<IdText<'_>>) {
    match id {
        Some(id) => id.write_over(held.get_or_insert_default()),
        None if held.is_none() => {}
        None => *held = None,
    }
}

/// The kind of a record, from its first bytes alone; an inner none is a kind, or an envelope, that this program does not know. The outer
/// one is a record that names no kind: it is no event.
pub fn kind_of(bytes: &[u8]) -> Option<Option<Kind>> {
    let Beginning { version, known, .. } = Beginning::of(bytes).ok()?;
    Some(if version > ENVELOPE_VERSION { None } else { known })
}

impl Event {
    /// The disk form.
    pub fn encode(&self) -> Vec<u8> {
        if let Some(opaque) = &self.opaque {
            return opaque.bytes.to_vec();
        }
        let head = Head { kind: self.kind.name(), id: self.id.into_bytes(), time: self.time.as_micros() };
        let body = Body {
            version: self.version,
            importance: self.importance.get(),
            who: self.who(),
            project: self.project.as_deref(),
            links: self.links(),
            program: Program::of(&self.source.program),
            host: &self.source.host,
            pid: self.source.pid,
            cut: self.cut.iter().map(|cut| (cut.pointer.as_str(), cut.bytes)).collect(),
            ext: self.ext.iter().map(|ext| (ext.tag, ext.bytes.as_slice())).collect(),
        };
        let mut bytes = Vec::with_capacity(128 + self.payload.as_str().len());
        bytes.push(ENVELOPE_VERSION);
        #[expect(
            clippy::expect_used,
            reason = "postcard fails on lists of unknown length and full buffers; here are neither"
        )]
        let mut bytes = postcard::to_extend(&(head, body), bytes).expect("an envelope can always be written");
        bytes.extend_from_slice(self.payload.as_str().as_bytes());
        bytes
    }

    /// Reads the disk form. An event with a newer envelope comes back opaque: named, with its id and time, its bytes kept.
    ///
    /// # Errors
    /// When the bytes are none that this or a later version wrote. Never panics, and never allocates for more than is there.
    pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
        let mut event = Event::blank();
        event.decode_over(bytes)?;
        Ok(event)
    }

    /// As [`Event::decode`], in the memory that this event has: who reads many keeps none of them.
    ///
    /// # Errors
    /// As [`Event::decode`]; the event is then what it was.
    pub fn decode_over(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        match &EventRef::decode(bytes) {
            Ok(event) => event.write_over(self)?,
            Err(DecodeError::NewerEnvelope(envelope_version)) => *self = opaque(*envelope_version, bytes)?,
            Err(error) => return Err(error.clone()),
        }
        Ok(())
    }

    /// No event yet: room for one.
    pub(crate) fn blank() -> Event {
        Event {
            id: Uuid::nil(),
            kind: KindName::Known(Kind::Custom),
            version: 0,
            time: Timestamp::EPOCH,
            importance: Importance::MIN,
            instance: String::new(),
            session: None,
            agent: None,
            project: None,
            correlation: Uuid::nil(),
            causation: None,
            source: Source::default(),
            cut: Vec::new(),
            ext: Vec::new(),
            payload: PayloadText::empty(),
            opaque: None,
        }
    }

    fn who(&self) -> Who<'_> {
        let instance = IdText::of(&self.instance);
        let session = self.session.as_deref().map(IdText::of);
        let agent = self.agent.as_deref().map(IdText::of);
        match (instance, session, agent) {
            (IdText::Uuid(id), Some(IdText::Uuid(same)), None) if id == same => Who::Session(id),
            (IdText::Uuid(id), Some(IdText::Uuid(same)), Some(agent)) if id == same => Who::Agent(id, agent),
            (IdText::Uuid(id), None, None) => Who::Instance(id),
            _ => Who::Other { instance: (session != Some(instance)).then_some(instance), session, agent },
        }
    }

    fn links(&self) -> Links {
        let correlation = (self.correlation != self.id).then(|| self.correlation.into_bytes());
        match (correlation, self.causation.map(Uuid::into_bytes)) {
            (None, None) => Links::None,
            (Some(correlation), None) => Links::Correlation(correlation),
            (None, Some(causation)) => Links::Causation(causation),
            (Some(correlation), Some(causation)) => Links::Both(correlation, causation),
        }
    }
}

/// What a record of any version begins with.
struct Beginning<'a> {
    version: u8,
    head: Head<'a>,
    /// The kind, where the catalog has it.
    known: Option<Kind>,
    rest: &'a [u8],
}

impl<'a> Beginning<'a> {
    #[inline]
    fn of(bytes: &'a [u8]) -> Result<Beginning<'a>, DecodeError> {
        let (version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        if *version == 0 {
            return Err(DecodeError::VersionZero);
        }
        let (head, known, rest) = reading::head(rest)?;
        if known.is_none() && !is_kind_name(head.kind) {
            return Err(DecodeError::Envelope("its kind is no snake_case name"));
        }
        Ok(Beginning { version: *version, head, known, rest })
    }
}

fn opaque(envelope_version: u8, bytes: &[u8]) -> Result<Event, DecodeError> {
    let Beginning { head, .. } = Beginning::of(bytes)?;
    let id = Uuid::from_bytes(head.id);
    Ok(Event {
        id,
        kind: KindName::Other(head.kind.into()),
        time: Timestamp::from_micros(head.time),
        correlation: id,
        opaque: Some(Opaque { envelope_version, bytes: bytes.into() }),
        ..Event::blank()
    })
}
