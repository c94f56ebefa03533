//! Which event ids the journal holds: the memory behind "the same id twice is one event".
//!
//! Constraints: the last 4,194,304 events, across restarts, rebuilt from the journal if the files are gone, quick to open,
//! small in memory, and never wrong: a hit is confirmed by reading the event before it counts.
//!
//! Seqs are cut into blocks of [`BLOCK`]. The block being filled is a map of whole ids. A full block becomes a file of
//! fingerprints once the log says that all of it is durable, so that no file ever speaks of an event that a crash took back:
//! 32 bits an id, sorted, with 16 bits of offset, and before them a filter of 16 bits an id. Only the filters stay in memory
//! (8 MiB for the window, see [`filter`]); of a block they let one lookup in some hundreds through to the file, whose answer is
//! then confirmed by the journal. At a clean stop the ids of the unfinished block are written down too; what is missing
//! after a crash is read from the journal, at most one block of it. Blocks are of seqs, not of segments, because the
//! seam to the log does not show segments.
//!
//! Retention ends the window: an id whose event was dropped cannot be confirmed and is not known any more.
//!
//! Nothing is loaded before the first lookup: a command that only reads pays nothing.

pub(crate) mod block;
mod filter;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use self::block::{Block, Partial};
use self::filter::{COLUMNS, Filters, Hash, filter_of};
use crate::config::guard;
use crate::error::{Error, Result};
use crate::event::{EventRef, Seq, Timestamp};
use crate::store::log::{Appending, JournalId, Level, Log, LogItem};

/// Seqs in a block; few in tests, so that borders of blocks are ordinary there.
pub(super) const BLOCK: u64 = if cfg!(test) { 1 << 10 } else { 1 << 16 };
/// Events within which a second one with the same id is found.
pub(super) const WINDOW: u64 = BLOCK * COLUMNS as u64;

const _: () = assert!(cfg!(test) || WINDOW == 4_194_304);

/// The index. Belongs to the writer.
pub(super) struct Ids {
    log: Arc<dyn Log>,
    dir: Option<PathBuf>,
    loaded: bool,
    /// Full blocks, oldest first.
    full: VecDeque<Full>,
    /// Of every block in `full`; a column that none of them has says nothing.
    filters: Filters,
    active: Active,
    /// The seq that the next event gets, as far as is known here.
    next: Seq,
    window: u64,
}

/// The ids of one block, whole.
#[derive(Default)]
struct Active {
    /// First seq of the block.
    first: u64,
    seqs: HashMap<Uuid, u64>,
}

/// A full block: in memory until it is durable, then a file.
enum Full {
    Memory(Active),
    File(Block),
}

impl Full {
    fn first(&self) -> u64 {
        match self {
            Full::Memory(ids) => ids.first,
            Full::File(block) => block.first(),
        }
    }
}

/// Where an id was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    /// In an event that is durable; confirmed by reading it.
    Durable(Seq),
    /// In an event on its way: whether it arrives is not known yet.
    OnItsWay(Seq),
}

impl Hit {
    pub(super) fn seq(self) -> Seq {
        match self {
            Hit::Durable(seq) | Hit::OnItsWay(seq) => seq,
        }
    }
}

impl Ids {
    /// An index for `log` with its files in `dir`; in memory only without one.
    pub(super) fn new(log: Arc<dyn Log>, dir: Option<PathBuf>) -> Ids {
        Ids::with_window(log, dir, WINDOW)
    }

    /// The same with a window of its own, a multiple of [`BLOCK`] and at most [`WINDOW`].
    fn with_window(log: Arc<dyn Log>, dir: Option<PathBuf>, window: u64) -> Ids {
        let next = log.tail();
        let (full, filters, active) = Default::default();
        Ids { log, dir, loaded: false, full, filters, active, next, window }
    }

    /// Looks where the log stands: what it took back since (a full disk) is forgotten. Who appends begins with this, and only
    /// then looks what became of earlier appends: what is taken back later than this is noticed by [`Ids::append`].
    pub(super) fn begin(&mut self) {
        let tail = self.log.tail();
        if tail < self.next {
            self.forget_from(tail.get());
        }
        self.next = tail;
    }

    /// The seq that the next event gets, unless the log takes something back.
    pub(super) fn next(&self) -> Seq {
        self.next
    }

    /// Appends events that [`Ids::find`] did not find, with their ids. `None`, and nothing is appended, if the log has taken
    /// something back since [`Ids::begin`]: what was taken back must be appended again first, or the order is lost.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub(super) fn append(
        &mut self,
        batch: &[&[u8]],
        ids: impl IntoIterator<Item = Uuid>,
        level: Level,
        now: Timestamp,
    ) -> Result<Option<Appending>> {
        let appending = match self.log.append(batch, level, Some(self.next), now) {
            Err(Error::Conflict { .. }) => return Ok(None),
            outcome => outcome?,
        };
        let mut seq = appending.first();
        for id in ids {
            self.insert(id, seq);
            seq = seq.next();
        }
        self.next = appending.last().next();
        Ok(Some(appending))
    }

    /// Where `id` is, if the window holds it.
    pub(super) fn find(&mut self, id: Uuid) -> Result<Option<Hit>> {
        self.load()?;
        if let Some(seq) = self.active.seqs.get(&id).copied()
            && let Some(hit) = self.judge(id, seq)?
        {
            return Ok(Some(hit));
        }
        let hash = Hash::of(id);
        let columns = self.filters.columns(&hash);
        if columns == 0 {
            return Ok(None);
        }
        let mut candidates = Vec::new();
        for block in self.full.iter().rev().filter(|block| columns >> column_of(block.first()) & 1 == 1) {
            match block {
                Full::Memory(ids) => candidates.extend(ids.seqs.get(&id).copied()),
                // A block that cannot be read any more answers like one that does not know; it is rebuilt at the next opening.
                Full::File(block) => block.find(&hash, &mut candidates),
            }
        }
        for seq in candidates {
            if let Some(hit) = self.judge(id, seq)? {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    /// Whether `id` stands at `seq`, or will. What was written down may have been taken back (a full disk), and its seq given to
    /// another event.
    pub(super) fn judge(&self, id: Uuid, seq: u64) -> Result<Option<Hit>> {
        let place = Seq::new(seq);
        if place > self.log.durable() {
            return Ok((place < self.log.tail()).then_some(Hit::OnItsWay(place)));
        }
        Ok(holds(&*self.log, place, id)?.then_some(Hit::Durable(place)))
    }

    /// Writes down that the event `id` got `seq`. Called in order of seq, after [`Ids::find`] did not find it.
    fn insert(&mut self, id: Uuid, seq: Seq) {
        let seq = seq.get();
        let first = block_first(seq);
        if first > self.active.first {
            let done = std::mem::replace(&mut self.active, Active { first, seqs: HashMap::new() });
            if !done.seqs.is_empty() {
                self.filters.set(column_of(done.first), &filter_of(done.seqs.keys()));
                self.full.push_back(Full::Memory(done));
            }
            self.forget_old(seq);
            self.write_full_blocks();
        }
        self.active.seqs.insert(id, seq);
    }

    /// Forgets what was written down for `tail` and beyond, over the border of a block if need be.
    fn forget_from(&mut self, tail: u64) {
        let first = block_first(tail.max(1));
        while self.active.first > first {
            self.active = match self.full.pop_back() {
                Some(Full::Memory(ids)) => ids,
                // A file knows only what is durable, and that is never taken back: this block is a new one.
                file => {
                    self.full.extend(file);
                    Active { first, seqs: HashMap::new() }
                }
            };
        }
        self.active.seqs.retain(|_, seq| *seq < tail);
    }

    /// Writes down what a clean stop leaves unfinished. Without it the next opening reads the journal instead, so failing is
    /// no loss.
    pub(super) fn save(&mut self) {
        if !self.loaded {
            return;
        }
        self.write_full_blocks();
        let (Some(dir), last) = (&self.dir, self.log.durable().get()) else { return };
        if block_first(last.max(1)) == self.active.first && guard::make_dir(dir).is_ok() {
            Partial::write(dir, self.log.id(), self.active.first, last, &self.active.seqs).ok();
        }
    }

    /// Forgets what retention has dropped: nobody could confirm a hit there.
    pub(super) fn forget_before(&mut self, first: Seq) {
        let gone = |block: u64| block + BLOCK <= first.get();
        while self.full.front().is_some_and(|oldest| gone(oldest.first())) {
            self.full.pop_front();
        }
        let Some(dir) = &self.dir else { return };
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for file in files.filter(|file| block::first_of(&file.file_name()).is_some_and(gone)) {
            // As below: one that stays costs only its place.
            std::fs::remove_file(file.path()).ok();
        }
    }

    fn forget_old(&mut self, seq: u64) {
        while let Some(oldest) = self.full.front()
            && oldest.first() + BLOCK + self.window <= seq
        {
            if let (Full::File(block), Some(dir)) = (oldest, &self.dir) {
                // One that stays is ignored by its number and costs only its place on the disk.
                std::fs::remove_file(dir.join(block::file_name(block.first()))).ok();
            }
            self.full.pop_front();
        }
    }

    /// Turns blocks in memory into files where all of them is durable. A block whose file cannot be written stays in memory.
    fn write_full_blocks(&mut self) {
        let Some(dir) = &self.dir else { return };
        let (durable, id) = (self.log.durable().get(), self.log.id());
        for full in &mut self.full {
            if let Full::Memory(ids) = full
                && ids.first + BLOCK - 1 <= durable
                && guard::make_dir(dir).is_ok()
                && let Ok(block) = Block::write(dir, id, ids.first, &ids.seqs)
            {
                *full = Full::File(block);
            }
        }
    }

    fn load(&mut self) -> Result<()> {
        if self.loaded {
            return Ok(());
        }
        let (tail, id) = (self.log.tail().get(), self.log.id());
        let from = tail.saturating_sub(self.window).max(self.log.first().get()).max(1);
        self.full.clear();
        let mut filters = Vec::new();
        let mut first = block_first(from);
        while first + BLOCK <= tail {
            let (block, filter) = self.load_full(id, first)?;
            self.full.push_back(block);
            filters.push((column_of(first), filter));
            first += BLOCK;
        }
        self.filters = Filters::of(&filters);
        self.active = self.load_partial(id, first)?;
        self.loaded = true;
        self.write_full_blocks();
        Ok(())
    }

    fn load_full(&self, id: JournalId, first: u64) -> Result<(Full, Vec<u8>)> {
        if let Some((block, filter)) = self.dir.as_ref().and_then(|dir| Block::open(dir, id, first)) {
            return Ok((Full::File(block), filter));
        }
        let mut ids = Active { first, seqs: HashMap::new() };
        self.read_into(&mut ids, first, first + BLOCK)?;
        let filter = filter_of(ids.seqs.keys());
        Ok((Full::Memory(ids), filter))
    }

    fn load_partial(&self, id: JournalId, first: u64) -> Result<Active> {
        let saved = self.dir.as_ref().and_then(|dir| Partial::read(dir, id, first));
        // What was durable at a clean stop is what it was, whatever happened since; the rest is read.
        let (seqs, next) = saved.map_or((HashMap::new(), first), |saved| (saved.seqs, saved.last + 1));
        let mut ids = Active { first, seqs };
        self.read_into(&mut ids, next, first + BLOCK)?;
        Ok(ids)
    }

    /// Reads the ids of `from..to` from the journal, as far as it reaches.
    fn read_into(&self, ids: &mut Active, from: u64, to: u64) -> Result<()> {
        let mut reader = self.log.read(Seq::new(from));
        while reader.position().get() < to
            && let Some(item) = reader.next()?
        {
            if let LogItem::Record { seq, payload, .. } = item
                && seq.get() < to
                && let Ok(event) = EventRef::decode(payload)
            {
                // First to arrive wins.
                ids.seqs.entry(event.id).or_insert(seq.get());
            }
        }
        Ok(())
    }
}

/// Whether the event at `seq` is `id`.
pub(super) fn holds(log: &dyn Log, seq: Seq, id: Uuid) -> Result<bool> {
    let mut reader = log.read(seq);
    let found = match reader.next()? {
        Some(LogItem::Record { seq: at, payload, .. }) => {
            at == seq && EventRef::decode(payload).is_ok_and(|event| event.id == id)
        }
        _ => false,
    };
    Ok(found)
}

fn block_first(seq: u64) -> u64 {
    (seq - 1) / BLOCK * BLOCK + 1
}

/// No two blocks of a window have the same.
fn column_of(first: u64) -> usize {
    usize::try_from((first - 1) / BLOCK % COLUMNS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
