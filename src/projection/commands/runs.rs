//! Runs of commands, told apart by the correlation that all events of a run share.
//!
//! A run is made by its start or its end, whichever comes first, and every other event of its correlation counts as one
//! of the run's from then on. Figures are not kept here: each event gives the [`Change`] that it made to its run, and
//! whoever keeps figures takes the run as it was out of them and puts it as it is in. So a start that comes after its
//! end moves the run to its own day, and the figures are those of the same events in any other order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::{Kind, StoredEvent, payload};
use crate::projection::sessions::text::{clip, id_key};
use crate::projection::{Latest, Mark};

/// Runs remembered that have not ended; the one begun first is given up.
pub const RUNS_OPEN_MAX: usize = 4_096;
/// Runs remembered after their end, for events that arrive late; the one that ended first leaves.
pub const RUNS_ENDED_MAX: usize = 4_096;

/// What an event made of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// As it was; `None` if it is new.
    pub before: Option<T>,
    /// As it is now.
    pub after: T,
}

/// One run of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The command's name.
    pub command: String,
    /// When it started, if that is on record.
    pub started: Option<Mark>,
    /// How it ended, if it has.
    pub ended: Option<Latest<RunEnd>>,
    /// Its events, start and end included.
    pub events: u64,
    /// The highest importance of them.
    pub importance: u8,
    /// The session in which it ran.
    pub session: Option<String>,
    /// The project in which it ran.
    pub project: Option<String>,
    /// Its first event in the journal.
    seq_first: u64,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Whether it failed.
    pub failed: bool,
    /// Whether nobody reported it: the process is gone.
    pub inferred: bool,
    /// How long it ran, where the command said so.
    pub duration_ms: Option<u64>,
}

impl Run {
    /// When it began, as far as is known: its start, else its end.
    pub fn began(&self) -> Option<Mark> {
        self.started.or_else(|| self.ended.as_ref().map(|ended| ended.mark))
    }
}

/// The runs that may still change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// By correlation.
    by_correlation: BTreeMap<Uuid, Run>,
    /// Seq of the first event to run, of those without an end.
    open: BTreeMap<u64, Uuid>,
    /// Seq of the end to run, of those with one.
    ended: BTreeMap<u64, Uuid>,
    /// Open runs that had to leave: they stay counted as running.
    pub given_up: u64,
}

/// What an event says of the life of a run.
enum Life {
    Started,
    Ended(RunEnd),
}

impl Runs {
    /// Takes an event in. `None` if it is of no known run.
    ///
    /// # Errors
    /// When the payload of a start or an end cannot be read; nothing is changed then.
    pub fn take(&mut self, stored: &StoredEvent) -> Result<Option<Change<Run>>, serde_json::Error> {
        let told = life(stored)?;
        let (id, seq, mark) = (stored.event.correlation, stored.seq.get(), Mark::of(stored));
        let before = self.by_correlation.get(&id).cloned();
        let mut run = match (&before, &told) {
            (Some(run), _) => run.clone(),
            (None, Some((command, _))) => {
                self.open.insert(seq, id);
                Run::new(clip(command), seq)
            }
            (None, None) => return Ok(None),
        };
        run.events += 1;
        run.importance = run.importance.max(stored.event.importance.get());
        let (session, project) = (&stored.event.session, &stored.event.project);
        run.session = run.session.or_else(|| session.as_deref().map(id_key));
        run.project = run.project.or_else(|| project.as_deref().map(clip));
        let was_open = run.ended.is_none();
        match told.map(|(_, life)| life) {
            Some(Life::Started) => run.started = Some(run.started.map_or(mark, |held| held.min(mark))),
            Some(Life::Ended(end)) => run.end(mark, end),
            None => {}
        }
        if was_open && run.ended.is_some() {
            self.open.remove(&run.seq_first);
            self.ended.insert(seq, id);
        }
        self.by_correlation.insert(id, run.clone());
        self.bound();
        Ok(Some(Change { before, after: run }))
    }

    fn bound(&mut self) {
        if self.open.len() > RUNS_OPEN_MAX
            && let Some((_, id)) = self.open.pop_first()
        {
            self.by_correlation.remove(&id);
            self.given_up += 1;
        }
        if self.ended.len() > RUNS_ENDED_MAX
            && let Some((_, id)) = self.ended.pop_first()
        {
            self.by_correlation.remove(&id);
        }
    }
}

impl Run {
    fn new(command: String, seq: u64) -> Run {
        let (started, ended, session, project) = (None, None, None, None);
        Run { command, started, ended, events: 0, importance: 0, session, project, seq_first: seq }
    }

    /// A reported end stands over an inferred one, the earlier over the later.
    fn end(&mut self, mark: Mark, end: RunEnd) {
        let new = Latest { mark, value: end };
        let rank = |end: &Latest<RunEnd>| (end.value.inferred, end.mark);
        if self.ended.as_ref().is_none_or(|held| rank(&new) < rank(held)) {
            self.ended = Some(new);
        }
    }
}

fn life(stored: &StoredEvent) -> Result<Option<(String, Life)>, serde_json::Error> {
    let payload = &stored.event.payload;
    Ok(match stored.event.kind.known() {
        Some(Kind::CliCommandStarted) => {
            let started: payload::CliCommandStarted = payload.read()?;
            Some((started.command, Life::Started))
        }
        Some(Kind::CliCommandCompleted) => {
            let done: payload::CliCommandCompleted = payload.read()?;
            let end = RunEnd { failed: false, inferred: false, duration_ms: Some(done.duration_ms) };
            Some((done.command, Life::Ended(end)))
        }
        Some(Kind::CliCommandFailed) => {
            let failed: payload::CliCommandFailed = payload.read()?;
            let inferred = failed.inferred.unwrap_or(false);
            let end = RunEnd { failed: true, inferred, duration_ms: failed.duration_ms };
            Some((failed.command, Life::Ended(end)))
        }
        _ => None,
    })
}
