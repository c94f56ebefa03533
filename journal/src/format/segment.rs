//! First and last bytes of a segment.
//!
//! ```text
//! header, 128 bytes                                 footer of a sealed segment, 112 bytes
//!   0  magic          8  "MNEMOSEG"                   0  magic           u32 0x4E45_464D "MFEN"
//!   8  version      u16  1                            4  crc32           u32 over 8..112
//!  10  header bytes u16  128                          8  salt            u64 as in the header
//!  12  incompatible u32  feature flags                16  journal id       16
//!  16  compatible   u32  feature flags                32  base            u64 as in the header
//!  20  reserved     u32  0                            40  last            u64 last seq; base - 1 if none
//!  24  journal id    16                               48  first recorded  i64 us; 0 if there is no record
//!  40  base         u64  first seq                    56  last recorded   i64 us; 0 if there is no record
//!  48  created      i64  us; <= every batch's          64  data bytes      u64 offset of this footer
//!  56  salt         u64                               72  reserved        u64 0
//!  64  previous link 32  link before base             80  link             32 link after last
//!  96  reserved      28  0
//! 124  crc32        u32  over 0..124
//! ```
//!
//! The last 112 bytes of a file are a footer or the segment is not sealed. A segment that ends in its footer is never
//! written to again.

use super::{Fault, array, i64_at, is_zero, prefix, put, u16_at, u32_at, u64_at};
use crate::inspect::layout::{Field, Form};
use crate::types::{Hash, JournalId, Micros, Seq};

/// The version that is written, and the newest that is read.
pub const VERSION: u16 = 1;
/// What every segment begins with.
pub const SEGMENT_MAGIC: [u8; 8] = *b"MNEMOSEG";
/// Size of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 128;

const MAGIC: usize = 0;
const VERSION_AT: usize = MAGIC + 8;
const HEADER_BYTES_AT: usize = VERSION_AT + 2;
const INCOMPATIBLE: usize = HEADER_BYTES_AT + 2;
const COMPATIBLE: usize = INCOMPATIBLE + 4;
const RESERVED: usize = COMPATIBLE + 4;
const JOURNAL: usize = RESERVED + 4;
const BASE: usize = JOURNAL + JournalId::BYTES;
const CREATED: usize = BASE + 8;
const SALT: usize = CREATED + 8;
const PREVIOUS: usize = SALT + 8;
const PADDING: usize = PREVIOUS + Hash::BYTES;
const CRC: usize = PADDING + 28;
const _: () = assert!(CRC + 4 == SEGMENT_HEADER_BYTES);
const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(super::ALIGN));

const HEADER_BYTES_WRITTEN: u16 = 128;
const _: () = assert!(HEADER_BYTES_WRITTEN as usize == SEGMENT_HEADER_BYTES);

/// The bytes of a header by name.
pub(crate) const HEADER_FIELDS: [Field; 13] = [
    Field::new("magic", MAGIC, VERSION_AT, Form::Letters),
    Field::new("version", VERSION_AT, HEADER_BYTES_AT, Form::Number),
    Field::new("header bytes", HEADER_BYTES_AT, INCOMPATIBLE, Form::Number),
    Field::new("incompatible", INCOMPATIBLE, COMPATIBLE, Form::Bits),
    Field::new("compatible", COMPATIBLE, RESERVED, Form::Bits),
    Field::new("reserved", RESERVED, JOURNAL, Form::Zero),
    Field::new("journal id", JOURNAL, BASE, Form::Hex),
    Field::new("base", BASE, CREATED, Form::Number),
    Field::new("created", CREATED, SALT, Form::Time),
    Field::new("salt", SALT, PREVIOUS, Form::Bits),
    Field::new("previous link", PREVIOUS, PADDING, Form::Hex),
    Field::new("reserved", PADDING, CRC, Form::Zero),
    Field::new("crc32", CRC, SEGMENT_HEADER_BYTES, Form::Bits),
];

/// The batches of this segment carry no links.
pub const UNCHAINED: u32 = 1;

/// The incompatible features known here, by bit and name.
pub const INCOMPATIBLE_FEATURES: [(u32, &str); 1] = [(UNCHAINED, "unchained")];

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Features without which the segment cannot be read.
    pub incompatible: u32,
    /// Features that a reader may ignore.
    pub compatible: u32,
    /// Which journal it belongs to.
    pub journal: JournalId,
    /// Seq of its first record; everything before was durable when the segment got its name.
    pub base: Seq,
    /// When it was made: `recorded` of the batch before, or the moment that the journal was made. No batch in it is
    /// earlier.
    pub created: Micros,
    /// Part of every checksum in it.
    pub salt: u64,
    /// The chain's link before `base`.
    pub previous: Hash,
}

impl SegmentHeader {
    /// As it stands on disk.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, MAGIC, &SEGMENT_MAGIC);
        put(&mut bytes, VERSION_AT, &VERSION.to_le_bytes());
        put(&mut bytes, HEADER_BYTES_AT, &HEADER_BYTES_WRITTEN.to_le_bytes());
        put(&mut bytes, INCOMPATIBLE, &self.incompatible.to_le_bytes());
        put(&mut bytes, COMPATIBLE, &self.compatible.to_le_bytes());
        put(&mut bytes, JOURNAL, &self.journal.to_bytes());
        put(&mut bytes, BASE, &self.base.get().to_le_bytes());
        put(&mut bytes, CREATED, &self.created.get().to_le_bytes());
        put(&mut bytes, SALT, &self.salt.to_le_bytes());
        put(&mut bytes, PREVIOUS, &self.previous.to_bytes());
        let crc = crc32fast::hash(&bytes[..CRC]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// Reads and checks the first bytes of a segment.
    ///
    /// # Errors
    /// [`Fault::Version`] and [`Fault::Features`] only if the checksum holds: then the segment is whole and needs a
    /// newer program. Everything else is damage.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, Fault> {
        let bytes = prefix::<SEGMENT_HEADER_BYTES>(bytes)?;
        let magic = array(bytes, MAGIC);
        if magic != SEGMENT_MAGIC {
            let (expected, found) = (u64::from_le_bytes(SEGMENT_MAGIC), u64::from_le_bytes(magic));
            return Err(Fault::Magic { expected, found });
        }
        let (expected, found) = (crc32fast::hash(&bytes[..CRC]), u32_at(bytes, CRC));
        if expected != found {
            return Err(Fault::Checksum { expected, found });
        }
        let version = u16_at(bytes, VERSION_AT);
        if version != VERSION {
            return Err(Fault::Version { found: version, supported: VERSION });
        }
        let header = SegmentHeader {
            incompatible: u32_at(bytes, INCOMPATIBLE),
            compatible: u32_at(bytes, COMPATIBLE),
            journal: JournalId::from_bytes(array(bytes, JOURNAL)),
            base: Seq::new(u64_at(bytes, BASE)),
            created: Micros::new(i64_at(bytes, CREATED)),
            salt: u64_at(bytes, SALT),
            previous: Hash::from_bytes(array(bytes, PREVIOUS)),
        };
        let known = INCOMPATIBLE_FEATURES.iter().fold(0, |bits, (bit, _)| bits | bit);
        if header.incompatible & !known != 0 {
            return Err(Fault::Features { bits: header.incompatible & !known });
        }
        let header_bytes = u64::from(u16_at(bytes, HEADER_BYTES_AT));
        if header_bytes != SEGMENT_HEADER_BYTES as u64 {
            return Err(Fault::Field { field: "header bytes", found: header_bytes });
        }
        if !is_zero(&bytes[RESERVED..JOURNAL]) || !is_zero(&bytes[PADDING..CRC]) {
            return Err(Fault::Field { field: "reserved", found: 1 });
        }
        if header.base == Seq::ZERO {
            return Err(Fault::Field { field: "base", found: 0 });
        }
        Ok(header)
    }

    /// Whether its batches carry links.
    pub fn chained(&self) -> bool {
        self.incompatible & UNCHAINED == 0
    }
}

/// Size of a segment's footer.
pub const FOOTER_BYTES: usize = 112;
/// What a footer begins with.
pub const FOOTER_MAGIC: u32 = u32::from_le_bytes(*b"MFEN");

const F_MAGIC: usize = 0;
const F_CRC: usize = F_MAGIC + 4;
const F_SALT: usize = F_CRC + 4;
const F_JOURNAL: usize = F_SALT + 8;
const F_BASE: usize = F_JOURNAL + JournalId::BYTES;
const F_LAST: usize = F_BASE + 8;
const F_FIRST_RECORDED: usize = F_LAST + 8;
const F_LAST_RECORDED: usize = F_FIRST_RECORDED + 8;
const F_DATA: usize = F_LAST_RECORDED + 8;
const F_RESERVED: usize = F_DATA + 8;
const F_LINK: usize = F_RESERVED + 8;
const _: () = assert!(F_LINK + Hash::BYTES == FOOTER_BYTES);
const _: () = assert!(FOOTER_BYTES.is_multiple_of(super::ALIGN));

/// The bytes of a footer by name.
pub(crate) const FOOTER_FIELDS: [Field; 11] = [
    Field::new("magic", F_MAGIC, F_CRC, Form::Letters),
    Field::new("crc32", F_CRC, F_SALT, Form::Bits),
    Field::new("salt", F_SALT, F_JOURNAL, Form::Bits),
    Field::new("journal id", F_JOURNAL, F_BASE, Form::Hex),
    Field::new("base", F_BASE, F_LAST, Form::Number),
    Field::new("last", F_LAST, F_FIRST_RECORDED, Form::Number),
    Field::new("first recorded", F_FIRST_RECORDED, F_LAST_RECORDED, Form::Time),
    Field::new("last recorded", F_LAST_RECORDED, F_DATA, Form::Time),
    Field::new("data bytes", F_DATA, F_RESERVED, Form::Number),
    Field::new("reserved", F_RESERVED, F_LINK, Form::Zero),
    Field::new("link", F_LINK, FOOTER_BYTES, Form::Hex),
];

/// What a sealed segment says about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// As in the header.
    pub salt: u64,
    /// As in the header.
    pub journal: JournalId,
    /// As in the header.
    pub base: Seq,
    /// Seq of the last record; the one before `base` if there is none.
    pub last: Seq,
    /// `recorded` of the first batch.
    pub first_recorded: Micros,
    /// `recorded` of the last batch.
    pub last_recorded: Micros,
    /// Where the footer begins.
    pub data_bytes: u64,
    /// The chain's link after `last`.
    pub link: Hash,
}

impl Footer {
    /// As it stands on disk.
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        put(&mut bytes, F_MAGIC, &FOOTER_MAGIC.to_le_bytes());
        put(&mut bytes, F_SALT, &self.salt.to_le_bytes());
        put(&mut bytes, F_JOURNAL, &self.journal.to_bytes());
        put(&mut bytes, F_BASE, &self.base.get().to_le_bytes());
        put(&mut bytes, F_LAST, &self.last.get().to_le_bytes());
        put(&mut bytes, F_FIRST_RECORDED, &self.first_recorded.get().to_le_bytes());
        put(&mut bytes, F_LAST_RECORDED, &self.last_recorded.get().to_le_bytes());
        put(&mut bytes, F_DATA, &self.data_bytes.to_le_bytes());
        put(&mut bytes, F_LINK, &self.link.to_bytes());
        let crc = crc32fast::hash(&bytes[F_SALT..]);
        put(&mut bytes, F_CRC, &crc.to_le_bytes());
        bytes
    }

    /// Reads the footer that begins at `offset` of its file.
    ///
    /// # Errors
    /// If these bytes are not a footer, or one that belongs elsewhere.
    pub fn decode(bytes: &[u8], offset: u64) -> Result<Footer, Fault> {
        let bytes = prefix::<FOOTER_BYTES>(bytes)?;
        let magic = u32_at(bytes, F_MAGIC);
        if magic != FOOTER_MAGIC {
            return Err(Fault::Magic { expected: FOOTER_MAGIC.into(), found: magic.into() });
        }
        let (expected, found) = (crc32fast::hash(&bytes[F_SALT..]), u32_at(bytes, F_CRC));
        if expected != found {
            return Err(Fault::Checksum { expected, found });
        }
        let footer = Footer {
            salt: u64_at(bytes, F_SALT),
            journal: JournalId::from_bytes(array(bytes, F_JOURNAL)),
            base: Seq::new(u64_at(bytes, F_BASE)),
            last: Seq::new(u64_at(bytes, F_LAST)),
            first_recorded: Micros::new(i64_at(bytes, F_FIRST_RECORDED)),
            last_recorded: Micros::new(i64_at(bytes, F_LAST_RECORDED)),
            data_bytes: u64_at(bytes, F_DATA),
            link: Hash::from_bytes(array(bytes, F_LINK)),
        };
        if footer.data_bytes != offset {
            return Err(Fault::Field { field: "data bytes", found: footer.data_bytes });
        }
        if footer.base == Seq::ZERO || footer.last < footer.base.prev() {
            return Err(Fault::Field { field: "last", found: footer.last.get() });
        }
        if u64_at(bytes, F_RESERVED) != 0 {
            return Err(Fault::Field { field: "reserved", found: u64_at(bytes, F_RESERVED) });
        }
        Ok(footer)
    }

    /// Whether these bytes are a footer that was damaged: its magic or its checksum stands.
    pub fn was_at(bytes: &[u8]) -> bool {
        prefix::<FOOTER_BYTES>(bytes).is_ok_and(|bytes| {
            u32_at(bytes, F_MAGIC) == FOOTER_MAGIC
                || crc32fast::hash(&bytes[F_SALT..]) == u32_at(bytes, F_CRC)
        })
    }

    /// The footer that `segment` ends in, if it does.
    pub fn at_end_of(segment: &[u8]) -> Option<Footer> {
        let at = segment.len().checked_sub(FOOTER_BYTES)?;
        Footer::decode(&segment[at..], at as u64).ok()
    }
}

/// The file name of the segment that begins with `base`.
pub fn segment_name(base: Seq) -> String {
    format!("{:020}.seg", base.get())
}

/// The base in the name of a segment file; `None` if it is not the name of one.
pub fn segment_base(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(".seg")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let base = if plain { digits.parse().ok()? } else { 0 };
    (base > 0).then_some(Seq::new(base))
}
