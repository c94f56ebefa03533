//! What the store needs of a log, and nothing more.
//!
//! Behind this trait stands the local journal ([`LocalLog`]) or another log that keeps an order; above it, the store owns event
//! ids, deduplication and the inbox. Three rules make the trait enough:
//! - There is one writer, so a log can say at once which seqs a batch will get ([`Appending::first`]); the acknowledgement
//!   says when they are theirs for good. A remote log holds to that by appending with the tail that it expects.
//! - The live end is one number, the durable tail; who follows reads the log at its own speed up to there.
//! - A level that a log cannot promise is an error ([`Promises`]), never a lesser level under the same name.
//!
//! Waiting is by `std::task::Waker`, so a log needs no runtime; every wait has a blocking twin for commands.

mod attention;
mod bounded;
mod local;
mod memory;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub use attention::Attention;
pub(in crate::store) use bounded::Bounded;
pub(in crate::store) use local::FullLog;
pub use local::{LocalLog, LocalView};
pub use memory::MemoryLog;
pub use mnemosyne_journal::{GapReason, JournalId, Level, Stats};

use crate::error::{Error, Result};
use crate::event::{Seq, Timestamp};

/// An ordered, append-only sequence of records with dense seqs from 1.
pub trait Log: Send + Sync + 'static {
    /// Which log this is; a cursor of one means nothing in another.
    fn id(&self) -> JournalId;

    /// Appends `batch` as one unit, all or nothing, if `expected_tail` is the seq about to be given (or `None`).
    /// Returns as soon as the seqs are fixed; the [`Appending`] waits for `level`.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::LevelUnsupported`], [`Error::JournalPoisoned`], [`Error::StorageFull`], [`Error::Closed`].
    /// Nothing was appended then.
    fn append(
        &self,
        batch: &[&[u8]],
        level: Level,
        expected_tail: Option<Seq>,
        now: Timestamp,
    ) -> Result<Appending>;

    /// Blocks until everything appended so far has reached `level`.
    ///
    /// # Errors
    /// As [`Log::append`], and what failed since.
    fn flush(&self, level: Level) -> Result<()>;

    /// A reader from `from` on, up to the durable tail, and on when that has moved.
    fn read(&self, from: Seq) -> Box<dyn LogReader>;

    /// The first seq that is retained.
    fn first(&self) -> Seq;

    /// The next seq to be given.
    fn tail(&self) -> Seq;

    /// The highest durable seq; [`Seq::ZERO`] if there is none.
    fn durable(&self) -> Seq {
        self.watch().get()
    }

    /// A watch of the durable tail.
    fn watch(&self) -> Box<dyn TailWatch>;

    /// What this log can promise.
    fn promises(&self) -> Promises;

    /// Why nothing more can be appended, if that is so.
    fn poisoned(&self) -> Option<Error> {
        None
    }

    /// What was written since it was opened; `None` where that is another's business.
    fn stats(&self) -> Option<Stats> {
        None
    }

    /// The parts that can be dropped one by one, oldest first; none where the log keeps everything.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn segments(&self) -> Result<Vec<Segment>> {
        Ok(Vec::new())
    }

    /// Drops the oldest parts whose seqs all lie before `seq`, for good, and never the last. Nothing in the middle ever
    /// goes, whatever stops this.
    ///
    /// # Errors
    /// When not all of them could be dropped.
    fn drop_before(&self, _seq: Seq) -> Result<()> {
        Ok(())
    }

    /// The parts that never change any more and can be looked at one by one, oldest first: the first seq and the last of each.
    fn sealed(&self) -> Vec<(Seq, Seq)> {
        Vec::new()
    }

    /// Reads and checks the part that begins with `base`; of the one that is being written, what is durable. Before each piece `pace` is told how many bytes come next; it
    /// may take its time, and ends the look by answering false. `None` then, and if there is no such part.
    ///
    /// # Errors
    /// When it cannot be read. Damage is no error.
    fn look(&self, _base: Seq, _pace: &mut dyn FnMut(u64) -> bool) -> Result<Option<SegmentLook>> {
        Ok(None)
    }

    /// Where readers of this log met damage; `None` where that is another's business.
    fn attention(&self) -> Option<Arc<Attention>> {
        None
    }

    /// Makes everything durable and ends all appending; reading goes on.
    ///
    /// # Errors
    /// When the last flush fails.
    fn close(&self) -> Result<()>;
}

/// A part of a log that goes as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its first seq.
    pub first: Seq,
    /// Its last.
    pub last: Seq,
    /// What it takes on the disk.
    pub bytes: u64,
    /// When its last event was recorded, where that is known.
    pub last_recorded: Option<Timestamp>,
    /// Whether it can go: it is not being written.
    pub droppable: bool,
}

/// What a look at a sealed part found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentLook {
    /// Its name.
    pub segment: String,
    /// How many problems there are, those that lose nothing included.
    pub problems: u64,
    /// What cannot be read, first and last seq, and what is wrong there.
    pub lost: Vec<(Seq, Seq, String)>,
    /// What is damaged although every record can be read, in the order of the file.
    pub hurt: Vec<Hurt>,
}

/// Damaged bytes that cost no record: of a header, a footer, padding, a proof, or of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hurt {
    /// Where they begin.
    pub offset: u64,
    /// How many there are, those around them included that are checked together.
    pub bytes: u64,
    /// What is wrong.
    pub what: String,
}

/// What a log can promise about an acknowledged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promises {
    /// The levels that may be asked for, least first.
    pub levels: &'static [Level],
}

impl Promises {
    /// Refuses a level that is not among them.
    ///
    /// # Errors
    /// [`Error::LevelUnsupported`], naming those that are.
    pub fn check(self, level: Level) -> Result<()> {
        if self.levels.contains(&level) {
            return Ok(());
        }
        let offered: Vec<&str> = self.levels.iter().map(|level| level_name(*level)).collect();
        let offered =
            if offered.is_empty() { "none, it is open for reading only".into() } else { offered.join(", ") };
        Err(Error::LevelUnsupported { level: level_name(level), offered })
    }
}

/// The level as it is written everywhere: `os` or `disk`.
pub const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Os => "os",
        Level::Disk => "disk",
    }
}

/// Reads a log in order of seq. Lending: what it gives is valid until the next call.
pub trait LogReader: Send {
    /// The next record or gap; `None` at the durable tail, and it may be called again when that has moved.
    ///
    /// # Errors
    /// When the log cannot be read now; the same call may succeed later. Damage is no error but a gap.
    fn next(&mut self) -> Result<Option<LogItem<'_>>>;

    /// The seq that the next item begins with.
    fn position(&self) -> Seq;

    /// Goes on at `seq`, backwards too.
    fn seek(&mut self, seq: Seq);

    /// Goes on at the first record taken at or after `time`; at the durable tail if there is none.
    ///
    /// # Errors
    /// As [`LogReader::next`].
    fn seek_time(&mut self, time: Timestamp) -> Result<()>;
}

/// What a reader meets.
#[derive(Debug, Clone, Copy)]
pub enum LogItem<'a> {
    /// A record.
    Record {
        /// Its place.
        seq: Seq,
        /// When the log took it.
        recorded: Timestamp,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// Seqs that cannot be read, from `from` to `to`, both included.
    Gap(Gap),
}

/// Seqs that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First of them.
    pub from: Seq,
    /// Last of them.
    pub to: Seq,
    /// Why.
    pub reason: GapReason,
}

/// The durable tail as a number that rises.
pub trait TailWatch: Send + Sync {
    /// The highest durable seq now.
    fn get(&self) -> Seq;

    /// Blocks until it is beyond `seq`, nothing more will come, or `timeout` has passed; the durable tail then.
    fn wait_beyond(&self, seq: Seq, timeout: Duration) -> Seq;

    /// Ready once it is beyond `seq` or nothing more will come; until then `waker` is kept (the last given) and woken.
    fn poll_beyond(&self, seq: Seq, waker: &Waker) -> Poll<Seq>;

    /// Whether nothing more will come.
    fn is_closed(&self) -> bool;
}

/// A batch on its way. Dropping it does not take the batch back.
#[must_use = "without waiting, nothing is known about the fate of the batch"]
pub struct Appending {
    first: Seq,
    last: Seq,
    acknowledgement: Pin<Box<dyn Acknowledgement>>,
}

/// What a log keeps for a batch on its way: a future with a blocking twin.
pub trait Acknowledgement: Future<Output = Result<Appended>> + Send {
    /// Blocks until the level is reached.
    ///
    /// # Errors
    /// When the batch was not kept.
    fn wait(self: Pin<Box<Self>>) -> Result<Appended>;

    /// See [`Appending::commit_if_alone`].
    fn commit_if_alone(&self, _blocking: &mut dyn FnMut(&mut dyn FnMut())) {}
}

/// The log's word that a batch has reached its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Seq of the first record.
    pub first: Seq,
    /// Seq of the last.
    pub last: Seq,
    /// When the log took it.
    pub recorded: Timestamp,
    /// The level that was reached.
    pub level: Level,
}

impl Appending {
    /// For implementations of [`Log`].
    pub fn new(first: Seq, last: Seq, acknowledgement: impl Acknowledgement + 'static) -> Appending {
        Appending { first, last, acknowledgement: Box::pin(acknowledgement) }
    }

    /// Seq of the first record; theirs for good once acknowledged.
    pub fn first(&self) -> Seq {
        self.first
    }

    /// Seq of the last record.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// Blocks until the level is reached.
    ///
    /// # Errors
    /// When the batch was not kept.
    pub fn wait(self) -> Result<Appended> {
        self.acknowledgement.wait()
    }

    /// For who is about to wait as a future: a log that would have to wake a thread for it commits on this one instead, if nobody else
    /// waits. What blocks is handed to `blocking`, which may run it where that disturbs nobody, or not at all.
    pub fn commit_if_alone(&self, blocking: &mut dyn FnMut(&mut dyn FnMut())) {
        self.acknowledgement.commit_if_alone(blocking);
    }
}

impl Future for Appending {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.acknowledgement.as_mut().poll(context)
    }
}

impl fmt::Debug for Appending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appending")
            .field("first", &self.first)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
