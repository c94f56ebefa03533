//! Runners over a store in memory: the state is the fold whatever way it was reached.

use std::sync::Arc;

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

fn restored(files: Option<Files>, store: &Store) -> Sessions {
    let (runner, refused) = Sessions::restore(files, store).unwrap();
    assert_eq!(refused, []);
    runner
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
    let runner = restored(Some(files.clone()), &store);
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
    let first = restored(Some(files.clone()), &store);
    first.catch_up(&store).unwrap();
    first.snapshot().unwrap().unwrap();
    emit(&store, (1_000..1_300).map(prompt));

    let second = restored(Some(files), &store);
    assert_eq!(second.seq(), Seq::new(1_000));
    assert_eq!(second.catch_up(&store).unwrap().events, 300);
    let rebuilt = restored(None, &store);
    assert_eq!(rebuilt.catch_up(&store).unwrap().events, 1_300);
    assert_eq!(hash(&second), hash(&rebuilt));
    first.rebuild(&store).unwrap();
    assert_eq!(hash(&first), hash(&rebuilt));
}

/// Long enough for a second core: every way to a state, that of single events included, leads to the same one.
#[test]
fn a_long_stretch_gives_the_state_that_its_events_give_one_by_one() {
    let store = store();
    emit(&store, (0..5_000).map(prompt));
    let mut fold = Fold::<SessionsProjection>::default();
    let mut replay = Store::replay(&store, Seq::FIRST);
    while let Some(Item::Event(event)) = replay.next().unwrap() {
        fold.apply(&event);
    }
    let expected = fold.hash().unwrap();
    let (at, progress) = state_at::<SessionsProjection>(&store, None, Seq::MAX).unwrap();
    assert_eq!((at.seq(), progress.events, at.hash().unwrap()), (Seq::new(5_000), 5_000, expected));
    let runner = caught_up(&store);
    assert_eq!(hash(&runner), expected);
    let rebuilt = runner.rebuild(&store).unwrap();
    assert_eq!((rebuilt.before, rebuilt.after, rebuilt.progress.events), (expected, expected, 5_000));
}

#[test]
fn the_stores_own_events_count_toward_no_snapshot() {
    let store = store();
    let (_dir, files) = files(&store);
    let runner = restored(Some(files), &store);
    emit(&store, (0..SNAPSHOT_EVERY - 1).map(prompt));
    emit(&store, (0..100).map(operation));
    runner.catch_up(&store).unwrap();
    assert!(!runner.snapshot_is_due(SNAPSHOT_EVERY));
    emit(&store, [prompt(SNAPSHOT_EVERY)]);
    runner.catch_up(&store).unwrap();
    assert!(runner.snapshot_is_due(SNAPSHOT_EVERY), "the control: one event that counts is enough");
    assert_eq!(runner.snapshot().unwrap().unwrap().events, SNAPSHOT_EVERY);
    emit(&store, (100..200).map(operation));
    runner.catch_up(&store).unwrap();
    assert_eq!(runner.snapshot().unwrap(), None, "an idle journal stays idle");
}

#[test]
fn what_comes_while_a_state_is_rebuilt_is_in_it() {
    let store = store();
    emit(&store, (0..2_000).map(prompt));
    let runner = restored(None, &store);
    runner.catch_up(&store).unwrap();
    std::thread::scope(|scope| {
        let rebuilding =
            scope.spawn(|| (0..20).map(|_| runner.rebuild(&store).unwrap().progress.events).max());
        for n in 2_000..2_400 {
            emit(&store, [prompt(n)]);
            runner.catch_up(&store).unwrap();
        }
        assert!(rebuilding.join().unwrap() >= Some(2_000));
    });
    runner.catch_up(&store).unwrap();
    assert_eq!((runner.seq(), hash(&runner)), (Seq::new(2_400), hash(&caught_up(&store))));
}

fn caught_up(store: &Store) -> Sessions {
    let runner = restored(None, store);
    runner.catch_up(store).unwrap();
    runner
}

#[test]
fn a_rebuild_puts_right_a_state_that_is_wrong() {
    let store = store();
    emit(&store, (0..50).map(prompt));
    let (dir, files) = files(&store);
    let wrong = Fold::<SessionsProjection>::restore(<_>::default(), Seq::new(50), 0);
    files.save::<SessionsProjection>(&snapshot::encode(&wrong, files.journal()).unwrap()).unwrap();
    let runner = restored(Some(files), &store);
    runner.catch_up(&store).unwrap();
    assert_ne!(hash(&runner), hash(&caught_up(&store)), "the harness: a forged snapshot is believed");
    let rebuilt = runner.rebuild(&store).unwrap();
    assert_eq!((rebuilt.progress.events, rebuilt.seq, rebuilt.replaced), (50, Seq::new(50), true));
    assert_ne!(rebuilt.before, rebuilt.after);
    assert_eq!((hash(&runner), rebuilt.after), (hash(&caught_up(&store)), hash(&caught_up(&store))));
    let again = runner.rebuild(&store).unwrap();
    assert_eq!((again.before, again.after), (rebuilt.after, rebuilt.after));
    // Nor is the wrong one found at the next start.
    let files = snapshot::Files::new(dir.path(), store.journal_id().to_bytes());
    assert_eq!(hash(&restored(Some(files), &store)), rebuilt.after);
}

/// A journal put back from an older copy, with other events after: what was saved of the ones that are gone is of no use for ever.
#[test]
fn a_state_ahead_of_the_journal_is_not_believed_once_the_journal_has_grown_past_it() {
    let (dir, old) = (tempfile::tempdir().unwrap(), store());
    emit(&old, (0..50).map(prompt));
    let files = || snapshot::Files::new(dir.path(), old.journal_id().to_bytes());
    let runner = restored(Some(files()), &old);
    runner.catch_up(&old).unwrap();
    runner.snapshot().unwrap().unwrap();

    let store = store();
    assert_eq!(store.journal_id(), old.journal_id());
    emit(&store, (0..20).map(prompt));
    let (runner, refused) = Runner::<SessionsProjection>::restore(Some(files()), &store).unwrap();
    assert!(refused.iter().any(|refusal| refusal.why == snapshot::Refused::Ahead), "{refused:?}");
    drop(runner);
    // All of one session.
    emit(&store, (500..560).map(|n| prompt(5 * n)));
    let runner = restored(Some(files()), &store);
    runner.catch_up(&store).unwrap();
    assert_eq!(hash(&runner), hash(&caught_up(&store)));
}

#[test]
fn a_time_is_the_last_event_recorded_by_then() {
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(1_000)));
    let log = Arc::new(MemoryLog::pretending(JournalId::from_bytes([7; 16])));
    let store = Store::over(log, clock.clone(), "server");
    emit(&store, (0..3).map(prompt));
    clock.advance(1_000);
    emit(&store, (3..5).map(prompt));
    let at = |micros| seq_at(&store, Timestamp::from_micros(micros)).unwrap().get();
    assert_eq!([at(999), at(1_000), at(1_999), at(2_000), at(9_999)], [0, 3, 3, 5, 5]);
    assert_eq!(seq_at(&store, Timestamp::MAX).unwrap(), Seq::new(5));
}

/// As large as it can be said to be, from the first event on.
enum Large {}

impl Projection for Large {
    const NAME: &'static str = "large";
    const SCHEMA: u32 = 1;
    type State = String;

    fn apply(state: &mut String, _: &StoredEvent) {
        if state.is_empty() {
            const BYTES: u64 = (SNAPSHOT_EVERY + 1_000) * SNAPSHOT_BYTES_AN_EVENT;
            *state = "x".repeat(usize::try_from(BYTES).unwrap());
        }
    }
}

#[test]
fn a_large_state_is_saved_after_as_many_events_as_pay_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path(), [7; 16]);
    let (runner, _) = Runner::<Large>::restore(Some(files), &store()).unwrap();
    let item =
        |n: u64| Item::Event(StoredEvent { seq: Seq::new(n), recorded: Timestamp::EPOCH, event: prompt(n) });
    runner.take_in(&[item(1)]);
    assert!(runner.snapshot_is_due(1), "how large it is is not known before the first");
    runner.snapshot().unwrap().unwrap();
    let mut taken = 0;
    while !runner.snapshot_is_due(1) {
        taken += 1;
        runner.take_in(&[item(taken + 1)]);
    }
    assert_eq!(taken, SNAPSHOT_EVERY + 1_000);
}
