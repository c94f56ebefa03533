//! Checksums that are keyed: by the segment's salt and the record's seq.
//!
//! A record's two checksums begin with the same 16 bytes, salt and seq, which are not stored beside it. So a record
//! that was copied from another segment, or to another seq, does not match, and nobody who only chooses payloads can
//! write bytes that look like a record.
//!
//! Long runs of bytes go through crc32fast. The eight bytes of a seq and the four of a word are too short for it (it
//! takes them byte by byte, behind a look at what the processor can do), and every record has both: they go through tables
//! here, all bytes at once. A payload of the usual size is a little too short for it as well: it folds 16 bytes at a time until
//! it has half a kilobyte, and takes what is left over byte by byte. Where the processor can, such a payload is folded here, 64
//! bytes at a time and with nothing left over (`vector.rs`).

use crc32fast::Hasher;

#[cfg(target_arch = "x86_64")]
use super::vector::Carryless;
use crate::types::Seq;

/// Payloads of this length on are long enough for crc32fast.
const LONG_BYTES: usize = 2 * 1024;
/// Below that the tables are as fast as folding.
const FOLDED_BYTES_MIN: usize = 16;

/// Where no processor folds.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carryless {}

#[cfg(not(target_arch = "x86_64"))]
impl Carryless {
    fn detect() -> Option<Carryless> {
        None
    }

    fn fold(self, _register: u32, _bytes: &[u8]) -> u64 {
        match self {}
    }
}

/// The salt of a segment, already fed to the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    salted: u32,
    /// Whether the processor folds: asked once a segment.
    carryless: Option<Carryless>,
}

/// A key that has been fed a seq too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordKey {
    state: u32,
    carryless: Option<Carryless>,
}

impl Key {
    /// The key of the segment with this salt.
    pub fn new(salt: u64) -> Key {
        Key { salted: crc32fast::hash(&salt.to_le_bytes()), carryless: Carryless::detect() }
    }

    #[inline]
    pub(crate) fn of(self, seq: Seq) -> RecordKey {
        RecordKey { state: extend_u64(self.salted, seq.get()), carryless: self.carryless }
    }
}

impl RecordKey {
    /// Fed nothing: for what is the same under every key.
    pub(crate) const PLAIN: RecordKey = RecordKey { state: 0, carryless: None };

    /// Checksum of a record's header: over salt, seq and the word of length and flags.
    #[inline]
    pub(crate) fn header(self, word: u32) -> u32 {
        extend_u32(self.state, word)
    }

    /// Checksum of a record's payload: over salt, seq and the payload.
    #[inline]
    pub(crate) fn payload(self, payload: &[u8]) -> u32 {
        match self.carryless {
            Some(carryless) if (FOLDED_BYTES_MIN..LONG_BYTES).contains(&payload.len()) => {
                divided(carryless.fold(!self.state, payload))
            }
            _ => extend(self.state, payload),
        }
    }
}

/// The checksum of eight bytes that were folded: the first four go through the tables, the last four are added.
#[inline]
fn divided(folded: u64) -> u32 {
    let [first, last] = [folded & u64::from(u32::MAX), folded >> 32].map(low_half);
    extend_u32(u32::MAX, first) ^ last
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "it is cut to these bits")]
fn low_half(value: u64) -> u32 {
    value as u32
}

/// x to the power `exponent`, divided by the polynomial, as a factor: reflected, and one up, since a product of reflected
/// factors is one too low.
#[cfg(target_arch = "x86_64")]
pub(super) const fn power(exponent: u32) -> u64 {
    let (mut register, mut times) = (1_u32 << 31, 0);
    while times < exponent {
        let feedback = if register & 1 == 1 { POLYNOMIAL } else { 0 };
        register = (register >> 1) ^ feedback;
        times += 1;
    }
    (register as u64) << 1
}

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `TABLES[n][byte]`: what `byte`, with `n` zero bytes behind it, makes of a register of zeros.
static TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::cast_possible_truncation, reason = "an index below 256")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let (mut register, mut bit) = (byte as u32, 0);
        while bit < 8 {
            let feedback = if register & 1 == 1 { POLYNOMIAL } else { 0 };
            register = (register >> 1) ^ feedback;
            bit += 1;
        }
        tables[0][byte] = register;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[behind - 1][byte];
            tables[behind][byte] = (shorter >> 8) ^ tables[0][(shorter & 0xFF) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

/// As [`extend`] by the eight bytes of `value`.
#[inline]
pub(super) fn extend_u64(state: u32, value: u64) -> u32 {
    let bytes = (value ^ u64::from(!state)).to_le_bytes();
    // Of the first byte seven more follow, of the last one none.
    !(0..8).fold(0, |register, at| register ^ TABLES[7 - at][usize::from(bytes[at])])
}

/// As [`extend`] by the four bytes of `value`.
#[inline]
fn extend_u32(state: u32, value: u32) -> u32 {
    let bytes = (value ^ !state).to_le_bytes();
    !(0..4).fold(0, |register, at| register ^ TABLES[3 - at][usize::from(bytes[at])])
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

    #[test]
    fn payloads_of_every_length_have_the_checksum_of_crc32fast_folded_or_not() {
        let mut rng = crate::sim::Rng::new(2);
        let bytes: Vec<u8> = (0..LONG_BYTES + 200).map(|_| rng.bits().to_le_bytes()[0]).collect();
        let keys = [Carryless::detect(), None];
        for len in 0..LONG_BYTES + 100 {
            let payload = &bytes[len % 97..][..len];
            let state = crc32fast::hash(&rng.bits().to_le_bytes());
            for carryless in keys {
                let found = RecordKey { state, carryless }.payload(payload);
                assert_eq!(found, extend(state, payload), "{len} bytes, {carryless:?}");
            }
        }
    }

    #[test]
    fn the_tables_give_what_crc32fast_gives() {
        let mut rng = crate::sim::Rng::new(1);
        for _ in 0..10_000 {
            let (state, long) = (rng.bits().to_le_bytes(), rng.bits());
            let state = crc32fast::hash(&state);
            let short = crc32fast::hash(&long.to_le_bytes());
            assert_eq!(extend_u64(state, long), extend(state, &long.to_le_bytes()));
            assert_eq!(extend_u32(state, short), extend(state, &short.to_le_bytes()));
        }
    }
}
