//! Appending and reading on a real directory, through the public interface alone.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    reason = "a test may panic, and its numbers are small"
)]

use std::sync::Arc;

use mnemosyne_journal::{Gap, Item, Journal, JournalId, Level, Micros, Options, RealDisk, Seq, View, Writer};

fn options(seed: u8) -> Options {
    Options::new(JournalId::from_bytes([7; 16]), [seed; 32])
}

fn open(dir: &tempfile::TempDir, options: Options) -> (Journal, mnemosyne_journal::Recovery) {
    Journal::open(Arc::new(RealDisk::new(dir.path().join("journal"))), options, Micros::new(1)).unwrap()
}

fn read_all(mut reader: mnemosyne_journal::Reader) -> Vec<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Record(record) => out.push((record.seq.get(), record.payload.to_vec())),
            Item::Gap(Gap { from, to, .. }) => panic!("gap {from}..{to}"),
        }
    }
    out
}

#[test]
fn what_was_acknowledged_is_read_back_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovery) = open(&dir, options(1));
    assert!(recovery.created);
    let ack = journal.submit(&[b"one", b"two"], Micros::new(5), Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!((ack.first.get(), ack.last.get(), ack.recorded.get()), (1, 2, 5));
    journal.close().unwrap();
    let (journal, recovery) = open(&dir, options(2));
    assert!(recovery.clean && !recovery.created);
    assert_eq!((journal.tail(), journal.durable()), (Seq::new(3), Seq::new(2)));
    journal.submit(&[b"three"], Micros::new(6), Level::Disk, Some(Seq::new(3))).unwrap().wait().unwrap();
    let expected = vec![(1, b"one".to_vec()), (2, b"two".to_vec()), (3, b"three".to_vec())];
    assert_eq!(read_all(journal.reader(Seq::FIRST)), expected);
    assert_eq!(read_all(journal.reader(Seq::new(3))), expected[2..]);
}

#[test]
fn many_segments_are_read_in_order_from_any_seq() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, options(1).with_segment_bytes_target(2_000));
    let payload = |seq: u64| format!("record {seq} {}", "x".repeat((seq % 50) as usize)).into_bytes();
    for seq in 1..=300_u64 {
        let ticket =
            journal.submit(&[&payload(seq)], Micros::new(seq as i64 * 10_000), Level::Os, None).unwrap();
        if seq % 7 == 0 {
            ticket.wait().unwrap();
        }
    }
    journal.flush(Level::Disk).unwrap();
    for from in [1, 2, 150, 299, 300] {
        let expected: Vec<_> = (from..=300).map(|seq| (seq, payload(seq))).collect();
        assert_eq!(read_all(journal.reader(Seq::new(from))), expected);
    }
    let mut reader = journal.reader(Seq::FIRST);
    assert_eq!(reader.seek_time(Micros::new(2_000_000)).unwrap(), Seq::new(200));
    let disk = Arc::new(RealDisk::new(dir.path().join("journal")));
    drop(journal);
    let (view, recovery) = View::open(disk, Writer::Absent).unwrap();
    assert!(!recovery.clean);
    assert_eq!(read_all(view.reader(Seq::FIRST)).len(), 300);
}

#[test]
fn a_journal_dropped_without_closing_goes_on_in_a_new_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, options(1));
    for text in [b"a", b"b", b"c"] {
        journal.submit(&[text], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    }
    drop(journal);
    let (journal, recovery) = open(&dir, options(2));
    assert!(!recovery.clean);
    assert_eq!((recovery.carried, recovery.durable), (1, Seq::new(3)));
    assert!(recovery.torn.is_none() && recovery.damage.is_empty());
    journal.submit(&[b"d"], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(read_all(journal.reader(Seq::FIRST)).len(), 4);
    journal.close().unwrap();
    let (journal, recovery) = open(&dir, options(3));
    assert!(recovery.clean);
    assert_eq!(read_all(journal.reader(Seq::FIRST)).len(), 4);
}

#[test]
fn the_committer_acknowledges_threads_and_proves_when_idle() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, options(1));
    journal.start_committer().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let journal = journal.clone();
            scope.spawn(move || {
                for n in 0..50_u8 {
                    let ticket = journal.submit(&[&[thread, n]], Micros::new(1), Level::Disk, None).unwrap();
                    let ack = ticket.wait().unwrap();
                    assert!(journal.durable() >= ack.last);
                }
            });
        }
    });
    let watch = journal.watch();
    assert_eq!(watch.get(), Seq::new(400));
    let ticket = journal.submit(&[b"os"], Micros::new(1), Level::Os, None).unwrap();
    assert_eq!(watch.wait_beyond(Seq::new(400), std::time::Duration::from_secs(10)), Seq::new(401));
    ticket.wait().unwrap();
    assert_eq!(read_all(journal.reader(Seq::FIRST)).len(), 401);
    journal.close().unwrap();
    assert!(open(&dir, options(2)).1.clean);
}
