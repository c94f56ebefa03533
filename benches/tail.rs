//! From an append to a reader in the same process that waits for it, in seconds a round: append, seen by the reader,
//! answered. Beside the limit in the same run: one wake over a condition variable there and one back.
#![allow(unreachable_pub, reason = "a bench is a program, and it reports")]

mod support;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mnemosyne_journal::{Disk, Item, Level, Seq};
use support::{FixedFlush, NOW, fixed_flush, open, record};

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
    let disk: Arc<dyn Disk> =
        if flush { Arc::new(FixedFlush::new(dir.path())) } else { Arc::new(NoFlush::new(dir.path())) };
    let journal = open(disk, true);
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

use no_flush::NoFlush;

/// A disk whose flush returns at once: what remains is our own time.
mod no_flush {
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use mnemosyne_journal::disk::{Access, Map};
    use mnemosyne_journal::{Disk, DiskFile, RealDisk};

    #[derive(Debug)]
    pub struct NoFlush(RealDisk);
    #[derive(Debug)]
    struct NoFlushFile(Arc<dyn DiskFile>);

    impl NoFlush {
        pub fn new(dir: &Path) -> NoFlush {
            NoFlush(RealDisk::new(dir))
        }
    }

    impl Disk for NoFlush {
        fn list(&self, dir: &str) -> io::Result<Vec<String>> {
            self.0.list(dir)
        }
        fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
            Ok(Arc::new(NoFlushFile(self.0.open(name, access)?)))
        }
        fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
            Ok(Arc::new(NoFlushFile(self.0.create(name)?)))
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }
        fn sync_dir(&self, _dir: &str) -> io::Result<()> {
            Ok(())
        }
    }

    impl DiskFile for NoFlushFile {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.0.read_at(buf, offset)
        }
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            self.0.write_at(bytes, offset)
        }
        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
        fn map(&self) -> Option<Map> {
            self.0.map()
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
    }
}

criterion_group!(benches, latency);
criterion_main!(benches);
