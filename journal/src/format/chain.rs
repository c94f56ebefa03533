//! The chain: each batch's link covers everything that was ever recorded before it.
//!
//! `link = BLAKE3(previous link ‖ journal id ‖ first ‖ count ‖ recorded ‖ durable ‖ digest of each record)`, integers as
//! on disk. A record's digest is BLAKE3 of its payload; a redacted record stores the digest that it had. Salts, offsets,
//! lengths and checksums are left out: redaction, compression and copying a batch into another segment keep the chain.
//! A checksum tells decay, the chain tells an edit: who changes a payload and repairs its checksum cannot repair the
//! links after it without changing the head, which somebody may have written down.

use super::batch::BatchHeader;
use super::lanes;
use super::record::Found;
use crate::types::Hash;

/// How many records are hashed together. Their digests are 16 KiB of the link, which is then hashed in lanes too.
pub(crate) const DIGESTS_AT_ONCE: usize = 512;

/// The digest of a payload.
pub fn digest(payload: &[u8]) -> Hash {
    Hash::from_bytes(*blake3::hash(payload).as_bytes())
}

/// The link after the batch with this header (whose own `link` is not looked at) and these digests.
pub fn link(previous: Hash, header: &BatchHeader, digests: impl IntoIterator<Item = Hash>) -> Hash {
    let mut link = Link::new(previous, header);
    digests.into_iter().for_each(|digest| link.add(digest));
    link.finish()
}

/// The link after the batch with this header, made of the records found in `bytes`. A redacted record has its digest stored,
/// the others' are computed.
pub(crate) fn link_of<'a>(
    previous: Hash,
    header: &BatchHeader,
    bytes: &[u8],
    records: impl IntoIterator<Item = &'a Found>,
) -> Hash {
    let (mut link, mut some) = (Link::new(previous, header), Vec::new());
    let mut records = records.into_iter().peekable();
    while records.peek().is_some() {
        some.clear();
        some.extend(records.by_ref().take(DIGESTS_AT_ONCE));
        let payload = |place: usize| &bytes[some[place].payload.clone()];
        link.add_payloads(some.len(), payload, |place| match payload(place).first_chunk() {
            Some(stored) if some[place].is_redacted() => Some(Hash::from_bytes(*stored)),
            _ => None,
        });
    }
    link.finish()
}

/// A link that is being made.
pub(crate) struct Link {
    hasher: blake3::Hasher,
    /// What the hasher has not seen yet: many bytes at once are hashed faster than few.
    held: Vec<u8>,
    /// Room for digests.
    digests: Vec<Hash>,
}

impl Link {
    const HELD_BYTES_MAX: usize = (DIGESTS_AT_ONCE + 4) * Hash::BYTES;

    pub(crate) fn new(previous: Hash, header: &BatchHeader) -> Link {
        let records = DIGESTS_AT_ONCE.min(header.count as usize);
        let mut held = Vec::with_capacity((records + 4) * Hash::BYTES);
        held.extend_from_slice(&previous.to_bytes());
        held.extend_from_slice(&header.journal.to_bytes());
        held.extend_from_slice(&header.first.get().to_le_bytes());
        held.extend_from_slice(&header.count.to_le_bytes());
        held.extend_from_slice(&header.recorded.get().to_le_bytes());
        held.extend_from_slice(&header.durable.get().to_le_bytes());
        Link { hasher: blake3::Hasher::new(), held, digests: Vec::new() }
    }

    /// The digest of the record that comes next.
    fn add(&mut self, digest: Hash) {
        if self.held.len() + Hash::BYTES > Link::HELD_BYTES_MAX {
            self.hasher.update(&self.held);
            self.held.clear();
        }
        self.held.extend_from_slice(&digest.to_bytes());
    }

    /// The next `count` records: `payload` gives theirs by place, `stored` a digest that is taken instead.
    pub(crate) fn add_payloads<'a>(
        &mut self,
        count: usize,
        payload: impl Fn(usize) -> &'a [u8],
        stored: impl Fn(usize) -> Option<Hash>,
    ) {
        let mut digests = std::mem::take(&mut self.digests);
        digests.resize(count, Hash::ZERO);
        lanes::digests(payload, &mut digests);
        for (place, &digest) in digests.iter().enumerate() {
            self.add(stored(place).unwrap_or(digest));
        }
        self.digests = digests;
    }

    pub(crate) fn finish(mut self) -> Hash {
        self.hasher.update(&self.held);
        Hash::from_bytes(*self.hasher.finalize().as_bytes())
    }
}
