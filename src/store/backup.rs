//! A copy of a data directory at one moment, taken while others write.
//!
//! Nothing is locked and nobody waits. What is durable of a journal never changes: sealed segments not at all, and the
//! one that is being written not below the durable tail. So the copy is a list of files with a length each, decided at the
//! start, and its bytes are those of the original, one for one. Bases are copied after the segments: retention writes a
//! base before it cuts, so whatever it drops meanwhile is covered. What can be made again (index, snapshots) is not
//! copied, and what waits in the inbox is no part of the journal yet.
//!
//! The files are copies, never hard links: whatever later happens to the original's bytes does not happen to them.
//!
//! The copy has its name, `journal/`, only when all of it is on the disk and was read back and verified; until then it is
//! `journal.tmp/`, and no command takes the place for a data directory.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mnemosyne_journal as journal;

use crate::config::guard::{self, How};
use crate::config::{DataDir, settings};
use crate::error::{Error, Result};
use crate::event::Seq;
use crate::store::check;
use crate::store::lock::holder;
use crate::store::log::JournalId;
use crate::store::open::Store;

/// What a copy is called while it is made.
const UNFINISHED: &str = "journal.tmp";

/// What was copied, read back and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Which journal.
    pub journal_id: JournalId,
    /// The first seq in the copy.
    pub first: Seq,
    /// The last.
    pub last: Seq,
    /// Its segments.
    pub segments: u64,
    /// The bytes of all files.
    pub bytes: u64,
    /// The chain after the last record, in hex: what to note elsewhere.
    pub head: String,
    /// What is damaged in the journal's copy, and was in the original, as sentences. Of the bases only who knows projections can tell.
    pub damage: Vec<String>,
}

/// Copies what is durable in `dir` now to `target`, which must be empty or not there.
///
/// # Errors
/// [`Error::UnsafePath`] for a target that is neither, [`Error::NoJournal`], [`Error::Io`]. Nothing of the copy stays behind then.
/// A process that is killed leaves a directory that no command takes for a data directory.
pub fn copy(dir: &DataDir, target: &Path) -> Result<Copied> {
    let target = std::path::absolute(target).map_err(Error::io("resolve", target))?;
    let made = prepare(dir, &target)?;
    let copied = Copying { dir, target: &target, bytes: 0 }.run();
    if copied.is_err() {
        clear(&target, made);
    }
    copied
}

impl Store {
    /// [`copy`] of the store's own data directory, while it is written.
    ///
    /// # Errors
    /// As [`copy`]; [`Error::Failed`] where there is no data directory.
    pub fn back_up(&self, target: &Path) -> Result<Copied> {
        let dir =
            self.inner.dir.as_ref().ok_or_else(|| Error::failed("there is no data directory to copy"))?;
        copy(dir, target)
    }
}

/// Makes sure of an empty, private directory; whether it was made here.
fn prepare(dir: &DataDir, target: &Path) -> Result<bool> {
    let refuse = |reason: &str| Err(Error::UnsafePath { path: target.into(), reason: reason.into() });
    let inside = |path: &Path| {
        let data = std::fs::canonicalize(dir.path()).unwrap_or_else(|_| dir.path().into());
        path.ancestors()
            .find_map(|above| std::fs::canonicalize(above).ok())
            .is_some_and(|at| at.starts_with(data))
    };
    if inside(target) {
        return refuse("it lies inside of the data directory; name a place elsewhere");
    }
    if let Some(parent) = target.parent() {
        guard::make_parents(parent)?;
    }
    if std::fs::symlink_metadata(target).is_ok_and(|meta| !meta.is_dir()) {
        return refuse("it is no directory; name a new or an empty one");
    }
    if target.is_dir() {
        let mut names = std::fs::read_dir(target).map_err(Error::io("list", target))?;
        if target.join(UNFINISHED).exists() {
            return refuse("it holds a backup that was not finished; remove it, or name a new directory");
        }
        if names.next().is_some() {
            return refuse("it is not empty; name a new or an empty directory");
        }
    }
    guard::make_dir(target)
}

/// Takes away what was copied before something failed.
fn clear(target: &Path, made: bool) {
    for name in [UNFINISHED, "journal", "base"] {
        // What failed is told; that this fails too changes nothing about it, and the next attempt names what is there.
        std::fs::remove_dir_all(target.join(name)).ok();
    }
    std::fs::remove_file(target.join("config.toml")).ok();
    if made {
        std::fs::remove_dir(target).ok();
    }
}

struct Copying<'a> {
    dir: &'a DataDir,
    target: &'a Path,
    bytes: u64,
}

impl Copying<'_> {
    fn run(mut self) -> Result<Copied> {
        let unfinished = self.target.join(UNFINISHED);
        guard::make_dir(&unfinished)?;
        self.segments(&unfinished)?;
        self.bases()?;
        let config = self.dir.config_toml();
        if let Some(bytes) = guard::read_if_present(&config, settings::CONFIG_BYTES_MAX)? {
            guard::replace(&self.target.join("config.toml"), &bytes)?;
            flush(&self.target.join("config.toml"))?;
        }
        let verified = journal::verify::verify(&journal::RealDisk::new(&unfinished).without_maps())?;
        let journal = self.target.join("journal");
        std::fs::rename(&unfinished, &journal).map_err(Error::io("rename", &unfinished))?;
        DataDir::at(self.target).create()?;
        for path in [&journal, self.target] {
            flush(path)?;
        }
        guard::flush_names_above(self.target)?;
        Ok(Copied {
            journal_id: verified.journal,
            first: Seq::new(verified.first.get()),
            last: Seq::new(verified.last.get()),
            segments: verified.segments,
            bytes: self.bytes,
            head: verified.head.to_string(),
            damage: verified
                .problems
                .iter()
                .map(|problem| format!("{} in {} at {}", problem.what, problem.segment, problem.bytes.start))
                .collect(),
        })
    }

    fn segments(&mut self, to: &Path) -> Result<()> {
        let disk = Arc::new(check::unmapped(self.dir));
        let writer = if holder(self.dir).is_some() {
            journal::Writer::Alive { boot: journal::boot_hash() }
        } else {
            journal::Writer::Absent
        };
        let (view, _) = journal::View::open(disk, writer)?;
        let journal_id = view.id();
        let mut copied: Vec<PathBuf> = Vec::new();
        for extent in view.extents(writer)? {
            let path = to.join(&extent.name);
            if self.file(&self.dir.journal().join(&extent.name), &path, Some(extent.bytes))? {
                copied.push(path);
                continue;
            }
            // Retention has dropped it, and with it everything before.
            for older in copied.drain(..) {
                std::fs::remove_file(&older).map_err(Error::io("remove", older))?;
            }
        }
        if copied.is_empty() {
            return Err(Error::failed(
                "retention dropped the journal faster than it could be copied: try again",
            ));
        }
        // All that was copied is durable in the original and in the copy: nothing of it may ever count as a write that was not finished.
        self.bytes += journal::prove_copy(&journal::RealDisk::new(to), journal_id)?;
        flush(to)
    }

    fn bases(&mut self) -> Result<()> {
        let (from, to) = (self.dir.base(), self.target.join("base"));
        if !guard::is_own_dir(&from)? {
            return Ok(());
        }
        guard::make_dir(&to)?;
        loop {
            let mut missed = false;
            for found in std::fs::read_dir(&from).map_err(Error::io("list", &from))? {
                let name = found.map_err(Error::io("list", &from))?.file_name();
                let unfinished = name.to_string_lossy().ends_with(".tmp");
                if !unfinished && !to.join(&name).exists() {
                    missed |= !self.file(&from.join(&name), &to.join(&name), None)?;
                }
            }
            // One that is gone was replaced by another, which is there by now.
            if !missed {
                return flush(&to);
            }
        }
    }

    /// Copies a file, or its first `bytes`, and flushes the copy; false if it is gone.
    fn file(&mut self, from: &Path, to: &Path, bytes: Option<u64>) -> Result<bool> {
        let source = match guard::open(from, How::Read) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let mut copy = guard::open(to, How::CreateNew)?;
        // The system copies from file to file by itself, and shares the blocks where it can.
        let got = std::io::copy(&mut (&source).take(bytes.unwrap_or(u64::MAX)), &mut copy);
        let got = got.map_err(Error::io("copy to", to))?;
        if bytes.is_some_and(|bytes| got < bytes) {
            let message = format!("{} has become shorter: it is damaged", from.display());
            return Err(Error::Integrity { message });
        }
        copy.sync_all().map_err(Error::io("flush", to))?;
        self.bytes += got;
        Ok(true)
    }
}

/// Makes a file, or the names in a directory, durable.
fn flush(path: &Path) -> Result<()> {
    std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("flush", path))
}
