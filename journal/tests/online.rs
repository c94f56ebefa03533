//! Verifying a journal on a real directory while eight threads append to it: what is only unfinished is never called damage,
//! and damage is.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mnemosyne_journal::verify::verify;
use mnemosyne_journal::{Journal, JournalId, Level, Micros, Options, RealDisk, Seq};

const THREADS: u64 = 8;
/// Whole verifications, and looks at each sealed segment, that are made meanwhile.
const ROUNDS: u32 = 12;

/// Runs `look` while the journal is written to by all threads; it answers when it has seen enough.
fn under_load(look: impl FnOnce(&Path, &Journal)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let options = Options::new(JournalId::from_bytes([7; 16]), [3; 32]).with_segment_bytes_target(256 << 10);
    let (journal, _) = Journal::open(Arc::new(RealDisk::new(&path)), options, Micros::new(1)).unwrap();
    journal.start_committer().unwrap();
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (journal, stop, written) = (&journal, &stop, &written);
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let bytes = format!("{thread} {n} {}", "x".repeat(n * 97 % 3_000));
                    let level = if n % 8 == 0 { Level::Disk } else { Level::Os };
                    let now = Micros::new(i64::try_from(n * 700).unwrap());
                    journal.submit(&[bytes.as_bytes(), b"second"], now, level, None).unwrap().wait().unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Whatever comes of it, the threads end.
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while journal.sealed().len() < 2 {
                std::thread::yield_now();
            }
            look(&path, &journal);
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = looked {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(written.load(Ordering::Relaxed) > THREADS);
    journal.close().unwrap();
}

#[test]
fn a_verification_under_full_load_gives_no_false_alarm() {
    under_load(|path, journal| {
        let disk = RealDisk::new(path);
        for round in 0..ROUNDS {
            let durable = journal.durable();
            let verified = verify(&disk).unwrap();
            assert_eq!(verified.problems, [], "round {round}");
            assert!(verified.last >= durable, "what was durable before is there");
            for (base, last) in journal.sealed() {
                let checked = journal.verify_segment(base, &mut |_| true).unwrap().unwrap();
                assert_eq!((checked.problems.len(), checked.last), (0, last), "{:?}", checked.problems);
            }
        }
    });
}

#[test]
fn damage_in_an_old_segment_is_found_under_full_load() {
    under_load(|path, journal| {
        let (base, last) = journal.sealed()[0];
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(path.join(format!("{base:020}.seg")))
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 100_000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 100_000).unwrap();
        let checked = journal.verify_segment(base, &mut |_| true).unwrap().unwrap();
        assert!(
            !checked.problems.is_empty() && checked.records + 1 >= last.since(base),
            "{:?}",
            checked.problems
        );
        assert!(!verify(&RealDisk::new(path)).unwrap().problems.is_empty());
        assert!(journal.verify_segment(base, &mut |_| false).unwrap().is_none(), "it was ended");
        assert!(journal.verify_segment(Seq::MAX, &mut |_| true).unwrap().is_none(), "there is none");
    });
}
