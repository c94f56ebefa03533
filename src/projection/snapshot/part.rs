//! Parts of a state that never change once they are made: what a state has much of, and all of its snapshots have in common.
//!
//! In the bytes of a state a part is its hash, so that neither they nor the hash of the state grow with it. A snapshot names the parts
//! that its state needs. On disk each lies in a file of its own, shared by all snapshots that name it; where bytes must stand for
//! themselves, as in a base, they follow the state.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::projection::StateHash;

/// A part. Its hash is found when it is first asked for, once for all who hold it: a fold that nobody saves asks for none.
#[derive(Clone, Debug)]
pub struct Part(Arc<Held>);

#[derive(Debug)]
struct Held {
    hash: OnceLock<StateHash>,
    bytes: Vec<u8>,
}

impl Part {
    /// Of these bytes.
    pub fn of(bytes: Vec<u8>) -> Part {
        Part(Arc::new(Held { hash: OnceLock::new(), bytes }))
    }

    /// BLAKE3 of its bytes.
    pub fn hash(&self) -> &StateHash {
        self.0.hash.get_or_init(|| StateHash::of_bytes(&self.0.bytes))
    }

    /// Its bytes; none while it was named and not filled.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Gets its bytes, if these are they.
    #[must_use]
    pub fn fill(&mut self, bytes: Vec<u8>) -> bool {
        self.become_it(Part::of(bytes))
    }

    /// Gets the bytes of the other, if they are the same part.
    #[must_use]
    pub fn become_it(&mut self, other: Part) -> bool {
        let is_it = other == *self;
        if is_it {
            *self = other;
        }
        is_it
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Part) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Part {}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.hash().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Part, D::Error> {
        let hash = OnceLock::from(StateHash::deserialize(deserializer)?);
        Ok(Part(Arc::new(Held { hash, bytes: Vec::new() })))
    }
}

/// Bytes in a state, written as bytes and not one by one.
pub mod bytes {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    /// Writes them.
    ///
    /// # Errors
    /// As the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    /// Reads them.
    ///
    /// # Errors
    /// As the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
