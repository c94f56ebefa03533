//! The numbers that travel: one newtype each, checked arithmetic, and `Display` in the form people see.

use std::fmt;

/// The place of a record in the journal: dense, from 1.
///
/// A seq that was ever durable is never given again. [`Seq::ZERO`] stands before the first record and is never given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// Before the first record.
    pub const ZERO: Seq = Seq(0);
    /// The first record's place.
    pub const FIRST: Seq = Seq(1);
    /// The highest number that can be written down; the journal refuses to give it.
    pub const MAX: Seq = Seq(u64::MAX);

    /// The seq with this number.
    pub const fn new(number: u64) -> Seq {
        Seq(number)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after this. Saturates at [`Seq::MAX`], which is never given to a record.
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// The one before this; [`Seq::ZERO`] has none before it and answers itself.
    #[must_use]
    pub const fn prev(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }

    /// `count` places further on, saturating.
    #[must_use]
    pub const fn plus(self, count: u64) -> Seq {
        Seq(self.0.saturating_add(count))
    }

    /// How many places lie from `earlier` to here; 0 if `earlier` is not earlier.
    pub const fn since(self, earlier: Seq) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// UTC microseconds since the Unix epoch. The journal never asks a clock: now is always an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(i64);

impl Micros {
    /// The earliest moment that can be written down.
    pub const MIN: Micros = Micros(i64::MIN);
    /// The Unix epoch.
    pub const EPOCH: Micros = Micros(0);

    /// This many microseconds after the Unix epoch.
    pub const fn new(micros: i64) -> Micros {
        Micros(micros)
    }

    /// Microseconds after the Unix epoch.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Microseconds from `earlier` to here, saturating; negative if `earlier` is later.
    pub const fn since(self, earlier: Micros) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us", self.0)
    }
}

/// Which journal this is: 16 bytes chosen when it was created, repeated in every segment and batch header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId([u8; JournalId::BYTES]);

impl JournalId {
    /// Width on disk.
    pub const BYTES: usize = 16;

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> JournalId {
        JournalId(bytes)
    }

    /// The bytes as they stand on disk.
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

impl fmt::Display for JournalId {
    /// 32 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A 32-byte BLAKE3 value: the digest of a payload, or a link of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::BYTES]);

impl Hash {
    /// Width on disk.
    pub const BYTES: usize = 32;
    /// All zero: what stands before the first link, and everywhere in a journal without a chain.
    pub const ZERO: Hash = Hash([0; Self::BYTES]);

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Hash {
        Hash(bytes)
    }

    /// The bytes as they stand on disk.
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

impl fmt::Display for Hash {
    /// 64 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How much an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Handed to the operating system: survives the death of the process, not a power cut.
    Os,
    /// Covered by an fdatasync: survives a power cut.
    Disk,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Os => "os",
            Level::Disk => "disk",
        })
    }
}
