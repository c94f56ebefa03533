//! `replay SESSION`: a session as it happened, event by event, with its own spacing.
//!
//! Events come by (time, seq). Which events and which pauses is decided by pure code ([`pacing`]); the only thing
//! that sleeps is the [`Sleeper`] at the end of the chain, which a test replaces.

use super::display;
use super::lines::Lines;
use super::out::Out;
use super::session::find;
use super::sessions::{Folded, outcome};
use super::{Context, Outcome, when};
use crate::error::Error;
use crate::event::{Seq, StoredEvent, Timestamp};
use crate::projection::Progress;
use crate::projection::pacing::{self, Pacing, Speed};
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
}

/// Runs it.
///
/// # Errors
/// [`Error::NotFound`] when no session begins with the id, [`Error::Usage`] when several do or a place cannot be read.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let Args { session, speed, max_gap, from, until } = args;
    let now = context.now();
    let range = Range {
        from: from.as_deref().map(|text| Place::parse("--from", text, now)).transpose()?,
        until: until.as_deref().map(|text| Place::parse("--until", text, now)).transpose()?,
    };
    let folded = Folded::now(context)?;
    let found = find(&folded, &session)?;
    let mut order = folded.view.session(&found.id)?;
    let progress = Progress { gaps: order.gaps().to_vec(), ..Progress::default() };
    let pacing = Pacing { speed, max_gap };
    let mut next = || loop {
        match order.next()? {
            Some(event) if !range.holds(&event) => {}
            other => return Ok(other),
        }
    };
    let played = play(&mut context.out, pacing, &mut next, &mut std::thread::sleep)?;
    let words = format!("{} replayed", display::counted(played, "event"));
    context.out.note(&words);
    Ok(outcome(context, &progress, words))
}

/// What waits between two events.
trait Sleeper: FnMut(Duration) {}
impl<F: FnMut(Duration)> Sleeper for F {}

/// Prints events as `next` gives them, with the pauses that `pacing` wants. Says how many.
fn play(
    out: &mut Out,
    pacing: Pacing,
    next: &mut impl FnMut() -> Result<Option<StoredEvent>, Error>,
    sleep: &mut impl Sleeper,
) -> Result<u64, Error> {
    let (mut before, mut lines) = (None, Lines::default());
    while let Some(stored) = next()? {
        let time = stored.event.time;
        let delay = before.replace(time).map_or(Duration::ZERO, |before| pacing.delay(before, time));
        if !delay.is_zero() {
            out.flush()?;
            sleep(delay);
        }
        lines.event(out, &stored)?;
    }
    out.flush()?;
    Ok(lines.events)
}

/// A place in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Seq(Seq),
    Time(Timestamp),
}

impl Place {
    pub(super) fn parse(option: &str, text: &str, now: Timestamp) -> Result<Place, Error> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let seq = text
                .parse()
                .map_err(|_| Error::usage(format!("{option} {text} is no seq: it is too large")))?;
            return Ok(Place::Seq(seq));
        }
        when::parse(option, text, now).map(Place::Time)
    }
}

/// The part of a session that is shown: both ends are included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    from: Option<Place>,
    until: Option<Place>,
}

impl Range {
    fn holds(self, stored: &StoredEvent) -> bool {
        let begun = match self.from {
            Some(Place::Seq(seq)) => stored.seq >= seq,
            Some(Place::Time(time)) => stored.event.time >= time,
            None => true,
        };
        let over = match self.until {
            Some(Place::Seq(seq)) => stored.seq > seq,
            Some(Place::Time(time)) => stored.event.time > time,
            None => false,
        };
        begun && !over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::Manner;
    use crate::cli::out::tests::captured;
    use crate::event::{Event, Source, payload};
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
        let played = play(&mut out, pacing, &mut || Ok(events.next()), &mut |pause| {
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
        let place = |text| Some(Place::parse("--from", text, now).unwrap());
        let range = Range { from: place("2"), until: place("1970-01-01T00:00:00.3Z") };
        let held: Vec<_> =
            (1..=4).filter(|seq| range.holds(&prompt(*seq, seq.cast_signed() * 100))).collect();
        assert_eq!(held, [2, 3]);
        assert_eq!(Place::parse("--from", "99999999999999999999", now).unwrap_err().exit_code(), 2);
        assert_eq!(Place::parse("--from", "", now).unwrap_err().exit_code(), 2);
    }
}
