//! What an import did.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Broken lines that a report names; all are counted.
pub const BROKEN_LINES_TOLD_MAX: usize = 1_000;

/// What an import did, for people and programs.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Transcripts looked at.
    pub files: u64,
    /// Those of them that had nothing new since the last import.
    pub unchanged: u64,
    /// Bytes read that no import had read before.
    pub bytes: u64,
    /// Lines read that no import had read before.
    pub lines: u64,
    /// Events that were new.
    pub added: u64,
    /// Facts that the journal held already, from hooks or an earlier import.
    pub known: u64,
    /// Lines that say nothing of their own, by their type.
    pub ignored: BTreeMap<String, u64>,
    /// Lines that are no JSON object.
    pub broken: u64,
    /// The first [`BROKEN_LINES_TOLD_MAX`] of them.
    pub broken_lines: Vec<BrokenLine>,
    /// Transcripts whose last line was still being written; the next import reads it.
    pub unfinished: Vec<PathBuf>,
    /// Files and directories that could not be read, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// What has a transcript's name in an imported directory and is no regular file (a link, a pipe, a socket, a device),
    /// with what it is: never opened.
    pub passed_over: Vec<(PathBuf, &'static str)>,
}

/// A line that is no JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLine {
    /// The transcript.
    pub path: PathBuf,
    /// The line's number, from 1.
    pub line: u64,
    /// What the JSON reader says. Never a part of the line itself.
    pub reason: String,
}

impl Report {
    pub(super) fn broken(&mut self, line: BrokenLine) {
        self.broken += 1;
        if self.broken_lines.len() < BROKEN_LINES_TOLD_MAX {
            self.broken_lines.push(line);
        }
    }
}
