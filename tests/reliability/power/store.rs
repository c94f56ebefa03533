//! The power fails while a store makes its place, or right after it acknowledged its first events: the names of the directories
//! that lead to them must be as durable as the events are.

use super::{PLACE, disk::PowerDisk, mounted, say, unmount};
use crate::child;
use crate::support::Running;
use crate::world::{Dice, tell};
use mnemosyne::clock::SystemClock;
use mnemosyne::config::{DataDir, Settings};
use mnemosyne::event::{Event, Seq, Source, Timestamp, payload};
use mnemosyne::store::{Item, Level, Opening, Pending, Store};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use uuid::Uuid;

/// Every operation of a child that makes a store and emits, and some more that are never reached.
const STEPS: u64 = 60;
const EVENTS: u128 = 3;

fn event(n: u128) -> Event {
    let source = Source { program: "test".into(), host: "here".into(), pid: 7 };
    let payload = payload::NotificationRaised {
        message: format!("event {n}"),
        notification_type: "test".into(),
        title: None,
    };
    Event::new(Uuid::from_u128(n), Timestamp::from_micros(1), "session", source, payload)
}

/// Two directories that are not there yet, and the data directory in them.
fn data_dir(place: &Path) -> DataDir {
    DataDir::at(place.join("home/project/data"))
}

fn open(place: &Path) -> Result<Store, mnemosyne::error::Error> {
    let opening = Opening::command("session", Arc::new(SystemClock), Settings::default());
    Store::open(&data_dir(place), opening).map(|(store, _)| store)
}

/// The child's part: make the store, emit, say what was acknowledged, and die without a stop.
pub(crate) fn emit_until_the_power_fails() {
    // The test runner has begun a line.
    say("begins");
    let place = std::env::var(PLACE).expect("the place is named");
    let store = match open(Path::new(&place)) {
        Ok(store) => store,
        Err(error) => return say(&format!("not opened: {error}")),
    };
    for n in 1..=EVENTS {
        let Ok(emitted) = store.emit(vec![event(n)], Level::Disk, None).and_then(Pending::wait) else {
            return;
        };
        say(&format!("kept {n} {}", emitted.seqs[0]));
    }
    // As a kill would: nothing is given back or said.
    std::mem::forget(store);
}

/// Cuts the power at the `step`th operation of the child, or behind its last; how much was acknowledged, or what of it is gone.
fn cut_at(disk: &PowerDisk, place: &Path, step: u64, dice: &mut Dice) -> Result<usize, String> {
    disk.format();
    disk.fail_at(step);
    let mut command = child::command("store");
    let ran = Running::start(command.env(PLACE, place).stdout(Stdio::piped()).stderr(Stdio::piped())).wait();
    assert_eq!(ran.code, Some(0), "a child ends well whatever its disk does: {ran}");
    disk.restore(dice);
    let number = |word: &str| word.parse::<u64>().expect("a number");
    let kept: Vec<(u64, u64)> = ran
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("power: kept ")?.split_once(' '))
        .map(|(n, seq)| (number(n), number(seq)))
        .collect();
    if kept.is_empty() {
        return Ok(0);
    }
    let store = open(place).map_err(|error| format!("{kept:?} were acknowledged, and {error}"))?;
    let mut replay = store.replay(Seq::FIRST);
    let mut found = Vec::new();
    while let Some(item) = replay.next().map_err(|error| error.to_string())? {
        if let Item::Event(stored) = item {
            found.push((stored.event.id.as_u128(), stored.seq.get()));
        }
    }
    store.close().map_err(|error| error.to_string())?;
    match kept.iter().find(|(n, seq)| !found.contains(&(u128::from(*n), *seq))) {
        Some(gone) => Err(format!("{gone:?} was acknowledged, there is {found:?}")),
        None => Ok(kept.len()),
    }
}

/// Cuts at every step; what was acknowledged in all, and the first thing that was gone.
fn every_step(test: &str, forgets_names: bool) -> Option<(usize, Option<String>)> {
    let (disk, session, dir) = mounted(test, false)?;
    if forgets_names {
        disk.forget_names();
    }
    let mut dice = Dice::thrown(test);
    let (mut acknowledged, mut wrong) = (0, None);
    for step in (1..=STEPS).chain([100_000]) {
        match cut_at(&disk, dir.path(), step, &mut dice) {
            Ok(count) => acknowledged += count,
            Err(what) => wrong = wrong.or(Some(format!("cut at step {step}: {what}"))),
        }
    }
    unmount(session, dir.path());
    Some((acknowledged, wrong))
}

#[test]
fn a_store_that_was_just_made_is_still_there_with_all_that_it_acknowledged() {
    let Some((acknowledged, wrong)) = every_step("power cuts while a store is made", false) else { return };
    tell(&format!("{acknowledged} events acknowledged by stores that were just made"));
    assert_eq!(wrong, None);
    assert!(acknowledged >= usize::try_from(EVENTS).expect("few"), "no child had a whole life");
}

#[test]
fn control_a_store_whose_directories_are_not_flushed_is_gone_and_that_is_noticed() {
    let Some((_, wrong)) = every_step("power cuts on a disk that forgets names", true) else {
        return;
    };
    assert!(wrong.is_some(), "a harness that cannot go red proves nothing");
}
