//! The commands projection: how often each command ran, how long it took and how it ended, over all time and by day; and
//! the same of agent sessions.
//!
//! **What counts.** A run is what shares a correlation with a command's start or end ([`runs`]); it belongs to the UTC day
//! of its start, by the emitter's clock. A failure that nobody reported is counted apart from those that were. A
//! duration is the one that the command told: of a run without one it is unknown, and not in the figures. A session
//! belongs to the day of its first event and has a duration once it is over ([`spans`]): to its end, or, where the end is
//! inferred, to the latest sign of its agent.
//!
//! **Order.** Figures are sums over what is known of each run and session, and follow when more becomes known
//! ([`figures`]), so the order in which events arrive does not matter, as long as a run's events come after its start
//! or end (one process writes its own events in order).
//!
//! **Bounds.** Totals are exact. Days beyond the latest [`DAYS_KEPT_MAX`] are added up. Runs and sessions stay
//! changeable while they are remembered; what had to leave stays counted as it was (`given_up`, `forgotten`).

pub mod figures;
pub mod runs;
pub mod spans;
pub mod view;

use serde::{Deserialize, Serialize};

use self::figures::{CommandTable, SessionFigures};
use self::runs::{Change, Run, Runs};
use self::spans::Spans;
use super::calendar::{Merge, Period, Periods, UtcDay};
use super::sessions::viewer::Looking;
use super::snapshot::Part;
use super::{Fold, Projection};
use crate::event::{Json, Seq, StoredEvent, Timestamp};

/// Days whose figures are kept apart: a year and a month.
pub const DAYS_KEPT_MAX: usize = 400;

/// The projection's name and rules; its state is [`Commands`].
pub enum CommandsProjection {}

/// The state of the commands projection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// Runs that may still change.
    pub runs: Runs,
    /// Sessions that may still change.
    pub spans: Spans,
    /// Each command over all time.
    pub commands: CommandTable,
    /// Sessions over all time.
    pub sessions: SessionFigures,
    /// Both, a day.
    pub days: Periods<UtcDay, Day, DAYS_KEPT_MAX>,
    /// Events whose payload could not be read; they count nowhere.
    pub unread: u64,
}

/// The figures of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Runs that began on it.
    pub commands: CommandTable,
    /// Sessions that began on it.
    pub sessions: SessionFigures,
}

impl Merge for Day {
    fn merge(&mut self, other: Day) {
        self.commands.merge(other.commands);
        self.sessions.merge(other.sessions);
    }

    fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.sessions.is_empty()
    }
}

impl Projection for CommandsProjection {
    const NAME: &'static str = "commands";
    const SCHEMA: u32 = 4;
    type State = Commands;

    fn parts(state: &Commands) -> Vec<Part> {
        state.spans.parts().cloned().collect()
    }

    fn fill_parts(state: &mut Commands, fill: &mut dyn FnMut(&mut Part) -> bool) -> bool {
        state.spans.fill_parts(fill)
    }

    fn shown(fold: &Fold<Self>, _: &Looking<'_>) -> Option<serde_json::Result<Json>> {
        Some(Ok(view::shown(fold)))
    }

    fn apply(state: &mut Commands, stored: &StoredEvent) {
        match state.runs.take(stored) {
            Ok(change) => change.iter().for_each(|change| state.run_changed(change, stored.seq)),
            Err(_) => state.unread += 1,
        }
        match state.spans.take(stored) {
            Ok(Some(change)) => {
                state.sessions.change(&change, stored.seq);
                if let Some(before) = &change.before {
                    let day = UtcDay::of(before.first.time());
                    state.days.change(day, |day| day.sessions.take_out(before));
                }
                let day = UtcDay::of(change.after.first.time());
                state.days.change(day, |day| day.sessions.put(&change.after, stored.seq));
            }
            Ok(None) => {}
            Err(_) => state.unread += 1,
        }
    }
}

impl Commands {
    fn run_changed(&mut self, change: &Change<Run>, seq: Seq) {
        self.commands.change(change, seq);
        if let Some(before) = &change.before {
            self.days.change(day_of(before), |day| day.commands.take_out(before));
        }
        self.days.change(day_of(&change.after), |day| day.commands.put(&change.after, seq));
    }
}

/// The day of a run; one that only has events without a start and an end cannot be.
fn day_of(run: &Run) -> UtcDay {
    UtcDay::of(run.began().map_or(Timestamp::EPOCH, super::Mark::time))
}

#[cfg(test)]
mod tests;
