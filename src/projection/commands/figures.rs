//! Figures of runs and sessions: things are put in, and taken out again when more is known of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::runs::{Change, Run};
use super::spans::Span;
use crate::event::Seq;
use crate::projection::calendar::Merge;
use crate::projection::histogram::Histogram;

/// Names of commands told apart in one table; runs of further ones count under [`OTHER_COMMANDS`].
pub const COMMANDS_KEPT_MAX: usize = 128;
/// Stands for all commands beyond those. No command has this name.
pub const OTHER_COMMANDS: &str = "(others)";
/// Reasons of a session's end told apart; further ones count under [`OTHER_REASONS`].
pub const REASONS_KEPT_MAX: usize = 32;
/// Stands for all reasons beyond those.
pub const OTHER_REASONS: &str = "(others)";

/// From which event to which something was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seqs {
    /// The first.
    pub from: Seq,
    /// The last.
    pub to: Seq,
}

impl Seqs {
    /// Notes an event.
    pub fn note(held: &mut Option<Seqs>, seq: Seq) {
        let one = Seqs { from: seq, to: seq };
        Seqs::join(held, Some(one));
    }

    /// Widens a range by another.
    pub fn join(held: &mut Option<Seqs>, other: Option<Seqs>) {
        if let Some(other) = other {
            *held =
                Some(held.map_or(other, |held| Seqs {
                    from: held.from.min(other.from),
                    to: held.to.max(other.to),
                }));
        }
    }
}

/// Figures of the runs of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFigures {
    /// All runs.
    pub runs: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of these, failed, as they reported themselves.
    pub failed: u64,
    /// Of these, gone without a report: failed, as is inferred.
    pub failed_inferred: u64,
    /// Events of all of them.
    pub events: u64,
    /// Durations that were reported.
    pub durations: Histogram,
    /// Runs by the highest importance of their events.
    pub importances: BTreeMap<u8, u64>,
    /// From which event to which.
    pub seqs: Option<Seqs>,
}

impl CommandFigures {
    fn put(&mut self, run: &Run) {
        self.runs += 1;
        self.events += run.events;
        *self.importances.entry(run.importance).or_default() += 1;
        if let Some(end) = run.ended.as_ref().map(|ended| ended.value) {
            *self.count_of_end(end.failed, end.inferred) += 1;
            end.duration_ms.into_iter().for_each(|ms| self.durations.add(ms));
        }
    }

    fn take_out(&mut self, run: &Run) {
        subtract(&mut self.runs, 1);
        subtract(&mut self.events, run.events);
        self.importances.entry(run.importance).and_modify(|held| subtract(held, 1));
        self.importances.retain(|_, runs| *runs > 0);
        if let Some(end) = run.ended.as_ref().map(|ended| ended.value) {
            subtract(self.count_of_end(end.failed, end.inferred), 1);
            end.duration_ms.into_iter().for_each(|ms| self.durations.remove(ms));
        }
    }

    fn count_of_end(&mut self, failed: bool, inferred: bool) -> &mut u64 {
        match (failed, inferred) {
            (false, _) => &mut self.completed,
            (true, false) => &mut self.failed,
            (true, true) => &mut self.failed_inferred,
        }
    }
}

impl Merge for CommandFigures {
    fn merge(&mut self, other: CommandFigures) {
        self.runs += other.runs;
        self.completed += other.completed;
        self.failed += other.failed;
        self.failed_inferred += other.failed_inferred;
        self.events += other.events;
        self.durations.merge(&other.durations);
        add_all(&mut self.importances, other.importances);
        Seqs::join(&mut self.seqs, other.seqs);
    }

    fn is_empty(&self) -> bool {
        self.runs == 0
    }
}

/// Figures of commands, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandTable(pub BTreeMap<String, CommandFigures>);

impl CommandTable {
    /// Puts a run in as it is now, because of the event at `seq`.
    pub fn put(&mut self, run: &Run, seq: Seq) {
        let figures = self.entry(&run.command);
        figures.put(run);
        Seqs::note(&mut figures.seqs, seq);
    }

    /// Takes a run out as it was put in.
    pub fn take_out(&mut self, run: &Run) {
        let figures = self.entry(&run.command);
        figures.take_out(run);
    }

    /// Both, where the run stays in this table.
    pub fn change(&mut self, change: &Change<Run>, seq: Seq) {
        if let Some(before) = &change.before {
            self.take_out(before);
        }
        self.put(&change.after, seq);
    }

    fn entry(&mut self, command: &str) -> &mut CommandFigures {
        let is_full = self.0.len() >= COMMANDS_KEPT_MAX && !self.0.contains_key(command);
        self.0.entry(if is_full { OTHER_COMMANDS } else { command }.to_owned()).or_default()
    }
}

impl Merge for CommandTable {
    fn merge(&mut self, other: CommandTable) {
        for (command, figures) in other.0 {
            self.entry(&command).merge(figures);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.values().all(Merge::is_empty)
    }
}

/// Figures of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFigures {
    /// All sessions.
    pub sessions: u64,
    /// Of these, over, as their agent reported.
    pub ended: u64,
    /// Of these, over, as is inferred.
    pub ended_inferred: u64,
    /// Those that are over, by the agent's own word for why.
    pub reasons: BTreeMap<String, u64>,
    /// How long those that are over took: see [`Span::duration_ms`].
    pub durations: Histogram,
    /// From which event to which.
    pub seqs: Option<Seqs>,
}

impl SessionFigures {
    /// Puts a session in as it is now, because of the event at `seq`.
    pub fn put(&mut self, span: &Span, seq: Seq) {
        self.sessions += 1;
        Seqs::note(&mut self.seqs, seq);
        let (Some(over), Some(ms)) = (span.over(), span.duration_ms()) else { return };
        *self.count_of_end(over.value.inferred) += 1;
        self.durations.add(ms);
        let is_full =
            self.reasons.len() >= REASONS_KEPT_MAX && !self.reasons.contains_key(&over.value.reason);
        let reason = if is_full { OTHER_REASONS } else { &over.value.reason };
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
    }

    /// Takes a session out as it was put in.
    pub fn take_out(&mut self, span: &Span) {
        subtract(&mut self.sessions, 1);
        let (Some(over), Some(ms)) = (span.over(), span.duration_ms()) else { return };
        subtract(self.count_of_end(over.value.inferred), 1);
        self.durations.remove(ms);
        // A reason keeps its row when it has no session left, so that each is taken out of where it was put in.
        let reason = &over.value.reason;
        let reason = if self.reasons.contains_key(reason) { reason } else { OTHER_REASONS };
        self.reasons.entry(reason.to_owned()).and_modify(|held| subtract(held, 1));
    }

    /// Both, where the session stays in these figures.
    pub fn change(&mut self, change: &Change<Span>, seq: Seq) {
        if let Some(before) = &change.before {
            self.take_out(before);
        }
        self.put(&change.after, seq);
    }

    fn count_of_end(&mut self, inferred: bool) -> &mut u64 {
        if inferred { &mut self.ended_inferred } else { &mut self.ended }
    }
}

impl Merge for SessionFigures {
    fn merge(&mut self, other: SessionFigures) {
        self.sessions += other.sessions;
        self.ended += other.ended;
        self.ended_inferred += other.ended_inferred;
        for (reason, count) in other.reasons {
            let is_full = self.reasons.len() >= REASONS_KEPT_MAX && !self.reasons.contains_key(&reason);
            *self.reasons.entry(if is_full { OTHER_REASONS.to_owned() } else { reason }).or_default() +=
                count;
        }
        self.durations.merge(&other.durations);
        Seqs::join(&mut self.seqs, other.seqs);
    }

    fn is_empty(&self) -> bool {
        self.sessions == 0
    }
}

fn subtract(held: &mut u64, n: u64) {
    *held = held.saturating_sub(n);
}

fn add_all<K: Ord>(held: &mut BTreeMap<K, u64>, other: BTreeMap<K, u64>) {
    for (key, count) in other {
        *held.entry(key).or_default() += count;
    }
}
