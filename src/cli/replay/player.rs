//! Where a replay in a terminal stands, and what a key does to it. Pure: keys and elapsed time come in, nothing goes out.

use std::time::Duration;

use crate::event::{KindName, Seq, StoredEvent, Timestamp};
use crate::projection::pacing::{Pacing, Speed};

/// What of an event the keys go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Something failed or was denied.
    Failure,
    /// The user spoke.
    Prompt,
    /// Anything else.
    Other,
}

/// One event of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) seq: Seq,
    pub(super) time: Timestamp,
    pub(super) mark: Mark,
}

impl Stop {
    pub(super) fn of(stored: &StoredEvent) -> Stop {
        let mark = match &stored.event.kind {
            KindName::Known(kind) if kind.name() == "prompt_submitted" => Mark::Prompt,
            KindName::Known(kind)
                if kind.name().ends_with("_failed") || kind.name() == "permission_denied" =>
            {
                Mark::Failure
            }
            _ => Mark::Other,
        };
        Stop { seq: stored.seq, time: stored.event.time, mark }
    }
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Interrupt,
}

/// What the terminal has to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Show where it stands now.
    Show,
    /// Leave.
    Quit,
    /// Leave, as after Ctrl-C.
    Interrupted,
}

/// The keys, as `?` shows them.
pub(super) const HELP: [(&str, &str); 9] = [
    ("space", "go on, or pause"),
    ("right, left", "one event forward, back"),
    ("up, down", "faster, slower"),
    ("f, F", "next, previous failure"),
    ("p, P", "next, previous prompt"),
    ("g NUMBER enter", "jump to a seq"),
    ("home, end", "first, last event"),
    ("?", "this help"),
    ("q", "quit"),
];

/// A replay in a terminal.
#[derive(Debug)]
pub(super) struct Player {
    stops: Vec<Stop>,
    at: usize,
    pacing: Pacing,
    is_paused: bool,
    shows_help: bool,
    /// The digits typed after `g`.
    jump: Option<String>,
    note: Option<String>,
}

impl Player {
    /// At the first event, paused. None where there is no event.
    pub(super) fn new(stops: Vec<Stop>, pacing: Pacing) -> Option<Player> {
        let fresh =
            Player { stops, at: 0, pacing, is_paused: true, shows_help: false, jump: None, note: None };
        (!fresh.stops.is_empty()).then_some(fresh)
    }

    pub(super) fn stops(&self) -> &[Stop] {
        &self.stops
    }

    /// The place of the event that is shown, from 0.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn stop(&self) -> Stop {
        self.stops[self.at]
    }

    pub(super) fn speed(&self) -> Speed {
        self.pacing.speed
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn shows_help(&self) -> bool {
        self.shows_help
    }

    pub(super) fn jump(&self) -> Option<&str> {
        self.jump.as_deref()
    }

    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// How long until the next event, counted from when this one came; none while it is paused.
    pub(super) fn pause_before_next(&self) -> Option<Duration> {
        let next = self.stops.get(self.at + 1).filter(|_| !self.is_paused)?;
        Some(self.pacing.delay(self.stop().time, next.time))
    }

    /// The next event's time has come.
    pub(super) fn advance(&mut self) {
        self.at = (self.at + 1).min(self.stops.len() - 1);
        self.is_paused |= self.at + 1 == self.stops.len();
    }

    pub(super) fn press(&mut self, key: Key) -> Turn {
        self.note = None;
        if key == Key::Interrupt {
            return Turn::Interrupted;
        }
        if self.shows_help {
            self.shows_help = false;
            return Turn::Show;
        }
        if let Some(digits) = self.jump.take() {
            self.typed(digits, key);
            return Turn::Show;
        }
        match key {
            Key::Char('q') | Key::Escape => return Turn::Quit,
            Key::Char('?') => self.shows_help = true,
            Key::Char('g') => self.jump = Some(String::new()),
            Key::Char(' ') => self.is_paused = !self.is_paused || self.is_at_end(),
            Key::Up => self.pacing.speed = self.pacing.speed.faster(),
            Key::Down => self.pacing.speed = self.pacing.speed.slower(),
            Key::Right => self.step_to(self.at.saturating_add(1)),
            Key::Left => self.step_to(self.at.saturating_sub(1)),
            Key::Home => self.step_to(0),
            Key::End => self.step_to(usize::MAX),
            Key::Char('f') => self.find(Mark::Failure, true),
            Key::Char('F') => self.find(Mark::Failure, false),
            Key::Char('p') => self.find(Mark::Prompt, true),
            Key::Char('P') => self.find(Mark::Prompt, false),
            Key::Char(_) | Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        Turn::Show
    }

    fn is_at_end(&self) -> bool {
        self.at + 1 == self.stops.len()
    }

    /// Whoever steps wants to look: it pauses.
    fn step_to(&mut self, at: usize) {
        self.is_paused = true;
        self.at = at.min(self.stops.len() - 1);
    }

    fn find(&mut self, mark: Mark, forward: bool) {
        let has_mark = |at: &usize| self.stops[*at].mark == mark;
        let found = if forward {
            (self.at + 1..self.stops.len()).find(has_mark)
        } else {
            (0..self.at).rev().find(has_mark)
        };
        match found {
            Some(at) => self.step_to(at),
            None => {
                let (way, what) = (
                    if forward { "later" } else { "earlier" },
                    match mark {
                        Mark::Failure => "failure",
                        Mark::Prompt | Mark::Other => "prompt",
                    },
                );
                self.note = Some(format!("no {way} {what}"));
            }
        }
    }

    fn typed(&mut self, mut digits: String, key: Key) {
        match key {
            Key::Char(digit) if digit.is_ascii_digit() && digits.len() < 20 => digits.push(digit),
            Key::Backspace => _ = digits.pop(),
            Key::Enter => return self.jump_to(&digits),
            Key::Escape => return,
            _ => {}
        }
        self.jump = Some(digits);
    }

    fn jump_to(&mut self, digits: &str) {
        let Ok(wanted) = digits.parse::<u64>() else { return };
        match self.stops.iter().position(|stop| stop.seq.get() == wanted) {
            Some(at) => self.step_to(at),
            None => self.note = Some(format!("seq {wanted} is not in this replay")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seqs 10, 11, ... a second apart: a prompt, other, a failure, a prompt, a failure.
    fn player() -> Player {
        let marks = [Mark::Prompt, Mark::Other, Mark::Failure, Mark::Prompt, Mark::Failure];
        let stops = marks.iter().zip(10_u32..).map(|(mark, n)| Stop {
            seq: Seq::new(n.into()),
            time: Timestamp::from_micros(i64::from(n) * 1_000_000),
            mark: *mark,
        });
        Player::new(stops.collect(), Pacing::default()).unwrap()
    }

    fn typed(player: &mut Player, text: &str) -> u64 {
        for c in text.chars() {
            let key = match c {
                '>' => Key::Right,
                '<' => Key::Left,
                '\n' => Key::Enter,
                c => Key::Char(c),
            };
            assert_eq!(player.press(key), Turn::Show);
        }
        player.stop().seq.get()
    }

    #[test]
    fn keys_move_it_and_never_beyond_the_ends() {
        for (keys, seq) in [
            ("", 10),
            (">", 11),
            (">><", 11),
            ("<<", 10),
            (">>>>>>>>", 14),
            ("f", 12),
            ("ff", 14),
            ("fff", 14),
            ("ffF", 12),
            ("F", 10),
            ("p", 13),
            ("pP", 10),
            ("g13\n", 13),
            ("g99\n", 10),
            ("g\n", 10),
            ("gx1q2\n", 12),
            ("?>", 10),
            ("?>>", 11),
        ] {
            assert_eq!(typed(&mut player(), keys), seq, "{keys:?}");
        }
        assert_eq!(player().press(Key::Char('q')), Turn::Quit);
        assert_eq!(player().press(Key::Interrupt), Turn::Interrupted);
        assert!(Player::new(Vec::new(), Pacing::default()).is_none());
    }

    #[test]
    fn it_goes_on_by_the_sessions_own_pauses_and_stops_at_the_end() {
        let mut player = player();
        assert_eq!(player.pause_before_next(), None, "paused at first");
        typed(&mut player, " ");
        assert_eq!(player.pause_before_next(), Some(Duration::from_secs(1)));
        player.press(Key::Up);
        assert_eq!(
            (player.speed().to_string().as_str(), player.pause_before_next()),
            ("2", Some(Duration::from_millis(500)))
        );
        for _ in 0..9 {
            player.advance();
        }
        assert!(player.is_paused() && player.stop().seq.get() == 14);
        typed(&mut player, " ");
        assert!(player.is_paused(), "there is nothing to go on to");
        typed(&mut player, "< ");
        assert!(!player.is_paused());
        typed(&mut player, ">");
        assert!(player.is_paused(), "who steps wants to look");
    }

    #[test]
    fn what_is_not_there_is_said_until_the_next_key() {
        let mut player = player();
        typed(&mut player, "F");
        assert_eq!(player.note(), Some("no earlier failure"));
        typed(&mut player, "g7\n");
        assert_eq!(player.note(), Some("seq 7 is not in this replay"));
        typed(&mut player, ">");
        assert_eq!(player.note(), None);
    }
}
