//! A payload as text: one compact JSON object in the emitter's order of keys. Parsed only when asked.
//!
//! Numbers keep all their digits; only an exponent is spelled anew (`1e3` becomes `1e+3`). The emitter's own text is not kept, though it
//! would keep that too: a key that stands twice in it would hide a value from redaction, which sees the last one only.

use super::Json;
use super::catalog::Payload;
use super::json::{self, FieldPlace, JsonFault};
use serde::Deserialize;

/// A compact JSON object.
#[derive(Clone, Debug)]
pub struct PayloadText {
    text: String,
    /// Where its fields lie, if that was noted when it was read; it follows from the text.
    places: Vec<FieldPlace>,
}

impl PartialEq for PayloadText {
    fn eq(&self, other: &PayloadText) -> bool {
        self.text == other.text
    }
}

impl Eq for PayloadText {}

/// Why a payload cannot be had as the struct of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The catalog of this version does not have the kind, or a later version wrote the event.
    #[error("this version does not know the kind {0}")]
    UnknownKind(Box<str>),
    /// A later version of this program wrote the payload.
    #[error("payload version {found} of {kind} is newer than this program's {known}")]
    NewerVersion {
        /// The kind.
        kind: &'static str,
        /// The version found.
        found: u16,
        /// The version that this program knows.
        known: u16,
    },
    /// The payload lacks a field or has one of another type.
    #[error("payload of {kind}: {detail}")]
    Shape {
        /// The kind.
        kind: &'static str,
        /// What is wrong.
        detail: Box<str>,
    },
}

impl PayloadText {
    /// The empty object.
    pub fn empty() -> PayloadText {
        PayloadText::unnoted("{}".to_owned())
    }

    /// From text that must be a JSON object, at most 64 levels deep; white space between its parts is dropped.
    pub fn parse(text: &str) -> Result<PayloadText, JsonFault> {
        PayloadText::from_parsed(&json::parse(text.as_bytes())?)
    }

    /// From a value that must be an object; what is deeper than 64 levels becomes a string of its JSON text.
    pub fn from_json(value: &Json) -> Result<PayloadText, JsonFault> {
        if !value.is_object() {
            return Err(JsonFault::NotAnObject);
        }
        Ok(PayloadText::from_text(value.to_string()))
    }

    /// From a value that came out of [`json::parse`], which refuses what is too deep.
    pub(super) fn from_parsed(value: &Json) -> Result<PayloadText, JsonFault> {
        if value.is_object() {
            Ok(PayloadText::unnoted(value.to_string()))
        } else {
            Err(JsonFault::NotAnObject)
        }
    }

    /// From a payload struct.
    pub fn from_payload(payload: &Payload) -> PayloadText {
        // Strings, numbers, lists and maps with string keys: nothing in a payload can fail to be written.
        payload.to_json_text().map_or_else(|_| PayloadText::empty(), PayloadText::from_text)
    }

    /// From text that our own writer made of an object: compact, but perhaps too deep. What is deeper than the limit becomes
    /// a string of its JSON text.
    fn from_text(text: String) -> PayloadText {
        if json::check_compact_object(&text).is_ok() {
            return PayloadText::unnoted(text);
        }
        let mut value = serde_json::from_str(&text).unwrap_or_else(|_| Json::Object(serde_json::Map::new()));
        json::flatten_deep(&mut value);
        PayloadText::unnoted(value.to_string())
    }

    fn unnoted(text: String) -> PayloadText {
        PayloadText { text, places: Vec::new() }
    }

    /// Becomes this text, if it is a compact JSON object; otherwise it stays what it is.
    pub(super) fn become_checked(&mut self, text: &str) -> Result<(), JsonFault> {
        json::check_and_note(text, &mut self.places)?;
        self.text.clear();
        self.text.push_str(text);
        Ok(())
    }

    /// Becomes this text, which is a compact JSON object.
    pub(super) fn set(&mut self, text: &str) {
        self.places.clear();
        self.text.clear();
        self.text.push_str(text);
    }

    /// Bytes that it has memory for.
    pub(crate) fn room(&self) -> usize {
        self.text.capacity() + self.places.capacity() * size_of::<FieldPlace>()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where its fields lie; none where that was not noted.
    pub(super) fn places(&self) -> &[FieldPlace] {
        &self.places
    }

    /// The parsed object.
    pub fn to_json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|_| Json::Object(serde_json::Map::new()))
    }

    /// Reads only what `T` names, borrowing from the text: cheap where `T` has few fields and the payload is small.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.text)
    }

    pub(super) fn with_extra_fields(self, extra: impl IntoIterator<Item = (String, Json)>) -> PayloadText {
        let Json::Object(mut object) = self.to_json() else { return self };
        for (key, value) in extra {
            object.entry(key).or_insert(value);
        }
        PayloadText::from_text(Json::Object(object).to_string())
    }
}
