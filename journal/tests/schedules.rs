//! Group commit under a scheduler that chooses, by a seed, which thread runs next at each lock, number, wake-up and start.
//!
//! Only with `--cfg shuttle`: `tools/schedules.sh`. Each test runs `MNEMOSYNE_SCHEDULES` schedules at random and as many of few
//! preemptions at the worst places (PCT); `MNEMOSYNE_SEED` begins elsewhere. A thread that nobody wakes is a deadlock here, and
//! is told with the schedule that led to it. The controls break one rule each and must be found.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and says what it ran")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mnemosyne_journal::sim::{Call, SimDisk};
use mnemosyne_journal::{
    Control, Error, Item, Journal, JournalId, Level, Micros, Options, Seq, Ticket, View, Writer,
    break_for_control,
};
use shuttle::{future, thread};

#[path = "support/schedules.rs"]
mod support;

use support::Schedules;

const SCHEDULES: Schedules = Schedules { count: 2_000, seed: 0x6d6e_656d_6f73 };
const WRITERS: u64 = 3;
const BOOT: u64 = 9;
const SEGMENT_BYTES: u64 = 16 << 10;
const IO_ERROR: rustix::io::Errno = rustix::io::Errno::IO;

fn explore(name: &str, test: impl Fn() + Copy + Send + Sync + 'static) {
    SCHEDULES.explore(name, test);
}

fn is_found(control: Control, test: impl Fn() + Copy + Send + Sync + 'static) {
    SCHEDULES.is_found(break_for_control, control, test);
}

/// Small segments: the filler writes zeros up to their end, and no schedule needs a megabyte of them.
fn options() -> Options {
    Options::new(JournalId::from_bytes(*b"journal-of-turns"), [5; 32])
        .with_boot(BOOT)
        .with_segment_bytes_target(SEGMENT_BYTES)
}

fn open(disk: &SimDisk) -> Journal {
    Journal::open(Arc::new(disk.clone()), options(), Micros::new(1)).unwrap().0
}

fn submit(journal: &Journal, text: &str, level: Level) -> Result<Ticket, Error> {
    journal.submit(&[text.as_bytes()], Micros::new(1), level, None)
}

/// What a power cut at this moment would leave.
fn left(disk: &SimDisk) -> Vec<(u64, String)> {
    let after = disk.restarted();
    let (journal, _) = Journal::open(Arc::new(after), options(), Micros::new(2)).unwrap();
    read(&journal)
}

fn read(journal: &Journal) -> Vec<(u64, String)> {
    let (mut reader, mut records) = (journal.reader(Seq::FIRST), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("a gap in a journal that nothing happened to") };
        records.push((record.seq.get(), String::from_utf8(record.payload.to_vec()).unwrap()));
    }
    records
}

/// Threads that submit twice each and wait; each acknowledgement is held against what a power cut would leave then.
fn writers_wait(committer: bool) {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    if committer {
        journal.start_committer().unwrap();
    }
    let threads: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (journal, disk) = (journal.clone(), disk.clone());
            thread::spawn(move || {
                for turn in 0..2 {
                    let text = format!("{writer} {turn}");
                    let ack = submit(&journal, &text, Level::Disk).unwrap().wait().unwrap();
                    assert!(journal.durable() >= ack.last, "acknowledged before it was durable");
                    assert!(
                        left(&disk).contains(&(ack.last.get(), text)),
                        "a power cut would take what was acknowledged"
                    );
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(read(&journal).len() as u64, 2 * WRITERS);
    journal.close().unwrap();
}

fn writers_wait_without_a_committer() {
    writers_wait(false);
}

fn writers_wait_for_the_committer() {
    writers_wait(true);
}

#[test]
fn threads_that_wait_commit_for_each_other() {
    explore("threads without a committer", writers_wait_without_a_committer);
}

#[test]
fn threads_that_wait_are_served_by_the_committer() {
    explore("threads with a committer", writers_wait_for_the_committer);
}

#[test]
fn tasks_that_wait_are_served_by_the_committer() {
    explore("tasks", || {
        let disk = SimDisk::new(2);
        let journal = open(&disk);
        journal.start_committer().unwrap();
        let tasks: Vec<_> = (0..WRITERS)
            .map(|task| {
                let (journal, disk) = (journal.clone(), disk.clone());
                future::spawn(async move {
                    let text = format!("{task}");
                    let ack = submit(&journal, &text, Level::Disk).unwrap().await.unwrap();
                    assert!(left(&disk).contains(&(ack.last.get(), text)));
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| future::block_on(task).unwrap());
        journal.close().unwrap();
    });
}

/// Tasks that commit by themselves where they are alone, and are served by the committer where they are not.
fn tasks_commit_alone_or_are_served() {
    let disk = SimDisk::new(8);
    let journal = open(&disk);
    journal.start_committer().unwrap();
    let tasks: Vec<_> = (0..WRITERS)
        .map(|task| {
            let (journal, disk) = (journal.clone(), disk.clone());
            thread::spawn(move || {
                for turn in 0..2 {
                    let text = format!("{task} {turn}");
                    let ticket = submit(&journal, &text, Level::Disk).unwrap();
                    ticket.commit_if_alone(|work| work());
                    let ack = future::block_on(ticket).unwrap();
                    assert!(journal.durable() >= ack.last, "acknowledged before it was durable");
                    assert!(
                        left(&disk).contains(&(ack.last.get(), text)),
                        "a power cut would take what was acknowledged"
                    );
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert_eq!(read(&journal).len() as u64, 2 * WRITERS);
    journal.close().unwrap();
}

#[test]
fn tasks_that_are_alone_commit_by_themselves() {
    explore("tasks that are alone", tasks_commit_alone_or_are_served);
}

#[test]
fn control_a_task_that_is_acknowledged_before_its_own_flush_is_found() {
    is_found(Control::AcknowledgesEarly, tasks_commit_alone_or_are_served);
}

#[test]
fn the_committer_starts_while_threads_commit_for_each_other() {
    explore("the committer starts", || {
        let journal = open(&SimDisk::new(3));
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let journal = journal.clone();
                thread::spawn(move || {
                    let level = if writer == 0 { Level::Os } else { Level::Disk };
                    submit(&journal, "early", level).unwrap().wait().unwrap();
                    submit(&journal, "late", level).unwrap().wait().unwrap();
                })
            })
            .collect();
        journal.start_committer().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        journal.close().unwrap();
    });
}

#[test]
fn a_failed_flush_reaches_everybody_and_takes_nothing_that_was_acknowledged() {
    explore("a failed flush", || {
        let disk = SimDisk::new(4);
        let journal = open(&disk);
        journal.start_committer().unwrap();
        disk.fail(Call::Sync, 1, IO_ERROR, true);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (journal, acknowledged) = (journal.clone(), Arc::clone(&acknowledged));
                thread::spawn(move || {
                    for turn in 0..2 {
                        let ticket = match submit(&journal, &format!("{writer} {turn}"), Level::Disk) {
                            Ok(ticket) => ticket,
                            Err(Error::Poisoned { .. }) => return,
                            Err(other) => panic!("{other}"),
                        };
                        match ticket.wait() {
                            Ok(ack) => _ = acknowledged.fetch_max(ack.last.get(), Ordering::SeqCst),
                            Err(Error::Poisoned { .. }) => return,
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(journal.poisoned().is_some(), "six flushed records, and the second flush had failed");
        assert!(journal.close().is_err());
        disk.heal();
        let left = left(&disk).len() as u64;
        assert!(left >= acknowledged.load(Ordering::SeqCst), "acknowledged, and lost with the failed flush");
    });
}

#[test]
fn closing_ends_everybody_who_waits() {
    explore("closing", || {
        let disk = SimDisk::new(5);
        let journal = open(&disk);
        journal.start_committer().unwrap();
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let journal = journal.clone();
                thread::spawn(move || {
                    let outcome = submit(&journal, &format!("{writer}"), Level::Disk).and_then(Ticket::wait);
                    match outcome {
                        Ok(ack) => Some(ack.last.get()),
                        Err(Error::Closed) => None,
                        Err(other) => panic!("{other}"),
                    }
                })
            })
            .collect();
        let watch = journal.watch();
        let follower = thread::spawn(move || {
            let mut at = Seq::ZERO;
            while !watch.is_closed() {
                at = watch.wait_beyond(at, Duration::MAX);
            }
        });
        journal.close().unwrap();
        follower.join().unwrap();
        let acknowledged: Vec<u64> =
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        let left = left(&disk);
        assert_eq!(left.len(), acknowledged.len(), "of what was submitted before the end, all is there");
    });
}

/// From replay to the live end: who reads while the tail is ahead and waits when it is not gets each record once.
fn a_follower_gets_each_record_once() {
    let journal = open(&SimDisk::new(6));
    submit(&journal, "before", Level::Disk).unwrap().wait().unwrap();
    journal.start_committer().unwrap();
    let followers: Vec<_> = (0..2)
        .map(|_| {
            let (mut reader, watch) = (journal.reader(Seq::FIRST), journal.watch());
            thread::spawn(move || {
                let mut next = Seq::FIRST;
                while next.get() <= 1 + WRITERS {
                    match reader.next().unwrap() {
                        Some(Item::Record(record)) => {
                            assert_eq!(record.seq, next, "a record was left out or came twice");
                            next = next.next();
                        }
                        Some(Item::Gap(_)) => panic!("nothing was damaged"),
                        None => _ = watch.wait_beyond(next.prev(), Duration::MAX),
                    }
                }
            })
        })
        .collect();
    for _ in 0..WRITERS {
        submit(&journal, "live", Level::Disk).unwrap().wait().unwrap();
    }
    followers.into_iter().for_each(|follower| follower.join().unwrap());
    journal.close().unwrap();
}

#[test]
fn following_from_replay_to_the_live_end_leaves_nothing_out() {
    explore("following", a_follower_gets_each_record_once);
}

#[test]
fn a_view_beside_the_writer_never_shows_what_is_not_durable() {
    explore("a view", || {
        let disk = SimDisk::new(7);
        let journal = open(&disk);
        submit(&journal, "first", Level::Disk).unwrap().wait().unwrap();
        let writer = {
            let journal = journal.clone();
            thread::spawn(move || _ = submit(&journal, "second", Level::Disk).unwrap().wait().unwrap())
        };
        let view = View::open(Arc::new(disk.clone()), Writer::Alive { boot: BOOT }).unwrap().0;
        let seen = view.durable();
        assert!(left(&disk).len() as u64 >= seen.get(), "a view showed what a power cut would take");
        writer.join().unwrap();
        journal.close().unwrap();
    });
}

#[test]
fn control_a_look_that_is_not_taken_again_under_the_lock_loses_a_wake_up() {
    is_found(Control::LooksOnce, a_follower_gets_each_record_once);
}

#[test]
fn control_a_turn_that_is_not_passed_on_leaves_somebody_waiting() {
    is_found(Control::KeepsTheTurn, writers_wait_without_a_committer);
}

#[test]
fn control_an_acknowledgement_before_the_flush_is_found() {
    is_found(Control::AcknowledgesEarly, writers_wait_for_the_committer);
}
