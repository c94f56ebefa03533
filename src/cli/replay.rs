//! `replay SESSION`: a session as it happened, event by event, with its own spacing.
//!
//! With `--state` each event is followed by what it changed in a projection ([`states`]). With `--step`, in a terminal, keys decide
//! which event is shown ([`interactive`]); anywhere else the lines are the same, without pauses.
//!
//! Events come by (time, seq). Which events and which pauses is decided by pure code ([`pacing`]); the only thing
//! that sleeps is the [`Sleeper`] at the end of the chain, which a test replaces.

mod interactive;
mod player;
mod screen;
mod states;
mod terminal;
mod words;

use super::display;
use super::display::Role;
use super::lines::Lines;
use super::notes::Noted;
use super::out::Out;
use super::sessions::{folded, outcome};
use super::{Context, Exit, Outcome, elsewhere};
use crate::answers::{find, start, when};
use crate::error::Error;
use crate::event::{Place, Range, Seq, StoredEvent};
use crate::projection::Progress;
use crate::projection::changes::Change;
use crate::projection::pacing::{self, Pacing, Speed};
use crate::projection::steps::Step;
use crate::store::{Gap, GapReason};
use player::Stop;
use serde_json::json;
use states::States;
use std::io::IsTerminal as _;
use std::time::Duration;

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The session: its id, or the beginning of it that no other shares
    #[arg(value_name = "SESSION")]
    session: String,
    /// How many times faster than it happened: a number from 0.1, or max for no pause at all
    #[arg(long, value_name = "N", default_value_t = Speed::ORIGINAL)]
    speed: Speed,
    /// The longest pause, like 500ms, 2s or 1m
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = pacing::parse_duration)]
    max_gap: Duration,
    /// Begin here: a seq, a time, a date, or how long ago, like 2h
    #[arg(long, value_name = "SEQ|TIME")]
    from: Option<String>,
    /// End here, included: a seq, a time, a date, or how long ago
    #[arg(long, value_name = "SEQ|TIME")]
    until: Option<String>,
    /// Event by event: in a terminal the keys decide (space, arrows, f, p, g, ? for help, q); elsewhere without pauses
    #[arg(long)]
    step: bool,
    /// Show what each event changed in a projection, as far as it concerns the session [default: sessions]
    ///
    /// Without --json the lines leave out when a thing was last said, and what serves the fold alone.
    #[arg(long, value_name = "PROJECTION", num_args = 0..=1, default_missing_value = "sessions")]
    state: Option<String>,
}

/// Runs it.
///
/// # Errors
/// [`Error::NotFound`] when no session begins with the id, [`Error::Usage`] when several do or a place cannot be read,
/// [`Error::CursorAhead`] for a beginning beyond the end.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let Args { session, speed, max_gap, from, until, step, state } = args;
    let now = context.now();
    let range = Range {
        from: from.as_deref().map(|text| when::place("--from", text, now)).transpose()?,
        until: until.as_deref().map(|text| when::place("--until", text, now)).transpose()?,
    };
    when::ordered(range.from, range.until)?;
    if let Some(server) = context.elsewhere()? {
        if step && context.out.is_terminal() {
            let message = "--step in a terminal wants the journal at hand: run this where the server runs";
            return Err(Error::usage(message));
        }
        let pacing = Pacing { speed: if step { Speed::MAX } else { speed }, max_gap };
        return elsewhere::replay(&session, range, pacing, state.as_deref(), &server, context);
    }
    let folded = folded(context)?;
    if let Some(Place::Seq(from)) = range.from {
        start(&folded.view, Some(from.get()))?;
    }
    let found = find(&folded, &session)?;
    let mut order = folded.view.session(&found.id)?;
    let (mut gaps, places) = (order.gaps().to_vec(), order.places().to_vec());
    let (begun, kept) = (Seq::new(found.session.seq_first), folded.view.first());
    if begun < kept {
        gaps.insert(0, Gap { from: begun, to: kept.prev(), reason: GapReason::Retention });
    }
    let mut states = state.map(|name| States::new(context, &folded.view, &name, &found.id)).transpose()?;
    let first = places.iter().map(|(_, seq)| *seq).min().unwrap_or(Seq::FIRST);
    let noted = Noted::beside_lines(first, &folded.view, context)?;
    let mut next = || loop {
        match order.next()? {
            Some(event) if !range.holds(event.seq, event.event.time) => {}
            other => return Ok(other),
        }
    };
    if step && !context.out.is_json() && context.out.is_terminal() && std::io::stdin().is_terminal() {
        let mut stops = Vec::new();
        while let Some(event) = next()? {
            stops.push(Stop::of(&event));
        }
        let pacing = Pacing { speed, max_gap };
        let played = interactive::run(stops, pacing, &folded.view, &mut states, context)?;
        let told = outcome(context, &progress(gaps, states), played.summary.clone().unwrap_or_default());
        return Ok(if played.exit == Exit::Done { told } else { played });
    }
    let pacing = Pacing { speed: if step { Speed::MAX } else { speed }, max_gap };
    if let Some(states) = &mut states {
        // In the order of the journal: a fold goes forward only, and lines that came late would send it back each time.
        states
            .learn(places.into_iter().filter(|(time, seq)| range.holds(*seq, *time)).map(|(_, seq)| seq))?;
    }
    let played = play(
        &mut context.out,
        pacing,
        Beside { states: &mut states, noted: Some(&noted) },
        &mut next,
        &mut std::thread::sleep,
    )?;
    let words = played_words(played);
    context.out.note(&words);
    Ok(outcome(context, &progress(gaps, states), words))
}

/// Gives a terminal back that a replay holds, where one does.
pub(super) fn restore_terminal() {
    terminal::restore();
}

/// What a replay came to.
pub(super) fn played_words(events: u64) -> String {
    match events {
        0 => NOTHING_PLAYED.to_owned(),
        events => format!("{} replayed", display::counted(events, "event")),
    }
}

/// What is said where no event is shown.
const NOTHING_PLAYED: &str = "no event of the session lies in this range";

/// What could not be read on the way.
fn progress(gaps: Vec<Gap>, states: Option<States>) -> Progress {
    Progress { gaps, ..states.map(States::into_progress).unwrap_or_default() }
}

/// What is shown beside the events, where somebody wants it.
struct Beside<'a> {
    states: &'a mut Option<States>,
    noted: Option<&'a Noted>,
}

/// What waits between two events.
trait Sleeper: FnMut(Duration) {}
impl<F: FnMut(Duration)> Sleeper for F {}

/// Prints events as `next` gives them, with the pauses that `pacing` wants. Says how many.
fn play(
    out: &mut Out,
    pacing: Pacing,
    beside: Beside<'_>,
    next: &mut impl FnMut() -> Result<Option<StoredEvent>, Error>,
    sleep: &mut impl Sleeper,
) -> Result<u64, Error> {
    let Beside { states, noted } = beside;
    let (mut before, mut lines) = (None, Lines::default());
    while let Some(stored) = next()? {
        let time = stored.event.time;
        let delay = before.replace(time).map_or(Duration::ZERO, |before| pacing.delay(before, time));
        if !delay.is_zero() {
            out.flush()?;
            sleep(delay);
        }
        lines.event(out, &stored)?;
        if let Some(states) = states.as_mut() {
            show_changes(out, states, stored.seq)?;
        }
        noted.map_or(Ok(()), |noted| noted.beside(out, stored.seq))?;
    }
    out.flush()?;
    Ok(lines.events)
}

/// What an event changed: a line for each place, or with `--json` one object, after the event's own line.
fn show_changes(out: &mut Out, states: &mut States, seq: Seq) -> Result<(), Error> {
    let projection = states.projection();
    let changes = states.changes_at(seq)?;
    if out.is_json() {
        return out.json(&json!({"state": Step { projection, seq, changes }}));
    }
    print_changes(out, changes)
}

/// A line for each place.
pub(super) fn print_changes(out: &mut Out, changes: &[Change]) -> Result<(), Error> {
    let style = out.style();
    for words in words::of(changes) {
        let words = display::fit(&words, style.columns.unwrap_or(usize::MAX).saturating_sub(9));
        out.line(&format!("{:>7}  {}", "", style.paint(Role::Dim, &words)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::Manner;
    use crate::cli::out::tests::captured;
    use crate::event::{Event, Source, Timestamp, payload};
    use uuid::Uuid;

    fn prompt(seq: u64, ms: i64) -> StoredEvent {
        let time = Timestamp::from_micros(ms * 1_000);
        let prompt = payload::PromptSubmitted { prompt: format!("prompt {seq}"), prompt_id: None };
        let event = Event::new(Uuid::from_u128(seq.into()), time, "s", Source::default(), prompt);
        StoredEvent { seq: Seq::new(seq), recorded: time, event }
    }

    /// Plays prompts of these times; gives back the pauses, each with the number of lines that stood before it.
    fn pauses(pacing: Pacing, times: &[i64]) -> Vec<(Duration, usize)> {
        let (mut out, stdout, _) = captured(Manner::default());
        let mut events =
            times.iter().zip(1..).map(|(ms, seq)| prompt(seq, *ms)).collect::<Vec<_>>().into_iter();
        let mut slept = Vec::new();
        let beside = Beside { states: &mut None, noted: None };
        let played = play(&mut out, pacing, beside, &mut || Ok(events.next()), &mut |pause| {
            slept.push((pause, stdout.text().lines().count()));
        });
        assert_eq!(played.unwrap(), times.len() as u64);
        assert_eq!(stdout.text().lines().count(), times.len());
        slept
    }

    #[test]
    fn each_pause_stands_before_its_event_and_after_what_was_shown_is_flushed() {
        let ms = Duration::from_millis;
        let slept = pauses(Pacing::default(), &[0, 100, 100, 9_000]);
        assert_eq!(slept, [(ms(100), 1), (ms(2_000), 3)]);
        let fast = Pacing { speed: "4".parse().unwrap(), ..Pacing::default() };
        assert_eq!(pauses(fast, &[0, 100, 9_000]), [(ms(25), 1), (ms(2_000), 2)]);
        assert_eq!(pauses(Pacing { speed: Speed::MAX, ..Pacing::default() }, &[0, 100, 9_000]), []);
    }

    #[test]
    fn a_range_includes_both_its_ends() {
        let now = Timestamp::EPOCH;
        let place = |text| Some(when::place("--from", text, now).unwrap());
        let range = Range { from: place("2"), until: place("1970-01-01T00:00:00.3Z") };
        let held: Vec<_> = (1..=4)
            .filter(|n| range.holds(Seq::new(*n), Timestamp::from_micros(n.cast_signed() * 100_000)))
            .collect();
        assert_eq!(held, [2, 3]);
        assert_eq!(when::place("--from", "99999999999999999999", now).unwrap_err().exit_code(), 2);
        assert_eq!(when::place("--from", "", now).unwrap_err().exit_code(), 2);
    }
}
