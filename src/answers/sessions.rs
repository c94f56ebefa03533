//! One session, the sessions as of now, and what led to an event.

use serde::Serialize;

use super::Record;
use crate::clock;
use crate::config::Settings;
use crate::error::Error;
use crate::event::text::brief;
use crate::event::{Seq, Timestamp};
use crate::projection::notes::Notes;
use crate::projection::sessions::SessionsProjection;
use crate::projection::sessions::look::{self, Found, InState};
use crate::projection::sessions::timeline::{Item, Patch, Timeline};
use crate::projection::sessions::turns::{ContextSeries, Turn};
use crate::projection::sessions::view::{
    self, AgentView, FailureView, FileView, SessionDetail, SessionView, Unresolved,
};
use crate::projection::sessions::viewer::{Looking, Viewer};
use crate::projection::why::{self, Extent, Why};
use crate::projection::{Fold, GapView, Progress, state_at};
use crate::store::View;

/// Characters of an id that are repeated to whoever gave it.
pub const ID_CHARS_SHOWN: usize = 60;

/// The sessions projection as of now, and from where it is looked at.
pub struct Folded {
    /// The journal.
    pub view: View,
    /// The fold.
    pub fold: Fold<SessionsProjection>,
    /// What could not be read for it.
    pub progress: Progress,
    now: Timestamp,
    host: String,
    settings: Settings,
}

impl Folded {
    /// Folds what is durable, from the newest snapshot.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn of(record: &Record, view: View) -> Result<Folded, Error> {
        let (fold, progress) = state_at::<SessionsProjection>(&view, record.files(&view).as_ref(), Seq::MAX)?;
        let host = clock::this_source("mnemosyne").host;
        Ok(Folded { view, fold, progress, now: record.now(), host, settings: record.settings()? })
    }

    /// Where and when it is looked at, and what the user says that tokens cost.
    pub fn looking(&self) -> Looking<'_> {
        Looking::from_here(self.now, &self.host, &self.settings.prices)
    }

    /// What is known of a session.
    pub fn detail(&self, found: &Found) -> SessionDetail {
        view::detail(&found.id, &found.session, found.seq, &self.looking())
    }
}

/// The session that `given` names: its id, or the beginning of it that no other shares.
///
/// # Errors
/// [`Error::NotFound`] when no session begins so, [`Error::Usage`] when several do.
pub fn find(folded: &Folded, given: &str) -> Result<Found, Error> {
    let found = match look::in_state(folded.fold.state(), folded.fold.seq(), given) {
        InState::Found(found) => Ok(*found),
        InState::Unresolved(why) => Err(why),
        InState::AskJournal => look::in_journal(&folded.view, folded.view.durable(), given)?,
    };
    found.map_err(|why| match why {
        Unresolved::Unknown => Error::NotFound {
            what: format!("a session `{}`", brief(given, ID_CHARS_SHOWN)),
            hint: ": `mnemosyne sessions` lists those on record".to_owned(),
        },
        Unresolved::Ambiguous(ids) => ambiguous(given, &ids),
    })
}

/// Says which sessions were meant by too short a beginning.
pub fn ambiguous(given: &str, ids: &[String]) -> Error {
    let ids: Vec<_> = ids.iter().map(|id| brief(id, ID_CHARS_SHOWN)).collect();
    let given = brief(given, ID_CHARS_SHOWN);
    Error::usage(format!("several sessions begin with `{given}`: {}; give more of the id", ids.join(", ")))
}

/// One session whole: the answer of `GET /sessions/{id}` with the items of its timeline.
#[derive(Serialize)]
pub struct Whole<'a> {
    version: u32,
    seq: Seq,
    session: &'a SessionView,
    agents: &'a [AgentView],
    failures: &'a [FailureView],
    files: &'a [FileView],
    unreadable: u64,
    gaps: &'a [GapView],
    items: &'a [Item],
    omitted: u64,
    turns: &'a [Turn],
    context: &'a ContextSeries,
    #[serde(skip_serializing_if = "Option::is_none")]
    patches: Option<&'a [Patch]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patches_omitted: Option<u64>,
    viewer: &'a Viewer,
}

impl Whole<'_> {
    /// Of what is known of a session, and what happened in it.
    pub fn of<'a>(detail: &'a SessionDetail, timeline: &'a Timeline) -> Whole<'a> {
        Whole {
            version: view::VERSION,
            seq: detail.seq,
            session: &detail.session,
            agents: &detail.agents,
            failures: &detail.failures,
            files: &timeline.files,
            unreadable: timeline.unreadable,
            gaps: &timeline.gaps,
            items: &timeline.items,
            omitted: timeline.omitted,
            turns: &timeline.turns,
            context: &timeline.context,
            patches: timeline.patches.as_deref(),
            patches_omitted: timeline.patches_omitted,
            viewer: &detail.viewer,
        }
    }
}

/// What led to an event, with the notes on each one.
///
/// # Errors
/// [`Error::NotFound`] when there is no such event.
pub fn why(folded: &Folded, notes: &Notes, seq: Seq, depth: u32) -> Result<Why, Error> {
    let extent = |id: &str| {
        let session = folded.fold.state().get(id).filter(|session| !session.returned)?;
        Some(Extent { first: Seq::new(session.seq_first), last: Seq::new(session.seq_last) })
    };
    why::explain(&folded.view, seq, depth, extent, &|seq| notes.of(seq).to_vec())
}
