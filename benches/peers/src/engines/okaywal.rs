//! okaywal: an entry a batch, a chunk a record; it commits in groups of its own.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use okaywal::{Configuration, Entry, EntryId, LogManager, LogPosition, SegmentReader, WriteAheadLog};

use crate::engine::{Engine, Result};

struct OkayWal {
    log: WriteAheadLog,
    dir: std::path::PathBuf,
    positions: Mutex<Vec<LogPosition>>,
}

#[derive(Debug)]
struct Counting(Arc<Mutex<u64>>);

impl LogManager for Counting {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunks) = entry.read_all_chunks()? {
            *counted += chunks.len() as u64;
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

fn recover(dir: &Path) -> Result<(WriteAheadLog, u64)> {
    let counted = Arc::new(Mutex::new(0));
    // Checkpoints would throw away what is to be read again.
    let log = Configuration::default_for(dir)
        .checkpoint_after_bytes(u64::MAX)
        .preallocate_bytes(64 << 20)
        .open(Counting(counted.clone()))?;
    let counted = *counted.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((log, counted))
}

pub(super) fn open(dir: &Path) -> Result<Box<dyn Engine>> {
    let (log, _) = recover(dir)?;
    Ok(Box::new(OkayWal { log, dir: dir.to_owned(), positions: Mutex::default() }))
}

impl Engine for OkayWal {
    fn append(&self, batch: &[&[u8]], _durable: bool) -> Result<()> {
        let mut entry = self.log.begin_entry()?;
        let mut written = Vec::with_capacity(batch.len());
        for record in batch {
            written.push(entry.write_chunk(record)?.position);
        }
        entry.commit()?;
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).extend(written);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn scan(&self) -> Result<u64> {
        // Its only way to read all is recovery, of a copy since the log is open here.
        let copy = tempfile::tempdir_in(self.dir.parent().ok_or("no parent")?)?;
        for file in std::fs::read_dir(&self.dir)? {
            let file = file?;
            std::fs::hard_link(file.path(), copy.path().join(file.file_name()))?;
        }
        Ok(recover(copy.path())?.1)
    }

    fn get(&self, number: u64) -> Result<usize> {
        let position = {
            let positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
            *positions.get(usize::try_from(number)?).ok_or("not there")?
        };
        let mut bytes = Vec::new();
        let mut reader = self.log.read_at(position)?;
        reader.read_to_end(&mut bytes)?;
        if reader.crc_is_valid()? { Ok(bytes.len()) } else { Err("a wrong checksum".into()) }
    }
}
