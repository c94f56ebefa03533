//! Whether a journal becomes slower as it grows: append, get near the tail, and from an append to the reader that waits for
//! it, in journals of ten thousand, a million and `FLAT_RECORDS` records (ten million), all three open in one process, in
//! turn in every round. Payloads of 32 bytes, so that a hundred million take 4.6 GB. Prints the median of the ratios
//! within a round, each to the smallest journal's.
//!
//! Processor time of the one thread that does it all, so that what else runs on the machine counts less; the disk's
//! flush does nothing here, because its mood would be all that is seen.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a bench is a program, and it reports")]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use mnemosyne_journal::{Item, Journal, JournalId, Level, Micros, Options, Reader, Seq};
use rustix::time::{ClockId, clock_gettime};

#[path = "support/other_flush.rs"]
mod other_flush;

use other_flush::OtherFlush;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const NOW: Micros = Micros::new(1_700_000_000_000_000);
const PAYLOAD: [u8; 32] = [7; 32];
const ROUNDS: usize = 60;
/// Of one kind in one round: few against the smallest journal.
const APPENDS: u64 = 500;
const GETS: u64 = 2_000;
const TAILS: u64 = 500;
/// How near the tail gets are.
const NEAR: u64 = 5_000;

fn main() -> Result<()> {
    let most = std::env::var("FLAT_RECORDS").map_or(Ok(10_000_000), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let mut grown = Vec::new();
    for records in [10_000, 1_000_000, most] {
        grown.push(Grown::new(&dir.path().join(records.to_string()), records)?);
        eprintln!("{records} records are there");
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let round: Result<Vec<[f64; 3]>> = grown.iter_mut().map(Grown::round).collect();
        rounds.push(round?);
    }
    for (at, what) in
        ["append", "get near the tail", "append, durable, seen by the reader"].iter().enumerate()
    {
        let smallest = median(rounds.iter().map(|round| round[0][at]));
        println!("{what}: {:.0} ns with 10,000 records", smallest * 1e9);
        for (journal, records) in [(1, 1_000_000), (2, most)] {
            let ratio = median(rounds.iter().map(|round| round[journal][at] / round[0][at]));
            println!("  with {records} records: {ratio:.3} of that");
        }
    }
    Ok(())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A journal that has grown.
struct Grown {
    journal: Journal,
    near: Reader,
    follower: Reader,
    random: u64,
}

impl Grown {
    fn new(dir: &Path, records: u64) -> Result<Grown> {
        let options = Options::new(JournalId::from_bytes([7; 16]), [9; 32]);
        let (journal, _) = Journal::open(Arc::new(OtherFlush::none(dir)), options, NOW)?;
        let batch = [&PAYLOAD[..]; 1_000];
        for _ in 0..records / 1_000 {
            let _ticket = journal.submit(&batch, NOW, Level::Os, None)?;
        }
        journal.flush(Level::Disk)?;
        let near = journal.reader(Seq::FIRST);
        let follower = journal.reader(journal.tail());
        Ok(Grown { journal, near, follower, random: 1 })
    }

    /// Seconds for one append, one get near the tail, one durable append until the reader has it.
    fn round(&mut self) -> Result<[f64; 3]> {
        let began = processor_time();
        for _ in 0..APPENDS {
            let _ticket = self.journal.submit(&[&PAYLOAD], NOW, Level::Os, None)?;
        }
        self.journal.flush(Level::Os)?;
        let append = (processor_time() - began) / APPENDS as f64;

        self.journal.flush(Level::Disk)?;
        let tail = self.journal.tail().get();
        let began = processor_time();
        for _ in 0..GETS {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.near.seek(Seq::new(tail - 1 - (self.random >> 33) % NEAR));
            take(&mut self.near)?;
        }
        let get = (processor_time() - began) / GETS as f64;

        self.follower.seek(Seq::new(tail));
        let began = processor_time();
        for _ in 0..TAILS {
            self.journal.submit(&[&PAYLOAD], NOW, Level::Disk, None)?.wait()?;
            take(&mut self.follower)?;
        }
        Ok([append, get, (processor_time() - began) / TAILS as f64])
    }
}

fn take(reader: &mut Reader) -> Result<()> {
    match reader.next()? {
        Some(Item::Record(record)) => {
            black_box(record.payload);
            Ok(())
        }
        Some(Item::Gap(gap)) => Err(format!("a gap from {}", gap.from).into()),
        None => Err("nothing where a record is".into()),
    }
}

/// Of this thread, in seconds.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
