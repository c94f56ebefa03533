//! Segments of newer programs, of other journals, and without a chain.

use std::sync::Arc;

use super::{open, options, read, small_journal};
use crate::catalog::list_bases;
use crate::format::segment::{UNCHAINED, segment_name};
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader, put};
use crate::sim::SimDisk;
use crate::verify::verify;
use crate::{Error, Journal, JournalId, Level, Micros, Seq, View, Writer};

/// Changes the last segment's header and repairs its checksum, as a newer program would have written it.
fn change_last_header(disk: &SimDisk, change: impl FnOnce(&mut [u8])) -> String {
    let name = segment_name(*list_bases(disk).unwrap().last().unwrap());
    let mut bytes = disk.content(&name).unwrap();
    change(&mut bytes[..SEGMENT_HEADER_BYTES - 4]);
    let crc = crc32fast::hash(&bytes[..SEGMENT_HEADER_BYTES - 4]);
    put(&mut bytes, SEGMENT_HEADER_BYTES - 4, &crc.to_le_bytes());
    disk.put(&name, bytes);
    name
}

#[test]
fn a_newer_version_is_refused_by_name_and_not_touched() {
    let (disk, _) = small_journal(1, 8);
    let name = change_last_header(&disk, |header| header[8] = 2);
    let before = disk.content(&name);
    let error = open(&disk, 2, 0).unwrap_err();
    let expected =
        format!("{name} has format version 2; this program reads up to version 1: use a newer program");
    assert_eq!(error.to_string(), expected);
    assert!(matches!(
        View::open(Arc::new(disk.clone()), Writer::Absent),
        Err(Error::UnsupportedVersion { .. })
    ));
    assert_eq!(disk.content(&name), before);
}

#[test]
fn an_unknown_incompatible_feature_is_refused_and_a_compatible_one_is_not() {
    let (disk, payloads) = small_journal(1, 8);
    let name = change_last_header(&disk, |header| header[19] = 0x80);
    let (journal, _) = open(&disk, 2, 0).unwrap();
    assert_eq!(read(journal.reader(Seq::FIRST)).records.len(), payloads.len());
    change_last_header(&disk, |header| header[12] |= 0b100);
    let error = open(&disk, 2, 0).unwrap_err();
    let expected = format!(
        "{name} needs incompatible feature bit 2, which this program does not know: use a newer program"
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_segment_of_another_journal_is_refused_where_it_is_met() {
    let (disk, _) = small_journal(1, 30);
    change_last_header(&disk, |header| header[24] ^= 1);
    let (view, _) = View::open(Arc::new(disk.clone()), Writer::Absent).unwrap();
    let mut reader = view.reader(Seq::FIRST);
    assert!(matches!(reader.next(), Err(Error::OtherJournal { .. })));
}

#[test]
fn a_journal_without_a_chain_stays_one() {
    let disk = SimDisk::new(1);
    let without = |seed| options(seed).with_chain(false);
    let (journal, _) = Journal::open(Arc::new(disk.clone()), without(1), Micros::new(0)).unwrap();
    for n in 0..40 {
        let ticket = journal.submit(&[&[0; 100]], Micros::new(n * 2_000), Level::Disk, None).unwrap();
        ticket.wait().unwrap();
    }
    drop(journal);
    // Opened with the default, after a crash: what a journal is was decided when it was made.
    let (journal, recovery) = open(&disk, 2, 0).unwrap();
    assert!(recovery.torn.is_none() && recovery.damage.is_empty());
    assert_eq!(read(journal.reader(Seq::FIRST)).records.len(), 40);
    let name = segment_name(recovery.durable);
    let header = SegmentHeader::decode(&disk.content(&name).unwrap()).unwrap();
    assert_eq!(header.incompatible, UNCHAINED);
    assert!(verify(&disk).unwrap().problems.is_empty());
}

#[test]
fn the_id_is_the_one_that_the_journal_was_made_with() {
    let (disk, _) = small_journal(1, 3);
    let mut other = options(9);
    other.journal_id_if_new = JournalId::from_bytes([9; 16]);
    let (journal, _) = Journal::open(Arc::new(disk), other, Micros::new(0)).unwrap();
    assert_eq!(journal.id(), super::ID);
}
