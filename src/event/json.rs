//! Reading JSON from outside: with a depth limit, and with a fault that names its kind.

use super::Json;

/// Levels of arrays and objects that JSON from outside may have.
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
pub fn parse(bytes: &[u8]) -> Result<Json, JsonFault> {
    let _ = bytes;
    todo!()
}

/// As `parse`, but takes what agents really send: bytes that are no UTF-8 and halves of surrogate pairs become U+FFFD.
pub fn parse_lenient(bytes: &[u8]) -> Result<Json, JsonFault> {
    let _ = bytes;
    todo!()
}
