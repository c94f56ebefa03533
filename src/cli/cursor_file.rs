//! A cursor in a file: `tail --cursor-file` goes on where it stopped, after a kill too.
//!
//! The file says up to which seq everything that was asked for has been handed on: it is replaced in one step, and only after the
//! output was flushed. So nothing is left out, whenever the process dies; what was handed on since the file was last replaced
//! is shown once more. It is not flushed to the disk: a power cut may set it back by some seconds.

use crate::config::guard;
use crate::error::Error;
use crate::event::Seq;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// No file of ours is larger.
const BYTES_MAX: u64 = 4096;
const VERSION: u32 = 1;

/// What is written: one line of JSON.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    journal: String,
    seq: u64,
}

/// Where somebody stands in a journal, kept in a file.
#[derive(Debug)]
pub struct CursorFile {
    path: PathBuf,
    journal: Option<String>,
    /// What the file says; none while there is no file.
    saved: Option<Seq>,
}

impl CursorFile {
    /// Reads the file, if there is one. `journal` is the one that is about to be read, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read or is none of ours, and [`Error::OtherJournal`].
    pub fn open(path: &Path, journal: Option<String>) -> Result<CursorFile, Error> {
        let mut file = CursorFile { path: path.to_owned(), journal, saved: None };
        let Some(bytes) = guard::read_if_present(path, BYTES_MAX)? else { return Ok(file) };
        let name = path.display();
        let written: Written = serde_json::from_slice(&bytes).map_err(|error| {
            Error::failed(format!("{name} is no cursor file ({error}): remove it to begin anew"))
        })?;
        if written.version > VERSION {
            let version = written.version;
            return Err(Error::failed(format!("{name} was written by a newer program (version {version})")));
        }
        if file.journal.as_deref() != Some(written.journal.as_str()) {
            let actual = file.journal.unwrap_or_else(|| "empty".to_owned());
            return Err(Error::OtherJournal { asked: written.journal, actual });
        }
        file.saved = Some(Seq::new(written.seq));
        Ok(file)
    }

    /// Where to go on after; none before the first time.
    pub fn cursor(&self) -> Option<Seq> {
        self.saved
    }

    /// Which journal it is, for one that was made after this was opened.
    pub fn learn(&mut self, journal: &str) {
        self.journal.get_or_insert_with(|| journal.to_owned());
    }

    /// Notes that everything up to `cursor` has been handed on. Cheap when that is known.
    ///
    /// # Errors
    /// When the file cannot be replaced; the old one stands.
    pub fn save(&mut self, cursor: Seq) -> Result<(), Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        if self.saved == Some(cursor) {
            return Ok(());
        }
        let written = Written { version: VERSION, journal: journal.clone(), seq: cursor.get() };
        let text = serde_json::to_string(&written).map_err(|error| Error::failed(error.to_string()))?;
        guard::replace(&self.path, format!("{text}\n").as_bytes())?;
        self.saved = Some(cursor);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(byte: u8) -> String {
        format!("{byte:02x}").repeat(16)
    }

    #[test]
    fn what_was_saved_is_found_again_and_only_for_its_own_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let mut file = CursorFile::open(&path, Some(journal(1))).unwrap();
        assert_eq!(file.cursor(), None);
        file.save(Seq::new(7)).unwrap();
        file.save(Seq::new(9)).unwrap();
        assert_eq!(CursorFile::open(&path, Some(journal(1))).unwrap().cursor(), Some(Seq::new(9)));
        assert_eq!(CursorFile::open(&path, Some(journal(2))).unwrap_err().code(), "other_journal");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_of_somebody_else_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        for text in ["my notes", "", "{\"version\":2,\"journal\":\"x\",\"seq\":1}"] {
            std::fs::write(&path, text).unwrap();
            assert!(CursorFile::open(&path, Some(journal(1))).is_err(), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
