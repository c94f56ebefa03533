//! Segments and their structures, byte by byte, and a directory that holds nothing but what the fuzzer made up.

use std::sync::{Arc, LazyLock};

use mnemosyne_journal::format::{
    BATCH_HEADER_BYTES, BatchHeader, FOOTER_BYTES, Fault, Footer, Key, SEGMENT_HEADER_BYTES, SegmentHeader,
    record, segment::segment_name,
};
use mnemosyne_journal::scan::Slot;
use mnemosyne_journal::sim::SimDisk;
use mnemosyne_journal::verify::{Around, Part, check_parts};
use mnemosyne_journal::{
    Disk as _, Hash, Item, Journal, JournalId, Level, Micros, Options, Reader, Seq, View, Writer,
};

use super::Numbers;

/// Small enough that a few records make several segments.
const SEGMENT_BYTES_TARGET: u64 = 1024;
/// Records of the sample journal.
pub(super) const SAMPLE_RECORDS: u64 = 24;

pub(super) fn options() -> Options {
    Options::new(JournalId::from_bytes(*b"a journal in sum"), [9; 32])
        .with_segment_bytes_target(SEGMENT_BYTES_TARGET)
}

/// The payload of a record of the sample journal.
pub(super) fn sample_payload(seq: u64) -> Vec<u8> {
    let filler = usize::try_from(seq * 7 % 90).unwrap_or(0);
    [format!("record {seq} of the sample ").into_bytes(), vec![b'a'; filler]].concat()
}

/// The files of a small journal that was closed in order: several sealed segments, an active one, the tail file.
pub(super) static SAMPLE: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let disk = SimDisk::new(1);
    let (journal, _) =
        Journal::open(Arc::new(disk.clone()), options(), Micros::new(1_000)).expect("a disk that works");
    let mut seq = 1;
    while seq <= SAMPLE_RECORDS {
        let batch: Vec<Vec<u8>> = (seq..=SAMPLE_RECORDS).take(3).map(sample_payload).collect();
        let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        let now = Micros::new(1_000 + i64::try_from(seq).unwrap_or(0) * 10_000);
        let ticket = journal.submit(&batch, now, Level::Disk, None).expect("a journal that works");
        seq = ticket.wait().expect("a disk that works").last.get() + 1;
    }
    journal.close().expect("a disk that works");
    let names = disk.list("").expect("a disk that works");
    names.into_iter().filter_map(|name| Some((name.clone(), disk.content(&name)?))).collect()
});

/// One segment: whatever its bytes, a check names each seq once and only bytes that are there, and answers the same again.
pub(super) fn segment(bytes: &[u8]) {
    for (next_base, journal, previous) in [
        (None, None, Some(Hash::ZERO)),
        (Some(Seq::new(9)), Some(options().journal_id_if_new), None),
        (Some(Seq::MAX), None, None),
    ] {
        let around = Around { base: Seq::FIRST, next_base, journal, previous, recorded: Micros::MIN };
        let mut parts = Vec::new();
        let checked = match check_parts(bytes, &around, &mut |part| parts.push(part)) {
            Ok(checked) => checked,
            Err(fault) => {
                assert!(matches!(fault, Fault::Version { .. } | Fault::Features { .. }), "{fault}");
                continue;
            }
        };
        let (mut last, mut records) = (Seq::ZERO, 0);
        for part in &parts {
            let slots = match part {
                Part::Frame { header, slots, .. } => {
                    let covered = slots.iter().fold(header.first, |next, slot| {
                        assert_eq!(ends(slot).0, next, "the slots of a frame follow each other");
                        ends(slot).1.next()
                    });
                    assert_eq!(covered, header.last().next(), "the slots of a frame are all of it");
                    slots
                }
                Part::Stretch { slots, .. } => slots,
                Part::Missing { from, to, .. } => {
                    assert!(*from > last && from <= to, "{from} to {to} after {last}");
                    last = *to;
                    continue;
                }
            };
            for slot in slots {
                assert!(ends(slot).0 > last && ends(slot).1 >= ends(slot).0, "{slot:?} after {last}");
                last = ends(slot).1;
                if let Slot::Whole(found) = slot {
                    assert!(found.payload.end <= bytes.len());
                    records += 1;
                }
            }
        }
        assert_eq!(records, checked.records);
        for problem in checked.problems.iter().chain(&checked.notes) {
            assert!(problem.bytes.start <= problem.bytes.end, "{problem:?}");
            assert!(problem.bytes.end <= bytes.len() as u64, "{problem:?}");
        }
        let again = check_parts(bytes, &around, &mut |_| {}).expect("as before");
        assert_eq!((again.problems, again.notes), (checked.problems, checked.notes));
    }
}

fn ends(slot: &Slot) -> (Seq, Seq) {
    match slot {
        Slot::Whole(found) => (found.seq, found.seq),
        Slot::Lost(from, to) => (*from, *to),
    }
}

pub(super) fn segment_seeds() -> Vec<Vec<u8>> {
    SAMPLE
        .iter()
        .filter(|(name, _)| name.strip_suffix(".seg").is_some())
        .map(|(_, bytes)| bytes.clone())
        .collect()
}

/// The headers: what is read can be written and gives the same bytes; what is written is read as it was or refused for what a
/// field says, never for its checksum.
pub(super) fn headers(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let offset = u64::from(numbers.u16()) * 8;
    let rest = numbers.0;
    if let Ok(header) = SegmentHeader::decode(rest) {
        assert_eq!(header.encode()[..], rest[..SEGMENT_HEADER_BYTES]);
    }
    if let Ok(header) = BatchHeader::decode(rest, offset) {
        assert_eq!(header.encode(offset)[..], rest[..BATCH_HEADER_BYTES]);
        assert!(header.last() >= header.first || header.is_proof());
    }
    if let Ok(footer) = Footer::decode(rest, offset) {
        assert_eq!(footer.encode()[..], rest[..FOOTER_BYTES]);
    }
    let (salt, first) = (numbers.u64(), Seq::new(numbers.u64()));
    let key = Key::new(salt);
    if let Some(found) = record::decode(rest, usize::from(numbers.byte()), key, first) {
        assert!(found.payload.end <= rest.len());
    }
    let (flags, payload) = (numbers.byte() & record::REDACTED, numbers.0);
    let mut body = Vec::new();
    record::encode(&mut body, payload, flags, key, first);
    let found = record::decode(&body, 0, key, first).expect("what was written is read");
    assert_eq!((&body[found.payload], found.flags), (payload, flags));

    let journal = JournalId::from_bytes(numbers.bytes());
    let (recorded, link) = (Micros::new(numbers.i64()), Hash::from_bytes(numbers.bytes()));
    let header = SegmentHeader {
        incompatible: numbers.u32(),
        compatible: numbers.u32(),
        journal,
        base: first,
        created: recorded,
        salt,
        previous: link,
    };
    read_back(SegmentHeader::decode(&header.encode()), &header);
    let header = BatchHeader {
        salt,
        journal,
        first,
        count: numbers.u32(),
        body_bytes: numbers.u32(),
        recorded,
        durable: Seq::new(numbers.u64()),
        link,
    };
    read_back(BatchHeader::decode(&header.encode(offset), offset), &header);
    let footer = Footer {
        salt,
        journal,
        base: first,
        last: Seq::new(numbers.u64()),
        first_recorded: recorded,
        last_recorded: Micros::new(numbers.i64()),
        data_bytes: offset,
        link,
    };
    read_back(Footer::decode(&footer.encode(), offset), &footer);
}

fn read_back<T: PartialEq + std::fmt::Debug>(read: Result<T, Fault>, written: &T) {
    match read {
        Ok(read) => assert_eq!(&read, written),
        Err(Fault::Field { .. } | Fault::Features { .. }) => {}
        Err(fault) => panic!("{fault}: {written:?}"),
    }
}

pub(super) fn header_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![0; 200], (0..=255).collect()];
    for segment in segment_seeds() {
        seeds.push([&[0, 0], &segment[..]].concat());
        let frame = SEGMENT_HEADER_BYTES.min(segment.len());
        let at = u16::try_from(frame / 8).unwrap_or(0).to_le_bytes();
        seeds.push([&at, &segment[frame..]].concat());
        if let Some(footer) = segment.len().checked_sub(FOOTER_BYTES).filter(|footer| footer % 8 == 0) {
            let at = u16::try_from(footer / 8).unwrap_or(0).to_le_bytes();
            seeds.push([&at, &segment[footer..]].concat());
        }
    }
    seeds
}

/// A directory whose only segment is these bytes: it is refused by name or it opens, and then every seq is told of once, what
/// is appended is read back, and a reader beside it agrees.
pub(super) fn journal_files(bytes: &[u8]) {
    let disk = SimDisk::new(2);
    disk.put(&segment_name(Seq::FIRST), bytes.to_vec());
    let before = View::open(Arc::new(disk.clone()), Writer::Absent)
        .ok()
        .map(|(view, _)| read_through(view.reader(Seq::FIRST), view.durable()));
    assert_eq!(
        disk.content(&segment_name(Seq::FIRST)).as_deref(),
        Some(bytes),
        "who only reads writes nothing"
    );
    let Ok((journal, _)) = Journal::open(Arc::new(disk.clone()), options(), Micros::new(5)) else { return };
    let kept = read_through(journal.reader(Seq::FIRST), journal.durable());
    if let Some(before) = before {
        for record in &before {
            assert!(
                kept.contains(record),
                "a reader saw seq {}, and after the opening it is not there",
                record.0
            );
        }
    }
    if let Ok(ticket) = journal.submit(&[b"one more"], Micros::new(6), Level::Disk, None) {
        let seq = ticket.wait().expect("a disk that works").first;
        let after = read_through(journal.reader(Seq::FIRST), journal.durable());
        assert_eq!(after.last(), Some(&(seq, b"one more".to_vec())));
        assert_eq!(after[..after.len() - 1], kept[..]);
    }
    journal.close().expect("a disk that works");
    let (journal, recovery) =
        Journal::open(Arc::new(disk), options(), Micros::new(7)).expect("it was closed in order");
    assert!(recovery.clean);
    drop(journal);
}

/// Every record up to `durable`. Each seq is told of once, in order, as a record or in a gap.
pub(super) fn read_through(mut reader: Reader, durable: Seq) -> Vec<(Seq, Vec<u8>)> {
    let (mut records, mut next) = (Vec::new(), Seq::FIRST);
    while let Some(item) = reader.next().expect("a disk that works") {
        match item {
            Item::Record(record) => {
                assert_eq!(record.seq, next);
                next = record.seq.next();
                records.push((record.seq, record.payload.to_vec()));
            }
            Item::Gap(gap) => {
                assert!(gap.from == next && gap.to >= gap.from, "{gap:?} where {next} comes");
                next = gap.to.next();
            }
        }
    }
    assert!(next > durable, "the reading ends at {next}, the durable tail is {durable}");
    records
}
