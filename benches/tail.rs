//! From an append to a reader in the same process that waits for it, in seconds a round: append, seen by the reader,
//! answered. Beside the limit in the same run: one wake over a condition variable there and one back.
#![allow(unreachable_pub, reason = "a bench is a program, and it reports")]

mod support;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mnemosyne_journal::{Item, Level, Seq};
use support::{NOW, OtherFlush, fixed_flush, fixed_flush_disk, open, record};

fn latency(c: &mut Criterion) {
    let mut group = c.benchmark_group("tail: append to seen by a waiting reader, and back (s a round)");
    group.sample_size(20);
    group.bench_function("journal, flush of no time", |b| {
        b.iter_custom(|rounds| through_journal(rounds, false));
    });
    group.bench_function("journal, flush of fixed 200 us", |b| {
        b.iter_custom(|rounds| through_journal(rounds, true));
    });
    group.bench_function("limit: condition there and back", |b| {
        b.iter_custom(|rounds| through_conditions(rounds, false));
    });
    group.bench_function("limit: flush of fixed 200 us, condition there and back", |b| {
        b.iter_custom(|rounds| through_conditions(rounds, true));
    });
    group.finish();
}

fn through_journal(rounds: u64, flush: bool) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    // Where the flush returns at once, what remains is our own time.
    let disk = if flush { fixed_flush_disk(dir.path()).0 } else { OtherFlush::none(dir.path()) };
    let journal = open(Arc::new(disk), true);
    let (answers, answered): (SyncSender<Seq>, Receiver<Seq>) = sync_channel(1);
    let follower = journal.clone();
    let reader = std::thread::spawn(move || {
        let watch = follower.watch();
        let mut reader = follower.reader(Seq::FIRST);
        let mut at = Seq::ZERO;
        for _ in 0..rounds {
            watch.wait_beyond(at, Duration::from_secs(10));
            let Some(Item::Record(record)) = reader.next().expect("readable") else {
                panic!("it was published")
            };
            at = record.seq;
            answers.send(at).expect("the writer lives");
        }
    });
    let bytes = record(256);
    let began = Instant::now();
    for _ in 0..rounds {
        let ack =
            journal.submit(&[&bytes], NOW, Level::Disk, None).expect("submitted").wait().expect("durable");
        assert_eq!(answered.recv().expect("the reader lives"), ack.last);
    }
    let took = began.elapsed();
    reader.join().expect("the reader");
    took
}

fn through_conditions(rounds: u64, flush: bool) -> Duration {
    let there = Arc::new((Mutex::new(0_u64), Condvar::new()));
    let (answers, answered): (SyncSender<u64>, Receiver<u64>) = sync_channel(1);
    let place = there.clone();
    let waiter = std::thread::spawn(move || {
        for round in 1..=rounds {
            let guard = place.0.lock().expect("not poisoned");
            let at = *place.1.wait_while(guard, |at| *at < round).expect("not poisoned");
            answers.send(at).expect("the writer lives");
        }
    });
    let began = Instant::now();
    for round in 1..=rounds {
        if flush {
            fixed_flush();
        }
        *there.0.lock().expect("not poisoned") = round;
        there.1.notify_one();
        assert_eq!(answered.recv().expect("the waiter lives"), round);
    }
    let took = began.elapsed();
    waiter.join().expect("the waiter");
    took
}

criterion_group!(benches, latency);
criterion_main!(benches);
