//! What people and programs read of the figures. One form for `stats`, `GET /stats` and the page.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::figures::{CommandFigures, CommandTable, Seqs, SessionFigures};
use crate::event::text::{count, counted, duration, percent};
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

/// The view for people: each command and the sessions over all time in words, and the latest days in a line each.
pub(super) fn shown(fold: &Fold<super::CommandsProjection>) -> Json {
    let state = fold.state();
    let named = commands(&state.commands).into_iter().map(|row| (row.command.clone(), command_words(&row)));
    let days: Vec<_> = state.days.kept.iter().filter(|(_, day)| !day.is_empty()).collect();
    let earlier = days.len().saturating_sub(DAYS_SHOWN);
    let days = days[earlier..].iter().map(|(day, figures)| (day.to_string(), Json::from(day_words(figures))));
    let mut shown = json!({
        "commands": named.collect::<serde_json::Map<_, _>>(),
        "sessions": session_words(&SessionsView::of(&state.sessions)),
        "days": days.collect::<serde_json::Map<_, _>>(),
    });
    if earlier > 0 {
        shown["earlier days"] = count(earlier as u64).into();
    }
    shown
}

fn command_words(row: &CommandView) -> Json {
    let mut ends = vec![(row.completed, "completed"), (row.failed, "failed")];
    ends.extend([(row.failed_inferred, "gone without a word"), (row.running, "without an end yet")]);
    let mut runs = told(row.runs, &ends);
    if let Some(bp) = row.failure_rate_bp.filter(|bp| *bp > 0) {
        let _ = write!(runs, " ({} of those that ended failed)", percent(bp)); // writing to a String cannot fail
    }
    let hundredths = row.events_per_run_hundredths;
    let events = format!(
        "{}, {}.{:02} a run, of importance up to {}",
        count(row.events),
        hundredths / 100,
        hundredths % 100,
        row.importance_max
    );
    with_range(json!({"runs": runs, "took": took(row.durations), "events": events}), row.seqs)
}

fn session_words(view: &SessionsView) -> Json {
    let ends = [(view.open, "open"), (view.ended, "ended"), (view.ended_inferred, "ended, as is inferred")];
    let outcomes = view.outcomes.iter().map(|one| format!("{} {}", count(one.count), one.reason));
    let outcomes = outcomes.collect::<Vec<_>>().join(", ");
    let shown = json!({
        "sessions": told(view.sessions, &ends),
        "ended with": if outcomes.is_empty() { Json::Null } else { outcomes.into() },
        "lasted": took(view.durations),
    });
    with_range(shown, view.seqs)
}

fn day_words(day: &super::Day) -> String {
    let sum = |of: fn(&CommandFigures) -> u64| day.commands.0.values().map(of).sum::<u64>();
    let (runs, sessions) = (sum(|it| it.runs), day.sessions.sessions);
    let failed = match sum(|it| it.failed + it.failed_inferred) {
        0 => "none failed".to_owned(),
        failed => format!("{} failed", count(failed)),
    };
    let mut parts = Vec::new();
    if runs > 0 {
        parts.extend([counted(runs, "run"), failed]);
    }
    if sessions > 0 {
        parts.push(counted(sessions, "session"));
    }
    parts.join(", ")
}

/// All, and what became of them where there is any: `3: 2 completed, 1 failed`.
fn told(all: u64, parts: &[(u64, &str)]) -> String {
    let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n)));
    let parts = parts.collect::<Vec<_>>().join(", ");
    if parts.is_empty() { count(all) } else { format!("{}: {parts}", count(all)) }
}

fn took(durations: Option<DurationSummary>) -> Json {
    let Some(told) = durations else { return Json::Null };
    let [mean, half, most, all] = [told.mean_ms, told.p50_ms, told.p95_ms, told.p99_ms].map(duration);
    let n = count(told.count);
    if told.count == 1 {
        return mean.into();
    }
    format!("{mean} on average of {n}; half at most {half}, 95 % at most {most}, 99 % at most {all}").into()
}

/// With the seqs that it was counted from, and without what is not known.
fn with_range(mut shown: Json, seqs: Counted) -> Json {
    if let Json::Object(fields) = &mut shown {
        fields.retain(|_, value| !value.is_null());
        if let (Some(from), Some(to)) = (seqs.from_seq, seqs.to_seq) {
            fields.insert("seqs".to_owned(), format!("{from} to {to}").into());
        }
    }
    shown
}
