//! The hand-over of a subscriber from files to the live end, under a scheduler that chooses, by a seed, which thread runs next at each
//! lock, number, wake-up and start: the store's own subscriptions over the journal itself, on a disk in memory.
//!
//! Only with `--cfg shuttle`: `tools/schedules.sh`, which says how schedules are counted and chosen. What the journal does beneath has
//! schedules of its own (`journal/tests/schedules.rs`). In the model the window of recent events, the lag that is told and the turn
//! of one subscriber are two events long, so that all of their edges lie within a few events. The chunks that streams of the server
//! build for each other are handed over here too, in a table of two. Of seven controls each breaks one rule and must be found.
#![cfg(shuttle)]
#![expect(clippy::print_stderr, reason = "a test says what it ran")]

use mnemosyne::clock::SystemClock;
use mnemosyne::event::{Event, Filter, Seq, Source, Timestamp, payload};
use mnemosyne::server::{ChunkCache, Deliveries};
use mnemosyne::store::log::{LocalLog, Log};
use mnemosyne::store::{Control, Delivery, Level, Store, Subscription, break_for_control};
use mnemosyne_journal::sim::SimDisk;
use mnemosyne_journal::{Journal, JournalId, Micros, Options};
use shuttle::{future, thread};
use std::sync::Arc;
use std::task::Poll;
use uuid::Uuid;

#[path = "../journal/tests/support/schedules.rs"]
mod support;

use support::Schedules;

const SCHEDULES: Schedules = Schedules { count: 1_000, seed: 0x6861_6e64 };
/// Events that stand there when the subscribers come, and those that come while they read.
const BEFORE: u64 = 2;
const LIVE: u64 = 4;

fn explore(name: &str, test: impl Fn() + Copy + Send + Sync + 'static) {
    SCHEDULES.explore(name, test);
}

fn is_found(control: Control, test: impl Fn() + Copy + Send + Sync + 'static) {
    SCHEDULES.is_found(break_for_control, control, test);
}

fn event(seq: u64) -> Event {
    let source = Source { program: "test".into(), host: "here".into(), pid: 7 };
    let message = format!("event {seq}");
    let payload = payload::NotificationRaised { message, notification_type: "test".into(), title: None };
    Event::new(Uuid::from_u128(seq.into()), Timestamp::from_micros(1), "session", source, payload)
}

/// A store over a journal on a disk in memory, and its log: events are appended to the log, as the store does under its lock.
fn store() -> (Store, LocalLog) {
    let options = Options::new(JournalId::from_bytes(*b"journal-of-turns"), [5; 32]);
    let (journal, _) =
        Journal::open(Arc::new(SimDisk::new(1)), options.with_segment_bytes_target(16 << 10), Micros::new(1))
            .expect("an empty disk");
    let log = LocalLog::new(journal);
    (Store::over(Arc::new(log.clone()), Arc::new(SystemClock), "test"), log)
}

fn append(log: &LocalLog, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        let bytes = event(seq).encode();
        let appending = log.append(&[&bytes], Level::Disk, None, Timestamp::from_micros(1)).expect("taken");
        assert_eq!(appending.first().get(), seq);
        appending.wait().expect("acknowledged");
    }
}

/// Checks that the delivery is the event at `next`, durable, and the right one; the seq after it. A lag is no event.
fn checked(delivery: &Delivery, next: u64, log: &LocalLog) -> u64 {
    match delivery {
        Delivery::Event(stored) => {
            assert_eq!(stored.seq.get(), next, "an event was left out or came twice");
            assert_eq!(stored.event.id, Uuid::from_u128(next.into()), "another event under this seq");
            assert!(stored.seq <= log.durable(), "seen before it was durable");
            next + 1
        }
        Delivery::Lag { .. } => next,
        other => panic!("nothing was damaged or filtered: {other:?}"),
    }
}

/// Follows from `next` to the end of the log; the seq after the last event.
async fn follow(mut subscription: Subscription, log: LocalLog, mut next: u64, lays_down: bool) -> u64 {
    while let Some(delivery) = subscription.next().await.expect("readable") {
        next = checked(&delivery, next, &log);
        if lays_down {
            subscription.lay_down();
        }
    }
    next
}

/// Subscribers of every kind over one log: each event once, in order, to the last before the end.
fn subscribers_follow_to_the_end() {
    let (store, log) = store();
    all_follow_to_the_end(&store, &log);
}

/// The same where one task wakes them all.
fn relayed_subscribers_follow_to_the_end() {
    let (store, log) = store();
    let relay = {
        let store = store.clone();
        future::spawn(async move { store.relay().await })
    };
    all_follow_to_the_end(&store, &log);
    future::block_on(relay).expect("a relay that ends with the log");
}

/// One whom a relay wakes, and nobody closes the log before it has everything.
fn a_relayed_subscriber_gets_everything() {
    relayed_follows(false);
}

/// The same where the relay ends before.
fn the_relay_ends_before_its_subscriber() {
    relayed_follows(true);
}

fn relayed_follows(relay_ends: bool) {
    let (store, log) = store();
    let last = BEFORE + LIVE;
    append(&log, 1..=BEFORE);
    let relay = {
        let store = store.clone();
        future::spawn(async move { store.relay().await })
    };
    let follower = {
        let (mut subscription, log) =
            (store.subscribe(Seq::FIRST, Filter::all()).expect("the first"), log.clone());
        future::spawn(async move {
            let mut next = 1;
            while next <= last {
                let delivery = subscription.next().await.expect("readable").expect("it was not closed");
                next = checked(&delivery, next, &log);
            }
        })
    };
    let writer = {
        let log = log.clone();
        thread::spawn(move || append(&log, BEFORE + 1..=last))
    };
    if relay_ends {
        relay.abort();
    }
    future::block_on(follower).expect("a task that ends");
    writer.join().expect("a writer that ends");
    log.close().expect("closed");
}

fn all_follow_to_the_end(store: &Store, log: &LocalLog) {
    append(log, 1..=BEFORE);
    let tasks: Vec<_> = [(1, false), (1, true), (BEFORE + 1, true)]
        .into_iter()
        .map(|(from, lays_down)| {
            let subscription = store.subscribe(Seq::new(from), Filter::all()).expect("a seq of the log");
            future::spawn(follow(subscription, log.clone(), from, lays_down))
        })
        .collect();
    append(log, BEFORE + 1..=BEFORE + LIVE);
    log.close().expect("closed");
    for task in tasks {
        let next = future::block_on(task).expect("a task that ends");
        assert_eq!(next, BEFORE + LIVE + 1, "it ended before the last event");
    }
}

/// One who goes and comes back with its cursor, beside one who stays: no end is needed for either to get everything.
fn a_subscriber_comes_back_with_its_cursor() {
    let (store, log) = store();
    append(&log, 1..=BEFORE);
    let last = BEFORE + LIVE;
    let staying = {
        let (subscription, log) =
            (store.subscribe(Seq::FIRST, Filter::all()).expect("the first"), log.clone());
        future::spawn(async move {
            let (mut subscription, mut next) = (subscription, 1);
            while next <= last {
                let delivery = subscription.next().await.expect("readable").expect("it was not closed");
                next = checked(&delivery, next, &log);
            }
        })
    };
    let coming_back = {
        let (store, log) = (store.clone(), log.clone());
        future::spawn(async move {
            let mut next = 1;
            while next <= last {
                let mut subscription = store.subscribe(Seq::new(next), Filter::all()).expect("its cursor");
                let delivery = subscription.next().await.expect("readable").expect("it was not closed");
                next = checked(&delivery, next, &log);
                subscription.lay_down();
            }
        })
    };
    let writer = {
        let log = log.clone();
        thread::spawn(move || append(&log, BEFORE + 1..=last))
    };
    future::block_on(staying).expect("a task that ends");
    future::block_on(coming_back).expect("a task that ends");
    writer.join().expect("a writer that ends");
    log.close().expect("closed");
}

/// A blocking subscriber, as commands have them.
fn a_thread_follows_to_the_end() {
    let (store, log) = store();
    append(&log, 1..=BEFORE);
    let follower = {
        let (store, log) = (store.clone(), log.clone());
        thread::spawn(move || {
            let mut subscription = store.subscribe(Seq::FIRST, Filter::all()).expect("the first");
            let mut next = 1;
            while !subscription.is_finished() {
                if let Some(delivery) =
                    subscription.wait_next(std::time::Duration::from_secs(3600)).expect("readable")
                {
                    next = checked(&delivery, next, &log);
                }
            }
            assert_eq!(next, BEFORE + LIVE + 1, "it ended before the last event");
        })
    };
    append(&log, BEFORE + 1..=BEFORE + LIVE);
    log.close().expect("closed");
    follower.join().expect("a follower that ends");
}

/// As many events as a chunk takes here.
const CHUNK_EVENTS: usize = 2;

/// A stream as the server feeds it, from `next` to `last`: what another has built for its cursor, else what it builds for others. A
/// frame is the event's seq.
async fn stream(
    mut subscription: Subscription,
    cache: Arc<ChunkCache>,
    log: LocalLog,
    mut next: u64,
    last: u64,
) {
    let filter: Arc<str> = Filter::all().key().into();
    while next <= last {
        if let Some((bytes, deliveries)) = cache.take_over(&filter, &mut subscription) {
            for frame in bytes.chunks(8) {
                assert_eq!(frame, next.to_be_bytes(), "an event was left out or came twice");
                assert!(Seq::new(next) <= log.durable(), "seen before it was durable");
                next += 1;
            }
            assert_eq!(deliveries.events, bytes.len() as u64 / 8);
            continue;
        }
        let (after, mut frames, mut is_own) = (subscription.cursor(), Vec::new(), false);
        std::future::poll_fn(|context| {
            while frames.len() < CHUNK_EVENTS * 8 {
                let Poll::Ready(delivery) = subscription.poll_next(context) else { break };
                let delivery = delivery.expect("readable").expect("it was not closed");
                is_own |= matches!(delivery, Delivery::Lag { .. });
                let before = next;
                next = checked(&delivery, before, &log);
                if next > before {
                    frames.extend(before.to_be_bytes());
                }
            }
            if frames.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        if !is_own {
            let deliveries = Deliveries { events: frames.len() as u64 / 8, gaps: 0 };
            cache.hand_over(&filter, after, &subscription, &frames.into(), deliveries);
        }
        subscription.lay_down();
    }
}

/// Streams that stand at the same places and at others: each event once, whoever built the chunk.
fn streams_share_what_they_build() {
    let (store, log) = store();
    append(&log, 1..=BEFORE);
    let (cache, last) = (Arc::new(ChunkCache::default()), BEFORE + LIVE);
    let streams: Vec<_> = [1, 1, 2]
        .into_iter()
        .map(|from| {
            let subscription = store.subscribe(Seq::new(from), Filter::all()).expect("a seq of the log");
            future::spawn(stream(subscription, cache.clone(), log.clone(), from, last))
        })
        .collect();
    append(&log, BEFORE + 1..=last);
    for stream in streams {
        future::block_on(stream).expect("a stream that gets everything");
    }
    log.close().expect("closed");
}

#[test]
fn streams_that_share_their_chunks_miss_nothing_and_see_nothing_twice() {
    explore("shared chunks", streams_share_what_they_build);
}

#[test]
fn control_a_chunk_that_begins_elsewhere_leaves_events_out() {
    is_found(Control::TakesAnyChunk, streams_share_what_they_build);
}

#[test]
fn control_not_going_on_behind_a_chunk_that_was_taken_shows_it_twice() {
    is_found(Control::GoesOnFromItsOwnCursor, streams_share_what_they_build);
}

#[test]
fn every_subscriber_gets_each_event_once_and_the_last_before_the_end() {
    explore("subscribers", subscribers_follow_to_the_end);
}

#[test]
fn whom_a_relay_wakes_misses_nothing() {
    explore("relayed", a_relayed_subscriber_gets_everything);
    explore("relayed to the end", relayed_subscribers_follow_to_the_end);
}

#[test]
fn whose_relay_ends_misses_nothing() {
    explore("the relay ends", the_relay_ends_before_its_subscriber);
}

#[test]
fn control_entering_a_relay_without_a_look_waits_for_ever() {
    is_found(Control::EntersWithoutALook, a_relayed_subscriber_gets_everything);
}

#[test]
fn who_comes_back_with_its_cursor_misses_nothing() {
    explore("coming back", a_subscriber_comes_back_with_its_cursor);
}

#[test]
fn a_thread_that_follows_misses_nothing() {
    explore("a thread", a_thread_follows_to_the_end);
}

#[test]
fn control_going_on_from_the_live_end_of_the_moment_leaves_events_out() {
    is_found(Control::JumpsToTheLiveEnd, a_subscriber_comes_back_with_its_cursor);
}

#[test]
fn control_waiting_behind_the_live_end_of_the_moment_waits_for_ever() {
    is_found(Control::WaitsBehindTheLiveEnd, a_subscriber_comes_back_with_its_cursor);
}

#[test]
fn control_asking_last_whether_it_was_closed_loses_the_last_event() {
    is_found(Control::AsksForTheEndLast, subscribers_follow_to_the_end);
}

#[test]
fn control_a_window_that_has_gone_round_unnoticed_shows_other_events() {
    is_found(Control::TakesAnySlot, subscribers_follow_to_the_end);
}
