//! Checksums that are keyed: by the segment's salt and the record's seq.
//!
//! A record's two checksums begin with the same 16 bytes, salt and seq, which are not stored beside it. So a record
//! that was copied from another segment, or to another seq, does not match, and nobody who only chooses payloads can
//! write bytes that look like a record.

use crc32fast::Hasher;

use crate::types::Seq;

/// The salt of a segment, already fed to the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    salted: u32,
}

/// A key that has been fed a seq too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordKey(u32);

impl Key {
    /// The key of the segment with this salt.
    pub fn new(salt: u64) -> Key {
        Key { salted: crc32fast::hash(&salt.to_le_bytes()) }
    }

    pub(crate) fn of(self, seq: Seq) -> RecordKey {
        RecordKey(extend(self.salted, &seq.get().to_le_bytes()))
    }
}

impl RecordKey {
    /// Fed nothing: for what is the same under every key.
    pub(crate) const PLAIN: RecordKey = RecordKey(0);

    /// Checksum of a record's header: over salt, seq and the word of length and flags.
    pub(crate) fn header(self, word: u32) -> u32 {
        extend(self.0, &word.to_le_bytes())
    }

    /// Checksum of a record's payload: over salt, seq and the payload.
    pub(crate) fn payload(self, payload: &[u8]) -> u32 {
        extend(self.0, payload)
    }
}

/// The checksum of what `state` is the checksum of, followed by `bytes`.
fn extend(state: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(state);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32_iso_hdlc() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn keyed_checksums_are_the_checksum_of_the_joined_bytes() {
        let (salt, seq, word) = (0x1122_3344_5566_7788_u64, 77_u64, 0x0100_0005_u32);
        let joined =
            |rest: &[u8]| crc32fast::hash(&[&salt.to_le_bytes()[..], &seq.to_le_bytes()[..], rest].concat());
        let key = Key::new(salt).of(Seq::new(seq));
        assert_eq!(key.header(word), joined(&word.to_le_bytes()));
        assert_eq!(key.payload(b"payload"), joined(b"payload"));
        assert_eq!(key.payload(b""), joined(b""));
    }
}
