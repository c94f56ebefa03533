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
use super::filter::{FILTER_BYTES, Hash, filter_of};
use crate::config::guard;
use crate::error::Result;
use crate::store::log::JournalId;

const MAGIC: [u8; 8] = *b"mnemoid\x01";
const HEADER_BYTES: usize = 64;
const HEADER_CRC_AT: usize = 60;
/// Fingerprints that a lookup reads at once, on either side of where it expects its own.
const NEAR: usize = 512;
const PART_BYTES: usize = 2 + 16;
/// Either form of file is smaller.
pub(crate) const FILE_BYTES_MAX: u64 = (HEADER_BYTES + FILTER_BYTES) as u64 + BLOCK * PART_BYTES as u64;

const _: () = assert!(BLOCK <= 1 << 16);

pub(super) fn file_name(first: u64) -> String {
    format!("ids-{first:020}")
}

/// The first seq of the block in the file of this name.
pub(crate) fn first_of(name: &std::ffi::OsStr) -> Option<u64> {
    let number = name.to_str()?.strip_prefix("ids-")?;
    number.strip_suffix(".part").unwrap_or(number).parse().ok()
}

/// A full block on disk. Its filter is with those of the others.
pub(super) struct Block {
    first: u64,
    count: usize,
    file: File,
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
        let offset = |seq: u64| u16::try_from(seq - first).unwrap_or(u16::MAX);
        let mut prints: Vec<(u32, u16)> =
            seqs.iter().map(|(id, seq)| (Hash::of(*id).print, offset(*seq))).collect();
        prints.sort_unstable();
        let mut body = filter_of(seqs.keys());
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
        Ok(Block { first, count: prints.len(), file })
    }

    /// The block's file and its filter, if it is there and whole.
    pub(super) fn open(dir: &Path, journal: JournalId, first: u64) -> Option<(Block, Vec<u8>)> {
        let path = dir.join(file_name(first));
        let bytes = guard::read(&path, FILE_BYTES_MAX).ok()?;
        let (count, body) = whole_block(&bytes, journal, first)?;
        let file = guard::open(&path, guard::How::Read).ok()?;
        Some((Block { first, count, file }, body[..FILTER_BYTES].to_vec()))
    }

    /// Adds the seqs that may be the id's. Nothing, if the file cannot be read any more.
    pub(super) fn find(&self, hash: &Hash, candidates: &mut Vec<u64>) {
        let Some(mut at) = self.first_not_below(hash.print) else { return };
        while at < self.count && self.print(at) == Some(hash.print) {
            let mut offset = [0; 2];
            let place = HEADER_BYTES + FILTER_BYTES + self.count * 4 + at * 2;
            if self.file.read_exact_at(&mut offset, place as u64).is_ok() {
                candidates.push(self.first + u64::from(u16::from_le_bytes(offset)));
            }
            at += 1;
        }
    }

    /// The place of the first fingerprint that is not below `print`. Fingerprints are spread evenly, so that one read of those around the
    /// expected place nearly always has it; halving finds what strays.
    fn first_not_below(&self, print: u32) -> Option<usize> {
        let expected = usize::try_from((u64::from(print) * self.count as u64) >> 32).ok()?;
        let (from, to) = (expected.saturating_sub(NEAR), (expected + NEAR).min(self.count));
        let mut bytes = [0; 2 * NEAR * 4];
        let bytes = &mut bytes[..(to - from) * 4];
        self.read_prints(from, bytes)?;
        let near: &[[u8; 4]] = bytes.as_chunks().0;
        let below = near.partition_point(|near| u32::from_le_bytes(*near) < print);
        let (mut low, mut high) = match below {
            0 if from > 0 => (0, from),
            all if from + all == to && to < self.count => (to, self.count),
            below => (from + below, from + below),
        };
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.print(middle)? < print {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low)
    }

    fn print(&self, index: usize) -> Option<u32> {
        let mut print = [0; 4];
        self.read_prints(index, &mut print)?;
        Some(u32::from_le_bytes(print))
    }

    fn read_prints(&self, from: usize, bytes: &mut [u8]) -> Option<()> {
        self.file.read_exact_at(bytes, (HEADER_BYTES + FILTER_BYTES + from * 4) as u64).ok()
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
