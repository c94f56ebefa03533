//! A fixed workload, stopped at every single call, and recovery stopped at every one of its own.

use std::sync::Arc;

use super::{Read, open, read};
use crate::sim::SimDisk;
use crate::{Journal, Level, Micros, Seq, View, Writer};

/// Appends, rolls, closes, opens again, dies and recovers; the highest seq acknowledged at level `disk`.
fn workload(disk: &SimDisk) -> u64 {
    let mut acknowledged = 0;
    let mut life = |seed: u64, close: bool| -> crate::Result<()> {
        let (journal, _) = open(disk, seed, 0)?;
        for n in 0..7_u64 {
            let now = Micros::new((seed * 10_000 + n * 2_000) as i64);
            let bytes = vec![n as u8; 300];
            let level = if n % 3 == 0 { Level::Os } else { Level::Disk };
            let ack = journal.submit(&[&bytes, &bytes[..10]], now, level, None)?.wait()?;
            acknowledged = acknowledged.max(if level == Level::Disk { ack.last.get() } else { 0 });
        }
        if close { journal.close() } else { Ok(()) }
    };
    let lives = [(1, true), (2, false), (3, true), (4, false)];
    let _until_the_cut = lives.into_iter().try_for_each(|(seed, close)| life(seed, close));
    acknowledged
}

fn check(journal: &Journal, acknowledged: u64, what: &str) -> Read {
    let found = read(journal.reader(Seq::FIRST));
    assert_eq!(found.gaps, [], "{what}");
    assert!(found.records.len() as u64 >= acknowledged, "{what}: {} of {acknowledged}", found.records.len());
    assert_eq!(found.records.len() % 2, 0, "{what}: half a batch");
    found
}

#[test]
fn a_cut_at_every_call_of_work_and_at_every_call_of_recovery_loses_nothing() {
    let whole = SimDisk::new(0);
    let acknowledged = workload(&whole);
    assert_eq!(acknowledged, 4 * 14 - 2, "the last submission of a life is at level os");
    let calls = whole.calls();
    for cut in 0..calls {
        let disk = SimDisk::new(cut);
        disk.cut_at(cut);
        let acknowledged = workload(&disk);
        assert!(disk.is_cut());
        let crashed = disk.restarted();
        let (journal, recovery) = open(&crashed.copied(1), 9, 0).unwrap();
        assert!(recovery.damage.is_empty());
        let expected = check(&journal, acknowledged, &format!("cut at {cut}"));
        for again in 0.. {
            let disk = crashed.copied(again);
            disk.cut_at(again);
            let finished = open(&disk, 9, 0).is_ok() && !disk.is_cut();
            disk.power_cut();
            let (journal, recovery) = open(&disk.restarted(), 10, 0).unwrap();
            let what = format!("cut at {cut}, then at {again} of recovery");
            assert!(recovery.damage.is_empty(), "{what}");
            assert_eq!(check(&journal, acknowledged, &what), expected, "{what}");
            if finished {
                break;
            }
        }
    }
}

#[test]
fn opening_twice_finds_the_same_and_leaves_a_clean_journal() {
    for cut in (0..150).step_by(7) {
        let disk = SimDisk::new(cut);
        disk.cut_at(cut);
        workload(&disk);
        let disk = disk.restarted();
        let first = read(open(&disk, 9, 0).unwrap().0.reader(Seq::FIRST));
        let (journal, recovery) = open(&disk, 10, 0).unwrap();
        assert!(recovery.clean && recovery.torn.is_none(), "{recovery:?}");
        assert_eq!(read(journal.reader(Seq::FIRST)), first);
    }
}

#[test]
fn a_view_never_writes_and_shows_what_recovery_will_keep() {
    let disk = SimDisk::new(3);
    disk.cut_at(60);
    workload(&disk);
    let disk = disk.restarted();
    let calls = disk.calls();
    let (view, _) = View::open(Arc::new(disk.clone()), Writer::Absent).unwrap();
    let seen = read(view.reader(Seq::FIRST));
    let flushes = disk.trace().iter().filter(|line| line.contains("sync")).count() as u64;
    let others = disk.calls() - calls;
    assert!(others <= 1 && flushes >= others, "a view may flush, and nothing else");
    assert_eq!(read(open(&disk, 9, 0).unwrap().0.reader(Seq::FIRST)), seen);
}

#[test]
fn torn_bytes_are_kept_in_quarantine_once() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk, 1, 0).unwrap();
    journal.submit(&[b"kept"], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    journal.submit(&[b"torn"], Micros::new(9_000), Level::Os, None).unwrap().wait().unwrap();
    let name = "00000000000000000001.seg";
    let mut bytes = disk.content(name).unwrap();
    let whole = bytes.len();
    bytes.truncate(whole - 8);
    disk.put(name, bytes.clone());
    let (journal, recovery) = open(&disk, 2, 0).unwrap();
    let torn = recovery.torn.unwrap();
    assert_eq!((torn.first, torn.segment.as_str()), (Seq::new(2), name));
    let kept = torn.quarantine.unwrap();
    assert_eq!(disk.content(&kept).unwrap(), bytes[torn.offset as usize..]);
    assert_eq!(read(journal.reader(Seq::FIRST)).records, [(1, b"kept".to_vec())]);
    // The same crash again, as if the first recovery had been interrupted before its end.
    disk.put(name, bytes);
    disk.take("00000000000000000002.seg");
    let (_, recovery) = open(&disk, 3, 0).unwrap();
    assert_eq!(recovery.torn.unwrap().quarantine.unwrap(), kept);
}

/// A process that dies leaves things written and not flushed, such as the name of a segment that holds nothing yet. Whoever
/// opens next must not acknowledge anything on top of them that the next power cut takes away with them.
#[test]
fn a_death_at_every_call_and_a_power_cut_in_the_next_life_lose_nothing() {
    let whole = SimDisk::new(0);
    workload(&whole);
    for death in 0..whole.calls() {
        for seed in 0..4 {
            let disk = SimDisk::new(death * 4 + seed);
            disk.cut_at(death);
            workload(&disk);
            let next = disk.after_kill();
            let (journal, _) = open(&next, 9, 0).unwrap();
            let ack = journal
                .submit(&[b"one", b"two"], Micros::new(90_000), Level::Disk, None)
                .unwrap()
                .wait()
                .unwrap();
            next.power_cut();
            drop(journal);
            let (journal, recovery) = open(&next.restarted(), 10, 0).unwrap();
            let what = format!("death at {death}, then a power cut, seed {seed}");
            assert!(recovery.damage.is_empty(), "{what}");
            check(&journal, ack.last.get(), &what);
        }
    }
}
