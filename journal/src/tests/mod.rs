//! What the journal promises, tried against a disk that does its worst.
//!
//! `MNEMOSYNE_SEEDS=100000 cargo test -p mnemosyne-journal --release` makes a long run; a failure prints its seed, and
//! `MNEMOSYNE_SEED=n` runs that one alone.

mod broken;
pub(crate) mod clocks;
mod crash;
mod damage;
mod model;
mod refusal;
mod retention;
pub(crate) mod seek;
mod writers;

use std::sync::Arc;

use crate::sim::{Rng, SimDisk};
use crate::{Item, Journal, JournalId, Level, Micros, Options, Reader, Recovery, Seq};

/// For controls: whether payload checksums are taken as right.
pub(crate) fn payloads_are_trusted() -> bool {
    damage::TRUST_PAYLOADS.get()
}

pub(crate) const ID: JournalId = JournalId::from_bytes(*b"journal-of-tests");

/// The seeds of this run: the one asked for, or as many as asked for, or `default`.
pub(crate) fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("MNEMOSYNE_SEED"), number("MNEMOSYNE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..default,
    }
}

/// Runs `test` with each seed; a panic names the seed.
pub(crate) fn with_seeds(default: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds(default) {
        if let Err(panic) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("failed with MNEMOSYNE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Small segments, so that their edges are ordinary.
pub(crate) fn options(seed: u64) -> Options {
    let mut salt = [0; 32];
    salt[..8].copy_from_slice(&seed.to_le_bytes());
    salt[8] = 1;
    Options::new(ID, salt).with_segment_bytes_target(1_500)
}

pub(crate) fn open(disk: &SimDisk, seed: u64, now: i64) -> crate::Result<(Journal, Recovery)> {
    Journal::open(Arc::new(disk.clone()), options(seed), Micros::new(now))
}

/// What a reader gave: records, and gaps as first and last seq.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) records: Vec<(u64, Vec<u8>)>,
    pub(crate) gaps: Vec<(u64, u64)>,
}

/// Reads to the end and checks what always holds: seqs in order, each once, `recorded` never running backwards.
pub(crate) fn read(mut reader: Reader) -> Read {
    let (mut out, mut next, mut recorded) = (Read::default(), reader.position(), Micros::MIN);
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Record(record) => {
                assert_eq!(record.seq, next, "a seq was left out or given twice");
                assert!(record.recorded >= recorded, "time ran backwards at seq {next}");
                recorded = record.recorded;
                out.records.push((record.seq.get(), record.payload.to_vec()));
                next = next.next();
            }
            Item::Gap(gap) => {
                assert_eq!(gap.from, next, "a seq was left out or given twice");
                assert!(gap.to >= gap.from);
                out.gaps.push((gap.from.get(), gap.to.get()));
                next = gap.to.next();
            }
        }
    }
    assert_eq!(reader.position(), next);
    out
}

pub(crate) fn payload(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(10) {
        0 => 0,
        1..=6 => rng.below(120),
        7 | 8 => rng.below(700),
        _ => rng.below(2_500),
    };
    (0..len).map(|_| rng.bits() as u8).collect()
}

/// A small journal of several segments, all flushed and closed: its disk and its payloads.
pub(crate) fn small_journal(seed: u64, batches: u64) -> (SimDisk, Vec<Vec<u8>>) {
    let (disk, mut rng) = (SimDisk::new(seed), Rng::new(seed));
    let (journal, _) = open(&disk, seed, 0).unwrap();
    let mut payloads = Vec::new();
    for batch in 0..batches {
        let records: Vec<Vec<u8>> =
            (0..=rng.below(4)).map(|_| (0..rng.below(40)).map(|_| rng.bits() as u8).collect()).collect();
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let now = Micros::new(batch as i64 * 5_000);
        journal.submit(&slices, now, Level::Disk, None).unwrap().wait().unwrap();
        payloads.extend(records);
    }
    journal.close().unwrap();
    (disk, payloads)
}

#[test]
fn the_first_case_write_crash_flush() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk, 1, 0).unwrap();
    let flushed = journal.submit(&[b"flushed"], Micros::new(1), Level::Disk, None).unwrap();
    flushed.wait().unwrap();
    let _unflushed = journal.submit(&[b"not flushed"], Micros::new(1), Level::Os, None).unwrap();
    disk.power_cut();
    assert!(journal.flush(Level::Disk).is_err());
    let (journal, recovery) = open(&disk.restarted(), 2, 0).unwrap();
    assert_eq!(read(journal.reader(Seq::FIRST)).records, [(1, b"flushed".to_vec())]);
    assert!(recovery.damage.is_empty());
}
