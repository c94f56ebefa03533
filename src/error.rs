//! The one error type of the crate.
//!
//! Every variant is a sentence for a person that ends with the next step where there is one. A program reads [`Error::code`]
//! (stable, `snake_case`, what HTTP answers carry) or [`Error::exit_code`] (what the process ends with), never the sentence.
//! Nothing here is logged: an error is returned until somebody can tell a person.

use std::path::PathBuf;

use crate::event::Timestamp;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, told so that a person can act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line or a request asks for something that makes no sense. Nothing was done.
    #[error("{message}")]
    Usage {
        /// What is wrong and what to write instead.
        message: String,
    },

    /// An environment variable holds something it cannot hold. Nothing was done.
    #[error(
        "{variable} is {value:?}, which is no yes or no: use 1, true, yes, on or 0, false, no, off, or unset it"
    )]
    BadSwitch {
        /// Name of the variable.
        variable: &'static str,
        /// What it holds.
        value: String,
    },

    /// A configuration file cannot be used. Nothing was done.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Line, key, and what is accepted.
        message: String,
    },

    /// A field of the input is wrong. Nothing was done.
    #[error("{field}: {message}")]
    Invalid {
        /// Where, as a path such as `[3].payload.tool`.
        field: String,
        /// What is wrong with it and what is expected.
        message: String,
    },

    /// There is no data directory where one was looked for. Nothing was created.
    #[error(
        "there is no data directory at {}: `mnemosyne init --claude` makes one and registers the hooks that fill it, `mnemosyne import` \
         reads the transcripts that are there already; --data-dir or MNEMOSYNE_DATA_DIR names another", path.display()
    )]
    NoDataDir {
        /// Where it was looked for.
        path: PathBuf,
    },

    /// The user has no home directory, so no data directory can be derived.
    #[error(
        "the home directory of the user is unknown (HOME is not set, or no absolute path): name a data directory with --data-dir or MNEMOSYNE_DATA_DIR"
    )]
    NoHome,

    /// A file or directory is not what it must be (type, owner, links), so it was not used.
    #[error("{} is not safe to use: {reason}", path.display())]
    UnsafePath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },

    /// What was asked for does not exist.
    #[error("{what} does not exist{hint}")]
    NotFound {
        /// What was asked for, as the subject of a sentence.
        what: String,
        /// Empty, or what to do, starting with a colon and a space.
        hint: String,
    },

    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: `open`, `write`, `rename`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// Another live server holds the data directory. Nothing was changed.
    #[error(
        "a server runs already on this data directory: process {pid}, {address}; stop it with `mnemosyne api-server --stop`"
    )]
    ServerRunning {
        /// Its process.
        pid: u32,
        /// `http://HOST:PORT`, or words that say that it is not known.
        address: String,
    },

    /// Another process held the journal for as long as this one was ready to wait. Nothing was changed.
    #[error("the journal is held by {holder}: try again when it has ended")]
    Locked {
        /// Role and process, as words.
        holder: String,
    },

    /// A flush failed earlier: the journal takes no more events until it is opened anew. Reading goes on; nothing of this batch was kept.
    #[error(
        "the journal stopped taking events after a failed flush ({cause}): check the disk, then restart the server"
    )]
    JournalPoisoned {
        /// What failed.
        cause: String,
    },

    /// No space. Nothing of this batch was kept; writing goes on when space returns.
    #[error("no space is left for the journal ({cause}): free some, then send the event again")]
    StorageFull {
        /// What the operating system said.
        cause: String,
    },

    /// A conditional append met another tail. Nothing of this batch was kept.
    #[error(
        "the next event would get seq {actual}, not {expected}: read what came in between, then decide again"
    )]
    Conflict {
        /// The seq that the caller expected the first event to get.
        expected: u64,
        /// The seq that it would get.
        actual: u64,
    },

    /// A cursor lies beyond the journal's end: it belongs to another journal, or events were taken back.
    #[error(
        "seq {asked} lies beyond the end of this journal (last seq {last}): it is not there yet, was lost, or is of another journal"
    )]
    CursorAhead {
        /// The cursor.
        asked: u64,
        /// The last durable seq.
        last: u64,
    },

    /// Retention has dropped the events that the answer would be made of.
    #[error(
        "what was known at seq {asked} was dropped by retention: the earliest that can be shown is seq {first}"
    )]
    BeforeBase {
        /// The seq asked for.
        asked: u64,
        /// The first seq whose state can be had.
        first: u64,
    },

    /// Retention has dropped events that were, or may have been, recorded after the moment that was asked for.
    #[error(
        "what was known at {asked} was dropped by retention: the earliest that can be shown is seq {first}"
    )]
    BeforeBaseAt {
        /// The moment asked for.
        asked: Timestamp,
        /// The first seq whose state can be had.
        first: u64,
    },
    /// A cursor names another journal.
    #[error("the cursor belongs to journal {asked}, and this one is {actual}")]
    OtherJournal {
        /// What the caller named.
        asked: String,
        /// What this journal is called.
        actual: String,
    },

    /// The log behind the store does not offer the level that was asked for. Nothing was kept.
    #[error("this log cannot promise the level `{level}`: ask for one of {offered}")]
    LevelUnsupported {
        /// What was asked for.
        level: &'static str,
        /// What there is.
        offered: String,
    },

    /// The store was closed, or is open for reading only. Nothing was kept.
    #[error("the store takes no events: {reason}")]
    Closed {
        /// Why, as words.
        reason: &'static str,
    },

    /// A batch is empty or larger than one batch may be. Nothing was kept.
    #[error("a batch holds 1 to {events_max} events of {bytes_max} bytes together, not {events} of {bytes}")]
    BatchSize {
        /// Events in it.
        events: usize,
        /// Bytes in it.
        bytes: usize,
        /// Most events.
        events_max: usize,
        /// Most bytes.
        bytes_max: usize,
    },

    /// The inbox is at its cap. The event was not kept.
    #[error(
        "the inbox is full ({files} files, {bytes} bytes wait): start a server or run `mnemosyne events` to drain it"
    )]
    InboxFull {
        /// Files that wait.
        files: u64,
        /// Bytes that wait, as far as they were counted.
        bytes: u64,
    },

    /// Bytes on disk are damaged. What could be read was read.
    #[error("{message}")]
    Integrity {
        /// What, where, and what to run.
        message: String,
    },

    /// A data directory holds no journal yet.
    #[error("nothing was recorded here yet: start a server with `mnemosyne api-server`")]
    NoJournal,

    /// The journal refused for another reason.
    #[error("{message}")]
    Journal {
        /// Its own sentence.
        message: String,
    },

    /// A server answered with an error, or not at all.
    #[error("{message}")]
    Server {
        /// Its stable code, or one of the client's.
        code: &'static str,
        /// A sentence.
        message: String,
    },

    /// Randomness is not to be had, so no id can be made.
    #[error("the operating system gives no random bytes: {0}")]
    Entropy(String),

    /// The user ended it.
    #[error("interrupted")]
    Interrupted,

    /// Whoever read the output has gone away, as with `| head`. Not a failure of ours.
    #[error("the reader of the output has gone away")]
    OutputClosed,

    /// What was asked for could not be written to the output.
    #[error("cannot write to the output: {source}")]
    Output {
        /// Why.
        source: std::io::Error,
    },

    /// Anything else that failed, told by the command that failed.
    #[error("{message}")]
    Failed {
        /// What failed and what to do.
        message: String,
    },
}

impl Error {
    /// An [`Error::Io`], for `map_err`: `File::open(&path).map_err(Error::io("open", &path))`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }

    /// An [`Error::Usage`].
    pub fn usage(message: impl Into<String>) -> Error {
        Error::Usage { message: message.into() }
    }

    /// An [`Error::Failed`].
    pub fn failed(message: impl Into<String>) -> Error {
        Error::Failed { message: message.into() }
    }

    /// Whether it says that there is no room: on the disk, in a quota, or for a file of that size.
    pub fn is_full(&self) -> bool {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            Error::StorageFull { .. } => true,
            Error::Io { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge),
            _ => false,
        }
    }

    /// Stable name for programs, `snake_case`; never changes for a given failure.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Usage { .. } => "usage",
            Error::BadSwitch { .. } => "bad_switch",
            Error::Config { .. } => "config_invalid",
            Error::Invalid { .. } => "invalid",
            Error::NoDataDir { .. } => "no_data_dir",
            Error::NoHome => "no_home",
            Error::UnsafePath { .. } => "unsafe_path",
            Error::NotFound { .. } => "not_found",
            Error::Io { .. } => "io",
            Error::ServerRunning { .. } => "server_running",
            Error::Locked { .. } => "locked",
            Error::JournalPoisoned { .. } => "journal_poisoned",
            Error::StorageFull { .. } => "storage_full",
            Error::Conflict { .. } => "conflict",
            Error::CursorAhead { .. } => "cursor_ahead",
            Error::BeforeBase { .. } | Error::BeforeBaseAt { .. } => "gone",
            Error::OtherJournal { .. } => "other_journal",
            Error::LevelUnsupported { .. } => "level_unsupported",
            Error::Closed { .. } => "closed",
            Error::BatchSize { .. } => "batch_size",
            Error::InboxFull { .. } => "inbox_full",
            Error::Integrity { .. } => "integrity",
            Error::NoJournal => "no_journal",
            Error::Journal { .. } => "journal",
            Error::Server { code, .. } => code,
            Error::Entropy(_) => "no_entropy",
            Error::Interrupted => "interrupted",
            Error::OutputClosed => "output_closed",
            Error::Output { .. } => "output",
            Error::Failed { .. } => "failed",
        }
    }

    /// What a process that ends with this error ends with: 1 failed, 2 usage, 3 not found, 4 integrity, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } | Error::BadSwitch { .. } | Error::Config { .. } | Error::Invalid { .. } => 2,
            Error::NoDataDir { .. }
            | Error::NoJournal
            | Error::NotFound { .. }
            | Error::CursorAhead { .. }
            | Error::BeforeBase { .. }
            | Error::BeforeBaseAt { .. }
            | Error::Server { code: "not_found" | "cursor_ahead" | "gone", .. } => 3,
            Error::Integrity { .. } => 4,
            Error::Interrupted => 130,
            _ => 1,
        }
    }
}

/// Words of Rust's own parsers, and what stands for them on a command line.
const PLAIN: &[(&str, &str)] = &[
    ("invalid digit found in string", "a whole number is wanted"),
    ("cannot parse integer from empty string", "a whole number is wanted"),
    ("number too large to fit in target type", "it is too large"),
    ("number too small to fit in target type", "it is too small"),
    ("invalid float literal", "a number is wanted"),
    ("cannot parse float from empty string", "a number is wanted"),
    ("provided string was not `true` or `false`", "true or false is wanted"),
    (" is not in 1..18446744073709551615", " is too small: a number from 1 is wanted"),
    (" is not in 1..=4294967295", " is out of range: a number from 1 to 4294967295 is wanted"),
    ("invalid socket address syntax", "an ADDRESS:PORT is wanted, such as 127.0.0.1:3000"),
];

/// What the parser of a command line prints, without the words of the language that it is written in.
pub fn plain_usage(printed: &str) -> String {
    PLAIN.iter().fold(printed.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// The same as one line: what is wrong and what may have been meant, without the usage and the hint at the help.
pub fn usage_line(printed: &str) -> String {
    let plain = plain_usage(printed);
    let said = plain.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let said = said.filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"));
    let line = said.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parser_prints_becomes_one_line() {
        let printed = "error: unrecognized subcommand 'evnets'\n\n  tip: a similar subcommand exists: 'events'\n\n\
                       Usage: mnemosyne [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n";
        let line = "unrecognized subcommand 'evnets'; tip: a similar subcommand exists: 'events'";
        assert_eq!(usage_line(printed), line);
        let number = "error: invalid value 'abc' for '<SEQ>': invalid digit found in string\n\nFor more information, try '--help'.\n";
        assert_eq!(usage_line(number), "invalid value 'abc' for '<SEQ>': a whole number is wanted");
    }

    #[test]
    fn a_missing_data_directory_names_the_place_and_the_next_step() {
        let error = Error::NoDataDir { path: "/nowhere/.mnemosyne".into() };
        assert_eq!((error.code(), error.exit_code()), ("no_data_dir", 3));
        let sentence = error.to_string();
        assert!(sentence.contains("/nowhere/.mnemosyne") && sentence.contains("--data-dir"), "{sentence}");
    }

    #[test]
    fn what_does_not_exist_is_the_same_failure_wherever_it_was_looked_for() {
        let ahead = Error::CursorAhead { asked: 9, last: 7 };
        assert_eq!((ahead.code(), ahead.exit_code()), ("cursor_ahead", 3));
        for code in ["not_found", "cursor_ahead", "gone"] {
            assert_eq!(Error::Server { code, message: String::new() }.exit_code(), 3, "{code}");
        }
        assert_eq!(Error::Server { code: "server_unreachable", message: String::new() }.exit_code(), 1);
    }

    #[test]
    fn io_errors_say_what_was_tried_on_what() {
        let error = Error::io("open", "/x/lock")(std::io::Error::from_raw_os_error(13));
        assert!(error.to_string().starts_with("cannot open /x/lock: "), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}
