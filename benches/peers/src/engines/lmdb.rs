//! LMDB: a mapped B-tree; the key is the number, appended at its end.

use std::path::Path;

use heed::types::{Bytes, U64};
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags};

use super::batching::Batching;
use crate::engine::{Engine, Result};

type Number = U64<heed::byteorder::BigEndian>;

struct Lmdb {
    env: Env,
    records: Database<Number, Bytes>,
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(4 << 30).max_readers(256);
    // SAFETY: the directory is this run's own, nobody else opens it.
    let env = unsafe { options.open(dir)? };
    let mut writing = env.write_txn()?;
    let records = env.create_database(&mut writing, None)?;
    writing.commit()?;
    Ok(Box::new(Lmdb { env, records }))
}

pub(super) fn open_batching(dir: &Path) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Batching::over(open(dir)?)))
}

impl Engine for Lmdb {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        let mut writing = self.env.write_txn()?;
        let next = self.records.last(&writing)?.map_or(0, |(last, _)| last + 1);
        for (record, number) in batch.iter().zip(next..) {
            self.records.put_with_flags(&mut writing, PutFlags::APPEND, &number, record)?;
        }
        // SAFETY: it changes when commits are flushed, and no other transaction runs: this one holds the writer's place.
        unsafe { self.env.set_flags(EnvFlags::NO_SYNC, switch(!durable))? };
        Ok(writing.commit()?)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn scan(&self) -> Result<u64> {
        let reading = self.env.read_txn()?;
        let mut records = 0;
        for pair in self.records.iter(&reading)? {
            records += u64::from(!pair?.1.is_empty());
        }
        Ok(records)
    }

    fn get(&self, number: u64) -> Result<usize> {
        let reading = self.env.read_txn()?;
        Ok(self.records.get(&reading, &number)?.ok_or("not there")?.len())
    }
}

fn switch(on: bool) -> heed::FlagSetMode {
    if on { heed::FlagSetMode::Enable } else { heed::FlagSetMode::Disable }
}
