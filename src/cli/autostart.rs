//! Starting a server unasked: what makes opening the agent all that a person has to do.
//!
//! Constraints first. A hook calls this while an agent waits for it, so it looks, starts at most one process, and returns:
//! it never waits for the server to answer, and what the hook had to record lies in the inbox before. Fifty sessions may
//! begin at once and must give one server. A server that cannot start must not be started again by every hook.
//!
//! How: whoever wants a server first looks at the lock of the data directory, which names a running one. Where there is
//! none, it takes a file lock on `start.json` without waiting: who does not get it leaves, because somebody else is at it.
//! Who does reads in that file what came of the last start. A process that is still starting is left to it. One that came up and was
//! killed later did not fail to start. After one that failed the next start waits: [`REST_FIRST`], twice that after the next failure, at most [`REST_MAX`]; a start that lies
//! longer back than [`FORGOTTEN_AFTER`] does not count. The file is written before the process is started: where nothing can
//! be written, nothing is started. An orderly stop takes the file away, so a server that was stopped or that left for want of
//! sessions is started again by the next prompt.
//!
//! Should two start all the same (the file went away in between), the lock of the journal decides, and the second server ends
//! at once without a complaint.
//!
//! The server is this very program, in a session of its own, in `/`, with no stream but its log, and with nothing of the
//! agent's environment but where to find its files ([`crate::config::env::for_server`]).

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::detach;
use crate::client;
use crate::clock::{Clock, ProcessStamp, SystemClock};
use crate::config::guard::{self, How};
use crate::config::{DataDir, Env};
use crate::error::Error;
use crate::event::Timestamp;
use crate::store::{self, Role};

/// How long the next start waits after the first that failed.
pub const REST_FIRST: Duration = Duration::from_secs(5);
/// The longest such wait.
pub const REST_MAX: Duration = Duration::from_mins(5);
/// A start that lies longer back says nothing about the next.
pub const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);
/// A larger file is none of ours.
const STAMP_BYTES_MAX: u64 = 16 << 10;

/// What came of the wish for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// One runs, or is being started by somebody.
    Present,
    /// This process was started. It may still fail; [`last`] tells.
    Started(u32),
    /// The last start failed, and it is too early for the next.
    Resting,
    /// `MNEMOSYNE_DISABLE_AUTO_START_API` says not to.
    Disabled,
}

/// The last start that was made unasked, as `start.json` holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// How many there were since the last orderly stop, each soon after the one before.
    pub attempts: u32,
    /// Which process was started, unless it was gone at once.
    pub process: Option<ProcessStamp>,
    /// Why there is none, if the system refused.
    pub error: Option<String>,
}

impl Attempt {
    /// Whether its process is gone without having stopped in order, for that takes the file away. It failed, unless [`has_served`].
    pub fn has_failed(&self) -> bool {
        !self.process.is_some_and(ProcessStamp::is_alive)
    }

    /// How long the next start waits, counted from this one.
    pub fn rest(&self) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(16);
        (REST_FIRST * (1 << doublings)).min(REST_MAX)
    }

    /// Whether less than `time` has passed since. A clock that was set back says nothing.
    fn is_within(&self, time: Duration, now: Timestamp) -> bool {
        let passed = now.as_micros().saturating_sub(self.at.as_micros());
        u128::try_from(passed).is_ok_and(|passed| passed < time.as_micros())
    }

    fn follow(last: Option<&Attempt>, now: Timestamp) -> Attempt {
        let before = last.filter(|last| last.is_within(FORGOTTEN_AFTER, now)).map_or(0, |last| last.attempts);
        Attempt { at: now, attempts: before.saturating_add(1), process: None, error: None }
    }
}

/// Makes sure that a server runs on `dir`, which must exist, or is on its way. Does not wait for it.
///
/// # Errors
/// When the directory cannot be written, or the system starts no process; the next start then waits as after a failure.
pub fn ensure_server(dir: &DataDir, env: &Env) -> Result<Start, Error> {
    // Whoever calls this has nobody to tell: a value that is neither yes nor no counts as no.
    if env.auto_start_disabled().unwrap_or(false) {
        return Ok(Start::Disabled);
    }
    if is_present(dir) {
        return Ok(Start::Present);
    }
    let path = dir.start_json();
    let mut file = guard::open(&path, How::Create)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Start::Present),
        other => other.map_err(|error| Error::io("lock", &path)(error.into()))?,
    }
    let now = SystemClock.now();
    let last = read(&mut file);
    if let Some(last) = &last {
        if !last.has_failed() {
            return Ok(Start::Present);
        }
        if !has_served(dir, last) && last.is_within(last.rest(), now) {
            return Ok(Start::Resting);
        }
    }
    let failed = last.as_ref().filter(|last| !has_served(dir, last));
    let mut attempt = Attempt::follow(failed, now);
    let write = |file: &mut File, attempt: &Attempt| write(file, attempt).map_err(Error::io("write", &path));
    write(&mut file, &attempt)?;
    let started = start(dir);
    match &started {
        Ok(pid) => attempt.process = ProcessStamp::of(*pid),
        Err(error) => attempt.error = Some(error.to_string()),
    }
    write(&mut file, &attempt)?;
    started.map(Start::Started)
}

/// What came of the last start made unasked, if there was one since the last orderly stop. For `doctor`.
pub fn last(dir: &DataDir) -> Option<Attempt> {
    let bytes = guard::read_if_present(&dir.start_json(), STAMP_BYTES_MAX).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// Forgets the last start: a server has stopped in order.
///
/// # Errors
/// When the file cannot be removed.
pub fn forget(dir: &DataDir) -> Result<(), Error> {
    let path = dir.start_json();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Whether what was started came up: it wrote `server.json`, which a server that is killed leaves behind. That proves nothing of who
/// listens now, only that the start did not fail.
pub fn has_served(dir: &DataDir, attempt: &Attempt) -> bool {
    let runtime = client::runtime_file(dir).ok().flatten();
    runtime.zip(attempt.process).is_some_and(|(runtime, process)| {
        (runtime.pid, runtime.start_ticks) == (process.pid, process.start_ticks)
    })
}

fn is_present(dir: &DataDir) -> bool {
    store::holder(dir).is_some_and(|holder| holder.role == Role::Server)
}

fn start(dir: &DataDir) -> Result<u32, Error> {
    let arguments: [OsString; 4] =
        ["--data-dir".into(), dir.path().into(), "api-server".into(), "--unasked".into()];
    dir.refuse_links()?;
    let log = guard::open(&dir.log_file(), How::Append)?;
    // Nobody waits for it: it outlives this process, and whoever takes in orphans takes in its end.
    detach::start(&arguments, log).map(|child| child.id())
}

/// One that is not whole was being written when its writer was killed: as good as none.
fn read(file: &mut File) -> Option<Attempt> {
    let mut bytes = Vec::new();
    file.take(STAMP_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write(file: &mut File, attempt: &Attempt) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(attempt)?;
    bytes.push(b'\n');
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)?;
    file.set_len(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000 * SECOND + seconds * SECOND)
    }

    #[test]
    fn each_failure_doubles_the_rest_up_to_a_bound_and_an_old_one_is_forgotten() {
        let mut attempt = Attempt::follow(None, at(0));
        let mut rests = Vec::new();
        for n in 0..9 {
            assert_eq!(attempt.attempts, n + 1);
            rests.push(attempt.rest().as_secs());
            attempt = Attempt::follow(Some(&attempt), at(0));
        }
        assert_eq!(rests, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(Attempt::follow(Some(&attempt), at(601)).attempts, 1);
    }

    #[test]
    fn a_rest_ends_by_the_clock_and_a_clock_that_was_set_back_does_not_prolong_it() {
        let attempt = Attempt::follow(None, at(0));
        assert!(attempt.is_within(attempt.rest(), at(4)));
        assert!(!attempt.is_within(attempt.rest(), at(5)));
        assert!(!attempt.is_within(attempt.rest(), at(-3_600)));
    }

    #[test]
    fn disabled_means_that_nothing_is_even_written() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::at(home.path().join("data"));
        dir.create().unwrap();
        let env = Env::default().with("MNEMOSYNE_DISABLE_AUTO_START_API", "yes");
        assert_eq!(ensure_server(&dir, &env).unwrap(), Start::Disabled);
        assert_eq!(last(&dir), None);
        assert!(!dir.start_json().exists());
    }

    #[test]
    fn a_start_that_goes_on_is_left_to_it_and_one_that_failed_a_moment_ago_rests() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::at(home.path().join("data"));
        dir.create().unwrap();
        let mut attempt = Attempt::follow(None, SystemClock.now());
        attempt.process = Some(ProcessStamp::current());
        std::fs::write(dir.start_json(), serde_json::to_vec(&attempt).unwrap()).unwrap();
        assert_eq!(ensure_server(&dir, &Env::default()).unwrap(), Start::Present);
        attempt.process = Some(ProcessStamp { start_ticks: 1, ..ProcessStamp::current() });
        std::fs::write(dir.start_json(), serde_json::to_vec(&attempt).unwrap()).unwrap();
        assert_eq!(ensure_server(&dir, &Env::default()).unwrap(), Start::Resting);
        assert!(last(&dir).is_some_and(|last| last.has_failed() && last.attempts == 1));
        forget(&dir).unwrap();
        forget(&dir).unwrap();
        assert_eq!(last(&dir), None);
    }

    #[test]
    fn who_does_not_get_the_file_leaves_it_to_the_other() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::at(home.path().join("data"));
        dir.create().unwrap();
        let held = guard::open(&dir.start_json(), How::Create).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        assert_eq!(ensure_server(&dir, &Env::default()).unwrap(), Start::Present);
        assert_eq!(last(&dir), None, "nothing was started");
    }
}
