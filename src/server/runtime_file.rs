//! `server.json`: written atomically and readable by its owner alone once the server listens; removed at a
//! graceful stop. One that a killed server left behind is overwritten by the next.
//!
//! Who looks for the server finds it by this file alone, so it must be had on a full disk as well. While there is room a spare
//! of one block lies beside it; where there is none, what is to be said is written into the spare, which then takes the file's name. At
//! a stop it gets its own name back.

use std::path::Path;

use crate::config::DataDir;
use crate::config::guard::{self, How};
use crate::error::Error;
use crate::wire::Runtime;

/// One block, whatever the disk's sector; the file has some hundred bytes.
const SPARE_BYTES: usize = 4096;

/// The file, as long as the server runs.
pub(super) struct RuntimeFile {
    dir: DataDir,
}

impl RuntimeFile {
    pub(super) fn write(dir: &DataDir, runtime: &Runtime) -> Result<RuntimeFile, Error> {
        let mut text = super::json_text(runtime);
        text.push('\n');
        let (path, spare) = (dir.server_json(), dir.server_spare());
        match guard::replace(&path, text.as_bytes()) {
            Err(error) if error.is_full() && text.len() <= SPARE_BYTES => {
                if !spare.exists() {
                    // A server that was killed left its own behind, with a block of the disk.
                    std::fs::rename(&path, &spare).map_err(|_| error)?;
                }
                guard::replace_by(&spare, &path, text.as_bytes())?;
            }
            written => written?,
        }
        let file = RuntimeFile { dir: dir.clone() };
        file.take_room();
        Ok(file)
    }

    /// Sees to a spare for the next time. Without one this server goes on all the same.
    pub(super) fn take_room(&self) {
        let spare = self.dir.server_spare();
        if let Err(error) = guard::preallocate(&spare, SPARE_BYTES) {
            std::fs::remove_file(&spare).ok();
            tracing::warn!(%error, "there is no room to be kept for the next server.json");
        }
    }
}

impl Drop for RuntimeFile {
    fn drop(&mut self) {
        let (path, spare) = (self.dir.server_json(), self.dir.server_spare());
        let gone = if spare.exists() {
            std::fs::remove_file(&path)
        } else {
            // The token is worth nothing any more, and is not kept all the same.
            blank(&path).and_then(|()| std::fs::rename(&path, &spare))
        };
        // Clients prove what it says by the lock, so one that stays behind misleads nobody.
        if let Err(error) = gone {
            tracing::warn!(%error, "server.json could not be removed");
        }
    }
}

/// Fills the block of the file with zeros.
fn blank(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let file = guard::open(path, How::Write).map_err(std::io::Error::other)?;
    file.write_all_at(&[0; SPARE_BYTES], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_full_disk_the_spare_becomes_the_file_and_the_file_the_spare_again() {
        let place = tempfile::tempdir().unwrap();
        let (spare, path) = (place.path().join("server.spare"), place.path().join("server.json"));
        guard::preallocate(&spare, SPARE_BYTES).unwrap();
        guard::replace_by(&spare, &path, b"{}\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{}\n");
        assert!(!spare.exists());
        drop(RuntimeFile { dir: DataDir::at(place.path()) });
        assert!(!path.exists());
        assert_eq!(std::fs::read(&spare).unwrap(), [0; SPARE_BYTES]);
    }
}
