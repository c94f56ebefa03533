//! One file that is changed, and the copy that is kept of what it was.
//!
//! The copy lies beside the file and is named `<file>.mnemosyne-backup-<time>-<hash>`, where the hash is that of what was
//! written: by it `--undo` knows that nobody has touched the file since. Where there was no file, the name ends in
//! `-absent`, and in `-absent-dir` where its directory was not there either.

use std::path::{Path, PathBuf};

use super::place::{Holds, Place, Target};
use crate::agent::claude::settings::{self, Handler, SettingsError};
use crate::config::amend::UserFile;
use crate::error::Error;

/// What the names of all copies have after the file's own name and a dot.
pub(super) const BACKUP: &str = "mnemosyne-backup-";
/// There was no file.
pub(super) const ABSENT: &str = "-absent";
/// There was no directory for it either.
pub(super) const ABSENT_DIR: &str = "-absent-dir";

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A file and what it is to hold.
pub(super) struct Edit {
    pub(super) file: UserFile,
    pub(super) after: String,
}

impl Edit {
    /// Our entries put in.
    pub(super) fn registering(target: &Target, place: &Place, program: &str) -> Result<Edit, Error> {
        let named = place.named.as_deref().map(|named| {
            named
                .to_str()
                .map(str::to_owned)
                .ok_or_else(|| Error::usage("--data-dir: it must be UTF-8 to stand in JSON"))
        });
        let handler = Handler { command: program.to_owned(), data_dir: named.transpose()? };
        Edit::of(target, |text| match target.holds {
            Holds::Hooks => settings::register(text, &handler),
            Holds::ProjectsHooks => {
                settings::register(text, &handler).and_then(|text| settings::let_in(&text))
            }
            Holds::Servers => settings::register_mcp(text, &handler),
        })
    }

    /// Our entries taken out, and nothing else.
    pub(super) fn unregistering(target: &Target) -> Result<Edit, Error> {
        Edit::of(target, |text| match target.holds {
            Holds::Hooks => settings::unregister(text),
            Holds::ProjectsHooks => settings::unregister(text).and_then(|text| settings::forget(&text)),
            Holds::Servers => settings::unregister_mcp(text),
        })
    }

    fn of(target: &Target, edit: impl FnOnce(&str) -> Result<String, SettingsError>) -> Result<Edit, Error> {
        let file = UserFile::read(&target.path, target.within.as_deref())?;
        let text = file.text()?;
        let (mark, plain) = match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(plain) => (&text[..BYTE_ORDER_MARK.len_utf8()], plain),
            None => ("", text),
        };
        let after = edit(plain).map_err(|error| Error::Config {
            path: file.path().to_owned(),
            message: format!("{error}; nothing was written"),
        })?;
        let after = format!("{mark}{after}");
        Ok(Edit { file, after })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(super) fn is_change(&self) -> bool {
        self.file.bytes().unwrap_or_default() != self.after.as_bytes()
    }

    /// Keeps a copy and writes; the copy's path. `stamp` says when, in a file's name.
    pub(super) fn write(&self, stamp: &str) -> Result<PathBuf, Error> {
        let directory = self.path().parent().unwrap_or(Path::new("/"));
        let absent = match self.file.bytes() {
            Some(_) => "",
            None if directory.exists() => ABSENT,
            None => ABSENT_DIR,
        };
        let suffix = format!("{BACKUP}{stamp}-{}{absent}", hash(self.after.as_bytes()));
        let backup = self.file.back_up(&suffix)?;
        match self.file.replace(self.after.as_bytes()) {
            Ok(()) => Ok(backup),
            Err(error) => {
                // Of what was not written there is nothing to give back. The first error is the one to tell.
                std::fs::remove_file(&backup).ok();
                Err(error)
            }
        }
    }
}

/// Names what was written: enough digits that an edit by hand does not keep it.
pub(super) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}
