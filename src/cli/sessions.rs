//! `sessions`: the list of agent sessions, the one seen last first. Works without a server, and with one beside it shows
//! the same: both read the same journal with the same fold.

use super::display::{self, Role, Style};
use super::{Context, Outcome, elsewhere, events};
use crate::answers::{Folded, Told, when};
use crate::error::Error;
use crate::projection::Progress;
use crate::projection::sessions::state::Phase;
use crate::projection::sessions::view::{
    self, LIST_LIMIT_DEFAULT, ListQuery, SessionList, SessionView, StateFilter,
};
use crate::projection::sessions::viewer::Viewer;
use std::collections::BTreeSet;

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only sessions of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Only sessions seen at or after this time: 2026-11-22T10:00:00Z, 2026-11-22, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only sessions in this state: working, waiting (for you), idle, ended, or dead (presumed: nobody reported an end)
    #[arg(long, value_name = "STATE")]
    state: Option<StateFilter>,
    /// At most so many; what is left out is told
    #[arg(long, short, value_name = "N", default_value_t = LIST_LIMIT_DEFAULT, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

/// Runs it.
///
/// # Errors
/// When there is no data directory or its journal cannot be read.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let now = context.now();
    let since = args.since.as_deref().map(|text| when::parse("--since", text, now)).transpose()?;
    let query = ListQuery { project: args.project, since, state: args.state, limit: args.limit };
    if let Some(server) = context.elsewhere()? {
        return elsewhere::sessions(&query, &server, context);
    }
    let folded = folded(context)?;
    let list = view::list(&folded.fold, &query, &folded.looking());
    if context.out.is_json() {
        context.out.json(&list)?;
    } else {
        print(context, &list, &folded.fold.state().all().map(|(id, _)| id.into_owned()).collect())?;
    }
    Ok(outcome(context, &folded.progress, display::counted(list.total, "session")))
}

/// The sessions projection as of now, for commands that look at it. Drains the inbox if nobody else does.
pub(super) fn folded(context: &mut Context) -> Result<Folded, Error> {
    let view = events::open(context)?;
    Folded::of(&context.record()?, view)
}

/// Tells of what could not be read, and ends the command accordingly.
pub(super) fn outcome(context: &mut Context, progress: &Progress, summary: String) -> Outcome {
    let told = Told::of(progress);
    told.warnings.iter().for_each(|warning| context.out.warn(warning));
    if told.damaged { Outcome::damaged(summary) } else { Outcome::with_summary(summary) }
}

const COLUMNS: [(&str, usize); 8] = [
    ("STATE", 15),
    ("PROJECT", 18),
    ("SEEN", 8),
    ("PROMPTS", 7),
    ("TOOLS", 7),
    ("FAILED", 6),
    ("TOKENS", 13),
    ("TITLE, OR WHAT IT WAITS FOR", 60),
];

/// `ids` are those of all sessions whose names may not be taken for one another.
pub(super) fn print(context: &mut Context, list: &SessionList, ids: &BTreeSet<String>) -> Result<(), Error> {
    let style = context.out.style();
    if list.sessions.is_empty() {
        let is_none = ids.is_empty() && list.departed == 0;
        context.out.note(if is_none {
            "no session is on record yet: `mnemosyne init --claude` registers the hooks that tell of them"
        } else {
            "no such session is on record"
        });
    } else {
        let names = list.sessions.iter().map(|session| shortest_name(ids, &session.id));
        let names: Vec<String> = names.collect();
        let width = names.iter().map(|name| display::columns_of(name)).max().unwrap_or(0).max("ID".len());
        let heads: Vec<String> =
            COLUMNS.iter().map(|(head, columns)| display::cell(head, *columns)).collect();
        let head = format!("{}  {}", display::cell("ID", width), heads.join("  "));
        context.out.line(&style.paint(Role::Dim, head.trim_end()))?;
        for (name, session) in names.iter().zip(&list.sessions) {
            context.out.line(&row(&display::cell(name, width), session, &list.viewer, style))?;
        }
    }
    let shown = list.sessions.len() as u64;
    if shown < list.total {
        let total = display::count(list.total);
        context.out.note(&format!(
            "{} of {total} sessions shown: --limit {} shows all",
            display::count(shown),
            list.total
        ));
    }
    if list.departed > 0 {
        let older = display::counted(list.departed, "older session");
        context.out.note(&format!("{older} are in the journal only: `mnemosyne session ID` shows them"));
    }
    Ok(())
}

fn row(name: &str, session: &SessionView, viewer: &Viewer, style: Style) -> String {
    let (state, role) = state_words(session, viewer);
    let is_inferred = session.ended.as_ref().is_some_and(|end| end.inferred);
    let state = if is_inferred { "ended, inferred" } else { state };
    let asked =
        asked_words(session).map(|asked| style.paint(Role::Waiting, &display::fit(&asked, COLUMNS[7].1)));
    let title = || display::fit(session.title.as_deref().unwrap_or(""), COLUMNS[7].1);
    let project = session.project.as_deref().unwrap_or("-");
    let failed = display::count(session.counts.tools_failed);
    let failed = display::cell_right(&failed, COLUMNS[5].1);
    let failed = if session.counts.tools_failed > 0 { style.paint(Role::Bad, &failed) } else { failed };
    let tokens = session.tokens.map_or_else(|| "unknown".to_owned(), |tokens| display::count(tokens.total()));
    let cells = [
        style.paint(Role::Strong, name),
        style.paint(role, &display::cell(state, COLUMNS[0].1)),
        display::cell(project.strip_prefix("project:").unwrap_or(project), COLUMNS[1].1),
        display::cell_right(&display::age(session.last_seen.time, viewer.now), COLUMNS[2].1),
        display::cell_right(&display::count(session.counts.prompts), COLUMNS[3].1),
        display::cell_right(&display::count(session.counts.tool_calls), COLUMNS[4].1),
        failed,
        display::cell_right(&tokens, COLUMNS[6].1),
        asked.unwrap_or_else(title),
    ];
    cells.join("  ").trim_end().to_owned()
}

/// What a session does, in a word or two, and how that looks.
pub(super) fn state_words(session: &SessionView, viewer: &Viewer) -> (&'static str, Role) {
    if viewer.presumes(&session.id).is_some() {
        return ("presumed dead", Role::Dim);
    }
    let role = match session.state {
        Phase::Working => Role::Good,
        Phase::Waiting => Role::Waiting,
        Phase::Idle => Role::Strong,
        Phase::Ended => Role::Dim,
    };
    (session.state.name(), role)
}

/// What a session waits for: the tool, and what is asked.
pub(super) fn asked_words(session: &SessionView) -> Option<String> {
    let waiting = session.waiting_on.as_ref()?;
    Some(match (&waiting.tool, &waiting.question) {
        (Some(tool), Some(question)) if question.starts_with(tool.as_str()) => question.clone(),
        (Some(tool), Some(question)) => format!("{tool}: {question}"),
        (None, Some(words)) | (Some(words), None) => words.clone(),
        (None, None) => "an answer".to_owned(),
    })
}

/// The beginning of an id, of at least 8 characters, that names no other session.
fn shortest_name(ids: &BTreeSet<String>, id: &str) -> String {
    let shared_with = |other: Option<&String>| {
        other.map_or(0, |other| id.chars().zip(other.chars()).take_while(|(a, b)| a == b).count())
    };
    let upto = (std::ops::Bound::Unbounded, std::ops::Bound::Excluded(id));
    let before = ids.range::<str, _>(upto).next_back();
    let after = (std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded);
    let after = ids.range::<str, _>(after).next();
    let shared = shared_with(before).max(shared_with(after));
    id.chars().take((shared + 1).max(8)).collect()
}
