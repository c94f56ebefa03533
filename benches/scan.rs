//! Reading, in bytes of payload a second, every checksum verified, beside the limits of the same machine in the same run:
//! reading the same bytes from memory, and checksumming them. And opening, after a clean stop and after a crash.
#![allow(unreachable_pub, reason = "a bench is a program, and it reports")]

mod support;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mnemosyne_journal::{Item, Journal, Level, RealDisk, Seq, View, Writer};
use support::{NOW, filled, open, options, record};

fn scan(c: &mut Criterion) {
    for (size, count) in [(256_usize, 1_000_000_u64), (1024, 250_000)] {
        let dir = tempfile::tempdir().expect("a directory");
        filled(dir.path(), count, size);
        let (view, _) = View::open(Arc::new(RealDisk::new(dir.path())), Writer::Absent).expect("a view");
        let mut group = c.benchmark_group(format!("scan {size} B (payload bytes/s)"));
        group.throughput(Throughput::Bytes(count * size as u64)).sample_size(10);
        group
            .bench_function("journal, checksums verified", |b| b.iter(|| assert_eq!(read_all(&view), count)));
        let memory = record(size).repeat(usize::try_from(count).expect("fits"));
        group.bench_function("limit: read from memory", |b| {
            b.iter(|| {
                let sum = memory
                    .chunks_exact(8)
                    .fold(0_u64, |sum, word| sum ^ u64::from_le_bytes(word.try_into().expect("8 bytes")));
                black_box(sum)
            });
        });
        group.bench_function("limit: crc of each record in memory", |b| {
            b.iter(|| memory.chunks_exact(size).fold(0, |sum, record| sum ^ crc32fast::hash(record)));
        });
        group.finish();
    }
}

fn read_all(view: &View) -> u64 {
    let mut reader = view.reader(Seq::FIRST);
    let mut records = 0;
    while let Some(item) = reader.next().expect("readable") {
        match item {
            Item::Record(record) => records += u64::from(!black_box(record.payload).is_empty()),
            Item::Gap(gap) => panic!("a gap in an undamaged journal: {gap:?}"),
        }
    }
    records
}

fn get(c: &mut Criterion) {
    const COUNT: u64 = 1_000_000;
    let dir = tempfile::tempdir().expect("a directory");
    filled(dir.path(), COUNT, 256);
    let (view, _) = View::open(Arc::new(RealDisk::new(dir.path())), Writer::Absent).expect("a view");
    let mut group = c.benchmark_group("get by seq, random, 256 B (records/s)");
    group.throughput(Throughput::Elements(1));
    let mut state = 1_u64;
    let mut reader = view.reader(Seq::FIRST);
    group.bench_function("journal", |b| {
        b.iter(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            reader.seek(Seq::new((state >> 33) % COUNT + 1));
            let Some(Item::Record(record)) = reader.next().expect("readable") else { panic!("it is there") };
            black_box(record.payload.len())
        });
    });
    group.finish();
}

fn reopen(c: &mut Criterion) {
    let mut group = c.benchmark_group("open 256 MB of records of 256 B (s)");
    group.sample_size(10);
    for crashed in [false, true] {
        let name = if crashed { "after a crash" } else { "after a clean stop" };
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_with_setup(
                || {
                    let dir = tempfile::tempdir().expect("a directory");
                    filled(dir.path(), 1_000_000, 256);
                    if crashed {
                        let journal = open(Arc::new(RealDisk::new(dir.path())), true);
                        journal
                            .submit(&[&record(256)], NOW, Level::Disk, None)
                            .expect("submitted")
                            .wait()
                            .expect("durable");
                    }
                    dir
                },
                |dir| {
                    let opened = Journal::open(Arc::new(RealDisk::new(dir.path())), options(true), NOW)
                        .expect("opens");
                    assert_eq!(opened.1.clean, !crashed);
                    (dir, opened)
                },
            );
        });
    }
    group.finish();
}

criterion_group!(benches, scan, get, reopen);
criterion_main!(benches);
