//! The chain: each batch's link covers everything that was ever recorded before it.
//!
//! `link = BLAKE3(previous link ‖ journal id ‖ first ‖ count ‖ recorded ‖ durable ‖ digest of each record)`, integers as
//! on disk. A record's digest is BLAKE3 of its payload; a redacted record stores the digest that it had. Salts, offsets,
//! lengths and checksums are left out: redaction, compression and copying a batch into another segment keep the chain.
//! A checksum tells decay, the chain tells an edit: who changes a payload and repairs its checksum cannot repair the
//! links after it without changing the head, which somebody may have written down.

use super::batch::BatchHeader;
use super::record::Found;
use crate::types::Hash;

/// The digest of a payload.
pub fn digest(payload: &[u8]) -> Hash {
    Hash::from_bytes(*blake3::hash(payload).as_bytes())
}

/// The link after the batch with this header (whose own `link` is not looked at) and these digests.
pub fn link(previous: Hash, header: &BatchHeader, digests: impl IntoIterator<Item = Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&previous.to_bytes());
    hasher.update(&header.journal.to_bytes());
    hasher.update(&header.first.get().to_le_bytes());
    hasher.update(&header.count.to_le_bytes());
    hasher.update(&header.recorded.get().to_le_bytes());
    hasher.update(&header.durable.get().to_le_bytes());
    for digest in digests {
        hasher.update(&digest.to_bytes());
    }
    Hash::from_bytes(*hasher.finalize().as_bytes())
}

/// The digest that a record found in `bytes` contributes: stored if it is redacted, else computed.
pub fn digest_of(bytes: &[u8], record: &Found) -> Hash {
    let payload = &bytes[record.payload.clone()];
    match payload.first_chunk() {
        Some(stored) if record.is_redacted() => Hash::from_bytes(*stored),
        _ => digest(payload),
    }
}
