//! The header of a frame.
//!
//! ```text
//! batch header, 96 bytes, at a multiple of 8
//!   0  magic       u32  0x5441_424D "MBAT"
//!   4  crc32       u32  over 8..96, followed by the header's own offset in the file as u64
//!   8  salt        u64  of the segment
//!  16  journal id   16
//!  32  first       u64  seq of the first record; of a proof frame: the next seq to be given
//!  40  count       u32  records; 0 = proof frame
//!  44  body bytes  u32  of the records, without the padding after them
//!  48  recorded    i64  us; never less than in the frame before
//!  56  durable     u64  highest seq that an fdatasync covered when this was written; less than `first`, and
//!                       in a proof frame `first` - 1
//!  64  link         32  of the chain after this batch; a proof frame repeats the link before it
//!  96  records ...      then zeros up to a multiple of 8
//! ```
//!
//! Salt, journal id and seq are repeated in every header, so a frame can be found and placed when everything around it
//! is gone. The offset in the checksum ties it to its place: a sector that the disk wrote somewhere else is no frame there.

use super::record::RECORD_HEADER_BYTES;
use super::{Fault, array, i64_at, padded, prefix, put, u32_at, u64_at};
use crate::inspect::layout::{Field, Form};
use crate::types::{Hash, JournalId, Micros, Seq};

/// Size of a batch header.
pub const BATCH_HEADER_BYTES: usize = 96;
/// What a batch header begins with.
pub const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"MBAT");

/// A batch's records are at most this long together: what recovery and readers must hold at once.
pub const BATCH_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

const MAGIC: usize = 0;
const CRC: usize = MAGIC + 4;
const SALT: usize = CRC + 4;
const JOURNAL: usize = SALT + 8;
const FIRST: usize = JOURNAL + JournalId::BYTES;
const COUNT: usize = FIRST + 8;
const BODY: usize = COUNT + 4;
const RECORDED: usize = BODY + 4;
const DURABLE: usize = RECORDED + 8;
const LINK: usize = DURABLE + 8;
const _: () = assert!(LINK + Hash::BYTES == BATCH_HEADER_BYTES);
const _: () = assert!(BATCH_HEADER_BYTES.is_multiple_of(super::ALIGN));
const _: () = assert!(BATCH_BODY_BYTES_MAX < u32::MAX as usize);

/// The bytes of a header by name.
pub(crate) const FIELDS: [Field; 10] = [
    Field::new("magic", MAGIC, CRC, Form::Letters),
    Field::new("crc32", CRC, SALT, Form::Bits),
    Field::new("salt", SALT, JOURNAL, Form::Bits),
    Field::new("journal id", JOURNAL, FIRST, Form::Hex),
    Field::new("first", FIRST, COUNT, Form::Number),
    Field::new("count", COUNT, BODY, Form::Number),
    Field::new("body bytes", BODY, RECORDED, Form::Number),
    Field::new("recorded", RECORDED, DURABLE, Form::Time),
    Field::new("durable", DURABLE, LINK, Form::Number),
    Field::new("link", LINK, BATCH_HEADER_BYTES, Form::Hex),
];

/// What a frame says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Of the segment.
    pub salt: u64,
    /// Which journal it belongs to.
    pub journal: JournalId,
    /// Seq of the first record; of a proof frame, the next seq to be given.
    pub first: Seq,
    /// How many records; 0 in a proof frame.
    pub count: u32,
    /// Length of the records, without padding.
    pub body_bytes: u32,
    /// When the journal took the batch.
    pub recorded: Micros,
    /// Highest seq that was proven durable when this was written.
    pub durable: Seq,
    /// The chain after this batch.
    pub link: Hash,
}

impl BatchHeader {
    /// As it stands on disk at `offset`.
    pub fn encode(&self, offset: u64) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        put(&mut bytes, MAGIC, &BATCH_MAGIC.to_le_bytes());
        put(&mut bytes, SALT, &self.salt.to_le_bytes());
        put(&mut bytes, JOURNAL, &self.journal.to_bytes());
        put(&mut bytes, FIRST, &self.first.get().to_le_bytes());
        put(&mut bytes, COUNT, &self.count.to_le_bytes());
        put(&mut bytes, BODY, &self.body_bytes.to_le_bytes());
        put(&mut bytes, RECORDED, &self.recorded.get().to_le_bytes());
        put(&mut bytes, DURABLE, &self.durable.get().to_le_bytes());
        put(&mut bytes, LINK, &self.link.to_bytes());
        let crc = checksum(&bytes, offset);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// Reads the header that begins at `offset` of its file.
    ///
    /// # Errors
    /// If these bytes are not a batch header, or not one of this place.
    pub fn decode(bytes: &[u8], offset: u64) -> Result<BatchHeader, Fault> {
        let bytes = prefix::<BATCH_HEADER_BYTES>(bytes)?;
        let magic = u32_at(bytes, MAGIC);
        if magic != BATCH_MAGIC {
            return Err(Fault::Magic { expected: BATCH_MAGIC.into(), found: magic.into() });
        }
        let (expected, found) = (checksum(bytes, offset), u32_at(bytes, CRC));
        if expected != found {
            return Err(Fault::Checksum { expected, found });
        }
        let header = BatchHeader {
            salt: u64_at(bytes, SALT),
            journal: JournalId::from_bytes(array(bytes, JOURNAL)),
            first: Seq::new(u64_at(bytes, FIRST)),
            count: u32_at(bytes, COUNT),
            body_bytes: u32_at(bytes, BODY),
            recorded: Micros::new(i64_at(bytes, RECORDED)),
            durable: Seq::new(u64_at(bytes, DURABLE)),
            link: Hash::from_bytes(array(bytes, LINK)),
        };
        header.check()?;
        Ok(header)
    }

    /// The last seq of the batch; of a proof frame, the seq before it.
    pub fn last(&self) -> Seq {
        Seq::new(self.first.get().saturating_add(u64::from(self.count)).saturating_sub(1))
    }

    /// Whether it holds no records and only proves.
    pub fn is_proof(&self) -> bool {
        self.count == 0
    }

    /// Length of the whole frame, with padding.
    pub fn frame_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + padded(self.body_bytes as usize)
    }

    fn check(&self) -> Result<(), Fault> {
        let (count, body) = (u64::from(self.count), u64::from(self.body_bytes));
        let field = |field, found| Err(Fault::Field { field, found });
        if self.first == Seq::ZERO || self.first.get().checked_add(count).is_none() {
            return field("first", self.first.get());
        }
        if self.durable >= self.first {
            return field("durable", self.durable.get());
        }
        if self.is_proof() && self.durable != self.first.prev() {
            return field("durable", self.durable.get());
        }
        if body > BATCH_BODY_BYTES_MAX as u64
            || body < count * RECORD_HEADER_BYTES as u64
            || (count == 0 && body != 0)
        {
            return field("body bytes", body);
        }
        Ok(())
    }
}

fn checksum(bytes: &[u8; BATCH_HEADER_BYTES], offset: u64) -> u32 {
    super::crc::extend_u64(crc32fast::hash(&bytes[SALT..]), offset)
}
