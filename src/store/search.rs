//! Ranked search over a journal, without an index.
//!
//! **Ranking** is BM25 (k1 = 1.2, b = 0.75): rare words count more, repetition counts less each time, and long events count less.
//! An event's length is that of its payload in bytes. The statistics are those of the events that the range and the filter leave, so
//! both apply before ranking. Scores are rounded to a millionth before they are compared, and equal ones go by seq: the order is the
//! same on every machine.
//!
//! **Cost.** There is no index to build, to keep or to lose. A search reads its range once; an event in which a quick look for the
//! rarest letter finds none of the words is not decoded; without a filter its envelope is only stepped over. A score needs the statistics of all, so what was counted in each event that was
//! found is kept until then; where that is more than 4 MiB of counts, the rest is read a second time. Memory is that, one bit for each seq of the range, and
//! the best `limit` events.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Result;
use crate::event::search::{Counts, Query, Snippet};
use crate::event::{EventRef, Filter, Seq, StoredEvent, Timestamp, payload_of};
use crate::store::log::{Gap, Log, LogItem, LogReader};
use crate::store::replay::{self, Item};
use crate::store::{Store, View};

/// What is searched for, and where.
#[derive(Clone, Debug)]
pub struct Search {
    /// The words.
    pub query: Query,
    /// Which events are searched.
    pub filter: Filter,
    /// The first seq.
    pub from: Seq,
    /// The last seq.
    pub through: Seq,
    /// Recorded at or after this,
    pub since: Option<Timestamp>,
    /// and at or before this.
    pub until: Timestamp,
    /// How many of the best are given back.
    pub limit: usize,
}

/// An event that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Its score in millionths; higher is better.
    pub score_micros: u64,
    /// The part of it that shows why.
    pub snippet: Snippet,
    /// The event.
    pub event: StoredEvent,
}

impl Hit {
    /// The score as people know it.
    pub fn score(&self) -> f64 {
        self.score_micros as f64 / MICROS
    }
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The best, best first.
    pub hits: Vec<Hit>,
    /// How many events hold what is wanted, beside those given back too.
    pub matched: u64,
    /// How many events were searched.
    pub searched: u64,
    /// What could not be read.
    pub gaps: Vec<Gap>,
    /// Records that are no event to this program.
    pub undecodable: Vec<Seq>,
}

const MICROS: f64 = 1_000_000.0;
/// Numbers kept of what was found, 4 bytes each; few in tests, which go beyond.
const KEPT_MAX: usize = if cfg!(test) { 64 } else { 1 << 20 };
/// Seqs that are read over rather than sought past.
const READ_OVER_MAX: u64 = 64;

impl View {
    /// Searches what is durable.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn search(&self, search: &Search) -> Result<Found> {
        run(self.log(), search)
    }
}

impl Store {
    /// Searches what is durable.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn search(&self, search: &Search) -> Result<Found> {
        run(self.log(), search)
    }
}

fn run(log: &Arc<dyn Log>, search: &Search) -> Result<Found> {
    let search = &Search { through: search.through.min(log.durable()), ..search.clone() };
    let mut looked = Looked::default();
    looked.through(log, search)?;
    let mut best = Best { limit: search.limit, ranked: BTreeSet::new() };
    let scorer = Scorer::of(&looked);
    let mut seqs = looked.candidates.seqs();
    for ((counts, bytes), seq) in looked.kept.rows().zip(&mut seqs) {
        best.offer(scorer.score(counts, bytes as usize), seq);
    }
    let mut reader: Option<Box<dyn LogReader>> = None;
    for seq in seqs {
        let reader = reader.get_or_insert_with(|| log.read(seq));
        if let Some(score) =
            at(&mut **reader, seq, |payload| scorer.score(&search.query.count(payload).each, payload.len()))?
        {
            best.offer(score, seq);
        }
    }
    let mut found = looked.found;
    for (Reverse(score_micros), seq) in best.ranked {
        // Retention may have taken it since.
        if let Some(Item::Event(event)) = replay::get(log, seq)? {
            let snippet = search.query.snippet(&event.event.payload.to_json());
            found.hits.push(Hit { score_micros, snippet, event });
        }
    }
    Ok(found)
}

/// What the first reading learns.
#[derive(Default)]
struct Looked {
    found: Found,
    candidates: SeqSet,
    /// What the first of them were found to hold.
    kept: Kept,
    /// Of the event that is looked at.
    counts: Counts,
    /// Whether there is nothing to ask of an envelope.
    takes_all: bool,
    /// Events that hold it, for each word.
    holding: Vec<u64>,
    bytes: u64,
}

impl Looked {
    fn through(&mut self, log: &Arc<dyn Log>, search: &Search) -> Result<()> {
        self.holding = vec![0; search.query.wanted_len()];
        self.kept.words = search.query.wanted_len();
        self.takes_all = search.filter.takes_all();
        let from = search.from.max(Seq::FIRST);
        let mut reader = log.read(from);
        if let Some(since) = search.since {
            reader.seek_time(since)?;
            if reader.position() < from {
                reader.seek(from);
            }
        }
        self.candidates.begin(reader.position());
        while reader.position() <= search.through {
            match reader.next()? {
                None => break,
                Some(LogItem::Gap(gap)) => {
                    self.found.gaps.push(Gap { to: gap.to.min(search.through), ..gap });
                }
                // `recorded` never runs backwards.
                Some(LogItem::Record { recorded, .. }) if recorded > search.until => break,
                Some(LogItem::Record { seq, recorded, payload }) => {
                    self.record(search, seq, recorded, payload);
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, search: &Search, seq: Seq, recorded: Timestamp, bytes: &[u8]) {
        if self.takes_all
            && let Some(payload) = payload_of(bytes)
            && !search.query.may_be_in(payload)
        {
            self.count(payload.len());
            return;
        }
        if let Ok(event) = EventRef::decode(bytes)
            && !search.filter.needs_payload()
        {
            if !search.filter.matches_envelope(&event) {
                return;
            }
            if !search.query.may_be_in(event.payload) {
                self.count(event.payload.len());
                return;
            }
            if let Ok(payload) = event.payload_text() {
                self.payload(&search.query, seq, payload);
                return;
            }
        }
        match Item::decode(seq, recorded, bytes) {
            Item::Event(stored) if search.filter.matches(&stored) => {
                self.payload(&search.query, seq, stored.event.payload.as_str());
            }
            Item::Event(_) | Item::Gap(_) => {}
            Item::Undecodable(_) => self.found.undecodable.push(seq),
        }
    }

    fn payload(&mut self, query: &Query, seq: Seq, payload: &str) {
        self.count(payload.len());
        query.count_into(&mut self.counts, payload);
        for (holding, count) in self.holding.iter_mut().zip(&self.counts.each) {
            *holding += u64::from(*count > 0);
        }
        if self.counts.found {
            self.found.matched += 1;
            self.candidates.insert(seq);
            self.kept.add(&self.counts.each, payload.len());
        }
    }

    fn count(&mut self, bytes: usize) {
        self.found.searched += 1;
        self.bytes += bytes as u64;
    }
}

/// What was counted in the first events that were found: of each the counts of the words, then the length of its payload.
#[derive(Default)]
struct Kept {
    words: usize,
    numbers: Vec<u32>,
    is_full: bool,
}

impl Kept {
    fn add(&mut self, counts: &[u32], bytes: usize) {
        // The ones that are kept come before all that are not: once there was no place, there is none.
        self.is_full = self.is_full || self.numbers.len() + self.words >= KEPT_MAX;
        if !self.is_full {
            self.numbers.extend_from_slice(counts);
            self.numbers.push(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&[u32], u32)> {
        self.numbers.chunks_exact(self.words + 1).filter_map(|row| {
            let (bytes, counts) = row.split_last()?;
            Some((counts, *bytes))
        })
    }
}

/// What `look` makes of the payload of the event at `seq`, by a reader that stands before it or anywhere.
fn at<T>(reader: &mut dyn LogReader, seq: Seq, look: impl Fn(&str) -> T) -> Result<Option<T>> {
    let position = reader.position();
    if position > seq || seq.get() - position.get() > READ_OVER_MAX {
        reader.seek(seq);
    }
    while reader.position() <= seq {
        match reader.next()? {
            // It was found to be an event, and its payload text, when it was read first.
            Some(LogItem::Record { seq: found, payload, .. }) if found == seq => {
                let event = EventRef::decode(payload).ok();
                let text = event.and_then(|event| std::str::from_utf8(event.payload).ok());
                return Ok(text.map(look));
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// BM25 over the statistics of one search.
struct Scorer {
    /// The weight of each word.
    weights: Vec<f64>,
    bytes_mean: f64,
}

impl Scorer {
    const K1: f64 = 1.2;
    const B: f64 = 0.75;

    fn of(looked: &Looked) -> Scorer {
        let events = looked.found.searched as f64;
        let weight = |holding: &u64| (1.0 + (events - *holding as f64 + 0.5) / (*holding as f64 + 0.5)).ln();
        Scorer {
            weights: looked.holding.iter().map(weight).collect(),
            bytes_mean: (looked.bytes as f64 / events.max(1.0)).max(1.0),
        }
    }

    /// In millionths.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a score is small and never below zero"
    )]
    fn score(&self, counts: &[u32], bytes: usize) -> u64 {
        let length = Self::K1 * (1.0 - Self::B + Self::B * bytes as f64 / self.bytes_mean);
        let of_word = |(weight, count): (&f64, &u32)| {
            let count = f64::from(*count);
            weight * count * (Self::K1 + 1.0) / (count + length)
        };
        let score: f64 = self.weights.iter().zip(counts).map(of_word).sum();
        (score * MICROS).round() as u64
    }
}

/// The best so far: by score, then by seq.
struct Best {
    limit: usize,
    ranked: BTreeSet<(Reverse<u64>, Seq)>,
}

impl Best {
    fn offer(&mut self, score_micros: u64, seq: Seq) {
        self.ranked.insert((Reverse(score_micros), seq));
        if self.ranked.len() > self.limit {
            self.ranked.pop_last();
        }
    }
}

/// Seqs from some first one on, a bit each.
#[derive(Default)]
struct SeqSet {
    first: u64,
    words: Vec<u64>,
}

impl SeqSet {
    fn begin(&mut self, first: Seq) {
        self.first = first.get();
    }

    fn insert(&mut self, seq: Seq) {
        let at = seq.get() - self.first;
        let Ok(word) = usize::try_from(at / 64) else { return };
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (at % 64);
    }

    fn seqs(&self) -> impl Iterator<Item = Seq> {
        let first = self.first;
        self.words.iter().zip(0_u64..).flat_map(move |(word, n)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| Seq::new(first + n * 64 + bit))
        })
    }
}

#[cfg(test)]
mod tests;
