//! Files that are replaced in one step.
//!
//! The bytes go into a temporary file beside the target, are flushed, and get the target's name by a rename; then the
//! directory is flushed. A crash between any two of these steps leaves the old file or the new one, whole, and perhaps
//! a temporary file that the next attempt removes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// A file longer than this is not read: a state is bounded far below it.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 30;

/// What a file's name ends in while it is written.
pub(super) const UNFINISHED: &str = "tmp";

/// What has just been done; a test ends it there as a crash would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The temporary file exists, empty.
    Made,
    /// It holds the first half of the bytes.
    HalfWritten,
    /// It holds all bytes, unflushed.
    Written,
    /// It is flushed.
    Flushed,
    /// It has its second name, if it gets one.
    Linked,
    /// It has the target's name.
    Renamed,
    /// The directory is flushed.
    Done,
    /// A file that the new one makes useless is gone.
    Tidied,
}

/// Replaces `target` by `bytes`; on return they are on disk. With `second`, the same file has that name too.
/// `after` is told each step, and where it fails, that was the last.
pub(super) fn replace_in_steps(
    target: &Path,
    second: Option<&Path>,
    bytes: &[u8],
    after: &mut dyn FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    let dir = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = target.with_extension(UNFINISHED);
    remove_if_there(&temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    after(Step::Made)?;
    let (first_half, second_half) = bytes.split_at(bytes.len() / 2);
    file.write_all(first_half)?;
    after(Step::HalfWritten)?;
    file.write_all(second_half)?;
    after(Step::Written)?;
    file.sync_data()?;
    after(Step::Flushed)?;
    if let Some(second) = second {
        remove_if_there(second)?;
        fs::hard_link(&temporary, second)?;
    }
    after(Step::Linked)?;
    fs::rename(&temporary, target)?;
    after(Step::Renamed)?;
    File::open(dir)?.sync_all()?;
    after(Step::Done)
}

/// Removes a file; that there is none is fine.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The bytes of a plain file of bearable length; none if there is no such file. Links are not followed.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let length = file.metadata()?.len().min(FILE_BYTES_MAX);
    // A byte more, so that the end is seen without another read into more room.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(Some(bytes)) }
}

/// The first bytes of such a file, at most `bytes_max`.
pub(super) fn read_beginning(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The first bytes of such a file, as many as its first `header_bytes` say and at most `bytes_max`.
pub(super) fn read_head(
    path: &Path,
    header_bytes: u64,
    bytes_max: u64,
    said: impl FnOnce(&[u8]) -> u64,
) -> io::Result<Option<Vec<u8>>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    (&mut file).take(header_bytes).read_to_end(&mut bytes)?;
    let more = said(&bytes).min(bytes_max).saturating_sub(header_bytes);
    file.take(more).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(i32::try_from(flags.bits()).map_err(io::Error::other)?);
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(io::ErrorKind::InvalidData.into()) }
}
