//! Looking at segments now and then, so that rot is told while something can still be done about it.
//!
//! A server looks at each segment once after it was sealed, and then at one segment an hour, the one that was not looked at
//! for longest; a reader that meets damage has its segment looked at as soon as it says so, the one that is being written too. A
//! look reads a mebibyte at a time with a pause after each, at most 32 MiB a second. Those that nobody called for start at most
//! once a minute.
//!
//! A command that reads the files itself and meets damage looks at once ([`look_from_outside`]), and leaves what it found in the
//! inbox, from where whoever writes takes it.
//!
//! What a look finds is told once for each damaged range, as `corruption_detected`: the id of that event is made from the
//! range, so neither a restart nor an opening that met the same damage tells it twice. Nothing is moved or cut: the segment
//! stays as it is, every other record of it stays readable, and whoever reads gets a gap where one is not. Damage that costs no
//! record (a header, a footer, padding, a proof, the chain) is told as well, by its place in the file.
//!
//! When each segment was last seen whole stands in `index/whole`:
//!
//! ```text
//! 0   magic     8  "mnemowh" 0x02
//! 8   crc       4  u32 LE: CRC-32/ISO-HDLC of what follows
//! 12  journal  16
//! 28  looks        postcard: what was seen of each segment
//! ```
//! It is derived like all of `index/`: without it each segment is looked at again, and what was told stays told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{self, Clock as _, SystemClock};
use crate::config::{DataDir, guard};
use crate::error::{Error, Result};
use crate::event::{Event, Seq, Timestamp, ids, payload};
use crate::store::check::{self, Lost};
use crate::store::inbox::{self, Deposit};
use crate::store::log::{Attention, Hurt, JournalId, SegmentLook};
use crate::store::open::Store;

/// A segment that was seen whole is looked at again when none was looked at for this long.
const LOOK_EVERY_MICROS: u64 = 3_600_000_000;
/// How often it is asked whether a look is due.
const WAKE_EVERY: Duration = Duration::from_mins(1);
/// After each mebibyte: 32 MiB a second at most.
const PAUSE: Duration = Duration::from_millis(31);

const MAGIC: [u8; 8] = *b"mnemowh\x02";
const CRC_AT: usize = MAGIC.len();
const JOURNAL_AT: usize = CRC_AT + 4;
const LOOKS_AT: usize = JOURNAL_AT + 16;
/// Some hundred bytes a segment; a journal of a million segments would still fit.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What was last seen of a sealed segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it was last looked at, in microseconds since 1970.
    looked: i64,
    /// When it was last whole; never, if it was damaged when it was first looked at.
    whole: Option<i64>,
    /// What cannot be read of it, first and last seq.
    lost: Vec<(u64, u64)>,
    /// How many problems the last look found, those that lose nothing included.
    problems: u64,
    /// Where damage was told that loses nothing: offset and bytes.
    hurt: Vec<(u64, u64)>,
}

impl Seen {
    /// When it was last looked at.
    pub fn looked(&self) -> Timestamp {
        Timestamp::from_micros(self.looked)
    }

    /// When it was last seen whole.
    pub fn last_whole(&self) -> Option<Timestamp> {
        self.whole.map(Timestamp::from_micros)
    }

    /// Whether it was whole at the last look.
    pub fn is_whole(&self) -> bool {
        self.problems == 0
    }

    /// How many problems the last look found.
    pub fn problems(&self) -> u64 {
        self.problems
    }

    /// What cannot be read of it, first and last seq.
    pub fn lost(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.lost.iter().map(|(from, to)| (Seq::new(*from), Seq::new(*to)))
    }
}

/// What was seen of each sealed segment, by its first seq. Empty where nothing was looked at yet, and where the file is
/// damaged or of another journal: then the segments are looked at again.
pub fn last_seen(dir: &DataDir, journal: JournalId) -> BTreeMap<Seq, Seen> {
    let bytes = guard::read(&path(dir), FILE_BYTES_MAX).unwrap_or_default();
    let looks = decode(&bytes, journal).unwrap_or_default();
    looks.into_iter().map(|(base, seen)| (Seq::new(base), seen)).collect()
}

/// Each sealed segment that there is, by its first seq, and what was last seen of it; `None` of one that was not looked at yet.
///
/// # Errors
/// [`Error::NoJournal`]; when the journal's directory cannot be listed.
pub fn sealed(dir: &DataDir, journal: JournalId) -> Result<BTreeMap<Seq, Option<Seen>>> {
    let (bases, mut seen) = (check::bases(dir)?, last_seen(dir, journal));
    let active = bases.last().copied();
    let looks = bases.into_iter().map(|base| (base, seen.remove(&base)));
    // The last is the one that is being written, unless it was looked at as a sealed one.
    Ok(looks.filter(|(base, seen)| seen.is_some() || active != Some(*base)).collect())
}

fn path(dir: &DataDir) -> PathBuf {
    dir.index().join("whole")
}

pub(crate) fn decode(bytes: &[u8], journal: JournalId) -> Option<BTreeMap<u64, Seen>> {
    let (head, looks) = bytes.split_at_checked(LOOKS_AT)?;
    let crc = crc32fast::hash(&bytes[JOURNAL_AT..]).to_le_bytes();
    let whole = head[..CRC_AT] == MAGIC
        && head[CRC_AT..JOURNAL_AT] == crc
        && head[JOURNAL_AT..] == journal.to_bytes();
    if whole { postcard::from_bytes(looks).ok() } else { None }
}

pub(crate) fn encode(looks: &BTreeMap<u64, Seen>, journal: JournalId) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &[0; 4], &journal.to_bytes()].concat();
    // Numbers and lists of known lengths always have a form.
    bytes.extend(postcard::to_stdvec(looks).unwrap_or_default());
    let crc = crc32fast::hash(&bytes[JOURNAL_AT..]).to_le_bytes();
    bytes[CRC_AT..JOURNAL_AT].copy_from_slice(&crc);
    bytes
}

/// Looks at sealed segments until it is dropped.
pub struct Scrub {
    stop: Arc<AtomicBool>,
    attention: Arc<Attention>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Starts the thread that looks at sealed segments. Nothing where the log has none, or where there is no data directory.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn scrub(&self) -> Result<Option<Scrub>> {
        let (Some(dir), Some(attention)) = (self.inner.dir.clone(), self.inner.log.attention()) else {
            return Ok(None);
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (store, stopped, called) = (self.clone(), stop.clone(), attention.clone());
        let place = path(&dir);
        let thread = std::thread::Builder::new()
            .name("scrub".into())
            .spawn(move || look_as_called(&store, &dir, &stopped, &called))
            .map_err(Error::io("start a thread for", place))?;
        Ok(Some(Scrub { stop, attention, thread: Some(thread) }))
    }

    /// What was last seen of each sealed segment, by its first seq.
    pub fn last_seen_whole(&self) -> BTreeMap<Seq, Seen> {
        self.inner.dir.as_ref().map(|dir| last_seen(dir, self.journal_id())).unwrap_or_default()
    }

    /// Looks at the segments in which readers met damage that is not known yet, at the seqs `met`. Where there is none, at one
    /// that is due: one that was never looked at, else, once an hour, the one that was not looked at for longest. The first
    /// seqs of those that were looked at.
    ///
    /// # Errors
    /// When a segment cannot be read, or its damage cannot be told: then it is not noted either, and due again.
    pub(super) fn look_where_due(
        &self,
        dir: &DataDir,
        met: &BTreeSet<Seq>,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Vec<Seq>> {
        let sealed = self.inner.log.sealed();
        let seen = last_seen(dir, self.journal_id());
        let mut bases = called(&sealed, &seen, met);
        // Behind the sealed ones lies the one that is being written.
        let active = sealed.last().map_or(self.inner.log.first(), |(_, last)| last.next());
        if met.range(active..=self.inner.log.durable().max(active)).next().is_some() {
            bases.insert(active);
        }
        if bases.is_empty() {
            bases.extend(due(&sealed, &seen, self.inner.clock.now()));
        }
        for base in &bases {
            self.look_at(dir, *base, pace)?;
        }
        Ok(bases.into_iter().collect())
    }

    /// Looks at one segment, tells what is damaged and was not told, and writes down what was seen. Of the segment that is being
    /// written only what is lost is told and nothing is noted: it is looked at again once it is sealed.
    fn look_at(&self, dir: &DataDir, base: Seq, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let Some(look) = self.inner.log.look(base, pace)? else { return Ok(()) };
        let (journal, now) = (self.journal_id(), self.inner.clock.now().as_micros());
        let mut seen = last_seen(dir, journal);
        let sealed: BTreeSet<Seq> = self.inner.log.sealed().into_iter().map(|(base, _)| base).collect();
        seen.retain(|base, _| sealed.contains(base));
        let before = seen.get(&base);
        self.append_in_batches(&self.new_in(base, &look, before))?;
        let places: Vec<(u64, u64)> = look.hurt.iter().map(|hurt| (hurt.offset, hurt.bytes)).collect();
        if look.problems > 0 {
            tracing::warn!(segment = look.segment, problems = look.problems, "a segment is damaged");
        }
        if !sealed.contains(&base) {
            if let Some(attention) = self.inner.log.attention() {
                attention.know(look.lost.iter().map(|(from, to, _)| (*from, *to)));
            }
            return Ok(());
        }
        let whole = if look.problems == 0 { Some(now) } else { before.and_then(|seen| seen.whole) };
        let lost = look.lost.iter().map(|(from, to, _)| (from.get(), to.get())).collect();
        seen.insert(base, Seen { looked: now, whole, lost, problems: look.problems, hurt: places });
        guard::make_dir(&dir.index())?;
        let looks = seen.into_iter().map(|(base, seen)| (base.get(), seen)).collect();
        guard::replace(&path(dir), &encode(&looks, journal))
    }

    /// What tells of the damage that was found at a look, but for what is known.
    fn new_in(&self, base: Seq, look: &SegmentLook, before: Option<&Seen>) -> Vec<Event> {
        let told: BTreeSet<(Seq, Seq)> = before.iter().flat_map(|seen| seen.lost()).collect();
        let new = look.lost.iter().filter(|(from, to, _)| !told.contains(&(*from, *to)));
        let mut new: Vec<Event> =
            new.map(|(from, to, what)| self.corruption(*from, *to, &look.segment, what.clone())).collect();
        let known = before.map_or(&[][..], |seen| &seen.hurt);
        if let Some(span) = self.inner.log.sealed().into_iter().find(|(first, _)| *first == base) {
            let hurt = look.hurt.iter().filter(|hurt| !known.contains(&(hurt.offset, hurt.bytes)));
            new.extend(hurt.map(|hurt| self.harmless_corruption(span, &look.segment, hurt)));
        }
        new
    }

    pub(super) fn append_in_batches(&self, events: &[Event]) -> Result<()> {
        events.chunks(super::emit::BATCH_EVENTS_MAX).try_for_each(|some| self.append_own(some.to_vec()))
    }

    /// What is to be told of segments up to `last` before they are dropped: all that is damaged in those that nobody looked at since they
    /// were sealed, and in those in which somebody met damage at the seqs `met`. After the drop nobody can.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub(super) fn last_words(&self, last: Seq, met: Option<&BTreeSet<Seq>>) -> Result<Vec<Event>> {
        let Some(dir) = &self.inner.dir else { return Ok(Vec::new()) };
        let seen = last_seen(dir, self.journal_id());
        let going: Vec<_> = self.inner.log.sealed().into_iter().filter(|(_, to)| *to <= last).collect();
        let bases = match met {
            Some(met) => called(&going, &seen, met),
            None => going.iter().map(|(base, _)| *base).filter(|base| !seen.contains_key(base)).collect(),
        };
        let mut events = Vec::new();
        for base in bases {
            if let Some(look) = self.inner.log.look(base, &mut |_| true)? {
                events.extend(self.new_in(base, &look, seen.get(&base)));
            }
        }
        Ok(events)
    }

    /// The event that tells of a damaged range: once, since its id follows from the range.
    pub(super) fn corruption(&self, from: Seq, to: Seq, segment: &str, detail: String) -> Event {
        let mut event = self.own_event(lost(from, to, segment, detail));
        name_lost(&mut event, self.journal_id(), (from, to), segment);
        event
    }

    /// The event that tells of damage in a segment of the seqs `span` which costs none of them: once, since its id follows from the
    /// place.
    fn harmless_corruption(&self, (from, to): (Seq, Seq), segment: &str, hurt: &Hurt) -> Event {
        let mut event = self.own_event(payload::CorruptionDetected {
            from_seq: from.get(),
            to_seq: to.get(),
            segment: segment.to_owned(),
            detail: Some(hurt.what.clone()),
            readable: Some(true),
            offset: Some(hurt.offset),
            bytes: Some(hurt.bytes),
        });
        name_for_ever(&mut event, self.journal_id(), &format!("{segment}@{}+{}", hurt.offset, hurt.bytes));
        event
    }
}

fn lost(from: Seq, to: Seq, segment: &str, detail: String) -> payload::CorruptionDetected {
    payload::CorruptionDetected {
        from_seq: from.get(),
        to_seq: to.get(),
        segment: segment.to_owned(),
        detail: Some(detail),
        readable: None,
        offset: None,
        bytes: None,
    }
}

fn name_lost(event: &mut Event, journal: JournalId, (from, to): (Seq, Seq), segment: &str) {
    name_for_ever(event, journal, &format!("{segment}:{from}-{to}"));
}

fn name_for_ever(event: &mut Event, journal: JournalId, key: &str) {
    event.id = ids::natural(&journal.to_string(), "corruption_detected", key);
    event.correlation = event.id;
}

/// Looks at the segment in which somebody without the lock met damage at `met`, and leaves word of all that is lost there
/// ([`leave`]). `durable` is how far the reader was told that all is durable. The ranges.
///
/// # Errors
/// When the segment cannot be read, or nothing can be put into the inbox.
pub(super) fn look_from_outside(
    dir: &DataDir,
    journal: JournalId,
    met: Seq,
    durable: Seq,
) -> Result<Vec<(Seq, Seq)>> {
    let lost = check::lost_beside(dir, met, durable)?;
    leave(dir, journal, &lost)?;
    Ok(lost.into_iter().map(|lost| (lost.from, lost.to)).collect())
}

/// Puts into the inbox what tells of these ranges. What was told before is told no second time, whoever takes it.
///
/// # Errors
/// As [`inbox::deposit`].
pub fn leave(dir: &DataDir, journal: JournalId, found: &[Lost]) -> Result<()> {
    let clock = SystemClock;
    let instance = clock::new_id(&clock).to_string();
    for Lost { from, to, segment, what } in found {
        let payload = lost(*from, *to, segment, what.clone());
        let source = clock::this_source("mnemosyne");
        let mut event = Event::new(clock::new_id(&clock), clock.now(), instance.clone(), source, payload);
        name_lost(&mut event, journal, (*from, *to), segment);
        inbox::deposit(&dir.inbox(), &event, &clock, Deposit::Os)?;
    }
    Ok(())
}

/// The segments of the seqs `met`, but for damage that is known.
fn called(sealed: &[(Seq, Seq)], seen: &BTreeMap<Seq, Seen>, met: &BTreeSet<Seq>) -> BTreeSet<Seq> {
    let new = |base: &Seq, seq: Seq| {
        seen.get(base).is_none_or(|seen| !seen.lost().any(|(from, to)| (from..=to).contains(&seq)))
    };
    let holds = |seq: Seq| sealed.iter().find(|(first, last)| (*first..=*last).contains(&seq));
    met.iter().filter_map(|seq| holds(*seq).map(|(base, _)| *base).filter(|base| new(base, *seq))).collect()
}

fn due(sealed: &[(Seq, Seq)], seen: &BTreeMap<Seq, Seen>, now: Timestamp) -> Option<Seq> {
    let unseen = sealed.iter().find(|(base, _)| !seen.contains_key(base));
    if let Some((base, _)) = unseen {
        return Some(*base);
    }
    let latest = seen.values().map(|seen| seen.looked).max()?;
    // Also when the clock was set back: a look too many costs little.
    let rested = now.as_micros().abs_diff(latest) >= LOOK_EVERY_MICROS;
    let there = seen.iter().filter(|(base, _)| sealed.iter().any(|(sealed, _)| sealed == *base));
    there.min_by_key(|(_, seen)| seen.looked).map(|(base, _)| *base).filter(|_| rested)
}

fn look_as_called(store: &Store, dir: &DataDir, stop: &AtomicBool, attention: &Attention) {
    let (mut trouble, mut met) = (None, BTreeSet::new());
    while let Some(called) = attention.wait(WAKE_EVERY) {
        met.extend(called);
        let mut pace = |_bytes: u64| {
            std::thread::sleep(PAUSE);
            !stop.load(Ordering::Acquire)
        };
        let failed = match store.look_where_due(dir, &met, &mut pace) {
            Err(Error::Closed { .. }) => return,
            Err(error) => Some(error.to_string()),
            Ok(_) => {
                met.clear();
                None
            }
        };
        if failed != trouble
            && let Some(failed) = &failed
        {
            tracing::warn!("a segment could not be looked at, it is tried again: {failed}");
        }
        trouble = failed;
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.attention.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by the panic hook; segments are then looked at by the next server.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests;
