//! Questions to a data directory, and their answers: what a command prints with `--json` and a tool of the MCP server gives to an agent.
//!
//! Each answer is made here once, so whoever asks gets the same object. A [`Record`] is the directory that is asked, by the rule of every
//! reading command: it is never made, the inbox is drained if nobody else does that, and nothing is appended. Nothing here prints:
//! what could not be read comes back beside the answer ([`Told`]).

pub mod note;
pub mod page;
pub mod search;
mod sessions;
pub mod when;

use std::sync::Arc;

pub use sessions::{Folded, ID_CHARS_SHOWN, Whole, ambiguous, find, why};

use crate::clock::Clock;
use crate::config::{DataDir, Env, Settings};
use crate::error::Error;
use crate::event::text::counted;
use crate::event::{Place, Seq, Timestamp};
use crate::projection::notes::{Notes, NotesProjection};
use crate::projection::snapshot::Files;
use crate::projection::{AnyFold, Progress, base, registry, seq_known_at, state_since};
use crate::store::space::Space;
use crate::store::{self, View, inbox};

/// A data directory that is asked.
#[derive(Clone)]
pub struct Record {
    dir: DataDir,
    env: Env,
    clock: Arc<dyn Clock>,
}

impl Record {
    /// Of this directory, which need not be there yet.
    pub fn new(dir: DataDir, env: Env, clock: Arc<dyn Clock>) -> Record {
        Record { dir, env, clock }
    }

    /// The directory.
    pub fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// The clock of whoever asks.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What is configured for the directory.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn settings(&self) -> Result<Settings, Error> {
        Settings::load(&self.dir, &self.env)
    }

    /// Drains the inbox if nobody else does, and opens the journal for reading.
    ///
    /// # Errors
    /// [`Error::NoDataDir`], and a journal that cannot be read.
    pub fn view(&self) -> Result<View, Error> {
        store::read(&self.dir, &self.env)
    }

    /// Where the states of projections are saved.
    pub fn files(&self, view: &View) -> Option<Files> {
        let journal = view.journal_id()?;
        Some(Files::new(self.dir.snapshots(), journal.to_bytes()).with_base(self.dir.base()))
    }

    /// How many events lie in the inbox and are not seen by this view, in a sentence; none where there is no such event.
    pub fn waiting(&self, view: &View) -> Option<String> {
        let waiting = view.waiting();
        if waiting == 0 {
            return None;
        }
        let why = match self.limit_reached() {
            Some(Limit::MaxBytes) => "the journal has no room for them: disk.max_bytes is reached",
            Some(Limit::Reserve) => {
                "the journal has no room for them: the disk has no more than disk.reserve"
            }
            None if store::holder(&self.dir).is_some() => "another process is taking them in",
            None => {
                "they cannot be taken into the journal here (is the disk full, read-only, or the lock unusable?)"
            }
        };
        Some(format!("{} in the inbox not shown: {why}", counted(waiting, "event")))
    }

    /// The limit that leaves the journal less than what waits in the inbox: whoever holds it refuses that then.
    fn limit_reached(&self) -> Option<Limit> {
        let settings = self.settings().ok()?;
        let space = Space::of(&self.dir, settings.disk, settings.segment_bytes).ok()?;
        let waiting = inbox::waiting_bytes(&self.dir.inbox()).ok()?;
        let limits = [(Limit::MaxBytes, space.left_by_cap()), (Limit::Reserve, Some(space.left_by_disk()))];
        limits.into_iter().find(|(_, left)| left.is_some_and(|left| left < waiting)).map(|(limit, _)| limit)
    }

    /// People's notes on events from `first` on: a note stands behind what it is about, so nothing before is read.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn notes(&self, view: &View, first: Seq) -> Result<Notes, Error> {
        // What cannot be read is told by whoever asks, who reads the same journal.
        let (fold, _) = state_since::<NotesProjection>(view, self.files(view).as_ref(), first)?;
        Ok(fold.into_state())
    }

    /// What a projection says, now or as of `at`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown projection, [`Error::CursorAhead`] for a seq beyond the tail, [`Error::BeforeBase`] for one
    /// whose events retention has dropped.
    pub fn state(
        &self,
        view: &View,
        projection: &str,
        at: Option<Place>,
    ) -> Result<(Box<dyn AnyFold>, Progress), Error> {
        let definition = registry::find(projection)?;
        definition.state_at(view, self.files(view).as_ref(), seq_of(view, at)?)
    }
}

/// What keeps the journal from growing.
#[derive(Clone, Copy)]
enum Limit {
    MaxBytes,
    Reserve,
}

fn seq_of(view: &View, at: Option<Place>) -> Result<Seq, Error> {
    let last = view.durable();
    match at {
        None => Ok(last),
        Some(Place::Seq(seq)) if seq > last => Err(Error::CursorAhead { asked: seq.get(), last: last.get() }),
        Some(Place::Seq(seq)) => Ok(seq),
        Some(Place::Time(time)) => seq_known_at(view, time),
    }
}

/// The first seq to show: the one that was asked for, else the first that is kept.
///
/// # Errors
/// [`Error::CursorAhead`].
pub fn start(view: &View, from: Option<u64>) -> Result<Seq, Error> {
    let Some(from) = from.map(Seq::new) else { return Ok(view.first()) };
    let last = view.durable();
    if from > last.next() {
        return Err(Error::CursorAhead { asked: from.get(), last: last.get() });
    }
    Ok(from.max(Seq::FIRST))
}

/// What an answer does not rest on, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// One sentence each.
    pub warnings: Vec<String>,
    /// Whether some of what was recorded is damaged, and not only gone by retention.
    pub damaged: bool,
}

impl Told {
    /// Of a fold.
    pub fn of(progress: &Progress) -> Told {
        let mut told = Told::default();
        if progress.undecodable > 0 {
            let records = counted(progress.undecodable, "record");
            told.warnings.push(format!("{records} cannot be read by this version and do not count here"));
        }
        if progress.missing_before > 0 {
            told.damaged = true;
            told.warnings.push(missing_words(progress.missing_before));
        }
        for refusal in &progress.refused {
            let lost = base::is_base(&refusal.path);
            told.damaged |= lost;
            let instead = if lost {
                "what it stood for does not count here"
            } else {
                "the state was folded without it"
            };
            told.warnings.push(format!("{}: {}: {instead}", refusal.path.display(), refusal.why));
        }
        for gap in &progress.gaps {
            let corrupt = gap.reason == store::GapReason::Corruption;
            told.damaged |= corrupt;
            told.warnings.push(gap_words(gap.from, gap.to, corrupt));
        }
        told
    }
}

/// That a state lacks so many events. Which ones only the journal knows.
pub fn missing_words(missing: u64) -> String {
    let (events, does) = (counted(missing, "event"), if missing == 1 { "does" } else { "do" });
    format!(
        "{events} could not be read and {does} not count here (`mnemosyne-inspect verify` looks for what is damaged)"
    )
}

/// That these events are not in an answer, and why.
pub fn gap_words(from: Seq, to: Seq, corrupt: bool) -> String {
    match (from == to, corrupt) {
        (true, true) => format!("event {from} is damaged and does not count here"),
        (true, false) => format!("event {from} was dropped by retention and does not count here"),
        (false, true) => format!("events {from} to {to} are damaged and do not count here"),
        (false, false) => format!("events {from} to {to} were dropped by retention and do not count here"),
    }
}
