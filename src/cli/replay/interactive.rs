//! `replay --step` in a terminal: keys in, pictures out, and the clock between them.
//!
//! What a key does is decided by the [`Player`], what is shown by the [`Picture`]; here is the loop that reads keys, waits and draws.
//! A picture is drawn when something has changed, and at most every [`DRAW_EVERY`]: at full speed events pass that are not drawn.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossterm::Command as _;
use crossterm::event::{self, Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{cursor, terminal};

use super::player::{Key, Player, Stop, Turn};
use super::screen::{Picture, event_rows};
use super::states::States;
use super::terminal::{Held, ansi};
use crate::cli::{Context, Exit, Outcome, display};
use crate::error::Error;
use crate::event::{Seq, StoredEvent};
use crate::projection::pacing::Pacing;
use crate::store::{Item, View};

/// The shortest time from one picture to the next.
const DRAW_EVERY: Duration = Duration::from_millis(33);
/// How long to wait for a key before looking whether the program is asked to end.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// Events that are kept for the next picture: several screens of them.
const EVENTS_KEPT_MAX: usize = 512;

/// Shows the events of `stops` under the user's keys.
///
/// # Errors
/// A terminal that cannot be used, a journal that cannot be read.
pub(super) fn run(
    stops: Vec<Stop>,
    pacing: Pacing,
    view: &View,
    states: &mut Option<States>,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let Some(player) = Player::new(stops, pacing) else {
        context.out.note(super::NOTHING_PLAYED);
        return Ok(Outcome::DONE);
    };
    context.interrupt.take_over();
    let held = Held::take(&mut context.out)?;
    let mut show = Show { player, view, states, read: BTreeMap::new() };
    let ended = show.run(context);
    drop(held);
    let words = format!("{} of {} events seen", show.player.at() + 1, show.player.stops().len());
    match ended? {
        Turn::Interrupted => Ok(Outcome { exit: Exit::Interrupted, summary: Some(words) }),
        Turn::Quit | Turn::Show => Ok(Outcome::with_summary(words)),
    }
}

struct Show<'a> {
    player: Player,
    view: &'a View,
    states: &'a mut Option<States>,
    /// Events near the one that is shown.
    read: BTreeMap<Seq, StoredEvent>,
}

impl Show<'_> {
    fn run(&mut self, context: &mut Context) -> Result<Turn, Error> {
        let mut changed = true;
        let mut drawn: Option<Instant> = None;
        let mut arrived = Instant::now();
        loop {
            if context.interrupt.is_asked() {
                return Ok(Turn::Interrupted);
            }
            let until_draw = drawn.map_or(Duration::ZERO, |at| DRAW_EVERY.saturating_sub(at.elapsed()));
            if changed && until_draw.is_zero() {
                self.draw(context)?;
                (changed, drawn) = (false, Some(Instant::now()));
            }
            let mut wait = if changed { until_draw } else { LOOK_AROUND };
            if let Some(pause) = self.player.pause_before_next() {
                wait = wait.min(pause.saturating_sub(arrived.elapsed()));
            }
            if event::poll(wait).map_err(|error| failed(&error))? {
                let at = self.player.at();
                match event::read().map_err(|error| failed(&error))? {
                    Input::Key(key) if key.kind != KeyEventKind::Release => match meaning(key) {
                        Some(key) => match self.player.press(key) {
                            Turn::Show => changed = true,
                            end => return Ok(end),
                        },
                        None => continue,
                    },
                    Input::Resize(..) => changed = true,
                    _ => continue,
                }
                if self.player.at() != at || self.player.is_paused() {
                    arrived = Instant::now();
                }
            } else if self.player.pause_before_next().is_some_and(|pause| arrived.elapsed() >= pause) {
                self.player.advance();
                (changed, arrived) = (true, Instant::now());
            }
        }
    }

    fn draw(&mut self, context: &mut Context) -> Result<(), Error> {
        let (columns, rows) = terminal::size().map_err(|error| failed(&error))?;
        let (columns, rows) = (usize::from(columns.max(1)), usize::from(rows.max(1)));
        let events = self.events(event_rows(rows, self.states.is_some()))?;
        let seq = self.player.stop().seq;
        let changes = match self.states.as_mut() {
            Some(states) => Some((states.projection(), states.changes_at(seq)?)),
            None => None,
        };
        let style = context.out.style();
        let picture = Picture { player: &self.player, events: &events, changes, style, columns, rows };
        let lines = picture.lines();
        context.out.draw(&ansi(|text| {
            cursor::MoveTo(0, 0).write_ansi(text)?;
            for (row, line) in lines.iter().enumerate() {
                text.push_str(if row == 0 { "" } else { "\r\n" });
                text.push_str(line);
                terminal::Clear(terminal::ClearType::UntilNewLine).write_ansi(text)?;
            }
            Ok(())
        }))
    }

    /// The latest `rows` events up to the one that is shown.
    fn events(&mut self, rows: usize) -> Result<Vec<StoredEvent>, Error> {
        if self.read.len() > EVENTS_KEPT_MAX.max(2 * rows) {
            self.read.clear();
        }
        let at = self.player.at();
        let mut events = Vec::new();
        for stop in &self.player.stops()[(at + 1).saturating_sub(rows.max(1))..=at] {
            if !self.read.contains_key(&stop.seq)
                && let Some(Item::Event(event)) = self.view.get(stop.seq)?
            {
                self.read.insert(stop.seq, event);
            }
            events.extend(self.read.get(&stop.seq).cloned());
        }
        Ok(events)
    }
}

/// What a key means here.
fn meaning(key: KeyEvent) -> Option<Key> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    Some(match key.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

fn failed(error: &std::io::Error) -> Error {
    Error::failed(format!("the terminal cannot be used: {}", display::visible(&error.to_string())))
}
