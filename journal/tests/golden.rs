//! The bytes of format version 1, as people can read them. Each file must decode to the value written here and encode to
//! the same bytes. A file is never edited: a new version of the format gets new files beside these.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use mnemosyne_journal::format::record;
use mnemosyne_journal::format::{BatchHeader, Footer, Key, REDACTED, SegmentHeader, TailFile, digest, link};
use mnemosyne_journal::sim::SimDisk;
use mnemosyne_journal::verify::verify;
use mnemosyne_journal::{Hash, Item, Journal, JournalId, Level, Micros, Options, Seq, View, Writer};

const JOURNAL: JournalId =
    JournalId::from_bytes(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
const SALT: u64 = 0x0102_0304_0506_0708;
/// 2026-01-02T03:04:05.678901Z.
const THEN: Micros = Micros::new(1_767_323_045_678_901);

/// The bytes of a golden file: pairs of hex digits; `#` begins a comment.
fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let digits: String =
        text.lines().map(|line| line.split('#').next().unwrap()).flat_map(str::split_whitespace).collect();
    assert!(digits.len().is_multiple_of(2), "{path}: half a byte");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn segment_header() -> SegmentHeader {
    SegmentHeader {
        incompatible: 0,
        compatible: 0x8000_0000,
        journal: JOURNAL,
        base: Seq::new(1_000),
        created: THEN,
        salt: SALT,
        previous: digest(b"previous"),
    }
}

fn batch_header() -> BatchHeader {
    let mut header = BatchHeader {
        salt: SALT,
        journal: JOURNAL,
        first: Seq::new(1_000),
        count: 2,
        body_bytes: 74,
        recorded: THEN,
        durable: Seq::new(999),
        link: Hash::ZERO,
    };
    header.link = link(digest(b"previous"), &header, [digest(b"abc"), digest(b"secret")]);
    header
}

#[test]
fn a_segment_header_stays_as_it_is() {
    let bytes = golden("segment_header");
    assert_eq!(SegmentHeader::decode(&bytes), Ok(segment_header()));
    assert_eq!(segment_header().encode()[..], bytes);
}

#[test]
fn a_batch_of_a_plain_and_a_redacted_record_stays_as_it_is() {
    let (bytes, at, key) = (golden("batch"), 128, Key::new(SALT));
    let header = batch_header();
    assert_eq!(BatchHeader::decode(&bytes, at), Ok(header));
    assert_eq!(header.frame_bytes(), bytes.len());
    let mut body = Vec::new();
    record::encode(&mut body, b"abc", 0, key, Seq::new(1_000));
    let redacted = [&digest(b"secret").to_bytes()[..], b"***REDACTED***\n"].concat();
    let second = body.len();
    record::encode(&mut body, &redacted, REDACTED, key, Seq::new(1_001));
    let found = record::decode(&bytes[96..], 0, key, Seq::new(1_000)).unwrap();
    assert_eq!(&bytes[96..][found.payload.clone()], b"abc");
    let found = record::decode(&bytes[96..], second, key, Seq::new(1_001)).unwrap();
    assert!(found.is_redacted());
    assert_eq!(bytes[96..][found.payload], redacted);
    assert_eq!([&header.encode(at)[..], &body, &[0; 6]].concat(), bytes);
}

#[test]
fn a_proof_frame_stays_as_it_is() {
    let bytes = golden("proof");
    let batch = batch_header();
    let proof =
        BatchHeader { first: Seq::new(1_002), count: 0, body_bytes: 0, durable: Seq::new(1_001), ..batch };
    assert_eq!(BatchHeader::decode(&bytes, 304), Ok(proof));
    assert_eq!(proof.encode(304)[..], bytes);
}

#[test]
fn a_footer_stays_as_it_is() {
    let bytes = golden("footer");
    let footer = Footer {
        salt: SALT,
        journal: JOURNAL,
        base: Seq::new(1_000),
        last: Seq::new(1_001),
        first_recorded: THEN,
        last_recorded: Micros::new(THEN.get() + 1),
        data_bytes: 400,
        link: batch_header().link,
    };
    assert_eq!(Footer::decode(&bytes, 400), Ok(footer));
    assert_eq!(footer.encode()[..], bytes);
}

#[test]
fn a_tail_file_stays_as_it_is() {
    let bytes = golden("tail");
    let tail = TailFile {
        boot: 0x1111_2222_3333_4444,
        journal: JOURNAL,
        durable: Seq::new(1_001),
        segment: Seq::new(1_000),
        offset: 400,
    };
    assert_eq!(TailFile::decode(&bytes), Ok(tail));
    assert_eq!(tail.encode()[..], bytes);
}

/// What the writer makes of three records in two batches and a clean stop, byte for byte.
#[test]
fn a_whole_journal_stays_as_it_is() {
    let bytes = golden("journal");
    let name = "00000000000000000001.seg";
    let disk = SimDisk::new(0);
    let options = Options::new(JOURNAL, [5; 32]);
    let (journal, _) = Journal::open(Arc::new(disk.clone()), options, THEN).unwrap();
    journal.submit(&[b"one", b"two"], THEN, Level::Disk, None).unwrap().wait().unwrap();
    journal.submit(&[b"three"], Micros::new(THEN.get() + 1), Level::Disk, None).unwrap().wait().unwrap();
    journal.close().unwrap();
    assert_eq!(disk.content(name).unwrap(), bytes);

    let disk = SimDisk::new(0);
    disk.put(name, bytes);
    let (view, recovery) = View::open(Arc::new(disk.clone()), Writer::Absent).unwrap();
    assert!(recovery.clean);
    let (mut reader, mut found) = (view.reader(Seq::FIRST), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("a gap") };
        found.push((record.seq.get(), record.recorded.get() - THEN.get(), record.payload.to_vec()));
    }
    assert_eq!(found, [(1, 0, b"one".to_vec()), (2, 0, b"two".to_vec()), (3, 1, b"three".to_vec())]);
    let verified = verify(&disk).unwrap();
    assert!(verified.problems.is_empty() && verified.notes.is_empty());
}
