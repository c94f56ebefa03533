//! One writer: an advisory lock on a file of its own, which the holder fills with words about itself.
//!
//! The kernel drops the lock with the process, however it dies, so a lock that is held proves that its holder lives.
//! The content is a hint for people and for finding the holder; it is read without taking the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::disk::refusal;
use crate::error::{Error, Result};

/// More than a holder ever writes; what is longer is not ours.
const HOLDER_BYTES_MAX: u64 = 64 * 1024;

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock at `path` without waiting and replaces the file's content; `None` if somebody else holds it.
    /// The file is made (mode 0600) if it is not there; its directory must be.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be made, locked or written; a link at `path`, and a file of another user or
    /// with a second name elsewhere, is refused.
    pub fn try_acquire(path: &Path, content: &[u8]) -> Result<Option<Lock>> {
        let named = |action| move |source| Error::io(action, &path.display().to_string(), source);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nofollow())
            .open(path)
            .map_err(named("open the lock"))?;
        let meta = file.metadata().map_err(named("inspect the lock"))?;
        if !meta.is_file() {
            return Err(Error::NotAFile { file: path.display().to_string() });
        }
        if let Some(why) = refusal(&meta, true) {
            return Err(named("take the lock")(io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(named("take the lock")(source)),
        }
        let mut lock = Lock { file };
        lock.describe(content).map_err(named("write the lock"))?;
        Ok(Some(lock))
    }

    /// What the last holder wrote about itself, whether it still lives or not; `None` if there is no such file.
    /// Takes no lock.
    pub fn read_holder(path: &Path) -> Option<Vec<u8>> {
        let file = OpenOptions::new().read(true).custom_flags(nofollow()).open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut content = Vec::new();
        file.take(HOLDER_BYTES_MAX).read_to_end(&mut content).ok()?;
        Some(content)
    }

    /// Replaces what the file says about its holder. What was longer is filled up with spaces, not cut off: the file keeps the
    /// block that it has, so that on a full disk the lock can be taken by whoever comes to make room.
    ///
    /// # Errors
    /// Whatever the operating system answers to the write.
    pub fn describe(&mut self, content: &[u8]) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        self.file.set_permissions(fs::Permissions::from_mode(0o600))?;
        let before = self.file.metadata()?.len();
        let kept = usize::try_from(before.min(HOLDER_BYTES_MAX)).unwrap_or_default();
        let mut filled = content.to_vec();
        filled.resize(content.len().max(kept), b' ');
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&filled)?;
        // Longer than anything of ours.
        if before > filled.len() as u64 { self.file.set_len(filled.len() as u64) } else { Ok(()) }
    }
}

#[expect(clippy::cast_possible_wrap, reason = "the flags of open(2) are a C int; bits are kept")]
fn nofollow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32
}
