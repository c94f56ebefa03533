//! The files of the index.
//!
//! ```text
//! header, 64 bytes, little-endian
//! 0   magic     8  "mnemoid" 0x01
//! 8   journal  16
//! 24  first     8  first seq of the block
//! 32  last      8  last seq that the file knows
//! 40  count     4  ids in it
//! 44  crc       4  CRC-32/ISO-HDLC of what follows the header
//! 48  zeros    12
//! 60  crc       4  CRC-32/ISO-HDLC over 0..60
//!
//! ids-<first, 20 digits>       filter, 131,072 bytes; count fingerprints u32, sorted; count offsets u16
//! ids-<first, 20 digits>.part  count times: offset u16, id 16 bytes
//! ```
//! A file that does not verify is as good as none: it is made again from the journal.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use uuid::Uuid;

use super::BLOCK;
use crate::config::guard;
use crate::error::Result;
use crate::store::log::JournalId;

const MAGIC: [u8; 8] = *b"mnemoid\x01";
const HEADER_BYTES: usize = 64;
const HEADER_CRC_AT: usize = 60;
/// A filter line is a cache line, so that a lookup touches one.
const LINE_BYTES: usize = 64;
const FILTER_BYTES: usize = 128 << 10;
const LINES: usize = FILTER_BYTES / LINE_BYTES;
/// Bits that an id sets in its line.
const FILTER_PROBES: u32 = 6;
const PART_BYTES: usize = 2 + 16;
/// Either form of file is smaller.
pub(crate) const FILE_BYTES_MAX: u64 = (HEADER_BYTES + FILTER_BYTES) as u64 + BLOCK * PART_BYTES as u64;

const _: () = assert!(LINES == 1 << 11 && BLOCK <= 1 << 16);

pub(super) fn file_name(first: u64) -> String {
    format!("ids-{first:020}")
}

/// The first seq of the block in the file of this name.
pub(crate) fn first_of(name: &std::ffi::OsStr) -> Option<u64> {
    let number = name.to_str()?.strip_prefix("ids-")?;
    number.strip_suffix(".part").unwrap_or(number).parse().ok()
}

/// A full block on disk, its filter in memory.
pub(super) struct Block {
    first: u64,
    count: usize,
    file: File,
    filter: Box<[u8]>,
}

impl Block {
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn write(
        dir: &Path,
        journal: JournalId,
        first: u64,
        seqs: &HashMap<Uuid, u64>,
    ) -> Result<Block> {
        let mut filter = vec![0; FILTER_BYTES];
        let mut prints: Vec<(u32, u16)> = Vec::with_capacity(seqs.len());
        for (id, seq) in seqs {
            let hash = Hash::of(*id);
            hash.set(&mut filter);
            prints.push((hash.print, u16::try_from(seq - first).unwrap_or(u16::MAX)));
        }
        prints.sort_unstable();
        let mut body = filter.clone();
        for (print, _) in &prints {
            body.extend_from_slice(&print.to_le_bytes());
        }
        for (_, offset) in &prints {
            body.extend_from_slice(&offset.to_le_bytes());
        }
        let path = dir.join(file_name(first));
        guard::replace(&path, &file_bytes(journal, first, first + BLOCK - 1, prints.len(), &body))?;
        let file = guard::open(&path, guard::How::Read)?;
        // The unfinished block that this one was; it stays behind only if a crash comes in between, and then is ignored.
        std::fs::remove_file(dir.join(format!("{}.part", file_name(first)))).ok();
        Ok(Block { first, count: prints.len(), file, filter: filter.into() })
    }

    /// The block's file, if it is there and whole.
    pub(super) fn open(dir: &Path, journal: JournalId, first: u64) -> Option<Block> {
        let path = dir.join(file_name(first));
        let bytes = guard::read(&path, FILE_BYTES_MAX).ok()?;
        let (count, body) = whole_block(&bytes, journal, first)?;
        let filter = body[..FILTER_BYTES].into();
        Some(Block { first, count, file: guard::open(&path, guard::How::Read).ok()?, filter })
    }

    /// Adds the seqs that may be `id`'s.
    pub(super) fn find(&self, id: Uuid, candidates: &mut Vec<u64>) {
        let hash = Hash::of(id);
        if !hash.is_set(&self.filter) {
            return;
        }
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.print(middle) {
                Some(print) if print < hash.print => low = middle + 1,
                Some(_) => high = middle,
                None => return,
            }
        }
        while low < self.count && self.print(low) == Some(hash.print) {
            let mut offset = [0; 2];
            let at = HEADER_BYTES + FILTER_BYTES + self.count * 4 + low * 2;
            if self.file.read_exact_at(&mut offset, at as u64).is_ok() {
                candidates.push(self.first + u64::from(u16::from_le_bytes(offset)));
            }
            low += 1;
        }
    }

    fn print(&self, index: usize) -> Option<u32> {
        let mut print = [0; 4];
        self.file.read_exact_at(&mut print, (HEADER_BYTES + FILTER_BYTES + index * 4) as u64).ok()?;
        Some(u32::from_le_bytes(print))
    }
}

/// The ids of an unfinished block, as a clean stop wrote them down.
pub(crate) struct Partial {
    pub(crate) last: u64,
    pub(crate) seqs: HashMap<Uuid, u64>,
}

impl Partial {
    pub(super) fn write(
        dir: &Path,
        journal: JournalId,
        first: u64,
        last: u64,
        seqs: &HashMap<Uuid, u64>,
    ) -> Result<()> {
        let mut body = Vec::with_capacity(seqs.len() * PART_BYTES);
        let mut count = 0;
        for (id, seq) in seqs.iter().filter(|(_, seq)| **seq <= last) {
            body.extend_from_slice(&u16::try_from(seq - first).unwrap_or(u16::MAX).to_le_bytes());
            body.extend_from_slice(id.as_bytes());
            count += 1;
        }
        let path = dir.join(format!("{}.part", file_name(first)));
        guard::replace(&path, &file_bytes(journal, first, last, count, &body))
    }

    pub(super) fn read(dir: &Path, journal: JournalId, first: u64) -> Option<Partial> {
        let bytes = guard::read(&dir.join(format!("{}.part", file_name(first))), FILE_BYTES_MAX).ok()?;
        Partial::decode(&bytes, journal, first)
    }

    /// The ids in the bytes of a file, if they verify.
    pub(crate) fn decode(bytes: &[u8], journal: JournalId, first: u64) -> Option<Partial> {
        let (count, last, body) = parse(bytes, journal, first)?;
        // How many seqs the block has up to `last`.
        let known = last.checked_sub(first.checked_sub(1)?).filter(|known| *known <= BLOCK)?;
        if body.len() != count * PART_BYTES {
            return None;
        }
        let seqs = body.chunks_exact(PART_BYTES).map(|part| {
            let mut id = [0; 16];
            id.copy_from_slice(&part[2..]);
            let offset = u64::from(u16::from_le_bytes([part[0], part[1]]));
            (offset < known).then(|| (Uuid::from_bytes(id), first + offset))
        });
        Some(Partial { last, seqs: seqs.collect::<Option<_>>()? })
    }
}

pub(crate) fn file_bytes(journal: JournalId, first: u64, last: u64, count: usize, body: &[u8]) -> Vec<u8> {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..24].copy_from_slice(&journal.to_bytes());
    header[24..32].copy_from_slice(&first.to_le_bytes());
    header[32..40].copy_from_slice(&last.to_le_bytes());
    header[40..44].copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    header[44..48].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    let crc = crc32fast::hash(&header[..HEADER_CRC_AT]);
    header[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    [&header, body].concat()
}

/// Count and body of a full block's file, if it is one.
pub(crate) fn whole_block(bytes: &[u8], journal: JournalId, first: u64) -> Option<(usize, &[u8])> {
    let (count, last, body) = parse(bytes, journal, first)?;
    (first.checked_add(BLOCK - 1) == Some(last) && body.len() == FILTER_BYTES + count * 6)
        .then_some((count, body))
}

/// Count, last seq and body, if everything verifies.
fn parse(bytes: &[u8], journal: JournalId, first: u64) -> Option<(usize, u64, &[u8])> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let four = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    let eight = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let whole = header[..8] == MAGIC
        && header[8..24] == journal.to_bytes()
        && eight(24)? == first
        && four(44)? == crc32fast::hash(body)
        && four(HEADER_CRC_AT)? == crc32fast::hash(&header[..HEADER_CRC_AT]);
    whole.then_some((four(40)? as usize, eight(32)?, body))
}

/// What the index keeps of an id. Ids are random or hashed in their low half; the multiplication spreads those that are not.
struct Hash {
    print: u32,
    line: usize,
    bits: u64,
}

impl Hash {
    fn of(id: Uuid) -> Hash {
        let (high, low) = id.as_u64_pair();
        let mixed = mix(high ^ mix(low));
        let line = usize::try_from(mixed >> 53).unwrap_or(0);
        let print = u32::try_from(mixed & u64::from(u32::MAX)).unwrap_or(0);
        Hash { print, line, bits: mix(mixed) }
    }

    fn probes(&self) -> impl Iterator<Item = (usize, u8)> + '_ {
        (0..FILTER_PROBES).map(|probe| {
            let bit = usize::try_from(self.bits >> (9 * probe) & 511).unwrap_or(0);
            (self.line * LINE_BYTES + bit / 8, 1 << (bit % 8))
        })
    }

    fn set(&self, filter: &mut [u8]) {
        self.probes().for_each(|(byte, mask)| filter[byte] |= mask);
    }

    fn is_set(&self, filter: &[u8]) -> bool {
        self.probes().all(|(byte, mask)| filter[byte] & mask != 0)
    }
}

/// A bijection of 64 bits in which each bit of the input moves about half of the output (the finaliser of `SplitMix64`).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
