//! Reading commands beside a writer, without one, and before there is anything; and who may open the store when.

use std::sync::Arc;

use super::*;
use crate::store::testing::event;
use crate::store::{Delivery, inbox::Deposit};

fn data_dir() -> (tempfile::TempDir, DataDir, Env) {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::at(parent.path().join("data"));
    dir.create().unwrap();
    let env = Env::with_home(parent.path());
    (parent, dir, env)
}

fn server(dir: &DataDir) -> Store {
    Store::open(dir, Opening::server("server", Arc::new(SystemClock), Settings::default())).unwrap().0
}

fn put(dir: &DataDir, n: u128) {
    inbox::deposit(&dir.inbox(), &event(n), &SystemClock, Deposit::Os).unwrap();
}

fn ids(view: &View) -> Vec<u128> {
    let mut ids = Vec::new();
    let mut replay = view.replay(Seq::FIRST);
    while let Some(item) = replay.next().unwrap() {
        let Item::Event(stored) = item else { panic!("{item:?}") };
        ids.push(stored.event.id.as_u128());
    }
    ids
}

#[test]
fn a_missing_directory_is_told_and_not_made() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::at(parent.path().join("none"));
    assert_eq!(read(&dir, &Env::with_home(parent.path())).err().unwrap().code(), "no_data_dir");
    assert!(!dir.path().exists());
}

#[test]
fn without_a_holder_reading_drains_the_inbox_and_appends_nothing_of_its_own() {
    let (_parent, dir, env) = data_dir();
    let empty = read(&dir, &env).unwrap();
    assert_eq!((empty.durable(), empty.journal_id()), (Seq::ZERO, None));
    assert!(!dir.journal().join("00000000000000000001.seg").exists(), "looking made no journal");
    (1..=3).for_each(|n| put(&dir, n));
    let view = read(&dir, &env).unwrap();
    assert_eq!((ids(&view), view.waiting()), (vec![1, 2, 3], 0));
    assert_eq!(holder(&dir), None, "the lock was given back, and its file names nobody");
}

#[test]
fn a_plain_view_leaves_the_inbox_alone_and_counts_it() {
    let (_parent, dir, _env) = data_dir();
    (1..=3).for_each(|n| put(&dir, n));
    let view = View::open(&dir).unwrap();
    assert_eq!((ids(&view), view.waiting()), (vec![], 3));
}

#[test]
fn beside_a_server_reading_sees_what_is_durable_and_counts_what_waits() {
    let (_parent, dir, env) = data_dir();
    let store = server(&dir);
    store.emit(vec![event(1)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(ids(&read(&dir, &env).unwrap()), [1]);
    // This server does not watch its inbox.
    put(&dir, 2);
    let view = read(&dir, &env).unwrap();
    assert_eq!((ids(&view), view.waiting()), (vec![1], 1));
    let watch = store.watch_inbox().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.durable() < Seq::new(2) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(ids(&read(&dir, &env).unwrap()), [1, 2]);
    put(&dir, 3);
    let mut subscription = store.subscribe(Seq::new(3), Filter::all()).unwrap();
    let woken = subscription.wait_next(Duration::from_secs(4)).unwrap();
    assert!(matches!(woken, Some(Delivery::Event(_))), "woken by the system, before the look of every 5 s");
    assert_eq!(watch.trouble(), None);
    drop(watch);
    store.close().unwrap();
}

#[test]
fn following_without_a_server_drains_what_arrives_and_goes_on_beside_one() {
    let (_parent, dir, env) = data_dir();
    let mut follower = read(&dir, &env).unwrap().follow(Seq::FIRST, Filter::all()).unwrap();
    let mut next = || match follower.wait_next(Duration::from_secs(10)).unwrap() {
        Some(Delivery::Event(stored)) => stored.event.id.as_u128(),
        other => panic!("{other:?}"),
    };
    put(&dir, 1);
    assert_eq!(next(), 1);
    put(&dir, 2);
    assert_eq!(next(), 2);
    let store = server(&dir);
    store.emit(vec![event(3)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(next(), 3);
    store.close().unwrap();
    put(&dir, 4);
    assert_eq!(next(), 4);
}

#[test]
fn one_writer_and_the_second_is_told_who_the_first_is() {
    let (_parent, dir, _env) = data_dir();
    let store = server(&dir);
    let held = holder(&dir).unwrap();
    assert_eq!((held.role, held.process), (Role::Server, clock::ProcessStamp::current()));
    assert_eq!(held.journal_id, Some(store.journal_id().to_string()));
    let clock = Arc::new(SystemClock);
    let began = Instant::now();
    let second =
        Store::open(&dir, Opening::server("second", clock.clone(), Settings::default())).err().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "at once");
    assert_eq!(second.code(), "server_running");
    assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
    let command =
        Opening { lock_wait: Duration::from_millis(20), ..Opening::command("c", clock, Settings::default()) };
    assert_eq!(Store::open(&dir, command.clone()).err().unwrap().code(), "locked");
    store.close().unwrap();
    let (store, opened) = Store::open(&dir, command).unwrap();
    assert!(opened.clean && !opened.created);
    store.close().unwrap();
}

#[test]
fn what_was_emitted_once_is_known_after_a_restart_with_and_without_the_index() {
    let (_parent, dir, _env) = data_dir();
    for round in 0..3 {
        let store = server(&dir);
        let events = (1..=50).map(event).collect();
        let emitted = store.emit(events, Level::Disk, None).unwrap().wait().unwrap();
        assert_eq!(emitted.seqs, (1..=50).map(Seq::new).collect::<Vec<Seq>>(), "round {round}");
        assert_eq!(emitted.duplicates.len(), if round == 0 { 0 } else { 50 });
        store.close().unwrap();
        if round == 1 {
            std::fs::remove_dir_all(dir.index()).unwrap();
        }
    }
}

#[test]
fn sixty_four_emitters_on_a_real_journal_share_flushes_and_lose_none() {
    let (_parent, dir, env) = data_dir();
    let store = server(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let mut acknowledged: Vec<(u64, u128)> = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..64u128 {
            let store = store.clone();
            tasks.spawn(async move {
                let mut mine = Vec::new();
                for n in 0..10 {
                    let id = task * 100 + n + 1;
                    let emitted = store.emit(vec![event(id)], Level::Disk, None).unwrap().await.unwrap();
                    assert_eq!(emitted.durability, Level::Disk);
                    mine.push((emitted.seqs[0].get(), id));
                }
                assert!(mine.is_sorted());
                mine
            });
        }
        tasks.join_all().await.into_iter().flatten().collect()
    });
    acknowledged.sort_unstable();
    assert_eq!(
        acknowledged.iter().map(|(seq, _)| *seq).collect::<Vec<u64>>(),
        (1..=640).collect::<Vec<u64>>()
    );
    let expected: Vec<u128> = acknowledged.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids(&read(&dir, &env).unwrap()), expected, "beside the server");
    store.close().unwrap();
    assert_eq!(ids(&read(&dir, &env).unwrap()), expected, "after it");
}
