//! The lines of a transcript file, with their places.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use memchr::memmem;

use super::facts::Facts;
use super::{Cursor, ImportError};

/// Bytes of one line that are read. Longer ones are broken: no agent writes them.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One line.
pub(super) struct RawLine<'a> {
    /// Its place in the file, from 1.
    pub(super) number: u64,
    /// Without the newline.
    pub(super) bytes: &'a [u8],
    /// Whether a newline ended it.
    pub(super) ended: bool,
}

/// A transcript that is being read.
pub(super) struct Lines {
    file: BufReader<File>,
    inode: u64,
    bytes_total: u64,
    read_to: u64,
    number: u64,
    unfinished: bool,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines, ImportError> {
        let failed = |error| ImportError::Read { path: path.to_owned(), error };
        // Asked before it is opened, too: opening a pipe would wait for a writer.
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(ImportError::NotAFile { path: path.to_owned() });
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(ImportError::NotAFile { path: path.to_owned() });
        }
        Ok(Lines {
            file: BufReader::with_capacity(256 * 1024, file),
            inode: metadata.ino(),
            bytes_total: metadata.len(),
            read_to: 0,
            number: 0,
            unfinished: false,
            line: Vec::new(),
        })
    }

    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    pub(super) fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// Bytes of the lines that are done with.
    pub(super) fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Whether the file ended in a line that is still being written.
    pub(super) fn unfinished(&self) -> bool {
        self.unfinished
    }

    /// Hands the next line to `take`, which says whether it is done with it. False at the end, and at a line that is still
    /// being written.
    pub(super) fn next(&mut self, take: &mut dyn FnMut(RawLine<'_>) -> bool) -> std::io::Result<bool> {
        self.line.clear();
        let bytes = (&mut self.file).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)? as u64;
        if bytes == 0 {
            return Ok(false);
        }
        self.number += 1;
        let ended = self.line.last() == Some(&b'\n') || bytes == LINE_BYTES_MAX;
        let line = self.line.trim_ascii();
        if !line.is_empty() && !take(RawLine { number: self.number, bytes: line, ended }) {
            self.unfinished = true;
            return Ok(false);
        }
        self.read_to += bytes;
        if bytes == LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
            self.read_to += self.skip_to_newline()?;
        }
        Ok(true)
    }

    /// Goes to the cursor, and on the way looks again at the lines that may say something without a key, or name a tool that a
    /// later line answers for. False if the file is not the one that the cursor was left in.
    pub(super) fn recall(&mut self, cursor: &Cursor, facts: &mut Facts<'_>) -> std::io::Result<bool> {
        let uuid = memmem::Finder::new(cursor.last_uuid.as_bytes());
        let mut same = cursor.last_uuid.is_empty();
        while self.read_to < cursor.bytes {
            let more = self.next(&mut |line| {
                same |= uuid.find(line.bytes).is_some();
                if worth_recalling(line.bytes) {
                    facts.line(line.bytes);
                }
                true
            })?;
            if !more {
                return Ok(false);
            }
        }
        Ok(same && self.read_to == cursor.bytes)
    }

    fn skip_to_newline(&mut self) -> std::io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffer = self.file.fill_buf()?;
            let newline = memchr::memchr(b'\n', buffer);
            let bytes = newline.map_or(buffer.len(), |at| at + 1);
            let done = newline.is_some() || bytes == 0;
            self.file.consume(bytes);
            skipped += bytes as u64;
            if done {
                return Ok(skipped);
            }
        }
    }
}

/// Whether a line may be a prompt, a turn's end, a compaction or a tool's use. A line that only looks like one costs its
/// parsing, no more.
fn worth_recalling(line: &[u8]) -> bool {
    let has = |needle: &str| memmem::find(line, needle.as_bytes()).is_some();
    if has("\"progress\"") {
        return has("agent_progress") || has("SessionStart");
    }
    has("\"system\"")
        || has("tool_use\"")
        || has("isApiErrorMessage")
        || (has("\"user\"") && !has("tool_result"))
}
