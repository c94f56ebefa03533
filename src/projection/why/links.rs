//! The causes of one event, the surest first.

use std::collections::BTreeSet;

use super::facts::{Fact, Facts};
use super::{Rule, Sure};
use crate::error::Result;
use crate::event::{Kind, Seq};
use crate::projection::Mark;
use crate::projection::sessions::files::Deed;
use crate::projection::sessions::makers::makes_agents;

/// Files that a failure may be about; more are noise.
const FILES_MAX: usize = 3;
/// Shortest name of a file that is looked for in a text.
const NAME_CHARS_MIN: usize = 3;

/// What led to an event.
pub(super) struct Cause<'a> {
    pub(super) fact: &'a Fact,
    pub(super) rule: Rule,
    pub(super) sure: Sure,
    pub(super) evidence: String,
}

struct Causes<'a> {
    effect: &'a Fact,
    found: Vec<Cause<'a>>,
}

impl<'a> Causes<'a> {
    fn add(&mut self, cause: Option<&'a Fact>, rule: Rule, sure: Sure, evidence: impl Into<String>) {
        let Some(fact) = cause else { return };
        let seq = fact.mark.seq();
        if seq != self.effect.mark.seq() && self.found.iter().all(|known| known.fact.mark.seq() != seq) {
            self.found.push(Cause { fact, rule, sure, evidence: evidence.into() });
        }
    }
}

/// What led to `effect`. `read` gives the payload of an event.
pub(super) fn causes<'a>(
    facts: &'a Facts,
    effect: &'a Fact,
    read: &mut dyn FnMut(Seq) -> Result<Option<String>>,
) -> Result<Vec<Cause<'a>>> {
    let mut causes = Causes { effect, found: Vec::new() };
    recorded(facts, &mut causes);
    if effect.kind == Some(Kind::ToolCallFailed) {
        of_failure(facts, &mut causes, read)?;
    }
    if effect.kind == Some(Kind::ToolCallStarted) && effect.deed() == Some(Deed::Read) {
        let write = effect.path.as_deref().and_then(|path| last(facts, effect.mark, path, Deed::Write));
        causes.add(write, Rule::WriteBeforeRead, Sure::Likely, "payload.input.file_path of both");
    }
    in_order(facts, &mut causes);
    Ok(causes.found)
}

/// Ids on record.
fn recorded<'a>(facts: &'a Facts, causes: &mut Causes<'a>) {
    let effect = causes.effect;
    causes.add(effect.causation.and_then(|id| facts.by_id(id)), Rule::Causation, Sure::Certain, "causation");
    if effect.kind != Some(Kind::ToolCallStarted) && effect.of_session {
        let start = effect.tool_use_id.as_deref().and_then(|id| facts.start(id));
        causes.add(start, Rule::CallStart, Sure::Certain, "payload.tool_use_id");
    }
    causes.add(effect.about.and_then(|seq| facts.at(seq)), Rule::Note, Sure::Certain, "payload.seq");
    if effect.correlation != effect.id {
        let first = facts.all().iter().find(|fact| fact.correlation == effect.correlation);
        let first = first.filter(|first| first.mark < effect.mark);
        causes.add(first, Rule::Correlation, Sure::Certain, "correlation");
    }
    if let Some(agent) = subagent(effect) {
        let of = |kind: Kind| {
            facts
                .all()
                .iter()
                .find(move |fact| fact.kind == Some(kind) && fact.made.as_deref() == Some(agent))
        };
        if effect.kind == Some(Kind::SubagentStarted) {
            maker(facts, causes, of(Kind::ToolCallCompleted));
        } else {
            causes.add(of(Kind::SubagentStarted), Rule::Subagent, Sure::Certain, "agent");
        }
    }
}

/// The subagent that an event is of, or tells of.
fn subagent(fact: &Fact) -> Option<&str> {
    match fact.kind {
        Some(Kind::SubagentStarted | Kind::SubagentStopped) => fact.made.as_deref(),
        _ => fact.agent.as_deref(),
    }
}

/// The call that made a subagent: the one whose end names it, else one that was open when the subagent started.
fn maker<'a>(facts: &'a Facts, causes: &mut Causes<'a>, named: Option<&'a Fact>) {
    if let Some(start) = named.and_then(|end| end.tool_use_id.as_deref()).and_then(|id| facts.start(id)) {
        causes.add(Some(start), Rule::Maker, Sure::Certain, "payload.output.agentId of the call's end");
        return;
    }
    let started = causes.effect.mark;
    let own = causes.effect.made.as_deref();
    let mut open = facts.before(started).filter(|fact| {
        fact.kind == Some(Kind::ToolCallStarted)
            && fact.of_session
            && fact.tool.as_deref().is_some_and(makes_agents)
            && fact.agent.as_deref() != own
            && is_open(facts, fact, started)
    });
    let (latest, another) = (open.next(), open.next());
    let (sure, evidence) = match another {
        None => (Sure::Likely, "the only such call that was open"),
        Some(_) => (Sure::Guess, "the latest of several such calls that were open"),
    };
    causes.add(latest, Rule::Maker, sure, evidence);
}

fn is_open(facts: &Facts, start: &Fact, at: Mark) -> bool {
    let end = start.tool_use_id.as_deref().and_then(|id| facts.end(id));
    end.is_none_or(|end| at < end.mark)
}

/// What the order of events says.
fn in_order<'a>(facts: &'a Facts, causes: &mut Causes<'a>) {
    let effect = causes.effect;
    let is_command = matches!(
        effect.kind,
        Some(Kind::CliCommandStarted | Kind::CliCommandCompleted | Kind::CliCommandFailed)
    );
    if is_command {
        // The run of a command inside an agent's shell names the session, and nothing names the call.
        if effect.kind == Some(Kind::CliCommandStarted) && effect.of_session {
            let mut open = facts.before(effect.mark).filter(|fact| {
                fact.kind == Some(Kind::ToolCallStarted)
                    && fact.of_session
                    && fact.tool.as_deref() == Some("Bash")
                    && is_open(facts, fact, effect.mark)
            });
            let (latest, another) = (open.next(), open.next());
            let sure = if another.is_none() { Sure::Likely } else { Sure::Guess };
            causes.add(latest, Rule::Shell, sure, "open when the command began");
        }
        return;
    }
    let begins = matches!(effect.kind, Some(Kind::PromptSubmitted | Kind::SessionStarted | Kind::Annotated));
    // What names its cause leads to the prompt through it.
    let leads_on = effect.agent.is_some()
        || effect.kind == Some(Kind::SubagentStarted)
        || causes.found.iter().any(|cause| cause.sure == Sure::Certain);
    if begins || leads_on || !effect.of_session || !facts.has_session() {
        return;
    }
    let before = |kind: Kind| {
        facts
            .before(effect.mark)
            .find(move |fact| fact.kind == Some(kind) && fact.of_session && fact.agent.is_none())
    };
    match before(Kind::PromptSubmitted) {
        Some(prompt) => causes.add(Some(prompt), Rule::Prompt, Sure::Likely, "session, time"),
        None => causes.add(before(Kind::SessionStarted), Rule::Session, Sure::Likely, "session, time"),
    }
}

/// The files that a failed call names: who read and wrote them last.
fn of_failure<'a>(
    facts: &'a Facts,
    causes: &mut Causes<'a>,
    read: &mut dyn FnMut(Seq) -> Result<Option<String>>,
) -> Result<()> {
    let failed = causes.effect;
    let start = failed.tool_use_id.as_deref().and_then(|id| facts.start(id));
    let error = read(failed.mark.seq())?.unwrap_or_default();
    let input = match start {
        Some(start) => read(start.mark.seq())?.unwrap_or_default(),
        None => String::new(),
    };
    let until = start.map_or(failed.mark, |start| start.mark);
    let own = start.and_then(|start| start.path.as_deref());
    let mut files: Vec<(Sure, String, &str)> = Vec::new();
    let mut seen = BTreeSet::new();
    for fact in facts.before(until) {
        let Some(path) = fact.path.as_deref().filter(|path| seen.insert(*path)) else { continue };
        let named = if own == Some(path) {
            Some((Sure::Likely, "payload.input.file_path".to_owned()))
        } else if input.contains(path) {
            Some((Sure::Likely, "payload.input names the file".to_owned()))
        } else if error.contains(path) {
            Some((Sure::Likely, "payload.error names the file".to_owned()))
        } else if names_end_of(&input, path) {
            Some((Sure::Guess, "payload.input names a file of that name".to_owned()))
        } else if names_end_of(&error, path) {
            Some((Sure::Guess, "payload.error names a file of that name".to_owned()))
        } else {
            None
        };
        files.extend(named.map(|(sure, evidence)| (sure, evidence, path)));
    }
    // Stable: of equally sure ones the latest stays first.
    files.sort_by_key(|(sure, ..)| *sure);
    files.truncate(FILES_MAX);
    for (sure, evidence, path) in &files {
        let reading = last(facts, until, path, Deed::Read);
        let writing = last(facts, until, path, Deed::Write);
        causes.add(reading, Rule::Read, *sure, evidence.clone());
        // A write that the read saw is reached through the read.
        let seen = reading.and_then(|reading| last(facts, reading.mark, path, Deed::Write));
        if writing.map(|write| write.mark) != seen.map(|write| write.mark) {
            causes.add(writing, Rule::Write, *sure, evidence.clone());
        }
    }
    if files.is_empty() {
        let write = facts.before(until).find(|fact| {
            fact.kind == Some(Kind::ToolCallStarted)
                && fact.of_session
                && fact.deed() == Some(Deed::Write)
                && succeeded(facts, fact)
        });
        causes.add(write, Rule::LastWrite, Sure::Guess, "session, time");
    }
    Ok(())
}

/// The last call before `mark` that did this to the file, and did not fail.
fn last<'a>(facts: &'a Facts, mark: Mark, path: &str, deed: Deed) -> Option<&'a Fact> {
    facts.before(mark).find(|fact| {
        fact.kind == Some(Kind::ToolCallStarted)
            && fact.path.as_deref() == Some(path)
            && fact.deed() == Some(deed)
            && succeeded(facts, fact)
    })
}

fn succeeded(facts: &Facts, start: &Fact) -> bool {
    let end = start.tool_use_id.as_deref().filter(|_| start.of_session).and_then(|id| facts.end(id));
    end.is_none_or(|end| end.kind == Some(Kind::ToolCallCompleted))
}

/// Whether a text names the file by the end of its path: `src/a.rs` or `a.rs` for `/code/app/src/a.rs`.
fn names_end_of(text: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.chars().count() < NAME_CHARS_MIN {
        return false;
    }
    let part = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    text.match_indices(name).any(|(at, _)| {
        // An escape of JSON, such as `\n`, ends the text before it.
        let before = text[..at].chars().next_back();
        let escaped = text[..at].chars().rev().nth(1) == Some('\\');
        let after = text[at + name.len()..].chars().next();
        (escaped || !before.is_some_and(part)) && !after.is_some_and(|c| part(c) && c != '.')
    })
}
