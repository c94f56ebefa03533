//! What the journal costs, where it can be counted rather than timed.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use mnemosyne_journal::{Item, Journal, JournalId, Level, Micros, Options, RealDisk, Seq, View, Writer};

fn open(dir: &Path) -> Journal {
    let options = Options::new(JournalId::from_bytes([1; 16]), [2; 32]);
    Journal::open(Arc::new(RealDisk::new(dir)), options, Micros::new(0)).unwrap().0
}

fn bytes_in(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Bytes on disk for each 1,000 bytes of payload, the chain included, in batches that share nothing.
fn bytes_for_a_thousand(record_bytes: usize, batch: usize) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let record = vec![b'x'; record_bytes];
    let batch: Vec<&[u8]> = vec![&record; batch];
    let mut payload = 0;
    for n in 0..200 {
        // 10 ms apart, so that each batch is a frame of its own.
        let ticket = journal.submit(&batch, Micros::new(n * 10_000), Level::Os, None).unwrap();
        ticket.wait().unwrap();
        payload += (record_bytes * batch.len()) as u64;
    }
    journal.close().unwrap();
    bytes_in(dir.path()) * 1_000 / payload
}

#[test]
fn batches_of_32_cost_at_most_8_percent_at_256_bytes_and_2_percent_at_1_kibibyte() {
    let (small, large) = (bytes_for_a_thousand(256, 32), bytes_for_a_thousand(1_024, 32));
    assert!(small <= 1_080, "{small} bytes for 1,000 of payload");
    assert!(large <= 1_020, "{large} bytes for 1,000 of payload");
    let single = bytes_for_a_thousand(256, 1);
    assert!(
        single > 1_400,
        "control: a frame for each record costs 108 bytes and more, and this says {single}"
    );
}

#[test]
fn a_command_that_appends_once_leaves_and_flushes_no_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.submit(&[b"one"], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    let grown = bytes_in(dir.path());
    assert!(grown < 1_000, "{grown} bytes for one small record");
    journal.close().unwrap();

    // Control: a server's segment is filled ahead, and cut again when it stops in order.
    let journal = open(dir.path());
    journal.start_committer().unwrap();
    journal.submit(&[b"two"], Micros::new(2), Level::Disk, None).unwrap().wait().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while bytes_in(dir.path()) < 1_000_000 {
        assert!(std::time::Instant::now() < deadline, "no zeros were written ahead");
        std::thread::yield_now();
    }
    journal.close().unwrap();
    assert!(bytes_in(dir.path()) < 2_000);
}

#[test]
fn a_clean_opening_reads_the_ends_and_not_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.submit(&[&vec![b'x'; 100_000]], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    journal.submit(&[b"end"], Micros::new(10_000), Level::Disk, None).unwrap().wait().unwrap();
    journal.close().unwrap();
    // A record in the middle is damaged: an opening that read it would call the journal damaged.
    let segment = dir.path().join("00000000000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let (view, recovery) = View::open(Arc::new(RealDisk::new(dir.path())), Writer::Absent).unwrap();
    assert!(recovery.clean && recovery.damage.is_empty());
    // Neither does a jump to another record look at it; reading it does.
    let mut reader = view.reader(Seq::new(2));
    assert!(matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.payload == b"end"));
    reader.seek(Seq::FIRST);
    assert!(matches!(reader.next().unwrap(), Some(Item::Gap(_))));
}
