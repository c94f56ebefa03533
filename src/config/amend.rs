//! Files that belong to the user and that we only amend: an agent's settings, the user's own `config.toml`.
//!
//! They differ from the files of a data directory ([`super::guard`]): the user may keep them behind a link (dotfiles), with
//! a mode of their own, and may edit them while we look. So a link is followed, and what it leads to is checked: a regular
//! file of this user with one name, and inside `within` where the link may have come with somebody else's repository. A
//! file is replaced in one step by a new one of the same mode, and only if it still holds what was read.

use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::guard::{self, How};
use crate::error::Error;

/// A larger file is not amended: it is no settings file.
pub const BYTES_MAX: u64 = 1 << 20;

/// Mode of a file that is made here.
const NEW_MODE: u32 = 0o600;

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFile {
    /// Where it really is: links are resolved.
    path: PathBuf,
    before: Option<Vec<u8>>,
    mode: u32,
}

impl UserFile {
    /// Reads the file at `path`, which need not exist. With `within`, it must lie in that directory when links are resolved.
    ///
    /// # Errors
    /// [`Error::UnsafePath`] when it is no regular file of this user with one name, lies elsewhere, or is too large;
    /// [`Error::Io`].
    pub fn read(path: &Path, within: Option<&Path>) -> Result<UserFile, Error> {
        let real = resolve(path)?;
        if let Some(within) = within {
            let within = std::fs::canonicalize(within).map_err(Error::io("resolve", within))?;
            if !real.starts_with(&within) {
                return Err(unsafe_path(
                    path,
                    &format!("it is a link that leads out of {}; remove it", within.display()),
                ));
            }
        }
        let file = match guard::open(&real, How::Read) {
            Ok(file) => file,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(UserFile { path: real, before: None, mode: NEW_MODE });
            }
            Err(error) => return Err(error),
        };
        let (bytes, mode) = read_checked(&real, &file)?;
        Ok(UserFile { path: real, before: Some(bytes), mode })
    }

    /// Where it really is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it held; `None` where it was not there.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.before.as_deref()
    }

    /// What it held as text, empty where it was not there.
    ///
    /// # Errors
    /// [`Error::Config`] when it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(self.before.as_deref().unwrap_or_default())
            .map_err(|_| Error::Config { path: self.path.clone(), message: "it is not UTF-8 text".into() })
    }

    /// Puts `bytes` in its place in one step, flushed. Directories that lead to it are made.
    ///
    /// # Errors
    /// [`Error::Failed`] when it changed since it was read; [`Error::Io`]. The file is untouched then.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), Error> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        self.refuse_changed()?;
        let temporary = self.beside(&format!("mnemosyne-{}.tmp", std::process::id()));
        let written = write_new(&temporary, bytes, self.mode)
            .and_then(|()| std::fs::rename(&temporary, &self.path).map_err(Error::io("replace", &self.path)));
        if written.is_err() {
            // The first error is the one to tell.
            std::fs::remove_file(&temporary).ok();
        }
        written.and_then(|()| flush(directory))
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// As [`UserFile::replace`].
    pub fn remove(&self) -> Result<(), Error> {
        self.refuse_changed()?;
        std::fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }

    /// Writes what was read to a new file beside it, named `<its name>.<suffix>`, of the same mode.
    ///
    /// # Errors
    /// [`Error::Io`], also when that file is there already.
    pub fn back_up(&self, suffix: &str) -> Result<PathBuf, Error> {
        let backup = self.beside(suffix);
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        write_new(&backup, self.before.as_deref().unwrap_or_default(), self.mode)?;
        Ok(backup)
    }

    /// The path with a suffix after a dot.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(suffix);
        self.path.with_file_name(name)
    }

    fn refuse_changed(&self) -> Result<(), Error> {
        let now = UserFile::read(&self.path, None)?;
        if now.path == self.path && now.before == self.before {
            return Ok(());
        }
        Err(Error::failed(format!(
            "{} was changed by another program meanwhile; it was left as it is: run the command again",
            self.path.display()
        )))
    }
}

/// Where a path really leads. What does not exist yet is resolved as far as it does.
fn resolve(path: &Path) -> Result<PathBuf, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => std::fs::canonicalize(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => unsafe_path(path, "it is a link that leads nowhere; remove it"),
            _ => Error::io("resolve", path)(error),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match (path.parent(), path.file_name())
        {
            (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
            _ => Err(Error::io("resolve", path)(error)),
        },
        Err(error) => Err(Error::io("inspect", path)(error)),
    }
}

fn read_checked(path: &Path, file: &File) -> Result<(Vec<u8>, u32), Error> {
    let meta = file.metadata().map_err(Error::io("inspect", path))?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(unsafe_path(path, "it belongs to another user"));
    }
    if meta.nlink() > 1 {
        return Err(unsafe_path(
            path,
            "it has a second name elsewhere (a hard link), which a new file would not have",
        ));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(unsafe_path(path, &format!("it is larger than {BYTES_MAX} bytes")));
    }
    Ok((bytes, meta.mode() & 0o7777))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut file = guard::open(path, How::CreateNew)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))?;
    file.sync_all().map_err(Error::io("flush", path))
}

fn flush(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::io("flush", directory))
}

fn unsafe_path(path: &Path, reason: &str) -> Error {
    Error::UnsafePath { path: path.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_through_the_users_link() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("dotfiles.json"), home.path().join("settings.json"));
        std::fs::write(&real, "old").unwrap();
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        let file = UserFile::read(&link, None).unwrap();
        assert_eq!(file.text().unwrap(), "old");
        let backup = file.back_up("backup").unwrap();
        file.replace(b"new").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
        assert_eq!(std::fs::read(&backup).unwrap(), b"old");
        for path in [&real, &backup] {
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o640, "{}", path.display());
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 3, "no temporary file stays");
    }

    #[test]
    fn what_changed_meanwhile_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/settings.json");
        let absent = UserFile::read(&path, None).unwrap();
        assert_eq!(absent.bytes(), None);
        absent.replace(b"one").unwrap();
        assert!(absent.replace(b"two").unwrap_err().to_string().contains("meanwhile"));
        let read = UserFile::read(&path, None).unwrap();
        std::fs::write(&path, "edited").unwrap();
        assert!(read.replace(b"two").is_err() && read.remove().is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"edited");
    }

    #[test]
    fn planted_things_are_refused() {
        let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = elsewhere.path().join("settings.json");
        std::fs::write(&outside, "{}").unwrap();
        let refused = |path: &Path| UserFile::read(path, Some(home.path())).unwrap_err().code();

        let link = home.path().join("link");
        symlink(&outside, &link).unwrap();
        assert_eq!(refused(&link), "unsafe_path");
        let directory = home.path().join("directory");
        symlink(elsewhere.path(), &directory).unwrap();
        assert_eq!(refused(&directory.join("settings.json")), "unsafe_path");
        assert_eq!(refused(&directory.join("not-there.json")), "unsafe_path");
        let dangling = home.path().join("dangling");
        symlink(home.path().join("nothing"), &dangling).unwrap();
        assert_eq!(refused(&dangling), "unsafe_path");
        std::fs::write(home.path().join("first"), "{}").unwrap();
        std::fs::hard_link(home.path().join("first"), home.path().join("second")).unwrap();
        assert_eq!(refused(&home.path().join("first")), "unsafe_path");
        let fifo = home.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(refused(&fifo), "unsafe_path");
        // Control: the user's own link, where any place is allowed.
        assert!(UserFile::read(&link, None).is_ok());
    }
}
