//! The first address of `unsafe` (the other is `format/vector.rs`): a read-only map of a sealed segment.
//!
//! A map over a file that somebody shortens kills the process with SIGBUS on the next touch. So only files that end in a
//! segment footer are mapped: from that moment on nobody of ours shortens or rewrites them, a replacement is a rename, and
//! removal leaves the mapped pages alive. Everything else is read with pread.
#![expect(unsafe_code, reason = "mapping a file is unsafe by nature; this module is its only place")]

use std::fs::File;
use std::io;

/// Maps the whole of `file`, which ends in a segment footer.
pub(super) fn map_sealed(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: the bytes of a map must not change while a slice of it lives, and the file must not shrink. The caller
    // (`DiskFile::map`) is only reached for segments whose footer was read and verified; the writer and recovery never
    // write to, cut or extend such a file, and the data directory is closed to other users (0700).
    unsafe { memmap2::Mmap::map(file) }
}
