//! Ids of events.
//!
//! Our own events get a v7 id. A fact of an agent that has a key of its own gets a v8 id made from that key, so that the same fact from two
//! sources (a hook and a transcript line) is one event.

use super::Timestamp;
use uuid::{Builder, Uuid};

/// A v7 id from a time and 10 random bytes. Times before 1970 count as 1970; the field holds 48 bits of milliseconds.
pub fn v7(time: Timestamp, random: [u8; 10]) -> Uuid {
    let millis = u64::try_from(time.as_micros() / 1_000).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// The v8 id of a fact with a natural key: the same session, kind and key give the same id, always and everywhere.
pub fn natural(session: &str, kind: &str, key: &str) -> Uuid {
    keyed("event", &[session, kind, key])
}

/// The id that all events of one tool call share.
pub fn correlation_of_tool(session: &str, tool_use_id: &str) -> Uuid {
    keyed("tool call", &[session, tool_use_id])
}

/// Each part goes in with its length before it, so that no two lists of parts run into one another.
fn keyed(domain: &str, parts: &[&str]) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key("mnemosyne natural id v1");
    for part in std::iter::once(&domain).chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Builder::from_custom_bytes(bytes).into_uuid()
}
