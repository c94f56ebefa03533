//! Taking events out of the inbox, in order, each exactly once.
//!
//! Files are read in the order of their names and appended in bounded batches at the highest level that the log has; a file is
//! unlinked only when the log says that its event is durable. A crash in between leaves the file and the event, and the next
//! drain finds the id in the journal and unlinks the file: that is why exactly once needs no more than the index of ids.
//!
//! ```text
//! list --> read, verify, find id --> append (no wait) --> taken --> durable --> unlink
//!            \-- damaged: quarantine   \-- known: taken, up to the first one's seq
//! ```
//!
//! The writer drains before every batch, so that what one process put into the inbox goes before what it then emits. Listing
//! a directory for each batch would be felt, so a listing that found nothing is believed as long as the directory's
//! time of modification stands still, once that has been the same for longer than any file system's resolution.

use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::{clear_full, for_each_name, frame, is_event_name};
use super::{meeting, running};
use crate::clock;
use crate::config::{DataDir, guard};
use crate::error::{Error, Result};
use crate::event::{EventRef, Seq, Timestamp};
use crate::store::commands::Commands;
use crate::store::counters::{Counters, Way};
use crate::store::ids::{Hit, Ids};
use crate::store::log::{Appending, Level, Log};

/// Most files in one batch.
const BATCH_FILES_MAX: usize = 512;
/// A batch that has reached this many bytes is full.
const BATCH_BYTES: usize = 1 << 20;
/// Most names that a listing keeps: some MiB of memory whatever the backlog.
const LISTED_MAX: usize = 1 << 16;
/// Most files that may be taken and not yet unlinked.
const TAKEN_MAX: usize = 1 << 16;
/// Longer than the resolution of any file system's time of modification.
const MTIME_RESOLUTION: Duration = Duration::from_secs(2);

/// What a drain did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Events that were appended.
    pub events: u64,
    /// Events that the journal held already.
    pub duplicates: u64,
    /// Files that could not be read and were set aside.
    pub quarantined: u64,
    /// How many of the events and duplicates were put there by this process or the one that started it.
    pub own: u64,
}

impl Drained {
    /// Whether there was nothing at all.
    pub fn is_empty(self) -> bool {
        self == Drained::default()
    }

    /// Whether anything had been waiting: what this process and the one that started it left on their way here is no backlog.
    pub fn is_backlog(self) -> bool {
        self.quarantined > 0 || self.events + self.duplicates > self.own
    }
}

impl std::ops::AddAssign for Drained {
    fn add_assign(&mut self, more: Drained) {
        self.events += more.events;
        self.duplicates += more.duplicates;
        self.quarantined += more.quarantined;
        self.own += more.own;
    }
}

/// The inbox in the hands of the writer.
pub(in crate::store) struct Drain {
    inbox: PathBuf,
    quarantine: PathBuf,
    /// Names that were listed and are not taken yet, in order.
    listed: VecDeque<String>,
    /// Files whose events are in the journal, or on their way.
    taken: VecDeque<Taken>,
    /// Names that a listing must pass over: taken, or impossible to set aside.
    passed: HashSet<String>,
    /// Names of files that are done with and could not be removed, and why the last could not.
    stuck: Vec<String>,
    trouble: Option<Error>,
    /// Files set aside that nobody was told of.
    quarantined: u64,
    /// Whether files may have gone since the mark of a full inbox was looked for.
    room: bool,
    own_pids: [u32; 2],
    quiet: Option<Quiet>,
    /// Present once asked for: what began and has not ended.
    commands: Option<Commands>,
    commands_file: Option<PathBuf>,
    counters: Arc<Counters>,
}

/// One batch whose files still lie in the inbox.
struct Taken {
    names: Vec<String>,
    /// What was appended; nothing if the journal held all of it already, or it is durable by now.
    appending: Option<Appending>,
    /// Duplicates of events that were on their way.
    awaits: Vec<(Uuid, Seq)>,
    /// How many of them were appended, and how many the journal held already.
    committed: u64,
    duplicates: u64,
}

/// What became of the events of a batch.
enum Fate {
    OnItsWay,
    Kept,
    Lost,
}

impl Taken {
    fn fate(&mut self, ids: &Ids) -> Result<Fate> {
        if let Some(appending) = &mut self.appending {
            match Pin::new(appending).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return Ok(Fate::OnItsWay),
                Poll::Ready(Err(_)) => return Ok(Fate::Lost),
                Poll::Ready(Ok(_)) => self.appending = None,
            }
        }
        while let Some((id, seq)) = self.awaits.last() {
            match ids.judge(*id, seq.get())? {
                Some(Hit::OnItsWay(_)) => return Ok(Fate::OnItsWay),
                None => return Ok(Fate::Lost),
                Some(Hit::Durable(_)) => drop(self.awaits.pop()),
            }
        }
        Ok(Fate::Kept)
    }
}

/// Since when the directory looks as it does.
#[derive(Clone, Copy)]
struct Quiet {
    mtime: SystemTime,
    since: Instant,
    empty: bool,
}

impl Drain {
    pub(in crate::store) fn new(dir: &DataDir, counters: Arc<Counters>) -> Drain {
        Drain {
            inbox: dir.inbox(),
            quarantine: dir.quarantine(),
            commands: None,
            commands_file: Some(dir.index().join("commands")),
            listed: VecDeque::new(),
            taken: VecDeque::new(),
            passed: HashSet::new(),
            stuck: Vec::new(),
            trouble: None,
            quarantined: 0,
            room: true,
            own_pids: [std::process::id(), parent_id()],
            quiet: None,
            counters,
        }
    }

    /// Whether files wait for their events to become durable.
    pub(in crate::store) fn has_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Appends everything that lies in the inbox now, without waiting for it to become durable.
    pub(in crate::store) fn take_all(
        &mut self,
        ids: &mut Ids,
        log: &dyn Log,
        now: Timestamp,
    ) -> Result<Drained> {
        let mut drained = Drained::default();
        while let Some(step) = self.take_batch(ids, log, now)? {
            drained += step;
            if self.passed.len() >= TAKEN_MAX {
                log.flush(highest(log)?)?;
                self.unlink_durable(ids)?;
                if self.stuck.len() >= TAKEN_MAX {
                    return self.trouble.take().map_or(Ok(drained), Err);
                }
            }
        }
        Ok(drained)
    }

    /// Appends the next batch, without waiting for it; `None` if nothing lies in the inbox.
    pub(in crate::store) fn take_batch(
        &mut self,
        ids: &mut Ids,
        log: &dyn Log,
        now: Timestamp,
    ) -> Result<Option<Drained>> {
        if self.listed.is_empty() {
            self.list()?;
        }
        if self.listed.is_empty() {
            return Ok(None);
        }
        let mut batch = Batch::default();
        let outcome = self.fill(&mut batch, ids).and_then(|()| batch.append(ids, highest(log)?, now));
        let appending = match outcome.inspect_err(|_| self.list_anew())? {
            Outcome::Appended(appending) => appending,
            Outcome::TakenBack => {
                self.list_anew();
                ids.begin();
                return self.unlink_durable(ids).map(|()| Some(Drained::default()));
            }
        };
        cut_point("appended");
        if let (Some(_), Some(commands)) = (&appending, &mut self.commands) {
            batch.events.iter().for_each(|event| commands.note(event));
        }
        if !batch.names.is_empty() {
            self.passed.extend(batch.names.iter().cloned());
            let Batch { names, awaits, drained: Drained { events, duplicates, .. }, .. } = batch;
            self.taken.push_back(Taken { names, appending, awaits, committed: events, duplicates });
            return Ok(Some(batch.drained));
        }
        Ok(Some(batch.drained))
    }

    /// Unlinks the files whose events are durable, as far as that is so. What the log failed to keep is taken again, in order:
    /// why it failed is met again then, or has passed. A file that cannot be removed stands in nobody's way
    /// ([`Drain::trouble`]).
    ///
    /// [`Ids::begin`] goes before, so that what is taken back after this look is noticed by the next append.
    pub(in crate::store) fn unlink_durable(&mut self, ids: &Ids) -> Result<()> {
        while let Some(taken) = self.taken.front_mut() {
            match taken.fate(ids)? {
                Fate::OnItsWay => return Ok(()),
                Fate::Lost => {
                    for name in &taken.names {
                        self.passed.remove(name);
                    }
                    self.taken.pop_front();
                    self.list_anew();
                    continue;
                }
                Fate::Kept => self.counters.drained(taken.committed, taken.duplicates),
            }
            cut_point("durable");
            for name in taken.names.drain(..) {
                let path = self.inbox.join(&name);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        self.trouble = Some(Error::io("remove", path)(error));
                        self.stuck.push(name);
                    }
                    _ => {
                        self.passed.remove(&name);
                    }
                }
                cut_point("unlinked");
            }
            self.room = true;
            self.taken.pop_front();
        }
        if self.listed.is_empty() && std::mem::take(&mut self.room) {
            clear_full(&self.inbox)
        } else {
            Ok(())
        }
    }

    /// Lets what could not be removed be tried again.
    pub(in crate::store) fn try_stuck_again(&mut self) {
        self.trouble = None;
        if !self.stuck.is_empty() {
            let names = std::mem::take(&mut self.stuck);
            let (appending, awaits) = (None, Vec::new());
            // What became of their events was entered before.
            self.taken.push_back(Taken { names, appending, awaits, committed: 0, duplicates: 0 });
        }
    }

    /// Why a file that is done with is still there, if that is so. Its event is safe, and known when it is met again.
    pub(in crate::store) fn trouble(&mut self) -> Option<Error> {
        self.trouble.take()
    }

    /// How many files were set aside since this was last asked.
    pub(in crate::store) fn quarantined(&mut self) -> u64 {
        std::mem::take(&mut self.quarantined)
    }

    /// Whether the thread that drains has something to do.
    pub(in crate::store) fn wants_attention(&self) -> bool {
        self.has_taken() || self.quarantined > 0 || self.trouble.is_some()
    }

    /// The commands that began and have not ended; read from the log when asked for the first time, which must be before
    /// anything is drained.
    pub(in crate::store) fn commands(&mut self, log: &dyn Log) -> Result<&mut Commands> {
        if self.commands.is_none() {
            self.commands = Some(Commands::load(self.commands_file.as_deref(), log)?);
        }
        Ok(self.commands.get_or_insert_default())
    }

    /// Keeps what the next opening needs.
    pub(in crate::store) fn save(&self, log: &dyn Log) {
        if let (Some(commands), Some(file)) = (&self.commands, &self.commands_file) {
            commands.save(file, log);
        }
    }

    /// Forgets what is known about the directory.
    fn list_anew(&mut self) {
        self.listed.clear();
        self.quiet = None;
    }

    /// Temporary files of processes that died while writing. A whole one gets its name, so that its event is not lost after all;
    /// a torn one was never promised to anybody and goes. With them go the notes that nobody came for.
    pub(in crate::store) fn sweep(&self, now: Timestamp) -> Result<()> {
        for found in std::fs::read_dir(&self.inbox).map_err(Error::io("list", &self.inbox))? {
            let found = found.map_err(Error::io("list", &self.inbox))?;
            let name = found.file_name();
            let Some(name) = name.to_str() else { continue };
            let Some(name) = name.strip_suffix(".tmp") else {
                if meeting::is_note(name) && meeting::is_stale(&found.path(), now) {
                    remove_if_there(&found.path())?;
                }
                continue;
            };
            let ours = is_event_name(name) || running::is_mark(name) || meeting::is_note(name);
            let (true, Some(pid)) = (ours, pid_of(name)) else { continue };
            if clock::exists(pid) {
                continue;
            }
            let whole = is_event_name(name)
                && guard::read(&found.path(), frame::FILE_BYTES_MAX).is_ok_and(|bytes| {
                    frame::decode(&bytes).is_ok_and(|event| EventRef::decode(event).is_ok())
                });
            let (action, swept) = if whole {
                ("rename", std::fs::rename(found.path(), self.inbox.join(name)))
            } else {
                ("remove", std::fs::remove_file(found.path()))
            };
            match swept {
                // Its process had given it its name, and ended, after the directory was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(Error::io(action, found.path()))?,
            }
        }
        Ok(())
    }

    fn fill(&mut self, batch: &mut Batch, ids: &mut Ids) -> Result<()> {
        while batch.names.len() < BATCH_FILES_MAX && batch.bytes < BATCH_BYTES {
            let Some(name) = self.listed.pop_front() else { break };
            let path = self.inbox.join(&name);
            let damage = match guard::read(&path, frame::FILE_BYTES_MAX) {
                Ok(file) => match batch.take(&file, ids)? {
                    None => {
                        batch.drained.own +=
                            u64::from(pid_of(&name).is_some_and(|pid| self.own_pids.contains(&pid)));
                        batch.names.push(name);
                        continue;
                    }
                    Some(damage) => damage.as_str(),
                },
                Err(Error::UnsafePath { .. }) => "unsafe",
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
                Err(Error::Io { source, .. }) if is_about_the_file(&source) => "unreadable",
                // Something that passes: too many open files, no memory.
                Err(error) => return Err(error),
            };
            // Counted here, so that it is told even if this batch fails.
            self.quarantined += 1;
            self.counters.refused(Way::Inbox, "quarantined", 1);
            self.set_aside(&path, &name, damage);
        }
        cut_point("read");
        Ok(())
    }

    /// Keeps a file that is no event. If even that fails, the file is passed over until the next opening.
    fn set_aside(&mut self, path: &Path, name: &str, damage: &str) {
        let kept = guard::make_dir(&self.quarantine).and_then(|_| {
            std::fs::rename(path, self.quarantine.join(format!("{name}.{damage}")))
                .map_err(Error::io("rename", path))
        });
        if kept.is_err() {
            self.passed.insert(name.to_owned());
        }
    }

    /// Lists the smallest names, unless the directory is known to be empty.
    ///
    /// What comes while a directory is listed is in the listing or not, as the file system likes: of two files the later one may
    /// be in it alone. So it is listed twice, and of the second listing nothing is taken that is later than all of the first: what
    /// lay there before a file that the first one found is in the second.
    fn list(&mut self) -> Result<()> {
        let mtime = match std::fs::symlink_metadata(&self.inbox).and_then(|meta| meta.modified()) {
            Ok(mtime) => mtime,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("inspect", &self.inbox)(error)),
        };
        let now = Instant::now();
        let quiet = self.quiet.filter(|quiet| quiet.mtime == mtime);
        if quiet.is_some_and(|quiet| quiet.empty) {
            return Ok(());
        }
        let since = quiet.map_or(now, |quiet| quiet.since);
        let mut smallest = self.smallest(None)?;
        if let Some(latest) = smallest.pop() {
            smallest = self.smallest(Some(&latest))?;
        }
        self.listed = smallest.into_sorted_vec().into();
        let settled = now.duration_since(since) > MTIME_RESOLUTION;
        self.quiet = Some(Quiet { mtime, since, empty: settled && self.listed.is_empty() });
        Ok(())
    }

    /// The smallest names that lie there, none of them after `latest`.
    fn smallest(&self, latest: Option<&str>) -> Result<BinaryHeap<String>> {
        let mut smallest = BinaryHeap::new();
        for_each_name(&self.inbox, |name| {
            if latest.is_none_or(|latest| name <= latest) && !self.passed.contains(name) {
                smallest.push(name.to_owned());
                if smallest.len() > LISTED_MAX {
                    smallest.pop();
                }
            }
            true
        })?;
        Ok(smallest)
    }
}

/// What became of a batch that was to be appended.
enum Outcome {
    /// It is on its way, unless there was nothing in it.
    Appended(Option<Appending>),
    /// What went before it was taken back, and must go first.
    TakenBack,
}

/// A batch being filled.
#[derive(Default)]
struct Batch {
    names: Vec<String>,
    events: Vec<Vec<u8>>,
    ids: Vec<Uuid>,
    awaits: Vec<(Uuid, Seq)>,
    seen: HashSet<Uuid>,
    bytes: usize,
    drained: Drained,
}

impl Batch {
    /// Takes the event of one file; says what is wrong with it if it is none.
    fn take(&mut self, file: &[u8], ids: &mut Ids) -> Result<Option<frame::Damage>> {
        let bytes = match frame::decode(file) {
            Ok(bytes) => bytes,
            Err(damage) => return Ok(Some(damage)),
        };
        let Ok(event) = EventRef::decode(bytes) else { return Ok(Some(frame::Damage::Event)) };
        let id = event.id;
        let hit = ids.find(id)?;
        if let Some(Hit::OnItsWay(seq)) = hit {
            // The file may go only if the first one arrives.
            self.awaits.push((id, seq));
        }
        if hit.is_some() || !self.seen.insert(id) {
            self.drained.duplicates += 1;
        } else {
            self.bytes += bytes.len();
            self.events.push(bytes.to_vec());
            self.ids.push(id);
            self.drained.events += 1;
        }
        Ok(None)
    }

    fn append(&self, ids: &mut Ids, level: Level, now: Timestamp) -> Result<Outcome> {
        if self.events.is_empty() {
            return Ok(Outcome::Appended(None));
        }
        let payloads: Vec<&[u8]> = self.events.iter().map(Vec::as_slice).collect();
        let appending = ids.append(&payloads, self.ids.iter().copied(), level, now)?;
        Ok(appending.map_or(Outcome::TakenBack, |appending| Outcome::Appended(Some(appending))))
    }
}

/// Removes a file; another process may have been quicker.
fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The process that put a file there.
fn pid_of(name: &str) -> Option<u32> {
    name.split('-').nth(1)?.parse().ok()
}

fn parent_id() -> u32 {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    u32::try_from(parent).unwrap_or(0)
}

/// Whether trying the same file again is pointless, so that it must not stand in the way of all others.
fn is_about_the_file(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::IO, Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn highest(log: &dyn Log) -> Result<Level> {
    log.promises().levels.last().copied().ok_or(Error::Closed { reason: "it is open for reading only" })
}

/// Where a test kills the process, to see what that leaves behind.
#[cfg(test)]
fn cut_point(step: &str) {
    if std::env::var("MNEMOSYNE_TEST_CUT").is_ok_and(|at| at == step) {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
}

#[cfg(not(test))]
const fn cut_point(_step: &str) {}
