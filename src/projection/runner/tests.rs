//! Runners over a store in memory: the state is the fold whatever way it was reached.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::clock::FixedClock;
use crate::event::{Event, Source as EventSource, Timestamp, payload};
use crate::projection::StateHash;
use crate::projection::sessions::SessionsProjection;
use crate::store::{Level, MemoryLog};

type Sessions = Runner<SessionsProjection>;

fn store() -> Store {
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(1)));
    Store::over(Arc::new(MemoryLog::pretending(JournalId::from_bytes([7; 16]))), clock, "server")
}

fn prompt(n: u64) -> Event {
    let time = Timestamp::from_micros(i64::try_from(n).unwrap());
    let prompt = payload::PromptSubmitted { prompt: format!("prompt {n}"), prompt_id: None };
    let id = format!("session-{}", n % 5);
    Event::new(Uuid::from_u128(u128::from(n) + 1), time, id.clone(), EventSource::default(), prompt)
        .with_session(id)
}

fn operation(n: u64) -> Event {
    let payload = payload::DatabaseOperation {
        operation: "snapshot".into(),
        projection: "sessions".into(),
        affected_rows: n,
        duration_ms: 1,
    };
    Event::new(
        Uuid::from_u128(u128::MAX - u128::from(n)),
        Timestamp::EPOCH,
        "server",
        EventSource::default(),
        payload,
    )
}

fn emit(store: &Store, events: impl IntoIterator<Item = Event>) {
    let events: Vec<_> = events.into_iter().collect();
    for batch in events.chunks(1_000) {
        store.emit(batch.to_vec(), Level::Disk, None).unwrap().wait().unwrap();
    }
}

fn hash(runner: &Sessions) -> StateHash {
    runner.read(|fold| fold.hash().unwrap())
}

fn files(store: &Store) -> (tempfile::TempDir, Files) {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path(), store.journal_id().to_bytes());
    (dir, files)
}

#[test]
fn state_at_any_seq_is_the_fold_up_to_it_with_snapshots_and_without() {
    let store = store();
    emit(&store, (0..40).map(prompt));
    let (_dir, files) = files(&store);
    let runner = Sessions::restore(Some(files.clone()), store.durable());
    for _ in 0..3 {
        runner.catch_up(&store).unwrap();
        runner.snapshot().unwrap().unwrap();
        let from = store.durable().get();
        emit(&store, (from..from + 20).map(prompt));
    }
    let mut fold = Fold::<SessionsProjection>::default();
    let mut replay = Store::replay(&store, Seq::FIRST);
    while let Some(Item::Event(event)) = replay.next().unwrap() {
        fold.apply(&event);
        for files in [None, Some(&files)] {
            let (at, _) = state_at::<SessionsProjection>(&store, files, event.seq).unwrap();
            assert_eq!((at.seq(), at.hash().unwrap()), (event.seq, fold.hash().unwrap()));
        }
    }
    assert_eq!(fold.seq(), Seq::new(100));
    let (beyond, _) = state_at::<SessionsProjection>(&store, None, Seq::MAX).unwrap();
    assert_eq!(beyond.seq(), Seq::new(100), "nothing is folded beyond what is durable");
}

#[test]
fn a_runner_goes_on_from_its_snapshot_and_equals_one_that_was_rebuilt() {
    let store = store();
    emit(&store, (0..1_000).map(prompt));
    let (_dir, files) = files(&store);
    let first = Sessions::restore(Some(files.clone()), store.durable());
    first.catch_up(&store).unwrap();
    first.snapshot().unwrap().unwrap();
    emit(&store, (1_000..1_300).map(prompt));

    let second = Sessions::restore(Some(files), store.durable());
    assert_eq!(second.seq(), Seq::new(1_000));
    assert_eq!(second.catch_up(&store).unwrap().events, 300);
    let rebuilt = Sessions::restore(None, store.durable());
    assert_eq!(rebuilt.catch_up(&store).unwrap().events, 1_300);
    assert_eq!(hash(&second), hash(&rebuilt));
    first.rebuild(&store).unwrap();
    assert_eq!(hash(&first), hash(&rebuilt));
}

#[test]
fn the_stores_own_events_count_toward_no_snapshot() {
    let store = store();
    let (_dir, files) = files(&store);
    let runner = Sessions::restore(Some(files), store.durable());
    emit(&store, (0..SNAPSHOT_EVERY - 1).map(prompt));
    emit(&store, (0..100).map(operation));
    runner.catch_up(&store).unwrap();
    assert!(!runner.snapshot_is_due());
    emit(&store, [prompt(SNAPSHOT_EVERY)]);
    runner.catch_up(&store).unwrap();
    assert!(runner.snapshot_is_due(), "the control: one event that counts is enough");
    assert_eq!(runner.snapshot().unwrap().unwrap().events, SNAPSHOT_EVERY);
    emit(&store, (100..200).map(operation));
    runner.catch_up(&store).unwrap();
    assert_eq!(runner.snapshot().unwrap(), None, "an idle journal stays idle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_serves_what_was_acknowledged_and_ends_with_the_store() {
    let store = store();
    emit(&store, (0..10).map(prompt));
    let runner = Arc::new(Sessions::restore(None, store.durable()));
    let following = tokio::spawn(follow(runner.clone(), store.clone(), |_| {}));
    for n in 10..60 {
        let emitted = store.emit(vec![prompt(n)], Level::Disk, None).unwrap().await.unwrap();
        assert!(runner.reached(emitted.seqs[0], Duration::from_secs(20)).await, "event {n} was not folded");
        let counted: u64 = runner.read(|fold| fold.state().sessions.values().map(|s| s.counts.prompts).sum());
        assert_eq!(counted, n + 1);
    }
    assert!(
        !runner.reached(Seq::new(61), Duration::from_millis(20)).await,
        "what is not there is not reached"
    );
    store.close().unwrap();
    following.await.unwrap().unwrap();
}

#[test]
fn many_snapshots_are_told_once_a_minute_with_nothing_left_out() {
    let mut telling = Telling::default();
    let taken = Taken { events: 3, duration: Duration::from_millis(2) };
    assert_eq!(telling.add(Some(taken)), Some(taken));
    assert_eq!(telling.add(Some(taken)), None);
    assert_eq!(telling.add(None), None);
    telling.last = Instant::now().checked_sub(TELL_EVERY);
    let sum = Taken { events: 6, duration: Duration::from_millis(4) };
    assert_eq!(telling.add(Some(taken)), Some(sum));
}
