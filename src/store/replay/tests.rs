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

/// Of a kind that is not wanted nothing but the kind is read; what names no kind at all is told to everybody.
#[test]
fn kinds_that_are_not_wanted_are_counted_and_not_looked_into() {
    let (store, log) = ten();
    let mut broken = event(11).encode();
    *broken.last_mut().unwrap() = b'!';
    for record in [broken.as_slice(), b""] {
        log.append(&[record], Level::Disk, None, second(11)).unwrap().wait().unwrap();
    }
    let told = |replay: &mut Replay| match replay.next().unwrap() {
        Some(Item::Undecodable(record)) => (record.seq.get(), record.kind()),
        met => panic!("{met:?}"),
    };
    let none = |kind: Option<Kind>| kind.is_none();
    let mut replay = store.replay(Seq::new(4)).of_kinds(none);
    assert_eq!(told(&mut replay), (12, None));
    assert_eq!((replay.next().unwrap(), replay.passed()), (None, 8));
    let notifications = |kind: Option<Kind>| kind == Some(Kind::NotificationRaised);
    let mut replay = store.replay(Seq::new(11)).of_kinds(notifications);
    assert_eq!(told(&mut replay), (11, Some(Some(Kind::NotificationRaised))));
    assert_eq!(seqs(store.replay(Seq::new(4)).of_kinds(notifications)), (4..=12).collect::<Vec<u64>>());
    assert_eq!(store.session("session-a").unwrap().len(), 10, "what is no event is of no session");
}

/// Memory is used again and nothing of what was in it is left, whatever follows upon what.
#[test]
fn an_item_over_another_is_as_one_alone() {
    let (store, log) = ten();
    let mut full =
        event(20).with_agent("agent").with_project("project").with_causation(uuid::Uuid::from_u128(7));
    full.cut.push(crate::event::Cut { pointer: "/a".into(), bytes: 9 });
    full.ext.push(crate::event::Ext { tag: 9, bytes: vec![1] });
    let bare = Event { session: None, ..event(21) };
    let mut newer = event(22).encode();
    newer[0] += 1;
    for record in [full.encode(), bare.encode(), newer, full.encode(), b"".to_vec(), bare.encode()] {
        log.append(&[&record], Level::Disk, None, second(11)).unwrap().wait().unwrap();
    }
    log.damage(Seq::new(3));
    let (mut alone, mut over, mut item) = (store.replay(Seq::FIRST), store.replay(Seq::FIRST), Item::blank());
    let mut met = 0;
    while let Some(expected) = alone.next().unwrap() {
        assert!(over.next_over(&mut item).unwrap());
        assert_eq!(item, expected);
        met += 1;
    }
    assert!(!over.next_over(&mut item).unwrap());
    assert_eq!(met, 16);
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
