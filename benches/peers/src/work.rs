//! The work that is compared.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::engine::{Engine, Kind, Result};
use crate::engines;
use crate::flush::{self, Mode};
use crate::limits;

/// Bytes that no compressor can guess, the same in each run; a record is so many of them from some place on.
static NOISE: [u8; 64 * 1024] = noise();

const fn noise() -> [u8; 64 * 1024] {
    let mut bytes = [0; 64 * 1024];
    let (mut state, mut at) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    while at < bytes.len() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[at] = state.to_le_bytes()[0];
        at += 1;
    }
    bytes
}

/// The record of this number.
pub fn record(number: u64, bytes: usize) -> &'static [u8] {
    let at = number.wrapping_mul(61) as usize % (NOISE.len() - bytes);
    &NOISE[at..at + bytes]
}

/// One table.
pub struct Work {
    pub name: &'static str,
    pub bytes: usize,
    pub what: What,
    pub flush: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// One record at a time, not flushed; then handed to the operating system.
    Unflushed {
        batch: usize,
    },
    /// Each record acknowledged durable, from so many threads; the journal also from so many tasks.
    Durable {
        writers: usize,
        tasks: bool,
    },
    Scan,
    Get,
    /// Opening a copy of the files of a process that is still running: what a crash of it would leave.
    OpenAfterCrash,
    /// Bytes of the closed directory for a byte of payload.
    Space,
}

pub const ALL: &[Work] = &[
    Work {
        name: "append, not flushed, 1 thread, 256 B",
        bytes: 256,
        what: What::Unflushed { batch: 1 },
        flush: Mode::Real,
    },
    Work {
        name: "append, not flushed, batches of 1,000, 256 B",
        bytes: 256,
        what: What::Unflushed { batch: 1_000 },
        flush: Mode::Real,
    },
    Work {
        name: "durable, 1 writer, 256 B, flush of 200 us",
        bytes: 256,
        what: What::Durable { writers: 1, tasks: false },
        flush: Mode::Fixed,
    },
    Work {
        name: "durable, 16 writers, 256 B, flush of 200 us",
        bytes: 256,
        what: What::Durable { writers: 16, tasks: true },
        flush: Mode::Fixed,
    },
    Work {
        name: "durable, 64 writers, 256 B, flush of 200 us",
        bytes: 256,
        what: What::Durable { writers: 64, tasks: true },
        flush: Mode::Fixed,
    },
    Work {
        name: "durable, 64 threads, 256 B, flush of 200 us",
        bytes: 256,
        what: What::Durable { writers: 64, tasks: false },
        flush: Mode::Fixed,
    },
    Work {
        name: "durable, 1 writer, 256 B, the real disk",
        bytes: 256,
        what: What::Durable { writers: 1, tasks: false },
        flush: Mode::Real,
    },
    Work {
        name: "durable, 1 writer, 4 KiB, the real disk",
        bytes: 4_096,
        what: What::Durable { writers: 1, tasks: false },
        flush: Mode::Real,
    },
    Work { name: "scan, 256 B", bytes: 256, what: What::Scan, flush: Mode::Real },
    Work { name: "scan, 1 KiB", bytes: 1_024, what: What::Scan, flush: Mode::Real },
    Work { name: "get by number, random, 256 B", bytes: 256, what: What::Get, flush: Mode::Real },
    Work { name: "open after a crash, 256 B", bytes: 256, what: What::OpenAfterCrash, flush: Mode::Real },
    Work {
        name: "bytes on disk for a byte of payload, 256 B",
        bytes: 256,
        what: What::Space,
        flush: Mode::Real,
    },
];

/// A row: one figure a round, and flushes a record over all rounds where records were made durable.
pub struct Row {
    pub name: String,
    pub note: &'static str,
    pub honest: bool,
    pub is_limit: bool,
    pub figures: Vec<std::result::Result<f64, String>>,
    pub flushes: Option<f64>,
    /// Microseconds of flushes for a record.
    pub flushing: Option<f64>,
    /// Of each round the time within which 99 of 100 durable records were acknowledged, in microseconds.
    pub p99: Vec<f64>,
}

/// Runs each engine and each limit once a round.
pub fn measure(work: &Work, plan: &Plan) -> Vec<Row> {
    let dir = if work.flush == Mode::Fixed { &plan.fixed_dir } else { &plan.dir };
    flush::set(work.flush);
    let kinds: Vec<&Kind> = engines::ALL.iter().filter(|kind| takes_part(kind, work.what)).collect();
    let mut rows: Vec<Row> = kinds
        .iter()
        .map(|kind| Row {
            name: kind.name.to_owned(),
            note: kind.note,
            honest: kind.honest,
            is_limit: false,
            figures: Vec::new(),
            flushes: None,
            flushing: None,
            p99: Vec::new(),
        })
        .collect();
    rows.extend(limit_of(work).map(|name| Row {
        name: name.to_owned(),
        note: "",
        honest: true,
        is_limit: true,
        figures: Vec::new(),
        flushes: None,
        flushing: None,
        p99: Vec::new(),
    }));
    let mut flushed = vec![(0_u64, 0_u64, Duration::ZERO); rows.len()];
    let filled: Vec<_> = if work.reads() {
        kinds
            .iter()
            .map(|kind| Filled::new(kind, work, plan, dir).map_err(|fault| fault.to_string()))
            .collect()
    } else {
        Vec::new()
    };
    for _ in 0..plan.rounds {
        for (at, row) in rows.iter_mut().enumerate() {
            let figure = match kinds.get(at) {
                None => limit(work, plan, dir),
                Some(kind) if work.reads() => match &filled[at] {
                    Ok(filled) => filled.read(kind, work, plan, dir),
                    Err(fault) => Err(fault.clone().into()),
                },
                Some(kind) => write(kind, work, plan, dir).map(|written| {
                    flushed[at].0 += written.flushes;
                    flushed[at].1 += written.records;
                    flushed[at].2 += written.flushing;
                    row.p99.extend(written.p99.map(|p99| p99.as_secs_f64() * 1e6));
                    written.rate
                }),
            };
            row.figures.push(figure.map_err(|fault| fault.to_string()));
        }
    }
    if matches!(work.what, What::Durable { .. }) {
        for (row, (flushes, records, flushing)) in rows.iter_mut().zip(flushed) {
            row.flushes = (records > 0).then(|| flushes as f64 / records as f64);
            row.flushing = (records > 0).then(|| flushing.as_secs_f64() * 1e6 / records as f64);
        }
    }
    flush::set(Mode::Real);
    rows
}

fn takes_part(kind: &Kind, what: What) -> bool {
    match what {
        What::Unflushed { .. } => kind.unflushed,
        What::Durable { .. } => !kind.reads_only,
        What::OpenAfterCrash | What::Space => kind.reads && !kind.reads_only,
        What::Scan | What::Get => kind.reads,
    }
}

impl Work {
    fn reads(&self) -> bool {
        matches!(self.what, What::Scan | What::Get | What::OpenAfterCrash | What::Space)
    }

    /// Whether less is better.
    pub fn less_is_better(&self) -> bool {
        matches!(self.what, What::OpenAfterCrash | What::Space)
    }

    pub fn unit(&self) -> &'static str {
        match self.what {
            What::OpenAfterCrash => "ms",
            What::Space => "bytes a byte",
            _ => "records/s",
        }
    }
}

fn limit_of(work: &Work) -> Option<&'static str> {
    match work.what {
        What::Unflushed { .. } => Some("limit: copy, crc, write(2) of 64 KiB"),
        What::Durable { writers: 1, .. } => Some("limit: write + fdatasync"),
        What::Scan => Some("limit: reading memory"),
        _ => None,
    }
}

fn limit(work: &Work, plan: &Plan, dir: &Path) -> Result<f64> {
    let record = record(1, work.bytes);
    match work.what {
        What::Unflushed { .. } => limits::copy_checksum_write(dir, record, plan.long),
        What::Durable { .. } => limits::write_and_flush(dir, record, plan.long),
        _ => limits::read_memory(plan.records, work.bytes),
    }
}

/// What one measurement of writing came to.
struct Written {
    /// Records a second.
    rate: f64,
    records: u64,
    flushes: u64,
    flushing: Duration,
    p99: Option<Duration>,
}

fn write(kind: &Kind, work: &Work, plan: &Plan, dir: &Path) -> Result<Written> {
    let own = tempfile::tempdir_in(dir)?;
    let engine = (kind.open)(own.path())?;
    let one = record(1, work.bytes);
    if let What::Durable { .. } = work.what {
        engine.serve()?;
        // What an opening sets going is not what is measured.
        threads(&*engine, 1, one, plan.long / 4)?;
    }
    let (flushed, spent) = (flush::so_far().0, flush::spent());
    let began = Instant::now();
    let records = match work.what {
        What::Unflushed { batch } => {
            let batches: Vec<Vec<&[u8]>> = (0..100)
                .map(|n| (0..batch as u64).map(|place| record(n * 1_000 + place, work.bytes)).collect())
                .collect();
            let mut records = 0_u64;
            let mut turns = batches.iter().cycle();
            // The clock is asked seldom: it costs as much as an append.
            while began.elapsed() < plan.long {
                for batch in turns.by_ref().take((100 / batch).max(1)) {
                    engine.append(batch, false)?;
                    records += batch.len() as u64;
                }
            }
            engine.settle()?;
            records
        }
        What::Durable { writers, tasks } => {
            let mut each = match tasks.then(|| engine.tasks(writers, one, plan.long)).flatten() {
                Some(each) => each?,
                None => threads(&*engine, writers, one, plan.long)?,
            };
            let took = began.elapsed();
            each.sort_unstable();
            let p99 = each.get(each.len() * 99 / 100).copied();
            let (records, flushes) = (each.len() as u64, flush::so_far().0 - flushed);
            let (rate, flushing) = (records as f64 / took.as_secs_f64(), flush::spent() - spent);
            return Ok(Written { rate, records, flushes, flushing, p99 });
        }
        _ => return Err("not a writing work".into()),
    };
    let took = began.elapsed();
    Ok(Written {
        rate: records as f64 / took.as_secs_f64(),
        records,
        flushes: flush::so_far().0 - flushed,
        flushing: flush::spent() - spent,
        p99: None,
    })
}

/// How long each record took.
fn threads(engine: &dyn Engine, writers: usize, record: &[u8], long: Duration) -> Result<Vec<Duration>> {
    let until = Instant::now() + long;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(move || {
                    let (mut took, mut began) = (Vec::new(), Instant::now());
                    while began < until {
                        engine.append(&[record], true)?;
                        let ended = Instant::now();
                        took.push(ended - began);
                        began = ended;
                    }
                    Ok::<_, crate::engine::Fault>(took)
                })
            })
            .collect();
        let mut took = Vec::new();
        for writer in running {
            took.extend(writer.join().map_err(|_| "a writer panicked")??);
        }
        Ok(took)
    })
}

/// A directory with records, for the works that read.
struct Filled {
    dir: tempfile::TempDir,
    engine: Box<dyn Engine>,
}

impl Filled {
    fn new(kind: &Kind, work: &Work, plan: &Plan, dir: &Path) -> Result<Filled> {
        let dir = tempfile::tempdir_in(dir)?;
        std::fs::create_dir(dir.path().join("data"))?;
        let engine = (kind.open)(&dir.path().join("data"))?;
        engine.serve()?;
        for first in (0..plan.records / 100 * 100).step_by(100) {
            let batch: Vec<&[u8]> = (first..first + 100).map(|number| record(number, work.bytes)).collect();
            engine.append(&batch, false)?;
        }
        engine.append(&[record(plan.records, work.bytes)], false)?;
        engine.sync()?;
        Ok(Filled { dir, engine })
    }

    fn read(&self, kind: &Kind, work: &Work, plan: &Plan, dir: &Path) -> Result<f64> {
        let count = plan.records / 100 * 100 + 1;
        let began = Instant::now();
        match work.what {
            What::Scan => {
                let read = self.engine.scan()?;
                if read != count {
                    return Err(format!("{read} of {count} records").into());
                }
                Ok(count as f64 / began.elapsed().as_secs_f64())
            }
            What::Get => {
                let (mut state, mut gets) = (1_u64, 0_u64);
                while began.elapsed() < plan.long {
                    for _ in 0..100 {
                        state = state
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        self.engine.get((state >> 33) % count)?;
                    }
                    gets += 100;
                }
                Ok(gets as f64 / began.elapsed().as_secs_f64())
            }
            What::OpenAfterCrash => {
                let copy = tempfile::tempdir_in(dir)?;
                copy_all(&self.dir.path().join("data"), copy.path())?;
                let began = Instant::now();
                let opened = (kind.open)(copy.path())?;
                let took = began.elapsed();
                drop(opened);
                Ok(took.as_secs_f64() * 1e3)
            }
            What::Space => {
                Ok(bytes_of(&self.dir.path().join("data"))? as f64 / (count * work.bytes as u64) as f64)
            }
            What::Unflushed { .. } | What::Durable { .. } => Err("not a reading work".into()),
        }
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&to)?;
            copy_all(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to)?;
            // Else whoever flushes on opening would pay for the copy.
            std::fs::File::open(&to)?.sync_all()?;
        }
    }
    Ok(())
}

/// What the files really take up: holes and space that was only reserved do not count as much as they say.
fn bytes_of(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { bytes_of(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}
