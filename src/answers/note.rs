//! A person's or an agent's note on an event, as an event.

use uuid::Uuid;

use crate::clock::{self, Clock};
use crate::error::Error;
use crate::event::{Event, Redactor, StoredEvent, payload};

/// Longest note in bytes.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;

/// The text of a note without the blanks around it.
///
/// # Errors
/// [`Error::Usage`] for an empty or too long one.
pub fn text(given: &str) -> Result<String, Error> {
    let text = given.trim();
    if text.is_empty() {
        return Err(Error::usage("the note is empty"));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::usage(format!("the note is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

/// The note as an event without secrets. It belongs to the session of the event that it is about, so that it stands in that session's
/// views too. `run` is the correlation and the start of the run that it is a part of.
pub fn event(target: &StoredEvent, text: String, run: Option<(Uuid, Uuid)>, clock: &dyn Clock) -> Event {
    let id = clock::new_id(clock);
    let session = target.event.session.clone();
    let instance = session.clone().unwrap_or_else(|| id.to_string());
    let payload = payload::Annotated { seq: target.seq.get(), text };
    let mut note = Event::new(id, clock.now(), instance, clock::this_source("mnemosyne"), payload);
    note.session = session;
    note.project.clone_from(&target.event.project);
    if let Some((correlation, started)) = run {
        note = note.with_correlation(correlation).with_causation(started);
    }
    note.redact(&Redactor::new());
    note
}
