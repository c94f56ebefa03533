//! `sessions`: the agent sessions of a journal, folded from its files.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use mnemosyne::event::Seq;
use mnemosyne::event::text::visible;
use mnemosyne::projection::sessions::SessionsProjection;
use mnemosyne::projection::sessions::view::SessionView;
use mnemosyne::projection::{Fold, base};
use mnemosyne_journal::inspect::Survey;
use serde_json::json;

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Content, Flow, Item, Span};
use crate::text;

/// List the agent sessions, folded anew from the events
///
/// No saved state is believed but a base, which stands for events that retention has dropped. The one seen last comes first. Nothing
/// here depends on the moment or the machine: whether a silent session still lives is not presumed, as `mnemosyne sessions` does.
/// What cannot be read does not count, and is told.
#[derive(Debug, clap::Args)]
pub(crate) struct SessionsArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
}

pub(crate) fn run(args: &SessionsArgs, out: &mut Out) -> Result<(), Failure> {
    let place = Place::find(&args.dir)?;
    let survey = place.open()?;
    let mut fold = start(&place, &survey, out)?;
    records::each(&survey, Span::ALL, out, |item, _| {
        match item {
            Item::Gap(gap) => fold.skip(Seq::new(gap.to.get())),
            Item::Record(record) => match record.content() {
                Content::Event(event) => fold.apply(&event),
                Content::Opaque(_) => fold.skip(Seq::new(record.seq.get())),
            },
        }
        Ok(Flow::On)
    })?;
    let mut sessions: Vec<_> = fold.state().all().collect();
    sessions.sort_by_key(|(_, session)| Reverse(session.last));
    let sessions: Vec<SessionView> =
        sessions.into_iter().map(|(id, session)| SessionView::of(&id, &session)).collect();
    if out.is_json() {
        return out.json(&json!({
            "version": 1,
            "seq": fold.seq(),
            "missing": fold.missing(),
            "departed": fold.state().departed(),
            "sessions": sessions,
        }));
    }
    if fold.missing() > 0 {
        let verb = if fold.missing() == 1 { "does" } else { "do" };
        let events = text::counted(fold.missing(), "event");
        out.note(&format!("{events} cannot be read and {verb} not count here"));
    }
    let departed = fold.state().departed();
    if departed > 0 {
        out.note(&format!(
            "{} more, seen long ago, are beyond what is kept",
            text::counted(departed, "session")
        ));
    }
    print(&sessions, out)
}

/// The fold before the first record: that of the base, where retention has dropped what was before it.
fn start(place: &Place, survey: &Survey, out: &mut Out) -> Result<Fold<SessionsProjection>, Failure> {
    let first = survey.bases().first().map_or(Seq::FIRST, |base| Seq::new(base.get()));
    if first <= Seq::FIRST {
        return Ok(Fold::default());
    }
    if let Some(data) = &place.data
        && let Some(fold) = from_base(&data.join("base"), survey, first, out)?
    {
        return Ok(fold);
    }
    let mut fold = Fold::default();
    fold.skip(first.prev());
    Ok(fold)
}

fn from_base(
    dir: &Path,
    survey: &Survey,
    first: Seq,
    out: &mut Out,
) -> Result<Option<Fold<SessionsProjection>>, Failure> {
    let failed = |error: mnemosyne::error::Error| Failure::Failed(error.to_string());
    let journal = survey.looks(mnemosyne_journal::Seq::FIRST).next()?.and_then(|look| look.checked.journal);
    let Some(journal) = journal else { return Ok(None) };
    for (_, path) in base::bases(dir).map_err(failed)?.range(first.prev()..) {
        let bytes = std::fs::read(path).map_err(|source| Failure::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        match base::decode::<SessionsProjection>(&bytes, journal.to_bytes()) {
            Ok(fold) => return Ok(Some(fold)),
            Err(why) => {
                out.damage();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                out.note(&format!("{}: {why}; what it stood for does not count here", visible(&name)));
            }
        }
    }
    Ok(None)
}

fn print(sessions: &[SessionView], out: &mut Out) -> Result<(), Failure> {
    if sessions.is_empty() {
        out.note("no session is on record");
        return Ok(());
    }
    let width = sessions.iter().map(|session| visible(&session.id).chars().count()).max().unwrap_or(0);
    out.line(&format!(
        "{:width$}  {:8}  {:27}  {:>7}  {:>7}  {:>6}  {:>6}  title",
        "id", "state", "seen last", "events", "prompts", "tools", "failed"
    ))?;
    for session in sessions {
        let counts = &session.counts;
        let title = session.title.as_deref().unwrap_or("-");
        let line = format!(
            "{:width$}  {:8}  {:27}  {:>7}  {:>7}  {:>6}  {:>6}  {}",
            visible(&session.id),
            session.state.name(),
            session.last_seen.time.to_string(),
            session.events,
            counts.prompts,
            counts.tool_calls,
            counts.tools_failed,
            visible(title)
        );
        out.line(line.trim_end())?;
    }
    Ok(())
}
