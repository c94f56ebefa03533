//! What single events changed in a projection, as far as it concerns one session: the state up to the event before it in the journal, and
//! up to it.
//!
//! A fold goes forward only. Events mostly are asked for in that order, too; one that lies before the fold is a new fold from the
//! nearest snapshot.

use serde::Serialize;

use super::changes::{Change, changes};
use super::registry::Definition;
use super::snapshot::{Files, Refusal};
use super::{AnyFold, Source};
use crate::error::Result;
use crate::event::{Json, Seq};

/// What one event changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step<'a> {
    /// The projection's name.
    pub projection: &'static str,
    /// The event.
    pub seq: Seq,
    /// What is not as before it; nothing where it changed nothing.
    pub changes: &'a [Change],
}

/// The states of one projection on the way through a session.
pub struct Steps {
    definition: &'static Definition,
    session: String,
    fold: Option<Box<dyn AnyFold>>,
    refused: Vec<Refusal>,
}

impl Steps {
    /// Of this projection, looked at for `session`.
    pub fn new(definition: &'static Definition, session: impl Into<String>) -> Steps {
        Steps { definition, session: session.into(), fold: None, refused: Vec::new() }
    }

    /// The projection's name.
    pub fn projection(&self) -> &'static str {
        self.definition.name
    }

    /// Snapshots that were met and not believed, those of the first fold.
    pub fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    /// What the event at `seq` changed.
    ///
    /// # Errors
    /// As [`Definition::state_at`].
    pub fn changes_at(
        &mut self,
        source: &dyn Source,
        files: Option<&Files>,
        seq: Seq,
    ) -> Result<Vec<Change>> {
        let old = self.at(source, files, seq.prev())?;
        let new = self.at(source, files, seq)?;
        Ok(changes(&old, &new))
    }

    /// Gives up the state that it stands at: the next one is folded from the nearest snapshot. To be called where nobody knows
    /// when that will be.
    pub fn lay_down(&mut self) {
        self.fold = None;
    }

    fn at(&mut self, source: &dyn Source, files: Option<&Files>, seq: Seq) -> Result<Json> {
        let fold = if let Some(mut fold) = self.fold.take().filter(|fold| fold.seq() <= seq) {
            let mut replay = source.replay(fold.seq().next()).through(seq);
            while let Some(item) = replay.next()? {
                fold.take(&item);
            }
            fold
        } else {
            let (fold, progress) = self.definition.state_at(source, files, seq)?;
            if self.refused.is_empty() {
                self.refused = progress.refused;
            }
            fold
        };
        let json = fold.session_json(&self.session)?;
        self.fold = Some(fold);
        Ok(json)
    }
}
