//! Subscriptions against the list of what was emitted: no gap, no double, whatever the interleaving.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::store::Store;
use crate::store::log::{GapReason, Level, MemoryLog};
use crate::store::testing::{event, event_with_id, memory_store, uuid};

fn emit(store: &Store, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        store.emit(vec![event_with_id(uuid(id.into()))], Level::Os, None).unwrap().wait().unwrap();
    }
}

fn only(session: &str) -> Filter {
    Filter::from_pairs([("session", session)]).unwrap()
}

fn drain(subscription: &mut Subscription) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Some(delivery) = subscription.try_next().unwrap() {
        match delivery {
            Delivery::Event(stored) => seqs.push(stored.seq.get()),
            Delivery::Lag { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    seqs
}

#[derive(Debug, Clone)]
enum Action {
    Emit(u8),
    Hold(bool),
    Subscribe(u8),
    Read { who: u8, at_most: u8 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (1u8..30).prop_map(Action::Emit),
        1 => any::<bool>().prop_map(Action::Hold),
        1 => any::<u8>().prop_map(Action::Subscribe),
        4 => (any::<u8>(), 1u8..40).prop_map(|(who, at_most)| Action::Read { who, at_most }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_interleaving_of_emits_and_subscribers_delivers_each_later_event_once_in_order(
        actions in prop::collection::vec(action(), 1..60)
    ) {
        let (store, log) = memory_store();
        let mut emitted = 0;
        let mut subscribers: Vec<(u64, Subscription, Vec<u64>)> = Vec::new();
        for action in actions {
            match action {
                Action::Emit(count) => {
                    for _ in 0..count {
                        emitted += 1;
                        let pending = store.emit(vec![event(emitted)], Level::Os, None).unwrap();
                        prop_assert_eq!(pending.seqs()[0].get(), u64::try_from(emitted).unwrap());
                    }
                }
                Action::Hold(held) => log.hold(held),
                Action::Subscribe(at) => {
                    let from = u64::from(at) % store.tail().get() + 1;
                    let subscription = store.subscribe(Seq::new(from), Filter::all()).unwrap();
                    subscribers.push((from, subscription, Vec::new()));
                }
                Action::Read { who, at_most } if !subscribers.is_empty() => {
                    let count = subscribers.len();
                    let (_, subscription, seen) = &mut subscribers[usize::from(who) % count];
                    for _ in 0..at_most {
                        let Some(delivery) = subscription.try_next().unwrap() else { break };
                        let Delivery::Event(stored) = delivery else { panic!("{delivery:?}") };
                        prop_assert!(stored.seq <= log.durable(), "visible means durable");
                        seen.push(stored.seq.get());
                    }
                    if at_most % 2 == 0 {
                        subscription.lay_down();
                    }
                }
                Action::Read { .. } => {}
            }
        }
        log.hold(false);
        let last = u64::try_from(emitted).unwrap();
        for (from, mut subscription, mut seen) in subscribers {
            seen.extend(drain(&mut subscription));
            prop_assert_eq!(seen, (from..=last).collect::<Vec<u64>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_start_while_events_arrive_see_each_once_and_end_with_the_store() {
    let (store, _log) = memory_store();
    let mut tasks = tokio::task::JoinSet::new();
    for start in 0..20u64 {
        let store = store.clone();
        tasks.spawn(async move {
            while store.tail().get() < start * 50 {
                tokio::task::yield_now().await;
            }
            let from = store.tail();
            let mut subscription = store.subscribe(from, Filter::all()).unwrap();
            let mut seen = Vec::new();
            while let Some(Delivery::Event(stored)) = subscription.next().await.unwrap() {
                seen.push(stored.seq.get());
            }
            assert!(subscription.is_finished());
            (from.get(), seen)
        });
    }
    let emitter = store.clone();
    tokio::task::spawn_blocking(move || emit(&emitter, 1..=1500)).await.unwrap();
    store.close().unwrap();
    for (from, seen) in tasks.join_all().await {
        assert_eq!(seen, (from..=1500).collect::<Vec<u64>>());
    }
}

#[test]
fn a_cursor_from_the_future_is_an_error_and_the_next_seq_is_not() {
    let (store, log) = memory_store();
    emit(&store, 1..=3);
    assert!(store.subscribe(Seq::new(4), Filter::all()).is_ok());
    let error = store.subscribe(Seq::new(5), Filter::all()).err().unwrap();
    assert!(matches!(error, Error::CursorAhead { asked: 4, last: 3 }), "{error:?}");
    // One that was given out but is not durable yet is not the future.
    log.hold(true);
    let _on_its_way = store.emit(vec![event(4)], Level::Os, None).unwrap();
    assert!(store.subscribe(Seq::new(5), Filter::all()).is_ok());
    assert!(store.subscribe(Seq::MAX, Filter::all()).is_err());
}

#[test]
fn dropped_and_damaged_seqs_are_gaps_in_their_place() {
    let (store, log) = memory_store();
    emit(&store, 1..=10);
    log.retain_from(Seq::new(4));
    log.damage(Seq::new(6));
    let mut subscription = store.subscribe(Seq::new(2), Filter::all()).unwrap();
    let gap = |from, to, reason| Delivery::Gap(Gap { from: Seq::new(from), to: Seq::new(to), reason });
    assert_eq!(subscription.try_next().unwrap(), Some(gap(2, 3, GapReason::Retention)));
    let mut seqs = Vec::new();
    while let Some(delivery) = subscription.try_next().unwrap() {
        match delivery {
            Delivery::Event(stored) => seqs.push(stored.seq.get()),
            other => assert_eq!(other, gap(6, 6, GapReason::Corruption)),
        }
    }
    assert_eq!(seqs, [4, 5, 7, 8, 9, 10]);
}

#[test]
fn a_record_that_is_no_event_is_delivered_as_what_it_is() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::pretending(crate::store::testing::journal_id()));
    log.append(&[b""], Level::Os, None, crate::event::Timestamp::EPOCH).unwrap().wait().unwrap();
    let mut subscription = Subscription::new(&log, Seq::FIRST, only("nobody")).unwrap();
    assert!(matches!(subscription.try_next().unwrap(), Some(Delivery::Undecodable(_))));
    assert_eq!(subscription.cursor(), Seq::FIRST);
}

#[test]
fn a_filter_that_matches_nothing_still_moves_the_cursor() {
    let (store, _log) = memory_store();
    emit(&store, 1..=2500);
    let mut subscription = store.subscribe(Seq::FIRST, only("nobody")).unwrap();
    let checkpoint = |seq| Some(Delivery::Checkpoint { seq: Seq::new(seq) });
    assert_eq!(subscription.try_next().unwrap(), checkpoint(1000));
    assert_eq!(subscription.try_next().unwrap(), checkpoint(2000));
    assert_eq!(subscription.try_next().unwrap(), None);
    assert_eq!(subscription.cursor(), Seq::new(2500));
    // Control: the same events with a filter that matches.
    assert_eq!(drain(&mut store.subscribe(Seq::FIRST, only("session-a")).unwrap()).len(), 2500);
}

#[test]
fn who_falls_behind_after_catching_up_is_told_once_and_loses_nothing() {
    let (store, _log) = memory_store();
    emit(&store, 1..=10);
    let mut slow = store.subscribe(Seq::FIRST, Filter::all()).unwrap();
    assert_eq!(drain(&mut slow).len(), 10);
    emit(&store, 11..=11 + LAG_EVENTS_MAX);
    assert_eq!(slow.try_next().unwrap(), Some(Delivery::Lag { behind: LAG_EVENTS_MAX + 1 }));
    let rest = drain(&mut slow);
    assert_eq!(rest, (11..=11 + LAG_EVENTS_MAX).collect::<Vec<u64>>());
    // One that starts behind replays, and is not behind anything.
    let mut replaying = store.subscribe(Seq::FIRST, Filter::all()).unwrap();
    assert!(matches!(replaying.try_next().unwrap(), Some(Delivery::Event(_))));
}

#[test]
fn blocking_waits_end_with_an_event_or_with_the_time() {
    let (store, _log) = memory_store();
    let mut subscription = store.subscribe(Seq::FIRST, Filter::all()).unwrap();
    assert_eq!(subscription.wait_next(Duration::from_millis(10)).unwrap(), None);
    let emitter = store.clone();
    let thread = std::thread::spawn(move || emit(&emitter, [1]));
    let delivery = subscription.wait_next(Duration::from_secs(10)).unwrap();
    assert!(matches!(delivery, Some(Delivery::Event(stored)) if stored.seq == Seq::FIRST));
    thread.join().unwrap();
}

#[test]
fn who_has_laid_down_its_reader_goes_on_where_it_was_and_only_a_few_readers_are_kept() {
    let (store, _log) = memory_store();
    emit(&store, 1..=3000);
    let mut subscriptions: Vec<_> =
        (0..50).map(|_| store.subscribe(Seq::FIRST, Filter::all()).unwrap()).collect();
    for turn in 0..20 {
        for (at, subscription) in subscriptions.iter_mut().enumerate() {
            for n in 0..at as u64 {
                let Some(Delivery::Event(stored)) = subscription.try_next().unwrap() else { panic!("more") };
                assert_eq!(stored.seq.get(), turn * at as u64 + n + 1);
            }
            subscription.lay_down();
            assert!(subscription.reader.is_none());
        }
    }
    assert!(store.inner.shared.readers_kept() <= 8, "{}", store.inner.shared.readers_kept());
    let mut back = subscriptions.pop().unwrap();
    back.go_to(Seq::new(6));
    assert!(matches!(back.try_next().unwrap(), Some(Delivery::Event(stored)) if stored.seq.get() == 7));
}

#[test]
fn subscribers_near_the_live_end_share_one_copy() {
    let (store, _log) = memory_store();
    emit(&store, 1..=5);
    let next = |subscription: &mut Subscription| match subscription.try_next().unwrap() {
        Some(Delivery::Event(stored)) => stored,
        other => panic!("{other:?}"),
    };
    let mut first = store.subscribe(Seq::FIRST, Filter::all()).unwrap();
    let mut second = store.subscribe(Seq::FIRST, Filter::all()).unwrap();
    assert!(Arc::ptr_eq(&next(&mut first), &next(&mut second)));
}
