//! Emitting over a log in memory: order, duplicates, conditions, failures.

use std::sync::Arc;

use super::*;
use crate::store::log::{Log as _, MemoryLog};
use crate::store::replay::Item;
use crate::store::testing::{event, event_with_id, memory_store, uuid};

#[test]
fn a_batch_gets_dense_seqs_in_its_order_and_reads_back_as_it_was() {
    let (store, _log) = memory_store();
    let events = vec![event(1), event(2), event(3)];
    let emitted = store.emit(events.clone(), Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(emitted.seqs, [1, 2, 3].map(Seq::new));
    assert_eq!((emitted.durability, emitted.duplicates.len()), (Level::Disk, 0));
    for (seq, expected) in (1..).zip(events) {
        let Some(Item::Event(stored)) = store.get(Seq::new(seq)).unwrap() else { panic!("seq {seq}") };
        assert_eq!(stored.event, expected);
    }
}

#[test]
fn the_same_id_again_is_answered_with_the_first_seq() {
    let (store, _log) = memory_store();
    store.emit(vec![event(1), event(2)], Level::Disk, None).unwrap().wait().unwrap();
    let again =
        store.emit(vec![event(3), event(2), event(3), event(1)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(again.seqs, [3, 2, 3, 1].map(Seq::new));
    assert_eq!(again.duplicates, [1, 2, 3]);
    assert_eq!(store.tail(), Seq::new(4));
    // Control: another id is another event.
    assert_eq!(store.emit(vec![event(4)], Level::Disk, None).unwrap().wait().unwrap().seqs, [Seq::new(4)]);
}

#[test]
fn a_duplicate_is_answered_only_when_the_first_one_is_durable() {
    let (store, log) = memory_store();
    log.hold(true);
    let first = store.emit(vec![event(1)], Level::Disk, None).unwrap();
    let second = store.emit(vec![event(1)], Level::Disk, None).unwrap();
    assert_eq!(log.tail(), Seq::new(2), "appended once");
    let waiting = std::thread::spawn(move || second.wait());
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(!waiting.is_finished());
    log.hold(false);
    assert_eq!(waiting.join().unwrap().unwrap().duplicates, [0]);
    first.wait().unwrap();
}

#[test]
fn a_condition_that_fails_names_the_actual_seq_and_keeps_nothing() {
    let (store, _log) = memory_store();
    store.emit(vec![event(1)], Level::Disk, Some(Seq::FIRST)).unwrap().wait().unwrap();
    let error = store.emit(vec![event(2)], Level::Disk, Some(Seq::FIRST)).err().unwrap();
    assert!(matches!(error, Error::Conflict { expected: 1, actual: 2 }), "{error}");
    assert_eq!((error.code(), store.tail()), ("conflict", Seq::new(2)));
    // The refused event was not written down as known.
    let kept = store.emit(vec![event(2)], Level::Disk, Some(Seq::new(2))).unwrap().wait().unwrap();
    assert_eq!((kept.seqs, kept.duplicates.len()), (vec![Seq::new(2)], 0));
    // A retry of the first is answered although its condition does not hold any more.
    let retry = store.emit(vec![event(1)], Level::Disk, Some(Seq::FIRST)).unwrap().wait().unwrap();
    assert_eq!(retry.duplicates, [0]);
}

#[test]
fn a_level_that_the_log_lacks_is_an_error() {
    let clock = Arc::new(crate::clock::SystemClock);
    let store = Store::over(Arc::new(MemoryLog::new(crate::store::testing::journal_id())), clock, "test");
    let error = store.emit(vec![event(1)], Level::Disk, None).err().unwrap();
    assert_eq!(error.code(), "level_unsupported");
    assert!(error.to_string().contains("os"), "{error}");
    assert_eq!(store.emit(vec![event(1)], Level::Os, None).unwrap().wait().unwrap().durability, Level::Os);
}

#[test]
fn sizes_are_checked_before_anything_is_kept() {
    let (store, _log) = memory_store();
    assert_eq!(store.emit(Vec::new(), Level::Disk, None).err().unwrap().code(), "batch_size");
    let many = (0..=BATCH_EVENTS_MAX as u128).map(|n| event_with_id(uuid(n + 1))).collect();
    assert_eq!(store.emit(many, Level::Disk, None).err().unwrap().code(), "batch_size");
    assert_eq!(store.tail(), Seq::FIRST);
}

#[test]
fn a_closed_store_and_a_failing_log_refuse() {
    let (store, log) = memory_store();
    log.fail_with(Some(|| Error::StorageFull { cause: "test".into() }));
    assert_eq!(store.emit(vec![event(1)], Level::Disk, None).err().unwrap().code(), "storage_full");
    log.fail_with(None);
    assert_eq!(store.emit(vec![event(1)], Level::Disk, None).unwrap().wait().unwrap().duplicates.len(), 0);
    store.close().unwrap();
    store.close().unwrap();
    assert_eq!(store.emit(vec![event(2)], Level::Disk, None).err().unwrap().code(), "closed");
}

#[test]
fn secrets_are_taken_out_before_the_log_sees_the_event() {
    let secret = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOP";
    let (store, _log) = memory_store();
    let told = crate::store::testing::event_saying(&format!("the key is {secret}"));
    store.emit(vec![told], Level::Disk, None).unwrap().wait().unwrap();
    let mut reader = store.log().read(Seq::FIRST);
    let Some(crate::store::log::LogItem::Record { payload, .. }) = reader.next().unwrap() else { panic!() };
    assert!(!String::from_utf8_lossy(payload).contains(secret));
    assert!(String::from_utf8_lossy(payload).contains("the key is"), "control: the rest is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_emitters_at_once_get_distinct_dense_seqs() {
    let (store, _log) = memory_store();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64u128 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut seqs = Vec::new();
            for n in 0..20 {
                let id = uuid(task * 1000 + n + 1);
                seqs.extend(
                    store.emit(vec![event_with_id(id)], Level::Disk, None).unwrap().await.unwrap().seqs,
                );
            }
            assert!(seqs.is_sorted(), "one emitter's order is kept");
            seqs
        });
    }
    let mut all: Vec<u64> = tasks.join_all().await.into_iter().flatten().map(Seq::get).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=64 * 20).collect::<Vec<u64>>());
}
