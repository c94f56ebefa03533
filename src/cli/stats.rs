//! `stats`: the history in figures: how often commands ran and how long, sessions and how they ended, what failed, tokens.
//!
//! It reads the journal itself, with a server or without one, and counts with the same code as `GET /stats`, so both
//! say the same. What is not known is shown as `-`, never as 0.

use super::display::{self, Role};
use super::sessions::outcome;
use super::table::{Cell, Table};
use super::{Context, Outcome, elsewhere, events};
use crate::answers::when;
use crate::error::Error;
use crate::event::Place;
use crate::projection::commands::view::{CommandView, Counted};
use crate::projection::health::view::RateView;
use crate::projection::histogram::DurationSummary;
use crate::projection::stats::view::{self, FiguresView, StatsView, TokenCounts, Topic};
use crate::projection::stats::{By, Group, Query, count};

/// Which figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// Runs of commands: how often, how long, how many failed
    Commands,
    /// Agent sessions: how many, how long, how they ended
    Sessions,
    /// What failed, and what the recorder told of itself
    Health,
    /// Tokens by model, as the provider reported them
    Tokens,
}

/// What to break them down by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The hour in UTC at which it happened
    Hour,
    /// The day in UTC on which it happened
    Day,
    /// The agent session
    Session,
    /// The project
    Project,
}

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only these figures
    #[arg(value_enum, value_name = "WHICH")]
    which: Option<Which>,
    /// Only what was recorded at or after this time: 2026-11-22T10:00:00Z, 2026-11-22, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was recorded at or before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Break them down
    #[arg(long, value_enum, value_name = "PART")]
    by: Option<Part>,
}

/// Runs it.
///
/// # Errors
/// A wrong argument, no data directory, a journal that cannot be read.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let now = context.now();
    let since = args.since.map(|text| when::parse("--since", &text, now)).transpose()?;
    let until = args.until.map(|text| when::parse("--until", &text, now)).transpose()?;
    when::ordered(since.map(Place::Time), until.map(Place::Time))?;
    let query = Query { since, until, by: args.by.map(By::from) };
    let topic = args.which.map(Topic::from);
    if let Some(server) = context.elsewhere()? {
        return elsewhere::stats(&query, topic, &server, context);
    }
    let opened = events::open(context)?;
    let (stats, progress) = count(&opened, opened.first(), &query)?;
    let stats = view::stats(&stats, &progress, &query, topic);
    if context.out.is_json() {
        context.out.json(&stats)?;
    } else {
        print(context, &stats)?;
    }
    let unread = stats.unreadable - progress.undecodable;
    if unread > 0 {
        let events = display::counted(unread, "event");
        context.out.warn(&format!("{events} of a known kind cannot be read and count as events only"));
    }
    Ok(outcome(context, &progress, display::counted(stats.total.events, "event")))
}

impl From<Which> for Topic {
    fn from(which: Which) -> Topic {
        match which {
            Which::Commands => Topic::Commands,
            Which::Sessions => Topic::Sessions,
            Which::Health => Topic::Health,
            Which::Tokens => Topic::Tokens,
        }
    }
}

impl From<Part> for By {
    fn from(part: Part) -> By {
        match part {
            Part::Hour => By::Hour,
            Part::Day => By::Day,
            Part::Session => By::Session,
            Part::Project => By::Project,
        }
    }
}

/// Figures with the words that name their group; none where there are no groups.
type Row<'a> = (Option<String>, &'a FiguresView);

pub(super) fn print(context: &mut Context, stats: &StatsView) -> Result<(), Error> {
    let Counted { from_seq: Some(from), to_seq: Some(to) } = stats.total.seqs else {
        context.out.note("nothing was recorded in this range");
        return Ok(());
    };
    let events = display::counted(stats.total.events, "event");
    let head = format!("{events}, seq {from} to {to}");
    context.out.line(&context.out.style().paint(Role::Dim, &head))?;
    let rows: Vec<Row<'_>> = match &stats.groups {
        None => vec![(None, &stats.total)],
        Some(groups) => groups.iter().map(|group| (Some(words_of(&group.key)), &group.figures)).collect(),
    };
    let by = stats.by.as_deref().map(head_of);
    section(context, "Commands", "no command has run", commands(&rows, by))?;
    section(context, "Sessions", "no session has begun", sessions(&rows, by))?;
    section(context, "Failures", "nothing has ended", rates(&rows, by))?;
    section(context, "Recorder", "nothing was told", own(&rows, by))?;
    section(context, "Tokens", "no model message is on record", tokens(&rows, by))
}

/// A table under its name; a note where it has no row; nothing where it was not asked for.
fn section(context: &mut Context, name: &str, nothing: &str, table: Option<Table>) -> Result<(), Error> {
    let Some(table) = table else { return Ok(()) };
    if table.is_empty() {
        context.out.note(&format!("{name}: {nothing} in this range"));
        return Ok(());
    }
    let style = context.out.style();
    context.out.line("")?;
    context.out.line(&style.paint(Role::Strong, name))?;
    table.lines(style).iter().try_for_each(|line| context.out.line(line))
}

fn words_of(group: &Group) -> String {
    match group {
        Group::Hour(hour) => hour.to_string(),
        Group::Day(day) => day.to_string(),
        Group::Named(name) => name.clone(),
        Group::Unnamed => UNKNOWN.to_owned(),
        Group::Others => "(others)".to_owned(),
    }
}

const UNKNOWN: &str = "-";

fn head_of(by: &str) -> &'static str {
    match by {
        "hour" => "HOUR (UTC)",
        "day" => "DAY (UTC)",
        "session" => "SESSION",
        _ => "PROJECT",
    }
}

/// A table with the column of the groups before the others.
fn table(by: Option<&'static str>, heads: &[&'static str]) -> Table {
    Table::new(by.into_iter().chain(heads.iter().copied()))
}

fn commands(rows: &[Row<'_>], by: Option<&'static str>) -> Option<Table> {
    let heads = [
        "COMMAND",
        "RUNS",
        "RUNNING",
        "DONE",
        "FAILED",
        "INFERRED",
        "RATE",
        "EVENTS/RUN",
        "MEAN",
        "P50",
        "P95",
        "P99",
        "IMP",
        "SEQS",
    ];
    let mut shown = table(by, &heads);
    for (group, figures) in rows {
        for command in figures.commands.as_ref()? {
            shown.row(group.iter().map(Cell::words).chain(command_cells(command)));
        }
    }
    Some(shown)
}

fn command_cells(command: &CommandView) -> Vec<Cell> {
    let hundredths = command.events_per_run_hundredths;
    let mut cells = vec![
        Cell::words(&command.command).role(Role::Strong),
        Cell::count(command.runs),
        Cell::count(command.running),
        Cell::count(command.completed),
        Cell::bad(command.failed),
        Cell::bad(command.failed_inferred),
        share(command.failure_rate_bp),
        Cell::number(format!("{}.{:02}", hundredths / 100, hundredths % 100)),
    ];
    cells.extend(durations(command.durations));
    cells.extend([Cell::count(command.importance_max.into()), seqs(command.seqs)]);
    cells
}

fn sessions(rows: &[Row<'_>], by: Option<&'static str>) -> Option<Table> {
    let heads = ["SESSIONS", "OPEN", "ENDED", "INFERRED", "MEAN", "P50", "P95", "P99", "OUTCOMES", "SEQS"];
    let mut shown = table(by, &heads);
    for (group, figures) in rows {
        let sessions = figures.sessions.as_ref()?;
        if sessions.sessions == 0 {
            continue;
        }
        let outcomes =
            sessions.outcomes.iter().map(|outcome| format!("{} {}", outcome.count, outcome.reason));
        let outcomes = outcomes.collect::<Vec<_>>().join(", ");
        let mut cells: Vec<Cell> = group.iter().map(Cell::words).collect();
        cells.extend(
            [sessions.sessions, sessions.open, sessions.ended, sessions.ended_inferred].map(Cell::count),
        );
        cells.extend(durations(sessions.durations));
        cells.extend([
            Cell::words(if outcomes.is_empty() { UNKNOWN } else { &outcomes }),
            seqs(sessions.seqs),
        ]);
        shown.row(cells);
    }
    Some(shown)
}

fn rates(rows: &[Row<'_>], by: Option<&'static str>) -> Option<Table> {
    let mut shown = table(by, &["WHAT", "ENDED", "FAILED", "RATE", "SEQS"]);
    for (group, figures) in rows {
        let health = figures.health.as_ref()?;
        let rates = [
            ("tool calls", health.rates.tool_calls),
            ("turns", health.rates.turns),
            ("commands", health.rates.commands),
            ("webhooks", health.rates.webhooks),
        ];
        for (what, RateView { ended, failed, failed_bp }) in rates {
            if ended > 0 {
                let cells = [
                    Cell::words(what).role(Role::Strong),
                    Cell::count(ended),
                    Cell::bad(failed),
                    share(failed_bp),
                    seqs(health.rates_range),
                ];
                shown.row(group.iter().map(Cell::words).chain(cells));
            }
        }
    }
    Some(shown)
}

fn own(rows: &[Row<'_>], by: Option<&'static str>) -> Option<Table> {
    let mut shown = table(by, &["EVENT", "COUNT", "SEQS"]);
    for (group, figures) in rows {
        let health = figures.health.as_ref()?;
        for own in &health.own {
            let cells = [
                Cell::words(own.kind.clone()).role(Role::Strong),
                Cell::count(own.count),
                seqs(health.own_range),
            ];
            shown.row(group.iter().map(Cell::words).chain(cells));
        }
    }
    Some(shown)
}

fn tokens(rows: &[Row<'_>], by: Option<&'static str>) -> Option<Table> {
    let heads =
        ["MODEL", "MESSAGES", "KNOWN", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITTEN", "TOTAL", "SEQS"];
    let mut shown = table(by, &heads);
    for (group, figures) in rows {
        for model in &figures.tokens.as_ref()?.models {
            shown.row(group.iter().map(Cell::words).chain(token_cells(&model.model, &model.counts)));
        }
    }
    Some(shown)
}

fn token_cells(model: &str, counts: &TokenCounts) -> Vec<Cell> {
    let amounts = match &counts.tokens {
        Some(tokens) => {
            [tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation, tokens.total()]
                .map(Cell::count)
        }
        None => [(); 5].map(|()| Cell::number(UNKNOWN)),
    };
    let name = [Cell::words(model).role(Role::Strong), Cell::count(counts.messages)];
    let known = [Cell::count(counts.messages_with_usage)];
    name.into_iter().chain(known).chain(amounts).chain([seqs(counts.seqs)]).collect()
}

fn durations(summary: Option<DurationSummary>) -> [Cell; 4] {
    let Some(told) = summary else { return [(); 4].map(|()| Cell::number(UNKNOWN)) };
    [told.mean_ms, told.p50_ms, told.p95_ms, told.p99_ms].map(|ms| Cell::number(display::duration(ms)))
}

/// A share in percent.
fn share(basis_points: Option<u64>) -> Cell {
    Cell::number(basis_points.map_or(UNKNOWN.to_owned(), display::percent))
}

fn seqs(counted: Counted) -> Cell {
    let words = match (counted.from_seq, counted.to_seq) {
        (Some(from), Some(to)) if from == to => from.to_string(),
        (Some(from), Some(to)) => format!("{from}-{to}"),
        _ => UNKNOWN.to_owned(),
    };
    Cell::words(words)
}
