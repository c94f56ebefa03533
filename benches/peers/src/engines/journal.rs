//! The journal, through its public API, on a disk whose flush is this process's ([`crate::flush`]).

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mnemosyne_journal::disk::{Access, Map};
use mnemosyne_journal::{
    Disk, DiskFile, Item, Journal, JournalId, Level, Micros, Options, Reader, RealDisk, Seq,
};

use crate::engine::{Engine, Result};
use crate::flush;

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
    let (journal, _) = Journal::open(Arc::new(CountingDisk(RealDisk::new(dir))), options, NOW)?;
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

    fn tasks(&self, tasks: usize, record: &[u8], long: Duration) -> Option<Result<u64>> {
        Some(tasks_of(&self.journal, tasks, record, long))
    }
}

fn tasks_of(journal: &Journal, tasks: usize, record: &[u8], long: Duration) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let until = Instant::now() + long;
        let running: Vec<_> = (0..tasks)
            .map(|_| {
                let (journal, record) = (journal.clone(), record.to_vec());
                tokio::spawn(async move {
                    let mut records = 0_u64;
                    while Instant::now() < until {
                        journal.submit(&[&record], NOW, Level::Disk, None)?.await?;
                        records += 1;
                    }
                    Ok::<u64, mnemosyne_journal::Error>(records)
                })
            })
            .collect();
        let mut records = 0;
        for task in running {
            records += task.await??;
        }
        Ok(records)
    })
}

#[derive(Debug)]
struct CountingDisk(RealDisk);

#[derive(Debug)]
struct CountingFile(Arc<dyn DiskFile>);

impl Disk for CountingDisk {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CountingFile(self.0.open(name, access)?)))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CountingFile(self.0.create(name)?)))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        if flush::count() {
            flush::fixed();
            return Ok(());
        }
        self.0.sync_dir(dir)
    }
}

impl DiskFile for CountingFile {
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
        if flush::count() {
            flush::fixed();
            return Ok(());
        }
        self.0.sync_data()
    }
}
