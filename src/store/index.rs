//! Whether the files of the index can be used. They are derived: one that cannot costs time, never an event.

use std::path::{Path, PathBuf};

use crate::config::guard;
use crate::error::{Error, Result};
use crate::store::ids::block;
use crate::store::log::JournalId;

/// The files of an index that are not whole, or of another journal.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be listed.
pub fn damaged(dir: &Path, journal: JournalId) -> Result<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(Error::io("list", dir))?,
    };
    let mut found = Vec::new();
    for item in listing {
        let item = item.map_err(Error::io("list", dir))?;
        let Some(first) = block::first_of(&item.file_name()) else { continue };
        let path = item.path();
        let is_whole = guard::read(&path, block::FILE_BYTES_MAX).is_ok_and(|bytes| {
            if path.extension().is_some_and(|end| end == "part") {
                block::Partial::decode(&bytes, journal, first).is_some()
            } else {
                block::whole_block(&bytes, journal, first).is_some()
            }
        });
        // One that was replaced meanwhile is another file.
        if !is_whole && path.exists() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
