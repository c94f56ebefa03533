//! fjall: a tree of sorted runs behind a write-ahead log; the key is the number.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::engine::{Engine, Result};

struct Fjall {
    database: Database,
    keyspace: Keyspace,
    next: AtomicU64,
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    let database = Database::builder(dir).open()?;
    let keyspace = database.keyspace("records", KeyspaceCreateOptions::default)?;
    let next = AtomicU64::new(keyspace.len()? as u64);
    Ok(Box::new(Fjall { database, keyspace, next }))
}

impl Engine for Fjall {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        let first = self.next.fetch_add(batch.len() as u64, Ordering::Relaxed);
        if let [record] = batch {
            self.keyspace.insert(first.to_be_bytes(), *record)?;
        } else {
            let mut writes = self.database.batch();
            for (record, number) in batch.iter().zip(first..) {
                writes.insert(&self.keyspace, number.to_be_bytes(), *record);
            }
            writes.commit()?;
        }
        if durable {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::Buffer)?)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn scan(&self) -> Result<u64> {
        let mut records = 0;
        for pair in self.keyspace.iter() {
            records += u64::from(!pair.value()?.is_empty());
        }
        Ok(records)
    }

    fn get(&self, number: u64) -> Result<usize> {
        Ok(self.keyspace.get(number.to_be_bytes())?.ok_or("not there")?.len())
    }
}
