//! A state as JSON in parts, for whoever asks for it after every event: what has not changed since need not be written and read again.

use std::borrow::Cow;

use crate::event::Json;

/// The JSON of a state that is an object with one map of many entries, and little beside it.
pub struct Mapped<'s> {
    /// The field that holds the map; it is the first one of the object.
    pub field: &'static str,
    /// The entries, in no order.
    pub entries: Vec<Named<'s>>,
    /// The other fields, in their order.
    pub others: Vec<(&'static str, Json)>,
}

/// An entry of the map.
pub struct Named<'s> {
    /// Its name there.
    pub id: Cow<'s, str>,
    /// While this is the same, so is the entry.
    pub stamp: Stamp<'s>,
    /// Makes its JSON.
    pub json: Box<dyn Fn() -> serde_json::Result<String> + 's>,
}

/// Tells an entry from what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp<'s> {
    /// The last event that changed it.
    Seq(u64),
    /// Its bytes.
    Bytes(&'s [u8]),
}
