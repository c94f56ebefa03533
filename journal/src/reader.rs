//! Reading: from any seq to the durable tail, and on when it has moved.
//!
//! A sealed segment is read through a map and slices of it are lent; any other through reads into a window of memory
//! that is used again. Checksums are verified always. A frame is walked record by record on a short path; where
//! something does not hold, the rest of the stretch is sorted into whole records and gaps ([`crate::scan`]) and given
//! out from there, so that damage costs what is damaged.
//!
//! A jump costs a search among the segments' names, one in the segment's index and one in the frame's table, all in
//! memory once they were needed, and the verification of the record that is read. Open segments and their indexes are
//! shared by all readers of a journal ([`crate::segments`]).
//!
//! Nobody reads past the durable tail. What a window caught of later frames may be half written, so a window is
//! trusted only as far as the durable tail was when it was read.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::format::{BatchHeader, SEGMENT_HEADER_BYTES};
use crate::item::{Gap, GapReason, Item, Record};
use crate::segments::{OpenSegment, Searched};
use crate::source::{Entered, Source, Step};
use crate::types::{Hash, Micros, Seq};

/// Reads records in order of seq. Lending: what it gives is valid until the next call.
#[derive(Debug)]
pub struct Reader {
    catalog: Arc<Catalog>,
    /// The seq that the next item begins with.
    next: Seq,
    /// The durable tail when it was last asked for.
    durable: Seq,
    source: Option<Source>,
}

impl Reader {
    pub(crate) fn new(catalog: Arc<Catalog>, from: Seq) -> Reader {
        let durable = catalog.durable();
        Reader { catalog, next: from.max(Seq::FIRST), durable, source: None }
    }

    /// The next record or gap; `None` at the durable tail, and it may be called again when that has moved.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if the operating system cannot read; [`crate::Error::UnsupportedVersion`] and
    /// [`crate::Error::UnsupportedFeature`] at a segment of a newer program; [`crate::Error::OtherJournal`]. Damage is
    /// not an error but a [`Gap`].
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        match self.step()? {
            Step::Record(found) => {
                let Some(source) = &self.source else { return Ok(None) };
                let bytes = &source.bytes()[found.payload.clone()];
                let redacted = found.is_redacted();
                Ok(Some(Item::Record(Record {
                    seq: found.seq,
                    recorded: source.recorded,
                    recorded_is_bound: source.recorded_is_bound,
                    payload: if redacted { &bytes[Hash::BYTES..] } else { bytes },
                    redacted,
                })))
            }
            Step::Gap(from, to, reason) => Ok(Some(Item::Gap(Gap { from, to, reason }))),
            Step::End => Ok(None),
        }
    }

    /// The seq that the next item begins with.
    pub fn position(&self) -> Seq {
        self.next
    }

    /// Goes on at `seq`, backwards too. Reads nothing by itself; the next item is found in O(log n).
    pub fn seek(&mut self, seq: Seq) {
        let seq = seq.max(Seq::FIRST);
        if let Some(source) = &mut self.source {
            if seq >= source.segment.base && source.end.is_none_or(|end| seq < end) {
                source.seek(seq);
            } else {
                self.source = None;
            }
        }
        self.next = seq;
    }

    /// Goes on at the first record whose `recorded` is at or after `time`; at the durable tail if there is none.
    ///
    /// O(log n) in segments and in frames.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn seek_time(&mut self, time: Micros) -> Result<Seq> {
        let bases = self.catalog.bases();
        // The last segment before which everything is earlier than `time` is the first that can hold such a record.
        let (mut start, mut holder) = (bases.first().copied().unwrap_or(Seq::FIRST), None);
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let segment = self.catalog.segment(bases[middle], middle + 1 == bases.len())?;
            match segment {
                // Where the header is damaged nothing is known, and an earlier start is never wrong.
                Some(segment) if segment.created > Micros::MIN && segment.created < time => {
                    (start, holder) = (bases[middle], Some(segment));
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        if let Some(segment) = holder {
            start = self.start_in(&segment, time)?.unwrap_or(start);
        }
        self.seek(start);
        loop {
            let before = self.next;
            let recorded = match self.next()? {
                None => return Ok(self.next),
                Some(Item::Gap(_)) => continue,
                Some(Item::Record(record)) => record.recorded,
            };
            if recorded >= time {
                self.seek(before);
                return Ok(before);
            }
            if let Some(behind) = self.source.as_mut().and_then(Source::pass_frame) {
                self.next = behind;
            }
        }
    }

    /// A frame of `segment` before the first that is not earlier than `time`, as near as can be found quickly.
    fn start_in(&mut self, segment: &OpenSegment, time: Micros) -> Result<Option<Seq>> {
        let known = segment.index.before_time(time);
        if known.is_last {
            self.durable = self.catalog.durable();
            let durable = self.durable;
            let start = known.place.map_or(SEGMENT_HEADER_BYTES as u64, |place| place.offset);
            let is_before = |header: &BatchHeader| header.recorded < time && header.last() <= durable;
            if let Searched::Found(place) = segment.search(start, is_before)? {
                return Ok(Some(place.seq));
            }
        }
        Ok(known.place.map(|place| place.seq))
    }

    fn step(&mut self) -> Result<Step> {
        loop {
            if let Some(source) = &mut self.source
                && let Some(step) = source.step_in_frame(self.next)
            {
                self.next = match &step {
                    Step::Record(found) => found.seq.next(),
                    Step::Gap(_, to, _) => to.next(),
                    Step::End => self.next,
                };
                return Ok(step);
            }
            if self.next > self.durable {
                self.durable = self.catalog.durable();
                if self.next > self.durable {
                    return Ok(Step::End);
                }
            }
            if let Some(gap) = self.enter_frame()? {
                if let Step::Gap(_, to, _) = &gap {
                    self.next = to.next();
                }
                return Ok(gap);
            }
        }
    }

    /// Opens the frame that holds `next`, or what stands in its place; a gap if there is nothing.
    fn enter_frame(&mut self) -> Result<Option<Step>> {
        let (next, durable) = (self.next, self.durable);
        let mut relisted = false;
        loop {
            let Some(source) = &mut self.source else {
                let gap = self.enter_segment(None, next, durable)?;
                if gap.is_some() {
                    return Ok(gap);
                }
                continue;
            };
            source.look_for_end(&self.catalog);
            match source.enter(next, durable)? {
                Entered::Frame => return Ok(None),
                Entered::Ended => {}
                // Another process may have recovered: then the rest is in a newer segment and this one was cut, or it
                // was replaced.
                Entered::Nothing { .. } if source.end.is_none() && !relisted => {
                    self.catalog.relist()?;
                    self.catalog.forget(source.segment.base);
                    relisted = true;
                }
                Entered::Nothing { limit } => {
                    source.damaged(next, limit)?;
                    if source.has_remains() {
                        return Ok(None);
                    }
                    // What was damaged lies before `next`: on to what comes after it, in this source, which has passed it.
                    continue;
                }
            }
            let before = self.source.take();
            let gap = self.enter_segment(before.as_ref(), next, durable)?;
            if gap.is_some() {
                return Ok(gap);
            }
        }
    }

    /// Opens the segment that holds `next`, behind `before`; a gap if there is none.
    fn enter_segment(&mut self, before: Option<&Source>, next: Seq, durable: Seq) -> Result<Option<Step>> {
        let mut bases = self.catalog.bases();
        let mut relisted = false;
        loop {
            let index = bases.partition_point(|&base| base <= next);
            let Some(base) = index.checked_sub(1).map(|index| bases[index]) else {
                let to = bases.first().map_or(durable, |first| first.prev()).min(durable);
                return Ok(Some(Step::Gap(next, to, GapReason::Retention)));
            };
            let end = bases.get(index).copied();
            if let Some(segment) = self.catalog.segment(base, end.is_none())? {
                let mut source = Source::new(segment, end);
                if let Some(before) = before {
                    source.follow(before);
                }
                self.source = Some(source);
                return Ok(None);
            }
            if relisted {
                let to = end.map_or(durable, |end| end.prev().min(durable));
                return Ok(Some(Step::Gap(next, to, GapReason::Corruption)));
            }
            // It may have been dropped or replaced since the names were read.
            self.catalog.relist()?;
            bases = self.catalog.bases();
            relisted = true;
        }
    }
}
