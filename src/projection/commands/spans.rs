//! Sessions as spans of time: from the first event of the agent to its end, if that is known.
//!
//! As for runs, each event gives the [`Change`] that it made, if it made one that figures can see. A session is over
//! while nothing of its agent happened after its latest end; a later sign opens it again.

//!
//! The sessions seen most recently are kept as they are; the others lie as bytes in pages that snapshots share
//! (`projection::archive`), so that what is saved and what has to be decoded of them does not grow with their number.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::runs::Change;
use crate::event::{Kind, StoredEvent, payload};
use crate::projection::archive::Archive;
use crate::projection::mark::keep_later;
use crate::projection::sessions::is_of_agent;
use crate::projection::sessions::text::{bounded_id, clip, fingerprint};
use crate::projection::snapshot::Part;
use crate::projection::{Latest, Mark};

/// Sessions remembered; beyond them the one seen least recently leaves. One that comes back later counts once more.
pub const SPANS_KEPT_MAX: usize = 16_384;
/// Of them, those that are kept as they are; beyond, the ones seen least recently go into the archive, [`SPANS_LEAVING`] at a time, so that
/// looking for them is rare.
pub const SPANS_RECENT_MAX: usize = 512;
const SPANS_LEAVING: usize = SPANS_RECENT_MAX / 8;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The earliest event of its agent.
    pub first: Mark,
    /// The latest sign of its agent that is not its end.
    sign: Option<Mark>,
    /// Its latest end.
    end: Option<Latest<SpanEnd>>,
    /// Its project, as first told.
    pub project: Option<String>,
    /// Its last event in the journal.
    seq_last: u64,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanEnd {
    /// The agent's own word.
    pub reason: String,
    /// Whether nobody reported it.
    pub inferred: bool,
}

impl Span {
    /// Its end, unless the agent was heard of later.
    pub fn over(&self) -> Option<&Latest<SpanEnd>> {
        self.end.as_ref().filter(|end| self.sign.is_none_or(|sign| sign < end.mark))
    }

    /// From its first event to its end; to the latest sign of its agent where the end is inferred, for that tells when the agent was
    /// found gone.
    pub fn duration_ms(&self) -> Option<u64> {
        let end = self.over()?;
        let last = if end.value.inferred { self.sign.unwrap_or(self.first) } else { end.mark };
        Some(last.millis_since(self.first))
    }
}

/// The sessions that may still change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// Those seen most recently, by the agent's own id.
    recent: BTreeMap<String, Span>,
    archive: Archive,
    /// Sessions that had to leave: they stay counted as they were.
    pub forgotten: u64,
}

impl Spans {
    /// Takes an event in. `None` if it changes nothing that figures could see.
    ///
    /// # Errors
    /// When the payload of an end cannot be read; nothing is changed then.
    pub fn take(&mut self, stored: &StoredEvent) -> Result<Option<Change<Span>>, serde_json::Error> {
        let event = &stored.event;
        let Some(id) = event.session.as_deref() else { return Ok(None) };
        let Some(kind) = event.kind.known().filter(|kind| is_of_agent(*kind)) else { return Ok(None) };
        let mark = Mark::of(stored);
        let end = match kind {
            Kind::SessionEnded => {
                let ended: payload::SessionEnded = event.payload.read()?;
                Some(SpanEnd { reason: clip(&ended.reason), inferred: ended.inferred })
            }
            _ => None,
        };
        let id = bounded_id(id);
        let project = event.project.as_deref();
        if let Some(span) = self.recent.get_mut(&*id) {
            return Ok(span.take(mark, end, project));
        }
        let change = match self.archive.take::<Span>(fingerprint(&id), &id) {
            Some(mut span) => {
                let change = span.take(mark, end, project);
                self.recent.insert(id.into_owned(), span);
                change
            }
            None => {
                let mut span = Span::new(mark);
                span.take(mark, end, project);
                self.recent.insert(id.into_owned(), span.clone());
                Some(Change { before: None, after: span })
            }
        };
        self.bound();
        Ok(change)
    }

    /// Lets sessions beyond the bounds leave, those seen least recently first. Asked only when a session came.
    fn bound(&mut self) {
        if self.recent.len() > SPANS_RECENT_MAX {
            let mut seqs: Vec<u64> = self.recent.values().map(|span| span.seq_last).collect();
            let (_, until, _) = seqs.select_nth_unstable(SPANS_LEAVING - 1);
            let until = *until;
            let mut leaving: Vec<(String, Span)> =
                self.recent.extract_if(.., |_, span| span.seq_last <= until).collect();
            leaving.sort_unstable_by_key(|(_, span)| span.seq_last);
            for (id, span) in leaving {
                self.archive.put(fingerprint(&id), 0, &id, &span);
            }
        }
        while self.len() > SPANS_KEPT_MAX && self.archive.forget_oldest().is_some() {
            self.forgotten += 1;
        }
    }

    fn len(&self) -> usize {
        self.recent.len() + self.archive.len()
    }

    /// What never changes.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.archive.parts()
    }

    /// Gives each part that was read its bytes.
    pub(super) fn fill_parts(&mut self, fill: &mut dyn FnMut(&mut Part) -> bool) -> bool {
        self.archive.parts_mut().all(fill) && self.archive.filled()
    }
}

/// The bytes.
#[derive(Serialize, Deserialize)]
struct Bytes<R, A> {
    recent: R,
    archive: A,
    forgotten: u64,
}

/// The JSON: each session under its id, wherever it lies.
#[derive(Serialize, Deserialize)]
struct Shown {
    by_session: BTreeMap<String, Span>,
    forgotten: u64,
}

impl Serialize for Spans {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Spans { recent, archive, forgotten } = self;
        if serializer.is_human_readable() {
            let archived = archive.entries().filter_map(|entry| entry.value());
            let recent = recent.iter().map(|(id, span)| (id.clone(), span.clone()));
            let by_session = archived.chain(recent).collect();
            return Shown { by_session, forgotten: *forgotten }.serialize(serializer);
        }
        Bytes { recent, archive, forgotten: *forgotten }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Spans, D::Error> {
        if deserializer.is_human_readable() {
            let Shown { by_session, forgotten } = Shown::deserialize(deserializer)?;
            return Ok(Spans { recent: by_session, forgotten, ..Spans::default() });
        }
        let Bytes { recent, archive, forgotten } =
            Bytes::<BTreeMap<String, Span>, Archive>::deserialize(deserializer)?;
        Ok(Spans { recent, archive, forgotten })
    }
}

impl Span {
    fn new(first: Mark) -> Span {
        Span { first, sign: None, end: None, project: None, seq_last: first.seq().get() }
    }

    fn take(&mut self, mark: Mark, end: Option<SpanEnd>, project: Option<&str>) -> Option<Change<Span>> {
        self.seq_last = mark.seq().get();
        let shows = mark < self.first
            || end.is_some()
            || self
                .over()
                .is_some_and(|over| over.mark < mark || (over.value.inferred && self.sign < Some(mark)))
            || (self.project.is_none() && project.is_some());
        let before = shows.then(|| self.clone());
        self.first = self.first.min(mark);
        if self.project.is_none() {
            self.project = project.map(clip);
        }
        match end {
            Some(end) => Latest::set(&mut self.end, mark, end),
            None => keep_later(&mut self.sign, mark),
        }
        before.map(|before| Change { before: Some(before), after: self.clone() })
    }
}
