//! The list of sessions, and finding one by the beginning of its id.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::SessionsProjection;
use super::state::{Phase, Session, Sessions};
use super::view::{SessionView, VERSION};
use super::viewer::{Looking, Viewer};
use crate::event::{Seq, Timestamp};
use crate::projection::Fold;

/// Sessions in a list unless another number is asked for.
pub const LIST_LIMIT_DEFAULT: u64 = 50;

/// Of several sessions that begin alike so many are named.
const AMBIGUOUS_TOLD_MAX: usize = 5;

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Only sessions of this project, with or without `project:` before its name.
    pub project: Option<String>,
    /// Only sessions that were seen at or after this time, by their own clock.
    pub since: Option<Timestamp>,
    /// Only sessions in this state.
    pub state: Option<StateFilter>,
    /// At most so many.
    pub limit: u64,
}

impl Default for ListQuery {
    fn default() -> Self {
        ListQuery { project: None, since: None, state: None, limit: LIST_LIMIT_DEFAULT }
    }
}

/// A state as one asks for it: what the list shows, so a session that is presumed dead is in no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFilter {
    /// In this phase, and not presumed dead.
    In(Phase),
    /// Presumed dead.
    Dead,
}

impl std::str::FromStr for StateFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<StateFilter, String> {
        let phases = [Phase::Working, Phase::Waiting, Phase::Idle, Phase::Ended];
        let phase = phases.into_iter().find(|phase| phase.name() == text);
        match (phase, text) {
            (Some(phase), _) => Ok(StateFilter::In(phase)),
            (None, "dead") => Ok(StateFilter::Dead),
            (None, _) => Err("a state is working, waiting, idle, ended or dead".to_owned()),
        }
    }
}

impl std::fmt::Display for StateFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StateFilter::In(phase) => phase.name(),
            StateFilter::Dead => "dead",
        })
    }
}

impl ListQuery {
    fn wants(&self, id: &str, session: &Session, looking: &Looking<'_>) -> bool {
        fn bare(name: &str) -> &str {
            name.strip_prefix("project:").unwrap_or(name)
        }
        let of_project = match (&self.project, &session.project) {
            (None, _) => true,
            (Some(wanted), Some(project)) => bare(wanted) == bare(&project.value),
            (Some(_), None) => false,
        };
        let recent = self.since.is_none_or(|since| session.last_seen().time() >= since);
        of_project && recent && self.state.is_none_or(|state| state.holds(id, session, looking))
    }
}

impl StateFilter {
    fn holds(self, id: &str, session: &Session, looking: &Looking<'_>) -> bool {
        let view = SessionView::of(id, session);
        let dead = looking.presumes(&view).is_some();
        match self {
            StateFilter::In(phase) => view.state == phase && !dead,
            StateFilter::Dead => dead,
        }
    }
}

/// The list of sessions, the one seen last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// See [`VERSION`].
    pub version: u32,
    /// The last event that this list knows.
    pub seq: Seq,
    /// Events up to there that could not be read and do not count.
    #[serde(default)]
    pub missing: u64,
    /// How many match, shown or not.
    pub total: u64,
    /// Older sessions that are in the journal alone: the live state is bounded. `session ID` finds them.
    pub departed: u64,
    /// The sessions.
    pub sessions: Vec<SessionView>,
    /// What depends on the moment of looking.
    pub viewer: Viewer,
}

/// The list, as it is looked at.
pub fn list(fold: &Fold<SessionsProjection>, query: &ListQuery, looking: &Looking<'_>) -> SessionList {
    let state = fold.state();
    let mut found: Vec<_> = state.all().filter(|(id, session)| query.wants(id, session, looking)).collect();
    found.sort_by_key(|(_, session)| std::cmp::Reverse(session.last_seen()));
    let total = found.len() as u64;
    found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    let sessions: Vec<_> = found.iter().map(|(id, session)| SessionView::of(id, session)).collect();
    let viewer = Viewer::of(looking, sessions.iter().zip(found.iter().map(|(_, session)| &**session)));
    SessionList {
        version: VERSION,
        seq: fold.seq(),
        missing: fold.missing(),
        total,
        departed: state.departed(),
        sessions,
        viewer,
    }
}

/// Why an id or a prefix named no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No session begins with it.
    Unknown,
    /// Several do; here are the first of them.
    Ambiguous(Vec<String>),
}

/// The session that `given` names: its whole id, or the beginning of it that no other id shares.
pub fn resolve<'a>(state: &'a Sessions, given: &str) -> Result<(String, Cow<'a, Session>), Unresolved> {
    if let Some(session) = state.get(given) {
        return Ok((given.to_owned(), session));
    }
    if given.is_empty() {
        return Err(Unresolved::Unknown);
    }
    let mut matching: Vec<_> = state.all().filter(|(id, _)| id.starts_with(given)).collect();
    matching.sort_by(|(a, _), (b, _)| a.cmp(b));
    if matching.len() > 1 {
        let first = matching.into_iter().take(AMBIGUOUS_TOLD_MAX);
        return Err(Unresolved::Ambiguous(first.map(|(id, _)| id.into_owned()).collect()));
    }
    matching.pop().map(|(id, session)| (id.into_owned(), session)).ok_or(Unresolved::Unknown)
}
