//! Clocks that jump by ten years and to the ends of time, at every append and every opening: `recorded` never falls, a time leads to
//! the first record that is not earlier, and the journal verifies.

use std::cell::Cell;
use std::panic::catch_unwind;

use super::{open, read, with_seeds};
use crate::sim::{Rng, SimDisk};
use crate::verify::verify;
use crate::{Item, Level, Micros, Seq};

thread_local! {
    /// For the control: the clock is taken at its word. Read by `pending` in tests alone.
    static TRUST_CLOCKS: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn clocks_are_trusted() -> bool {
    TRUST_CLOCKS.get()
}

const YEAR: u64 = 365 * 24 * 3600 * 1_000_000;

fn anywhen(rng: &mut Rng) -> Micros {
    match rng.below(40) {
        0 => Micros::MIN,
        1 => Micros::new(i64::MIN + 1),
        2 => Micros::new(0),
        _ => Micros::new(
            1_700_000_000_000_000 + rng.below(20 * YEAR).cast_signed() - (10 * YEAR).cast_signed(),
        ),
    }
}

/// A life of several openings, stops and kills under such a clock, and all that must hold then.
fn live(seed: u64) {
    let (mut disk, mut rng) = (SimDisk::new(seed), Rng::new(seed));
    let mut appended = 0;
    for _ in 0..5 {
        let (journal, _) = open(&disk, seed, anywhen(&mut rng).get()).unwrap();
        for _ in 0..rng.below(20) {
            let now = anywhen(&mut rng);
            appended += 1;
            journal.submit(&[b"an event"], now, Level::Disk, None).unwrap().wait().unwrap();
        }
        if rng.chance(50) {
            journal.close().unwrap();
        } else {
            drop(journal);
            disk = disk.after_kill();
        }
    }
    let (journal, _) = open(&disk, seed, anywhen(&mut rng).get()).unwrap();
    // Checks that time never runs backwards.
    assert_eq!(read(journal.reader(Seq::FIRST)).records.len(), appended);
    let (mut reader, mut times) = (journal.reader(Seq::FIRST), Vec::new());
    while let Some(Item::Record(record)) = reader.next().unwrap() {
        times.push(record.recorded);
    }
    for _ in 0..20 {
        let time = if rng.chance(50) || times.is_empty() {
            anywhen(&mut rng)
        } else {
            times[rng.below(times.len() as u64) as usize]
        };
        let expected = times.iter().take_while(|&&recorded| recorded < time).count() as u64 + 1;
        assert_eq!(reader.seek_time(time).unwrap().get(), expected);
    }
    journal.close().unwrap();
    assert_eq!(verify(&disk).unwrap().problems, []);
}

#[test]
fn time_never_falls_and_leads_to_the_right_record_whatever_the_clock_does() {
    with_seeds(300, live);
}

#[test]
fn control_a_clock_that_is_taken_at_its_word_is_caught() {
    TRUST_CLOCKS.set(true);
    let caught = (0..50).filter(|&seed| catch_unwind(|| live(seed)).is_err()).count();
    TRUST_CLOCKS.set(false);
    assert!(caught > 45, "only {caught} of 50 seeds noticed that time runs backwards");
}
