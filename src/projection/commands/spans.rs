//! Sessions as spans of time: from the first event of the agent to its end, if that is known.
//!
//! As for runs, each event gives the [`Change`] that it made, if it made one that figures can see. A session is over
//! while nothing of its agent happened after its latest end; a later sign opens it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::runs::Change;
use crate::event::{Kind, StoredEvent, payload};
use crate::projection::mark::keep_later;
use crate::projection::sessions::is_of_agent;
use crate::projection::sessions::text::{bounded_id, clip};
use crate::projection::{Latest, Mark};

/// Sessions remembered; beyond them those seen least recently leave, [`SPANS_LEAVING`] at a time so that this is rare. One that comes
/// back later counts once more.
pub const SPANS_KEPT_MAX: usize = 16_384;
const SPANS_LEAVING: usize = SPANS_KEPT_MAX / 16;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The agent's own id.
    pub session: String,
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

    /// From its first event to its end.
    pub fn duration_ms(&self) -> Option<u64> {
        self.over().map(|end| end.mark.millis_since(self.first))
    }
}

/// The sessions that may still change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    by_session: BTreeMap<String, Span>,
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
        if let Some(span) = self.by_session.get_mut(&*id) {
            return Ok(span.take(mark, end, event.project.as_deref()));
        }
        let mut span = Span {
            session: id.clone().into_owned(),
            first: mark,
            sign: None,
            end: None,
            project: None,
            seq_last: stored.seq.get(),
        };
        span.take(mark, end, event.project.as_deref());
        self.by_session.insert(id.into_owned(), span.clone());
        self.bound();
        Ok(Some(Change { before: None, after: span }))
    }

    fn bound(&mut self) {
        if self.by_session.len() <= SPANS_KEPT_MAX {
            return;
        }
        let mut seqs: Vec<u64> = self.by_session.values().map(|span| span.seq_last).collect();
        let (_, until, _) = seqs.select_nth_unstable(SPANS_LEAVING - 1);
        let until = *until;
        self.by_session.retain(|_, span| span.seq_last > until);
        self.forgotten += SPANS_LEAVING as u64;
    }
}

impl Span {
    fn take(&mut self, mark: Mark, end: Option<SpanEnd>, project: Option<&str>) -> Option<Change<Span>> {
        self.seq_last = mark.seq().get();
        let shows = mark < self.first
            || end.is_some()
            || self.over().is_some_and(|over| over.mark < mark)
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
