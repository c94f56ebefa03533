//! `server.json`: written atomically and readable by its owner alone once the server listens; removed at a
//! graceful stop. One that a killed server left behind is overwritten by the next.

use crate::config::DataDir;
use crate::error::Error;
use crate::wire::Runtime;

/// The file, as long as the server runs.
pub(super) struct RuntimeFile {
    dir: DataDir,
}

impl RuntimeFile {
    pub(super) fn write(dir: &DataDir, runtime: &Runtime) -> Result<RuntimeFile, Error> {
        let mut text = super::json_text(runtime);
        text.push('\n');
        crate::config::guard::replace(&dir.server_json(), text.as_bytes())?;
        Ok(RuntimeFile { dir: dir.clone() })
    }
}

impl Drop for RuntimeFile {
    fn drop(&mut self) {
        // Clients prove what it says by the lock, so one that stays behind misleads nobody.
        if let Err(error) = std::fs::remove_file(self.dir.server_json()) {
            tracing::warn!(%error, "server.json could not be removed");
        }
    }
}
