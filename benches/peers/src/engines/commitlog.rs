//! commitlog: segments and an index through a map. It never flushes the disk.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use commitlog::message::{MessageBuf, MessageSet as _};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use crate::engine::{Engine, Result};

/// A vectored request that is larger is refused by it.
const MESSAGES_A_WRITE: usize = 1_000;

struct Commitlog(Mutex<CommitLog>);

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    let mut options = LogOptions::new(dir);
    options.segment_max_bytes(64 << 20).index_max_items(1_000_000).message_max_bytes(1 << 20);
    Ok(Box::new(Commitlog(Mutex::new(CommitLog::new(options)?))))
}

impl Engine for Commitlog {
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in batch.chunks(MESSAGES_A_WRITE) {
            if let [record] = part {
                log.append_msg(record).map_err(|fault| fault.to_string())?;
                continue;
            }
            let mut messages = MessageBuf::default();
            for record in part {
                messages.push(record).map_err(|fault| format!("{fault:?}"))?;
            }
            log.append(&mut messages).map_err(|fault| fault.to_string())?;
        }
        if durable {
            log.flush()?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()?)
    }

    fn scan(&self) -> Result<u64> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut at, end) = (0, log.next_offset());
        let mut records = 0;
        while at < end {
            let messages = log.read(at, ReadLimit::max_bytes(1 << 20)).map_err(|fault| fault.to_string())?;
            let last = messages.iter().last().ok_or("nothing read")?.offset();
            records += messages.len() as u64;
            at = last + 1;
        }
        Ok(records)
    }

    fn get(&self, number: u64) -> Result<usize> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = log.read(number, ReadLimit::max_bytes(512)).map_err(|fault| fault.to_string())?;
        Ok(messages.iter().next().ok_or("not there")?.payload().len())
    }
}
