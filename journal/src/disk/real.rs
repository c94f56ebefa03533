//! A directory of the operating system.
//!
//! Files are made with `O_EXCL`, opened with `O_NOFOLLOW`, mode 0600 whatever the umask, and must be regular files: a
//! planted link or pipe at one of our names is an error, never followed. What is written must belong to this user and have
//! no second name elsewhere.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::{Access, Disk, DiskFile, Map, mmap};

/// A journal's directory on a real file system.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    maps: bool,
}

impl RealDisk {
    /// The disk rooted at `dir`, which is made (mode 0700) when the first file is created in it.
    pub fn new(dir: impl Into<PathBuf>) -> RealDisk {
        RealDisk { dir: dir.into(), maps: true }
    }

    /// The same without maps: for directories that nobody vouches for, such as a copy that is still being written.
    #[must_use]
    pub fn without_maps(self) -> RealDisk {
        RealDisk { maps: false, ..self }
    }

    /// Where it is rooted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.clone() } else { self.dir.join(name) }
    }

    fn open_file(&self, name: &str, access: Access) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Write)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC))
            .open(self.path(name))?;
        match refusal(&file.metadata()?, access == Access::Write) {
            None => Ok(file),
            Some(why) => Err(io::Error::new(io::ErrorKind::InvalidInput, why)),
        }
    }
}

/// Why this is no file of ours; to be asked of the open descriptor, so that nothing can be swapped in between.
pub(crate) fn refusal(meta: &fs::Metadata, writes: bool) -> Option<&'static str> {
    if !meta.is_file() {
        return Some("not a regular file");
    }
    if writes && meta.uid() != rustix::process::geteuid().as_raw() {
        return Some("it belongs to another user");
    }
    // What is written here would be written there.
    (writes && meta.nlink() > 1).then_some("it has a second name elsewhere (a hard link); remove one of them")
}

impl Disk for RealDisk {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open_file(name, access)?;
        Ok(Arc::new(RealFile { file, maps: self.maps }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(name);
        if let Some(parent) = path.parent()
            && !parent.is_dir()
        {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made?;
            sync_dir_at(parent.parent().unwrap_or(parent))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::CLOEXEC))
            .open(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        Ok(Arc::new(RealFile { file, maps: self.maps }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync_dir_at(&self.path(dir))?;
        // The directory's own name: whoever made it may not have flushed it, or have died before.
        if dir.is_empty() { sync_dir_at(parent_of(&self.dir)) } else { Ok(()) }
    }
}

/// An open file of a [`RealDisk`].
#[derive(Debug)]
struct RealFile {
    file: File,
    maps: bool,
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        flush(&self.file)
    }

    fn map(&self) -> Option<Map> {
        let map = if self.maps { mmap::map_sealed(&self.file).ok() } else { None };
        map.map(|map| Map(Arc::new(map)))
    }
}

/// The only place where file data is flushed.
#[cfg(not(target_os = "macos"))]
fn flush(file: &File) -> io::Result<()> {
    rustix::fs::fdatasync(file).map_err(io::Error::from)
}

/// The only place where file data is flushed. An fsync of macOS stops at the drive's cache; this does not.
#[cfg(target_os = "macos")]
fn flush(file: &File) -> io::Result<()> {
    rustix::fs::fcntl_fullfsync(file).map_err(io::Error::from)
}

fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    }
}

fn sync_dir_at(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[expect(clippy::cast_possible_wrap, reason = "the flags of open(2) are a C int; bits are kept")]
fn flags(flags: OFlags) -> i32 {
    flags.bits() as i32
}

/// Eight bytes that change with every boot of the machine; 0 where the system does not tell.
pub fn boot_hash() -> u64 {
    match fs::read("/proc/sys/kernel/random/boot_id") {
        Ok(id) => {
            let hash = blake3::hash(&id);
            let mut first = [0; 8];
            first.copy_from_slice(&hash.as_bytes()[..8]);
            u64::from_le_bytes(first)
        }
        Err(_) => 0,
    }
}
