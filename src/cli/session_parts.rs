//! The parts of `session ID` that can be asked for: turns, calls, files with their changes, failures, the tree of subagents, tokens.

use std::collections::BTreeMap;

use super::Context;
use super::display::{self, Role, Style};
use super::session::{TEXT_COLUMNS, agent_words, fact};
use crate::error::Error;
use crate::projection::sessions::files::Lines;
use crate::projection::sessions::timeline::{Builder, CallItem, Item, Patch, Timeline};
use crate::projection::sessions::turns::{ContextSeries, Turn};
use crate::projection::sessions::view::{AgentView, FailureView, FileView, SessionDetail};
use crate::projection::sessions::viewer::{Cost, Viewer};

/// Which parts to show; without any, `session` shows the timeline.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Parts, instead of the timeline")]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(super) struct Parts {
    /// Its turns: prompt, length, calls, failures, tokens
    #[arg(long)]
    turns: bool,
    /// Its tool calls, and where the time of each went: waiting for you, running, hooks
    #[arg(long)]
    calls: bool,
    /// The files that it read and wrote, with the lines added and removed
    #[arg(long)]
    files: bool,
    /// With --files: every change too, by the tool's own patch
    #[arg(long, requires = "files")]
    diff: bool,
    /// Its failures, by tool and by what their errors have in common
    #[arg(long)]
    failures: bool,
    /// Its subagents, each under the one that made it
    #[arg(long)]
    tree: bool,
    /// Its tokens by model, their cost at your prices, and how full its context was
    #[arg(long)]
    tokens: bool,
}

impl Parts {
    /// Whether any was asked for.
    pub(super) fn any(self) -> bool {
        self.turns || self.calls || self.files || self.failures || self.tree || self.tokens
    }

    /// What reads the timeline that they need.
    pub(super) fn diff(self) -> bool {
        self.diff
    }

    pub(super) fn builder(self) -> Builder {
        if self.diff { Builder::with_patches() } else { Builder::default() }
    }
}

/// Prints the parts that were asked for.
///
/// # Errors
/// As [`super::out::Out::line`].
pub(super) fn print(
    context: &mut Context,
    parts: Parts,
    detail: &SessionDetail,
    timeline: &Timeline,
) -> Result<(), Error> {
    let style = context.out.style();
    let mut lines = Vec::new();
    if parts.turns {
        section(
            &mut lines,
            "turns",
            timeline.turns.iter().zip(1..).map(|(turn, n)| turn_line(n, turn, style)),
        );
    }
    if parts.calls {
        let calls = timeline.items.iter().filter_map(|item| Some((item, item.call.as_ref()?)));
        section(&mut lines, "calls", calls.map(|(item, call)| call_line(item, call, style)));
    }
    if parts.files {
        section(&mut lines, "files", timeline.files.iter().map(file_line));
    }
    for patch in timeline.patches.iter().flatten() {
        lines.push(String::new());
        lines.extend(patch_lines(patch, style));
    }
    if parts.failures {
        section(&mut lines, "failures", detail.failures.iter().map(|failure| failure_line(failure, style)));
    }
    if parts.tree {
        section(&mut lines, "subagents", tree(&detail.agents, &detail.viewer));
    }
    if parts.tokens {
        section(&mut lines, "tokens", token_lines(detail, style));
        section(&mut lines, "context", context_lines(&timeline.context, style));
    }
    for line in lines {
        context.out.line(&line)?;
    }
    if let Some(omitted) = timeline.patches_omitted.filter(|omitted| *omitted > 0) {
        let omitted = display::counted(omitted, "change");
        context.out.warn(&format!("{omitted} more were too many lines to hold and are not shown"));
    }
    if timeline.omitted > 0 {
        let omitted = display::counted(timeline.omitted, "item");
        context
            .out
            .warn(&format!("{omitted} beyond the first are in no turn, no call and no size of the context"));
    }
    Ok(())
}

/// A heading, and what stands under it, or that there is nothing.
fn section(lines: &mut Vec<String>, name: &str, of_it: impl IntoIterator<Item = String>) {
    lines.push(String::new());
    let mut of_it = of_it.into_iter().peekable();
    if of_it.peek().is_none() {
        lines.push(format!("{name}: none on record"));
        return;
    }
    lines.push(format!("{name}:"));
    lines.extend(of_it.map(|line| format!("  {line}")));
}

fn turn_line(n: usize, turn: &Turn, style: Style) -> String {
    let role = match turn.outcome.as_str() {
        "completed" => Role::Dim,
        "open" => Role::Good,
        _ => Role::Bad,
    };
    let length = turn.duration_ms.map(display::duration);
    let failed = (turn.tools_failed > 0).then(|| format!("{} failed", display::count(turn.tools_failed)));
    let tokens = turn.tokens.map(|tokens| format!("{} tokens", display::count(tokens.total())));
    let more = (turn.prompts > 1).then(|| display::counted(turn.prompts, "prompt"));
    let calls = Some(display::counted(turn.tool_calls, "call"));
    let words: Vec<_> = [length, calls, failed, tokens, more].into_iter().flatten().collect();
    let outcome = turn.outcome.replace('_', " ");
    format!(
        "{n:>4}  {}  {}  {}  {}",
        style.paint(Role::Dim, &style.clock(turn.started.time)),
        style.paint(role, &display::cell(&outcome, 9)),
        display::fit(turn.prompt.as_deref().unwrap_or("(no prompt)"), 60),
        style.paint(Role::Dim, &words.join(", ")),
    )
}

fn call_line(item: &Item, call: &CallItem, style: Style) -> String {
    let part =
        |ms: Option<u64>| display::cell_right(&ms.map_or_else(|| "?".to_owned(), display::duration), 10);
    let times = call.times;
    let outcome = call.outcome.as_deref().unwrap_or("no end");
    let role = match call.outcome.as_deref() {
        Some("completed") => Role::Dim,
        None => Role::Waiting,
        Some(_) => Role::Bad,
    };
    format!(
        "{}  {}  {}  total {}  wait {}  run {}  hooks {}",
        style.paint(Role::Dim, &style.clock(item.time)),
        display::cell(&call.tool, 16),
        style.paint(role, &display::cell(outcome, 11)),
        part(times.total_ms),
        part(times.wait_ms),
        part(times.run_ms),
        part(times.hook_ms),
    )
}

/// Lines added and removed, and how many writes are not in them.
pub(super) fn lines_words(lines: Lines, unmeasured: u64) -> String {
    let known = format!("+{} -{}", display::count(lines.added), display::count(lines.removed));
    match unmeasured {
        0 => known,
        n => format!("{known}, and {} of unknown size", display::counted(n, "write")),
    }
}

fn file_line(file: &FileView) -> String {
    let (reads, writes) = (display::counted(file.reads, "read"), display::counted(file.writes, "write"));
    let changed = (file.writes > 0).then(|| format!(", {}", lines_words(file.lines, file.writes_unmeasured)));
    format!("{}  {reads}, {writes}{}", display::visible(&file.path), changed.unwrap_or_default())
}

fn patch_lines(patch: &Patch, style: Style) -> Vec<String> {
    let made = if patch.created { "made by" } else { "by" };
    let path = display::visible(&patch.path);
    let head = format!(
        "{path}  {made} {} at {}, seq {}",
        display::fit(&patch.tool, 40),
        display::local_time(patch.at.time),
        patch.at.seq
    );
    let mut lines = vec![style.paint(Role::Strong, &head)];
    let Some(hunks) = &patch.hunks else {
        lines.push("  the tool gave no patch, or it did not fit the event".to_owned());
        return lines;
    };
    for hunk in hunks {
        let place =
            format!("@@ -{},{} +{},{} @@", hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines);
        lines.push(style.paint(Role::Dim, &place));
        lines.extend(hunk.lines.iter().map(|line| {
            let shown = display::visible(line);
            match line.chars().next() {
                Some('+') => style.paint(Role::Good, &shown),
                Some('-') => style.paint(Role::Bad, &shown),
                _ => shown.into_owned(),
            }
        }));
    }
    lines
}

/// A failure on one line: how often, the tool, what the errors have in common.
pub(super) fn failure_words(failure: &FailureView) -> String {
    let signature = failure.signature.as_deref().unwrap_or("failures of other kinds");
    let tool =
        failure.tool.as_deref().map(|tool| format!("{}: ", display::fit(tool, 40))).unwrap_or_default();
    format!("{} x {tool}{}", display::count(failure.count), display::fit(signature, TEXT_COLUMNS))
}

fn failure_line(failure: &FailureView, style: Style) -> String {
    let words = style.paint(Role::Bad, &failure_words(failure));
    let (Some(first), Some(last), Some(id)) = (failure.first, failure.last, &failure.id) else {
        return words;
    };
    let example = display::fit(failure.example.as_deref().unwrap_or_default(), TEXT_COLUMNS);
    let place = if first.seq == last.seq {
        format!("seq {}", first.seq)
    } else {
        format!("seq {} to {}", first.seq, last.seq)
    };
    format!("{words}  {}\n      {}: {example}", style.paint(Role::Dim, &format!("[{id}] {place}")), "first")
}

/// Subagents, each under its parent.
fn tree(agents: &[AgentView], viewer: &Viewer) -> Vec<String> {
    fn under(
        parent: Option<&str>,
        depth: usize,
        children: &mut BTreeMap<Option<String>, Vec<&AgentView>>,
        viewer: &Viewer,
        lines: &mut Vec<String>,
    ) {
        // Taken out: whoever names itself or its child as its parent is printed once.
        for agent in children.remove(&parent.map(str::to_owned)).unwrap_or_default() {
            lines.push(format!("{}{}", "  ".repeat(depth.min(16)), agent_words(agent, viewer)));
            under(Some(&agent.agent_id), depth + 1, children, viewer, lines);
        }
    }
    let mut children: BTreeMap<Option<String>, Vec<&AgentView>> = BTreeMap::new();
    for agent in agents {
        children.entry(agent.parent.clone()).or_default().push(agent);
    }
    let mut lines = Vec::new();
    under(None, 0, &mut children, viewer, &mut lines);
    // Those whose parent is not kept.
    while let Some(parent) = children.keys().next().cloned() {
        under(parent.as_deref(), 0, &mut children, viewer, &mut lines);
    }
    lines
}

fn token_lines(detail: &SessionDetail, style: Style) -> Vec<String> {
    let mut lines: Vec<_> = detail
        .session
        .models
        .iter()
        .map(|usage| {
            let tokens = usage.tokens;
            let name = if usage.model.is_empty() { "other models" } else { &usage.model };
            format!(
                "{}: {}: {} input, {} output, {} read from cache, {} written to cache (as reported)",
                display::fit(name, 60),
                display::counted(usage.messages, "message"),
                display::count(tokens.input),
                display::count(tokens.output),
                display::count(tokens.cache_read),
                display::count(tokens.cache_creation)
            )
        })
        .collect();
    let without = detail.session.counts.messages - detail.session.counts.messages_with_usage;
    if without > 0 {
        lines.push(format!("{} reported no tokens: unknown", display::counted(without, "message")));
    }
    if !lines.is_empty() {
        lines.push(fact("cost", &cost_words(detail.viewer.costs.first()), style));
    }
    lines
}

fn cost_words(cost: Option<&Cost>) -> String {
    let Some(cost) = cost else {
        return "unknown: no prices in config.toml ([prices.\"MODEL\"], US dollars a million tokens)"
            .to_owned();
    };
    match cost.usd_micros {
        Some(micros) => {
            format!("{}.{:06} US dollars (derived from your prices)", micros / 1_000_000, micros % 1_000_000)
        }
        None if cost.unpriced.is_empty() => "unknown: not all messages reported their tokens".to_owned(),
        None => format!("unknown: no price for {}", display::visible(&cost.unpriced.join(", "))),
    }
}

fn context_lines(context: &ContextSeries, style: Style) -> Vec<String> {
    const BAR_COLUMNS: u64 = 40;
    let peak = context.points.iter().map(|point| point.tokens).max().unwrap_or(0);
    let mut lines: Vec<_> = context
        .points
        .iter()
        .map(|point| {
            let columns = u128::from(point.tokens) * u128::from(BAR_COLUMNS) / u128::from(peak.max(1));
            let bar = "=".repeat(usize::try_from(columns).unwrap_or(0));
            let tokens = display::cell_right(&display::count(point.tokens), 11);
            (point.time, format!("{}  {tokens}  {bar}", style.paint(Role::Dim, &style.clock(point.time))))
        })
        .collect();
    lines.extend(context.compactions.iter().map(|at| {
        let words = format!("compacted: {}", display::fit(&at.text, TEXT_COLUMNS));
        let clock = style.paint(Role::Dim, &style.clock(at.time));
        (at.time, format!("{clock}  {}", style.paint(Role::Waiting, &words)))
    }));
    lines.sort_by_key(|(time, _)| *time);
    lines.into_iter().map(|(_, line)| line).collect()
}
