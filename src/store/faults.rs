//! Disks that fill up and fail, under a real journal: what was accepted and then not kept is not known any more, stays in the
//! inbox if it came from there, and gets its place again in the order in which it was put there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mnemosyne_journal as journal;
use mnemosyne_journal::sim::{Call, Rng, SimDisk};
use rustix::io::Errno;

use crate::clock::SystemClock;
use crate::config::DataDir;
use crate::event::Seq;
use crate::store::inbox::{self, Deposit};
use crate::store::testing::{event, journal_id};
use crate::store::{Item, Level, MemoryLog, Store, log::LocalLog, log::Log};

struct World {
    parent_dir: tempfile::TempDir,
    dir: DataDir,
    disk: SimDisk,
    store: Store,
}

impl World {
    fn new(committer: bool) -> World {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::at(parent.path().join("data"));
        dir.create().unwrap();
        let disk = SimDisk::new(7);
        let store = open(&dir, &disk, committer);
        World { parent_dir: parent, dir, disk, store }
    }

    fn put(&self, n: u128) {
        inbox::deposit(&self.dir.inbox(), &event(n), &SystemClock, Deposit::Os).unwrap();
    }

    fn waiting(&self) -> u64 {
        inbox::waiting(&self.dir.inbox()).unwrap()
    }

    fn full(&self) {
        self.disk.fail(Call::Write, 0, Errno::NOSPC, true);
    }

    /// The process dies and another opens the journal.
    fn restart(self) -> World {
        let World { parent_dir, dir, disk, store } = self;
        drop(store);
        let disk = disk.after_kill();
        let store = open(&dir, &disk, false);
        World { parent_dir, dir, disk, store }
    }
}

fn open(dir: &DataDir, disk: &SimDisk, committer: bool) -> Store {
    let id = journal::JournalId::from_bytes([3; 16]);
    let options = journal::Options::new(id, [5; 32]);
    let (journal, _) =
        journal::Journal::open(Arc::new(disk.clone()), options, journal::Micros::new(1)).unwrap();
    if committer {
        journal.start_committer().unwrap();
    }
    Store::over_with_inbox(Arc::new(LocalLog::new(journal)), dir, Arc::new(SystemClock))
}

fn ids(store: &Store) -> Vec<u128> {
    let mut ids = Vec::new();
    let mut replay = store.replay(Seq::FIRST);
    while let Some(item) = replay.next().unwrap() {
        let Item::Event(stored) = item else { panic!("{item:?}") };
        ids.push(stored.event.id.as_u128());
    }
    ids
}

#[test]
fn a_drain_that_meets_a_full_disk_leaves_the_files_and_the_next_one_takes_them_once() {
    for committer in [false, true] {
        let world = World::new(committer);
        (1..=5).for_each(|n| world.put(n));
        world.full();
        for _ in 0..3 {
            assert_eq!(world.store.drain_inbox().unwrap_err().code(), "storage_full");
            assert_eq!((world.waiting(), ids(&world.store).len()), (5, 0));
        }
        world.disk.heal();
        // At once: the old failure is not told again.
        assert_eq!(world.store.drain_inbox().unwrap().events, 5);
        assert_eq!((world.waiting(), ids(&world.store)), (0, vec![1, 2, 3, 4, 5]));
        let world = world.restart();
        assert!(world.store.drain_inbox().unwrap().is_empty());
        assert_eq!(ids(&world.store), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn what_lay_in_the_inbox_goes_first_even_if_it_was_taken_back_in_between() {
    let world = World::new(false);
    world.put(1);
    world.full();
    let pending = world.store.emit(vec![event(2)], Level::Disk, None).unwrap();
    assert_eq!(pending.seqs(), [Seq::new(2)]);
    assert_eq!(pending.wait().unwrap_err().code(), "storage_full");
    assert_eq!((world.waiting(), world.store.tail()), (1, Seq::FIRST));
    world.disk.heal();
    let retried = world.store.emit(vec![event(2)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!((retried.seqs, retried.duplicates.len()), (vec![Seq::new(2)], 0));
    world.store.drain_inbox().unwrap();
    assert_eq!((world.waiting(), ids(&world.store)), (0, vec![1, 2]));
}

#[test]
fn an_event_that_was_not_kept_is_new_again_even_if_nobody_waited_to_hear_of_it() {
    let world = World::new(false);
    world.full();
    drop(world.store.emit(vec![event(1)], Level::Os, None).unwrap());
    let second = world.store.emit(vec![event(2)], Level::Disk, None).unwrap();
    assert_eq!(second.wait().unwrap_err().code(), "storage_full");
    world.disk.heal();
    // Another takes the seq that it had, and is on its way while the first comes again.
    let third = world.store.emit(vec![event(3)], Level::Disk, None).unwrap();
    let again = world.store.emit(vec![event(1)], Level::Disk, None).unwrap();
    assert_eq!((third.seqs(), again.seqs()), (&[Seq::new(1)][..], &[Seq::new(2)][..]));
    assert_eq!(again.wait().unwrap().duplicates, [0; 0]);
    third.wait().unwrap();
    assert_eq!(ids(&world.store), [3, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_first_of_two_hears_that_it_was_not_kept() {
    let world = World::new(false);
    world.full();
    let first = world.store.emit(vec![event(1)], Level::Disk, None).unwrap();
    let second = tokio::spawn(world.store.emit(vec![event(1)], Level::Disk, None).unwrap());
    tokio::task::yield_now().await;
    assert_eq!(first.wait().unwrap_err().code(), "storage_full");
    let told = tokio::time::timeout(Duration::from_secs(20), second).await;
    assert_eq!(told.expect("it hangs").unwrap().unwrap_err().code(), "storage_full");
    world.disk.heal();
    let retried = world.store.emit(vec![event(1)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!((retried.seqs, retried.duplicates.len()), (vec![Seq::new(1)], 0));
}

#[test]
fn a_file_whose_event_is_on_its_way_already_waits_for_it_and_keeps_nobody_waiting() {
    let world = World::new(false);
    let first = world.store.emit(vec![event(1)], Level::Disk, None).unwrap();
    world.put(1);
    let syncs = || world.disk.trace().iter().filter(|line| line.contains("sync_data")).count();
    let before = syncs();
    let second = world.store.emit(vec![event(2)], Level::Disk, None).unwrap();
    assert_eq!(syncs(), before, "no flush under the writer's lock");
    world.full();
    assert_eq!(second.wait().unwrap_err().code(), "storage_full");
    assert_eq!(first.wait().unwrap_err().code(), "storage_full");
    assert_eq!(world.waiting(), 1);
    world.disk.heal();
    assert_eq!(world.store.drain_inbox().unwrap().events, 1, "it is the first one now");
    assert_eq!((world.waiting(), ids(&world.store)), (0, vec![1]));
}

#[test]
fn a_failed_flush_ends_writing_and_keeps_the_inbox_for_the_next_opening() {
    let world = World::new(true);
    (1..=5).for_each(|n| world.put(n));
    world.disk.fail(Call::Sync, 0, Errno::IO, true);
    for _ in 0..3 {
        assert_eq!(world.store.drain_inbox().unwrap_err().code(), "journal_poisoned");
        assert_eq!(
            world.store.emit(vec![event(9)], Level::Disk, None).err().unwrap().code(),
            "journal_poisoned"
        );
    }
    assert_eq!((world.waiting(), ids(&world.store).len()), (5, 0));
    world.disk.heal();
    assert_eq!(world.store.drain_inbox().unwrap_err().code(), "journal_poisoned", "healing is no excuse");
    assert!(world.store.close().is_err());
    let world = world.restart();
    world.store.drain_inbox().unwrap();
    assert_eq!((world.waiting(), ids(&world.store)), (0, vec![1, 2, 3, 4, 5]));
}

/// One process puts and emits by turns and retries what fails, while another makes the disk's failures happen at other moments.
#[test]
fn one_process_order_survives_a_disk_that_is_full_again_and_again() {
    for seed in 0..30 {
        let world = World::new(seed % 2 == 0);
        let mut rng = Rng::new(seed);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 1_000_000;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    // Whether this one is kept is nobody's concern here.
                    world
                        .store
                        .emit(vec![event(n)], Level::Os, None)
                        .and_then(crate::store::Pending::wait)
                        .ok();
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
            for n in 1..=60 {
                if rng.chance(20) {
                    world.disk.fail(Call::Write, rng.below(3), Errno::NOSPC, rng.chance(50));
                }
                if rng.chance(60) {
                    world.put(n);
                    continue;
                }
                while world
                    .store
                    .emit(vec![event(n)], Level::Disk, None)
                    .and_then(crate::store::Pending::wait)
                    .is_err()
                {
                    if rng.chance(30) {
                        world.disk.heal();
                    }
                }
            }
            world.disk.heal();
            stop.store(true, Ordering::Relaxed);
        });
        world.disk.heal();
        world.store.drain_inbox().unwrap();
        let mut kept = ids(&world.store);
        let mut distinct = kept.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), kept.len(), "seed {seed}: nothing is doubled");
        kept.retain(|id| *id < 1_000_000);
        assert_eq!(kept, (1..=60).collect::<Vec<u128>>(), "seed {seed}");
        assert_eq!(world.waiting(), 0);
    }
}

#[test]
fn a_file_that_cannot_be_removed_stops_nobody_and_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::at(parent.path().join("data"));
    dir.create().unwrap();
    let log = MemoryLog::pretending(journal_id());
    let store = Store::over_with_inbox(Arc::new(log.clone()), &dir, Arc::new(SystemClock));
    let put = |n| inbox::deposit(&dir.inbox(), &event(n), &SystemClock, Deposit::Os).unwrap();
    log.hold(true);
    put(1);
    drop(store.emit(vec![event(2)], Level::Disk, None).unwrap());
    let name = std::fs::read_dir(dir.inbox()).unwrap().map(|file| file.unwrap().path());
    let path = name.filter(|path| !path.ends_with("failed")).last().unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    log.hold(false);
    put(3);
    assert_eq!(store.drain_inbox().unwrap_err().code(), "io");
    put(4);
    store.emit(vec![event(5)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(ids(&store), [1, 2, 3, 4, 5]);
    assert_eq!(store.drain_inbox().unwrap_err().code(), "io", "as long as it is there");
    std::fs::remove_dir(&path).unwrap();
    assert!(store.drain_inbox().unwrap().is_empty());
    assert_eq!(log.tail(), Seq::new(6));
}

#[test]
fn a_file_that_an_emit_set_aside_is_told_by_the_next_drain() {
    let world = World::new(false);
    std::fs::write(world.dir.inbox().join(format!("{:020}-1-00", 1)), b"nothing").unwrap();
    world.store.emit(vec![event(1)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(world.waiting(), 0);
    assert_eq!(world.store.drain_inbox().unwrap().quarantined, 1);
    assert_eq!(world.store.drain_inbox().unwrap().quarantined, 0, "once");
}

#[test]
fn a_drain_that_fails_is_tried_now_and_then_however_much_arrives_and_says_why() {
    let world = World::new(true);
    let watch = world.store.watch_inbox().unwrap();
    world.full();
    let writes = || world.disk.trace().iter().filter(|line| line.contains("write")).count();
    let (before, begun) = (writes(), std::time::Instant::now());
    for n in 1..=300 {
        world.put(n);
        std::thread::sleep(Duration::from_millis(5));
    }
    let (tried, seconds) = (writes() - before, begun.elapsed().as_secs() + 1);
    assert!(watch.trouble().is_some_and(|why| why.contains("no space")), "{:?}", watch.trouble());
    assert!((1..10 * seconds).contains(&(tried as u64)), "{tried} writes in {seconds} s");
    assert_eq!(world.waiting(), 300);
    world.disk.heal();
    let bound = std::time::Instant::now() + Duration::from_secs(30);
    while world.waiting() > 0 || watch.trouble().is_some() {
        assert!(std::time::Instant::now() < bound, "{:?}", watch.trouble());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(watch);
    assert_eq!(ids(&world.store), (1..=300).collect::<Vec<u128>>());
}
