//! `bisect EXPR`: the first event after which something holds of a projection's state. Works without a server. Of a server elsewhere
//! the events are fetched and folded here: an expression cannot be stopped from inside, so no server is given one.
//!
//! The search runs on a thread of its own. An expression ends, but that may be far off, and nothing can stop it from inside: this
//! thread looks how long it has been at work and how much memory the process has taken since, and gives up instead of it.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::display::{self, Role};
use super::sessions::outcome;
use super::{Context, Exit, Outcome, elsewhere, events};
use crate::answers::{Folded, find, start, when};
use crate::error::Error;
use crate::event::Place;
use crate::projection::bisect::fields::UnknownField;
use crate::projection::bisect::predicate::STACK_BYTES;
use crate::projection::bisect::{self, Bisection, Mode, Range, Watch};
use crate::projection::snapshot::Files;
use crate::projection::{Progress, registry, seq_at};
use crate::store::View;

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The question: an expression in jq over the `state` of `state PROJECTION --json`; docs/bisect.md says what it may hold
    #[arg(value_name = "EXPR")]
    expression: String,
    /// The projection that it asks
    #[arg(value_name = "PROJECTION", default_value = "sessions")]
    projection: String,
    /// The first event that may be the answer: a seq, a time, a date, or how long ago, like 2h
    #[arg(long, value_name = "SEQ|TIME")]
    from: Option<String>,
    /// The last event that may be the answer
    #[arg(long, value_name = "SEQ|TIME")]
    until: Option<String>,
    /// Only events of this session may be the answer: its id, or the beginning of it that no other shares
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Trust that it stays true once it is true, and halve the range instead of asking every state
    #[arg(long)]
    monotone: bool,
}

/// What one state may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long it may be at work.
    ms: u64,
    /// How much memory the process may take meanwhile.
    bytes: u64,
}

pub(super) const LIMITS: Limits = Limits { ms: 10_000, bytes: 1 << 30 };
/// Columns of a name that is repeated.
const NAME_COLUMNS: usize = 60;
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(20);

/// Runs it.
///
/// # Errors
/// [`Error::Usage`] for an expression that cannot be read or a range that is none, [`Error::NotFound`] for an unknown projection,
/// [`Error::CursorAhead`] for a range that begins beyond the end.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let definition = registry::find(&args.projection)?;
    let now = context.now();
    let server = context.elsewhere()?;
    let from = args.from.as_deref().map(|text| when::place("--from", text, now)).transpose()?;
    let until = args.until.as_deref().map(|text| when::place("--until", text, now)).transpose()?;
    if let Some(server) = server {
        if args.monotone {
            return Err(Error::usage(
                "--monotone halves a range of states that are at hand; of a server elsewhere every state is asked: leave it out",
            ));
        }
        let (found, progress) =
            elsewhere::bisect(server, definition, args.expression, (from, until), args.session)?;
        return tell(&found, &progress, context);
    }
    let view = events::open(context)?;
    let session = args.session.map(|given| find(&Folded::of(&context.record()?, view.clone())?, &given));
    let range = range(&view, from, until, session.transpose()?.map(|found| found.id))?;
    let dir = context.locate_data_dir()?;
    let files = view
        .journal_id()
        .map(|journal| Files::new(dir.snapshots(), journal.to_bytes()).with_base(dir.base()));
    let mode = if args.monotone { Mode::Halving } else { Mode::Scan };
    let search = move |watch: &Watch| {
        bisect::search(&view, files.as_ref(), definition, &args.expression, &range, mode, watch)
    };
    let (found, progress) = watched(search, LIMITS)?;
    tell(&found, &progress, context)
}

fn tell(found: &Bisection, progress: &Progress, context: &mut Context) -> Result<Outcome, Error> {
    if context.out.is_json() {
        context.out.json(found)?;
    } else {
        print(context, found)?;
    }
    if let Some(stumbled) = &found.stumbled {
        let states = display::counted(stumbled.states, "state");
        let message = display::fit(&stumbled.message, 200);
        context.out.warn(&format!(
            "the expression cannot be answered for {states}, first at seq {}: {message}; there it does not hold",
            stumbled.first_seq
        ));
    }
    for field in &found.unknown_fields {
        context.out.warn(&unknown_words(field, found.projection));
    }
    let done = outcome(context, progress, words(found));
    if found.seq.is_none() && !found.held_before && done.exit == Exit::Done {
        return Ok(Outcome { exit: Exit::NotFound, ..done });
    }
    Ok(done)
}

fn range(
    view: &View,
    from: Option<Place>,
    until: Option<Place>,
    session: Option<String>,
) -> Result<Range, Error> {
    let (first, last) = (view.first(), view.durable());
    let from = match from {
        None => first,
        Some(Place::Seq(seq)) => start(view, Some(seq.get()))?,
        // The first that was not recorded before this moment.
        Some(Place::Time(time)) => match time.checked_add_micros(-1) {
            Some(before) => seq_at(view, before)?.next(),
            None => first,
        },
    };
    let until = match until {
        None => last,
        // As everywhere: what is not there yet is not asked.
        Some(Place::Seq(seq)) => seq.min(last),
        Some(Place::Time(time)) => seq_at(view, time)?,
    };
    if from > until.next() {
        return Err(Error::usage(format!("there is no event from {from} until {until}")));
    }
    Ok(Range { from, until, session })
}

/// The search on its own thread, given up when an expression takes too long or too much.
pub(super) fn watched(
    search: impl FnOnce(&Watch) -> Result<(Bisection, Progress), Error> + Send + 'static,
    limits: Limits,
) -> Result<(Bisection, Progress), Error> {
    let watch = Arc::new(Watch::default());
    let (done, waiting) = channel();
    let at_work = watch.clone();
    let search = move || {
        let found = search(&at_work);
        // Nobody waits any more where it was given up.
        done.send(found).ok();
    };
    std::thread::Builder::new()
        .name("bisect".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(search)
        .map_err(|error| Error::failed(format!("cannot start a thread: {error}")))?;
    let (mut state, mut bytes_before) = (None, resident_bytes());
    loop {
        match waiting.recv_timeout(LOOK) {
            Ok(found) => return found,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::failed("the expression made the search fail: try a simpler one"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let bytes = resident_bytes();
        let Some((millis, seq)) = watch.at_work() else {
            (state, bytes_before) = (None, bytes);
            continue;
        };
        if state.replace(seq) != Some(seq) {
            bytes_before = bytes;
        }
        let taken = bytes.zip(bytes_before).map_or(0, |(now, before)| now.saturating_sub(before));
        let why = if millis > limits.ms {
            format!("more than {}", display::duration(limits.ms))
        } else if taken > limits.bytes {
            format!("more than {} of memory", display::bytes(limits.bytes))
        } else {
            continue;
        };
        return Err(Error::failed(format!(
            "the expression takes {why} for the state at seq {seq}: it was given up"
        )));
    }
}

/// What this process holds in memory; none where the system does not tell, and then only time is a limit.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

fn print(context: &mut Context, found: &Bisection) -> Result<(), Error> {
    let style = context.out.style();
    let line = match (found.seq, found.held_before) {
        (Some(seq), _) => format!("{}  {}", style.paint(Role::Strong, &seq.to_string()), event_words(found)),
        (None, true) => format!("it holds before event {} already", found.from_seq),
        (None, false) if found.from_seq > found.until_seq => "there is no event in this range".to_owned(),
        (None, false) => {
            format!("it holds after none of the events {} to {}", found.from_seq, found.until_seq)
        }
    };
    context.out.line(&line)?;
    context.out.line(&style.paint(Role::Dim, &words(found)))
}

fn event_words(found: &Bisection) -> String {
    let event: Option<serde_json::Value> =
        found.event.as_ref().and_then(|event| serde_json::from_str(event.get()).ok());
    let summary =
        event.as_ref().and_then(|event| event["summary"].as_str()).unwrap_or("(its event cannot be read)");
    display::fit(summary, 120)
}

fn words(found: &Bisection) -> String {
    let how = match found.mode {
        Mode::Scan => "every state asked",
        Mode::Halving => "the range halved, as --monotone says that it stays true",
    };
    format!(
        "{how}: {} folded, {}, the question put {}",
        display::counted(found.events, "event"),
        display::counted(found.folds, "fold"),
        display::counted(found.asked, "time")
    )
}

fn unknown_words(field: &UnknownField, projection: &str) -> String {
    let name = display::fit(&field.name, NAME_COLUMNS);
    let place = match &field.under {
        Some(place) => format!("under `{}`", display::fit(place, NAME_COLUMNS)),
        None if field.at_top => "at its top".to_owned(),
        None => "anywhere in it".to_owned(),
    };
    let meant = match &field.nearest {
        Some(nearest) => format!("did you mean `{}`?", display::fit(nearest, NAME_COLUMNS)),
        None => format!("`mnemosyne state {projection} --json` shows what there is"),
    };
    format!("no state that was asked has a field `{name}` {place}: {meant}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Seq;
    use crate::store::Level;
    use crate::store::testing::{event, memory_store};

    /// The answer for a state that every element is asked about with every other, which takes a while and a list of all of them.
    fn asked(limits: Limits) -> Result<Bisection, String> {
        // Eight deep over the five values of an empty state of notes: 390,625 lists, far more than one look takes.
        let all = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| format!(".. as ${name} | ")).concat();
        let expression = format!("[{all}[$a]] | length > 0");
        let (store, _) = memory_store();
        store.emit(vec![event(1)], Level::Disk, None).unwrap().wait().unwrap();
        let range = Range { from: Seq::new(2), until: Seq::new(1), session: None };
        let notes = registry::find("notes").unwrap();
        let search =
            move |watch: &Watch| bisect::search(&store, None, notes, &expression, &range, Mode::Scan, watch);
        let found = watched(search, limits);
        found.map(|(found, _)| found).map_err(|error| error.to_string())
    }

    #[test]
    fn a_state_that_takes_too_long_is_given_up() {
        let words = asked(Limits { ms: 1, bytes: u64::MAX }).unwrap_err();
        assert!(words.contains("takes more than 1 ms for the state at seq 1"), "{words}");
    }

    #[test]
    fn a_state_that_takes_too_much_memory_is_given_up() {
        let words = asked(Limits { ms: u64::MAX, bytes: 1 << 20 }).unwrap_err();
        assert!(words.contains("takes more than 1.0 MiB of memory for the state at seq 1"), "{words}");
    }

    /// The control: it is the limit that ended the others.
    #[test]
    fn without_limits_the_same_question_is_answered() {
        let found = asked(Limits { ms: u64::MAX, bytes: u64::MAX }).unwrap();
        assert_eq!((found.held_before, found.asked), (true, 1));
    }
}
