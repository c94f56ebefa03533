//! The only doors through which files and directories of a data directory are opened.
//!
//! A data directory is private (0700, files 0600, whatever the umask), and nothing in it may be planted by somebody else: a
//! last component that is a symbolic link is not followed, a FIFO or device is not opened, a file of another owner or with
//! a second hard link is not written. The checks are made on the open descriptor, so nothing can be swapped in between.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::Error;

/// How a private file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    Write,
    /// For reading and writing; made when it does not exist, 0600.
    Create,
    /// For writing; must not exist, 0600.
    CreateNew,
    /// For appending; made when it does not exist, 0600.
    Append,
}

/// Opens a file of a data directory.
///
/// # Errors
/// [`Error::Io`] as the operating system says, [`Error::UnsafePath`] when it is a link, no regular file, or (for writing) of
/// another owner or linked from elsewhere too.
pub fn open(path: &Path, how: How) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    match how {
        How::Read => options.read(true),
        How::Write => options.read(true).write(true),
        How::Create => options.read(true).write(true).create(true),
        How::CreateNew => options.write(true).create_new(true),
        How::Append => options.append(true).create(true),
    };
    // NONBLOCK so that a planted FIFO is refused below instead of hanging here; it means nothing for regular files.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    options.mode(0o600).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(|error| refuse_link(path, error))?;
    let meta = file.metadata().map_err(Error::io("inspect", path))?;
    let unsafe_path = |reason: &str| Err(Error::UnsafePath { path: path.into(), reason: reason.into() });
    if !meta.is_file() {
        return unsafe_path("it is no regular file; remove it");
    }
    if how == How::Read {
        return Ok(file);
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return unsafe_path("it belongs to another user");
    }
    if meta.nlink() > 1 {
        return unsafe_path("it has a second name elsewhere (a hard link); remove one of them");
    }
    if meta.mode() & 0o777 != 0o600 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
            .map_err(Error::io("make private", path))?;
    }
    Ok(file)
}

fn refuse_link(path: &Path, error: std::io::Error) -> Error {
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return Error::UnsafePath { path: path.into(), reason: "it is a symbolic link; remove it".into() };
    }
    Error::io("open", path)(error)
}

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// As [`open`], and [`Error::UnsafePath`] when it is larger.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    read_all(&open(path, How::Read)?, path, bytes_max)
}

fn read_all(file: &File, path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::UnsafePath {
            path: path.into(),
            reason: format!("it is larger than {bytes_max} bytes"),
        });
    }
    Ok(bytes)
}

/// Reads a file of the user's that holds a secret: nobody else may read or change it.
///
/// # Errors
/// As [`read`], and [`Error::UnsafePath`] when it belongs to another user or others may read or write it.
pub fn read_secret(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let file = open(path, How::Read)?;
    let meta = file.metadata().map_err(Error::io("inspect", path))?;
    let unsafe_path = |reason: &str| Err(Error::UnsafePath { path: path.into(), reason: reason.into() });
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return unsafe_path("it belongs to another user");
    }
    if meta.mode() & 0o077 != 0 {
        return unsafe_path("others may read or change it: `chmod 600` it");
    }
    read_all(&file, path, bytes_max)
}

/// Like [`read`], but a file that does not exist is `None`.
///
/// # Errors
/// As [`read`] otherwise.
pub fn read_if_present(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
    match read(path, bytes_max) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Replaces a file in one step: after a crash it holds the old bytes or the new ones. Not flushed.
///
/// # Errors
/// [`Error::Io`]; the old file is untouched then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", temporary)(error));
        }
        _ => {}
    }
    let written = open(&temporary, How::CreateNew)
        .and_then(|mut file| file.write_all(bytes).map_err(Error::io("write", &temporary)))
        .and_then(|()| std::fs::rename(&temporary, path).map_err(Error::io("rename", &temporary)));
    if written.is_err() {
        // The first error is the one to tell; a temporary file that cannot be removed is replaced by the next attempt.
        std::fs::remove_file(&temporary).ok();
    }
    written
}

/// As [`replace`] on a full disk: the bytes go into `spare`, which was made by [`preallocate`] and is not shorter than they are, and which
/// then takes the place of the file.
///
/// # Errors
/// [`Error::Io`]; the old file is untouched then.
pub fn replace_by(spare: &Path, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::os::unix::fs::FileExt as _;
    let file = open(spare, How::Write)?;
    file.write_all_at(bytes, 0).map_err(Error::io("write", spare))?;
    file.set_len(bytes.len() as u64).map_err(Error::io("cut", spare))?;
    std::fs::rename(spare, path).map_err(Error::io("rename", spare))
}

/// Makes a file of `bytes` zeros if it is not there or shorter; what is in it stays.
///
/// # Errors
/// As [`open`], and [`Error::Io`] when there is no space.
pub fn preallocate(path: &Path, bytes: usize) -> Result<(), Error> {
    use std::os::unix::fs::FileExt as _;
    let file = open(path, How::Create)?;
    let present =
        usize::try_from(file.metadata().map_err(Error::io("inspect", path))?.len()).unwrap_or(usize::MAX);
    if present < bytes {
        file.write_all_at(&vec![0; bytes - present], present as u64).map_err(Error::io("write", path))?;
    }
    Ok(())
}

/// Makes a directory with mode 0700 if it is not there; tells whether it made it.
///
/// # Errors
/// [`Error::Io`], or [`Error::UnsafePath`] as [`check_dir`].
pub fn make_dir(path: &Path) -> Result<bool, Error> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            // A umask can take bits away from the mode asked for.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
                .map_err(Error::io("make private", path))?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => check_dir(path).map(|()| false),
        Err(error) => Err(Error::io("create", path)(error)),
    }
}

/// Makes the directories above a data directory, private as well: whoever may write there could put another one in its
/// place. Those that exist stay as they are.
///
/// # Errors
/// [`Error::Io`].
pub fn make_parents(path: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))
}

/// Whether there is a directory at `path`; a link to one is refused. Changes nothing, so it serves read-only places, too.
///
/// # Errors
/// [`Error::UnsafePath`] for a symbolic link.
pub fn is_own_dir(path: &Path) -> Result<bool, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            Err(Error::UnsafePath { path: path.into(), reason: "it is a symbolic link; remove it".into() })
        }
        Ok(meta) => Ok(meta.is_dir()),
        // What cannot be looked at says so when it is opened.
        Err(_) => Ok(false),
    }
}

/// Makes the names that lead to `path` durable, as far up as this user may. One that is not ours to read was not made by us.
///
/// # Errors
/// [`Error::Io`] when a flush fails.
pub fn flush_names_above(path: &Path) -> Result<(), Error> {
    let path = std::path::absolute(path).map_err(Error::io("resolve", path))?;
    for above in path.ancestors().skip(1) {
        match File::open(above).and_then(|directory| directory.sync_all()) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
            // Some file systems have nothing to flush.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {}
            other => other.map_err(Error::io("flush", above))?,
        }
    }
    Ok(())
}

/// Checks that `path` is a directory itself (no link) of this user, and takes the others' rights away if they have any.
///
/// # Errors
/// [`Error::UnsafePath`] when it is not, [`Error::Io`] when that cannot be told.
pub fn check_dir(path: &Path) -> Result<(), Error> {
    let meta = std::fs::symlink_metadata(path).map_err(Error::io("inspect", path))?;
    let unsafe_path = |reason: &str| Err(Error::UnsafePath { path: path.into(), reason: reason.into() });
    if !meta.is_dir() {
        return unsafe_path("it is no directory (or a symbolic link to one)");
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return unsafe_path("it belongs to another user");
    }
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
            .map_err(Error::io("make private", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert_eq!(is_own_dir(&link).unwrap_err().code(), "unsafe_path");
        assert!(is_own_dir(dir.path()).unwrap());
        assert!(!is_own_dir(&dir.path().join("nothing")).unwrap());
    }

    #[test]
    fn planted_links_fifos_and_hard_links_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        std::fs::write(&real, b"x").unwrap();

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for how in [How::Read, How::Write, How::Create, How::Append] {
            assert_eq!(open(&link, how).unwrap_err().code(), "unsafe_path", "{how:?}");
        }
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &dangling).unwrap();
        assert!(open(&dangling, How::CreateNew).is_err());
        assert!(!dir.path().join("elsewhere").exists());

        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for how in [How::Read, How::Write] {
            assert_eq!(open(&fifo, how).unwrap_err().code(), "unsafe_path", "{how:?}");
        }

        std::fs::hard_link(&real, dir.path().join("second")).unwrap();
        assert_eq!(open(&real, How::Write).unwrap_err().code(), "unsafe_path");
        // Control: the same file with one name is taken.
        std::fs::remove_file(dir.path().join("second")).unwrap();
        assert!(open(&real, How::Write).is_ok());
    }

    #[test]
    fn files_are_0600_and_a_replaced_file_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(read(&path, 2).unwrap_err().code(), "unsafe_path");
        assert!(read_if_present(&dir.path().join("none"), 2).unwrap().is_none());
    }

    #[test]
    fn directories_become_private_and_links_to_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("inbox");
        assert!(make_dir(&made).unwrap());
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!make_dir(&made).unwrap());
        assert_eq!(std::fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&made, &link).unwrap();
        assert_eq!(make_dir(&link).unwrap_err().code(), "unsafe_path");
    }
}
