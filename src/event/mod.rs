//! Events as values: envelope, catalog of kinds, disk form, JSON form, filters, redaction. No file, no socket, no clock, no
//! randomness: time and random bytes are arguments.
//!
//! The way of an event: a payload struct of [`payload`] becomes an [`Event`] with an id of [`ids`]; [`Event::redact`] takes out
//! secrets and cuts it to the cap, once, before any disk; [`Event::encode`] gives the bytes that a journal stores;
//! [`Event::decode`] reads them back, or [`EventRef::decode`] where the payload may stay unread; with its place it is a
//! [`StoredEvent`], whose [`StoredEvent::to_json`] is the line that every reader sees.
//!
//! Start at `catalog/mod.rs`: one table defines every kind.

pub(crate) mod bytes;
mod catalog;
mod codec;
pub mod doc;
mod emit;
mod envelope;
mod fields;
mod filter;
mod form;
pub mod ids;
pub mod json;
mod payload_place;
mod payload_text;
mod place;
pub mod redact;
pub mod search;
mod summary;
pub mod text;
mod time;
pub mod upcast;
mod values;

pub use catalog::{Field, FieldType, Kind, KindPayload, Payload, payload};
pub use codec::{DecodeError, ENVELOPE_VERSION, EventRef, IdText, kind_of};
pub use emit::{EMIT_EVENTS_MAX, ENVELOPE_TEXT_BYTES_MAX, EmitDefaults, EmitRequest, FieldError, is_own};
pub use envelope::{Cut, Event, Ext, KindName, Opaque, Source, StoredEvent};
pub use fields::{FieldText, PayloadFields};
pub use filter::Filter;
pub(crate) use filter::nearest;
pub use form::FormError;
pub use payload_place::payload_of;
pub use payload_text::{PayloadError, PayloadText};
pub use place::{Place, Range};
pub use redact::Redactor;
pub use time::{TimeError, Timestamp};
pub use values::{Category, Fraction, Importance, Seq};

#[cfg(test)]
mod tests;

/// Any JSON value; numbers keep all their digits and objects the order of their keys.
pub type Json = serde_json::Value;
