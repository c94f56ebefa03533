//! The notes projection: what people noted on which event.
//!
//! A note is an event of its own, far behind the one that it is about. Whoever shows an event must find the notes on it without reading
//! all that came after, so they are kept by the seq that they are about. Bounds: [`NOTES_KEPT_MAX`] notes, the oldest leave first and are
//! counted; the events themselves stay.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Projection, Wanted};
use crate::event::{Kind, Seq, StoredEvent, Timestamp, payload};

/// Notes that are kept: at most 4 KB each.
pub const NOTES_KEPT_MAX: usize = 10_000;
/// Bytes of a note that are kept here; the whole text stands in its event.
const TEXT_BYTES_MAX: usize = 4_096;

/// The projection's name and rules; its state is [`Notes`].
pub enum NotesProjection {}

/// The notes, by the event that they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    by_seq: BTreeMap<u64, Vec<Note>>,
    /// Notes that are kept.
    pub kept: u64,
    /// Notes that had to leave.
    pub dropped: u64,
    /// Notes whose payload could not be read.
    pub unread: u64,
}

/// One note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The event that says it.
    pub seq: Seq,
    /// When it was written.
    pub time: Timestamp,
    /// Its text.
    pub text: String,
}

impl Notes {
    /// The notes on an event, the oldest first.
    pub fn of(&self, seq: Seq) -> &[Note] {
        self.by_seq.get(&seq.get()).map_or(&[], Vec::as_slice)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    fn bound(&mut self) {
        while self.kept > NOTES_KEPT_MAX as u64 {
            let oldest =
                self.by_seq.iter().filter_map(|(about, notes)| Some((notes.first()?.seq, *about))).min();
            let Some((_, about)) = oldest else { break };
            if let Some(notes) = self.by_seq.get_mut(&about) {
                notes.remove(0);
                self.dropped += 1;
                self.kept -= 1;
                if notes.is_empty() {
                    self.by_seq.remove(&about);
                }
            }
        }
    }
}

impl Projection for NotesProjection {
    const NAME: &'static str = "notes";
    const SCHEMA: u32 = 1;
    const WANTED: Option<Wanted> = Some(|kind| kind == Some(Kind::Annotated));
    type State = Notes;

    fn apply(state: &mut Notes, stored: &StoredEvent) {
        let Some(note) = stored.event.payload_as::<payload::Annotated>() else { return };
        let Ok(payload::Annotated { seq: about, mut text }) = note else {
            state.unread += 1;
            return;
        };
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        let note = Note { seq: stored.seq, time: stored.event.time, text };
        state.by_seq.entry(about).or_default().push(note);
        state.kept += 1;
        state.bound();
    }
}
