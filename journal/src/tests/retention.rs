//! Dropping oldest segments, stopped at every call; and copying a journal that is being written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ID, Read, open, read, small_journal};
use crate::sim::SimDisk;
use crate::verify::verify;
use crate::{GapReason, Item, Journal, Level, Micros, Seq, View, Writer, prove_copy};

/// A closed journal of several segments, and what it holds.
fn whole() -> (SimDisk, Read) {
    let (disk, _) = small_journal(7, 60);
    let (journal, _) = open(&disk, 8, 0).unwrap();
    let all = read(journal.reader(Seq::FIRST));
    assert!(journal.segments().unwrap().len() >= 5, "{:?}", journal.segments());
    journal.close().unwrap();
    (disk, all)
}

/// What is left must be the end of what there was, behind one gap of retention; the first seq that is left.
fn check_is_an_end(journal: &Journal, all: &Read, what: &str) -> u64 {
    let mut reader = journal.reader(Seq::FIRST);
    let first = journal.first();
    if first > Seq::FIRST {
        match reader.next().unwrap() {
            Some(Item::Gap(gap)) => {
                assert_eq!((gap.from, gap.to, gap.reason), (Seq::FIRST, first.prev(), GapReason::Retention));
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    let found = read(reader);
    assert_eq!(found.gaps, [], "{what}: a hole in the middle");
    let skipped = usize::try_from(first.prev().get()).unwrap();
    assert!(found.records.starts_with(&all.records[skipped..]), "{what}");
    first.get()
}

#[test]
fn oldest_segments_go_and_the_rest_is_whole_after_a_restart() {
    let (disk, all) = whole();
    let before = verify(&disk).unwrap();
    let (journal, _) = open(&disk, 9, 0).unwrap();
    let segments = journal.segments().unwrap();
    assert!(!segments.last().unwrap().droppable && segments.iter().rev().skip(1).all(|s| s.droppable));
    // A seq in the midst of a segment keeps that segment.
    let dropped = journal.drop_before(segments[3].base.next()).unwrap().unwrap();
    assert_eq!((dropped.from, dropped.to, dropped.segments), (Seq::FIRST, segments[3].base.prev(), 3));
    assert_eq!(dropped.bytes, segments[..3].iter().map(|segment| segment.bytes).sum::<u64>());
    assert_eq!(check_is_an_end(&journal, &all, "dropped"), segments[3].base.get());
    assert_eq!(journal.drop_before(segments[3].base).unwrap(), None);
    // Everything that can go: the last one stays, whatever is asked for.
    journal.drop_before(Seq::MAX).unwrap().unwrap();
    let last = journal.segments().unwrap();
    assert_eq!(last.len(), 1);
    journal.submit(&[b"later"], Micros::new(1 << 40), Level::Disk, None).unwrap().wait().unwrap();
    journal.close().unwrap();

    let (journal, recovery) = open(&disk, 10, 0).unwrap();
    assert!(recovery.clean && recovery.damage.is_empty(), "{recovery:?}");
    assert_eq!(check_is_an_end(&journal, &all, "after a restart"), last[0].base.get());
    let after = verify(&disk).unwrap();
    assert_eq!((after.first, after.journal), (last[0].base, ID));
    assert!(after.problems.is_empty() && after.last > before.last, "{after:?}");
}

#[test]
fn an_edit_of_the_first_segment_that_is_left_is_found() {
    let (disk, _) = whole();
    let (journal, _) = open(&disk, 9, 0).unwrap();
    let second = journal.segments().unwrap()[1];
    journal.drop_before(second.base).unwrap();
    journal.close().unwrap();
    let name = crate::format::segment::segment_name(second.base);
    let mut bytes = disk.content(&name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.put(&name, bytes);
    assert!(!verify(&disk).unwrap().problems.is_empty());
}

#[test]
fn a_reader_that_has_a_dropped_segment_open_reads_it_to_its_end() {
    let (disk, all) = whole();
    let (journal, _) = open(&disk, 9, 0).unwrap();
    let mut reader = journal.reader(Seq::FIRST);
    let Some(Item::Record(first)) = reader.next().unwrap() else { panic!("no record") };
    assert_eq!(first.seq, Seq::FIRST);
    let segments = journal.segments().unwrap();
    journal.drop_before(segments[2].base).unwrap();
    let mut seen = 1;
    let gap = loop {
        match reader.next().unwrap() {
            Some(Item::Record(record)) => seen = record.seq.get(),
            Some(Item::Gap(gap)) => break gap,
            None => panic!("no gap"),
        }
    };
    assert_eq!(seen, segments[0].last.get());
    assert_eq!((gap.from.get(), gap.to), (seen + 1, segments[2].base.prev()));
    assert_eq!(gap.reason, GapReason::Retention);
    assert_eq!(read(reader).records.len() as u64, all.records.len() as u64 - gap.to.get());
}

/// Drops half of the segments, appends, drops all that can go, on a disk that is cut at `cut`; then the power is back.
fn cut_at(cut: u64, disk: &SimDisk, all: &Read, lies: bool) -> (SimDisk, u64, bool) {
    disk.cut_at(cut);
    if lies {
        disk.let_syncs_do_nothing();
    }
    let mut acknowledged = all.records.len() as u64;
    let mut run = || -> crate::Result<()> {
        let (journal, _) = open(disk, 11, 0)?;
        let segments = journal.segments()?;
        journal.drop_before(segments[segments.len() / 2].base)?;
        acknowledged =
            journal.submit(&[b"more"], Micros::new(1 << 40), Level::Disk, None)?.wait()?.last.get();
        journal.drop_before(Seq::MAX)?;
        journal.close()
    };
    let done = run().is_ok();
    (disk.restarted(), acknowledged, done)
}

#[test]
fn a_cut_at_every_call_of_a_drop_leaves_an_unbroken_end() {
    let (clean, all) = whole();
    for cut in 0_u64.. {
        let disk = clean.copied(cut);
        let (disk, acknowledged, done) = cut_at(cut, &disk, &all, false);
        let (journal, recovery) = open(&disk, 12, 0).unwrap();
        assert!(recovery.damage.is_empty(), "cut {cut}: {recovery:?}");
        check_is_an_end(&journal, &all, &format!("cut {cut}"));
        assert!(journal.durable().get() >= acknowledged, "cut {cut}");
        drop(journal);
        assert_eq!(verify(&disk).unwrap().problems, [], "cut {cut}");
        if done {
            assert!(cut > 20, "the cuts met the drops");
            return;
        }
    }
}

/// The control: a disk that only claims to have flushed a directory keeps any of the removals, and a hole is what shows.
#[test]
fn without_the_flush_between_two_removals_a_hole_is_possible() {
    let (clean, all) = whole();
    let holes = (0..200_u64).filter(|cut| {
        let (disk, _, _) = cut_at(6 + cut % 30, &clean.copied(*cut), &all, true);
        let bases = crate::catalog::list_bases(&disk).unwrap();
        let listed: Vec<Seq> = crate::catalog::list_bases(&clean).unwrap();
        let from = listed.iter().position(|base| Some(base) == bases.first()).unwrap_or(0);
        listed[from..].iter().any(|base| !bases.contains(base))
    });
    assert!(holes.count() > 0, "the test would not see a hole");
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_drop_beside_appends_and_readers_disturbs_neither() {
    let disk = SimDisk::new(3);
    let (journal, _) = open(&disk, 1, 0).unwrap();
    journal.start_committer().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whoever fails ends the dropping too.
        let _ends = Ends(&done);
        let dropping = scope.spawn(|| {
            let mut dropped = 0;
            while !done.load(Ordering::Acquire) {
                let segments = journal.segments();
                // A segment may be sealed between the names and the look at it, never be gone: nobody else drops.
                let keep = segments.unwrap().iter().rev().nth(2).map_or(Seq::ZERO, |segment| segment.base);
                dropped += journal.drop_before(keep).unwrap().map_or(0, |dropped| dropped.segments);
            }
            dropped
        });
        let reading = scope.spawn(|| {
            let mut reader = journal.reader(Seq::FIRST);
            let _ends = Ends(&done);
            let (mut next, mut gaps) = (1, 0);
            while next <= 3_000 {
                match reader.next().unwrap() {
                    Some(Item::Record(record)) => {
                        assert_eq!(record.seq.get(), next);
                        assert_eq!(record.payload, next.to_string().as_bytes());
                        next += 1;
                    }
                    Some(Item::Gap(gap)) => {
                        assert_eq!((gap.from.get(), gap.reason), (next, GapReason::Retention));
                        (next, gaps) = (gap.to.get() + 1, gaps + 1);
                    }
                    None => std::thread::yield_now(),
                }
            }
            gaps
        });
        for n in 1..=3_000_u64 {
            let (bytes, now) = (n.to_string(), Micros::new(n as i64 * 2_000));
            let ticket = journal.submit(&[bytes.as_bytes()], now, Level::Os, None).unwrap();
            if n % 50 == 0 {
                ticket.wait().unwrap();
            }
        }
        journal.flush(Level::Disk).unwrap();
        reading.join().unwrap();
        done.store(true, Ordering::Release);
        assert!(dropping.join().unwrap() > 10);
    });
}

/// Copies what [`View::extents`] names.
fn copy(disk: &SimDisk, view: &View, writer: Writer) -> SimDisk {
    let copy = SimDisk::new(99);
    for extent in view.extents(writer).unwrap() {
        let mut bytes = disk.content(&extent.name).unwrap();
        assert!(bytes.len() as u64 >= extent.bytes, "{extent:?}");
        bytes.truncate(usize::try_from(extent.bytes).unwrap());
        copy.put(&extent.name, bytes);
    }
    copy
}

#[test]
fn the_extents_of_a_journal_are_a_whole_journal_whoever_holds_it() {
    let disk = SimDisk::new(5);
    let (journal, _) = open(&disk, 1, 0).unwrap();
    for n in 0..60_u64 {
        let (bytes, now) = (vec![n as u8; 90], Micros::new(n as i64 * 2_000));
        journal.submit(&[&bytes, &bytes[..7]], now, Level::Disk, None).unwrap().wait().unwrap();
        for writer in [Writer::Alive { boot: 0 }, Writer::Absent] {
            let (view, _) = View::open(Arc::new(disk.clone()), writer).unwrap();
            let copied = copy(&disk, &view, writer);
            let verified = verify(&copied).unwrap();
            assert_eq!((verified.last.get(), &verified.problems[..]), (2 * (n + 1), &[][..]), "{writer:?}");
            assert_eq!(verified.notes, [], "{writer:?}");
            // The last batch is as good as the others, and once that is proven damage of it is no unfinished write.
            let hurt = copy(&disk, &view, writer);
            let put = prove_copy(&hurt, verified.journal).unwrap();
            assert_eq!((put, prove_copy(&hurt, verified.journal).unwrap()), (96, 0));
            let proven = verify(&hurt).unwrap();
            assert_eq!(
                (proven.head, proven.proven, &proven.problems[..]),
                (verified.head, verified.last, &[][..])
            );
            let name = view.extents(writer).unwrap().pop().unwrap().name;
            let mut bytes = hurt.content(&name).unwrap();
            let at = bytes.len() - 96 - 12;
            bytes[at] ^= 1;
            hurt.put(&name, bytes);
            assert!(!verify(&hurt).unwrap().problems.is_empty(), "{writer:?}");
            assert!(open(&hurt, 3, 0).unwrap().1.torn.is_none());
            let (opened, recovery) = open(&copied, 2, 0).unwrap();
            assert!(recovery.torn.is_none(), "{recovery:?}");
            assert_eq!(read(opened.reader(Seq::FIRST)), read(journal.reader(Seq::FIRST)));
        }
    }
    journal.close().unwrap();
    let (view, _) = View::open(Arc::new(disk.clone()), Writer::Absent).unwrap();
    assert_eq!(verify(&copy(&disk, &view, Writer::Absent)).unwrap().last.get(), 120);
}
