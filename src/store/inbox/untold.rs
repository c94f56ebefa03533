//! What the store has to tell of itself and must not tell yet.
//!
//! A command that only reads may be the first to open a journal after a crash, and it appends nothing of its own. What that
//! opening found is known to nobody else: the next one finds a journal that was closed in order. So it leaves the events here,
//! beside what waits in the inbox, and the next opening that is not a reader's takes them up. Each is there at most once,
//! and one recovery stands for all: readers that are killed again and again leave one file.
//!
//! Where there is no room for it, a recovery is written into a block that was kept for it while there was some (`untold.spare`): nothing else
//! knows of it, while damage is found again by whoever reads the segment.
//!
//! The note of a cut ([`crate::store::retention`]) lies here too while the cut is made and until it is told, so that a crash leaves
//! word of it. There is one note for all cuts that were not told: the note of the next takes its place.

use std::path::{Path, PathBuf};

use super::{Deposit, flush_dir, frame, put};
use crate::config::guard::{self, How};
use crate::error::{Error, Result};
use crate::event::{Event, Kind};

const PREFIX: &str = "untold-";
/// Room for the note of a recovery.
pub(in crate::store) const SPARE: &str = "untold.spare";
/// One block, whatever the disk's sector; the note has some hundred bytes.
const SPARE_BYTES: usize = 4096;

/// Leaves `events` for the next opening that may tell them. They are on the disk when this returns.
///
/// # Errors
/// [`Error::Io`].
pub(in crate::store) fn leave(inbox: &Path, events: &[Event]) -> Result<()> {
    for event in events {
        let name = name_of(event);
        let path = inbox.join(&name);
        // One recovery stands for all. The note of a cut stands for those before it.
        if event.kind != Kind::RetentionApplied && std::fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let file = frame::encode(&event.encode()).ok_or_else(|| Error::failed("the event is too large"))?;
        let temporary = inbox.join(format!("{name}.tmp"));
        // Only the holder of the lock comes here: what lies there was left by one that died.
        std::fs::remove_file(&temporary).ok();
        if let Err(error) = put(&temporary, &path, &file, Deposit::Disk) {
            std::fs::remove_file(&temporary).ok();
            if !error.is_full() || event.kind != Kind::JournalRecovered || file.len() > SPARE_BYTES {
                return Err(error);
            }
            // Why there is no room is what to tell, not that none was kept either.
            put_into_spare(inbox, &path, &file).map_err(|_| error)?;
        }
    }
    Ok(())
}

fn put_into_spare(inbox: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let spare = inbox.join(SPARE);
    let file = guard::open(&spare, How::Write)?;
    file.write_all_at(bytes, 0).map_err(Error::io("write", &spare))?;
    file.set_len(bytes.len() as u64).map_err(Error::io("cut", &spare))?;
    file.sync_data().map_err(Error::io("flush", &spare))?;
    std::fs::rename(&spare, path).map_err(Error::io("rename", &spare))?;
    flush_dir(inbox)
}

/// Sees to room for the note of a recovery on a full disk. Without it there is one promise less, and nothing else is missing.
pub(in crate::store) fn take_room(inbox: &Path) {
    let spare = inbox.join(SPARE);
    if let Err(error) = guard::preallocate(&spare, SPARE_BYTES) {
        std::fs::remove_file(&spare).ok();
        tracing::warn!(%error, "there is no room to be kept for what an opening finds");
    }
}

fn name_of(event: &Event) -> String {
    if event.kind == Kind::JournalRecovered || event.kind == Kind::RetentionApplied {
        format!("{PREFIX}{}", event.kind.name())
    } else {
        format!("{PREFIX}{}", event.id.simple())
    }
}

/// Where [`leave`] leaves it: to be removed once it was told.
pub(in crate::store) fn path_of(inbox: &Path, event: &Event) -> PathBuf {
    inbox.join(name_of(event))
}

/// What was left, with the files to be removed once it is durable. A file that is no event any more comes without one.
///
/// # Errors
/// [`Error::Io`].
pub(in crate::store) fn left(inbox: &Path) -> Result<Vec<(PathBuf, Option<Event>)>> {
    let mut left = Vec::new();
    for found in std::fs::read_dir(inbox).map_err(Error::io("list", inbox))? {
        let found = found.map_err(Error::io("list", inbox))?;
        let name = found.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && !name.contains('.')) {
            let bytes = guard::read(&found.path(), frame::FILE_BYTES_MAX)?;
            let event = frame::decode(&bytes).ok().and_then(|bytes| Event::decode(bytes).ok());
            left.push((found.path(), event));
        }
    }
    left.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(left)
}
