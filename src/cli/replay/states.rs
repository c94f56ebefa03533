//! What each event of a replay changed in a projection ([`Steps`]).
//!
//! What was found once is kept, so that walking to and fro costs nothing.

use std::collections::BTreeMap;

use crate::cli::Context;
use crate::error::Error;
use crate::event::Seq;
use crate::projection::Progress;
use crate::projection::changes::Change;
use crate::projection::registry;
use crate::projection::snapshot::Files;
use crate::projection::steps::Steps;
use crate::store::View;

/// The changes of one projection, as far as it concerns one session.
pub(super) struct States {
    view: View,
    files: Option<Files>,
    steps: Steps,
    known: BTreeMap<Seq, Vec<Change>>,
}

impl States {
    /// Of the projection of this name, looked at for `session`.
    pub(super) fn new(
        context: &Context,
        view: &View,
        projection: &str,
        session: &str,
    ) -> Result<States, Error> {
        let steps = Steps::new(registry::find(projection)?, session);
        let dir = context.locate_data_dir()?;
        let files = view
            .journal_id()
            .map(|journal| Files::new(dir.snapshots(), journal.to_bytes()).with_base(dir.base()));
        Ok(States { view: view.clone(), files, steps, known: BTreeMap::new() })
    }

    /// The projection's name.
    pub(super) fn projection(&self) -> &'static str {
        self.steps.projection()
    }

    /// Snapshots that were not believed: told once, at the end.
    pub(super) fn into_progress(self) -> Progress {
        Progress { refused: self.steps.refused().to_vec(), ..Progress::default() }
    }

    /// Finds out what the events at these seqs changed, in one pass.
    pub(super) fn learn(&mut self, seqs: impl Iterator<Item = Seq>) -> Result<(), Error> {
        let mut seqs: Vec<Seq> = seqs.collect();
        seqs.sort_unstable();
        seqs.into_iter().try_for_each(|seq| self.changes_at(seq).map(drop))
    }

    /// What the event at `seq` changed.
    pub(super) fn changes_at(&mut self, seq: Seq) -> Result<&[Change], Error> {
        if !self.known.contains_key(&seq) {
            let changes = self.steps.changes_at(&self.view, self.files.as_ref(), seq)?;
            self.known.insert(seq, changes);
        }
        Ok(self.known.get(&seq).map_or(&[], Vec::as_slice))
    }
}
