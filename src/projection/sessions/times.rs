//! Where the time of a tool call went: waiting for the user, running, and the rest, which is hooks and the agent's own work.
//!
//! Two moments are the recorder's: the start and the end of the call. The time of running is the agent's report; it holds neither
//! hooks nor the time at which the user was asked. When the user answered is told by nobody: the wait is what lies between
//! the question and the beginning of the run, counted back from the end. What cannot be known is none, not zero.

use serde::{Deserialize, Serialize};

use super::state::{Call, Outcome};
use crate::projection::Mark;

/// Tools whose call is itself a question to the user: it waits for as long as it is open.
pub(super) fn asks_user(tool: &str) -> bool {
    matches!(tool, "AskUserQuestion" | "ExitPlanMode")
}

/// How long a call ran, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// As the agent reported it.
    Reported(u64),
    /// The time of the end minus the time of the start: it holds waiting and hooks too.
    Derived(u64),
}

impl Ran {
    /// The milliseconds.
    pub fn ms(self) -> u64 {
        match self {
            Ran::Reported(ms) | Ran::Derived(ms) => ms,
        }
    }

    /// `reported` or `derived`.
    pub fn origin(self) -> &'static str {
        match self {
            Ran::Reported(_) => "reported",
            Ran::Derived(_) => "derived",
        }
    }
}

/// The parts of a call's time, in milliseconds. `run` is reported, the others are derived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// From its start to its end.
    pub total_ms: Option<u64>,
    /// It waited for the user; null where no question is on record, or its length cannot be told.
    pub wait_ms: Option<u64>,
    /// It ran, as the agent reported; null where it did not.
    pub run_ms: Option<u64>,
    /// The rest: hooks, and the agent's own work around the call.
    pub hook_ms: Option<u64>,
}

/// What is known of a call's time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times<'a> {
    pub(super) tool: &'a str,
    pub(super) started: Option<Mark>,
    pub(super) ended: Option<Mark>,
    pub(super) asked: Option<Mark>,
    pub(super) reported_ms: Option<u64>,
    pub(super) denied: bool,
}

impl Times<'_> {
    /// How long it ran, as far as its events tell. A call that was not allowed did not run.
    pub(super) fn ran(self) -> Option<Ran> {
        let ended = self.ended.filter(|_| !self.denied)?;
        match (self.reported_ms, self.started) {
            (Some(ms), _) => Some(Ran::Reported(ms)),
            (None, Some(started)) => Some(Ran::Derived(ended.millis_since(started))),
            (None, None) => None,
        }
    }

    /// The parts of its time.
    pub(super) fn split(self) -> Split {
        let Some(ended) = self.ended else { return Split::default() };
        let total_ms = self.started.map(|started| ended.millis_since(started));
        let run_ms = self.reported_ms.filter(|_| !self.denied);
        let wait_ms = if asks_user(self.tool) {
            total_ms
        } else {
            // Without a report the time of running cannot be told from the time of waiting; one that was not allowed did not run.
            let run = if self.denied { Some(0) } else { run_ms };
            self.asked.zip(run).map(|(asked, run)| ended.millis_since(asked).saturating_sub(run))
        };
        let rest = |(total, run): (u64, u64)| total.saturating_sub(run).saturating_sub(wait_ms.unwrap_or(0));
        let hook_ms = if asks_user(self.tool) || self.denied { None } else { total_ms.zip(run_ms).map(rest) };
        Split { total_ms, wait_ms, run_ms, hook_ms }
    }
}

impl Call {
    fn times(&self) -> Times<'_> {
        Times {
            tool: &self.tool,
            started: self.started,
            ended: self.ended.as_ref().map(|ended| ended.mark),
            asked: self.asked,
            reported_ms: self.reported_ms,
            denied: self.ended.as_ref().is_some_and(|ended| ended.value == Outcome::Denied),
        }
    }

    /// How long it ran, as far as its events tell. A call that was not allowed did not run.
    pub fn ran(&self) -> Option<Ran> {
        self.times().ran()
    }

    /// Where its time went.
    pub fn split(&self) -> Split {
        self.times().split()
    }
}

/// Milliseconds of the calls of a session, by who says so and what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) reported: u64,
    pub(super) derived: u64,
    pub(super) wait: u64,
    pub(super) hook: u64,
}

impl Sums {
    pub(super) fn add(&mut self, more: Sums) {
        let add = |held: &mut u64, more: u64| *held = held.saturating_add(more);
        add(&mut self.reported, more.reported);
        add(&mut self.derived, more.derived);
        add(&mut self.wait, more.wait);
        add(&mut self.hook, more.hook);
    }

    /// What one call, as it is known now, adds.
    pub(super) fn of(call: &Call) -> Sums {
        if call.ended.is_none() {
            return Sums::default();
        }
        let (ran, split) = (call.ran(), call.split());
        let derived = if let Some(Ran::Derived(ms)) = ran { ms } else { 0 };
        Sums {
            reported: split.run_ms.unwrap_or(0),
            derived,
            wait: split.wait_ms.unwrap_or(0),
            hook: split.hook_ms.unwrap_or(0),
        }
    }
}
