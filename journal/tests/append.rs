//! Appending and reading on a real directory, through the public interface alone.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    reason = "a test may panic, and its numbers are small"
)]

use std::sync::Arc;

use mnemosyne_journal::{
    Error, Gap, Item, Journal, JournalId, Level, Lock, Micros, Options, RealDisk, Seq, View, Writer,
};

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

#[test]
fn seeking_anywhere_gives_that_record() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, options(1).with_segment_bytes_target(100_000));
    for seq in 1..=5_000_u64 {
        let ticket =
            journal.submit(&[&seq.to_le_bytes()], Micros::new(seq as i64 * 1_000), Level::Os, None).unwrap();
        if seq % 3 == 0 {
            ticket.wait().unwrap();
        }
    }
    journal.flush(Level::Disk).unwrap();
    let mut reader = journal.reader(Seq::FIRST);
    let mut seq = 1_u64;
    for _ in 0..5_000 {
        seq = (seq * 48_271 + 11) % 5_000 + 1;
        reader.seek(Seq::new(seq));
        let Some(Item::Record(record)) = reader.next().unwrap() else { panic!("no record at {seq}") };
        assert_eq!((record.seq.get(), record.payload), (seq, &seq.to_le_bytes()[..]));
    }
}

#[test]
fn a_view_follows_a_living_writer_and_outlives_its_death_and_recovery() {
    let dir = tempfile::tempdir().unwrap();
    let disk = || Arc::new(RealDisk::new(dir.path().join("journal")));
    let (journal, _) = open(&dir, options(1).with_boot(7).with_segment_bytes_target(3_000));
    let append = |journal: &Journal, from: u64, to: u64| {
        for seq in from..=to {
            let now = Micros::new(seq as i64 * 2_000);
            journal.submit(&[&seq.to_le_bytes()], now, Level::Disk, None).unwrap().wait().unwrap();
        }
    };
    append(&journal, 1, 10);
    let (view, _) = View::open(disk(), Writer::Alive { boot: 7 }).unwrap();
    assert_eq!(view.durable(), Seq::new(10));
    let mut reader = view.reader(Seq::FIRST);
    let mut read = |upto: u64| {
        let mut last = 0;
        while let Some(item) = reader.next().unwrap() {
            let Item::Record(record) = item else { panic!("a gap behind {last}") };
            assert_eq!(record.payload, record.seq.get().to_le_bytes());
            last = record.seq.get();
        }
        assert_eq!(last, upto);
    };
    read(10);
    append(&journal, 11, 100);
    assert_eq!(view.refresh(Writer::Alive { boot: 7 }).unwrap(), Seq::new(100));
    read(100);
    append(&journal, 101, 105);
    // A tail file of another boot is not believed: then only what frames prove counts.
    assert_eq!(view.refresh(Writer::Alive { boot: 8 }).unwrap(), Seq::new(104));
    read(104);
    drop(journal);
    assert_eq!(view.refresh(Writer::Absent).unwrap(), Seq::new(105));
    // The next writer cuts the old segment while the reader stands in it.
    let (journal, recovery) = open(&dir, options(2).with_boot(7).with_segment_bytes_target(3_000));
    assert_eq!(recovery.carried, 1);
    read(105);
    append(&journal, 106, 120);
    assert_eq!(view.refresh(Writer::Alive { boot: 7 }).unwrap(), Seq::new(120));
    read(120);
}

#[test]
fn an_active_segment_that_shrinks_under_a_reader_is_a_gap_and_no_signal() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, options(1));
    for n in 0..2_000_u64 {
        drop(journal.submit(&[&[9; 400]], Micros::new(n as i64 * 2_000), Level::Os, None).unwrap());
    }
    journal.flush(Level::Disk).unwrap();
    let mut reader = journal.reader(Seq::FIRST);
    assert!(matches!(reader.next().unwrap(), Some(Item::Record(_))));
    let name = dir.path().join("journal/00000000000000000001.seg");
    std::fs::OpenOptions::new().write(true).open(name).unwrap().set_len(300_000).unwrap();
    let (mut records, mut lost) = (1, 0);
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Record(_) => records += 1,
            Item::Gap(gap) => lost += gap.to.get() + 1 - gap.from.get(),
        }
    }
    assert_eq!(records + lost, 2_000);
    assert!(lost > 0 && records > 100);
}

#[test]
fn a_planted_link_is_not_followed_and_one_writer_holds_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir, options(1)).0.close());
    let name = dir.path().join("journal/00000000000000000001.seg");
    let elsewhere = dir.path().join("elsewhere");
    std::fs::rename(&name, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &name).unwrap();
    let disk = Arc::new(RealDisk::new(dir.path().join("journal")));
    assert!(Journal::open(disk, options(2), Micros::new(1)).is_err());

    let path = dir.path().join("lock");
    assert_eq!(Lock::read_holder(&path), None);
    let held = Lock::try_acquire(&path, b"first").unwrap();
    assert!(held.is_some());
    assert!(Lock::try_acquire(&path, b"second").unwrap().is_none());
    assert_eq!(Lock::read_holder(&path).unwrap(), b"first");
    drop(held);
    assert!(Lock::try_acquire(&path, b"third").unwrap().is_some());
}

#[test]
fn the_tail_that_was_expected_is_checked_when_seqs_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, options(1));
    let error = journal.submit(&[b"x"], Micros::new(1), Level::Os, Some(Seq::new(2))).unwrap_err();
    assert_eq!(error.to_string(), "expected the next seq to be 2, but it is 1");
    assert_eq!(error.code(), "tail_mismatch");
    journal.submit(&[b"x"], Micros::new(1), Level::Os, Some(Seq::FIRST)).unwrap().wait().unwrap();
    let too_large = vec![0; 1 << 24];
    let error = journal.submit(&[&too_large], Micros::new(1), Level::Os, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a record of 16777216 bytes is larger than the 16777215 bytes that the journal takes"
    );
    journal.clone().close().unwrap();
    assert!(matches!(journal.submit(&[b"x"], Micros::new(1), Level::Os, None), Err(Error::Closed)));
}

#[test]
fn a_server_writes_over_zeros_and_leaves_none_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir, options(1).with_segment_bytes_target(3_000_000));
    journal.start_committer().unwrap();
    let payload = vec![1; 50_000];
    for n in 0..200_u64 {
        let now = Micros::new(n as i64 * 2_000);
        journal.submit(&[&payload], now, Level::Disk, None).unwrap().wait().unwrap();
    }
    // Killed: what is behind the last frame is zero, and no damage.
    drop(journal);
    let (journal, recovery) = open(&dir, options(2).with_segment_bytes_target(3_000_000));
    assert!(
        recovery.torn.is_none() && recovery.damage.is_empty() && recovery.unsealed.is_none(),
        "{recovery:?}"
    );
    assert_eq!(read_all(journal.reader(Seq::FIRST)).len(), 200);
    journal.start_committer().unwrap();
    journal.submit(&[&payload], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    journal.close().unwrap();
    assert!(open(&dir, options(3)).1.clean);
    let verified = mnemosyne_journal::verify::verify(&RealDisk::new(dir.path().join("journal"))).unwrap();
    assert!(verified.problems.is_empty() && verified.notes.is_empty(), "{verified:?}");
    let on_disk: u64 = std::fs::read_dir(dir.path().join("journal"))
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk < 201 * 50_300, "{on_disk} bytes");
}
