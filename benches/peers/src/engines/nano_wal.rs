//! nano-wal: one file, one write a batch; where a record lies is the caller's to remember.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nano_wal::{EntryRef, ReadDescriptor, Segment, Wal, WalOptions, WriteEntry, read_batch};

use crate::engine::{Engine, Result};

const NOW_MS: i64 = 1_700_000_000_000;
/// A vectored write takes at most 1,024 pieces, and a record is five.
const RECORDS_A_WRITE: usize = 200;

struct NanoWal {
    wal: Wal,
    segment: Arc<Segment>,
    written: Mutex<Vec<EntryRef>>,
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    let long = Duration::from_secs(100 * 365 * 86_400);
    let wal = Wal::new(dir, "peer", WalOptions { retention: long, segment_duration: long })?;
    let segment = wal.ensure_segment(NOW_MS)?;
    Ok(Box::new(NanoWal { wal, segment, written: Mutex::default() }))
}

impl Engine for NanoWal {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        if let [record] = batch {
            let at = self.wal.append(None, record, NOW_MS, durable)?;
            self.written.lock().unwrap_or_else(PoisonError::into_inner).push(at);
            return Ok(());
        }
        let parts = batch.chunks(RECORDS_A_WRITE);
        let last = parts.len();
        for (part, records) in parts.enumerate() {
            let entries: Vec<_> =
                records.iter().map(|content| WriteEntry { header: None, content }).collect();
            let at = self.wal.append_batch(&entries, NOW_MS, durable && part + 1 == last)?;
            self.written.lock().unwrap_or_else(PoisonError::into_inner).extend(at);
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.wal.sync()?)
    }

    fn scan(&self) -> Result<u64> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = 0;
        for part in written.chunks(1_000) {
            let reads: Vec<_> = part
                .iter()
                .map(|at| ReadDescriptor {
                    read_fd: self.segment.read_fd().clone(),
                    file_offset: at.file_offset,
                    byte_size: at.byte_size,
                })
                .collect();
            records += read_batch(&reads)?.len() as u64;
        }
        Ok(records)
    }

    fn get(&self, number: u64) -> Result<usize> {
        let at = {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            *written.get(usize::try_from(number)?).ok_or("not there")?
        };
        Ok(self.wal.read_at(&self.segment, at.file_offset, at.byte_size)?.content.len())
    }
}
