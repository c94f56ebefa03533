//! The filters of all full blocks, lying across each other: a row for each bit that a filter has, in it a bit for each block.
//!
//! A lookup asks every block of the window. One filter after the other that would be a cache line from each of 64 blocks, more than all else
//! that an emit does under the writer's lock; across, the bits of an id are six words of one page, and what they have in common names the blocks
//! that may know it.

use uuid::Uuid;

use super::BLOCK;

/// Bytes of a block's filter: 16 bits for each of its ids.
#[expect(clippy::cast_possible_truncation, reason = "at most 65,536")]
pub(super) const FILTER_BYTES: usize = 2 * BLOCK as usize;
/// Blocks that filters are kept of; a block has the column of its number, modulo this.
pub(super) const COLUMNS: usize = u64::BITS as usize;
const ROWS: usize = FILTER_BYTES * 8;
/// An id sets bits in one line of a filter only, whose rows are a page.
const LINE_BITS: usize = 512;
const LINES: usize = ROWS / LINE_BITS;
/// Bits that an id sets in its line.
const PROBES: u32 = 6;

const _: () = assert!(cfg!(test) || LINES == 1 << 11);

/// What the index keeps of an id. Ids are random or hashed in their low half; the multiplication spreads those that are not.
pub(super) struct Hash {
    /// What a block's file has of the id: uniform over all numbers.
    pub(super) print: u32,
    line: usize,
    bits: u64,
}

impl Hash {
    pub(super) fn of(id: Uuid) -> Hash {
        let (high, low) = id.as_u64_pair();
        let mixed = mix(high ^ mix(low));
        let line = usize::try_from(mixed >> 53).unwrap_or(0) % LINES;
        let print = u32::try_from(mixed & u64::from(u32::MAX)).unwrap_or(0);
        Hash { print, line, bits: mix(mixed) }
    }

    fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..PROBES).map(|probe| {
            let bit = usize::try_from(self.bits >> (9 * probe) & 511).unwrap_or(0);
            self.line * LINE_BITS + bit
        })
    }
}

/// The filter of a block with these ids: bit `row % 8` of byte `row / 8`.
pub(super) fn filter_of<'a>(ids: impl IntoIterator<Item = &'a Uuid>) -> Vec<u8> {
    let mut filter = vec![0; FILTER_BYTES];
    for id in ids {
        Hash::of(*id).rows().for_each(|row| filter[row / 8] |= 1 << (row % 8));
    }
    filter
}

/// Takes no memory before the first block is full, 8 MiB then.
#[derive(Default)]
pub(super) struct Filters {
    rows: Vec<u64>,
}

impl Filters {
    /// The filters of blocks, each with its column.
    pub(super) fn of(filters: &[(usize, Vec<u8>)]) -> Filters {
        if filters.is_empty() {
            return Filters::default();
        }
        let mut rows = Vec::with_capacity(ROWS);
        for at in (0..FILTER_BYTES).step_by(8) {
            let mut square = [0; COLUMNS];
            for (column, filter) in filters {
                square[*column] = filter[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
            }
            transpose(&mut square);
            rows.extend(square);
        }
        Filters { rows }
    }

    /// Puts a filter in the place of the one that had its column.
    pub(super) fn set(&mut self, column: usize, filter: &[u8]) {
        self.rows.resize(ROWS, 0);
        for (rows, byte) in self.rows.chunks_exact_mut(8).zip(filter) {
            for (bit, row) in rows.iter_mut().enumerate() {
                *row = *row & !(1 << column) | u64::from(byte >> bit & 1) << column;
            }
        }
    }

    /// The columns of the blocks that may know an id, as bits.
    pub(super) fn columns(&self, hash: &Hash) -> u64 {
        if self.rows.is_empty() { 0 } else { hash.rows().fold(u64::MAX, |all, row| all & self.rows[row]) }
    }
}

/// Turns a square of bits over its diagonal: bit `c` of row `r` becomes bit `r` of row `c`. Squares of half the size are exchanged, and
/// then what is in them, down to single bits.
fn transpose(square: &mut [u64; COLUMNS]) {
    let (mut width, mut mask) = (COLUMNS / 2, u64::from(u32::MAX));
    while width > 0 {
        for row in (0..COLUMNS).filter(|row| row & width == 0) {
            let differ = (square[row] >> width ^ square[row + width]) & mask;
            square[row] ^= differ << width;
            square[row + width] ^= differ;
        }
        width /= 2;
        mask ^= mask << width;
    }
}

/// A bijection of 64 bits in which each bit of the input moves about half of the output (the finaliser of `SplitMix64`).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u128>) -> Vec<Uuid> {
        range.map(Uuid::from_u128).collect()
    }

    #[test]
    fn a_square_is_turned_over_its_diagonal() {
        let mut square = [0; COLUMNS];
        let mut state = 7;
        square.fill_with(|| {
            state = mix(state + 1);
            state
        });
        let before = square;
        transpose(&mut square);
        for (row, bits) in before.iter().enumerate() {
            for (column, turned) in square.iter().enumerate() {
                assert_eq!(bits >> column & 1, turned >> row & 1, "row {row}, column {column}");
            }
        }
    }

    #[test]
    fn an_id_names_the_blocks_that_have_it_and_seldom_another() {
        let block = |from: u128| ids(from << 64..(from << 64) + u128::from(BLOCK));
        let (columns, blocks) = ([0, 5, 63], [block(1), block(2), block(3)]);
        let filters: Vec<_> =
            columns.into_iter().zip(&blocks).map(|(at, ids)| (at, filter_of(ids))).collect();
        let at_once = Filters::of(&filters);
        let mut one_by_one = Filters::default();
        // What had the column before is gone.
        one_by_one.set(5, &filter_of(&block(9)));
        filters.iter().for_each(|(column, filter)| one_by_one.set(*column, filter));
        assert!(at_once.rows == one_by_one.rows);
        for (column, ids) in columns.into_iter().zip(&blocks) {
            assert!(ids.iter().all(|id| at_once.columns(&Hash::of(*id)) >> column & 1 == 1));
        }
        let strangers = ids(7 << 64..(7 << 64) + 100_000);
        let wrong: u32 = strangers.iter().map(|id| at_once.columns(&Hash::of(*id)).count_ones()).sum();
        assert!((1..1_500).contains(&wrong), "{wrong} of 300,000: some hundreds are to be expected");
        assert_eq!(Filters::default().columns(&Hash::of(strangers[0])), 0);
    }
}
