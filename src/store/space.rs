//! What the store takes of the disk, and what the disk has left.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::DataDir;
use crate::config::settings::DiskLimits;
use crate::error::{Error, Result};

/// The reserve where none is configured, and the part of a small file system that is enough.
const RESERVE: u64 = 256 << 20;
const RESERVE_PART: u64 = 20;
/// What a server writes ahead of its journal, at most: below a cap so much is not for records.
const AHEAD: u64 = 4 << 20;

/// Bytes, as the file system counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Taken by the journal, by what it set aside, and by bases, index and snapshots: what `disk.max_bytes` limits.
    pub used: u64,
    /// Of these, the journal's segments.
    pub journal: u64,
    /// `disk.max_bytes`.
    pub max: Option<u64>,
    /// Below that, kept for what is written ahead of the journal.
    pub ahead: u64,
    /// Free on the file system for this user.
    pub free: u64,
    /// Of these, left to others: `disk.reserve`, or what stands for it.
    pub reserve: u64,
}

impl Space {
    /// Looks.
    ///
    /// # Errors
    /// [`Error::Io`] when the file system or a directory does not answer.
    pub fn of(dir: &DataDir, limits: DiskLimits, segment_bytes: u64) -> Result<Space> {
        let path = dir.journal();
        let system =
            rustix::fs::statvfs(&path).map_err(|error| Error::io("look for room in", &path)(error.into()))?;
        let (free, size) = (system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize);
        let reserve = limits.reserve.unwrap_or(RESERVE.min(size / RESERVE_PART));
        let journal = bytes_in(&path)?;
        let mut used = journal;
        for beside in [path.join("quarantine"), dir.index(), dir.snapshots(), dir.base()] {
            used += bytes_in(&beside)?;
        }
        let ahead = AHEAD.min(segment_bytes);
        Ok(Space { used, journal, max: limits.max_bytes, ahead, free, reserve })
    }

    /// What is free on the file system for this user.
    ///
    /// # Errors
    /// [`Error::Io`] when it does not answer.
    pub fn free(dir: &DataDir) -> Result<u64> {
        let path = dir.journal();
        let system =
            rustix::fs::statvfs(&path).map_err(|error| Error::io("look for room in", &path)(error.into()))?;
        Ok(system.f_bavail * system.f_frsize)
    }

    /// How much may still be recorded.
    pub fn left(&self) -> u64 {
        self.left_by_disk().min(self.left_by_cap().unwrap_or(u64::MAX))
    }

    /// As far as the disk is concerned.
    pub fn left_by_disk(&self) -> u64 {
        self.free.saturating_sub(self.reserve)
    }

    /// As far as the cap is, if there is one.
    pub fn left_by_cap(&self) -> Option<u64> {
        self.max.map(|max| max.saturating_sub(self.used + self.ahead))
    }
}

/// What the files of a directory take on the disk; nothing if it is not there.
fn bytes_in(dir: &Path) -> Result<u64> {
    let listing = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        listing => listing.map_err(Error::io("list", dir))?,
    };
    let mut bytes = 0;
    for found in listing {
        let found = found.map_err(Error::io("list", dir))?;
        // One that went meanwhile takes nothing.
        bytes += found.metadata().map_or(0, |file| if file.is_file() { file.blocks() * 512 } else { 0 });
    }
    Ok(bytes)
}
