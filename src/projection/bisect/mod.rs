//! The first event after which something holds of a projection's state.
//!
//! **Constraints.** The answer must be right for any question, also for one that holds, stops holding and holds again. So by default every
//! state is asked: events are folded one after the other, and the question is put where an event can have changed the state and has. That
//! takes one fold of the range. Only for a question that stays true once it is true may the range be halved ([`Mode::Halving`]):
//! that is for whoever asks to know, since no look at an expression can tell.
//!
//! **Halving** asks at the end of the range first, then at the middle of what is left. Each state is folded on from the last one that
//! was known not to hold, or from a snapshot where one lies nearer, so all its folds together read about as many events as one, and
//! the question is put O(log n) times.
//!
//! **An expression that goes wrong** on a state (a number where a list was expected) does not hold of it. That is counted and told.
//!
//! **A field that no state has** is null, which is an answer like any other: [`fields`] tells of it beside the answer.
//!
//! **Limits.** An expression ends ([`predicate`]), but that may be far off. [`Watch`] says since when it is at work, for whoever has to
//! give up: this code blocks.

pub mod fields;
mod pieces;
pub mod predicate;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;

use self::fields::{UnknownField, Unseen};
use self::pieces::Pieces;
use self::predicate::Predicate;
use super::entries::Mapped;
use super::snapshot::Files;
use super::{AnyFold, Definition, Progress, Source};
use crate::error::{Error, Result};
use crate::event::{Seq, StoredEvent};
use crate::store::Item;

/// The version of the JSON.
pub const VERSION: u32 = 1;

/// How the first event is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every state is asked.
    Scan,
    /// The range is halved: right for questions that stay true.
    Halving,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Range {
    /// The first event that may be the answer.
    pub from: Seq,
    /// The last one.
    pub until: Seq,
    /// Only events of this session may be the answer.
    pub session: Option<String>,
}

impl Range {
    fn is_of_session(&self, stored: &StoredEvent) -> bool {
        self.session.as_ref().is_none_or(|session| stored.event.session.as_ref() == Some(session))
    }
}

/// What an expression stumbled over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stumbled {
    /// On how many of the states that it was asked of.
    pub states: u64,
    /// The first of these.
    pub first_seq: Seq,
    /// What it said there.
    pub message: String,
}

/// What `bisect --json` prints.
#[derive(Debug, Serialize)]
pub struct Bisection {
    /// [`VERSION`].
    pub version: u32,
    /// The projection.
    pub projection: &'static str,
    /// The question.
    pub expression: String,
    /// How it was looked for.
    pub mode: Mode,
    /// The first event that could have been the answer.
    pub from_seq: Seq,
    /// The last one.
    pub until_seq: Seq,
    /// Only events of this session could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The answer: the first event after which it holds; null where it holds after none, or before all of them.
    pub seq: Option<Seq>,
    /// All of that event.
    pub event: Option<Box<RawValue>>,
    /// Whether it holds before the first of the events already; then nothing was looked for.
    pub held_before: bool,
    /// States that were folded from a state saved or known before.
    pub folds: u64,
    /// Events that were folded.
    pub events: u64,
    /// How often the question was put.
    pub asked: u64,
    /// Where it could not be answered; null where it always could.
    pub stumbled: Option<Stumbled>,
    /// Fields that it names at the top of the state, and where it never held anywhere, and that no state had of which it was asked.
    pub unknown_fields: Vec<UnknownField>,
}

/// Since when an expression is at work.
#[derive(Debug)]
pub struct Watch {
    begun: Instant,
    /// Milliseconds after `begun`, plus one; zero while none is at work.
    since: AtomicU64,
    /// The seq of the state that it is asked of.
    seq: AtomicU64,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { begun: Instant::now(), since: AtomicU64::new(0), seq: AtomicU64::new(0) }
    }
}

impl Watch {
    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// For how many milliseconds an expression has been at work, and at which seq; none while none is.
    pub fn at_work(&self) -> Option<(u64, Seq)> {
        let since = self.since.load(Ordering::SeqCst).checked_sub(1)?;
        Some((self.millis().saturating_sub(since), Seq::new(self.seq.load(Ordering::SeqCst))))
    }

    fn during<T>(&self, seq: Seq, work: impl FnOnce() -> T) -> T {
        self.seq.store(seq.get(), Ordering::SeqCst);
        self.since.store(self.millis() + 1, Ordering::SeqCst);
        let done = work();
        self.since.store(0, Ordering::SeqCst);
        done
    }
}

/// Looks for the first event of `range` after which `expression` holds of the projection's state; and what could not be read.
///
/// # Errors
/// [`Error::Usage`] for an expression that cannot be read; as [`Definition::state_at`].
pub fn search(
    source: &dyn Source,
    files: Option<&Files>,
    definition: &'static Definition,
    expression: &str,
    range: &Range,
    mode: Mode,
    watch: &Watch,
) -> Result<(Bisection, Progress)> {
    let mut search = Search {
        source,
        files,
        definition,
        range,
        asking: Asking::of(expression, watch)?,
        progress: Progress::default(),
        folds: 0,
        events: 0,
    };
    let found = search.run(mode)?;
    let unknown_fields = search.asking.unknown_fields(matches!(found, Answer::Never))?;
    let (seq, held_before) = match found {
        Answer::Before => (None, true),
        Answer::Never => (None, false),
        Answer::After(seq) => (Some(seq), false),
    };
    let event = match seq {
        Some(seq) => super::why::at(source, seq)?.map(|stored| RawValue::from_string(stored.to_json())),
        None => None,
    };
    let event =
        event.transpose().map_err(|error| Error::failed(format!("the event cannot be shown: {error}")))?;
    let Search { asking, progress, folds, events, .. } = search;
    let bisection = Bisection {
        version: VERSION,
        projection: definition.name,
        expression: expression.to_owned(),
        mode,
        from_seq: range.from,
        until_seq: range.until,
        session: range.session.clone(),
        seq,
        event,
        held_before,
        folds,
        events,
        asked: asking.asked,
        stumbled: asking.stumbled,
        unknown_fields,
    };
    Ok((bisection, progress))
}

/// As [`search`] with [`Mode::Scan`], over events that come from elsewhere: every one from the first to the end of the range, in order.
///
/// # Errors
/// As [`search`], and whatever `items` ends with.
pub fn search_all(
    items: impl Iterator<Item = Result<Item>>,
    definition: &'static Definition,
    expression: &str,
    range: &Range,
    watch: &Watch,
) -> Result<(Bisection, Progress)> {
    let mut asking = Asking::of(expression, watch)?;
    let (mut fold, mut progress) = (definition.empty(), Progress::default());
    // The state before the range is asked for itself, as every one within it.
    let mut before = None;
    let mut found = None;
    for item in items {
        let item = item?;
        let is_within = match &item {
            Item::Event(stored) => stored.seq >= range.from,
            Item::Gap(gap) => gap.to >= range.from,
            Item::Undecodable(unknown) => unknown.seq >= range.from,
        };
        if is_within && before.is_none() {
            before = Some(asking.holds(&*fold)?);
        }
        if before == Some(true) {
            break;
        }
        progress.count(&item);
        fold.take(&item);
        let Item::Event(stored) = &item else { continue };
        if is_within && range.is_of_session(stored) && fold.concerned_by(stored) && asking.holds(&*fold)? {
            found = Some(stored.clone());
            break;
        }
    }
    let held_before = match before {
        Some(held) => held,
        None => asking.holds(&*fold)?,
    };
    let event = found.as_ref().map(|stored| RawValue::from_string(stored.to_json()));
    let event =
        event.transpose().map_err(|error| Error::failed(format!("the event cannot be shown: {error}")))?;
    let unknown_fields = asking.unknown_fields(found.is_none() && !held_before)?;
    let bisection = Bisection {
        version: VERSION,
        projection: definition.name,
        expression: expression.to_owned(),
        mode: Mode::Scan,
        from_seq: range.from,
        until_seq: range.until,
        session: range.session.clone(),
        seq: found.map(|stored| stored.seq),
        event,
        held_before,
        folds: 1,
        events: progress.events,
        asked: asking.asked,
        stumbled: asking.stumbled,
        unknown_fields,
    };
    Ok((bisection, progress))
}

enum Answer {
    /// It holds before the first event of the range.
    Before,
    /// It holds after none of them.
    Never,
    /// It holds after this one, and after none before it.
    After(Seq),
}

struct Search<'a> {
    source: &'a dyn Source,
    files: Option<&'a Files>,
    definition: &'static Definition,
    range: &'a Range,
    asking: Asking<'a>,
    progress: Progress,
    folds: u64,
    events: u64,
}

/// Puts the question, and keeps the last answer: a state that is as it was gives it again.
struct Asking<'a> {
    predicate: Predicate,
    watch: &'a Watch,
    asked: u64,
    stumbled: Option<Stumbled>,
    unseen: Unseen,
    last: Option<(Box<RawValue>, bool)>,
    /// The same of a state that is kept in pieces.
    pieces: Option<(Pieces, bool)>,
}

impl<'a> Asking<'a> {
    fn of(expression: &str, watch: &'a Watch) -> Result<Asking<'a>> {
        let predicate = Predicate::parse(expression)?;
        let unseen = Unseen::of(predicate.fields());
        Ok(Asking { predicate, watch, asked: 0, stumbled: None, unseen, last: None, pieces: None })
    }

    fn holds(&mut self, fold: &dyn AnyFold) -> Result<bool> {
        match fold.mapped() {
            Some(state) => self.holds_of_pieces(fold.seq(), state),
            None => Ok(self.holds_of_whole(fold.seq(), fold.state_json()?)),
        }
    }

    fn holds_of_whole(&mut self, seq: Seq, state: Box<RawValue>) -> bool {
        if let Some((last, holds)) = &self.last
            && last.get() == state.get()
        {
            return *holds;
        }
        self.unseen.look(state.get());
        let answer = self.watch.during(seq, || self.predicate.holds(state.get()));
        let holds = self.answered(seq, answer);
        self.last = Some((state, holds));
        holds
    }

    /// As of the whole state; what of it is as it was is not read again.
    fn holds_of_pieces(&mut self, seq: Seq, state: Mapped<'_>) -> Result<bool> {
        let (mut pieces, last) = self.pieces.take().unwrap_or_default();
        if !pieces.become_it(state)? {
            self.pieces = Some((pieces, last));
            return Ok(last);
        }
        if !self.unseen.is_empty() {
            self.unseen.look(pieces.text()?.get());
        }
        let answer = self.watch.during(seq, || self.predicate.holds_of(pieces.value()?));
        let holds = self.answered(seq, answer);
        self.pieces = Some((pieces, holds));
        Ok(holds)
    }

    /// Counts an answer; one that went wrong is no.
    fn answered(&mut self, seq: Seq, answer: Result<bool, String>) -> bool {
        self.asked += 1;
        answer.unwrap_or_else(|message| {
            let stumbled = Stumbled { states: 0, first_seq: seq, message };
            self.stumbled.get_or_insert(stumbled).states += 1;
            false
        })
    }

    fn unknown_fields(&self, held_never: bool) -> Result<Vec<UnknownField>> {
        Ok(match (&self.pieces, &self.last) {
            (Some((pieces, _)), _) => self.unseen.told(pieces.text()?.get(), held_never),
            (None, Some((last, _))) => self.unseen.told(last.get(), held_never),
            (None, None) => Vec::new(),
        })
    }
}

impl Search<'_> {
    fn run(&mut self, mode: Mode) -> Result<Answer> {
        let mut fold = self.state_at(self.range.from.prev())?;
        if self.asking.holds(&*fold)? {
            return Ok(Answer::Before);
        }
        match mode {
            Mode::Scan => self.scan(&mut *fold),
            Mode::Halving => self.halve(fold),
        }
    }

    fn state_at(&mut self, seq: Seq) -> Result<Box<dyn AnyFold>> {
        let (fold, progress) = self.definition.state_at(self.source, self.files, seq)?;
        self.folds += 1;
        self.events += progress.events;
        self.met(progress);
        Ok(fold)
    }

    /// What cannot be read is told once, however often it was met.
    fn met(&mut self, progress: Progress) {
        for gap in progress.gaps {
            if !self.progress.gaps.contains(&gap) {
                self.progress.gaps.push(gap);
            }
        }
        for refusal in progress.refused {
            if !self.progress.refused.contains(&refusal) {
                self.progress.refused.push(refusal);
            }
        }
        self.progress.undecodable = self.progress.undecodable.max(progress.undecodable);
    }

    fn scan(&mut self, fold: &mut dyn AnyFold) -> Result<Answer> {
        let mut replay = self.source.replay(self.range.from).through(self.range.until);
        let mut progress = Progress::default();
        let mut answer = Answer::Never;
        while let Some(item) = replay.next()? {
            progress.count(&item);
            fold.take(&item);
            let Item::Event(stored) = &item else { continue };
            if self.range.is_of_session(stored) && fold.concerned_by(stored) && self.asking.holds(fold)? {
                answer = Answer::After(stored.seq);
                break;
            }
        }
        self.events += progress.events;
        self.met(progress);
        Ok(answer)
    }

    /// `low` is a state that does not hold.
    fn halve(&mut self, low: Box<dyn AnyFold>) -> Result<Answer> {
        let places = self.places()?;
        let Some(last) = places.last() else { return Ok(Answer::Never) };
        let mut low = low;
        let high = self.folded_to(&*low, last)?;
        if !self.asking.holds(&*high)? {
            return Ok(Answer::Never);
        }
        // Of the places from `from` on the first that holds is sought; the one at `to` does.
        let (mut from, mut to) = (0, places.len() - 1);
        while from < to {
            let middle = from + (to - from) / 2;
            let fold = self.folded_to(&*low, places.get(middle))?;
            if self.asking.holds(&*fold)? {
                to = middle;
            } else {
                low = fold;
                from = middle + 1;
            }
        }
        Ok(Answer::After(places.get(to)))
    }

    /// The events that may be the answer. Of a session they are listed, by their envelopes; else any seq of the range may be.
    fn places(&mut self) -> Result<Places> {
        let Range { from, until, session } = self.range;
        let Some(session) = session else { return Ok(Places::All { from: *from, until: *until }) };
        let mut listed = Vec::new();
        let mut replay = self.source.replay(*from).through(*until);
        while let Some(item) = replay.next()? {
            if let Item::Event(stored) = &item
                && stored.event.session.as_ref() == Some(session)
            {
                listed.push(stored.seq);
            }
        }
        Ok(Places::Listed(listed))
    }

    /// The state at `seq`, folded on from `low` or from a snapshot between the two.
    fn folded_to(&mut self, low: &dyn AnyFold, seq: Seq) -> Result<Box<dyn AnyFold>> {
        let far = seq.get().saturating_sub(low.seq().get()) > super::SNAPSHOT_EVERY;
        let journal = self.source.journal();
        let Some(journal) = journal.filter(|_| !far || self.files.is_none()) else {
            return self.state_at(seq);
        };
        let (journal, durable) = (journal.to_bytes(), self.source.durable());
        let copy = low.encode(journal)?;
        let mut fold = self
            .definition
            .decode(&copy, journal, durable)
            .map_err(|why| Error::failed(format!("a state cannot be folded on: {why}")))?;
        self.folds += 1;
        let mut progress = Progress::default();
        let mut replay = self.source.replay(fold.seq().next()).through(seq);
        while let Some(item) = replay.next()? {
            progress.count(&item);
            fold.take(&item);
        }
        self.events += progress.events;
        self.met(progress);
        Ok(fold)
    }
}

/// The places at which the answer may lie, in order.
enum Places {
    All { from: Seq, until: Seq },
    Listed(Vec<Seq>),
}

impl Places {
    fn len(&self) -> usize {
        match self {
            Places::All { from, until } if until < from => 0,
            Places::All { from, until } => {
                usize::try_from(until.get() - from.get()).unwrap_or(usize::MAX - 1) + 1
            }
            Places::Listed(listed) => listed.len(),
        }
    }

    fn get(&self, at: usize) -> Seq {
        match self {
            Places::All { from, .. } => Seq::new(from.get() + at as u64),
            Places::Listed(listed) => listed[at],
        }
    }

    fn last(&self) -> Option<Seq> {
        self.len().checked_sub(1).map(|at| self.get(at))
    }
}
