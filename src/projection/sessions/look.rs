//! Looking at one session: whoever asks, offline or through a server, asks here.
//!
//! The live state answers where it can. A session that left it, or came back to it, is folded again from its own events
//! in the journal, and a timeline always is: the state is bounded and the journal is not. Of a session that has ended, or has not been
//! seen lately, the state keeps what was counted and little of the detail: its calls, files and subagents are read back in the same way.

use super::SessionsProjection;
use super::state::{Session, Sessions};
use super::text::fingerprint;
use super::timeline::{Builder, Timeline};
use super::view::{SessionView, Unresolved, resolve};
use crate::error::Result;
use crate::event::{Filter, Seq, StoredEvent};
use crate::projection::{GapView, Mark, Progress, Projection, Source};
use crate::store::Item;

/// A session that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its whole id.
    pub id: String,
    /// What is known of it.
    pub session: Session,
    /// The last seq that this knows.
    pub seq: Seq,
    /// It was read back from a journal that has not all its events any more: some of its own may be among those that are gone.
    pub may_lack: bool,
}

/// The answer of the live state: the session, or that the journal has to be asked, or why there is none.
pub enum InState {
    /// Here it is.
    Found(Box<Found>),
    /// It may have left the state, or its counts are not whole.
    AskJournal,
    /// There is no such session.
    Unresolved(Unresolved),
}

/// Looks `given`, an id or the beginning of one, up in a state at `seq`.
pub fn in_state(state: &Sessions, seq: Seq, given: &str) -> InState {
    match resolve(state, given) {
        Ok((_, session)) if session.returned => InState::AskJournal,
        Ok((id, session)) => {
            InState::Found(Box::new(Found { id, session: session.into_owned(), seq, may_lack: false }))
        }
        Err(Unresolved::Unknown) if state.departed() > 0 => InState::AskJournal,
        Err(why) => InState::Unresolved(why),
    }
}

/// Looks `given` up by folding the events of the sessions that begin with it, up to `seq`.
///
/// # Errors
/// When the journal cannot be read.
pub fn in_journal(source: &impl Source, seq: Seq, given: &str) -> Result<Result<Found, Unresolved>> {
    let mut state = Sessions::default();
    let concerns =
        |stored: &StoredEvent| stored.event.session.as_deref().is_some_and(|id| id.starts_with(given));
    let mut replay = source.replay(Seq::FIRST).through(seq);
    let mut may_lack = false;
    while let Some(item) = replay.next()? {
        match item {
            Item::Event(stored) if concerns(&stored) => SessionsProjection::apply(&mut state, &stored),
            Item::Event(_) => {}
            Item::Gap(_) | Item::Undecodable(_) => may_lack = true,
        }
    }
    Ok(resolve(&state, given).map(|(id, session)| Found { id, session: session.into_owned(), seq, may_lack }))
}

/// The session with the detail that has left the state, read back from the journal; the same where none has.
///
/// # Errors
/// When the journal cannot be read.
pub fn with_detail(source: &impl Source, mut found: Found) -> Result<Found> {
    if found.session.lacks_detail() {
        let mut detail = ReadBack::default();
        each_event(source, &found, |stored| detail.take(&found.id, stored))?;
        detail.add_to(&mut found.session);
    }
    Ok(found)
}

/// The session as [`with_detail`] gives it, what happened in it, and what could not be read: `builder` and the detail share one
/// reading of the journal.
///
/// # Errors
/// When the journal cannot be read.
pub fn timeline(
    source: &impl Source,
    mut found: Found,
    mut builder: Builder,
) -> Result<(Found, Timeline, Progress)> {
    let mut detail = found.session.lacks_detail().then(ReadBack::default);
    let progress = each_event(source, &found, |stored| {
        builder.push(stored);
        if let Some(detail) = &mut detail {
            detail.take(&found.id, stored);
        }
    })?;
    if let Some(detail) = detail {
        detail.add_to(&mut found.session);
    }
    let timeline = builder.finish(SessionView::of(&found.id, &found.session), found.seq);
    let (unreadable, gaps) = (progress.undecodable, GapView::all(&progress));
    Ok((found, Timeline { unreadable, gaps, ..timeline }, progress))
}

/// Shows each event of the session that can still be read.
fn each_event(source: &impl Source, found: &Found, mut see: impl FnMut(&StoredEvent)) -> Result<Progress> {
    let (first, last) = (Seq::new(found.session.seq_first), Seq::new(found.session.seq_last));
    let only = Filter::from_pairs([("session", found.id.as_str())]).map_err(|error| {
        crate::error::Error::failed(format!("the session's id cannot be asked for: {}", error.message))
    })?;
    let mut replay = source.replay(first).filtered(only).through(last);
    let mut progress = Progress::default();
    while let Some(item) = replay.next()? {
        match item {
            Item::Event(stored) => {
                progress.events += 1;
                see(&stored);
            }
            Item::Gap(gap) => progress.gaps.push(gap),
            Item::Undecodable(_) => progress.undecodable += 1,
        }
    }
    Ok(progress)
}

/// One session folded again for its detail. It takes as much memory as one session in the state may: the bounds are the same, but that
/// of an ended session no calls have to leave.
#[derive(Default)]
struct ReadBack {
    state: Sessions,
}

impl ReadBack {
    fn take(&mut self, id: &str, stored: &StoredEvent) {
        if self.state.recent.is_empty() {
            let mut session = Session::new(fingerprint(id), Mark::of(stored), false);
            session.keeps_calls = true;
            self.state.recent.insert(id.to_owned(), session);
        }
        SessionsProjection::apply(&mut self.state, stored);
    }

    fn add_to(self, session: &mut Session) {
        if let Some((_, detail)) = self.state.recent.into_iter().next() {
            session.add_detail(detail);
        }
    }
}
