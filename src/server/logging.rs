//! The server's log: `log/server.log` in the data directory, and warnings on stderr as well, unless that is the log already.
//!
//! It says what the server does, never what it records: no payload, no token, no header's value. A log that has grown to
//! [`LOG_BYTES_MAX`], at a start or in the midst of a long run, makes way for a new one; one older log is kept beside it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::DataDir;
use crate::config::guard::{self, How};
use crate::error::Error;

/// A log of this size makes way. Days of a busy server, and still quickly read.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Begins to log. A process logs for the first server that it runs.
///
/// # Errors
/// When the log file cannot be opened, and [`Error::Usage`] for a level that there is not.
pub(super) fn start(dir: &DataDir, level: Option<&str>) -> Result<(), Error> {
    let level = Level::from_str(level.unwrap_or("info"))
        .map_err(|_| Error::usage("the log's level is one of error, warn, info, debug, trace"))?;
    let log = Pages::open(dir.log_file(), LOG_BYTES_MAX)?;
    let started = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        // What cannot be written on a full disk is not told on stderr instead: who must hear of it gets an error.
        .log_internal_errors(false)
        .with_writer(Shared(Arc::new(Mutex::new(log))))
        .try_init();
    if started.is_err() {
        tracing::debug!("this process logs already");
    }
    Ok(())
}

/// The file, and how much is in it.
struct Pages {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    /// Whether stderr is this very file, as in a server in the background: what a panic says goes there.
    is_stderr: bool,
}

impl Pages {
    fn open(path: PathBuf, bytes_max: u64) -> Result<Pages, Error> {
        let file = guard::open(&path, How::Append)?;
        let bytes = file.metadata().map_err(Error::io("inspect", &path))?.len();
        let is_stderr = is_stderr(&file).unwrap_or(false);
        let mut log = Pages { path, file, bytes, bytes_max, is_stderr };
        if log.bytes >= log.bytes_max {
            log.make_way()?;
        }
        Ok(log)
    }

    fn older(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }

    fn make_way(&mut self) -> Result<(), Error> {
        std::fs::rename(&self.path, self.older()).map_err(Error::io("rename", &self.path))?;
        self.file = guard::open(&self.path, How::Append)?;
        self.bytes = 0;
        if self.is_stderr {
            rustix::stdio::dup2_stderr(&self.file)
                .map_err(|error| Error::io("go on in", &self.path)(error.into()))?;
        }
        Ok(())
    }

    /// Writes a line. Where the log cannot make way, it begins anew in its place: without a bound it would fill the disk.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes >= self.bytes_max {
            let begins = match self.make_way() {
                Ok(()) => format!("what came before is in {}\n", self.older().display()),
                Err(error) => {
                    self.file.set_len(0)?;
                    format!("what came before is lost, as the log could not make way: {error}\n")
                }
            };
            self.bytes = 0;
            self.append(begins.as_bytes())?;
        }
        self.append(line)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.bytes += line.len() as u64;
        self.file.write_all(line)
    }
}

fn is_stderr(log: &File) -> io::Result<bool> {
    let (log, stderr) = (log.metadata()?, rustix::fs::fstat(io::stderr())?);
    Ok((log.dev(), log.ino()) == (stderr.st_dev, stderr.st_ino))
}

struct Shared(Arc<Mutex<Pages>>);

impl<'a> MakeWriter<'a> for Shared {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { log: self.0.clone(), on_stderr: false }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Line {
        Line { log: self.0.clone(), on_stderr: *meta.level() <= Level::WARN }
    }
}

/// Where one line of the log goes.
struct Line {
    log: Arc<Mutex<Pages>>,
    on_stderr: bool,
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if self.on_stderr && !log.is_stderr {
            // Whoever watches may have gone; the file has the line.
            let _ = io::stderr().write_all(line);
        }
        log.write(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_log_makes_way_in_the_midst_of_a_run_and_one_older_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.log");
        let mut log = Pages::open(path.clone(), 400).unwrap();
        let mut written = 0;
        for n in 0..1_000 {
            log.write(format!("line {n}\n").as_bytes()).unwrap();
            written = n;
            let in_all: usize = [&path, &log.older()]
                .iter()
                .filter_map(|path| std::fs::read(path).ok())
                .map(|bytes| bytes.len())
                .sum();
            assert!(in_all < 2 * (400 + 16), "{in_all}");
        }
        assert!(text(&path).starts_with(&format!("what came before is in {}\n", log.older().display())));
        assert!(text(&path).ends_with(&format!("line {written}\n")));
        // The two follow each other.
        let last = text(&log.older()).lines().last().unwrap().to_owned();
        let next = text(&path).lines().nth(1).unwrap().to_owned();
        let number = |line: &str| line.strip_prefix("line ").unwrap().parse::<u32>().unwrap();
        assert_eq!(number(&last) + 1, number(&next));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        // One that has grown large makes way at a start, too.
        std::fs::write(&path, [b'x'; 400]).unwrap();
        let log = Pages::open(path.clone(), 400).unwrap();
        assert_eq!((text(&path).len(), text(&log.older()).len()), (0, 400));
    }

    #[test]
    fn a_log_that_cannot_make_way_begins_anew_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.log");
        let mut log = Pages::open(path.clone(), 100).unwrap();
        std::fs::create_dir(log.older()).unwrap();
        for _ in 0..1_000 {
            log.write(b"a line of some length\n").unwrap();
            assert!(text(&path).len() < 1_000);
        }
        assert!(text(&path).starts_with("what came before is lost, as the log could not make way: "));
    }
}
