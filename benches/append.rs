//! Appending, in records a second, beside the limits of the same machine in the same run.
//!
//! - `buffered`: records of 256 bytes at level `os`, one thread, nobody waits for each; with and without the chain,
//!   beside the limit: copy, checksum and write(2) the same bytes 64 KiB at a time.
//! - `durable`: level `disk` from 1 blocking writer, and from 16 and 64 asynchronous ones, over a flush of fixed 200 us, beside the limit of
//!   one writer: a bare write and that flush. Each run tells flushes a record on stderr.
//! - `disk`: one writer on the real disk, beside a bare write and fdatasync of the same bytes.
#![allow(unreachable_pub, clippy::print_stderr, reason = "a bench is a program, and it reports")]

mod support;

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mnemosyne_journal::{Journal, Level, RealDisk};
use support::{NOW, fixed_flush, fixed_flush_disk, open, record};

const RECORD_BYTES: usize = 256;
/// A fresh journal now and then, so that a long run does not fill the disk.
const RECORDS_PER_JOURNAL: u64 = 2_000_000;

fn buffered(c: &mut Criterion) {
    let mut group = c.benchmark_group("append buffered 256 B (records/s)");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    let bytes = record(RECORD_BYTES);
    for (name, chain) in [("chain", true), ("no chain", false)] {
        group.bench_function(name, |b| {
            b.iter_custom(|records| in_journals(records, |count| append_buffered(&bytes, count, chain)));
        });
    }
    group.bench_function("limit: copy + crc + write(2) of 64 KiB", |b| {
        b.iter_custom(|records| in_journals(records, |count| write_bare(&bytes, count)));
    });
    group.finish();
}

fn in_journals(records: u64, run: impl Fn(u64) -> Duration) -> Duration {
    let mut left = records;
    let mut took = Duration::ZERO;
    while left > 0 {
        let count = left.min(RECORDS_PER_JOURNAL);
        took += run(count);
        left -= count;
    }
    took
}

fn append_buffered(bytes: &[u8], count: u64, chain: bool) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(Arc::new(RealDisk::new(dir.path())), chain);
    let began = Instant::now();
    for _ in 0..count {
        let _ticket = journal.submit(&[bytes], NOW, Level::Os, None).expect("submitted");
    }
    journal.flush(Level::Os).expect("written");
    began.elapsed()
}

fn write_bare(bytes: &[u8], count: u64) -> Duration {
    let mut file = tempfile::tempfile().expect("a file");
    let mut buffer = Vec::with_capacity(64 * 1024 + RECORD_BYTES);
    let began = Instant::now();
    for _ in 0..count {
        buffer.extend_from_slice(bytes);
        black_box(crc32fast::hash(bytes));
        if buffer.len() >= 64 * 1024 {
            file.write_all(&buffer).expect("written");
            buffer.clear();
        }
    }
    file.write_all(&buffer).expect("written");
    began.elapsed()
}

fn durable(c: &mut Criterion) {
    let mut group = c.benchmark_group("append durable 256 B, flush of fixed 200 us (records/s)");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    let bytes = record(RECORD_BYTES);
    group.bench_function("limit of 1 writer: write + flush", |b| {
        b.iter_custom(|records| {
            let file = tempfile::tempfile().expect("a file");
            let began = Instant::now();
            for n in 0..records {
                file.write_all_at(&bytes, n * RECORD_BYTES as u64).expect("written");
                fixed_flush();
            }
            began.elapsed()
        });
    });
    for writers in [1_u64, 16, 64] {
        group.bench_with_input(BenchmarkId::new("writers", writers), &writers, |b, &writers| {
            b.iter_custom(|records| append_durable(&bytes, records, writers));
        });
    }
    group.finish();
}

fn append_durable(bytes: &[u8], records: u64, writers: u64) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, flushes) = fixed_flush_disk(dir.path());
    let journal = open(Arc::new(disk), true);
    let before = flushes.load(Ordering::Relaxed);
    let each = records.div_ceil(writers);
    let took = if writers == 1 {
        one_writer(&journal, bytes, records)
    } else {
        tasks(&journal, bytes, writers, each)
    };
    let flushed = flushes.load(Ordering::Relaxed) - before;
    if each > 50 {
        let a_record = flushed as f64 / (each * writers) as f64;
        eprintln!("  {writers} writers: {a_record:.4} flushes a record");
    }
    // More than was asked for was appended when it does not divide evenly.
    took.mul_f64(records as f64 / (each * writers) as f64)
}

fn one_writer(journal: &Journal, bytes: &[u8], records: u64) -> Duration {
    let began = Instant::now();
    for _ in 0..records {
        journal.submit(&[bytes], NOW, Level::Disk, None).expect("submitted").wait().expect("durable");
    }
    began.elapsed()
}

fn tasks(journal: &Journal, bytes: &[u8], writers: u64, each: u64) -> Duration {
    journal.start_committer().expect("a thread");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let began = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|_| {
                let (journal, bytes) = (journal.clone(), bytes.to_vec());
                tokio::spawn(async move {
                    for _ in 0..each {
                        journal
                            .submit(&[&bytes], NOW, Level::Disk, None)
                            .expect("submitted")
                            .await
                            .expect("durable");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a writer");
        }
        began.elapsed()
    })
}

fn disk(c: &mut Criterion) {
    let mut group = c.benchmark_group("append durable 256 B, the real disk, 1 writer (records/s)");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    let bytes = record(RECORD_BYTES);
    group.bench_function("limit: write + fdatasync", |b| {
        b.iter_custom(|records| {
            let file: File = tempfile::tempfile().expect("a file");
            let began = Instant::now();
            for n in 0..records {
                file.write_all_at(&bytes, n * RECORD_BYTES as u64).expect("written");
                file.sync_data().expect("flushed");
            }
            began.elapsed()
        });
    });
    group.bench_function("journal", |b| {
        b.iter_custom(|records| {
            let dir = tempfile::tempdir().expect("a directory");
            let journal = open(Arc::new(RealDisk::new(dir.path())), true);
            one_writer(&journal, &bytes, records)
        });
    });
    group.finish();
}

criterion_group!(benches, buffered, durable, disk);
criterion_main!(benches);
