//! The server's log: `log/server.log` in the data directory, and warnings on stderr as well.
//!
//! It says what the server does, never what it records: no payload, no token, no header's value. At the start a
//! log that has grown large makes way for a new one; one older log is kept.

use std::fs::File;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::DataDir;
use crate::config::guard::{self, How};
use crate::error::Error;

/// A log larger than this makes way at the next start.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Begins to log. A process logs for the first server that it runs.
///
/// # Errors
/// When the log file cannot be opened, and [`Error::Usage`] for a level that there is not.
pub(super) fn start(dir: &DataDir, level: Option<&str>) -> Result<(), Error> {
    let level = Level::from_str(level.unwrap_or("info"))
        .map_err(|_| Error::usage("the log's level is one of error, warn, info, debug, trace"))?;
    let path = dir.log_file();
    if path.metadata().is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        std::fs::rename(&path, path.with_extension("log.1")).map_err(Error::io("rename", &path))?;
    }
    let file = guard::open(&path, How::Append)?;
    let started = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(LogFile { file: Arc::new(Mutex::new(file)) })
        .try_init();
    if started.is_err() {
        tracing::debug!("this process logs already");
    }
    Ok(())
}

struct LogFile {
    file: Arc<Mutex<File>>,
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { file: self.file.clone(), on_stderr: false }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Line {
        Line { file: self.file.clone(), on_stderr: *meta.level() <= Level::WARN }
    }
}

/// Where one line of the log goes.
struct Line {
    file: Arc<Mutex<File>>,
    on_stderr: bool,
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.on_stderr {
            // Whoever watches may have gone; the file has the line.
            let _ = io::stderr().write_all(line);
        }
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
