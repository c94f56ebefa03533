//! The one table of tools: what each is called, what a model is told of it, what it takes, and what it does.

#![expect(clippy::needless_pass_by_value, reason = "every tool has the same shape")]

use std::any::Any;
use std::sync::Arc;

use rmcp::handler::server::tool::schema_for_input;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use rmcp::schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bound::ANSWER_BYTES_MAX;
use super::{Desk, asks};
use crate::answers::search::{Range, told};
use crate::answers::{self, Folded, Told, Whole, note, page, when};
use crate::client::keep::keep;
use crate::error::Error;
use crate::event::search::Query;
use crate::event::{Place, Seq, Timestamp};
use crate::projection::sessions::look;
use crate::projection::sessions::timeline::Builder;
use crate::projection::sessions::view::{self, LIST_LIMIT_DEFAULT, ListQuery, StateFilter, Unresolved};
use crate::projection::stats::view::{self as figures, Topic};
use crate::projection::stats::{self, By};
use crate::projection::why::{self, DEPTH_DEFAULT};
use crate::projection::{Progress, StateView, diff};
use crate::store::View;

/// Events on one page, unless told otherwise and at most.
const EVENTS_DEFAULT: usize = 50;
const EVENTS_MAX: usize = 500;
/// A page ends with the event that takes it over this size, so that nothing of most pages has to be cut.
const PAGE_BYTES_MAX: usize = ANSWER_BYTES_MAX * 5 / 8;
/// Seqs that are looked at to fill one page.
const PAGE_SCAN_MAX: u64 = 200_000;
/// Hits of a search, unless told otherwise and at most.
const HITS_DEFAULT: usize = 10;
const HITS_MAX: usize = 100;
/// A shorter id may be the beginning of one.
const WHOLE_ID_BYTES: usize = 36;

/// Whether the client has taken the question back.
pub(super) type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// What a tool says.
pub(super) struct Answer {
    /// The object that the command of that name prints with `--json`.
    pub(super) object: Value,
    /// What it does not rest on, in sentences.
    pub(super) warnings: Vec<String>,
}

/// One row of the table.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// For a model: what it gives, and when to ask.
    pub(super) about: &'static str,
    /// Whether it only reads.
    pub(super) reads: bool,
    schema: fn() -> Result<Arc<JsonObject>, String>,
    answer: fn(&Desk, JsonObject, Stop<'_>) -> Result<Answer, Error>,
}

/// A row whose arguments are those of a struct and whose work is a function of it.
macro_rules! tool {
    ($name:literal, $title:literal, $ask:ident, $work:ident, reads: $reads:literal, $about:literal) => {
        Definition {
            name: $name,
            title: $title,
            about: $about,
            reads: $reads,
            schema: schema::<asks::$ask>,
            answer: |desk, arguments, stop| $work(desk, arguments_of::<asks::$ask>($name, arguments)?, stop),
        }
    };
}

/// Every tool, in the order in which clients list them.
pub(super) const TOOLS: &[Definition] = &[
    tool!("sessions", "Sessions on record", Sessions, sessions, reads: true,
        "Lists the agent sessions on record, the one seen last first, with project, state, counts of prompts, tool calls and failures, tokens, and \
         what each waits for. Your own session is normally the first. Use it to find the id that the other tools take."),
    tool!("session", "One session", Session, session, reads: true,
        "Shows one session whole: its summary, subagents, failures grouped by what they have in common, files read and written, turns, and its timeline with \
         tool calls, durations and outcomes. Each item has the seq of its event. Use it to recall what was done, or after a compaction; for the full input and output of a call ask `events` at its seq."),
    tool!("events", "Events", Events, events, reads: true,
        "Gives the events that match, oldest first, with their whole payloads: prompts, tool inputs and outputs, messages. If `more` is true, ask again with \
         `after` set to `next`. Narrow it by session, kind, time or seq: pages are bounded in events and bytes."),
    tool!("search", "Search", Search, search, reads: true,
        "Finds the events that hold all the given words, the best match first, over all sessions. Use it for questions like: have I seen this error before, \
         where was this file or decision spoken of. Each hit has the event with its seq and session."),
    tool!("why", "What led to an event", Why, why, reads: true,
        "Gives the chain of what led to an event, back to the prompt that began it, each link with its evidence and how sure it is. Use it for a failure."),
    tool!("diff", "Two sessions compared", Diff, compare, reads: true,
        "Compares what two sessions did: their calls aligned, the first divergence, where they meet again, and the differences in calls, failures, time and tokens. \
         Use it when a task worked once and failed another time."),
    tool!("state", "State at a moment", State, state, reads: true,
        "Shows what a projection says, now or as of any earlier event or time: sessions, health of the recorder, commands, agents, notes, orchestration."),
    tool!("stats", "Figures", Stats, statistics, reads: true,
        "Counts the history: commands, sessions and how they ended, failure rates, tokens by model; for a range of time, and by hour, day, session or project."),
    tool!("annotate", "Put a note on an event", Annotate, annotate, reads: false,
        "Puts a note on an event; it is kept for good and shown beside the event from then on, to people and to later sessions. Use it for what the record cannot \
         know: why a decision was taken, what a failure turned out to be."),
];

/// The tool of this name.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    TOOLS.iter().find(|tool| tool.name == name)
}

impl Definition {
    /// As clients see it.
    pub(super) fn told(&self) -> Result<Tool, String> {
        let hints = ToolAnnotations::new().read_only(self.reads).destructive(false).open_world(false);
        let tool = Tool::new(self.name, self.about, (self.schema)()?).with_title(self.title);
        Ok(tool.with_annotations(hints.idempotent(self.reads)))
    }

    /// Puts the question. May take as long as reading a journal does.
    pub(super) fn answer(&self, desk: &Desk, arguments: JsonObject, stop: Stop<'_>) -> Result<Answer, Error> {
        (self.answer)(desk, arguments, stop)
    }
}

fn schema<T: JsonSchema + Any>() -> Result<Arc<JsonObject>, String> {
    schema_for_input::<T>()
}

fn arguments_of<T: DeserializeOwned>(tool: &str, arguments: JsonObject) -> Result<T, Error> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        Error::usage(format!("the arguments of `{tool}`: {error}; its schema says what it takes"))
    })
}

/// The journal, and what is said of events that wait before it.
fn open(desk: &Desk) -> Result<(View, Vec<String>), Error> {
    let view = desk.record.view()?;
    let waiting = desk.record.waiting(&view);
    Ok((view, waiting.into_iter().collect()))
}

fn folded(desk: &Desk) -> Result<(Folded, Vec<String>), Error> {
    let (view, warnings) = open(desk)?;
    Ok((Folded::of(&desk.record, view)?, warnings))
}

fn told_of(object: &impl Serialize, progress: &Progress, mut warnings: Vec<String>) -> Result<Answer, Error> {
    warnings.extend(Told::of(progress).warnings);
    Ok(Answer { object: object_of(object)?, warnings })
}

/// By way of the very text that the command prints.
fn object_of(answer: &impl Serialize) -> Result<Value, Error> {
    let text = serde_json::to_string(answer);
    text.and_then(|text| serde_json::from_str(&text))
        .map_err(|error| Error::failed(format!("the answer cannot be shown: {error}")))
}

/// An object that has no version of its own, with one.
fn versioned(answer: &impl Serialize) -> Result<Value, Error> {
    let mut fields = JsonObject::new();
    fields.insert("version".to_owned(), 1.into());
    if let Value::Object(own) = object_of(answer)? {
        fields.extend(own);
    }
    Ok(Value::Object(fields))
}

fn moment(name: &str, text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    text.map(|text| when::parse(name, text, now)).transpose()
}

fn place(name: &str, text: Option<&str>, now: Timestamp) -> Result<Option<Place>, Error> {
    text.map(|text| when::place(name, text, now)).transpose()
}

fn within(name: &str, given: Option<usize>, default: usize, most: usize) -> Result<usize, Error> {
    match given {
        None => Ok(default),
        Some(given) if (1..=most).contains(&given) => Ok(given),
        Some(_) => Err(Error::usage(format!("`{name}` is a number from 1 to {most}"))),
    }
}

/// Puts the whole id in the place of a beginning.
fn complete(session: &mut Option<String>, view: &View, warnings: &mut Vec<String>) -> Result<(), Error> {
    let Some(given) = session.as_mut().filter(|given| given.len() < WHOLE_ID_BYTES) else { return Ok(()) };
    match look::in_journal(view, view.durable(), given)? {
        Ok(found) => *given = found.id,
        Err(Unresolved::Ambiguous(ids)) => return Err(answers::ambiguous(given, &ids)),
        Err(Unresolved::Unknown) => {
            warnings.push("no session on record has or begins with this id".to_owned());
        }
    }
    Ok(())
}

fn sessions(desk: &Desk, ask: asks::Sessions, _stop: Stop<'_>) -> Result<Answer, Error> {
    let since = moment("`since`", ask.since.as_deref(), desk.record.now())?;
    let state = ask.state.map(|state| state.parse::<StateFilter>()).transpose().map_err(Error::usage)?;
    let limit = ask.limit.unwrap_or(LIST_LIMIT_DEFAULT);
    if limit == 0 {
        return Err(Error::usage("`limit` is a number from 1"));
    }
    let query = ListQuery { project: ask.project, since, state, limit };
    let (folded, warnings) = folded(desk)?;
    let list = view::list(&folded.fold, &query, &folded.looking());
    told_of(&list, &folded.progress, warnings)
}

fn session(desk: &Desk, ask: asks::Session, _stop: Stop<'_>) -> Result<Answer, Error> {
    let (folded, warnings) = folded(desk)?;
    let found = answers::find(&folded, &ask.session)?;
    let builder = if ask.patches { Builder::with_patches() } else { Builder::default() };
    let (found, timeline, progress) = look::timeline(&folded.view, found, builder)?;
    told_of(&Whole::of(&folded.detail(&found), &timeline), &progress, warnings)
}

fn events(desk: &Desk, mut ask: asks::Events, stop: Stop<'_>) -> Result<Answer, Error> {
    let now = desk.record.now();
    ask.filter()?;
    let since = moment("`since`", ask.since.as_deref(), now)?;
    let until = place("`until`", ask.until.as_deref(), now)?;
    let events_max = within("limit", ask.limit, EVENTS_DEFAULT, EVENTS_MAX)?;
    let from = match (ask.from, ask.after) {
        (Some(_), Some(_)) => {
            return Err(Error::usage("`from` and `after` both say where to begin: give one"));
        }
        (from, after) => from.or(after.map(|after| after.saturating_add(1))),
    };
    let (view, mut warnings) = open(desk)?;
    complete(&mut ask.session, &view, &mut warnings)?;
    let mut replay = view.replay(answers::start(&view, from)?);
    if let Some(since) = since {
        replay = replay.since(since)?;
    }
    let filter = ask.filter()?;
    let bounds =
        page::Bounds { filter, until, events_max, bytes_max: PAGE_BYTES_MAX, scan_max: PAGE_SCAN_MAX };
    let page = page::read(replay, view.durable(), &bounds, stop)?;
    Ok(Answer { object: versioned(&page)?, warnings })
}

fn search(desk: &Desk, mut ask: asks::Search, _stop: Stop<'_>) -> Result<Answer, Error> {
    let now = desk.record.now();
    ask.filter()?;
    let query = Query::parse("words", &ask.words).map_err(|error| Error::usage(error.to_string()))?;
    let since = moment("`since`", ask.since.as_deref(), now)?;
    let until = place("`until`", ask.until.as_deref(), now)?;
    let limit = within("limit", ask.limit, HITS_DEFAULT, HITS_MAX)?;
    let (view, mut warnings) = open(desk)?;
    complete(&mut ask.session, &view, &mut warnings)?;
    if query.is_empty() {
        warnings.push("there is no word in `words`; `events` with `grep` finds punctuation".to_owned());
    }
    let range = Range { from: answers::start(&view, ask.from)?, since, until };
    let tail = view.durable();
    let found = view.search(&range.search(query, ask.filter()?, limit))?;
    Ok(Answer { object: versioned(&told(found, tail)?)?, warnings })
}

fn why(desk: &Desk, ask: asks::Why, _stop: Stop<'_>) -> Result<Answer, Error> {
    let depth = ask.depth.unwrap_or(DEPTH_DEFAULT);
    if depth == 0 {
        return Err(Error::usage("`depth` is a number from 1"));
    }
    let (folded, mut warnings) = folded(desk)?;
    let notes = desk.record.notes(&folded.view, Seq::FIRST)?;
    let why = answers::why(&folded, &notes, Seq::new(ask.seq), depth)?;
    if why.searched.unreadable > 0 {
        warnings.push("some records near it cannot be read: a cause may be among them".to_owned());
    }
    told_of(&why, &Progress::default(), warnings)
}

fn compare(desk: &Desk, ask: asks::Diff, _stop: Stop<'_>) -> Result<Answer, Error> {
    let limit = within("limit", ask.limit, diff::LIMIT_DEFAULT, usize::MAX)?;
    let (folded, warnings) = folded(desk)?;
    let (a, b) = (answers::find(&folded, &ask.a)?, answers::find(&folded, &ask.b)?);
    let (difference, progress) = diff::compare(&folded.view, &a, &b)?;
    told_of(&difference.view(limit), &progress, warnings)
}

fn state(desk: &Desk, ask: asks::State, _stop: Stop<'_>) -> Result<Answer, Error> {
    let at = place("`at`", ask.at.as_deref(), desk.record.now())?;
    let (view, warnings) = open(desk)?;
    let (fold, progress) = desk.record.state(&view, &ask.projection, at)?;
    told_of(&StateView::of(&*fold)?, &progress, warnings)
}

fn statistics(desk: &Desk, ask: asks::Stats, _stop: Stop<'_>) -> Result<Answer, Error> {
    let now = desk.record.now();
    let since = moment("`since`", ask.since.as_deref(), now)?;
    let until = moment("`until`", ask.until.as_deref(), now)?;
    let by = ask.by.map(|by| by.parse::<By>()).transpose();
    let by = by.map_err(|_| Error::usage("`by` is hour, day, session or project"))?;
    let topic = match ask.which.as_deref() {
        None => None,
        Some("commands") => Some(Topic::Commands),
        Some("sessions") => Some(Topic::Sessions),
        Some("health") => Some(Topic::Health),
        Some("tokens") => Some(Topic::Tokens),
        Some(_) => return Err(Error::usage("`which` is commands, sessions, health or tokens")),
    };
    let query = stats::Query { since, until, by };
    let (view, warnings) = open(desk)?;
    let (counted, progress) = stats::count(&view, view.first(), &query)?;
    told_of(&figures::stats(&counted, &progress, &query, topic), &progress, warnings)
}

fn annotate(desk: &Desk, ask: asks::Annotate, _stop: Stop<'_>) -> Result<Answer, Error> {
    let text = note::text(&ask.text)?;
    let about = Seq::new(ask.seq);
    let record = &desk.record;
    // What waits in the inbox has no seq yet, so nobody can mean it here.
    let view = record.view()?;
    let target = why::at(&view, about)?.ok_or_else(|| why::absent(&view, about))?;
    let note = note::event(&target, text, desk.run, &**record.clock());
    let kept = keep(record.dir(), record.settings()?, record.clock(), &note)?;
    let warnings = kept.warning.iter().cloned().collect();
    Ok(Answer { object: kept.told(about, &note), warnings })
}
