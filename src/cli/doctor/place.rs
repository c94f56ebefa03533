//! The data directory: where it is, who may touch it, what it lies on and what it takes.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::{Finding, Fixed, Found, Look, first_of};
use crate::cli::display::{bytes, counted};
use crate::clock;
use crate::config::guard;
use crate::error::Error;
use crate::event::Timestamp;
use crate::store::space::Space;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// A file that was left behind is not one that is being written.
const LEFT_BEHIND_AFTER_SECONDS: i64 = 60;
/// Less room than this is used up before anybody looks again.
const LITTLE_ROOM: u64 = 64 << 20;
/// Few events are smaller, with what a record and its batch take.
const AN_EVENT: u64 = 1 << 10;

pub(super) fn data_directory(look: &Look<'_>) -> Found {
    let path = look.dir.path().display();
    let rule = if look.context.data_dir_flag().is_some() {
        "--data-dir names it"
    } else if look.env.path("MNEMOSYNE_DATA_DIR").is_some() {
        "MNEMOSYNE_DATA_DIR names it"
    } else if look.env.user_data() == Some(look.dir.path()) {
        "the user's own"
    } else {
        "registered, upwards from the working directory"
    };
    match look.dir.open_existing() {
        Ok(()) => Ok(Finding::pass(format!("{path} ({rule})"))),
        Err(Error::NoDataDir { .. }) => Ok(Finding::fail(
            format!("{path} ({rule}) is not there"),
            "make one with `mnemosyne init`, or name another with --data-dir",
        )),
        Err(error) => Err(error),
    }
}

/// Something below the data directory.
struct Below {
    path: PathBuf,
    meta: std::fs::Metadata,
}

/// Everything of the data directory, itself first; links are not followed.
fn everything(look: &Look<'_>) -> Result<Vec<Below>, Error> {
    // The directory itself may be the user's own link to a larger disk.
    let top = std::fs::canonicalize(look.dir.path()).map_err(Error::io("resolve", look.dir.path()))?;
    let mut found = Vec::new();
    let mut open = vec![top];
    while let Some(path) = open.pop() {
        let meta = match std::fs::symlink_metadata(&path) {
            // One that went meanwhile is nobody's trouble.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            meta => meta.map_err(Error::io("inspect", &path))?,
        };
        if meta.is_dir() {
            for item in std::fs::read_dir(&path).map_err(Error::io("list", &path))? {
                open.push(item.map_err(Error::io("list", &path))?.path());
            }
        }
        found.push(Below { path, meta });
    }
    Ok(found)
}

fn name(look: &Look<'_>, path: &Path) -> String {
    let top = std::fs::canonicalize(look.dir.path()).unwrap_or_else(|_| look.dir.path().into());
    let inside = path.strip_prefix(&top).ok().filter(|inside| !inside.as_os_str().is_empty());
    inside.unwrap_or(path).display().to_string()
}

/// What others could get at; none of these is a link.
fn open_to_others(look: &Look<'_>) -> Result<Vec<Below>, Error> {
    let mut found = everything(look)?;
    found.retain(|below| {
        let mode = if below.meta.is_dir() { DIRECTORY_MODE } else { FILE_MODE };
        !below.meta.is_symlink() && below.meta.mode() & 0o7777 & !mode != 0
    });
    Ok(found)
}

pub(super) fn permissions(look: &Look<'_>) -> Found {
    let me = rustix::process::geteuid().as_raw();
    let others: Vec<String> = everything(look)?
        .iter()
        .filter(|below| below.meta.uid() != me)
        .map(|below| name(look, &below.path))
        .collect();
    if !others.is_empty() {
        return Ok(Finding::fail(
            format!("{} belong to another user", first_of(&others, "file")),
            "find out who put them there; run mnemosyne as one user only",
        ));
    }
    let closed = [look.dir.path().to_owned(), look.dir.inbox(), look.dir.journal()];
    let is_closed = |path: &&PathBuf| {
        rustix::fs::access(*path, Access::WRITE_OK).is_err_and(|error| error != rustix::io::Errno::NOENT)
    };
    if let Some(path) = closed.iter().find(is_closed) {
        return Ok(Finding::fail(
            format!("{} cannot be written: nothing is recorded", name(look, path)),
            "is the file system mounted read-only?",
        ));
    }
    let open = open_to_others(look)?;
    if open.is_empty() {
        let missing: Vec<String> = missing(look).iter().map(|path| name(look, path)).collect();
        return Ok(if missing.is_empty() {
            Finding::pass("everything is this user's alone (0700, 0600)")
        } else {
            Finding::warn(
                format!("{} not there yet", first_of(&missing, "directory")),
                "whoever records next makes what is needed",
            )
        });
    }
    let names: Vec<String> = open
        .iter()
        .map(|below| format!("{} ({:04o})", name(look, &below.path), below.meta.mode() & 0o7777))
        .collect();
    Ok(Finding::fail(
        format!("{} open to others", first_of(&names, "file")),
        "what is recorded is private: make it so",
    ))
}

/// The directories that a data directory has from the beginning and this one has not, as one that was salvaged or copied.
fn missing(look: &Look<'_>) -> Vec<PathBuf> {
    let mut missing = vec![look.dir.inbox(), look.dir.journal()];
    missing.retain(|path| std::fs::symlink_metadata(path).is_err());
    missing
}

pub(super) fn make_private(look: &Look<'_>) -> Fixed {
    let mut done = Vec::new();
    for path in missing(look) {
        guard::make_dir(&path)?;
        done.push(format!("made {}", name(look, &path)));
    }
    for Below { path, meta } in open_to_others(look)? {
        if meta.uid() != rustix::process::geteuid().as_raw() || !(meta.is_dir() || meta.is_file()) {
            continue;
        }
        let mode = if meta.is_dir() { DIRECTORY_MODE } else { FILE_MODE };
        let private = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, private).map_err(Error::io("make private", &path))?;
        done.push(format!("made {} private ({mode:04o})", name(look, &path)));
    }
    Ok(done)
}

pub(super) fn links(look: &Look<'_>) -> Found {
    let all = everything(look)?;
    // Saved states are kept under two names of their own; a name elsewhere is another matter.
    let mut names_here: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for below in &all {
        *names_here.entry((below.meta.dev(), below.meta.ino())).or_default() += 1;
    }
    let leads_out = |below: &&Below| {
        let here = names_here.get(&(below.meta.dev(), below.meta.ino())).copied().unwrap_or_default();
        below.meta.is_symlink() || (below.meta.is_file() && below.meta.nlink() > here)
    };
    let planted: Vec<String> = all.iter().filter(leads_out).map(|below| name(look, &below.path)).collect();
    if planted.is_empty() {
        return Ok(Finding::pass("no link leads in or out"));
    }
    Ok(Finding::fail(
        format!("{}: nothing of ours leads out of the data directory", first_of(&planted, "link")),
        "find out who made it; remove it",
    ))
}

pub(super) fn file_system(look: &Look<'_>) -> Found {
    #[cfg(target_os = "linux")]
    {
        let path = look.dir.journal();
        let system = rustix::fs::statfs(&path).map_err(|error| Error::io("inspect", &path)(error.into()))?;
        // The kernel's numbers are 32 bits wide, whatever the type is.
        let kind = u64::try_from(system.f_type).unwrap_or_default() & 0xffff_ffff;
        Ok(judge_file_system(kind))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = look;
        Ok(None)
    }
}

/// The numbers are those of Linux's `magic.h`.
#[cfg(target_os = "linux")]
fn judge_file_system(kind: u64) -> Option<Finding> {
    let network = match kind {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x6573_5546 => Some("FUSE"),
        _ => None,
    };
    if let Some(network) = network {
        return Finding::warn(
            format!("it lies on {network}, where locks and flushes may not mean what they say"),
            "move the data directory to a local disk",
        );
    }
    if matches!(kind, 0x0102_1994 | 0x8584_58f6) {
        return Finding::warn(
            "it lies in memory (tmpfs): a restart of the machine takes it away",
            "move the data directory to a disk",
        );
    }
    Finding::pass(format!("a local file system (type {kind:#x})"))
}

pub(super) fn space(look: &Look<'_>) -> Found {
    let space = Space::of(&look.dir, look.settings.disk, look.settings.segment_bytes)?;
    let left = space.left();
    let detail = format!("{} used, {} may still be recorded", bytes(space.used), bytes(left));
    let hint = "`mnemosyne gc` drops what retention lets go; disk.max_bytes and disk.reserve set the limits";
    Ok(match left {
        0..AN_EVENT => Finding::fail(format!("{detail}: nothing more is recorded in the journal"), hint),
        AN_EVENT..LITTLE_ROOM => Finding::warn(detail, hint),
        _ => Finding::pass(detail),
    })
}

pub(super) fn retention(look: &Look<'_>) -> Found {
    let space = Space::of(&look.dir, look.settings.disk, look.settings.segment_bytes)?;
    let policy = look.settings.retention;
    if let Some(max) = policy.max_bytes {
        // The segment that is being written stays, and so does the one that was begun ahead.
        let bears = max.max(policy.min_bytes) + 2 * look.settings.segment_bytes;
        if space.journal > bears {
            return Ok(Finding::warn(
                format!(
                    "the journal holds {}, and retention.max_bytes is {}",
                    bytes(space.journal),
                    bytes(max)
                ),
                "`mnemosyne gc` drops now what may go; a running server does so by itself",
            ));
        }
    }
    if !policy.is_set() && space.max.is_none() && space.journal > space.free {
        return Ok(Finding::warn(
            format!("the journal holds {}, more than is free, and nothing ever goes", bytes(space.journal)),
            "set retention.max_age or retention.max_bytes with `mnemosyne config set`",
        ));
    }
    let words = if policy.is_set() { "as configured" } else { "nothing goes: no policy is set" };
    Ok(Finding::pass(format!("{} of journal; {words}", bytes(space.journal))))
}

/// Temporary files of processes that are gone. Those of the inbox are looked after by whoever opens the journal, since they may
/// hold an event; the journal's own are its own business.
fn left_behind(look: &Look<'_>) -> Result<Vec<PathBuf>, Error> {
    let dir = &look.dir;
    let mut found = Vec::new();
    for directory in [dir.path().to_owned(), dir.index(), dir.snapshots(), dir.base()] {
        let listing = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            listing => listing.map_err(Error::io("list", &directory))?,
        };
        for item in listing {
            let item = item.map_err(Error::io("list", &directory))?;
            let path = item.path();
            let is_temporary = path.extension().is_some_and(|end| end == "tmp");
            let Ok(meta) = item.metadata() else { continue };
            if is_temporary && meta.is_file() && is_abandoned(&path, &meta, look.now) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether the process in its name is gone; without one, whether it is old.
fn is_abandoned(path: &Path, meta: &std::fs::Metadata, now: Timestamp) -> bool {
    let pid = path.file_stem().and_then(|stem| Path::new(stem).extension()?.to_str()?.parse().ok());
    let is_old = || now.as_micros() / 1_000_000 - meta.mtime() > LEFT_BEHIND_AFTER_SECONDS;
    pid.map_or_else(is_old, |pid| !clock::exists(pid))
}

pub(super) fn leftovers(look: &Look<'_>) -> Found {
    let left: Vec<String> = left_behind(look)?.iter().map(|path| name(look, path)).collect();
    if left.is_empty() {
        return Ok(Finding::pass("no temporary file was left behind"));
    }
    Ok(Finding::warn(
        format!("{} left by processes that are gone", first_of(&left, "temporary file")),
        "they are of no use",
    ))
}

pub(super) fn remove_leftovers(look: &Look<'_>) -> Fixed {
    let left = left_behind(look)?;
    for path in &left {
        std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    Ok(vec![format!("removed {}", counted(left.len() as u64, "temporary file"))])
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn network_and_memory_file_systems_are_warned_of() {
        let verdict = |kind| judge_file_system(kind).unwrap().verdict;
        for bad in [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546, 0x0102_1994] {
            assert_eq!(verdict(bad), Verdict::Warn, "{bad:#x}");
        }
        // ext4, XFS, btrfs.
        for good in [0xef53, 0x5846_5342, 0x9123_683e] {
            assert_eq!(verdict(good), Verdict::Pass, "{good:#x}");
        }
    }
}
