//! raft-engine: the records are the entries of one raft group; their index is in the first bytes.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, LogBatch, MessageExt, ReadableSize};

use crate::engine::{Engine, Result};

const GROUP: u64 = 1;

struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let bytes = entry.get_value().first_chunk::<8>().copied().unwrap_or_default();
        u64::from_le_bytes(bytes)
    }
}

struct RaftEngine {
    engine: raft_engine::Engine,
    /// The index that the next entry gets. Indexes must be dense, so it is held over the write.
    next: Mutex<u64>,
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    let config = Config {
        dir: dir.to_string_lossy().into_owned(),
        // Nobody else compresses.
        batch_compression_threshold: ReadableSize(0),
        ..Config::default()
    };
    let engine = raft_engine::Engine::open(config)?;
    let next = engine.last_index(GROUP).map_or(0, |last| last + 1);
    Ok(Box::new(RaftEngine { engine, next: Mutex::new(next) }))
}

impl Engine for RaftEngine {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        let mut log = LogBatch::with_capacity(1);
        // Each writer has a group of its own in its use; here all share one, as they would share a journal. What it groups is the
        // flush, so the index is given out before it and the lock is not held over it.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let entries: Vec<BytesValue> = batch
            .iter()
            .zip(*next..)
            .map(|(record, index)| {
                let mut entry = BytesValue::new();
                entry.set_value([&index.to_le_bytes()[..], &record[8.min(record.len())..]].concat());
                entry
            })
            .collect();
        *next += batch.len() as u64;
        if durable {
            // A group of its own for each thread: entries of one group must arrive in order.
            drop(next);
            let group = 2 + thread_number();
            let first = self.engine.last_index(group).map_or(0, |last| last + 1);
            let entries: Vec<BytesValue> = entries
                .into_iter()
                .zip(first..)
                .map(|(mut entry, index)| {
                    entry.mut_value()[..8].copy_from_slice(&index.to_le_bytes());
                    entry
                })
                .collect();
            log.add_entries::<Indexed>(group, &entries)?;
            self.engine.write(&mut log, true)?;
        } else {
            log.add_entries::<Indexed>(GROUP, &entries)?;
            self.engine.write(&mut log, false)?;
            drop(next);
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.engine.sync()?)
    }

    fn scan(&self) -> Result<u64> {
        let (Some(first), Some(last)) = (self.engine.first_index(GROUP), self.engine.last_index(GROUP))
        else {
            return Ok(0);
        };
        let mut records = 0;
        let mut entries = Vec::new();
        let mut at = first;
        while at <= last {
            let end = (at + 1_000).min(last + 1);
            entries.clear();
            records += self.engine.fetch_entries_to::<Indexed>(GROUP, at, end, None, &mut entries)? as u64;
            at = end;
        }
        Ok(records)
    }

    fn get(&self, number: u64) -> Result<usize> {
        let entry = self.engine.get_entry::<Indexed>(GROUP, number)?.ok_or("not there")?;
        Ok(entry.get_value().len())
    }
}

fn thread_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local!(static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|number| *number)
}
