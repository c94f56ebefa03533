//! What an opening tells: once, not too often, and never on behalf of a reader.

use super::*;
use crate::clock::{FixedClock, SystemClock};
use crate::config::Env;
use crate::store::inbox::{self, Deposit, frame};
use crate::store::testing::{event, uuid};
use crate::store::{Item, Replay, read};

fn data_dir() -> (tempfile::TempDir, DataDir) {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::at(parent.path().join("data"));
    dir.create().unwrap();
    (parent, dir)
}

fn clock() -> Arc<FixedClock> {
    // Near the machine's, which readers go by.
    Arc::new(FixedClock::at(SystemClock.now()))
}

fn open_at(dir: &DataDir, clock: &Arc<FixedClock>) -> (Store, Opened) {
    Store::open(dir, Opening::command("test", clock.clone(), Settings::default())).unwrap()
}

fn events_of(mut replay: Replay, kind: Kind) -> Vec<Event> {
    let mut found = Vec::new();
    while let Some(item) = replay.next().unwrap() {
        match item {
            Item::Event(stored) if stored.event.kind == kind => found.push(stored.event),
            _ => {}
        }
    }
    found
}

fn told(store: &Store, kind: Kind) -> Vec<Event> {
    events_of(store.replay(Seq::FIRST), kind)
}

fn emit(store: &Store, n: u128) {
    store.emit(vec![event(n)], Level::Disk, None).unwrap().wait().unwrap();
}

/// Adds bytes of a batch that was never finished.
fn tear(dir: &DataDir) -> u64 {
    let last = segments(dir).pop().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.extend_from_slice(&[0xA5; 100]);
    std::fs::write(last, bytes).unwrap();
    100
}

fn segments(dir: &DataDir) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(dir.journal()).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    files.sort();
    files
}

#[test]
fn a_crash_is_told_once_and_an_orderly_stop_never() {
    let (_parent, dir) = data_dir();
    let clock = clock();
    let (store, opened) = open_at(&dir, &clock);
    assert!(opened.created && opened.clean);
    emit(&store, 1);
    drop(store);
    let torn = tear(&dir);
    let (store, opened) = open_at(&dir, &clock);
    assert_eq!((opened.clean, opened.torn_bytes), (false, torn));
    let recovered = told(&store, Kind::JournalRecovered);
    assert_eq!(recovered.len(), 1);
    let payload = recovered[0].payload_as::<payload::JournalRecovered>().unwrap().unwrap();
    assert_eq!((payload.torn_bytes, payload.damaged_ranges, payload.tail_seq), (torn, 0, 2));
    let kept = payload.quarantine_file.unwrap();
    assert!(dir.journal().join(&kept).exists(), "{kept}");
    store.close().unwrap();
    clock.advance(3_600_000_000);
    let (store, opened) = open_at(&dir, &clock);
    assert!(opened.clean);
    assert_eq!(told(&store, Kind::JournalRecovered).len(), 1);
    store.close().unwrap();
}

/// What was cut is told each time: it lies in quarantine, and nobody would look for it there.
#[test]
fn a_torn_tail_is_told_however_lately_another_was() {
    let (_parent, dir) = data_dir();
    let clock = clock();
    for n in 1..=4 {
        let (store, _) = open_at(&dir, &clock);
        emit(&store, n);
        drop(store);
        let torn = tear(&dir);
        let (store, opened) = open_at(&dir, &clock);
        assert_eq!(opened.torn_bytes, torn);
        let recovered = told(&store, Kind::JournalRecovered);
        let with_bytes =
            |event: &&Event| event.payload_as::<payload::JournalRecovered>().unwrap().unwrap().torn_bytes > 0;
        assert_eq!(recovered.iter().filter(with_bytes).count(), usize::try_from(n).unwrap());
        drop(store);
        clock.advance(1_000_000);
    }
}

#[test]
fn a_process_that_dies_again_and_again_is_told_once_a_minute() {
    let (_parent, dir) = data_dir();
    let clock = clock();
    for n in 0..20 {
        let (store, _) = open_at(&dir, &clock);
        emit(&store, n + 1);
        assert_eq!(told(&store, Kind::JournalRecovered).len(), usize::from(n > 0));
        clock.advance(2_000_000);
    }
    clock.advance(60_000_000);
    let (store, _) = open_at(&dir, &clock);
    assert_eq!(told(&store, Kind::JournalRecovered).len(), 2);
    drop(store);
    // A clock that was set back does not silence it for as long.
    clock.advance(-86_400_000_000);
    let (store, _) = open_at(&dir, &clock);
    assert_eq!(told(&store, Kind::JournalRecovered).len(), 3);
    drop(store);
    let (store, _) = open_at(&dir, &clock);
    assert_eq!(told(&store, Kind::JournalRecovered).len(), 3, "and does not make it talk");
}

#[test]
fn damage_is_told_once_a_range_by_whoever_may_tell_first() {
    for reader_first in [false, true] {
        let (_parent, dir) = data_dir();
        let clock = clock();
        let (store, _) = open_at(&dir, &clock);
        (1..=5).for_each(|n| emit(&store, n));
        drop(store);
        let segment = segments(&dir).pop().unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        let needle = format!("event {}", uuid(2));
        let at = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&segment, bytes).unwrap();
        if reader_first {
            inbox::deposit(&dir.inbox(), &event(6), &*clock, Deposit::Os).unwrap();
            let view = read(&dir, &Env::default()).unwrap();
            assert!(events_of(view.replay(Seq::FIRST), Kind::CorruptionDetected).is_empty());
            assert_eq!(view.waiting(), 0, "it has drained");
        }
        for _ in 0..3 {
            let (store, _) = open_at(&dir, &clock);
            let found = told(&store, Kind::CorruptionDetected);
            assert_eq!(found.len(), 1, "reader first: {reader_first}");
            let payload = found[0].payload_as::<payload::CorruptionDetected>().unwrap().unwrap();
            assert_eq!((payload.from_seq, payload.to_seq), (2, 2));
            assert_eq!(segment.file_name().unwrap().to_str(), Some(payload.segment.as_str()));
            assert_eq!(told(&store, Kind::JournalRecovered).len(), 1);
        }
    }
}

#[test]
fn a_reader_appends_nothing_of_its_own_and_the_next_writer_tells_what_it_found() {
    let (_parent, dir) = data_dir();
    let clock = clock();
    let (store, _) = open_at(&dir, &clock);
    emit(&store, 1);
    drop(store);
    let torn = tear(&dir);
    for n in 2..=4 {
        inbox::deposit(&dir.inbox(), &event(n), &*clock, Deposit::Os).unwrap();
        let view = read(&dir, &Env::default()).unwrap();
        let mut replay = view.replay(Seq::FIRST);
        let mut ids = Vec::new();
        while let Some(Item::Event(stored)) = replay.next().unwrap() {
            ids.push(stored.event.id.as_u128());
        }
        assert_eq!(ids, (1..=n).collect::<Vec<u128>>());
    }
    let (store, opened) = open_at(&dir, &clock);
    assert!(opened.clean, "the reader closed it in order");
    let recovered = told(&store, Kind::JournalRecovered);
    assert_eq!(recovered.len(), 1);
    let payload = recovered[0].payload_as::<payload::JournalRecovered>().unwrap().unwrap();
    assert_eq!(payload.torn_bytes, torn);
    store.close().unwrap();
    clock.advance(3_600_000_000);
    let (store, _) = open_at(&dir, &clock);
    assert_eq!(told(&store, Kind::JournalRecovered).len(), 1, "once");
    assert!(untold::left(&dir.inbox()).unwrap().is_empty());
}

#[test]
fn what_this_process_and_its_parent_just_put_there_is_no_backlog() {
    let (_parent, dir) = data_dir();
    let clock = clock();
    let parent = u32::try_from(rustix::process::getppid().unwrap().as_raw_nonzero().get()).unwrap();
    let put = |n: u128, pid: u32| {
        let name = format!("{n:020}-{pid}-0a");
        std::fs::write(dir.inbox().join(name), frame::encode(&event(n).encode()).unwrap()).unwrap();
    };
    put(1, std::process::id());
    put(2, parent);
    let (store, opened) = open_at(&dir, &clock);
    assert_eq!((opened.drained.events, opened.drained.own), (2, 2));
    assert!(told(&store, Kind::InboxDrained).is_empty());
    store.close().unwrap();
    put(3, 1);
    put(4, std::process::id());
    let (store, _) = open_at(&dir, &clock);
    let drained = told(&store, Kind::InboxDrained);
    assert_eq!(drained.len(), 1);
    assert_eq!(drained[0].summary(), "inbox_drained: 2 events, 0 known before, 0 quarantined");
    store.close().unwrap();
    // Not more often than once a minute.
    put(5, 1);
    let (store, _) = open_at(&dir, &clock);
    assert_eq!(told(&store, Kind::InboxDrained).len(), 1);
    store.close().unwrap();
    clock.advance(61_000_000);
    put(6, 1);
    let (store, _) = open_at(&dir, &clock);
    assert_eq!(told(&store, Kind::InboxDrained).len(), 2);
}

#[test]
fn a_close_clears_the_notes_that_nobody_came_for() {
    let ((_parent, dir), clock) = (data_dir(), clock());
    let (store, _) = open_at(&dir, &clock);
    let note = |n: u128| {
        let mut report = event(n);
        report.session = Some(format!("session {n}"));
        inbox::meeting::agree(&dir.inbox(), &mut report, None, inbox::meeting::Voice::Hook, &*clock).unwrap();
    };
    let notes = || {
        let names = std::fs::read_dir(dir.inbox()).unwrap().map(|found| found.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("meet-")).count()
    };
    note(1);
    clock.advance(2 * inbox::meeting::MEETING_SECONDS_MAX * 1_000_000);
    note(2);
    assert_eq!(notes(), 2);
    store.close().unwrap();
    assert_eq!(notes(), 1, "the other report of the second may still come");
}
