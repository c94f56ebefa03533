//! Where a stretch of plain text ends inside a JSON string: sixteen bytes at a time, since strings are most of the bytes of a journal.

use wide::u8x16;

/// Bytes that are looked at at once.
const LANES: usize = 16;
/// Bytes that [`marks_from`] marks.
pub(super) const BLOCK: usize = 64;

/// One bit for each byte that means something in a string: a quote, a backslash, a control character.
#[inline]
fn marks_of(bytes: &[u8; LANES]) -> u64 {
    let bytes = u8x16::new(*bytes);
    let controls = bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
    let found = controls | bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'));
    u64::from(found.to_bitmask())
}

/// The marks of the 64 bytes from `from` on, the first one's in the lowest bit. The end of the text is marked, too, if it lies there, and what
/// would lie behind it.
#[inline]
pub(super) fn marks_from(bytes: &[u8], from: usize) -> u64 {
    let rest = bytes.get(from..).unwrap_or_default();
    let mut last = [0; BLOCK];
    let block = rest.first_chunk::<BLOCK>().unwrap_or_else(|| {
        last[..rest.len()].copy_from_slice(rest);
        &last
    });
    let (lanes, _) = block.as_chunks::<LANES>();
    lanes.iter().rev().fold(0, |marks, lane| marks << LANES | marks_of(lane))
}

/// How many bytes stand in a string before the first that means something in one.
pub(in crate::event) fn plain_prefix(bytes: &[u8]) -> usize {
    let (lanes, rest) = bytes.as_chunks::<LANES>();
    for (nth, lane) in lanes.iter().enumerate() {
        let marks = marks_of(lane);
        if marks != 0 {
            return nth * LANES + marks.trailing_zeros() as usize;
        }
    }
    // What is not there reads as a control character.
    let mut last = [0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    lanes.len() * LANES + marks_of(&last).trailing_zeros() as usize
}
