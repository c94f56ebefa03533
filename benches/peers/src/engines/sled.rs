//! sled: a lock-free tree over a log; the key is the number.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{Engine, Result};

struct Sled {
    tree: sled::Db,
    next: AtomicU64,
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    let tree = sled::Config::new().path(dir).open()?;
    let next = AtomicU64::new(tree.len() as u64);
    Ok(Box::new(Sled { tree, next }))
}

impl Engine for Sled {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        let first = self.next.fetch_add(batch.len() as u64, Ordering::Relaxed);
        if let [record] = batch {
            self.tree.insert(first.to_be_bytes(), *record)?;
        } else {
            let mut writes = sled::Batch::default();
            for (record, number) in batch.iter().zip(first..) {
                writes.insert(&number.to_be_bytes(), *record);
            }
            self.tree.apply_batch(writes)?;
        }
        if durable {
            self.tree.flush()?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.tree.flush()?;
        Ok(())
    }

    fn scan(&self) -> Result<u64> {
        let mut records = 0;
        for pair in self.tree.iter() {
            records += u64::from(!pair?.1.is_empty());
        }
        Ok(records)
    }

    fn get(&self, number: u64) -> Result<usize> {
        Ok(self.tree.get(number.to_be_bytes())?.ok_or("not there")?.len())
    }
}
