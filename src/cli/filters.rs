//! The filters of `events` and `tail`: the same words as on the HTTP interface, and the same code behind them.

use super::Context;
use crate::answers::{self, Folded};
use crate::error::Error;
use crate::event::Filter;
use crate::projection::sessions::look;
use crate::projection::sessions::view::Unresolved;
use crate::store::{Item, View};

/// An id of this length is a whole one: the text of a UUID, which is what agents use.
pub(super) const WHOLE_ID_BYTES: usize = 36;

/// Which events to show. An event has to pass all that are given.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Only events of this agent session; the beginning of its id is enough; several times for any of them
    ///
    /// One that is not on record ends the command with code 3; `tail` with -f or --cursor-file waits for it.
    #[arg(long, value_name = "ID")]
    pub session: Vec<String>,
    /// Only events of these kinds; a pattern like `tool_call_*`, several with commas
    #[arg(long, value_name = "GLOB")]
    pub kind: Vec<String>,
    /// Only events of these categories, like agent, cli or session; several with commas
    #[arg(long, value_name = "NAME")]
    pub category: Vec<String>,
    /// Only events whose payload or summary contains this text, as it is
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Only events at least this important, 1 to 10
    #[arg(long, value_name = "N")]
    pub min_importance: Option<u8>,
    /// Only events of this agent or subagent; several times for any of them
    #[arg(long, value_name = "ID")]
    pub agent: Vec<String>,
    /// Only events of this project; several times for any of them
    #[arg(long, value_name = "NAME")]
    pub project: Vec<String>,
}

impl Filters {
    /// The pairs as the HTTP interface takes them in its query.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let importance = self.min_importance.map(|n| n.to_string());
        [
            ("session", self.session.as_slice()),
            ("kind", &self.kind),
            ("category", &self.category),
            ("grep", self.grep.as_slice()),
            ("min_importance", importance.as_slice()),
            ("agent", &self.agent),
            ("project", &self.project),
        ]
        .into_iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_owned(), value.clone())))
        .collect()
    }

    /// Puts the whole id in the place of a beginning, which is what the lists show. A session that is not on record yet is taken as it
    /// was typed by whoever waits for it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no session begins so and nobody waits, [`Error::Usage`] when several do, and a journal that cannot be read.
    pub fn complete(&mut self, view: &View, waits: bool, context: &mut Context) -> Result<(), Error> {
        for session in &mut self.session {
            if session.len() >= WHOLE_ID_BYTES {
                if !waits && !has_events(view, session)? {
                    answers::find(&Folded::of(&context.record()?, view.clone())?, session)?;
                }
                continue;
            }
            match look::in_journal(view, view.durable(), session)? {
                Ok(found) => *session = found.id,
                Err(Unresolved::Ambiguous(ids)) => return Err(answers::ambiguous(session, &ids)),
                Err(Unresolved::Unknown) if waits => context.out.note(&not_there_yet(session)),
                // One that is known and whose events retention has dropped is no unknown one.
                Err(Unresolved::Unknown) => {
                    *session = answers::find(&Folded::of(&context.record()?, view.clone())?, session)?.id;
                }
            }
        }
        Ok(())
    }

    /// The filter itself.
    ///
    /// # Errors
    /// [`Error::Usage`] for a pattern, category or importance that does not exist.
    pub fn filter(&self) -> Result<Filter, Error> {
        Filter::from_pairs(self.pairs())
            .map_err(|error| Error::usage(format!("--{}: {}", error.field.replace('_', "-"), error.message)))
    }
}

/// Said to whoever waits for a session.
pub(super) fn not_there_yet(session: &str) -> String {
    format!("no session on record is or begins with `{}`", super::display::fit(session, 60))
}

/// Whether an event of the session can still be read.
fn has_events(view: &View, session: &str) -> Result<bool, Error> {
    let filters = Filters { session: vec![session.to_owned()], ..Filters::default() };
    let mut replay = view.replay(view.first()).filtered(filters.filter()?);
    while let Some(item) = replay.next()? {
        if matches!(item, Item::Event(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}
