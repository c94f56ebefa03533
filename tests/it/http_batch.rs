//! The batching emitter of the client library, against real servers and without one: what it was given is there, once.

use crate::http_emit::all_events;
use crate::http_metrics::counters;
use crate::support::{World, wait_for};
use mnemosyne::client::Batcher;
use mnemosyne::clock::{SystemClock, new_id, this_source};
use mnemosyne::config::DataDir;
use mnemosyne::event::{Event, Timestamp, payload};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) fn batcher(world: &World) -> Batcher {
    Batcher::start(DataDir::at(world.data()), Arc::new(SystemClock)).expect("a thread")
}

pub(crate) fn event(n: usize) -> Event {
    let payload = payload::NotificationRaised {
        message: format!("batched {n}"),
        notification_type: "test".into(),
        title: None,
    };
    let time = Timestamp::from_micros(1_770_000_000_000_000);
    Event::new(new_id(&SystemClock), time, "batch", this_source("test"), payload).with_session("batch")
}

/// The numbers of the batched events, in the order of the journal.
pub(crate) fn batched(events: &[serde_json::Value]) -> Vec<usize> {
    let number = |event: &serde_json::Value| {
        event["payload"]["message"].as_str()?.strip_prefix("batched ")?.parse().ok()
    };
    events.iter().filter_map(number).collect()
}

#[test]
fn a_flood_of_events_arrives_in_order_in_few_requests() {
    let world = World::new();
    let server = world.server();
    let batcher = batcher(&world);
    for n in 0..5_000 {
        batcher.emit(event(n)).expect("taken");
    }
    let sent = batcher.flush().expect("kept");
    assert_eq!((sent.committed, sent.duplicates, sent.in_inbox), (5_000, 0, 0), "{sent:?}");
    assert_eq!(batched(&all_events(&server)), (0..5_000).collect::<Vec<_>>());
    let requests = counters(&server)["requests"].as_array().expect("requests").clone();
    let emits = requests.iter().find(|one| one["route"] == "/events/emit").expect("some");
    assert!(emits["count"].as_u64().is_some_and(|count| count < 500), "{emits}");
}

#[test]
fn an_event_that_is_alone_goes_by_itself_after_a_moment() {
    let world = World::new();
    let server = world.server();
    let batcher = batcher(&world);
    batcher.emit(event(1)).expect("taken");
    wait_for("the event to arrive without a flush", || (batched(&all_events(&server)) == [1]).then_some(()));
}

#[test]
fn a_server_that_is_killed_meanwhile_loses_and_doubles_nothing() {
    let world = World::new();
    let server = world.server();
    let batcher = batcher(&world);
    for n in 0..1_500 {
        batcher.emit(event(n)).expect("taken");
    }
    server.kill();
    for n in 1_500..3_000 {
        batcher.emit(event(n)).expect("taken");
    }
    let sent = batcher.flush().expect("kept");
    assert!(sent.in_inbox > 0 && sent.why_inbox.is_some(), "{sent:?}");
    assert_eq!(sent.committed + sent.in_inbox, 3_000, "{sent:?}");
    let server = world.server();
    let found = wait_for("the inbox to be drained", || {
        let found = batched(&all_events(&server));
        (found.iter().collect::<BTreeSet<_>>().len() == 3_000).then_some(found)
    });
    assert_eq!(found.len(), 3_000, "none is there twice");
}

#[test]
fn what_was_not_sent_when_it_is_dropped_goes_into_the_inbox() {
    let world = World::new();
    world.server().stop();
    let before = world.inbox_len();
    let batcher = batcher(&world);
    for n in 0..10 {
        batcher.emit(event(n)).expect("taken");
    }
    drop(batcher);
    assert_eq!(world.inbox_len(), before + 10);
    assert_eq!(batched(&world.events([])), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_can_be_kept_nowhere_is_an_error_and_stays_until_it_can() {
    let world = World::new();
    world.server().stop();
    let inbox = world.data().join("inbox");
    let aside = world.data().join("inbox-aside");
    std::fs::rename(&inbox, &aside).expect("moved");
    let batcher = batcher(&world);
    batcher.emit(event(1)).expect("taken");
    assert!(batcher.flush().is_err(), "neither a server nor an inbox");
    assert!(batcher.flush().is_err(), "still");
    std::fs::rename(&aside, &inbox).expect("moved back");
    let sent = batcher.flush().expect("kept now");
    assert_eq!(sent.in_inbox, 1);
    assert_eq!(batched(&world.events([])), [1]);
}
