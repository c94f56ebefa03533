//! A record inside a batch.
//!
//! ```text
//! record: header, 12 bytes, at any offset; then the payload
//!   0  header crc32   u32  over salt (u64), seq (u64) and the word below
//!   4  payload crc32  u32  over salt (u64), seq (u64) and the payload
//!   8  word           u32  low 24 bits: payload bytes; high 8 bits: flags (bit 0: redacted)
//!  12  payload ...         of a redacted record: 32 bytes of the original's digest, then what replaces it
//! ```
//!
//! Two checksums, so that damage stays small: a flipped payload leaves the length believable, so the next record is
//! found where it should be; a flipped length leaves the next record's header to be searched for, which is certain
//! because its checksum is keyed by salt and seq.

use std::collections::HashMap;
use std::ops::Range;

use super::crc::{Key, RecordKey};
use super::{put, u32_at};
use crate::inspect::layout::{Field, Form};
use crate::types::{Hash, Seq};

/// Size of a record's header.
pub const RECORD_HEADER_BYTES: usize = 12;
/// The longest payload: the length has 24 bits.
pub const RECORD_BYTES_MAX: usize = (1 << LENGTH_BITS) - 1;
/// Flag: the payload begins with the digest of the original that it replaces.
pub const REDACTED: u8 = 1;

const LENGTH_BITS: u32 = 24;
const HEADER_CRC: usize = 0;
const PAYLOAD_CRC: usize = HEADER_CRC + 4;
const WORD: usize = PAYLOAD_CRC + 4;
const _: () = assert!(WORD + 4 == RECORD_HEADER_BYTES);
const _: () = assert!(RECORD_BYTES_MAX + RECORD_HEADER_BYTES <= super::batch::BATCH_BODY_BYTES_MAX);

/// The bytes of a header by name.
pub(crate) const FIELDS: [Field; 3] = [
    Field::new("header crc32", HEADER_CRC, PAYLOAD_CRC, Form::Bits),
    Field::new("payload crc32", PAYLOAD_CRC, WORD, Form::Bits),
    Field::new("word", WORD, RECORD_HEADER_BYTES, Form::Bits),
];

/// A record found in bytes: where, and what its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place in the journal.
    pub seq: Seq,
    /// Where its payload lies, in the bytes that were searched.
    pub payload: Range<usize>,
    /// Its flags.
    pub flags: u8,
}

impl Found {
    /// Whether the payload begins with a digest.
    pub fn is_redacted(&self) -> bool {
        self.flags & REDACTED != 0 && self.payload.len() >= Hash::BYTES
    }
}

/// What stands at one place of a batch's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A whole record.
    Whole(Found),
    /// A header that holds with a payload that does not; the next record begins at `end`.
    BadPayload { end: usize },
    /// No header of this seq.
    BadHeader,
}

/// Appends record `seq` to `body`, whole.
///
/// # Panics
/// If the payload is longer than [`RECORD_BYTES_MAX`].
pub fn encode(body: &mut Vec<u8>, payload: &[u8], flags: u8, key: Key, seq: Seq) {
    assert!(payload.len() <= RECORD_BYTES_MAX, "the length of a payload has 24 bits");
    let at = body.len();
    push(body, payload, flags);
    seal(body, at, key, seq);
}

/// The record `seq` that begins at `at` of `body`, if it is whole.
pub fn decode(body: &[u8], at: usize, key: Key, seq: Seq) -> Option<Found> {
    match parse(body, at, key, seq) {
        Parsed::Whole(found) => Some(found),
        Parsed::BadPayload { .. } | Parsed::BadHeader => None,
    }
}

/// The word of a record's header.
pub(crate) fn word(payload_bytes: usize, flags: u8) -> u32 {
    debug_assert!(payload_bytes <= RECORD_BYTES_MAX, "the length is compared before");
    low_bits(payload_bytes) | (u32::from(flags) << LENGTH_BITS)
}

/// Appends a record to a batch's body, its checksums still zero: they depend on the segment that it will lie in.
pub(crate) fn push(body: &mut Vec<u8>, payload: &[u8], flags: u8) {
    body.extend_from_slice(&[0; WORD]);
    body.extend_from_slice(&word(payload.len(), flags).to_le_bytes());
    body.extend_from_slice(payload);
}

/// Fills in the checksums of the record that begins at `at` of `body`; where its payload lies.
pub(crate) fn seal(body: &mut [u8], at: usize, key: Key, seq: Seq) -> Range<usize> {
    let word = u32_at(body, at + WORD);
    let payload = payload_range(at, word);
    let key = key.of(seq);
    let (header, crc) = (key.header(word), key.payload(&body[payload.clone()]));
    put(body, at + HEADER_CRC, &header.to_le_bytes());
    put(body, at + PAYLOAD_CRC, &crc.to_le_bytes());
    payload
}

/// Reads what stands at `at` of `body`, where record `seq` should.
#[inline]
pub(crate) fn parse(body: &[u8], at: usize, key: Key, seq: Seq) -> Parsed {
    let Some(header) = body.get(at..at + RECORD_HEADER_BYTES) else { return Parsed::BadHeader };
    let word = u32_at(header, WORD);
    let key = key.of(seq);
    let payload = payload_range(at, word);
    if u32_at(header, HEADER_CRC) != key.header(word) || payload.end > body.len() {
        return Parsed::BadHeader;
    }
    let holds = u32_at(header, PAYLOAD_CRC) == key.payload(&body[payload.clone()]);
    #[cfg(test)]
    let holds = holds || crate::tests::payloads_are_trusted();
    if !holds {
        return Parsed::BadPayload { end: payload.end };
    }
    Parsed::Whole(Found { seq, payload, flags: flags(word) })
}

/// Where the record behind `seq` begins, by the header of `seq` alone: its payload is not looked at.
pub(crate) fn skip(body: &[u8], at: usize, key: Key, seq: Seq) -> Option<usize> {
    let header = body.get(at..at + RECORD_HEADER_BYTES)?;
    let word = u32_at(header, WORD);
    let end = payload_range(at, word).end;
    (u32_at(header, HEADER_CRC) == key.of(seq).header(word) && end <= body.len()).then_some(end)
}

/// Finds the records with seqs in `seqs` that lie whole in `bytes`, in order, wherever they begin.
///
/// Works without any header but the records' own. One pass: the checksum is linear, so what the word adds to it can be
/// taken off, and what is left tells the seq.
pub(crate) fn search(bytes: &[u8], key: Key, seqs: Range<u64>) -> Vec<Found> {
    // No more records than headers fit; more candidates than that would be a lie of a damaged length.
    let fitting = (bytes.len() / RECORD_HEADER_BYTES + 1) as u64;
    let candidates: HashMap<u32, u64> = (seqs.start..seqs.end.min(seqs.start.saturating_add(fitting)))
        .map(|seq| (key.of(Seq::new(seq)).header(0), seq))
        .collect();
    let mut found: Vec<Found> = Vec::new();
    let (mut at, mut next) = (0, seqs.start);
    while at + RECORD_HEADER_BYTES <= bytes.len() {
        let word = u32_at(bytes, at + WORD);
        let unworded = u32_at(bytes, at + HEADER_CRC) ^ word_share(word);
        match candidates.get(&unworded).map(|&seq| (seq, parse(bytes, at, key, Seq::new(seq)))) {
            Some((seq, Parsed::Whole(record))) if seq >= next => {
                (at, next) = (record.payload.end, seq + 1);
                found.push(record);
            }
            _ => at += 1,
        }
    }
    found
}

/// What a word changes in any checksum that ends with it, compared with the word 0.
fn word_share(word: u32) -> u32 {
    let zero = RecordKey::PLAIN;
    zero.header(word) ^ zero.header(0)
}

fn payload_range(at: usize, word: u32) -> Range<usize> {
    let start = at + RECORD_HEADER_BYTES;
    start..start + (word as usize & RECORD_BYTES_MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "RECORD_BYTES_MAX has 24 bits")]
fn low_bits(payload_bytes: usize) -> u32 {
    payload_bytes as u32
}

fn flags(word: u32) -> u8 {
    word.to_le_bytes()[3]
}
