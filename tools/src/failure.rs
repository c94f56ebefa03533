//! Why a command could not do what it was asked.

use std::io;
use std::path::PathBuf;

use mnemosyne::event::text::visible;

/// Every way to end early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody reads the output any more; a quiet end.
    #[error("nobody reads the output")]
    OutputClosed,
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    Failed(String),
    /// Two journals differ; that was said already.
    #[error("they differ")]
    Different,
    #[error("cannot {action} {}: {source}", visible(&path.display().to_string()))]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Journal(mnemosyne_journal::Error),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::OutputClosed => 0,
            Failure::Output(_)
            | Failure::Failed(_)
            | Failure::Different
            | Failure::Io { .. }
            | Failure::Journal(_) => 1,
            Failure::Usage(_) => 2,
            Failure::NotFound(_) => 3,
            Failure::Damaged(_) => 4,
        }
    }

    /// A stable name for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Failure::OutputClosed => "output_closed",
            Failure::Output(_) => "output",
            Failure::Usage(_) => "usage",
            Failure::NotFound(_) => "not_found",
            Failure::Damaged(_) => "damaged",
            Failure::Failed(_) => "failed",
            Failure::Different => "different",
            Failure::Io { .. } => "io",
            Failure::Journal(error) => error.code(),
        }
    }
}

impl From<mnemosyne_journal::Error> for Failure {
    fn from(error: mnemosyne_journal::Error) -> Failure {
        match error {
            mnemosyne_journal::Error::NoJournal => Failure::NotFound(error.to_string()),
            error => Failure::Journal(error),
        }
    }
}
