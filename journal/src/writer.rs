//! The one writer: where bytes reach the disk.
//!
//! Whoever holds the writer's lock commits for everybody: seals the arena's frames (offset, salt, checksums, link),
//! writes them with one call, and flushes if somebody needs it. What was learned from disks that fail:
//!
//! - A failed flush is final. The kernel may have dropped the pages and call them clean, so a second flush that succeeds
//!   proves nothing. The writer is poisoned; the next opening goes on in a new segment, behind what was proven before.
//! - A full disk is not. The file is cut back to its last whole frame and flushed, what waited is refused, and the next
//!   submission tries again.
//! - The durable number moves after the flush, never before; everything that readers see depends on it alone.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::catalog::Catalog;
use crate::disk::{Access, Disk, DiskFile, write_full};
use crate::error::{Error, Result};
use crate::filler::Filler;
use crate::format::record;
use crate::format::segment::{UNCHAINED, segment_name};
use crate::format::tail::TAIL_NAME;
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, DIGESTS_AT_ONCE, Footer, Key, Link, RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES, SegmentHeader, TailFile,
};
use crate::options::Options;
use crate::pending::{Arena, Group};
use crate::sync::{Control, Instant, is_broken};
use crate::types::{Hash, Level, Micros, Seq};

/// Zeros at the end of a segment that say that it was not closed in order.
const UNFINISHED_BYTES: u64 = 8;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) name: String,
    pub(crate) base: Seq,
    pub(crate) salt: u64,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// How long the file is; beyond `offset` it is zero.
    pub(crate) file_bytes: u64,
    /// `recorded` of its first batch.
    pub(crate) first_recorded: Option<Micros>,
}

/// Everything that only one thread at a time may touch.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) options: Options,
    pub(crate) chained: bool,
    /// `None` between sealing a segment and creating the next, if that failed for lack of space.
    pub(crate) active: Option<Active>,
    /// The seq of the next record to be written.
    pub(crate) next: Seq,
    pub(crate) link: Hash,
    pub(crate) recorded: Micros,
    pub(crate) durable: Seq,
    /// Whether the last bytes of the segment prove all before them: a proof frame, or nothing but the header.
    pub(crate) proved: bool,
    /// Whether bytes were written that no flush has covered.
    pub(crate) dirty: bool,
    pub(crate) poison: Option<Error>,
    /// How long a flush takes lately.
    pub(crate) flush_time: Duration,
    /// When the last one ended that had something to flush.
    pub(crate) flushed_at: Option<Instant>,
    pub(crate) tail_file: Option<Arc<dyn DiskFile>>,
    pub(crate) filler: Arc<Filler>,
    pub(crate) salts: Salts,
}

/// Salts for segments, derived from the opening's random seed.
#[derive(Debug)]
pub(crate) struct Salts {
    seed: [u8; 32],
    count: u64,
}

impl Salts {
    pub(crate) fn new(seed: [u8; 32]) -> Salts {
        Salts { seed, count: 0 }
    }

    pub(crate) fn next(&mut self, base: Seq) -> u64 {
        self.count += 1;
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(&base.get().to_le_bytes()).update(&self.count.to_le_bytes());
        crate::format::u64_at(hasher.finalize().as_bytes(), 0)
    }
}

impl Writer {
    /// Writes all frames of `arena`. On an error everything before [`Writer::next`] is written, nothing after it is.
    pub(crate) fn write(&mut self, arena: &mut Arena) -> Result<()> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        let groups = std::mem::take(&mut arena.groups);
        let mut rest = &groups[..];
        while !rest.is_empty() {
            let fitting = self.make_room(rest)?;
            let (run, later) = rest.split_at(fitting);
            self.write_run(&mut arena.bytes, run)?;
            rest = later;
        }
        arena.groups = groups;
        Ok(())
    }

    /// How many of `groups` the active segment takes, at least one; seals it and makes the next if it takes none.
    fn make_room(&mut self, groups: &[Group]) -> Result<usize> {
        if let Some(active) = &self.active {
            let target = self.options.segment_bytes_target;
            let start = groups[0].start;
            let taken = |group: &&Group| active.offset + (group.end - start) as u64 <= target;
            match groups.iter().take_while(taken).count() {
                0 if active.offset > SEGMENT_HEADER_BYTES as u64 => self.seal()?,
                count => return Ok(count.max(1)),
            }
        }
        self.create_segment()?;
        self.make_room(groups)
    }

    fn write_run(&mut self, bytes: &mut [u8], run: &[Group]) -> Result<()> {
        let Some(active) = &self.active else { return Err(Error::Closed) };
        let (origin, start) = (active.offset, run[0].start);
        let end = run.last().map_or(start, |group| crate::format::padded(group.end));
        let (mut chain, key) = (self.link, Key::new(active.salt));
        for group in run {
            let offset = origin + (group.start - start) as u64;
            chain =
                self.seal_group(&mut bytes[group.start..group.end], group, offset, active.salt, key, chain);
        }
        self.filler.reserve(origin + (end - start) as u64);
        if let Err(error) = write_full(&*active.file, &bytes[start..end], origin) {
            return Err(self.write_failed(&error));
        }
        let written = (end - start) as u64;
        let (first, last) = (run[0].recorded, run[run.len() - 1]);
        if let Some(active) = &mut self.active {
            active.offset += written;
            active.file_bytes = active.file_bytes.max(active.offset);
            active.first_recorded.get_or_insert(first);
        }
        (self.link, self.recorded, self.dirty, self.proved) = (chain, last.recorded, true, false);
        self.next = last.first.plus(last.count.into());
        self.catalog.tally.written(run, written);
        self.catalog.progress.publish(Level::Os, self.next.prev());
        Ok(())
    }

    /// Fills in what a frame lacked; the link after it.
    fn seal_group(
        &self,
        frame: &mut [u8],
        group: &Group,
        offset: u64,
        salt: u64,
        key: Key,
        chain: Hash,
    ) -> Hash {
        let mut header = BatchHeader {
            salt,
            journal: self.catalog.journal,
            first: group.first,
            count: group.count,
            body_bytes: u32::try_from(frame.len() - BATCH_HEADER_BYTES).unwrap_or(u32::MAX),
            recorded: group.recorded,
            durable: self.durable,
            link: Hash::ZERO,
        };
        debug_assert!(header.body_bytes as usize >= group.count as usize * RECORD_HEADER_BYTES);
        let mut at = BATCH_HEADER_BYTES;
        let mut link = self.chained.then(|| Link::new(chain, &header));
        let mut payloads = Vec::with_capacity(DIGESTS_AT_ONCE.min(group.count as usize));
        let mut seqs = (0..u64::from(group.count)).map(|place| group.first.plus(place)).peekable();
        while seqs.peek().is_some() {
            // Checksums first, then the digests of the same records together, while their bytes are near.
            payloads.clear();
            for seq in seqs.by_ref().take(DIGESTS_AT_ONCE) {
                let payload = record::seal(frame, at, key, seq);
                at = payload.end;
                payloads.push(payload);
            }
            if let Some(link) = &mut link {
                link.add_payloads(payloads.len(), |place| &frame[payloads[place].clone()], |_| None);
            }
        }
        if let Some(link) = link {
            header.link = link.finish();
        }
        crate::format::put(frame, 0, &header.encode(offset));
        header.link
    }

    /// Makes all that was written durable and says so.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        if let Some(active) = &self.active
            && self.dirty
        {
            let (file, name) = (Arc::clone(&active.file), active.name.clone());
            let begun = Instant::now();
            if is_broken(Control::AcknowledgesEarly) {
                self.catalog.progress.publish(Level::Disk, self.next.prev());
            }
            self.sync(&*file, &name)?;
            if let Some(error) = self.filler.failure() {
                return Err(self.poisoned("write zeros ahead in", &name, error));
            }
            let ended = Instant::now();
            // A moving average: one slow flush must not make the next commits wait long.
            self.flush_time = (self.flush_time * 7 + ended.saturating_duration_since(begun)) / 8;
            self.flushed_at = Some(ended);
            self.dirty = false;
        }
        self.durable = self.next.prev();
        self.write_tail();
        self.catalog.progress.publish(Level::Disk, self.durable);
        Ok(())
    }

    /// The only flush of file data in the journal's writing path. One that fails is not tried again.
    fn sync(&mut self, file: &dyn DiskFile, name: &str) -> Result<()> {
        file.sync_data().map_err(|error| self.poisoned("flush", name, error))?;
        self.catalog.tally.flushed();
        Ok(())
    }

    fn sync_names(&mut self) -> Result<()> {
        let disk = Arc::clone(&self.disk);
        disk.sync_dir("").map_err(|error| self.poisoned("flush", "the journal's directory", error))
    }

    fn poisoned(&mut self, action: &'static str, name: &str, error: std::io::Error) -> Error {
        let error = Error::Poisoned { action, file: name.to_owned(), source: Arc::new(error) };
        if self.poison.is_none() {
            self.leave_unfinished();
        }
        self.poison.get_or_insert(error).clone()
    }

    /// Lets the segment not look like one that was closed in order, so that the next opening does not go on in it. If not
    /// even that is possible, what follows its last proof is all that could be lost, and nothing does.
    fn leave_unfinished(&self) {
        if let Some(active) = &self.active
            && active.file.size().is_ok_and(|size| size == active.offset)
        {
            active.file.set_len(active.offset + UNFINISHED_BYTES).ok();
        }
    }

    /// After a write to the active segment that failed: cut back if the disk is full, else end writing.
    fn write_failed(&mut self, error: &std::io::Error) -> Error {
        self.stop_filling();
        let Some(active) = &mut self.active else { return Error::Closed };
        let (file, name, offset) = (Arc::clone(&active.file), active.name.clone(), active.offset);
        let copy = copy_of(error);
        if !is_full(error) {
            return self.poisoned("write to", &name, copy);
        }
        active.file_bytes = offset;
        if let Err(error) = file.set_len(offset) {
            return self.poisoned("cut", &name, error);
        }
        // What was cut must be gone for good before other bytes get the same seqs under the same salt.
        self.dirty = true;
        match self.flush() {
            Ok(()) => Error::StorageFull { file: name, source: Arc::new(copy) },
            Err(error) => error,
        }
    }

    /// Writes a frame that proves all before it. Needs a flush before, and none after: it repeats what is so.
    pub(crate) fn prove(&mut self) -> Result<()> {
        if self.proved || self.dirty || self.poison.is_some() {
            return Ok(());
        }
        let Some(active) = &self.active else { return Ok(()) };
        self.filler.reserve(active.offset + BATCH_HEADER_BYTES as u64);
        let header = BatchHeader {
            salt: active.salt,
            journal: self.catalog.journal,
            first: self.next,
            count: 0,
            body_bytes: 0,
            recorded: self.recorded,
            durable: self.next.prev(),
            link: self.link,
        };
        if let Err(error) = write_full(&*active.file, &header.encode(active.offset), active.offset) {
            return Err(self.write_failed(&error));
        }
        if let Some(active) = &mut self.active {
            active.offset += BATCH_HEADER_BYTES as u64;
            active.file_bytes = active.file_bytes.max(active.offset);
        }
        (self.proved, self.dirty) = (true, true);
        Ok(())
    }

    /// Ends the active segment with a footer. From then on it is never written to again.
    fn seal(&mut self) -> Result<()> {
        self.flush()?;
        self.stop_filling();
        let Some(active) = &self.active else { return Ok(()) };
        let (file, name, offset) = (Arc::clone(&active.file), active.name.clone(), active.offset);
        let footer = Footer {
            salt: active.salt,
            journal: self.catalog.journal,
            base: active.base,
            last: self.next.prev(),
            first_recorded: active.first_recorded.unwrap_or_default(),
            last_recorded: if active.first_recorded.is_some() { self.recorded } else { Micros::EPOCH },
            data_bytes: offset,
            link: self.link,
        };
        if active.file_bytes > offset
            && let Err(error) = file.set_len(offset)
        {
            return Err(self.poisoned("cut", &name, error));
        }
        if let Err(error) = write_full(&*file, &footer.encode(), offset) {
            return Err(self.write_failed(&error));
        }
        self.sync(&*file, &name)?;
        self.active = None;
        Ok(())
    }

    pub(crate) fn create_segment(&mut self) -> Result<()> {
        let salt = self.salts.next(self.next);
        let header = SegmentHeader {
            incompatible: if self.chained { 0 } else { UNCHAINED },
            compatible: 0,
            journal: self.catalog.journal,
            base: self.next,
            created: self.recorded,
            salt,
            previous: self.link,
        };
        self.place_segment(&header, &header.encode())?;
        self.proved = true;
        self.dirty = false;
        Ok(())
    }

    /// Makes the file of a segment that begins with `bytes`: written and durable under another name first, so that under
    /// its own name it is never seen half done.
    pub(crate) fn place_segment(&mut self, header: &SegmentHeader, bytes: &[u8]) -> Result<()> {
        let (name, temporary) = (segment_name(header.base), format!("{}.tmp", segment_name(header.base)));
        let written = remove_if_there(&*self.disk, &temporary)
            .and_then(|()| self.disk.create(&temporary))
            .and_then(|file| write_full(&*file, bytes, 0).map(|()| file));
        let file = match written {
            Ok(file) => file,
            Err(error) if is_full(&error) => {
                // It may not even have been made; what is left of it is removed by the next attempt.
                let _gone = self.disk.remove(&temporary);
                return Err(Error::StorageFull { file: temporary, source: Arc::new(error) });
            }
            Err(error) => return Err(self.poisoned("create", &temporary, error)),
        };
        self.sync(&*file, &temporary)?;
        if let Err(error) = self.disk.rename(&temporary, &name) {
            return Err(self.poisoned("rename", &temporary, error));
        }
        self.sync_names()?;
        self.catalog.add_base(header.base);
        let limit = self.options.segment_bytes_target;
        self.filler.attach(&*self.disk, &name, bytes.len() as u64, limit);
        self.active = Some(Active {
            file,
            name,
            base: header.base,
            salt: header.salt,
            offset: bytes.len() as u64,
            file_bytes: bytes.len() as u64,
            first_recorded: None,
        });
        Ok(())
    }

    /// Lets the filling thread work ahead in the active segment.
    pub(crate) fn start_filling(&mut self) {
        if let Some(active) = &self.active
            && active.file_bytes == active.offset
        {
            let limit = self.options.segment_bytes_target;
            self.filler.attach(&*self.disk, &active.name, active.offset, limit);
        }
    }

    /// From here on nobody else writes to the active segment.
    fn stop_filling(&mut self) {
        self.filler.detach();
        if let Some(active) = &mut self.active {
            // Asked for, since a chunk that failed half way was not counted.
            active.file_bytes = active.file.size().unwrap_or(active.file_bytes).max(active.offset);
        }
    }

    /// Tells followers in other processes. It is a hint: one that cannot be written makes them see less, later.
    pub(crate) fn write_tail(&mut self) {
        let Some(active) = &self.active else { return };
        let tail = TailFile {
            boot: self.options.boot,
            journal: self.catalog.journal,
            durable: self.durable,
            segment: active.base,
            offset: active.offset,
        };
        if self.tail_file.is_none() {
            let opened = self.disk.open(TAIL_NAME, Access::Write).or_else(|_| self.disk.create(TAIL_NAME));
            self.tail_file = opened.ok();
        }
        if let Some(file) = &self.tail_file
            && write_full(&**file, &tail.encode(), 0).is_err()
        {
            self.tail_file = None;
        }
    }

    /// Leaves the segment so that the next opening need not read it: proved, flushed, cut to its used length.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.flush()?;
        if !self.proved {
            self.prove()?;
        }
        self.stop_filling();
        if let Some(active) = &self.active
            && active.file_bytes > active.offset
        {
            let (file, name, offset) = (Arc::clone(&active.file), active.name.clone(), active.offset);
            if let Err(error) = file.set_len(offset) {
                return Err(self.poisoned("cut", &name, error));
            }
            self.dirty = true;
        }
        if self.dirty { self.flush() } else { Ok(()) }
    }
}

/// Whether an error says that there is no room, rather than that the disk is broken.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
        || error.kind() == std::io::ErrorKind::WriteZero
}

pub(crate) fn remove_if_there(disk: &dyn Disk, name: &str) -> std::io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn copy_of(error: &std::io::Error) -> std::io::Error {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
