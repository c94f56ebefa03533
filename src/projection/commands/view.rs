//! What people and programs read of the figures. One form for `stats`, `GET /stats` and the page.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::figures::{CommandFigures, CommandTable, Seqs, SessionFigures};
use crate::event::{Json, Seq};
use crate::projection::Fold;
use crate::projection::calendar::Merge as _;
use crate::projection::histogram::{DurationSummary, basis_points};

/// From which event to which something was counted, in JSON: null where nothing was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The first.
    pub from_seq: Option<Seq>,
    /// The last.
    pub to_seq: Option<Seq>,
}

impl From<Option<Seqs>> for Counted {
    fn from(seqs: Option<Seqs>) -> Counted {
        Counted { from_seq: seqs.map(|seqs| seqs.from), to_seq: seqs.map(|seqs| seqs.to) }
    }
}

/// The figures of one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandView {
    /// Its name; `(others)` for those beyond the names told apart.
    pub command: String,
    /// All runs.
    pub runs: u64,
    /// Of these, without an end on record.
    pub running: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of these, failed, as they reported themselves.
    pub failed: u64,
    /// Of these, gone without a report.
    pub failed_inferred: u64,
    /// Failed of those that ended, both sorts, in hundredths of a percent; null where none has ended.
    pub failure_rate_bp: Option<u64>,
    /// Events of all runs.
    pub events: u64,
    /// Events a run, in hundredths.
    pub events_per_run_hundredths: u64,
    /// The highest importance of them.
    pub importance_max: u8,
    /// How long they took; null where no run told it.
    pub durations: Option<DurationSummary>,
    /// From which event to which this was counted.
    #[serde(flatten)]
    pub seqs: Counted,
}

impl CommandView {
    fn of(command: &str, figures: &CommandFigures) -> CommandView {
        let failed = figures.failed + figures.failed_inferred;
        let ended = figures.completed + failed;
        CommandView {
            command: command.to_owned(),
            runs: figures.runs,
            running: figures.runs.saturating_sub(ended),
            completed: figures.completed,
            failed: figures.failed,
            failed_inferred: figures.failed_inferred,
            failure_rate_bp: basis_points(failed, ended),
            events: figures.events,
            events_per_run_hundredths: hundredths(figures.events, figures.runs),
            importance_max: figures.importances.keys().next_back().copied().unwrap_or(0),
            durations: figures.durations.summary(),
            seqs: figures.seqs.into(),
        }
    }
}

/// `total / n`, times a hundred, rounded to the nearest.
fn hundredths(total: u64, n: u64) -> u64 {
    let (total, n) = (u128::from(total), u128::from(n.max(1)));
    u64::try_from((total * 100 + n / 2) / n).unwrap_or(u64::MAX)
}

/// The commands of a table, the most frequent first.
pub fn commands(table: &CommandTable) -> Vec<CommandView> {
    let rows = table.0.iter().filter(|(_, figures)| figures.runs > 0);
    let mut rows: Vec<_> = rows.map(|(command, figures)| CommandView::of(command, figures)).collect();
    rows.sort_by(|a, b| b.runs.cmp(&a.runs).then_with(|| a.command.cmp(&b.command)));
    rows
}

/// The figures of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsView {
    /// All that began in the range.
    pub sessions: u64,
    /// Of these, without an end on record.
    pub open: u64,
    /// Of these, over, as their agent reported.
    pub ended: u64,
    /// Of these, over, as is inferred.
    pub ended_inferred: u64,
    /// Those that are over, by the agent's own word for why, the most frequent first.
    pub outcomes: Vec<OutcomeView>,
    /// How long those that are over took; null where none is.
    pub durations: Option<DurationSummary>,
    /// From which event to which this was counted.
    #[serde(flatten)]
    pub seqs: Counted,
}

/// How often sessions ended for a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeView {
    /// The agent's own word.
    pub reason: String,
    /// How often.
    pub count: u64,
}

impl SessionsView {
    /// The view of some figures.
    pub fn of(figures: &SessionFigures) -> SessionsView {
        let mut outcomes: Vec<_> = figures
            .reasons
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| OutcomeView { reason: reason.clone(), count: *count })
            .collect();
        outcomes.sort_by_key(|outcome| std::cmp::Reverse(outcome.count));
        SessionsView {
            sessions: figures.sessions,
            open: figures.sessions.saturating_sub(figures.ended + figures.ended_inferred),
            ended: figures.ended,
            ended_inferred: figures.ended_inferred,
            outcomes,
            durations: figures.durations.summary(),
            seqs: figures.seqs.into(),
        }
    }
}

/// Days that people are shown, the latest ones.
const DAYS_SHOWN: usize = 14;

/// The view for people: each command and the sessions over all time, and the latest days in a line each.
pub(super) fn shown(fold: &Fold<super::CommandsProjection>) -> serde_json::Result<Json> {
    let state = fold.state();
    let named = commands(&state.commands).into_iter().map(|row| {
        let mut fields = serde_json::to_value(&row)?;
        if let Json::Object(fields) = &mut fields {
            fields.retain(|name, value| name != "command" && !value.is_null());
        }
        Ok((row.command, fields))
    });
    let days: Vec<_> = state.days.kept.iter().filter(|(_, day)| !day.is_empty()).collect();
    let earlier = days.len().saturating_sub(DAYS_SHOWN);
    let days = days[earlier..].iter().map(|(day, figures)| {
        let sum = |of: fn(&CommandFigures) -> u64| figures.commands.0.values().map(of).sum::<u64>();
        let (runs, failed) = (sum(|it| it.runs), sum(|it| it.failed + it.failed_inferred));
        (day.to_string(), json!({"runs": runs, "failed": failed, "sessions": figures.sessions.sessions}))
    });
    let days: serde_json::Map<_, _> = days.collect();
    let mut shown = json!({
        "commands": named.collect::<serde_json::Result<serde_json::Map<_, _>>>()?,
        "sessions": SessionsView::of(&state.sessions),
        "days": days,
    });
    if earlier > 0 {
        shown["days_before_these"] = earlier.into();
    }
    Ok(shown)
}
