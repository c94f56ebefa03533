//! What the benches share: a disk whose flush takes a fixed time, journals in temporary directories, records.

#![allow(dead_code, reason = "each bench uses its part")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mnemosyne_journal::disk::{Access, Map};
use mnemosyne_journal::{Disk, DiskFile, Journal, JournalId, Level, Micros, Options, RealDisk};

/// A flush that takes this long, whatever the host's disk does: it makes durable runs repeatable. The bytes are written for real.
pub const FIXED_FLUSH: Duration = Duration::from_micros(200);

/// A real directory with a flush of fixed time, which also counts the flushes.
#[derive(Debug)]
pub struct FixedFlush {
    disk: RealDisk,
    flush: fn(),
    flushes: Arc<AtomicU64>,
}

impl FixedFlush {
    pub fn new(dir: &Path) -> FixedFlush {
        FixedFlush { disk: RealDisk::new(dir), flush: fixed_flush, flushes: Arc::default() }
    }

    /// The same with a flush that leaves its core to others, as that of a disk does.
    pub fn sleeping(dir: &Path) -> FixedFlush {
        FixedFlush { flush: sleeping_flush, ..FixedFlush::new(dir) }
    }

    pub fn flushes(&self) -> Arc<AtomicU64> {
        self.flushes.clone()
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FixedFlushFile { file, flush: self.flush, flushes: self.flushes.clone() })
    }
}

#[derive(Debug)]
struct FixedFlushFile {
    file: Arc<dyn DiskFile>,
    flush: fn(),
    flushes: Arc<AtomicU64>,
}

/// Spins: a sleep of 200 us takes 250 us and more.
pub fn fixed_flush() {
    let began = Instant::now();
    while began.elapsed() < FIXED_FLUSH {
        std::thread::yield_now();
    }
}

/// Sleeps, with a timer as exact as the kernel has them: by default it lets a sleeper lie 50 us longer. What else runs on the cores can
/// make it longer all the same, as it does with a real flush.
pub fn sleeping_flush() {
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).expect("Linux");
    std::thread::sleep(FIXED_FLUSH);
}

impl Disk for FixedFlush {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name, access)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        (self.flush)();
        Ok(())
    }
}

impl DiskFile for FixedFlushFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn map(&self) -> Option<Map> {
        self.file.map()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        (self.flush)();
        Ok(())
    }
}

pub const NOW: Micros = Micros::new(1_700_000_000_000_000);

pub fn options(chain: bool) -> Options {
    Options::new(JournalId::from_bytes([7; 16]), [9; 32]).with_chain(chain)
}

pub fn open(disk: Arc<dyn Disk>, chain: bool) -> Journal {
    Journal::open(disk, options(chain), NOW).expect("a new journal").0
}

/// `count` records of `size` bytes, as a journal that was closed in order.
pub fn filled(dir: &Path, count: u64, size: usize) {
    let journal = open(Arc::new(RealDisk::new(dir)), true);
    let record = record(size);
    let batch: Vec<&[u8]> = vec![&record; 100];
    for _ in 0..count / 100 {
        let _ticket = journal.submit(&batch, NOW, Level::Os, None).expect("submitted");
    }
    journal.close().expect("closed");
}

/// Bytes that no compressor or prefetcher can guess, the same each time.
pub fn record(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}
