//! The log of one machine: a journal in the data directory, as its writer, as a reader beside the writer, or as who would write if there
//! were room.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mnemosyne_journal as journal;

use super::{
    Acknowledgement, Appended, Appending, Attention, Gap, GapReason, Hurt, JournalId, Level, Log, LogItem,
    LogReader, Promises, Segment, SegmentLook, TailWatch,
};
use crate::error::{Error, Result};
use crate::event::{Seq, Timestamp};

impl From<journal::Error> for Error {
    fn from(error: journal::Error) -> Error {
        let full = error.is_full();
        match error {
            journal::Error::Poisoned { action, file, source } => {
                Error::JournalPoisoned { cause: format!("cannot {action} {file}: {source}") }
            }
            journal::Error::StorageFull { file, source } => {
                Error::StorageFull { cause: format!("{file}: {source}") }
            }
            journal::Error::TailMismatch { expected, actual } => {
                Error::Conflict { expected: expected.get(), actual: actual.get() }
            }
            journal::Error::NoJournal => Error::NoJournal,
            journal::Error::Closed => Error::Closed { reason: "it was closed" },
            other if full => Error::StorageFull { cause: other.to_string() },
            other => Error::Journal { message: other.to_string() },
        }
    }
}

/// A journal of which this process is the writer.
#[derive(Debug, Clone)]
pub struct LocalLog {
    journal: journal::Journal,
    attention: Arc<Attention>,
}

impl LocalLog {
    /// A log over an open journal.
    pub fn new(journal: journal::Journal) -> LocalLog {
        LocalLog { journal, attention: Arc::default() }
    }
}

impl Log for LocalLog {
    fn id(&self) -> JournalId {
        self.journal.id()
    }

    fn append(
        &self,
        batch: &[&[u8]],
        level: Level,
        expected_tail: Option<Seq>,
        now: Timestamp,
    ) -> Result<Appending> {
        let now = journal::Micros::new(now.as_micros());
        let ticket = self.journal.submit(batch, now, level, expected_tail.map(outward))?;
        Ok(Appending::new(inward(ticket.first()), inward(ticket.last()), Ticket(ticket)))
    }

    fn flush(&self, level: Level) -> Result<()> {
        Ok(self.journal.flush(level)?)
    }

    fn read(&self, from: Seq) -> Box<dyn LogReader> {
        Box::new(Reader(self.journal.reader(outward(from)), Some(calling(&self.attention))))
    }

    fn first(&self) -> Seq {
        inward(self.journal.first())
    }

    fn tail(&self) -> Seq {
        inward(self.journal.tail())
    }

    fn durable(&self) -> Seq {
        inward(self.journal.durable())
    }

    fn watch(&self) -> Box<dyn TailWatch> {
        Box::new(Watch(self.journal.watch()))
    }

    fn promises(&self) -> Promises {
        Promises { levels: &[Level::Os, Level::Disk] }
    }

    fn poisoned(&self) -> Option<Error> {
        self.journal.poisoned().map(Error::from)
    }

    fn stats(&self) -> Option<journal::Stats> {
        Some(self.journal.stats())
    }

    fn segments(&self) -> Result<Vec<Segment>> {
        let segment = |segment: journal::SegmentInfo| Segment {
            first: inward(segment.base),
            last: inward(segment.last),
            bytes: segment.bytes,
            last_recorded: segment.last_recorded.map(|time| Timestamp::from_micros(time.get())),
            droppable: segment.droppable,
        };
        Ok(self.journal.segments()?.into_iter().map(segment).collect())
    }

    fn drop_before(&self, seq: Seq) -> Result<()> {
        Ok(self.journal.drop_before(outward(seq)).map(drop)?)
    }

    fn sealed(&self) -> Vec<(Seq, Seq)> {
        self.journal.sealed().into_iter().map(|(first, last)| (inward(first), inward(last))).collect()
    }

    fn look(&self, base: Seq, pace: &mut dyn FnMut(u64) -> bool) -> Result<Option<SegmentLook>> {
        let Some(checked) = self.journal.verify_segment(outward(base), pace)? else { return Ok(None) };
        let lost = |problem: &journal::verify::Problem| {
            problem.lost.map(|(from, to)| (inward(from), inward(to), problem.what.clone()))
        };
        Ok(Some(SegmentLook {
            segment: journal::format::segment::segment_name(outward(base)),
            problems: checked.problems.len() as u64,
            lost: checked.problems.iter().filter_map(lost).collect(),
            hurt: hurt(&checked.problems),
        }))
    }

    fn attention(&self) -> Option<Arc<Attention>> {
        Some(self.attention.clone())
    }

    fn close(&self) -> Result<()> {
        Ok(self.journal.clone().close()?)
    }
}

/// The problems that lose nothing, those joined that are the same in frames that follow one another.
fn hurt(problems: &[journal::verify::Problem]) -> Vec<Hurt> {
    let mut hurt: Vec<Hurt> = Vec::new();
    for problem in problems.iter().filter(|problem| problem.lost.is_none()) {
        let (offset, bytes) = (problem.bytes.start, problem.bytes.end.saturating_sub(problem.bytes.start));
        match hurt.last_mut() {
            Some(last) if last.offset + last.bytes == offset && last.what == problem.what => {
                last.bytes += bytes;
            }
            _ => hurt.push(Hurt { offset, bytes, what: problem.what.clone() }),
        }
    }
    hurt
}

struct Ticket(journal::Ticket);

impl Acknowledgement for Ticket {
    fn wait(self: Pin<Box<Self>>) -> Result<Appended> {
        Ok(appended(Pin::into_inner(self).0.wait()?))
    }

    fn commit_if_alone(&self, blocking: &mut dyn FnMut(&mut dyn FnMut())) {
        self.0.commit_if_alone(blocking);
    }
}

impl Future for Ticket {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|ack| Ok(appended(ack?)))
    }
}

fn appended(ack: journal::Ack) -> Appended {
    Appended {
        first: inward(ack.first),
        last: inward(ack.last),
        recorded: Timestamp::from_micros(ack.recorded.get()),
        level: ack.level,
    }
}

struct Watch(journal::TailWatch);

impl TailWatch for Watch {
    fn get(&self) -> Seq {
        inward(self.0.get())
    }

    fn wait_beyond(&self, seq: Seq, timeout: Duration) -> Seq {
        inward(self.0.wait_beyond(outward(seq), timeout))
    }

    fn poll_beyond(&self, seq: Seq, waker: &Waker) -> Poll<Seq> {
        self.0.poll_beyond(outward(seq), waker).map(inward)
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Is told of the first seq of damage that a reader meets.
pub(in crate::store) type Tell = Arc<dyn Fn(Seq) + Send + Sync>;

fn calling(attention: &Arc<Attention>) -> Tell {
    let attention = attention.clone();
    Arc::new(move |seq| attention.call(seq))
}

/// A reader, and whom it tells of damage.
struct Reader(journal::Reader, Option<Tell>);

impl LogReader for Reader {
    fn next(&mut self) -> Result<Option<LogItem<'_>>> {
        Ok(self.0.next()?.map(|item| match item {
            journal::Item::Record(record) => LogItem::Record {
                seq: inward(record.seq),
                recorded: Timestamp::from_micros(record.recorded.get()),
                payload: record.payload,
            },
            journal::Item::Gap(gap) => {
                if let (GapReason::Corruption, Some(tell)) = (gap.reason, &self.1) {
                    tell(inward(gap.from));
                }
                LogItem::Gap(Gap { from: inward(gap.from), to: inward(gap.to), reason: gap.reason })
            }
        }))
    }

    fn position(&self) -> Seq {
        inward(self.0.position())
    }

    fn seek(&mut self, seq: Seq) {
        self.0.seek(outward(seq));
    }

    fn seek_time(&mut self, time: Timestamp) -> Result<()> {
        self.0.seek_time(journal::Micros::new(time.as_micros()))?;
        Ok(())
    }
}

/// A journal that cannot even be opened for writing, for want of room. Whoever has this holds the lock, so nothing moves: what was
/// durable can be read, and an append says why it is refused.
#[derive(Debug)]
pub(in crate::store) struct FullLog {
    view: journal::View,
    cause: String,
    attention: Arc<Attention>,
}

impl FullLog {
    /// Looks at the journal on `disk`; `cause` is why it cannot be opened.
    pub(in crate::store) fn open(
        disk: Arc<dyn journal::Disk>,
        cause: String,
    ) -> Result<(FullLog, journal::Recovery)> {
        let (view, recovery) = journal::View::open(disk, journal::Writer::Absent)?;
        Ok((FullLog { view, cause, attention: Arc::default() }, recovery))
    }
}

impl Log for FullLog {
    fn id(&self) -> JournalId {
        self.view.id()
    }

    fn append(
        &self,
        _batch: &[&[u8]],
        _level: Level,
        _expected_tail: Option<Seq>,
        _now: Timestamp,
    ) -> Result<Appending> {
        Err(Error::StorageFull { cause: self.cause.clone() })
    }

    fn flush(&self, _level: Level) -> Result<()> {
        Ok(())
    }

    fn read(&self, from: Seq) -> Box<dyn LogReader> {
        Box::new(Reader(self.view.reader(outward(from)), Some(calling(&self.attention))))
    }

    fn first(&self) -> Seq {
        inward(self.view.first())
    }

    fn tail(&self) -> Seq {
        self.durable().next()
    }

    fn durable(&self) -> Seq {
        inward(self.view.durable())
    }

    fn watch(&self) -> Box<dyn TailWatch> {
        Box::new(Watch(self.view.watch()))
    }

    fn promises(&self) -> Promises {
        Promises { levels: &[Level::Os, Level::Disk] }
    }

    fn attention(&self) -> Option<Arc<Attention>> {
        Some(self.attention.clone())
    }

    fn close(&self) -> Result<()> {
        self.view.close();
        Ok(())
    }
}

/// A journal that is only read: beside its writer, or without one. What is durable is looked up by [`LocalView::refresh`].
#[derive(Debug)]
pub struct LocalView {
    view: journal::View,
    held: Box<dyn HeldBySomebody>,
}

/// Tells whether a live process holds the journal's lock.
trait HeldBySomebody: Fn() -> bool + Send + Sync + 'static {}
impl<F: Fn() -> bool + Send + Sync + 'static> HeldBySomebody for F {}
impl std::fmt::Debug for dyn HeldBySomebody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeldBySomebody")
    }
}

impl LocalView {
    /// Opens the journal on `disk` without its lock; `held` tells whether a live process holds it.
    ///
    /// # Errors
    /// [`Error::Journal`] when there is none, or when it is of a newer format.
    pub fn open(
        disk: Arc<dyn journal::Disk>,
        held: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<(LocalView, journal::Recovery)> {
        let (view, recovery) = journal::View::open(disk, writer(held()))?;
        Ok((LocalView { view, held: Box::new(held) }, recovery))
    }

    /// Looks again what is durable.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn refresh(&self) -> Result<Seq> {
        Ok(inward(self.view.refresh(writer((self.held)()))?))
    }

    /// Which journal this is.
    pub fn id(&self) -> JournalId {
        self.view.id()
    }

    /// The first seq that is retained.
    pub fn first(&self) -> Seq {
        inward(self.view.first())
    }

    /// The highest durable seq when it was last looked.
    pub fn durable(&self) -> Seq {
        inward(self.view.durable())
    }

    /// A reader from `from` on, which tells of the damage that it meets.
    pub(in crate::store) fn read_telling(&self, from: Seq, tell: Tell) -> Box<dyn LogReader> {
        Box::new(Reader(self.view.reader(outward(from)), Some(tell)))
    }
}

fn writer(written: bool) -> journal::Writer {
    if written { journal::Writer::Alive { boot: journal::boot_hash() } } else { journal::Writer::Absent }
}

fn inward(seq: journal::Seq) -> Seq {
    Seq::new(seq.get())
}

fn outward(seq: Seq) -> journal::Seq {
    journal::Seq::new(seq.get())
}
