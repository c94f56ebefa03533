//! The one door to the disk.
//!
//! Everything that the journal does to files goes through [`Disk`] and [`DiskFile`], a dozen calls that are object-safe.
//! [`RealDisk`] is a directory; [`crate::sim::SimDisk`] is its hostile twin in memory, which loses what was not flushed.
//! Names are relative to the journal's directory, with at most one `/` (`quarantine/...`).

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

mod memory;
mod mmap;
mod real;

pub(crate) use memory::Bytes;
pub(crate) use real::refusal;
pub use real::{RealDisk, boot_hash};

/// Whether a file is opened to be written as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only; works on a read-only file system.
    Read,
    /// Reading and writing.
    Write,
}

/// A directory in which a journal lives.
pub trait Disk: Send + Sync + fmt::Debug {
    /// The names of the files in `dir` (`""` is the journal's own directory), in any order; empty if there is no such directory.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Opens a file that exists. Never follows a link, never opens anything but a regular file.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a file for reading and writing that must not exist yet; its directory is made if need be.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames, replacing what was there. Atomic, durable after [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads at an offset; fewer bytes than asked for are not an error, 0 is the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset; fewer bytes than given may be taken.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Its length now.
    fn size(&self) -> io::Result<u64>;
    /// Cuts or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns when everything written before this call, and the length, is on the disk.
    fn sync_data(&self) -> io::Result<()>;
    /// Maps the whole file for reading. The caller knows that nobody will ever shorten it: only sealed segments qualify.
    /// `None` where maps are not to be had; the caller then reads.
    fn map(&self) -> Option<Map>;
}

/// The bytes of a sealed segment, borrowed for as long as somebody holds this.
#[derive(Clone)]
pub struct Map(Arc<dyn Deref<Target = [u8]> + Send + Sync>);

impl Map {
    /// Bytes that lie in memory already.
    pub fn from_bytes(bytes: Vec<u8>) -> Map {
        Map(Arc::new(bytes))
    }
}

impl Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Map({} bytes)", self.len())
    }
}

/// Reads until `buf` is full or the file ends; how many bytes were read.
pub(crate) fn read_full(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes`.
pub(crate) fn write_full(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
