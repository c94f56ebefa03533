//! The disk form of an event.

use super::{Event, Importance, PayloadText, Timestamp};
use uuid::Uuid;

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
    /// The payload is no compact JSON object.
    #[error("the payload cannot be read: {0}")]
    Payload(super::json::JsonFault),
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
    /// How much it matters.
    pub importance: Importance,
    /// The payload's bytes, not yet checked.
    pub payload: &'a [u8],
}

impl<'a> EventRef<'a> {
    /// Reads the envelope alone.
    pub fn decode(bytes: &'a [u8]) -> Result<EventRef<'a>, DecodeError> {
        let _ = (bytes, PayloadText::from_checked(""));
        todo!()
    }
}

impl Event {
    /// The disk form.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads the disk form. A newer envelope version gives an opaque event, see `Opaque`.
    pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
        let _ = bytes;
        todo!()
    }
}
