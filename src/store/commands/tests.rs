//! Killed commands are ended, once; living and ended ones are left alone.

use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::config::{DataDir, Settings};
use crate::event::Source;
use crate::store::inbox::{self, Deposit};
use crate::store::{Item, Opening, Store};

fn open(dir: &DataDir) -> Store {
    let opening = Opening::command("test", Arc::new(SystemClock), Settings::default());
    Store::open(dir, Opening { tells: false, ..opening }).unwrap().0
}

fn start(pid: u32) -> Event {
    let source = Source { pid, ..clock::this_source("mnemosyne") };
    let payload = payload::CliCommandStarted { command: "import".into(), args: Vec::new() };
    Event::new(clock::new_id(&SystemClock), SystemClock.now(), "one", source, payload).with_session("s")
}

fn end_of(start: &Event) -> Event {
    let payload = payload::CliCommandCompleted {
        command: "import".into(),
        duration_ms: 1,
        result_summary: String::new(),
    };
    let id = clock::new_id(&SystemClock);
    Event::new(id, SystemClock.now(), "one", start.source.clone(), payload)
        .with_correlation(start.correlation)
}

fn put(dir: &DataDir, event: &Event) {
    inbox::deposit(&dir.inbox(), event, &SystemClock, Deposit::Os).unwrap();
}

/// Correlations of the inferred ends in the journal.
fn inferred(store: &Store) -> Vec<Uuid> {
    let mut found = Vec::new();
    let mut replay = store.replay(Seq::FIRST);
    while let Some(Item::Event(stored)) = replay.next().unwrap() {
        if let Some(Ok(failed)) = stored.event.payload_as::<payload::CliCommandFailed>() {
            assert_eq!(failed.inferred, Some(true));
            assert_eq!(stored.event.session.as_deref(), Some("s"));
            found.push(stored.event.correlation);
        }
    }
    found
}

#[test]
fn a_killed_command_is_ended_once_by_whoever_drains_next() {
    for keep_index in [true, false] {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::at(parent.path().join("data"));
        dir.create().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (killed, living, ended) = (start(child.id()), start(std::process::id()), start(child.id()));
        for event in [&killed, &living, &ended, &end_of(&ended)] {
            put(&dir, event);
        }
        let store = open(&dir);
        assert!(inferred(&store).is_empty(), "it lives");
        store.close().unwrap();

        child.kill().unwrap();
        child.wait().unwrap();
        if !keep_index {
            std::fs::remove_dir_all(dir.index()).unwrap();
        }
        for _ in 0..2 {
            let store = open(&dir);
            assert_eq!(inferred(&store), [killed.correlation]);
            store.drain_inbox().unwrap();
            assert_eq!(inferred(&store), [killed.correlation]);
            store.close().unwrap();
        }
    }
}

/// The mark and the journal both tell that a run was killed. Whoever comes first ends it, and nobody ends it again.
#[test]
fn a_killed_command_that_left_a_mark_is_ended_once_by_readers_and_writers_together() {
    for reader_first in [true, false] {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::at(parent.path().join("data"));
        dir.create().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let killed = start(child.id());
        let mark = format!("running-{}-1-{}", child.id(), killed.id.simple());
        put(&dir, &killed);
        child.kill().unwrap();
        child.wait().unwrap();
        // A reader meets the start before it meets the mark, as one does that lists the inbox while it is left.
        let leave_mark = || {
            std::fs::write(dir.inbox().join(&mark), inbox::frame::encode(&killed.encode()).unwrap()).unwrap();
        };
        if !reader_first {
            leave_mark();
        }
        open(&dir).close().unwrap();
        if reader_first {
            leave_mark();
        }
        let (store, _) =
            Store::open(&dir, Opening::command("test", Arc::new(SystemClock), Settings::default())).unwrap();
        assert_eq!(inferred(&store), [killed.correlation], "reader first: {reader_first}");
        store.close().unwrap();
    }
}

#[test]
fn a_run_killed_between_its_mark_and_its_start_is_on_record_with_both_ends() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::at(parent.path().join("data"));
    dir.create().unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let killed = start(child.id());
    child.wait().unwrap();
    let mark = dir.inbox().join(format!("running-{}-1-{}", child.id(), killed.id.simple()));
    std::fs::write(mark, inbox::frame::encode(&killed.encode()).unwrap()).unwrap();
    let store = open(&dir);
    let Some(Item::Event(first)) = store.get(Seq::FIRST).unwrap() else { panic!() };
    assert_eq!(first.event.id, killed.id);
    assert_eq!(inferred(&store), [killed.correlation]);
}

#[test]
fn a_command_whose_pid_was_given_to_a_later_process_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::at(parent.path().join("data"));
    dir.create().unwrap();
    let mut commands = Commands { open: BTreeMap::new(), host: clock::this_source("").host };
    let mut long_ago = start(std::process::id());
    commands.note(&long_ago.encode());
    assert!(commands.gone(&dir.inbox()).is_empty(), "control: this process began before the command");
    long_ago.time = Timestamp::from_micros(long_ago.time.as_micros() - 86_400_000_000);
    commands.note(&long_ago.encode());
    assert_eq!(commands.gone(&dir.inbox()), [long_ago.correlation]);
    // The clock may have been set in between: a process that still has its mark is this very one.
    let mark = running::mark(&dir.inbox(), &long_ago).unwrap();
    assert!(commands.gone(&dir.inbox()).is_empty());
    mark.clear().unwrap();
    assert_eq!(commands.gone(&dir.inbox()), [long_ago.correlation]);
}

#[test]
fn commands_of_other_machines_are_not_judged_and_the_number_is_bounded() {
    let mut commands = Commands { open: BTreeMap::new(), host: "here".into() };
    let mut event = start(1);
    event.source.host = "elsewhere".into();
    commands.note(&event.encode());
    assert!(commands.open.is_empty());
    for n in 0..u128::try_from(OPEN_MAX).unwrap() + 10 {
        let mut event = start(1).with_correlation(Uuid::from_u128(n));
        event.source.host = "here".into();
        event.time = Timestamp::from_micros(i64::try_from(n).unwrap());
        commands.note(&event.encode());
    }
    assert_eq!(commands.open.len(), OPEN_MAX);
    assert!(
        !commands.open.contains_key(&Uuid::from_u128(9)) && commands.open.contains_key(&Uuid::from_u128(10))
    );
}
