//! The tail file: how far the writer's flushes reach, for followers in other processes.
//!
//! ```text
//! tail file, 64 bytes, rewritten in place with one write after each flush
//!   0  magic       u32  0x4C49_4154 "TAIL"
//!   4  crc32       u32  over 8..64
//!   8  boot        u64  hash of the machine's boot id; 0 = unknown
//!  16  journal id   16
//!  32  durable     u64  highest durable seq
//!  40  segment     u64  base of the segment that the writer is in
//!  48  offset      u64  where in it the flushed bytes end
//!  56  reserved    u64  0
//! ```
//!
//! It is a hint that saves a scan, not a part of the record: believed only while the writer's lock is held and only if
//! written in the same boot. A copy of a directory, or a restored one, carries a stale one along without harm.

use super::{Fault, array, prefix, put, u32_at, u64_at};
use crate::types::{JournalId, Seq};

/// Name of the file.
pub const TAIL_NAME: &str = "tail";
/// Size of the file.
pub const TAIL_BYTES: usize = 64;
/// What it begins with.
pub const TAIL_MAGIC: u32 = u32::from_le_bytes(*b"TAIL");

const MAGIC: usize = 0;
const CRC: usize = MAGIC + 4;
const BOOT: usize = CRC + 4;
const JOURNAL: usize = BOOT + 8;
const DURABLE: usize = JOURNAL + JournalId::BYTES;
const SEGMENT: usize = DURABLE + 8;
const OFFSET: usize = SEGMENT + 8;
const RESERVED: usize = OFFSET + 8;
const _: () = assert!(RESERVED + 8 == TAIL_BYTES);

/// What the tail file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailFile {
    /// Hash of the boot in which it was written.
    pub boot: u64,
    /// Which journal it belongs to.
    pub journal: JournalId,
    /// Highest durable seq.
    pub durable: Seq,
    /// Base of the segment that the writer is in.
    pub segment: Seq,
    /// Where in that segment the flushed bytes end.
    pub offset: u64,
}

impl TailFile {
    /// As it stands on disk.
    pub fn encode(&self) -> [u8; TAIL_BYTES] {
        let mut bytes = [0; TAIL_BYTES];
        put(&mut bytes, MAGIC, &TAIL_MAGIC.to_le_bytes());
        put(&mut bytes, BOOT, &self.boot.to_le_bytes());
        put(&mut bytes, JOURNAL, &self.journal.to_bytes());
        put(&mut bytes, DURABLE, &self.durable.get().to_le_bytes());
        put(&mut bytes, SEGMENT, &self.segment.get().to_le_bytes());
        put(&mut bytes, OFFSET, &self.offset.to_le_bytes());
        let crc = crc32fast::hash(&bytes[BOOT..]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// Reads it.
    ///
    /// # Errors
    /// If these bytes are not a tail file; a reader that met a write half done looks again.
    pub fn decode(bytes: &[u8]) -> Result<TailFile, Fault> {
        let bytes = prefix::<TAIL_BYTES>(bytes)?;
        let magic = u32_at(bytes, MAGIC);
        if magic != TAIL_MAGIC {
            return Err(Fault::Magic { expected: TAIL_MAGIC.into(), found: magic.into() });
        }
        let (expected, found) = (crc32fast::hash(&bytes[BOOT..]), u32_at(bytes, CRC));
        if expected != found {
            return Err(Fault::Checksum { expected, found });
        }
        if u64_at(bytes, RESERVED) != 0 {
            return Err(Fault::Field { field: "reserved", found: u64_at(bytes, RESERVED) });
        }
        Ok(TailFile {
            boot: u64_at(bytes, BOOT),
            journal: JournalId::from_bytes(array(bytes, JOURNAL)),
            durable: Seq::new(u64_at(bytes, DURABLE)),
            segment: Seq::new(u64_at(bytes, SEGMENT)),
            offset: u64_at(bytes, OFFSET),
        })
    }
}
