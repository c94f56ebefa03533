//! Import of Claude Code's transcripts: what no hook says (the model's texts, its tokens), and what hooks missed.
//!
//! An import is **incremental** (it goes on where the last `transcript_imported` event of the path says), **idempotent**
//! (a second one adds nothing, even where the first was interrupted before it left that event), and **additive**: what a
//! hook has already told is recognised ([`known`](Known)) and left alone.
//!
//! ## How
//! ```text
//! file --lines--> facts (facts.rs) --new ones--> redacted events --batches--> Sink
//!                                       ^
//!                 journal --fold--> Known
//! ```
//! The caller folds what the journal holds into a [`Known`], then calls [`import`] for files and directories or
//! [`import_file`] for one. Lines before the cursor are read again only where one may be a fact that has no key and is
//! matched by counting (see [`Known`]), and are never emitted.
//!
//! ## What is not perfect about a transcript
//! - A line that is no JSON is counted and named in the [`Report`], and the rest goes on.
//! - A last line without a newline that is no JSON is still being written: it is left, and so is the cursor before it.
//! - A file that is shorter than its cursor, has another inode, or no longer holds the cursor's line was replaced: it is read
//!   from its start.
//! - Times are the lines' own; a line without one has that of the line before it.

mod facts;
mod files;
#[cfg(test)]
mod fixture;
mod known;
mod line;
mod reader;
mod report;
#[cfg(test)]
mod tests;

pub use files::{default_directory, find};
pub use known::{Cursor, Known};
pub use report::{BROKEN_LINES_TOLD_MAX, BrokenLine, Report};

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::agent::Origin;
use crate::agent::claude::ids;
use crate::event::{Event, Kind, Redactor, payload};
use facts::{Candidate, Facts, Parents, Read};
use known::Fingerprint;
use reader::Lines;

/// What stands in a payload where the transcript does not say.
const UNKNOWN: &str = "unknown";

/// Lines, and bytes of lines, after which what was found is handed on: this bounds the memory of an import.
const CHUNK_LINES: u64 = 1_000;
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// Events, and bytes of their payloads, in one call of [`Sink::emit`]. They fit one request to a server.
pub const BATCH_EVENTS_MAX: usize = 256;
/// See [`BATCH_EVENTS_MAX`]. One event of the largest size always fits.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Where an import's events go: a store, a server, an inbox.
pub trait Sink {
    /// Takes events, redacted, in their order. On return they are recorded at the level that the sink promises.
    fn emit(&mut self, events: Vec<Event>) -> Result<Taken, SinkError>;
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Events that were new.
    pub added: u64,
    /// Events that the journal held already.
    pub known: u64,
}

/// Why a sink took nothing: its own words.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Why an import stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read the transcript {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The path is neither a file nor a directory.
    #[error("{} is no transcript: it is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The events could not be recorded. What was recorded before stays; the next import adds the rest.
    #[error("the events of {} could not be recorded: {error}", path.display())]
    Sink {
        /// The file that was being read.
        path: PathBuf,
        /// What the sink says.
        error: SinkError,
    },
}

/// How far an import is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file that is being read.
    pub path: &'a Path,
    /// Bytes of all files read so far, and to read.
    pub bytes: u64,
    /// See `bytes`.
    pub bytes_total: u64,
}

/// Imports files, and all transcripts under directories, in an order in which a parent comes before its subagents. A file that
/// cannot be read is told in the report and does not stop the others.
///
/// # Errors
/// [`ImportError::Sink`] stops the import: what the journal lacks is the same for every file.
pub fn import(
    paths: &[PathBuf],
    known: &mut Known,
    sink: &mut dyn Sink,
    origin: &Origin,
    redactor: &Redactor,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Report, ImportError> {
    let mut report = Report::default();
    let files = find(paths, &mut report);
    let bytes_total = files.iter().map(|file| file.bytes).sum();
    let mut parents = Parents::default();
    let mut before = 0;
    for file in &files {
        let mut import = Import {
            known: &mut *known,
            sink: &mut *sink,
            origin,
            redactor,
            parents: &mut parents,
            report: &mut report,
        };
        let mut tell = |bytes| progress(Progress { path: &file.path, bytes: before + bytes, bytes_total });
        match import.file(&file.path, &mut tell) {
            Err(error @ ImportError::Sink { .. }) => return Err(error),
            Err(error) => report.unreadable.push((file.path.clone(), error.to_string())),
            Ok(()) => {}
        }
        before += file.bytes;
    }
    Ok(report)
}

/// Imports one transcript.
///
/// # Errors
/// [`ImportError`]; after [`ImportError::Sink`], `known` holds events that the journal may not and must be folded anew.
pub fn import_file(
    path: &Path,
    known: &mut Known,
    sink: &mut dyn Sink,
    origin: &Origin,
    redactor: &Redactor,
) -> Result<Report, ImportError> {
    let mut report = Report::default();
    let mut parents = Parents::default();
    Import { known, sink, origin, redactor, parents: &mut parents, report: &mut report }
        .file(path, &mut |_| {})?;
    Ok(report)
}

struct Import<'a> {
    known: &'a mut Known,
    sink: &'a mut dyn Sink,
    origin: &'a Origin,
    redactor: &'a Redactor,
    parents: &'a mut Parents,
    report: &'a mut Report,
}

impl Import<'_> {
    fn file(&mut self, path: &Path, tell: &mut dyn FnMut(u64)) -> Result<(), ImportError> {
        let failed = |error| ImportError::Read { path: path.to_owned(), error };
        let path = &path.canonicalize().map_err(failed)?;
        let name = path.to_string_lossy().into_owned();
        let cursor = self.known.cursor(&name).cloned();
        if !self.read(path, &name, cursor.as_ref(), tell)? {
            // Another file stands where the cursor's was.
            self.read(path, &name, None, tell)?;
        }
        self.report.files += 1;
        Ok(())
    }

    /// Reads a file from its cursor on. False, with nothing done, when the cursor is not of this file.
    fn read(
        &mut self,
        path: &Path,
        name: &str,
        cursor: Option<&Cursor>,
        tell: &mut dyn FnMut(u64),
    ) -> Result<bool, ImportError> {
        let lines = Lines::open(path)?;
        if let Some(cursor) = cursor {
            if cursor.inode != lines.inode() || cursor.bytes > lines.bytes_total() {
                return Ok(false);
            }
            if cursor.bytes == lines.bytes_total() {
                self.report.unchanged += 1;
                return Ok(true);
            }
        }
        let mut parents = std::mem::take(self.parents);
        let facts = Facts::new(self.origin, self.redactor, &mut parents, name);
        let done = self.read_on(path, lines, facts, cursor, tell);
        *self.parents = parents;
        done
    }

    fn read_on(
        &mut self,
        path: &Path,
        mut lines: Lines,
        mut facts: Facts<'_>,
        cursor: Option<&Cursor>,
        tell: &mut dyn FnMut(u64),
    ) -> Result<bool, ImportError> {
        let failed = |error| ImportError::Read { path: path.to_owned(), error };
        let mut seen = HashMap::new();
        if let Some(cursor) = cursor {
            let same = lines.recall(cursor, &mut facts).map_err(failed)?;
            if !same {
                return Ok(false);
            }
            // Counted as they were when they were first read; not emitted.
            for candidate in facts.take(self.known) {
                self.is_new(&candidate, &mut seen);
            }
        }
        let begin = lines.read_to();
        let (mut added, mut chunk_lines, mut chunk_begin) = (0, 0, begin);
        let mut more = true;
        while more {
            more = lines.next(&mut |line| self.line(path, &line, &mut facts)).map_err(failed)?;
            chunk_lines += 1;
            if !more || chunk_lines >= CHUNK_LINES || lines.read_to() - chunk_begin >= CHUNK_BYTES {
                added += self.emit(path, facts.take(self.known), &mut seen)?;
                tell(lines.read_to());
                (chunk_lines, chunk_begin) = (0, lines.read_to());
            }
        }
        if lines.unfinished() {
            self.report.unfinished.push(path.to_owned());
        }
        self.report.bytes += lines.read_to() - begin;
        if added > 0 {
            self.moved(path, &lines, facts, added)?;
        }
        Ok(true)
    }

    /// One line: facts, or a place in the report. False for a line that is still being written.
    fn line(&mut self, path: &Path, line: &reader::RawLine<'_>, facts: &mut Facts<'_>) -> bool {
        match facts.line(line.bytes) {
            Read::Facts => self.report.lines += 1,
            Read::Ignored(name) => {
                self.report.lines += 1;
                *self.report.ignored.entry(name).or_default() += 1;
            }
            Read::Broken(_) if !line.ended => return false,
            Read::Broken(reason) => {
                self.report.lines += 1;
                self.report.broken(BrokenLine { path: path.to_owned(), line: line.number, reason });
            }
        }
        true
    }

    /// Whether the journal lacks it.
    fn is_new(&self, candidate: &Candidate, seen: &mut HashMap<Fingerprint, u32>) -> bool {
        if self.known.has(candidate.key) {
            return false;
        }
        let Some(group) = candidate.group else { return true };
        let nth = seen.entry(group).or_default();
        *nth += 1;
        *nth > self.known.left_by_hooks(group)
    }

    fn emit(
        &mut self,
        path: &Path,
        candidates: Vec<Candidate>,
        seen: &mut HashMap<Fingerprint, u32>,
    ) -> Result<u64, ImportError> {
        let mut added = 0;
        let mut batch = Batch::default();
        for candidate in candidates {
            if !self.is_new(&candidate, seen) {
                self.report.known += 1;
                continue;
            }
            let mut event = candidate.event;
            self.known.learn(&event);
            event.redact(self.redactor);
            if let Some(full) = batch.push(event) {
                added += self.send(path, full)?;
            }
        }
        Ok(added + self.send(path, batch.events)?)
    }

    fn send(&mut self, path: &Path, events: Vec<Event>) -> Result<u64, ImportError> {
        if events.is_empty() {
            return Ok(0);
        }
        let taken =
            self.sink.emit(events).map_err(|error| ImportError::Sink { path: path.to_owned(), error })?;
        self.report.added += taken.added;
        self.report.known += taken.known;
        Ok(taken.added)
    }

    /// Leaves the cursor behind, for the next import.
    fn moved(&mut self, path: &Path, lines: &Lines, facts: Facts<'_>, added: u64) -> Result<(), ImportError> {
        let (session, last_uuid) = facts.ended_at();
        let (name, inode, bytes) = (path.to_string_lossy().into_owned(), lines.inode(), lines.read_to());
        let key = format!("{name}#{inode}#{bytes}");
        let fact = payload::TranscriptImported { path: name, inode, bytes, last_uuid, added };
        let id = ids::of(session.as_deref().unwrap_or_default(), Kind::TranscriptImported, &key);
        let instance = session.clone().unwrap_or_else(|| self.origin.instance.clone());
        let mut event = Event::new(id, self.origin.now, instance, self.origin.source.clone(), fact);
        event.session = session;
        self.known.learn(&event);
        event.redact(self.redactor);
        self.sink.emit(vec![event]).map_err(|error| ImportError::Sink { path: path.to_owned(), error })?;
        Ok(())
    }
}

/// The events of the lines in `text`, as an import of a journal that knows nothing would find them.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn events_of(text: &[u8], origin: &Origin, redactor: &Redactor) -> Vec<Event> {
    let mut parents = Parents::default();
    let mut facts = Facts::new(origin, redactor, &mut parents, "session.jsonl");
    for line in text.split(|byte| *byte == b'\n') {
        facts.line(line);
    }
    facts.take(&Known::default()).into_iter().map(|candidate| candidate.event).collect()
}

/// Events on their way to a sink.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    bytes: usize,
}

impl Batch {
    /// Adds an event; what was there before it, where the two do not fit together.
    fn push(&mut self, event: Event) -> Option<Vec<Event>> {
        let bytes = event.payload.as_str().len() + 1_024;
        let full = self.events.len() == BATCH_EVENTS_MAX || self.bytes + bytes > BATCH_BYTES_MAX;
        let before = full.then(|| std::mem::take(&mut self.events)).filter(|events| !events.is_empty());
        self.bytes = if full { bytes } else { self.bytes + bytes };
        self.events.push(event);
        before
    }
}
