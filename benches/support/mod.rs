//! What the benches share: a disk whose flush takes a fixed time, journals in temporary directories, records.

#![allow(dead_code, reason = "each bench uses its part")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mnemosyne_journal::{Disk, Journal, JournalId, Level, Micros, Options, RealDisk};

#[path = "../../journal/benches/support/other_flush.rs"]
mod other_flush;

pub(crate) use other_flush::{Flushed, OtherFlush};

/// A flush that takes this long, whatever the host's disk does: it makes durable runs repeatable. The bytes are written for real.
pub const FIXED_FLUSH: Duration = Duration::from_micros(200);

/// A real directory with a flush of fixed time, and how many flushes of data there were.
pub(crate) fn fixed_flush_disk(dir: &Path) -> (OtherFlush<RealDisk>, Arc<AtomicU64>) {
    flushed_by(dir, fixed_flush)
}

/// The same with a flush that leaves its core to others, as that of a disk does.
pub(crate) fn sleeping_flush_disk(dir: &Path) -> (OtherFlush<RealDisk>, Arc<AtomicU64>) {
    flushed_by(dir, sleeping_flush)
}

fn flushed_by(dir: &Path, flush: fn()) -> (OtherFlush<RealDisk>, Arc<AtomicU64>) {
    let flushes = Arc::<AtomicU64>::default();
    let counted = flushes.clone();
    let disk = OtherFlush::new(dir, move |what, _| {
        counted.fetch_add(u64::from(what == Flushed::Data), Ordering::Relaxed);
        flush();
        Ok(())
    });
    (disk, flushes)
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
