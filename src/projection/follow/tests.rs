//! Followers over a store in memory.

use uuid::Uuid;

use super::*;
use crate::clock::FixedClock;
use crate::event::{Event, Source as EventSource, Timestamp, payload};
use crate::projection::snapshot::Files;
use crate::store::{JournalId, Level, MemoryLog};

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

fn operation(n: u128, taken: Taken) -> Event {
    let payload = payload::DatabaseOperation {
        operation: "snapshot".into(),
        projection: "sessions".into(),
        affected_rows: taken.events,
        duration_ms: 1,
    };
    let id = Uuid::from_u128(u128::MAX - n);
    Event::new(id, Timestamp::EPOCH, "server", EventSource::default(), payload)
}

fn emit(store: &Store, events: impl IntoIterator<Item = Event>) {
    let events: Vec<_> = events.into_iter().collect();
    for batch in events.chunks(1_000) {
        store.emit(batch.to_vec(), Level::Disk, None).unwrap().wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_serves_what_was_acknowledged_and_ends_with_the_store() {
    let store = store();
    emit(&store, (0..10).map(prompt));
    let (runners, _) = Runners::restore(None, &store).unwrap();
    let runner = runners.sessions.clone();
    let (mut follower, followed) = (Follower::new(&runners), store.clone());
    let following = tokio::spawn(async move { follower.follow(&followed, |_| {}).await });
    for n in 10..60 {
        let emitted = store.emit(vec![prompt(n)], Level::Disk, None).unwrap().await.unwrap();
        assert!(runner.reached(emitted.seqs[0], Duration::from_secs(20)).await, "event {n} was not folded");
        let counted: u64 = runner.read(|fold| fold.state().all().map(|(_, s)| s.counts.prompts).sum());
        assert_eq!(counted, n + 1);
    }
    store.close().unwrap();
    following.await.unwrap().unwrap();
    for runner in runners.all() {
        assert_eq!(runner.seq(), Seq::new(60), "{}", runner.name());
    }
}

#[test]
fn runners_that_begin_at_different_seqs_end_as_the_same_fold() {
    let store = store();
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path(), store.journal_id().to_bytes());
    emit(&store, (0..700).map(prompt));
    let (ahead, _) = Runners::restore(Some(&files), &store).unwrap();
    ahead.sessions.catch_up(&store).unwrap();
    ahead.sessions.snapshot().unwrap().unwrap();
    emit(&store, (700..1_500).map(prompt));
    let (runners, refused) = Runners::restore(Some(&files), &store).unwrap();
    assert_eq!((runners.sessions.seq(), refused), (Seq::new(700), vec![]));
    Follower::new(&runners).catch_up(&store, |_| {}).unwrap();
    let (anew, _) = Runners::restore(None, &store).unwrap();
    Follower::new(&anew).catch_up(&store, |_| {}).unwrap();
    for (one, other) in runners.all().iter().zip(anew.all()) {
        let (one, other) = (one.view().unwrap(), other.view().unwrap());
        assert_eq!((one.projection, one.seq, one.hash), (other.projection, other.seq, other.hash));
    }
}

/// The server tells each snapshot as an event of its own. Ten simulated minutes of nothing else: no record follows.
#[test]
fn ten_idle_minutes_add_no_record() {
    let store = store();
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path(), store.journal_id().to_bytes());
    let (runners, _) = Runners::restore(Some(&files), &store).unwrap();
    let mut follower = Follower::new(&runners);
    emit(&store, (0..SNAPSHOT_EVERY).map(prompt));
    let mut told = 0;
    let mut turn = |store: &Store| {
        let mut taken = Vec::new();
        follower
            .catch_up(store, |what| match what {
                Told::Taken { taken: one, .. } => taken.push(one),
                Told::Failed { error, .. } => panic!("{error}"),
            })
            .unwrap();
        for one in taken {
            told += 1;
            emit(store, [operation(told, one)]);
        }
    };
    turn(&store);
    let busy = store.durable();
    assert!(busy.get() > SNAPSHOT_EVERY, "the control: the snapshot was told");
    for _second in 0..600 {
        turn(&store);
    }
    assert_eq!(store.durable(), busy);
}

#[test]
fn many_snapshots_are_told_once_a_minute_with_nothing_left_out() {
    let mut telling = Telling::default();
    let now = Instant::now();
    let taken = Taken { events: 3, duration: Duration::from_millis(2) };
    assert_eq!(telling.add(Some(taken), now), Some(taken));
    assert_eq!(telling.add(Some(taken), now), None);
    assert_eq!(telling.add(None, now), None);
    let now = now + TELL_EVERY;
    let sum = Taken { events: 6, duration: Duration::from_millis(4) };
    assert_eq!(telling.add(Some(taken), now), Some(sum));
}
