//! The inbox over a real data directory: order, exactly once with the process ended at every step, damage, the cap.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::clock::{FixedClock, SystemClock};
use crate::config::{DataDir, Settings};
use crate::event::{Seq, Timestamp};
use crate::store::testing::{event, event_with_id, uuid};
use crate::store::{Item, Level, Opened, Opening, Store};

fn data_dir() -> (tempfile::TempDir, DataDir) {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::at(parent.path().join("data"));
    dir.create().unwrap();
    (parent, dir)
}

fn open(dir: &DataDir) -> (Store, Opened) {
    let opening = Opening::command("test", Arc::new(SystemClock), Settings::default());
    Store::open(dir, Opening { tells: false, ..opening }).unwrap()
}

fn put(dir: &DataDir, n: u128) {
    deposit(&dir.inbox(), &event(n), &SystemClock, Deposit::Os).unwrap();
}

/// Ids of the events in the journal that are not the store's own, in order.
fn ids(store: &Store) -> Vec<u128> {
    let mut ids = Vec::new();
    let mut replay = store.replay(Seq::FIRST);
    while let Some(item) = replay.next().unwrap() {
        let Item::Event(stored) = item else { panic!("{item:?}") };
        if stored.event.instance == "session-a" {
            ids.push(stored.event.id.as_u128());
        }
    }
    ids
}

/// What lies there, but for the room that every opening sees to.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != untold::SPARE)
        .collect();
    names.sort();
    names
}

#[test]
fn a_backlog_is_drained_in_order_and_the_files_are_gone() {
    let (_parent, dir) = data_dir();
    (1..=1500).for_each(|n| put(&dir, n));
    assert_eq!(waiting(&dir.inbox()).unwrap(), 1500);
    let (store, opened) = open(&dir);
    assert_eq!((opened.drained.events, opened.drained.duplicates), (1500, 0));
    assert_eq!(ids(&store), (1..=1500).collect::<Vec<u128>>());
    assert_eq!(names(&dir.inbox()), ["failed"]);
    store.close().unwrap();
    let (store, opened) = open(&dir);
    assert!(opened.clean && opened.drained.is_empty());
    assert_eq!(ids(&store).len(), 1500);
}

/// A directory that is listed while it grows shows some of what came meanwhile, and not what came before that.
#[test]
fn what_comes_while_others_are_drained_keeps_its_order() {
    const EVENTS: u128 = 4_000;
    let (_parent, dir) = data_dir();
    let (store, _) = open(&dir);
    // Enough that a listing takes several looks at the directory.
    (1..=1_000).for_each(|n| put(&dir, n));
    std::thread::scope(|scope| {
        let putting = scope.spawn(|| (1_001..=EVENTS).for_each(|n| put(&dir, n)));
        while !putting.is_finished() {
            store.drain_inbox().unwrap();
        }
    });
    store.drain_inbox().unwrap();
    assert_eq!(ids(&store), (1..=EVENTS).collect::<Vec<u128>>());
    store.close().unwrap();
}

#[test]
fn what_one_process_put_into_the_inbox_goes_before_what_it_then_emits() {
    let (_parent, dir) = data_dir();
    let (store, _) = open(&dir);
    for n in 0..60 {
        if n % 3 == 0 {
            store.emit(vec![event(n + 1)], Level::Os, None).unwrap().wait().unwrap();
        } else {
            put(&dir, n + 1);
        }
    }
    store.drain_inbox().unwrap();
    assert_eq!(ids(&store), (1..=60).collect::<Vec<u128>>());
    store.close().unwrap();
    assert_eq!(names(&dir.inbox()), ["failed"]);
}

#[test]
fn names_rise_within_a_process_whatever_the_clock_does() {
    let (_parent, dir) = data_dir();
    let clock = FixedClock::at(Timestamp::from_micros(4_000_000_000_000_000));
    for n in 1..=20 {
        deposit(&dir.inbox(), &event(n), &clock, Deposit::Os).unwrap();
        clock.advance(if n % 2 == 0 { 5 } else { -100_000_000 });
    }
    let (store, _) = open(&dir);
    assert_eq!(ids(&store), (1..=20).collect::<Vec<u128>>());
}

#[test]
fn an_event_that_the_journal_holds_already_is_unlinked_and_not_appended() {
    let (_parent, dir) = data_dir();
    let (store, _) = open(&dir);
    store.emit(vec![event(1)], Level::Disk, None).unwrap().wait().unwrap();
    (0..3).for_each(|_| put(&dir, 1));
    (0..2).for_each(|_| put(&dir, 2));
    let drained = store.drain_inbox().unwrap();
    assert_eq!((drained.events, drained.duplicates), (1, 4));
    assert_eq!(ids(&store), [1, 2]);
    assert_eq!(names(&dir.inbox()), ["failed"]);
}

#[test]
fn damaged_and_empty_files_are_kept_aside_and_told_and_stop_nobody() {
    let (_parent, dir) = data_dir();
    put(&dir, 1);
    let good = dir.inbox().join(&names(&dir.inbox())[0]);
    let bytes = std::fs::read(&good).unwrap();
    let at = |n: u64| dir.inbox().join(format!("{n:020}-1-00"));
    std::fs::write(at(1), b"").unwrap();
    std::fs::write(at(2), &bytes[..bytes.len() - 1]).unwrap();
    std::fs::write(at(3), [&bytes[..20], &[bytes[20] ^ 1], &bytes[21..]].concat()).unwrap();
    std::fs::write(at(4), frame::encode(b"no event").unwrap()).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at(5)).unwrap();
    std::fs::write(dir.inbox().join("README"), "not ours").unwrap();
    let opening = Opening::command("test", Arc::new(SystemClock), Settings::default());
    let (store, opened) = Store::open(&dir, opening).unwrap();
    assert_eq!((opened.drained.events, opened.drained.quarantined), (1, 5));
    assert_eq!(ids(&store), [1]);
    let kept = names(&dir.quarantine());
    let whys: Vec<&str> = kept.iter().map(|name| name.rsplit('.').next().unwrap()).collect();
    assert_eq!(whys, ["empty", "length", "checksum", "event", "unsafe"]);
    assert_eq!(names(&dir.inbox()), ["README", "failed"]);
    let Some(Item::Event(told)) = store.get(store.durable()).unwrap() else { panic!() };
    assert_eq!(told.event.kind.name(), "inbox_drained");
    assert!(told.event.payload.as_str().contains("\"quarantined\":5"), "{}", told.event.payload.as_str());
}

#[test]
fn temporary_files_of_the_dead_are_finished_or_removed_and_those_of_the_living_stay() {
    let (_parent, dir) = data_dir();
    put(&dir, 1);
    let good = std::fs::read(dir.inbox().join(&names(&dir.inbox())[0])).unwrap();
    let mut child = Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let own = std::process::id();
    let second = frame::encode(&event(2).encode()).unwrap();
    std::fs::write(dir.inbox().join(format!("{:020}-{dead}-0a.tmp", 5)), second).unwrap();
    std::fs::write(dir.inbox().join(format!("{:020}-{dead}-0b.tmp", 6)), &good[..30]).unwrap();
    std::fs::write(dir.inbox().join(format!("{:020}-{own}-0c.tmp", 7)), &good[..30]).unwrap();
    let (store, _) = open(&dir);
    assert_eq!(ids(&store), [2, 1]);
    assert_eq!(names(&dir.inbox()), [format!("{:020}-{own}-0c.tmp", 7), "failed".into()]);
}

/// The child of the next test: drains and is ended at the step that the environment names. Does nothing when run by itself.
#[test]
fn child_that_drains() {
    if let Some(path) = std::env::var_os("MNEMOSYNE_TEST_DRAIN") {
        let (store, _) = open(&DataDir::at(PathBuf::from(path)));
        store.close().unwrap();
    }
}

#[test]
fn a_process_ended_at_any_step_of_a_drain_leaves_each_event_exactly_once() {
    for keep_index in [true, false] {
        for step in ["read", "appended", "durable", "unlinked", "never"] {
            let (_parent, dir) = data_dir();
            (1..=5).for_each(|n| put(&dir, n));
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "store::inbox::tests::child_that_drains", "--nocapture"])
                .env("MNEMOSYNE_TEST_DRAIN", dir.path())
                .env("MNEMOSYNE_TEST_CUT", step)
                .output()
                .unwrap();
            assert_eq!(child.status.success(), step == "never", "the cut at {step} was met");
            let left = waiting(&dir.inbox()).unwrap();
            let expected = match step {
                "never" => 0,
                "unlinked" => 4,
                _ => 5,
            };
            assert_eq!(left, expected, "files after {step}");
            if !keep_index {
                std::fs::remove_dir_all(dir.index()).unwrap();
            }
            put(&dir, 6);
            let (store, opened) = open(&dir);
            assert_eq!(ids(&store), [1, 2, 3, 4, 5, 6], "after {step}");
            // Before the flush nothing of the batch was on the disk.
            assert_eq!(opened.clean, step != "durable" && step != "unlinked", "after {step}");
            assert_eq!(waiting(&dir.inbox()).unwrap(), 0);
        }
    }
}

#[test]
fn the_cap_refuses_until_a_drain_makes_room() {
    let (_parent, dir) = data_dir();
    (1..=4).for_each(|n| put(&dir, n));
    let inbox = dir.inbox();
    assert!(check_cap_of(&inbox, CAP_SAMPLING, 5, u64::MAX).is_ok(), "control: below the cap");
    assert_eq!(check_cap_of(&inbox, CAP_SAMPLING, 4, u64::MAX).unwrap_err().code(), "inbox_full");
    // From now on everybody sees the mark without counting.
    let error = deposit(&inbox, &event(5), &FixedClock::at(Timestamp::EPOCH), Deposit::Os);
    // One in 256 counts for itself and finds that the real cap is far away.
    if let Err(error) = error {
        assert_eq!(error.code(), "inbox_full");
        count_failure(&inbox, &error, &SystemClock).unwrap();
        assert_eq!(failed::read(&inbox).unwrap().reason, "inbox_full");
    }
    let (store, _) = open(&dir);
    assert!(!inbox.join(FULL_MARK).exists());
    put(&dir, 6);
    assert_eq!(store.drain_inbox().unwrap().events, 1);
    assert_eq!(check_cap_of(&inbox, CAP_SAMPLING, 4, 0).unwrap_err().code(), "inbox_full");
}

#[test]
fn a_durable_deposit_is_the_same_file() {
    let (_parent, dir) = data_dir();
    deposit(&dir.inbox(), &event_with_id(uuid(9)), &SystemClock, Deposit::Disk).unwrap();
    let (store, _) = open(&dir);
    assert_eq!(ids(&store), [9]);
}
