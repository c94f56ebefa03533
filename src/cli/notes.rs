//! People's notes, beside the events that they are about.

use super::Context;
use super::display::{self, Role, Style};
use super::lines::Lines;
use super::out::Out;
use crate::error::Error;
use crate::event::Seq;
use crate::projection::notes::{Note, Notes};
use crate::store::{Item, View};

/// The notes as of now.
#[derive(Default)]
pub(super) struct Noted(Notes);

impl Noted {
    /// For lines that show events from `first` on and no earlier ones: a note stands behind what it is about, so nothing before is read. In
    /// JSON there are no lines beside events, and so none are looked for.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) fn beside_lines(first: Seq, view: &View, context: &Context) -> Result<Noted, Error> {
        if context.out.is_json() {
            Ok(Noted::default())
        } else {
            Ok(Noted(context.record()?.notes(view, first)?))
        }
    }

    /// These.
    pub(super) fn of(notes: Notes) -> Noted {
        Noted(notes)
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.0
    }

    /// The notes on what was just printed, a line each. JSON has them as the events that they are.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(super) fn beside(&self, out: &mut Out, seq: Seq) -> Result<(), Error> {
        if out.is_json() {
            return Ok(());
        }
        let style = out.style();
        self.notes().of(seq).iter().try_for_each(|note| out.line(&line(note, "         ", style)))
    }

    /// What a replay met, with the notes on it.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(super) fn item(&self, lines: &mut Lines, out: &mut Out, item: &Item) -> Result<(), Error> {
        lines.item(out, item)?;
        match item {
            Item::Event(stored) => self.beside(out, stored.seq),
            Item::Gap(_) | Item::Undecodable(_) => Ok(()),
        }
    }
}

/// One note on one line.
pub(super) fn line(note: &Note, indent: &str, style: Style) -> String {
    const TEXT_COLUMNS: usize = 100;
    let words = format!("note {}: {}", note.seq, display::fit(&note.text, TEXT_COLUMNS));
    format!("{indent}{}", style.paint(Role::Waiting, &words))
}
