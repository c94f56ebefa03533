//! What the journal costs, where it can be counted rather than timed.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use mnemosyne_journal::disk::{Access, Map};
use mnemosyne_journal::format::{FOOTER_BYTES, SEGMENT_HEADER_BYTES};
use mnemosyne_journal::{
    Disk, DiskFile, Item, Journal, JournalId, Level, Micros, Options, RealDisk, Seq, View, Writer,
};

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

/// How many bytes were read of each file. A map counts as all of it: nobody sees what is touched.
type Read = Arc<Mutex<BTreeMap<String, u64>>>;

/// A disk that counts what is read.
#[derive(Debug)]
struct Counting {
    disk: RealDisk,
    read: Read,
}

#[derive(Debug)]
struct Counted {
    file: Arc<dyn DiskFile>,
    name: String,
    read: Read,
}

impl Counting {
    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(Counted { file, name: name.to_owned(), read: self.read.clone() })
    }
}

impl Counted {
    fn count(&self, bytes: u64) {
        *self.read.lock().unwrap().entry(self.name.clone()).or_default() += bytes;
    }
}

impl Disk for Counting {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.open(name, access)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

impl DiskFile for Counted {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let got = self.file.read_at(buf, offset)?;
        self.count(got as u64);
        Ok(got)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn map(&self) -> Option<Map> {
        self.count(self.file.size().ok()?);
        self.file.map()
    }
}

/// Segments of 16 KiB with a kilobyte of records in each batch.
fn open_small(disk: Arc<dyn Disk>) -> Journal {
    let options = Options::new(JournalId::from_bytes([1; 16]), [2; 32]).with_segment_bytes_target(16 * 1024);
    Journal::open(disk, options, Micros::new(0)).unwrap().0
}

/// The segments of a directory, oldest first, with their lengths.
fn segments_of(dir: &Path) -> Vec<(String, u64)> {
    let files = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut segments: Vec<_> = files
        .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()))
        .filter(|(name, _)| name.strip_suffix(".seg").is_some())
        .collect();
    segments.sort();
    segments
}

/// What opening the journal in `dir` reads of each file: for writing, then for reading.
fn read_by_opening(dir: &Path, durable: Seq) -> [BTreeMap<String, u64>; 2] {
    let counting = |dir: &Path| {
        let read = Read::default();
        (Arc::new(Counting { disk: RealDisk::new(dir), read: read.clone() }), read)
    };
    let (disk, by_view) = counting(dir);
    let (view, _) = View::open(disk, Writer::Absent).unwrap();
    assert_eq!(view.durable(), durable);
    let by_view = by_view.lock().unwrap().clone();
    let (disk, by_journal) = counting(dir);
    let journal = open_small(disk);
    assert_eq!(journal.durable(), durable);
    let by_journal = by_journal.lock().unwrap().clone();
    [by_journal, by_view]
}

#[test]
fn after_a_crash_an_opening_reads_the_last_segment_and_of_the_others_the_ends() {
    let (dir, crashed, stopped) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy_to = |to: &Path| {
        for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    let journal = open_small(Arc::new(RealDisk::new(dir.path())));
    for n in 0..200 {
        journal
            .submit(&[&[b'x'; 1_000]], Micros::new(n * 10_000), Level::Disk, None)
            .unwrap()
            .wait()
            .unwrap();
    }
    let durable = journal.durable();
    // What a kill would leave, and what a stop in order does.
    copy_to(crashed.path());
    journal.close().unwrap();
    copy_to(stopped.path());
    // The header is asked for what it says, and once more for what it is.
    let ends = 2 * (SEGMENT_HEADER_BYTES + FOOTER_BYTES) as u64;
    for (dir, is_crash) in [(crashed.path(), true), (stopped.path(), false)] {
        let segments = segments_of(dir);
        let ((last, last_bytes), others) = segments.split_last().unwrap();
        assert!(others.len() > 10 && others.iter().all(|(_, bytes)| *bytes > 10 * ends), "{segments:?}");
        for (read, by) in read_by_opening(dir, durable).iter().zip(["for writing", "for reading"]) {
            let of = |name: &str| read.get(name).copied().unwrap_or(0);
            let case = format!("{by}, crashed: {is_crash}: {read:?} of {segments:?}");
            assert!(others.iter().all(|(name, _)| of(name) <= ends), "{case}");
            // All others together: an opening does not grow with the journal.
            let before_the_last = others.last().map_or(0, |(name, _)| of(name));
            assert_eq!(others.iter().map(|(name, _)| of(name)).sum::<u64>(), before_the_last, "{case}");
            if is_crash {
                // The control: what has to be read is counted.
                assert!(of(last) >= *last_bytes, "{case}");
            } else {
                assert!(of(last) < *last_bytes && of(last) <= 4 * 1024, "{case}");
            }
        }
    }
}
