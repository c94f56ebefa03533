//! Where the name of a kind stands in a table, so that one comparison finds it: every record that is read is asked for its kind.
//!
//! The table is made when the program is compiled. A new kind whose place is taken does not compile: choose another [`FACTOR`].

use super::Kind;

const PLACES: usize = 1 << 10;
const NOBODY: u8 = u8::MAX;
/// Spreads the names over the places. Found by trying.
const FACTOR: u64 = 0x63ca_828d_d5f4_b3b3;

const _: () = assert!(Kind::ALL.len() < NOBODY as usize);

/// By place, the number of the kind in [`Kind::ALL`].
pub(super) const BY_NAME: [u8; PLACES] = {
    let mut table = [NOBODY; PLACES];
    let mut n = 0;
    while n < Kind::ALL.len() {
        let place = of(Kind::ALL[n].name().as_bytes());
        assert!(table[place] == NOBODY, "two kinds have one place");
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        let number = n as u8;
        table[place] = number;
        n += 1;
    }
    table
};

/// The place of a name, whatever it is: from its length, its first eight bytes and its last eight.
#[expect(clippy::cast_possible_truncation, reason = "ten bits are left")]
pub(super) const fn of(name: &[u8]) -> usize {
    let (first, last) = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (short(name), 0),
    };
    let mixed = ((first ^ last.rotate_left(29)).wrapping_add(name.len() as u64)).wrapping_mul(FACTOR);
    (mixed >> (u64::BITS - PLACES.ilog2())) as usize
}

const fn short(name: &[u8]) -> u64 {
    let (mut word, mut n) = (0, name.len());
    while n > 0 {
        n -= 1;
        word = word << 8 | name[n] as u64;
    }
    word
}
