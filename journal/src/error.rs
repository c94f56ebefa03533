//! What can go wrong, in words for the person who must act on it.
//!
//! One enum for the crate. Every variant says which state the journal is in afterwards, and has a stable
//! [`Error::code`] for programs. Errors are `Clone`: one failed flush fails every ticket that waited for it.

use std::io;
use std::sync::Arc;

use crate::types::{JournalId, Seq};

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in a journal.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the operating system failed and nothing was changed by it. Reading may be tried again.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried: "open", "read", "rename".
        action: &'static str,
        /// The file, relative to the journal's directory.
        file: String,
        /// What the operating system answered.
        source: Arc<io::Error>,
    },
    /// A flush failed or a write met a broken device. Nothing that was not acknowledged before is durable, nothing
    /// more will be acknowledged; reading goes on. Opening the journal again goes on in a new segment.
    #[error(
        "the journal takes no more records since it could not {action} {file}: {source}; check the disk, then \
         restart: writing goes on in a new segment after the last durable record"
    )]
    Poisoned {
        /// What was tried.
        action: &'static str,
        /// The file, relative to the journal's directory.
        file: String,
        /// What the operating system answered.
        source: Arc<io::Error>,
    },
    /// No space, quota or file size left. The records of this call were not taken and their seqs will be given to
    /// others; writing goes on by itself as soon as there is space.
    #[error("no space to append to {file}: {source}; free some space, writing then goes on by itself")]
    StorageFull {
        /// The file, relative to the journal's directory.
        file: String,
        /// What the operating system answered.
        source: Arc<io::Error>,
    },
    /// The tail is not where the caller expected it. Nothing was appended.
    #[error("expected the next seq to be {expected}, but it is {actual}")]
    TailMismatch {
        /// What the caller named.
        expected: Seq,
        /// The next seq that would have been given.
        actual: Seq,
    },
    /// A submission holds no record. Nothing was appended.
    #[error("a batch must hold at least one record")]
    EmptyBatch,
    /// A payload or a submission is larger than the format allows. Nothing was appended.
    #[error("{what} of {bytes} bytes is larger than the {max} bytes that the journal takes")]
    TooLarge {
        /// "a record" or "a batch".
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The journal was closed. Nothing was appended.
    #[error("the journal is closed")]
    Closed,
    /// There is no segment in the directory, so there is nothing to read.
    #[error("there is no journal here: no segment file was found")]
    NoJournal,
    /// A segment was written by a newer version of the format. Nothing was touched.
    #[error(
        "{file} has format version {found}; this program reads up to version {supported}: use a newer program"
    )]
    UnsupportedVersion {
        /// The segment file.
        file: String,
        /// Its version.
        found: u16,
        /// The newest version known here.
        supported: u16,
    },
    /// A segment needs a feature that this program does not have. Nothing was touched.
    #[error("{file} needs {features}, which this program does not know: use a newer program")]
    UnsupportedFeature {
        /// The segment file.
        file: String,
        /// The features by name, or by bit number where the name is not known.
        features: String,
    },
    /// Two segments of one directory belong to different journals. Nothing was touched.
    #[error("{file} belongs to journal {found}, but this directory holds journal {expected}: move it away")]
    OtherJournal {
        /// The segment file.
        file: String,
        /// The id of the other segments.
        expected: JournalId,
        /// The id in this file.
        found: JournalId,
    },
    /// A file that must not be a link, a pipe or a directory is one. Nothing was touched.
    #[error("{file} is not a regular file: move it away")]
    NotAFile {
        /// The file, relative to the journal's directory.
        file: String,
    },
}

impl Error {
    /// A stable `snake_case` name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Io { .. } => "journal_io",
            Error::Poisoned { .. } => "journal_poisoned",
            Error::StorageFull { .. } => "storage_full",
            Error::TailMismatch { .. } => "tail_mismatch",
            Error::EmptyBatch => "empty_batch",
            Error::TooLarge { .. } => "too_large",
            Error::Closed => "journal_closed",
            Error::NoJournal => "no_journal",
            Error::UnsupportedVersion { .. } => "unsupported_version",
            Error::UnsupportedFeature { .. } => "unsupported_feature",
            Error::OtherJournal { .. } => "other_journal",
            Error::NotAFile { .. } => "not_a_file",
        }
    }

    /// Whether it says that there is no room: on the disk, in a quota, or for a file of that size.
    pub fn is_full(&self) -> bool {
        match self {
            Error::StorageFull { .. } => true,
            Error::Io { source, .. } => crate::writer::is_full(source),
            _ => false,
        }
    }

    pub(crate) fn io(action: &'static str, file: &str, source: io::Error) -> Error {
        Error::Io { action, file: file.to_owned(), source: Arc::new(source) }
    }
}
