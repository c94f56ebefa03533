//! Recorded commands that have not ended yet.
//!
//! A command that was killed outright cannot say so, and a start without an end would look like a command that still
//! runs. So beside its start a command leaves a mark, `running-<pid>-<start ticks>-<id of the start>`, that holds the
//! start, and takes it away after its end. Whoever drains looks at the marks; there are as many as commands run. One
//! whose process is gone is turned into `cli_command_failed`, `inferred`, with its start before it in case that was not put into
//! the inbox any more.
//!
//! Both ends of one run have the same id ([`end_id`]), and the first to arrive wins: a command that was killed between
//! its end and the removal of its mark has ended once. A mark that a power cut took is made up for by the journal, which
//! shows a start without an end ([`crate::store`]); that way ends a run under the same id.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{Deposit, deposit, frame, put};
use crate::clock::{self, Clock, ProcessStamp};
use crate::config::guard;
use crate::error::{Error, Result};
use crate::event::{Event, Kind, Redactor, ids, payload};

const PREFIX: &str = "running-";

/// The mark of one run.
#[derive(Debug)]
pub struct Mark {
    path: PathBuf,
}

/// Leaves the mark of this process's run that began with `start`.
///
/// # Errors
/// [`Error::Io`]; the run then stays without an end if it is killed.
pub fn mark(inbox: &Path, start: &Event) -> Result<Mark> {
    let name = name_of(ProcessStamp::current(), start.id);
    let file =
        frame::encode(&start.encode()).ok_or_else(|| Error::failed("the start of the run is too large"))?;
    let path = inbox.join(&name);
    put(&inbox.join(format!("{name}.tmp")), &path, &file, Deposit::Os)?;
    Ok(Mark { path })
}

impl Mark {
    /// Takes it away: the run's end is in the inbox.
    ///
    /// # Errors
    /// [`Error::Io`], which costs nothing but a look at the next drain: the end is known by its id.
    pub fn clear(self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(Error::io("remove", self.path))
    }
}

/// The id of the end of the run that began with the event `start`.
pub fn end_id(start: Uuid) -> Uuid {
    ids::natural("", "end of a command", &start.to_string())
}

/// Puts the ends of runs whose processes are gone into the inbox; how many there were.
///
/// # Errors
/// What listing, reading or depositing says; what was not ended stays marked.
pub fn end_killed(inbox: &Path, clock: &dyn Clock) -> Result<u64> {
    let (mut ended, here) = (0, clock::this_source("").host);
    for found in std::fs::read_dir(inbox).map_err(Error::io("list", inbox))? {
        let name = found.map_err(Error::io("list", inbox))?.file_name();
        let Some(process) = name.to_str().and_then(process_of) else { continue };
        if process.is_alive() {
            continue;
        }
        let path = inbox.join(&name);
        if let Some(start) = read(&path) {
            if start.source.host != here {
                // Its pid says nothing on this machine.
                continue;
            }
            deposit(inbox, &start, clock, Deposit::Os)?;
            deposit(inbox, &inferred_end(&start, clock), clock, Deposit::Os)?;
            ended += 1;
        }
        match std::fs::remove_file(&path) {
            // Another process was quicker.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(Error::io("remove", &path))?,
        }
    }
    Ok(ended)
}

/// Whether a file is named as a mark.
pub(in crate::store) fn is_mark(name: &str) -> bool {
    process_of(name).is_some()
}

/// Whether the process `process` has left a mark of the run that began with the event `start`.
pub(in crate::store) fn is_marked(inbox: &Path, process: ProcessStamp, start: Uuid) -> bool {
    std::fs::symlink_metadata(inbox.join(name_of(process, start))).is_ok()
}

fn name_of(process: ProcessStamp, start: Uuid) -> String {
    format!("{PREFIX}{}-{}-{}", process.pid, process.start_ticks, start.simple())
}

fn process_of(name: &str) -> Option<ProcessStamp> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let (pid, start_ticks) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(ProcessStamp { pid, start_ticks })
}

/// The start that a mark holds; nothing where the mark is not whole, which no process of ours leaves behind.
fn read(path: &Path) -> Option<Event> {
    let bytes = guard::read(path, frame::FILE_BYTES_MAX).ok()?;
    Event::decode(frame::decode(&bytes).ok()?).ok().filter(|event| event.kind == Kind::CliCommandStarted)
}

/// The end that the run which began with `start` did not write itself.
pub(in crate::store) fn inferred_end(start: &Event, clock: &dyn Clock) -> Event {
    let command = start.payload_as::<payload::CliCommandStarted>().and_then(std::result::Result::ok);
    let end = payload::CliCommandFailed {
        command: command.map(|started| started.command).unwrap_or_default(),
        error: "its process is gone, and it left no end".to_owned(),
        duration_ms: None,
        exit_code: None,
        inferred: Some(true),
    };
    let source = clock::this_source("mnemosyne");
    let mut event = Event::new(end_id(start.id), clock.now(), start.instance.clone(), source, end)
        .with_correlation(start.correlation)
        .with_causation(start.id);
    event.session.clone_from(&start.session);
    event.agent.clone_from(&start.agent);
    event.project.clone_from(&start.project);
    event.redact(&Redactor::new());
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::config::DataDir;
    use crate::event::Timestamp;

    fn start() -> Event {
        let payload = payload::CliCommandStarted { command: "import".into(), args: Vec::new() };
        Event::new(Uuid::from_u128(7), Timestamp::EPOCH, "i", clock::this_source("mnemosyne"), payload)
            .with_session("s")
    }

    #[test]
    fn only_the_run_of_a_process_that_is_gone_is_ended_and_once() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::at(home.path().join("data"));
        dir.create().unwrap();
        let (inbox, clock) = (dir.inbox(), FixedClock::at(Timestamp::EPOCH));
        let mark = mark(&inbox, &start()).unwrap();
        assert_eq!(end_killed(&inbox, &clock).unwrap(), 0, "this process runs");
        let own = ProcessStamp::current();
        let gone = inbox.join(format!("{PREFIX}{}-{}-x", own.pid, own.start_ticks + 1));
        std::fs::copy(&mark.path, &gone).unwrap();
        assert_eq!(end_killed(&inbox, &clock).unwrap(), 1);
        assert_eq!(end_killed(&inbox, &clock).unwrap(), 0);
        assert!(!gone.exists());
        mark.clear().unwrap();
        assert_eq!(super::super::waiting(&inbox).unwrap(), 2, "start and end");
    }

    #[test]
    fn the_run_of_another_machine_is_not_judged() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::at(home.path().join("data"));
        dir.create().unwrap();
        let mut elsewhere = start();
        elsewhere.source.host = "elsewhere".into();
        let own = ProcessStamp::current();
        let gone = name_of(ProcessStamp { start_ticks: own.start_ticks + 1, ..own }, elsewhere.id);
        std::fs::write(dir.inbox().join(&gone), frame::encode(&elsewhere.encode()).unwrap()).unwrap();
        assert_eq!(end_killed(&dir.inbox(), &FixedClock::at(Timestamp::EPOCH)).unwrap(), 0);
        assert!(dir.inbox().join(gone).exists());
    }

    #[test]
    fn the_inferred_end_says_that_it_is_inferred_and_belongs_to_its_run() {
        let end = inferred_end(&start(), &FixedClock::at(Timestamp::EPOCH));
        let failed = end.payload_as::<payload::CliCommandFailed>().unwrap().unwrap();
        assert_eq!((failed.command.as_str(), failed.inferred), ("import", Some(true)));
        assert_eq!((end.id, end.causation), (end_id(start().id), Some(start().id)));
        assert_eq!((end.correlation, end.session), (start().correlation, start().session));
    }
}
