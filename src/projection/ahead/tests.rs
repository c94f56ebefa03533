//! Whoever takes events in sees the same on one core and on two.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::*;
use crate::error::Error;
use crate::event::{Event, Seq, Timestamp};
use crate::store::testing::{event, event_saying, journal_id};
use crate::store::{Level, Log, MemoryLog};

type Way = fn(&mut Replay, &mut dyn FnMut(&[Item])) -> Result<()>;

const WAYS: [Way; 2] = [on_one_core, on_two_cores];

fn log_of(events: impl IntoIterator<Item = Event>) -> MemoryLog {
    let log = MemoryLog::pretending(journal_id());
    for event in events {
        add(&log, &event.encode());
    }
    log
}

fn add(log: &MemoryLog, record: &[u8]) {
    let appending = log.append(&[record], Level::Os, None, Timestamp::EPOCH).unwrap();
    appending.wait().unwrap();
}

fn replay(log: &MemoryLog) -> Replay {
    let log: Arc<dyn Log> = Arc::new(log.clone());
    Replay::new(&log, Seq::FIRST)
}

/// All items, how many came at a time, and how it ended.
fn seen(way: Way, log: &MemoryLog) -> (Vec<Item>, Vec<usize>, Result<(), String>) {
    let (mut items, mut lengths) = (Vec::new(), Vec::new());
    let ended = way(&mut replay(log), &mut |batch| {
        items.extend_from_slice(batch);
        lengths.push(batch.len());
    });
    (items, lengths, ended.map_err(|error| error.to_string()))
}

#[test]
fn events_gaps_and_what_is_no_event_come_in_their_order_on_one_core_and_on_two() {
    let log = log_of([]);
    for n in 1..=3_000 {
        let bytes = if n % 97 == 0 { b"no event".to_vec() } else { event(n).encode() };
        add(&log, &bytes);
    }
    (1..=29).for_each(|n| log.damage(Seq::new(n * 101)));
    let (items, lengths, ended) = seen(on_one_core, &log);
    assert_eq!((items.len(), ended.clone()), (3_000, Ok(())));
    assert!(items.iter().zip(1..).all(|(item, seq)| item.last() == Seq::new(seq)));
    assert!(items.iter().any(|item| matches!(item, Item::Gap(_))));
    assert!(items.iter().any(|item| matches!(item, Item::Undecodable(_))));
    assert!(lengths.iter().all(|length| (1..=BATCH_EVENTS_MAX).contains(length)));
    assert_eq!(seen(on_two_cores, &log), (items, lengths, ended));
}

#[test]
fn an_error_comes_after_all_that_was_read_before_it() {
    for at in [1, 256, 257, 700, 1_900] {
        let log = log_of((1..=2_000).map(event));
        log.fail_reading(Seq::new(at), || Error::failed("the disk is gone"));
        for way in WAYS {
            let (items, _, ended) = seen(way, &log);
            assert_eq!(items.len() as u64, at - 1, "failed at {at}");
            assert!(ended.unwrap_err().contains("the disk is gone"));
        }
    }
}

#[test]
fn a_taker_that_panics_leaves_no_thread_behind_that_waits() {
    let log = log_of((1..=3_000).map(event));
    for way in WAYS {
        let ended = catch_unwind(AssertUnwindSafe(|| way(&mut replay(&log), &mut |_| panic!("as planned"))));
        assert!(ended.is_err());
    }
}

#[test]
fn a_batch_has_an_end_in_bytes_and_gives_back_room_that_it_seldom_needs() {
    let long = event_saying(&"x".repeat(60_000));
    let log = log_of((1..=40).map(|_| long.clone()).chain((1..=400).map(event)));
    for way in WAYS {
        let (items, lengths, _) = seen(way, &log);
        assert_eq!(items.len(), 440);
        assert_eq!(
            lengths[0],
            BATCH_BYTES_MAX.div_ceil(long.encode().len()),
            "a batch of long ones is short"
        );
    }
    let (mut batch, mut replay) = (Batch::default(), replay(&log));
    let mut passed = 0;
    while passed < 40 + BATCH_EVENTS_MAX {
        batch.read(&mut replay).unwrap();
        batch.decode();
        assert!(batch.length > 0);
        passed += batch.length;
    }
    assert!(batch.items.iter().all(|item| item.room() <= ROOM_BYTES_MAX));
}

#[test]
fn decoding_that_panics_on_the_other_core_is_a_panic_here() {
    let log = log_of((1..=3_000).map(event));
    let mut replay = replay(&log);
    let shared = Shared::of(&mut replay);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let _leaving = Leaving(&shared);
                let mut batch = shared.wait_for_empty().unwrap();
                let mut reading = shared.reading.lock().unwrap();
                batch.read(reading.replay).unwrap();
                reading.batches += 1;
                drop(reading);
                panic!("as planned");
            });
            shared.take_all(&mut |_| {})
        })
    }));
    assert!(ended.is_err());
}

#[test]
fn what_follows_records_that_were_read_and_lost_in_a_panic_is_not_taken() {
    let log = log_of((1..=3_000).map(event));
    let mut replay = replay(&log);
    let shared = Shared::of(&mut replay);
    let mut taken = 0;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let _leaving = Leaving(&shared);
                let mut reading = shared.reading.lock().unwrap();
                Batch::default().read(reading.replay).unwrap();
                panic!("as planned");
            });
            while !reading.is_finished() {
                thread::yield_now();
            }
            shared.take_all(&mut |batch| taken += batch.len())
        })
    }));
    assert!(ended.is_err());
    assert_eq!(taken, 0);
}
