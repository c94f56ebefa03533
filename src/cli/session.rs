//! `session ID`: one session from its beginning to its end: what it is, what was counted, and its timeline with tool
//! calls at their start, their durations, failures, subagents indented, and tokens.

use super::display::{self, Role, Style};
use super::notes::Noted;
use super::session_parts::{self, Parts};
use super::sessions::{asked_words, folded, outcome, state_words};
use super::{Context, Outcome, elsewhere};
use crate::answers::{Whole, find};
use crate::error::Error;
use crate::event::{Kind, Seq};
use crate::projection::sessions::look;
use crate::projection::sessions::makers::Known;
use crate::projection::sessions::timeline::{CallItem, Item, Timeline};
use crate::projection::sessions::view::{AgentView, SessionDetail, SessionView};
use crate::projection::sessions::viewer::{Presumed, Viewer};

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The session: its id, or the beginning of it that no other shares
    #[arg(value_name = "ID")]
    session: String,
    /// Instead of the timeline, the parts that are named here
    #[command(flatten)]
    parts: Parts,
}

/// Columns of a line of text in the timeline.
pub(super) const TEXT_COLUMNS: usize = 100;

/// Runs it.
///
/// # Errors
/// [`Error::NotFound`] when no session begins with the id, [`Error::Usage`] when several do.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let Args { session, parts } = args;
    if let Some(server) = context.elsewhere()? {
        return elsewhere::session(&session, parts, &server, context);
    }
    let folded = folded(context)?;
    let found = find(&folded, &session)?;
    let (found, timeline, progress) = look::timeline(&folded.view, found, parts.builder())?;
    let detail = folded.detail(&found);
    let first = Seq::new(found.session.seq_first);
    let noted = |context: &Context| Noted::beside_lines(first, &folded.view, context);
    show(context, parts, &detail, &timeline, noted)?;
    Ok(outcome(context, &progress, display::counted(timeline.items.len() as u64, "item")))
}

/// Shows a session, wherever it comes from. `noted` is asked for the notes where they are shown.
pub(super) fn show(
    context: &mut Context,
    parts: Parts,
    detail: &SessionDetail,
    timeline: &Timeline,
    noted: impl FnOnce(&Context) -> Result<Noted, Error>,
) -> Result<(), Error> {
    if context.out.is_json() {
        context.out.json(&Whole::of(detail, timeline))
    } else if parts.any() {
        let style = context.out.style();
        for line in head(&detail.session, &detail.viewer, style) {
            context.out.line(&line)?;
        }
        session_parts::print(context, parts, detail, timeline)
    } else {
        let noted = noted(context)?;
        print(context, detail, timeline, &noted)
    }
}

fn print(
    context: &mut Context,
    detail: &SessionDetail,
    timeline: &Timeline,
    noted: &Noted,
) -> Result<(), Error> {
    let style = context.out.style();
    for line in head(&detail.session, &detail.viewer, style) {
        context.out.line(&line)?;
    }
    for failure in &detail.failures {
        let text = session_parts::failure_words(failure);
        context.out.line(&fact("failure", &style.paint(Role::Bad, &text), style))?;
    }
    for agent in &detail.agents {
        context.out.line(&fact("subagent", &agent_words(agent, &detail.viewer), style))?;
    }
    let mut day = String::new();
    for item in &timeline.items {
        let of_item = display::local_day(item.time);
        if of_item != day {
            context.out.line("")?;
            context.out.line(&style.paint(Role::Dim, &of_item))?;
            day = of_item;
        }
        context.out.line(&line_of(item, style))?;
        noted.beside(&mut context.out, item.seq)?;
        let end = item.call.as_ref().and_then(|call| call.ended).map(|end| end.seq);
        end.filter(|end| *end != item.seq).map_or(Ok(()), |end| noted.beside(&mut context.out, end))?;
    }
    if timeline.omitted > 0 {
        let omitted = display::counted(timeline.omitted, "item");
        context.out.note(&format!(
            "{omitted} beyond the first are left out: `mnemosyne events --session` prints them"
        ));
    }
    Ok(())
}

pub(super) fn fact(name: &str, value: &str, style: Style) -> String {
    format!("{}  {value}", style.paint(Role::Dim, &display::cell(name, 9)))
}

fn head(session: &SessionView, viewer: &Viewer, style: Style) -> Vec<String> {
    let now = viewer.now;
    let (state, role) = state_words(session, viewer);
    let state = style.paint(role, state);
    let state = match (&session.ended, viewer.presumes(&session.id), asked_words(session)) {
        (None, Some(Presumed::ProcessGone), _) => {
            format!("{state} (inferred: its process is gone and no end was reported)")
        }
        (None, Some(Presumed::Silence), _) => {
            format!("{state} (inferred: no sign for {})", display::age(session.last_seen.time, now))
        }
        (Some(end), ..) => {
            let inferred = if end.inferred { ", inferred" } else { "" };
            let reason = display::visible(&end.reason);
            format!("{state} ({reason}{inferred}) {}", display::local_time(end.time))
        }
        (None, None, Some(asked)) => format!("{state} for you: {}", display::fit(&asked, TEXT_COLUMNS)),
        (None, None, None) => state,
    };
    let started = display::local_time(session.started.time);
    let started = match (&session.source, session.started.reported) {
        (Some(source), true) => format!("{started} ({})", display::visible(source)),
        _ => format!("{started} (its first event; no start was reported)"),
    };
    let last = format!(
        "{} ({} ago)",
        display::local_time(session.last_seen.time),
        display::age(session.last_seen.time, now)
    );
    let mut lines = vec![
        fact("session", &style.paint(Role::Strong, &display::visible(&session.id)), style),
        fact("state", &state, style),
    ];
    let optional = [
        ("project", &session.project),
        ("cwd", &session.cwd),
        ("model", &session.model),
        ("title", &session.title),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            lines.push(fact(name, &display::fit(value, TEXT_COLUMNS), style));
        }
    }
    lines.push(fact("started", &started, style));
    lines.push(fact("last seen", &last, style));
    lines.push(fact("counts", &counts_words(session), style));
    lines.push(fact("tools", &tools_words(session), style));
    lines.extend(files_words(session).map(|words| fact("files", &words, style)));
    lines.push(fact("tokens", &tokens_words(session), style));
    if session.partial {
        lines.push(fact("note", "earlier events are not in these counts", style));
    }
    lines
}

fn counts_words(session: &SessionView) -> String {
    let counts = &session.counts;
    let words = [
        (counts.prompts, "prompt"),
        (counts.turns, "turn"),
        (counts.turns_failed, "failed turn"),
        (counts.messages, "model message"),
        (counts.agents, "subagent"),
        (counts.permissions_requested, "permission request"),
        (counts.compactions, "compaction"),
        (counts.notifications, "notification"),
    ];
    let words: Vec<_> =
        words.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| display::counted(n, what)).collect();
    if words.is_empty() { display::counted(session.events, "event") } else { words.join(", ") }
}

fn tools_words(session: &SessionView) -> String {
    let counts = &session.counts;
    let mut words = vec![display::counted(counts.tool_calls, "call")];
    let more = [
        (counts.tools_failed, "failed"),
        (counts.tools_interrupted, "of these interrupted"),
        (counts.tools_denied, "denied"),
        (session.open_calls, "running"),
        (session.unfinished_calls, "unfinished"),
        (counts.tools_lost, "no longer followed"),
    ];
    words.extend(
        more.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", display::count(n))),
    );
    for (ms, origin) in
        [(counts.tool_ms_reported, "as reported"), (counts.tool_ms_derived, "derived from their two ends")]
    {
        if ms > 0 {
            words.push(format!("{} {origin}", display::duration(ms)));
        }
    }
    words.join(", ")
}

fn files_words(session: &SessionView) -> Option<String> {
    let files = &session.files;
    (files.reads + files.writes > 0).then(|| {
        format!(
            "{}, {}: {}",
            display::counted(files.reads, "read"),
            display::counted(files.writes, "write"),
            session_parts::lines_words(files.lines, files.writes_unmeasured)
        )
    })
}

fn tokens_words(session: &SessionView) -> String {
    let Some(tokens) = session.tokens else {
        return "unknown: no message on record reports its usage".to_owned();
    };
    format!(
        "{} input, {} output, {} read from cache, {} written to cache (as reported)",
        display::count(tokens.input),
        display::count(tokens.output),
        display::count(tokens.cache_read),
        display::count(tokens.cache_creation)
    )
}

pub(super) fn agent_words(agent: &AgentView, viewer: &Viewer) -> String {
    let kind = agent.agent_type.as_deref().unwrap_or("of unknown type");
    let name = format!("{} ({})", display::fit(&agent.agent_id, 40), display::fit(kind, 40));
    let failed = (agent.tools_failed > 0).then(|| format!("{} failed", display::count(agent.tools_failed)));
    let tokens = agent.tokens.map(|tokens| format!("{} tokens", display::count(tokens.total())));
    let inferred = if agent.parent_origin == Some(Known::Inferred) { ", as it seems" } else { "" };
    let parent =
        agent.parent.as_ref().map(|parent| format!("made by {}{inferred}", display::fit(parent, 40)));
    let dead = viewer.presumes_agent(&agent.agent_id);
    let running =
        agent.open.then(|| if dead { "presumed dead with its session" } else { "running" }.to_owned());
    let calls = Some(display::counted(agent.tool_calls, "call"));
    let words: Vec<_> = [calls, failed, tokens, parent, running].into_iter().flatten().collect();
    format!("{name}: {}", words.join(", "))
}

fn line_of(item: &Item, style: Style) -> String {
    let clock = style.paint(Role::Dim, &display::local_clock(item.time));
    let indent = "  ".repeat(item.depth as usize);
    let (name, role) = label(item);
    let text = display::fit(&item.text, TEXT_COLUMNS);
    let mut line = format!("{clock}  {indent}{}", style.paint(role, &name));
    let text = text.strip_prefix(name.as_str()).map_or(text.as_str(), str::trim_start);
    if !text.is_empty() {
        line.push_str("  ");
        line.push_str(text);
    }
    if let Some(call) = &item.call {
        line.push_str(&call_words(call, style));
    }
    if let Some(tokens) = &item.tokens {
        let words = format!(
            "  [{} tokens, {} output]",
            display::count(tokens.total()),
            display::count(tokens.output)
        );
        line.push_str(&style.paint(Role::Dim, &words));
    }
    line
}

fn call_words(call: &CallItem, style: Style) -> String {
    let ran = call.duration_ms.map(|ms| {
        let derived = if call.duration_origin.as_deref() == Some("derived") { " derived" } else { "" };
        format!("{}{derived}", display::duration(ms))
    });
    let (words, role) = match call.outcome.as_deref() {
        None => ("no end on record".to_owned(), Role::Waiting),
        Some("completed") => (ran.unwrap_or_else(|| "done".to_owned()), Role::Dim),
        Some(bad) => {
            let ran = ran.map(|ran| format!(" after {ran}")).unwrap_or_default();
            let error = call.error.as_deref().map(|error| format!(": {}", display::fit(error, TEXT_COLUMNS)));
            (format!("{bad}{ran}{}", error.unwrap_or_default()), Role::Bad)
        }
    };
    format!("  {}", style.paint(role, &words))
}

/// What a line is called: the tool of a call, else a word for its kind.
fn label(item: &Item) -> (String, Role) {
    if let Some(call) = &item.call {
        return (display::fit(&call.tool, 40), Role::Strong);
    }
    let known = Kind::from_name(&item.kind);
    let word = match known {
        Some(Kind::PromptSubmitted) => return ("prompt".to_owned(), Role::Good),
        Some(Kind::SessionStarted) => return ("session started".to_owned(), Role::Good),
        Some(Kind::SessionEnded) => return ("session ended".to_owned(), Role::Good),
        Some(Kind::TurnFailed) => return ("turn failed".to_owned(), Role::Bad),
        Some(Kind::PermissionRequested) => return ("permission asked".to_owned(), Role::Waiting),
        Some(Kind::PermissionDenied) => return ("permission denied".to_owned(), Role::Bad),
        Some(Kind::NotificationRaised) => return ("notification".to_owned(), Role::Waiting),
        Some(Kind::TurnCompleted) => "turn done",
        Some(Kind::AgentMessage) => "message",
        Some(Kind::SubagentStarted) => "subagent started",
        Some(Kind::SubagentStopped) => "subagent stopped",
        Some(Kind::ContextCompacted) => "context compacted",
        Some(Kind::AgentEvent) => "hook",
        _ => return (display::fit(&item.kind, 40), Role::Dim),
    };
    (word.to_owned(), Role::Dim)
}
