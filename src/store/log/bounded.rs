//! A log that leaves room on the disk.
//!
//! A store that fills its disk takes the machine down with it, and cannot even drop what it might: a base must be written
//! before a cut. So it stops before, in the same way in which a full disk would stop it ([`Error::StorageFull`]), while
//! there is room for a base, for the inbox and for others; and it goes on by itself when there is room again.
//!
//! Asking the file system at every append would be felt, so it is asked once for so many appended bytes
//! ([`LOOK_EVERY`]) and at every refusal. Others may fill the disk in between; then the disk's own refusal counts.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::{
    Appending, Attention, JournalId, Level, Log, LogReader, Promises, Segment, SegmentLook, Stats, TailWatch,
};
use crate::config::settings::DiskLimits;
use crate::config::{DataDir, Settings};
use crate::error::{Error, Result};
use crate::event::{Seq, Timestamp};
use crate::store::space::Space;

/// The file system is asked again after so many appended bytes.
const LOOK_EVERY: u64 = 1 << 20;
/// What a record costs beside its bytes, and a batch.
const RECORD_BYTES: u64 = 12;
const BATCH_BYTES: u64 = 96 + 8;

/// A log, and how much of the disk it may take.
pub(in crate::store) struct Bounded<L> {
    log: L,
    room: Mutex<Room>,
}

struct Room {
    dir: DataDir,
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
            dir: dir.clone(),
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
        let space = Space::of(&self.dir, self.limits, self.segment_bytes)?;
        let (free, reserve, by_disk) = (space.free, space.reserve, space.left_by_disk());
        let words = format!(
            "{free} bytes are free on the disk and disk.reserve leaves {reserve} of them to others; `mnemosyne gc` drops \
             what retention lets go"
        );
        let (Some(max), Some(by_cap)) = (space.max, space.left_by_cap()) else { return Ok((by_disk, words)) };
        if by_disk < by_cap {
            return Ok((by_disk, words));
        }
        let (used, ahead) = (space.used, space.ahead);
        let words = format!(
            "{used} bytes are taken, {ahead} more are kept for writing ahead, and disk.max_bytes allows {max}; \
             `mnemosyne gc` drops what retention lets go, or raise disk.max_bytes"
        );
        Ok((by_cap, words))
    }
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
