//! JSON from outside, with a depth limit and faults that have stable codes; and the check of JSON that is already compact.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::{Json, bytes};

pub(super) mod compact;
mod strings;

pub(super) use compact::{FieldPlace, check_and_note, check_compact_object};
pub(super) use strings::plain_prefix;

/// Levels of arrays and objects that JSON may have. Deeper input is refused before anything recurses over it.
pub const JSON_DEPTH_MAX: usize = 64;

/// Why a text is no JSON that is taken here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonFault {
    /// No JSON.
    #[error("not valid JSON: {0}")]
    Malformed(Box<str>),
    /// More levels than `JSON_DEPTH_MAX`.
    #[error("JSON nested more than {JSON_DEPTH_MAX} levels deep")]
    TooDeep,
    /// JSON, but no object where one is needed.
    #[error("expected a JSON object")]
    NotAnObject,
}

impl JsonFault {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            JsonFault::Malformed(_) => "malformed_json",
            JsonFault::TooDeep => "too_deep",
            JsonFault::NotAnObject => "wrong_type",
        }
    }
}

/// Reads one JSON value of at most `JSON_DEPTH_MAX` levels.
///
/// ```
/// use mnemosyne::event::json::{JsonFault, parse};
/// assert_eq!(parse(b"[1.50]").unwrap().to_string(), "[1.50]");
/// assert_eq!(parse("[".repeat(65).as_bytes()), Err(JsonFault::TooDeep));
/// ```
pub fn parse(bytes: &[u8]) -> Result<Json, JsonFault> {
    if depth(bytes) > JSON_DEPTH_MAX {
        return Err(JsonFault::TooDeep);
    }
    serde_json::from_slice(bytes).map_err(|error| JsonFault::Malformed(error.to_string().into()))
}

/// Reads what an agent wrote. Strict first, which is nearly always enough; where that fails, once more over the [`mended`] text.
///
/// ```
/// use mnemosyne::event::{Json, json::read};
/// assert_eq!(read::<Json>(b"{\"a\":\"cut \\ud83d\"}").unwrap()["a"], "cut \u{fffd}");
/// assert!(read::<Json>(b"{\"a\":").is_err());
/// ```
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes).or_else(|error| match mended(bytes) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

/// The text of JSON that an agent wrote carelessly, if that is what is wrong with it: a mark of the byte order before it is taken away,
/// and bytes that are no UTF-8 and halves of surrogate pairs (a text cut in the middle of a character) become U+FFFD.
pub fn mended(bytes: &[u8]) -> Option<String> {
    let bare = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bare);
    match repair_surrogates(&text) {
        Cow::Owned(repaired) => Some(repaired),
        Cow::Borrowed(_) => {
            (bare.len() < bytes.len() || matches!(text, Cow::Owned(_))).then(|| text.into_owned())
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Replaces every array and object that stands deeper than `JSON_DEPTH_MAX` by its JSON text, as a string: nothing is lost and what reads
/// it need not recurse deeper. Serves values that come from other parsers, or from a text that became a part of a payload.
pub(super) fn flatten_deep(value: &mut Json) {
    flatten(value, 1);
}

fn flatten(value: &mut Json, level: usize) {
    if level > JSON_DEPTH_MAX && (value.is_array() || value.is_object()) {
        *value = Json::String(value.to_string());
        return;
    }
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| flatten(item, level + 1)),
        Json::Object(object) => object.values_mut().for_each(|value| flatten(value, level + 1)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// The deepest level of brackets outside strings; for anything but JSON, a number without meaning.
fn depth(bytes: &[u8]) -> usize {
    let (mut deepest, mut level) = (0_usize, 0_usize);
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            b'"' => skip_string(&mut rest),
            _ => {}
        }
    }
    deepest
}

fn skip_string(rest: &mut std::slice::Iter<'_, u8>) {
    while let Some(found) = bytes::find2(b'"', b'\\', rest.as_slice()) {
        if rest.nth(found) == Some(&b'"') {
            return;
        }
        rest.next();
    }
    *rest = [].iter();
}

/// Replaces each escaped half of a surrogate pair that stands alone.
fn repair_surrogates(text: &str) -> Cow<'_, str> {
    let mut repaired = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = bytes::find(b'\\', &text.as_bytes()[at..]) {
        let escape = at + found;
        at = match unit_at(text, escape) {
            Some(0xD800..=0xDBFF) if matches!(unit_at(text, escape + 6), Some(0xDC00..=0xDFFF)) => {
                escape + 12
            }
            Some(0xD800..=0xDFFF) => {
                repaired.push_str(&text[copied..escape]);
                repaired.push_str("\\ufffd");
                copied = escape + 6;
                copied
            }
            Some(_) => escape + 6,
            // The character after the backslash may be of several bytes: step over its first one only if it is ASCII.
            None => escape + if text.as_bytes().get(escape + 1).is_some_and(u8::is_ascii) { 2 } else { 1 },
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.push_str(&text[copied..]);
    Cow::Owned(repaired)
}

/// The UTF-16 unit that `\uXXXX` at this place writes.
fn unit_at(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests;
