//! From DIR to a journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mnemosyne::event::text::visible;
use mnemosyne_journal::RealDisk;
use mnemosyne_journal::format::segment::segment_base;
use mnemosyne_journal::inspect::Survey;

use crate::failure::Failure;

/// Where a journal lies.
#[derive(Debug)]
pub(crate) struct Place {
    /// The data directory around it, if that was named.
    pub(crate) data: Option<PathBuf>,
    /// Its own directory.
    pub(crate) journal: PathBuf,
}

impl Place {
    /// Finds the journal of `dir`: its own segments, else those of its `journal/`.
    pub(crate) fn find(dir: &Path) -> Result<Place, Failure> {
        if holds_segments(dir)? {
            return Ok(Place { data: None, journal: dir.to_owned() });
        }
        let journal = dir.join("journal");
        if journal.is_dir() {
            return Ok(Place { data: Some(dir.to_owned()), journal });
        }
        let shown = visible(&dir.display().to_string()).into_owned();
        Err(Failure::NotFound(format!(
            "{shown} is no journal: it holds neither segment files nor a directory \"journal\""
        )))
    }

    /// Finds the journal of `dir` and lists its segments.
    pub(crate) fn survey(dir: &Path) -> Result<Survey, Failure> {
        Place::find(dir)?.open()
    }

    pub(crate) fn open(&self) -> Result<Survey, Failure> {
        Survey::open(Arc::new(RealDisk::new(&self.journal))).map_err(|error| match error {
            mnemosyne_journal::Error::NoJournal => {
                let shown = visible(&self.journal.display().to_string()).into_owned();
                Failure::NotFound(format!("{shown} holds no segment file"))
            }
            error => error.into(),
        })
    }
}

fn holds_segments(dir: &Path) -> Result<bool, Failure> {
    let failed = |source| Failure::Io { action: "list", path: dir.to_owned(), source };
    let names = match std::fs::read_dir(dir) {
        Ok(names) => names,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            let shown = visible(&dir.display().to_string()).into_owned();
            return Err(Failure::NotFound(format!("{shown} is not a directory")));
        }
        Err(error) => return Err(failed(error)),
    };
    for name in names {
        let name = name.map_err(failed)?.file_name();
        if name.to_str().and_then(segment_base).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
