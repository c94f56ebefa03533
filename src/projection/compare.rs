//! Whether the saved states are what the journal says: the fold is computed anew and compared at each of their seqs.
//!
//! Nothing here reads the journal: events are given, by rising seq, so that the offline tool can do it on a damaged copy
//! as well as a running program on its store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::any::AnyFold;
use super::snapshot::{self, Refused, SharedParts};
use super::{StateHash, base, durable, registry};
use crate::error::{Error, Result};
use crate::event::{Seq, StoredEvent};

/// What became of one saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// Of which projection; empty where the file does not say it credibly.
    pub projection: String,
    /// The last event folded; none where the file does not say it credibly.
    pub seq: Option<Seq>,
    /// Whether losing it loses something: it is in a base.
    pub primary: bool,
    /// What was found.
    pub verdict: Verdict,
}

/// See [`Checked`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The fold of the journal has the same hash.
    Same(StateHash),
    /// It has not: the saved state is wrong.
    Different {
        /// The hash in the file.
        saved: StateHash,
        /// The hash of the fold.
        folded: StateHash,
    },
    /// It would not be used, so it does no harm; in a base that is a loss.
    Refused(Refused),
    /// The events before it are not retained: it is what the others are folded over, and can only be believed.
    Start(StateHash),
    /// It lies before what is retained and is of no use any more.
    Useless,
}

impl Checked {
    /// Whether something is wrong that a user must hear of.
    pub fn is_wrong(&self) -> bool {
        match self.verdict {
            Verdict::Different { .. } => true,
            Verdict::Refused(why) => self.primary && !matches!(why, Refused::Absent | Refused::OtherSchema),
            Verdict::Same(_) | Verdict::Start(_) | Verdict::Useless => false,
        }
    }

    /// Whether its bytes are not those that were written, and nothing is lost with them: it is derived, and folded anew.
    pub fn is_damaged(&self) -> bool {
        !self.primary && self.verdict == Verdict::Refused(Refused::Damaged)
    }

    /// Whether it has folded events that the journal does not hold.
    pub fn is_ahead(&self) -> bool {
        !self.primary && self.verdict == Verdict::Refused(Refused::Ahead)
    }
}

struct Saved {
    path: PathBuf,
    hash: StateHash,
    primary: bool,
}

/// A comparison under way.
pub struct Comparison {
    folds: Vec<Box<dyn AnyFold>>,
    /// Saved states still to come to, by seq and projection.
    ahead: BTreeMap<(Seq, String), Vec<Saved>>,
    checked: Vec<Checked>,
}

impl Comparison {
    /// Of the saved states in the two directories, over a journal that begins at `first` and ends at `last`. Directories that are
    /// not there hold none.
    ///
    /// # Errors
    /// [`Error::Io`] when a directory cannot be listed.
    pub fn begin(
        snapshots: &Path,
        bases: &Path,
        journal: [u8; 16],
        first: Seq,
        last: Seq,
    ) -> Result<Comparison> {
        let mut comparison = Comparison { folds: Vec::new(), ahead: BTreeMap::new(), checked: Vec::new() };
        let from = first.prev();
        let mut parts = SharedParts::default();
        for path in snapshot_files(snapshots)? {
            let label = read(&path).and_then(|bytes| {
                let label = snapshot::label(&bytes)?;
                let is_whole = parts.has_all(snapshots, &label.projection, &bytes);
                if is_whole { Ok(label) } else { Err(Refused::Damaged) }
            });
            // A writer at work has removed it meanwhile: nothing is wrong with that.
            if label.is_err() && fs::symlink_metadata(&path).is_err() {
                continue;
            }
            comparison.add(&path, label, journal, from, last, false);
        }
        let mut begins = BTreeMap::new();
        for path in base::bases(bases)?.into_values() {
            let bytes = read(&path);
            let states = bytes.as_ref().map_err(|why| *why).and_then(|bytes| base::states(bytes, journal));
            match states {
                Err(why) => comparison.refuse(&path, why, true),
                Ok(states) => {
                    for state in states.all() {
                        let label = snapshot::label(state);
                        if let Ok(label) = &label
                            && label.seq == from
                            && from > Seq::ZERO
                        {
                            begins.insert(label.projection.clone(), state.to_vec());
                        }
                        comparison.add(&path, label, journal, from, last, true);
                    }
                }
            }
        }
        for definition in registry::TABLE {
            let start = begins.get(definition.name);
            let fold = start.and_then(|bytes| definition.decode(bytes, journal, last).ok());
            comparison.folds.push(fold.unwrap_or_else(|| definition.empty()));
        }
        Ok(comparison)
    }

    fn add(
        &mut self,
        path: &Path,
        label: Result<snapshot::Label, Refused>,
        journal: [u8; 16],
        from: Seq,
        last: Seq,
        primary: bool,
    ) {
        let label = match label {
            Ok(label) => label,
            Err(why) => return self.refuse(path, why, primary),
        };
        let known = registry::TABLE.iter().find(|definition| definition.name == label.projection);
        let refused = match known {
            None => Some(Refused::OtherProjection),
            Some(_) if label.journal != journal => Some(Refused::OtherJournal),
            Some(known) if label.schema != known.schema => Some(Refused::OtherSchema),
            Some(_) if label.seq > last => Some(Refused::Ahead),
            Some(_) => None,
        };
        let settled = match refused {
            Some(why) => Verdict::Refused(why),
            None if label.seq < from => Verdict::Useless,
            None if label.seq == from && from > Seq::ZERO => Verdict::Start(label.hash),
            None => {
                let saved = Saved { path: path.to_owned(), hash: label.hash, primary };
                self.ahead.entry((label.seq, label.projection)).or_default().push(saved);
                return;
            }
        };
        self.checked.push(Checked {
            path: path.to_owned(),
            projection: label.projection,
            seq: Some(label.seq),
            primary,
            verdict: settled,
        });
    }

    fn refuse(&mut self, path: &Path, why: Refused, primary: bool) {
        self.checked.push(Checked {
            path: path.to_owned(),
            projection: String::new(),
            seq: None,
            primary,
            verdict: Verdict::Refused(why),
        });
    }

    /// Takes in the next event.
    ///
    /// # Errors
    /// When a state has no bytes: a fault of the projection.
    pub fn event(&mut self, event: &StoredEvent) -> Result<()> {
        self.check_before(event.seq)?;
        self.folds.iter_mut().for_each(|fold| fold.apply(event));
        Ok(())
    }

    /// Passes over records that cannot be read, up to and including `to`.
    ///
    /// # Errors
    /// As [`Comparison::event`].
    pub fn skip(&mut self, to: Seq) -> Result<()> {
        self.check_before(to)?;
        self.folds.iter_mut().for_each(|fold| fold.skip(to));
        Ok(())
    }

    /// What was found, in the order of files and seqs.
    ///
    /// # Errors
    /// As [`Comparison::event`].
    pub fn end(mut self) -> Result<Vec<Checked>> {
        self.check_before(Seq::MAX)?;
        self.checked.sort_by(|a, b| (&a.path, &a.projection, a.seq).cmp(&(&b.path, &b.projection, b.seq)));
        Ok(self.checked)
    }

    /// Compares what was saved before `next` with the folds, which have taken in everything before it.
    fn check_before(&mut self, next: Seq) -> Result<()> {
        while let Some(entry) = self.ahead.first_entry() {
            if entry.key().0 >= next {
                break;
            }
            let ((seq, projection), saved) = entry.remove_entry();
            let fold = self.folds.iter().find(|fold| fold.name() == projection);
            let folded = fold.ok_or_else(|| Error::failed("a projection without a fold"))?.hash()?;
            for Saved { path, hash, primary } in saved {
                let verdict = if hash == folded {
                    Verdict::Same(folded)
                } else {
                    Verdict::Different { saved: hash, folded }
                };
                let projection = projection.clone();
                self.checked.push(Checked { path, projection, seq: Some(seq), primary, verdict });
            }
        }
        Ok(())
    }
}

/// Compares the saved states of a data directory with the fold of its journal.
///
/// # Errors
/// When the journal cannot be read or a directory cannot be listed.
pub fn compare(source: &dyn super::Source, snapshots: &Path, bases: &Path) -> Result<Vec<Checked>> {
    let Some(journal) = source.journal() else { return Ok(Vec::new()) };
    let (first, last) = (source.first(), source.durable());
    let mut comparison = Comparison::begin(snapshots, bases, journal.to_bytes(), first, last)?;
    let mut replay = source.replay(first).through(last);
    while let Some(item) = replay.next()? {
        match item {
            crate::store::Item::Event(event) => comparison.event(&event)?,
            crate::store::Item::Gap(gap) => comparison.skip(gap.to)?,
            crate::store::Item::Undecodable(record) => comparison.skip(record.seq)?,
        }
    }
    comparison.end()
}

fn snapshot_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("list", dir))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "snap") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, Refused> {
    durable::read(path).ok().flatten().ok_or(Refused::Damaged)
}

#[cfg(test)]
mod tests;
