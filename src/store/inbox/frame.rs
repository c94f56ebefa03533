//! The bytes of one inbox file.
//!
//! ```text
//! 0   magic    8  "mnemoin" 0x01
//! 8   length   4  u32 LE: bytes of the event
//! 12  crc      4  u32 LE: CRC-32/ISO-HDLC over length and event
//! 16  event       disk form
//! ```
//! A file that is longer or shorter than it says is damaged: it was written whole before it got its name.

const MAGIC: [u8; 8] = *b"mnemoin\x01";
const LENGTH_AT: usize = MAGIC.len();
const CRC_AT: usize = LENGTH_AT + 4;
/// Bytes before the event.
pub(crate) const HEADER_BYTES: usize = CRC_AT + 4;
/// More than any event has: payloads are cut at 64 KiB long before. What is larger is damaged or hostile.
pub(crate) const EVENT_BYTES_MAX: usize = 4 << 20;
/// More than any file of the inbox has.
pub(crate) const FILE_BYTES_MAX: u64 = (HEADER_BYTES + EVENT_BYTES_MAX) as u64;

const _: () = assert!(HEADER_BYTES == 16);

/// Some microseconds by the table.
const SHORT_BYTES_MAX: usize = 16 << 10;
static BY_TABLE: crc::Crc<u32, crc::Table<16>> = crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISO_HDLC);

/// Why an inbox file is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Empty,
    Short,
    Magic,
    Length,
    Checksum,
    Event,
}

impl Damage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Damage::Empty => "empty",
            Damage::Short => "short",
            Damage::Magic => "magic",
            Damage::Length => "length",
            Damage::Checksum => "checksum",
            Damage::Event => "event",
        }
    }
}

/// The file for an event in disk form; `None` if it is larger than an event may be.
pub(crate) fn encode(event: &[u8]) -> Option<Vec<u8>> {
    if event.len() > EVENT_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(event.len()).ok()?.to_le_bytes();
    let mut file = Vec::with_capacity(HEADER_BYTES + event.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&length);
    file.extend_from_slice(&checksum([&length, event]).to_le_bytes());
    file.extend_from_slice(event);
    Some(file)
}

/// The event in a file.
pub(crate) fn decode(file: &[u8]) -> Result<&[u8], Damage> {
    if file.is_empty() {
        return Err(Damage::Empty);
    }
    let (header, event) = file.split_at_checked(HEADER_BYTES).ok_or(Damage::Short)?;
    if header[..LENGTH_AT] != MAGIC {
        return Err(Damage::Magic);
    }
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    if u32::from_le_bytes(word(LENGTH_AT)) as usize != event.len() {
        return Err(Damage::Length);
    }
    if u32::from_le_bytes(word(CRC_AT)) != checksum([&word(LENGTH_AT), event]) {
        return Err(Damage::Checksum);
    }
    Ok(event)
}

/// CRC-32/ISO-HDLC over these, one behind the other, for what a hook writes.
///
/// `crc32fast` asks the processor what it can do, which costs a hook more than all that it sums up (as `memchr` does, see
/// `event::bytes`), so what is short is summed with a table.
pub(crate) fn checksum<const PARTS: usize>(parts: [&[u8]; PARTS]) -> u32 {
    if parts.iter().map(|part| part.len()).sum::<usize>() <= SHORT_BYTES_MAX {
        let mut crc = BY_TABLE.digest();
        parts.iter().for_each(|part| crc.update(part));
        crc.finalize()
    } else {
        let mut crc = crc32fast::Hasher::new();
        parts.iter().for_each(|part| crc.update(part));
        crc.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let file = encode(b"an event in its disk form").unwrap();
        assert_eq!(decode(&file).unwrap(), b"an event in its disk form");
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..file.len() {
            assert!(decode(&file[..length]).is_err(), "length {length}");
        }
        assert_eq!(decode(&[file.clone(), vec![0]].concat()), Err(Damage::Length));
        assert_eq!(decode(&vec![0; file.len()]), Err(Damage::Magic));
        assert_eq!(decode(&[]), Err(Damage::Empty));
    }

    #[test]
    fn short_and_long_are_summed_alike() {
        let bytes: Vec<u8> = (0..=SHORT_BYTES_MAX + 1).map(|n| ((n * n) >> 3).to_le_bytes()[0]).collect();
        for length in (0..100).chain(SHORT_BYTES_MAX - 2..bytes.len()) {
            let (one, other) = bytes[..length].split_at(length / 3);
            assert_eq!(checksum([one, other]), crc32fast::hash(&bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn an_oversized_event_is_refused() {
        assert!(encode(&vec![0; EVENT_BYTES_MAX]).is_some());
        assert!(encode(&vec![0; EVENT_BYTES_MAX + 1]).is_none());
    }
}
