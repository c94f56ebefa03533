//! Commands that began and have not ended: a started command always ends, and one that was killed is ended by the next drain.
//!
//! A command puts its own start and end into the inbox; one killed outright leaves only the start. The mark that it leaves
//! beside it ([`running`]) tells that, unless a power cut took the mark. So whoever drains also notes the starts in the
//! journal, strikes them out when their end comes, and ends those whose process is gone: with the same event under the same
//! id as the mark would, so that both ways together end a run once. "Gone" is decided before the inbox is drained for the
//! last time, so an end that the command did write is seen first. A pid that was given again is told by the process's start,
//! which then lies after the command's; but clocks jump, so a process that still has its mark is believed to live.
//!
//! What is open at a close is kept in `index/commands` with the seq up to which it holds; an opening reads the events since,
//! at most [`LOOKBACK`] of them, and without the file that many. Only commands of this machine are judged, at most
//! [`OPEN_MAX`] at a time: the oldest is given up first.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{self, Clock, ProcessStamp};
use crate::config::guard;
use crate::error::Result;
use crate::event::{Event, EventRef, Seq, Timestamp, payload};
use crate::store::inbox::running;
use crate::store::log::{Log, LogItem};

/// Commands that are watched at a time.
const OPEN_MAX: usize = 1024;
/// Events that an opening reads at most to find open ones.
const LOOKBACK: u64 = 10_000;
/// Start times of processes are good to about a second.
const START_SLACK_MICROS: i64 = 2_000_000;
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The commands that are open, by correlation.
#[derive(Default)]
pub(super) struct Commands {
    open: BTreeMap<Uuid, Started>,
    host: String,
}

/// What the start of a command said, as far as its end needs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Started {
    id: Uuid,
    command: String,
    time: Timestamp,
    pid: u32,
    instance: String,
    session: Option<String>,
    agent: Option<String>,
    project: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    journal: String,
    through: u64,
    open: BTreeMap<Uuid, Started>,
}

impl Commands {
    /// What is open in `log`, from the file and the events since.
    pub(super) fn load(file: Option<&Path>, log: &dyn Log) -> Result<Commands> {
        let mut commands = Commands { open: BTreeMap::new(), host: clock::this_source("").host };
        let durable = log.durable().get();
        let saved = file
            .and_then(|file| guard::read(file, FILE_BYTES_MAX).ok())
            .and_then(|bytes| serde_json::from_slice::<Saved>(&bytes).ok())
            .filter(|saved| saved.journal == log.id().to_string() && saved.through <= durable);
        let mut next = 1;
        if let Some(saved) = saved {
            (commands.open, next) = (saved.open, saved.through + 1);
        }
        let mut reader = log.read(Seq::new(next.max((durable + 1).saturating_sub(LOOKBACK)).max(1)));
        while let Some(item) = reader.next()? {
            if let LogItem::Record { payload, .. } = item {
                commands.note(payload);
            }
        }
        Ok(commands)
    }

    /// Keeps what is open for the next opening; failing costs that one some reading.
    pub(super) fn save(&self, file: &Path, log: &dyn Log) {
        let (journal, through) = (log.id().to_string(), log.durable().get());
        let saved = Saved { journal, through, open: self.open.clone() };
        if let Ok(bytes) = serde_json::to_vec(&saved) {
            guard::replace(file, &bytes).ok();
        }
    }

    /// Notes an event in disk form that was appended, if it is about a command.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        let Ok(kind) = EventRef::decode(bytes).map(|event| event.kind) else { return };
        if !matches!(kind, "cli_command_started" | "cli_command_completed" | "cli_command_failed") {
            return;
        }
        let Ok(event) = Event::decode(bytes) else { return };
        let Some(Ok(started)) = event.payload_as::<payload::CliCommandStarted>() else {
            self.open.remove(&event.correlation);
            return;
        };
        if event.source.host != self.host {
            return;
        }
        if self.open.len() >= OPEN_MAX
            && let Some(oldest) = self.open.iter().min_by_key(|(_, open)| open.time).map(|(id, _)| *id)
        {
            self.open.remove(&oldest);
        }
        let Event { id, time, source, instance, session, agent, project, .. } = event;
        let command = started.command;
        let open = Started { id, command, time, pid: source.pid, instance, session, agent, project };
        self.open.insert(event.correlation, open);
    }

    /// Those whose process is gone. Whether they have ended by themselves is known after the next drain.
    pub(super) fn gone(&self, inbox: &Path) -> Vec<Uuid> {
        self.open
            .iter()
            .filter(|(_, started)| started.is_gone(inbox))
            .map(|(correlation, _)| *correlation)
            .collect()
    }

    /// The ends of those of `gone` that are still open.
    pub(super) fn ends(&self, gone: &[Uuid], clock: &dyn Clock) -> Vec<Event> {
        let open = gone.iter().filter_map(|correlation| Some((*correlation, self.open.get(correlation)?)));
        open.map(|(correlation, started)| started.end(correlation, clock)).collect()
    }

    /// Strikes out those whose ends are in the journal.
    pub(super) fn ended(&mut self, gone: &[Uuid]) {
        for correlation in gone {
            self.open.remove(correlation);
        }
    }
}

impl Started {
    fn is_gone(&self, inbox: &Path) -> bool {
        let given_again = |start: Timestamp| start.micros_since(self.time) > START_SLACK_MICROS;
        let marked = || ProcessStamp::of(self.pid).is_some_and(|it| running::is_marked(inbox, it, self.id));
        !clock::exists(self.pid) || (clock::started_at(self.pid).is_some_and(given_again) && !marked())
    }

    fn end(&self, correlation: Uuid, clock: &dyn Clock) -> Event {
        let payload = payload::CliCommandStarted { command: self.command.clone(), args: Vec::new() };
        let source = clock::this_source("mnemosyne");
        let mut start = Event::new(self.id, self.time, self.instance.clone(), source, payload)
            .with_correlation(correlation);
        start.session.clone_from(&self.session);
        start.agent.clone_from(&self.agent);
        start.project.clone_from(&self.project);
        running::inferred_end(&start, clock)
    }
}

#[cfg(test)]
mod tests;
