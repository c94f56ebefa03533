//! The bytes: what stands where in a segment, and nothing about files.
//!
//! A segment is a [`SegmentHeader`], then frames at multiples of [`ALIGN`], then, once it is sealed, a [`Footer`] as its
//! last bytes. A frame is a [`BatchHeader`] and its records. All integers are little-endian, all checksums are
//! CRC-32/ISO-HDLC (the one of zlib and crc32fast; check value `0xCBF43926`), padding and reserved bytes are zero and
//! checked. The contract for people and other programs is `docs/format.md`; the drawings stand where the bytes are coded.
//!
//! These modules work on slices, never on files: what they decide can be tested byte by byte.

pub mod batch;
pub mod chain;
mod crc;
mod lanes;
pub mod record;
pub mod segment;
pub mod tail;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use batch::{BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader};
pub(crate) use chain::{DIGESTS_AT_ONCE, Link};
pub use chain::{digest, link};
pub use crc::Key;
pub use record::{RECORD_BYTES_MAX, RECORD_HEADER_BYTES, REDACTED};
pub use segment::{FOOTER_BYTES, Footer, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION};
pub use tail::{TAIL_BYTES, TailFile};

/// Frames begin at multiples of this.
pub const ALIGN: usize = 8;

/// `bytes` rounded up to the next multiple of [`ALIGN`].
pub const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Fewer bytes are there than the structure needs.
    #[error("{found} bytes are there where {expected} are needed")]
    Short {
        /// How many are needed.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// Other bytes stand where the magic should.
    #[error("magic is {found:#x}, expected {expected:#x}")]
    Magic {
        /// What should stand there.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// The checksum does not match the bytes.
    #[error("checksum is {found:#010x}, but the bytes give {expected:#010x}")]
    Checksum {
        /// What the bytes give.
        expected: u32,
        /// What is written.
        found: u32,
    },
    /// The checksum matches, but a field cannot have this value.
    #[error("{field} cannot be {found}")]
    Field {
        /// Its name in `docs/format.md`.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// The segment was written by a newer version of the format.
    #[error("format version {found}, known up to {supported}")]
    Version {
        /// Its version.
        found: u16,
        /// The newest version known here.
        supported: u16,
    },
    /// The segment needs features that are not known here.
    #[error("unknown incompatible features {bits:#x}")]
    Features {
        /// The unknown bits.
        bits: u32,
    },
}

/// The bytes at `at`, as an array.
///
/// # Panics
/// If they lie outside of `bytes`: callers have compared the length before.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(array(bytes, at))
}

pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Compares the length, then gives the first `N` bytes.
pub(crate) fn prefix<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], Fault> {
    bytes.first_chunk().ok_or(Fault::Short { expected: N as u64, found: bytes.len() as u64 })
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (head, words, tail) = (bytes.len() % 16, bytes.chunks_exact(16), bytes);
    words.into_iter().all(|chunk| u128::from_le_bytes(array(chunk, 0)) == 0)
        && tail[tail.len() - head..].iter().all(|&byte| byte == 0)
}
