//! Reading from any seq to the durable tail.
//!
//! Order is by seq alone. What cannot be read is an item too: a gap where bytes are damaged or were dropped, an undecodable
//! record where whole bytes are no event to this program; neither is ever passed over in silence. The one view that is not
//! by seq is [`SessionOrder`]: a session is shown in the order of its events' own time, because imported lines arrive late.

use std::sync::Arc;

use crate::error::Result;
use crate::event::{Event, EventRef, Filter, IdText, Kind, Seq, StoredEvent, Timestamp, kind_of};
use crate::store::log::{Gap, Log, LogItem, LogReader};

/// A record whose bytes are whole but are no event that this program can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Its place.
    pub seq: Seq,
    /// When the journal took it.
    pub recorded: Timestamp,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Why it cannot be read.
    pub reason: String,
}

/// What a replay meets.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are events, and none is kept")]
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event.
    Event(StoredEvent),
    /// Seqs that cannot be read.
    Gap(Gap),
    /// A record that is no event to this program.
    Undecodable(Undecodable),
}

impl Undecodable {
    /// The kind that it names, as [`kind_of`] tells it.
    pub fn kind(&self) -> Option<Option<Kind>> {
        kind_of(&self.bytes)
    }
}

impl Item {
    /// Nothing that was met: room for [`Replay::next_over`].
    pub(crate) fn blank() -> Item {
        Item::Event(StoredEvent { seq: Seq::ZERO, recorded: Timestamp::EPOCH, event: Event::blank() })
    }

    pub(super) fn decode(seq: Seq, recorded: Timestamp, bytes: &[u8]) -> Item {
        let mut item = Item::blank();
        item.decode_over(seq, recorded, bytes);
        item
    }

    /// Becomes what a reader met, in the memory that it has.
    fn become_what(&mut self, met: LogItem<'_>) {
        match met {
            LogItem::Gap(gap) => *self = Item::Gap(gap),
            LogItem::Record { seq, recorded, payload } => self.decode_over(seq, recorded, payload),
        }
    }

    /// Becomes what stands in these bytes, in the memory that it has.
    fn decode_over(&mut self, seq: Seq, recorded: Timestamp, bytes: &[u8]) {
        if !matches!(self, Item::Event(_)) {
            *self = Item::blank();
        }
        let Item::Event(stored) = self else { return };
        match stored.event.decode_over(bytes) {
            Ok(()) => (stored.seq, stored.recorded) = (seq, recorded),
            Err(error) => {
                let (bytes, reason) = (bytes.to_vec(), error.to_string());
                *self = Item::Undecodable(Undecodable { seq, recorded, bytes, reason });
            }
        }
    }

    /// Bytes that it has room for, of those that a record can have many of.
    pub(crate) fn room(&self) -> usize {
        match self {
            Item::Event(stored) => stored.event.payload.room(),
            Item::Gap(_) => 0,
            Item::Undecodable(record) => record.bytes.capacity(),
        }
    }

    /// The last seq that this item stands for.
    pub fn last(&self) -> Seq {
        match self {
            Item::Event(stored) => stored.seq,
            Item::Gap(gap) => gap.to,
            Item::Undecodable(record) => record.seq,
        }
    }
}

/// Reads a log from a seq to the durable tail, and on when that has moved. One event in memory at a time.
pub struct Replay {
    reader: Box<dyn LogReader>,
    /// None takes every event.
    filter: Option<Filter>,
    wanted: Option<fn(Option<Kind>) -> bool>,
    passed: u64,
    until: Timestamp,
    through: Seq,
    ended: bool,
}

impl Replay {
    /// From `from` on. A `from` before the first retained seq begins with a gap.
    pub fn new(log: &Arc<dyn Log>, from: Seq) -> Replay {
        let reader = log.read(from.max(Seq::FIRST));
        let (until, through) = (Timestamp::MAX, Seq::MAX);
        Replay { reader, filter: None, wanted: None, passed: 0, until, through, ended: false }
    }

    /// Only what matches; gaps and undecodable records always pass.
    #[must_use]
    pub fn filtered(mut self, filter: Filter) -> Replay {
        self.filter = (!filter.takes_all()).then_some(filter);
        self
    }

    /// Only records of kinds that `wanted` says yes to; it is given none for a kind that this program does not know. Of the others the kind
    /// alone is read, so whether they are events is not told; [`Replay::passed`] counts them. A record that names no kind always passes.
    #[must_use]
    pub fn of_kinds(mut self, wanted: fn(Option<Kind>) -> bool) -> Replay {
        self.wanted = Some(wanted);
        self
    }

    /// How many records [`Replay::of_kinds`] has passed over.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Only what was recorded at or after `time`. Goes forward only: with a cursor that is later, the cursor counts.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn since(mut self, time: Timestamp) -> Result<Replay> {
        let from = self.reader.position();
        self.reader.seek_time(time)?;
        if self.reader.position() < from {
            self.reader.seek(from);
        }
        Ok(self)
    }

    /// Only what was recorded at or before `time`.
    #[must_use]
    pub fn until(mut self, time: Timestamp) -> Replay {
        self.until = time;
        self
    }

    /// Only up to `seq`, included.
    #[must_use]
    pub fn through(mut self, seq: Seq) -> Replay {
        self.through = seq;
        self
    }

    /// The next item; `None` at the end. At the durable tail it can be called again when that has moved.
    ///
    /// # Errors
    /// When the log cannot be read now.
    #[expect(clippy::should_implement_trait, reason = "it can be called again after None, and it can fail")]
    pub fn next(&mut self) -> Result<Option<Item>> {
        let mut item = Item::blank();
        Ok(self.next_over(&mut item)?.then_some(item))
    }

    /// As [`Replay::next`]; the item takes the place of another, in the memory that it has. False at the end: `item` is then anything.
    ///
    /// # Errors
    /// As [`Replay::next`].
    pub fn next_over(&mut self, item: &mut Item) -> Result<bool> {
        while self.meet(|met| item.become_what(met))?.is_some() {
            match item {
                Item::Event(stored) if self.filter.as_ref().is_some_and(|filter| !filter.matches(stored)) => {
                }
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Puts what comes next behind what is held in `undecoded`; false at the end. A filter looks at events, so it is not asked here.
    ///
    /// # Errors
    /// As [`Replay::next`].
    pub(crate) fn read_on(&mut self, undecoded: &mut Undecoded) -> Result<bool> {
        Ok(self.meet(|met| undecoded.hold(met))?.is_some())
    }

    /// Whether there is a filter, which [`Replay::read_on`] does not ask.
    pub(crate) fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }

    /// Hands on what the reader meets next, within the range and of the kinds that are wanted.
    fn meet<T>(&mut self, take: impl FnOnce(LogItem<'_>) -> T) -> Result<Option<T>> {
        while !self.ended && (self.through == Seq::MAX || self.reader.position() <= self.through) {
            match self.reader.next()? {
                None => return Ok(None),
                Some(LogItem::Gap(gap)) => {
                    return Ok(Some(take(LogItem::Gap(Gap { to: gap.to.min(self.through), ..gap }))));
                }
                Some(LogItem::Record { recorded, .. }) if recorded > self.until => {
                    // `recorded` never runs backwards: nothing after this matches either.
                    self.ended = true;
                    return Ok(None);
                }
                Some(LogItem::Record { payload, .. }) if is_unwanted(payload, self.wanted) => {
                    self.passed += 1;
                }
                Some(record) => return Ok(Some(take(record))),
            }
        }
        Ok(None)
    }

    /// The seq that the next item begins with, matching or not.
    pub fn position(&self) -> Seq {
        self.reader.position()
    }
}

/// What was read and is not decoded: reading is for one at a time, and decoding is not.
#[derive(Default)]
pub(crate) struct Undecoded {
    bytes: Vec<u8>,
    held: Vec<Held>,
}

enum Held {
    Gap(Gap),
    /// Its bytes begin where those of the record before end.
    Record {
        seq: Seq,
        recorded: Timestamp,
        end: usize,
    },
}

impl Undecoded {
    fn hold(&mut self, met: LogItem<'_>) {
        self.held.push(match met {
            LogItem::Gap(gap) => Held::Gap(gap),
            LogItem::Record { seq, recorded, payload } => {
                self.bytes.extend_from_slice(payload);
                Held::Record { seq, recorded, end: self.bytes.len() }
            }
        });
    }

    /// How many items are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// How many bytes their records have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Holds nothing any more, and keeps no room for more than this many bytes.
    pub(crate) fn clear(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(bytes_max);
        self.held.clear();
    }

    /// Makes these items, of which there are at least as many, what is held.
    pub(crate) fn decode_over(&self, items: &mut [Item]) {
        let mut begin = 0;
        for (item, held) in items.iter_mut().zip(&self.held) {
            match *held {
                Held::Gap(gap) => *item = Item::Gap(gap),
                Held::Record { seq, recorded, end } => {
                    item.decode_over(seq, recorded, &self.bytes[begin..end]);
                    begin = end;
                }
            }
        }
    }
}

/// Whether a record names a kind that is not wanted.
fn is_unwanted(record: &[u8], wanted: Option<fn(Option<Kind>) -> bool>) -> bool {
    wanted.is_some_and(|wanted| kind_of(record).is_some_and(|kind| !wanted(kind)))
}

/// The events of one session in the order of their `time`, ties by seq: how a session is shown.
///
/// Memory: 16 bytes an event. Each event is read when its turn comes; neighbours in the journal are read in one go.
pub struct SessionOrder {
    log: Arc<dyn Log>,
    /// None until an event has to be read, and after it was laid down.
    reader: Option<Box<dyn LogReader>>,
    order: std::vec::IntoIter<(Timestamp, Seq)>,
    last_seq: Option<Seq>,
    gaps: Vec<Gap>,
}

impl SessionOrder {
    /// Reads through `log` once for the order, up to the durable tail.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(log: &Arc<dyn Log>, session: &str) -> Result<SessionOrder> {
        let (mut order, mut gaps) = (Vec::new(), Vec::new());
        let (mut reader, durable, wanted) = (log.read(log.first()), log.durable(), IdText::of(session));
        while reader.position() <= durable
            && let Some(item) = reader.next()?
        {
            match item {
                LogItem::Record { seq, payload, .. } => {
                    // Envelopes tell whose events they are; payloads are most of the bytes and stay unread.
                    let event = EventRef::decode(payload).ok().filter(|event| event.session == Some(wanted));
                    if let Some(event) = event.filter(|event| event.payload_text().is_ok()) {
                        order.push((event.time, seq));
                    }
                }
                LogItem::Gap(gap) => gaps.push(Gap { to: gap.to.min(durable), ..gap }),
            }
        }
        let last_seq = order.last().map(|(_, seq)| *seq);
        order.sort_unstable();
        Ok(SessionOrder { log: log.clone(), reader: None, order: order.into_iter(), last_seq, gaps })
    }

    /// Gives up what was read ahead; it is read again when it is asked for. To be called where nobody knows when that will be.
    pub fn lay_down(&mut self) {
        self.reader = None;
    }

    /// Time and seq of the events that are still to come, in their order.
    pub fn places(&self) -> &[(Timestamp, Seq)] {
        self.order.as_slice()
    }

    /// How many events are still to come.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest seq among them: where a replay of what is there now ends. Changes nothing.
    pub fn last_seq(&self) -> Option<Seq> {
        self.last_seq
    }

    /// Gaps that were met while looking: events of the session may be missing there.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The next event.
    ///
    /// # Errors
    /// When the log cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot end with an error")]
    pub fn next(&mut self) -> Result<Option<StoredEvent>> {
        for (_, seq) in self.order.by_ref() {
            let reader = self.reader.get_or_insert_with(|| self.log.read(seq));
            if reader.position() != seq {
                reader.seek(seq);
            }
            match reader.next()? {
                Some(LogItem::Record { seq, recorded, payload }) => {
                    if let Item::Event(stored) = Item::decode(seq, recorded, payload) {
                        return Ok(Some(stored));
                    }
                }
                // It was there a moment ago: retention or damage took it since.
                Some(LogItem::Gap(gap)) => self.gaps.push(gap),
                None => {}
            }
        }
        Ok(None)
    }
}

/// The item at `seq`, if the log reaches that far.
pub(super) fn get(log: &Arc<dyn Log>, seq: Seq) -> Result<Option<Item>> {
    Replay::new(log, seq).through(seq).next()
}

impl super::Store {
    /// Reads from `from` to the durable tail.
    pub fn replay(&self, from: Seq) -> Replay {
        Replay::new(&self.inner.log, from)
    }

    /// The events of one session, in the order of their time.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn session(&self, session: &str) -> Result<SessionOrder> {
        SessionOrder::new(&self.inner.log, session)
    }

    /// What stands at one seq; `None` beyond the durable tail.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn get(&self, seq: Seq) -> Result<Option<Item>> {
        get(&self.inner.log, seq)
    }
}

#[cfg(test)]
mod tests;
