//! One picture of a replay: the events up to the one that is shown, what it changed, and a line about where it stands.
//!
//! Pure: lines of at most so many columns. Text of events comes through [`display`] alone.

use super::player::{HELP, Player};
use super::words;
use crate::cli::display::{self, Role, Style};
use crate::event::StoredEvent;
use crate::projection::changes::Change;

/// What the picture is made from.
pub(super) struct Picture<'a> {
    pub(super) player: &'a Player,
    /// The latest events up to the one that is shown, oldest first.
    pub(super) events: &'a [StoredEvent],
    /// The projection and what the event changed in it, where that was asked for.
    pub(super) changes: Option<(&'static str, &'a [Change])>,
    pub(super) style: Style,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Rows for events, where changes are shown below.
pub(super) fn event_rows(rows: usize, has_changes: bool) -> usize {
    let all = rows.saturating_sub(1);
    if has_changes { all.div_ceil(2) } else { all }
}

impl Picture<'_> {
    /// Exactly `rows` lines, the last of which is the status.
    pub(super) fn lines(&self) -> Vec<String> {
        let body = self.rows.saturating_sub(1);
        let mut lines = if self.player.shows_help() { self.help() } else { self.events() };
        if let (Some((projection, changes)), false) = (self.changes, self.player.shows_help()) {
            lines.resize(event_rows(self.rows, true).min(body), String::new());
            self.changes(projection, changes, body - lines.len(), &mut lines);
        }
        lines.resize(body, String::new());
        lines.push(self.status());
        lines
    }

    fn help(&self) -> Vec<String> {
        let line = |(keys, what): (&str, &str)| display::fit(&format!("  {keys:<16}{what}"), self.columns);
        HELP.into_iter().map(line).collect()
    }

    fn events(&self) -> Vec<String> {
        let rows = event_rows(self.rows, self.changes.is_some());
        let skipped = self.events.len().saturating_sub(rows);
        let style = Style { columns: Some(self.columns.saturating_sub(2)), ..self.style };
        let shown = self.player.stop().seq;
        let line = |event: &StoredEvent| {
            let line = display::event_line(event, style);
            if event.seq == shown { format!("> {line}") } else { format!("  {line}") }
        };
        self.events[skipped..].iter().map(line).collect()
    }

    fn changes(&self, projection: &str, changes: &[Change], rows: usize, lines: &mut Vec<String>) {
        if rows == 0 {
            return;
        }
        let changes = words::of(changes);
        let head = format!("{projection}: {}", display::counted(changes.len() as u64, "change"));
        lines.push(self.style.paint(Role::Strong, &display::fit(&head, self.columns)));
        let room = rows - 1;
        let shown = if changes.len() > room { room.saturating_sub(1) } else { changes.len() };
        lines.extend(changes[..shown].iter().map(|words| display::fit(&format!("  {words}"), self.columns)));
        if shown < changes.len() && room > 0 {
            lines.push(display::fit(&format!("  and {} more", changes.len() - shown), self.columns));
        }
    }

    fn status(&self) -> String {
        let player = self.player;
        let stop = player.stop();
        let what = match (player.jump(), player.note()) {
            (Some(digits), _) => format!("jump to seq {digits}_"),
            (None, Some(note)) => note.to_owned(),
            (None, None) if player.is_paused() => "paused".to_owned(),
            (None, None) => "playing".to_owned(),
        };
        let words = format!(
            "seq {}  {}  x{}  {}/{}  {what}  ? help",
            stop.seq,
            display::local_time(stop.time),
            player.speed(),
            player.at() + 1,
            player.stops().len()
        );
        self.style.paint(Role::Waiting, &display::fit(&words, self.columns))
    }
}
