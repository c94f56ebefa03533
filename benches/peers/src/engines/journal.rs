//! The journal, through its public API, on a disk whose flush is this process's ([`crate::flush`]).

use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mnemosyne_journal::{Item, Journal, JournalId, Level, Micros, Options, Reader, RealDisk, Seq};

use crate::engine::{Engine, Result};
use crate::flush;

#[path = "../../../../journal/benches/support/other_flush.rs"]
mod other_flush;

use other_flush::OtherFlush;

const NOW: Micros = Micros::new(1_700_000_000_000_000);

struct Ours {
    journal: Journal,
    reader: Mutex<Reader>,
}

pub(super) fn open_with_chain(dir: &Path) -> Result<Box<dyn Engine>> {
    open(dir, options())
}

pub(super) fn open_without_chain(dir: &Path) -> Result<Box<dyn Engine>> {
    open(dir, options().with_chain(false))
}

pub(super) fn open_with_small_segments(dir: &Path) -> Result<Box<dyn Engine>> {
    open(dir, options().with_segment_bytes_target(4 * 1024 * 1024))
}

fn options() -> Options {
    Options::new(JournalId::from_bytes([7; 16]), [9; 32])
}

fn open(dir: &Path, options: Options) -> Result<Box<dyn Engine>> {
    let (journal, _) = Journal::open(Arc::new(counting(dir)), options, NOW)?;
    let reader = Mutex::new(journal.reader(Seq::FIRST));
    Ok(Box::new(Ours { journal, reader }))
}

impl Engine for Ours {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        if durable {
            self.journal.submit(batch, NOW, Level::Disk, None)?.wait()?;
        } else {
            let _ticket = self.journal.submit(batch, NOW, Level::Os, None)?;
        }
        Ok(())
    }

    fn serve(&self) -> Result<()> {
        Ok(self.journal.start_committer()?)
    }

    fn settle(&self) -> Result<()> {
        Ok(self.journal.flush(Level::Os)?)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.journal.flush(Level::Disk)?)
    }

    fn scan(&self) -> Result<u64> {
        let mut reader = self.journal.reader(Seq::FIRST);
        let mut records = 0;
        while let Some(item) = reader.next()? {
            match item {
                Item::Record(record) => records += u64::from(!black_box(record.payload).is_empty()),
                Item::Gap(gap) => return Err(format!("a gap from {}", gap.from.get()).into()),
            }
        }
        Ok(records)
    }

    fn get(&self, number: u64) -> Result<usize> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.seek(Seq::new(number + 1));
        match reader.next()? {
            Some(Item::Record(record)) => Ok(black_box(record.payload).len()),
            _ => Err("not there".into()),
        }
    }

    fn tasks(&self, tasks: usize, record: &[u8], long: Duration) -> Option<Result<Vec<Duration>>> {
        Some(tasks_of(&self.journal, tasks, record, long))
    }
}

fn tasks_of(journal: &Journal, tasks: usize, record: &[u8], long: Duration) -> Result<Vec<Duration>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let until = Instant::now() + long;
        let running: Vec<_> = (0..tasks)
            .map(|_| {
                let (journal, record) = (journal.clone(), record.to_vec());
                tokio::spawn(async move {
                    let (mut took, mut began) = (Vec::new(), Instant::now());
                    while began < until {
                        journal.submit(&[&record], NOW, Level::Disk, None)?.await?;
                        let ended = Instant::now();
                        took.push(ended - began);
                        began = ended;
                    }
                    Ok::<_, mnemosyne_journal::Error>(took)
                })
            })
            .collect();
        let mut took = Vec::new();
        for task in running {
            took.extend(task.await??);
        }
        Ok(took)
    })
}

/// The flush of this program: counted, and on request replaced.
fn counting(dir: &Path) -> OtherFlush<RealDisk> {
    OtherFlush::new(dir, |_, real| flush::flush(real, Ok(())))
}
