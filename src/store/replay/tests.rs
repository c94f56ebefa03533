//! Replay by seq with its bounds, and a session in the order of its time.

use std::sync::Arc;

use super::*;
use crate::clock::FixedClock;
use crate::store::Store;
use crate::store::log::{GapReason, Level, MemoryLog};
use crate::store::testing::{event, journal_id};

/// Ten events, recorded a second apart from second 1 on.
fn ten() -> (Store, MemoryLog) {
    let log = MemoryLog::pretending(journal_id());
    let clock = Arc::new(FixedClock::at(Timestamp::EPOCH));
    let store = Store::over(Arc::new(log.clone()), clock.clone(), "test");
    for n in 1..=10 {
        clock.advance(1_000_000);
        store.emit(vec![event(n)], Level::Os, None).unwrap().wait().unwrap();
    }
    (store, log)
}

fn second(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn seqs(mut replay: Replay) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Some(item) = replay.next().unwrap() {
        seqs.push(item.last().get());
    }
    seqs
}

#[test]
fn bounds_by_seq_and_by_time_include_their_ends() {
    let (store, _log) = ten();
    assert_eq!(seqs(store.replay(Seq::ZERO)), (1..=10).collect::<Vec<u64>>());
    assert_eq!(seqs(store.replay(Seq::new(8))), [8, 9, 10]);
    assert_eq!(seqs(store.replay(Seq::new(3)).through(Seq::new(5))), [3, 4, 5]);
    assert_eq!(seqs(store.replay(Seq::FIRST).since(second(4)).unwrap().until(second(6))), [4, 5, 6]);
    assert_eq!(
        seqs(store.replay(Seq::new(7)).since(second(4)).unwrap()),
        [7, 8, 9, 10],
        "the later start counts"
    );
    assert!(seqs(store.replay(Seq::FIRST).since(second(11)).unwrap()).is_empty());
    assert!(seqs(store.replay(Seq::new(99))).is_empty());
}

#[test]
fn gaps_pass_every_filter_and_are_clipped_to_the_range() {
    let (store, log) = ten();
    log.retain_from(Seq::new(6));
    let nobody = Filter::from_pairs([("session", "nobody")]).unwrap();
    let mut replay = store.replay(Seq::new(2)).filtered(nobody).through(Seq::new(3));
    let gap = Gap { from: Seq::new(2), to: Seq::new(3), reason: GapReason::Retention };
    assert_eq!(replay.next().unwrap(), Some(Item::Gap(gap)));
    assert_eq!(replay.next().unwrap(), None);
}

/// A kind that is not wanted costs no event, and hides none that is broken.
#[test]
fn kinds_that_are_not_wanted_are_counted_and_their_faults_are_told() {
    let (store, log) = ten();
    let mut broken = event(11).encode();
    *broken.last_mut().unwrap() = b'!';
    let ticket = log.append(&[&broken], Level::Disk, None, second(11)).unwrap();
    ticket.wait().unwrap();
    let none = |kind: Option<Kind>| kind.is_none();
    let mut replay = store.replay(Seq::new(4)).of_kinds(none);
    let met = replay.next().unwrap();
    assert!(
        matches!(met, Some(Item::Undecodable(Undecodable { seq, .. })) if seq == Seq::new(11)),
        "{met:?}"
    );
    assert_eq!((replay.next().unwrap(), replay.passed()), (None, 7));
    let notifications = |kind: Option<Kind>| kind == Some(Kind::NotificationRaised);
    assert_eq!(seqs(store.replay(Seq::new(4)).of_kinds(notifications)), (4..=11).collect::<Vec<u64>>());
    assert_eq!(store.session("session-a").unwrap().len(), 10, "what is no event is of no session");
}

#[test]
fn a_session_is_read_by_time_and_then_by_seq() {
    let (store, _log) = ten();
    for (id, time) in [(20, 50), (21, 30), (22, 50), (23, 40)] {
        let mut late = event(id).with_session("late");
        late.time = second(time);
        store.emit(vec![late], Level::Os, None).unwrap().wait().unwrap();
    }
    let mut order = store.session("late").unwrap();
    assert_eq!((order.len(), order.last_seq()), (4, Some(Seq::new(14))));
    let mut ids = Vec::new();
    while let Some(stored) = order.next().unwrap() {
        ids.push(stored.event.id.as_u128());
    }
    assert_eq!(ids, [21, 23, 20, 22]);
    assert!(store.session("nobody").unwrap().is_empty());
}

#[test]
fn one_seq_is_an_event_a_gap_or_nothing() {
    let (store, log) = ten();
    log.damage(Seq::new(4));
    assert!(matches!(store.get(Seq::new(3)).unwrap(), Some(Item::Event(_))));
    assert!(matches!(store.get(Seq::new(4)).unwrap(), Some(Item::Gap(_))));
    assert_eq!(store.get(Seq::new(11)).unwrap(), None);
}
