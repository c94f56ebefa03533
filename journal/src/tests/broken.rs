//! Disks that fail for good, or take less than they were given: at any call, in the first segment or a later one.

use std::sync::Arc;

use rustix::io::Errno;

use super::{open, options, payload, read};
use crate::disk::Disk;
use crate::format::SegmentHeader;
use crate::format::segment::segment_base;
use crate::sim::{Call, Rng, SimDisk};
use crate::{Error, Journal, Level, Micros, Seq};

/// Submissions of one life: they fill some ten segments.
const SUBMISSIONS: i64 = 40;

/// Appends until the end, trying on after failures; the acknowledged payloads, and whether anything failed.
fn run(journal: &Journal, rng: &mut Rng) -> (Vec<Vec<u8>>, bool) {
    let (mut acknowledged, mut failed) = (Vec::new(), false);
    for n in 0..SUBMISSIONS {
        let bytes = payload(rng);
        let submitted = journal.submit(&[&bytes], Micros::new(n * 5_000), Level::Disk, None);
        match submitted.and_then(crate::Ticket::wait) {
            Ok(ack) => {
                assert!(!failed, "seq {} is acknowledged after a failure", ack.first);
                acknowledged.push(bytes);
            }
            Err(error) => {
                assert!(matches!(error, Error::Poisoned { .. }), "{error}");
                failed = true;
            }
        }
    }
    (acknowledged, failed)
}

fn segments(disk: &SimDisk) -> usize {
    disk.list("").unwrap().iter().filter(|name| segment_base(name).is_some()).count()
}

/// The salts of the segments, in order: another salt is another file, whatever its name.
fn salts(disk: &SimDisk) -> Vec<u64> {
    let mut names = disk.list("").unwrap();
    names.retain(|name| segment_base(name).is_some());
    names.sort();
    let salt =
        |name: &String| SegmentHeader::decode(&disk.content(name).unwrap()).ok().map(|header| header.salt);
    names.iter().filter_map(salt).collect()
}

/// The calls of one sort since `begun` lines of the trace, one line each.
fn calls(disk: &SimDisk, call: Call, begun: usize) -> Vec<String> {
    let names: &[&str] = match call {
        Call::Write => &["write "],
        Call::Sync => &["sync "],
        Call::SetLen => &["set_len "],
        Call::Names => &["create ", "rename ", "remove "],
        Call::SyncDir => &["sync_dir "],
    };
    // Each line begins with the number of the call.
    let lines = disk.trace().into_iter().skip(begun);
    let lines = lines.filter_map(|line| line.split_once(' ').map(|(_, what)| what.to_owned()));
    lines.filter(|line| names.iter().any(|name| line.starts_with(name))).collect()
}

/// An EIO at every call of one sort, one life for each; how many of them ended writing. `stays` tells whether later calls
/// fail too. The tail file is a hint: a failure there concerns nobody.
fn fail_at_every_call(call: Call, stays: bool) -> u64 {
    let mut ended = 0;
    for after in 0.. {
        let (disk, mut rng) = (SimDisk::new(after), Rng::new(after));
        let (journal, _) = open(&disk, after, 0).unwrap();
        let begun = disk.trace().len();
        disk.fail(call, after, Errno::IO, stays);
        let (acknowledged, failed) = run(&journal, &mut rng);
        if !failed {
            assert!(segments(&disk) > 4, "a life fills several segments");
            let Some(met) = calls(&disk, call, begun).into_iter().nth(usize::try_from(after).unwrap()) else {
                return ended;
            };
            assert!(met.contains(" tail"), "an error of {met} ended nothing");
            continue;
        }
        ended += 1;
        assert!(journal.poisoned().is_some());
        disk.heal();
        let refused =
            journal.submit(&[b"healed"], Micros::new(1), Level::Os, None).and_then(crate::Ticket::wait);
        assert!(refused.is_err(), "healing is no excuse");
        drop(journal);
        for disk in [disk.after_kill(), disk.restarted()] {
            let before = salts(&disk);
            let (journal, recovery) = open(&disk, after + 1, 1_000_000).unwrap();
            assert!(recovery.damage.is_empty(), "{recovery:?}");
            let found = read(journal.reader(Seq::FIRST));
            assert!(found.gaps.is_empty() && found.records.len() >= acknowledged.len());
            for (kept, bytes) in found.records.iter().zip(&acknowledged) {
                assert_eq!(&kept.1, bytes, "seq {} after {call:?} {after}", kept.0);
            }
            journal.submit(&[b"more"], Micros::new(1_000_001), Level::Disk, None).unwrap().wait().unwrap();
            let went_on_in = salts(&disk).pop();
            assert!(!before.contains(&went_on_in.unwrap()), "it went on in the file that failed");
        }
    }
    unreachable!("a life has an end")
}

#[test]
fn an_error_at_any_call_of_any_segment_ends_writing_and_costs_nothing_that_was_acknowledged() {
    for stays in [false, true] {
        for call in [Call::Write, Call::Sync, Call::SetLen, Call::Names, Call::SyncDir] {
            let ended = fail_at_every_call(call, stays);
            // Without zeros ahead of the writer, nothing is cut when a segment is sealed.
            let least = if call == Call::SetLen { 0 } else { 5 };
            assert!(ended >= least, "{call:?} ended {ended} lives only, so none in a later segment");
        }
    }
}

/// The same files, byte for byte, whether the disk takes all of a write at once or not.
#[test]
fn writes_that_fall_short_are_gone_on_with() {
    for seed in 0..10 {
        let disks = [SimDisk::new(seed), SimDisk::new(seed)];
        disks[1].let_writes_fall_short();
        let mut writes = Vec::new();
        for disk in &disks {
            let (journal, _) = Journal::open(Arc::new(disk.clone()), options(seed), Micros::new(0)).unwrap();
            let (acknowledged, failed) = run(&journal, &mut Rng::new(seed));
            assert_eq!((acknowledged.len(), failed), (usize::try_from(SUBMISSIONS).unwrap(), false));
            journal.close().unwrap();
            writes.push(disk.trace().iter().filter(|line| line.contains("write ")).count());
        }
        assert!(writes[1] > writes[0] + 20, "{writes:?}: nothing fell short");
        let mut names = disks[0].list("").unwrap();
        names.sort();
        assert!(names.len() > 5);
        for name in names {
            assert_eq!(disks[0].content(&name), disks[1].content(&name), "seed {seed}, {name}");
        }
    }
}

#[test]
fn power_cuts_amid_short_writes_cost_nothing_that_was_acknowledged() {
    super::with_seeds(60, |seed| {
        let (disk, mut rng) = (SimDisk::new(seed), Rng::new(seed));
        disk.let_writes_fall_short();
        let (journal, _) = open(&disk, seed, 0).unwrap();
        disk.cut_at(disk.calls() + rng.below(200));
        let mut acknowledged = Vec::new();
        for n in 0..SUBMISSIONS {
            let bytes = payload(&mut rng);
            let submitted = journal.submit(&[&bytes], Micros::new(n * 5_000), Level::Disk, None);
            if submitted.and_then(crate::Ticket::wait).is_err() {
                break;
            }
            acknowledged.push(bytes);
        }
        drop(journal);
        let (journal, recovery) = open(&disk.restarted(), seed + 1, 0).unwrap();
        assert!(recovery.damage.is_empty(), "{recovery:?}");
        let found = read(journal.reader(Seq::FIRST)).records;
        assert!(found.len() >= acknowledged.len());
        assert!(found.iter().zip(&acknowledged).all(|(kept, bytes)| kept.1 == *bytes));
    });
}
