//! What each event of a replay changed in a projection: the state up to the event before it in the journal, and up to it.
//!
//! A fold goes forward only. Steps mostly do too; a step back is a new fold from the nearest snapshot, and what was found once is
//! kept, so that walking to and fro costs nothing.

use std::collections::BTreeMap;

use crate::cli::Context;
use crate::error::Error;
use crate::event::{Json, Seq};
use crate::projection::changes::{Change, changes};
use crate::projection::registry::{self, Definition};
use crate::projection::snapshot::Files;
use crate::projection::{AnyFold, Progress};
use crate::store::View;

/// The changes of one projection, as far as it concerns one session.
pub(super) struct States {
    view: View,
    files: Option<Files>,
    definition: &'static Definition,
    session: String,
    fold: Option<Box<dyn AnyFold>>,
    known: BTreeMap<Seq, Vec<Change>>,
    progress: Progress,
}

impl States {
    /// Of the projection of this name, looked at for `session`.
    pub(super) fn new(
        context: &Context,
        view: &View,
        projection: &str,
        session: &str,
    ) -> Result<States, Error> {
        let definition = registry::find(projection)?;
        let dir = context.locate_data_dir()?;
        let files = view
            .journal_id()
            .map(|journal| Files::new(dir.snapshots(), journal.to_bytes()).with_base(dir.base()));
        let (fold, known, progress) = (None, BTreeMap::new(), Progress::default());
        Ok(States {
            view: view.clone(),
            files,
            definition,
            session: session.to_owned(),
            fold,
            known,
            progress,
        })
    }

    /// The projection's name.
    pub(super) fn projection(&self) -> &'static str {
        self.definition.name
    }

    /// Snapshots that were not believed: told once, at the end.
    pub(super) fn into_progress(self) -> Progress {
        self.progress
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
            let old = self.at(seq.prev())?;
            let new = self.at(seq)?;
            self.known.insert(seq, changes(&old, &new));
        }
        Ok(self.known.get(&seq).map_or(&[], Vec::as_slice))
    }

    /// The state as of `seq`.
    fn at(&mut self, seq: Seq) -> Result<Json, Error> {
        let fold = if let Some(mut fold) = self.fold.take().filter(|fold| fold.seq() <= seq) {
            let mut replay = self.view.replay(fold.seq().next()).through(seq);
            while let Some(item) = replay.next()? {
                fold.take(&item);
            }
            fold
        } else {
            let (fold, progress) = self.definition.state_at(&self.view, self.files.as_ref(), seq)?;
            if self.progress.refused.is_empty() {
                self.progress.refused = progress.refused;
            }
            fold
        };
        let json = fold.session_json(&self.session)?;
        self.fold = Some(fold);
        Ok(json)
    }
}
