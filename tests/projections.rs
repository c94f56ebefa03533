//! Projections over the journal of real sessions, made by the real program and read by the library: the state at every seq is
//! the fold up to it, from a snapshot or without one.

#[allow(dead_code, unused_imports, reason = "the kit is larger than this one user")]
#[path = "it/support.rs"]
mod support;

use mnemosyne::config::DataDir;
use mnemosyne::event::{Seq, StoredEvent};
use mnemosyne::projection::sessions::SessionsProjection;
use mnemosyne::projection::snapshot::{self, Files};
use mnemosyne::projection::{Fold, state_at};
use mnemosyne::store::{Item, View};
use support::{World, shared_data};

/// Snapshots are tried at every so many events; a prime, so that they fall on events of every sort.
const STRIDE: usize = 97;

#[test]
fn the_fold_of_real_sessions_is_the_same_from_every_snapshot() {
    let Some(data) = shared_data() else { return };
    let world = World::new();
    let transcripts = data.join("transcripts");
    world.ok(["import", transcripts.to_str().expect("a path of UTF-8")]);
    let view = View::open(&DataDir::at(world.data())).expect("the journal opens");
    let events = events(&view);
    assert!(events.len() > 500, "{} events are too few to show anything", events.len());
    let journal = view.journal_id().expect("a journal").to_bytes();
    let whole = fold(&events).hash().expect("a hash");

    let snapshots = tempfile::tempdir().expect("a directory");
    let files = Files::new(snapshots.path(), journal);
    let mut running = Fold::<SessionsProjection>::default();
    for (n, event) in events.iter().enumerate() {
        running.apply(event);
        if n % STRIDE != 0 {
            continue;
        }
        let bytes = snapshot::encode(&running, journal).expect("bytes");
        let mut restored =
            snapshot::decode::<SessionsProjection>(&bytes, journal, event.seq).expect("believed");
        assert_eq!(restored.hash().expect("a hash"), running.hash().expect("a hash"));
        for rest in &events[n + 1..] {
            restored.apply(rest);
        }
        assert_eq!(restored.hash().expect("a hash"), whole, "from the snapshot at {}", event.seq);
        files.save::<SessionsProjection>(&bytes).expect("saved");
        let (at, _) = state_at::<SessionsProjection>(&view, Some(&files), event.seq).expect("read");
        assert_eq!(at.hash().expect("a hash"), running.hash().expect("a hash"));
    }
    let (now, met) = state_at::<SessionsProjection>(&view, Some(&files), Seq::MAX).expect("read");
    assert_eq!((now.seq(), now.hash().expect("a hash")), (view.durable(), whole));
    assert!(met.gaps.is_empty() && met.undecodable == 0);
}

fn events(view: &View) -> Vec<StoredEvent> {
    let mut replay = view.replay(Seq::FIRST);
    let mut events = Vec::new();
    while let Some(item) = replay.next().expect("readable") {
        match item {
            Item::Event(event) => events.push(event),
            other => panic!("not an event: {other:?}"),
        }
    }
    events
}

fn fold(events: &[StoredEvent]) -> Fold<SessionsProjection> {
    let mut fold = Fold::default();
    for event in events {
        fold.apply(event);
    }
    fold
}
