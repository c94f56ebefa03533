//! The inbox: where an event goes when its emitter does not hold the journal. One event, one file.
//!
//! Putting one there must cost almost nothing, because every hook of an agent does it: a new file is written under a
//! temporary name and renamed, and that is all. No lock, no flush, no look at the directory. Such an event is at level `os`:
//! it survives the death of any process, and a power cut only once somebody has drained it.
//!
//! A name is `<20 digits of unix nanoseconds>-<pid>-<random>`, so names sort by time: files are drained in the order of
//! their names. Within one process the digits only rise, whatever the clock does. Temporary files end in `.tmp`.
//!
//! The inbox has a cap. Counting the files at every deposit would make each hook pay for the backlog, so one deposit in
//! [`CAP_SAMPLING`] counts (by chance, so that short-lived processes share the work) and leaves the mark `full` when the cap
//! is reached; every deposit looks for that mark, which a drain takes away. The cap is thus overrun by some hundreds of files.
//!
//! - [`frame`]: the bytes of a file.
//! - [`failed`]: the count of what could not be put here.
//! - [`running`]: the marks of commands that have not ended.
//! - [`meeting`]: where two reports of one fact without a key agree on its id.
//! - `untold`: what an opening found that must not tell it.
//! - [`drain`]: who holds the journal takes the files out.

pub mod drain;
pub mod failed;
pub(crate) mod frame;
mod later;
pub mod meeting;
pub mod running;
pub(in crate::store) mod untold;

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{self, Clock};
use crate::config::guard::{self, How};
use crate::error::{Error, Result};
use crate::event::Event;

/// Most files that may wait.
pub const FILES_MAX: u64 = 1_000_000;
/// Most bytes that may wait.
pub const BYTES_MAX: u64 = 1 << 30;
/// One deposit in so many counts what waits.
pub const CAP_SAMPLING: u8 = 255;
/// Present while the cap is reached.
const FULL_MARK: &str = "full";
/// Digits of the time in a name: those of the largest `u64`, which is reached in the year 2554.
const TIME_DIGITS: usize = 20;

/// How an event is put into the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deposit {
    /// Level `os`, for hooks and by default.
    Os,
    /// Flushed with its directory before the call returns: for commands, when `emit.durability` is `disk`.
    Disk,
}

/// Puts `event`, which is redacted already, into the inbox. Costs four system calls or so.
///
/// # Errors
/// [`Error::Io`] with nothing left behind but perhaps a temporary file, [`Error::InboxFull`], [`Error::BatchSize`] for an event
/// that is too large. Who cannot tell anybody calls [`count_failure`].
pub fn deposit(inbox: &Path, event: &Event, clock: &dyn Clock, how: Deposit) -> Result<()> {
    let bytes = event.encode();
    let file = frame::encode(&bytes).ok_or(Error::BatchSize {
        events: 1,
        bytes: bytes.len(),
        events_max: 1,
        bytes_max: frame::EVENT_BYTES_MAX,
    })?;
    let chance = clock::unique::<9>(clock);
    check_cap(inbox, chance[8])?;
    let random = chance[..8].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let name = format!("{:020}-{}-{random:016x}", rising_nanos(clock), std::process::id());
    let (temporary, path) = (inbox.join(format!("{name}.tmp")), inbox.join(&name));
    let written = put(&temporary, &path, &file, how);
    if written.is_err() {
        // The first error is the one to tell; what stays behind is swept by the next opening.
        std::fs::remove_file(&temporary).ok();
    }
    written
}

fn put(temporary: &Path, path: &Path, bytes: &[u8], how: Deposit) -> Result<()> {
    let mut file = guard::open(temporary, How::CreateNew)?;
    file.write_all(bytes).map_err(Error::io("write", temporary))?;
    if how == Deposit::Disk {
        file.sync_data().map_err(Error::io("flush", temporary))?;
    }
    std::fs::rename(temporary, path).map_err(Error::io("rename", temporary))?;
    match path.parent() {
        Some(inbox) if how == Deposit::Disk => flush_dir(inbox),
        _ => Ok(()),
    }
}

/// Makes the names in it durable.
fn flush_dir(inbox: &Path) -> Result<()> {
    let directory = std::fs::File::open(inbox).map_err(Error::io("open", inbox))?;
    directory.sync_all().map_err(Error::io("flush", inbox))
}

/// Adds one to `inbox/failed`, with the error's code as the reason. The last resort of a hook.
///
/// # Errors
/// When not even that is possible.
pub fn count_failure(inbox: &Path, error: &Error, clock: &dyn Clock) -> Result<()> {
    failed::count(inbox, error.code(), clock.now())
}

/// How many events wait, and whether that is all there is to know (a look stops counting at [`FILES_MAX`]).
///
/// # Errors
/// [`Error::Io`]; an inbox that is not there holds nothing.
pub fn waiting(inbox: &Path) -> Result<u64> {
    let mut count = 0;
    for_each_name(inbox, |_| {
        count += 1;
        count < FILES_MAX
    })?;
    Ok(count)
}

/// How many bytes the events have that wait.
///
/// # Errors
/// [`Error::Io`]; an inbox that is not there holds nothing.
pub fn waiting_bytes(inbox: &Path) -> Result<u64> {
    let mut bytes = 0;
    for_each_name(inbox, |name| {
        // A file that was drained meanwhile counts nothing.
        bytes += std::fs::symlink_metadata(inbox.join(name)).map_or(0, |meta| meta.len());
        bytes < BYTES_MAX
    })?;
    Ok(bytes)
}

/// Whether any event waits.
///
/// # Errors
/// [`Error::Io`]; an inbox that is not there holds nothing.
pub fn any(inbox: &Path) -> Result<bool> {
    let mut any = false;
    for_each_name(inbox, |_| {
        any = true;
        false
    })?;
    Ok(any)
}

/// Calls `take` with the name of each file that is complete, in no order, until it says stop.
fn for_each_name(inbox: &Path, mut take: impl FnMut(&str) -> bool) -> Result<()> {
    let listing = match std::fs::read_dir(inbox) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("list", inbox)(error)),
    };
    for found in listing {
        let name = found.map_err(Error::io("list", inbox))?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_event_name(name))
            && !take(name)
        {
            break;
        }
    }
    Ok(())
}

/// Whether a file is named as a deposit names it, and complete.
fn is_event_name(name: &str) -> bool {
    let Some((time, rest)) = name.split_at_checked(TIME_DIGITS) else { return false };
    let Some((pid, random)) = rest.strip_prefix('-').and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(time) && digits(pid) && !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Nanoseconds since the epoch that rise within this process even where the clock stands still or runs back.
fn rising_nanos(clock: &dyn Clock) -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(clock.now().as_micros()).unwrap_or(0).saturating_mul(1000);
    let rise = |last: u64| now.max(last.saturating_add(1));
    match LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(rise(last))) {
        Ok(last) | Err(last) => rise(last),
    }
}

fn check_cap(inbox: &Path, chance: u8) -> Result<()> {
    check_cap_of(inbox, chance, FILES_MAX, BYTES_MAX)
}

fn check_cap_of(inbox: &Path, chance: u8, files_max: u64, bytes_max: u64) -> Result<()> {
    let mark = inbox.join(FULL_MARK);
    if std::fs::symlink_metadata(&mark).is_err() && chance < CAP_SAMPLING {
        return Ok(());
    }
    // The mark is taken at its word: counting again would make every hook pay while nobody drains.
    if chance < CAP_SAMPLING {
        return Err(Error::InboxFull { files: files_max, bytes: bytes_max });
    }
    let (mut files, mut bytes) = (0, 0);
    for_each_name(inbox, |name| {
        files += 1;
        // A file that was drained meanwhile counts nothing.
        bytes += std::fs::symlink_metadata(inbox.join(name)).map_or(0, |meta| meta.len());
        files < files_max && bytes < bytes_max
    })?;
    if files < files_max && bytes < bytes_max {
        return clear_full(inbox);
    }
    match guard::open(&mark, How::CreateNew) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => drop(other?),
    }
    Err(Error::InboxFull { files, bytes })
}

/// Whether the cap is reached, so that nothing can be put here until something was taken out.
pub fn is_full(inbox: &Path) -> bool {
    std::fs::symlink_metadata(inbox.join(FULL_MARK)).is_ok()
}

/// Takes the mark away: there is room again. Who has not counted must know that nothing waits.
///
/// # Errors
/// [`Error::Io`].
pub fn clear_full(inbox: &Path) -> Result<()> {
    let mark = inbox.join(FULL_MARK);
    match std::fs::remove_file(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", mark)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
