//! A log that leaves room on the disk.
//!
//! A store that fills its disk takes the machine down with it, and cannot even drop what it might: a base must be written
//! before a cut. So it stops before, in the same way in which a full disk would stop it ([`Error::StorageFull`]), while
//! there is room for a base, for the inbox and for others; and it goes on by itself when there is room again.
//!
//! Asking the file system at every append would be felt, so it is asked once for so many appended bytes
//! ([`LOOK_EVERY`]) and at every refusal. Others may fill the disk in between; then the disk's own refusal counts.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::{
    Appending, Attention, JournalId, Level, Log, LogReader, Promises, Segment, SegmentLook, Stats, TailWatch,
};
use crate::config::settings::DiskLimits;
use crate::config::{DataDir, Settings};
use crate::error::{Error, Result};
use crate::event::{Seq, Timestamp};

/// The file system is asked again after so many appended bytes.
const LOOK_EVERY: u64 = 1 << 20;
/// What a server writes ahead of its journal, at most.
const AHEAD: u64 = 4 << 20;
/// The reserve where none is configured, and the part of a small file system that is enough.
const RESERVE: u64 = 256 << 20;
const RESERVE_PART: u64 = 20;
/// What a record costs beside its bytes, and a batch.
const RECORD_BYTES: u64 = 12;
const BATCH_BYTES: u64 = 96 + 8;

/// A log, and how much of the disk it may take.
pub(in crate::store) struct Bounded<L> {
    log: L,
    room: Mutex<Room>,
}

struct Room {
    journal: PathBuf,
    derived: [PathBuf; 3],
    limits: DiskLimits,
    segment_bytes: u64,
    /// How much may be appended before the next look.
    left: u64,
    /// Appended since somebody was told that the journal has grown.
    grown: u64,
    tell: Arc<Notify>,
}

impl<L: Log> Bounded<L> {
    /// `log` of the journal in `dir`. `tell` hears whenever about a segment's worth was appended.
    pub(in crate::store) fn new(log: L, dir: &DataDir, settings: &Settings, tell: Arc<Notify>) -> Bounded<L> {
        let room = Room {
            journal: dir.journal(),
            derived: [dir.index(), dir.snapshots(), dir.base()],
            limits: settings.disk,
            segment_bytes: settings.segment_bytes,
            left: 0,
            grown: 0,
            tell,
        };
        Bounded { log, room: Mutex::new(room) }
    }

    fn room(&self) -> std::sync::MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Takes room for `bytes`, or says what is in the way.
    fn take(&mut self, bytes: u64) -> Result<()> {
        if bytes > self.left {
            let (room, limit) = self.look()?;
            if bytes > room {
                self.left = 0;
                return Err(Error::StorageFull { cause: limit });
            }
            self.left = bytes.max(room.min(LOOK_EVERY));
        }
        self.left -= bytes;
        self.grown += bytes;
        if self.grown >= self.segment_bytes {
            self.grown = 0;
            self.tell.notify_one();
        }
        Ok(())
    }

    /// How much may be appended now, and which limit says so.
    fn look(&self) -> Result<(u64, String)> {
        let system = rustix::fs::statvfs(&self.journal)
            .map_err(|error| Error::io("look for room in", &self.journal)(error.into()))?;
        let (free, size) = (system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize);
        let reserve = self.limits.reserve.unwrap_or(RESERVE.min(size / RESERVE_PART));
        let by_disk = free.saturating_sub(reserve);
        let words = format!(
            "{free} bytes are free on the disk and disk.reserve leaves {reserve} of them to others; `mnemosyne gc` drops \
             what retention lets go"
        );
        let Some(max) = self.limits.max_bytes else { return Ok((by_disk, words)) };
        let mut used = bytes_in(&self.journal)? + bytes_in(&self.journal.join("quarantine"))?;
        for dir in &self.derived {
            used += bytes_in(dir)?;
        }
        let by_limit = max.saturating_sub(used + AHEAD.min(self.segment_bytes));
        if by_disk < by_limit {
            return Ok((by_disk, words));
        }
        let words = format!(
            "{used} bytes are taken and disk.max_bytes allows {max}; `mnemosyne gc` drops what retention lets go, or \
             raise disk.max_bytes"
        );
        Ok((by_limit, words))
    }
}

/// What the files of a directory take on the disk; nothing if it is not there.
fn bytes_in(dir: &Path) -> Result<u64> {
    let listing = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        listing => listing.map_err(Error::io("list", dir))?,
    };
    let mut bytes = 0;
    for found in listing {
        let found = found.map_err(Error::io("list", dir))?;
        // One that went meanwhile takes nothing.
        bytes += found.metadata().map_or(0, |file| if file.is_file() { file.blocks() * 512 } else { 0 });
    }
    Ok(bytes)
}

impl<L: Log> Log for Bounded<L> {
    fn id(&self) -> JournalId {
        self.log.id()
    }

    fn append(
        &self,
        batch: &[&[u8]],
        level: Level,
        expected_tail: Option<Seq>,
        now: Timestamp,
    ) -> Result<Appending> {
        let bytes: u64 = batch.iter().map(|record| record.len() as u64 + RECORD_BYTES).sum();
        self.room().take(bytes + BATCH_BYTES)?;
        self.log.append(batch, level, expected_tail, now)
    }

    fn flush(&self, level: Level) -> Result<()> {
        self.log.flush(level)
    }

    fn read(&self, from: Seq) -> Box<dyn LogReader> {
        self.log.read(from)
    }

    fn first(&self) -> Seq {
        self.log.first()
    }

    fn tail(&self) -> Seq {
        self.log.tail()
    }

    fn durable(&self) -> Seq {
        self.log.durable()
    }

    fn watch(&self) -> Box<dyn TailWatch> {
        self.log.watch()
    }

    fn promises(&self) -> Promises {
        self.log.promises()
    }

    fn poisoned(&self) -> Option<Error> {
        self.log.poisoned()
    }

    fn stats(&self) -> Option<Stats> {
        self.log.stats()
    }

    fn sealed(&self) -> Vec<(Seq, Seq)> {
        self.log.sealed()
    }

    fn look(&self, base: Seq, pace: &mut dyn FnMut(u64) -> bool) -> Result<Option<SegmentLook>> {
        self.log.look(base, pace)
    }

    fn attention(&self) -> Option<Arc<Attention>> {
        self.log.attention()
    }

    fn segments(&self) -> Result<Vec<Segment>> {
        self.log.segments()
    }

    fn drop_before(&self, seq: Seq) -> Result<()> {
        self.log.drop_before(seq)
    }

    fn close(&self) -> Result<()> {
        self.log.close()
    }
}
