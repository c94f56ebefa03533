//! The real disk, but for its flush: that of a shared machine takes 100 us in one second and 4 ms in the next, and compares nothing.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use mnemosyne_journal::disk::{Access, Map};
use mnemosyne_journal::{Disk, DiskFile, RealDisk};

/// What is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// The bytes of a file.
    Data,
    /// The names in a directory.
    Names,
}

/// The real flush, to be called or not.
pub(crate) type Real<'a> = &'a dyn Fn() -> io::Result<()>;

type Flush = Arc<dyn Fn(Flushed, Real<'_>) -> io::Result<()> + Send + Sync>;

/// A real directory with the flush that it is given. The bytes are written for real.
#[derive(Clone)]
pub(crate) struct OtherFlush<D> {
    inner: D,
    flush: Flush,
}

impl OtherFlush<RealDisk> {
    pub(crate) fn new(
        dir: &Path,
        flush: impl Fn(Flushed, Real<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> OtherFlush<RealDisk> {
        OtherFlush { inner: RealDisk::new(dir), flush: Arc::new(flush) }
    }

    /// A flush that does nothing.
    #[allow(dead_code, reason = "each bench uses its part")]
    pub(crate) fn none(dir: &Path) -> OtherFlush<RealDisk> {
        OtherFlush::new(dir, |_, _| Ok(()))
    }

    fn file(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(OtherFlush { inner, flush: self.flush.clone() })
    }
}

impl<D: fmt::Debug> fmt::Debug for OtherFlush<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OtherFlush").field(&self.inner).finish()
    }
}

impl Disk for OtherFlush<RealDisk> {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.open(name, access)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        (self.flush)(Flushed::Names, &|| self.inner.sync_dir(dir))
    }
}

impl DiskFile for OtherFlush<Arc<dyn DiskFile>> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bytes, offset)
    }
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
    fn map(&self) -> Option<Map> {
        self.inner.map()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        (self.flush)(Flushed::Data, &|| self.inner.sync_data())
    }
}
