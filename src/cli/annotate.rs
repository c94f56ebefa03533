//! `annotate SEQ TEXT`: a person's note on an event, itself an event.
//!
//! It belongs to the session of the event that it is about, so that it stands in that session's views too. A server that runs takes it;
//! else this command takes the lock; where another process holds it, the note waits in the inbox as what hooks leave does.

use std::io::Read as _;

use super::{Context, Outcome, display, elsewhere};
use crate::answers::note;
use crate::client::keep::{Kept, keep};
use crate::config::Settings;
use crate::error::Error;
use crate::event::{Event, Seq, StoredEvent};
use crate::projection::why;
use crate::store;

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The event that the note is about
    #[arg(value_name = "SEQ")]
    seq: u64,
    /// The note; - reads it from stdin
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,
}

/// Runs it.
///
/// # Errors
/// [`Error::NotFound`] when there is no such event, [`Error::Usage`] for an empty or too long note; when it cannot be kept.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let about = Seq::new(args.seq);
    if let Some(server) = context.elsewhere()? {
        return elsewhere::annotate(about, text(args.text)?, &server, context);
    }
    let dir = context.open_data_dir()?;
    // What waits in the inbox has no seq yet, so nobody can mean it here.
    let view = store::read(&dir, &context.env)?;
    let target = why::at(&view, about)?.ok_or_else(|| why::absent(&view, about))?;
    let run = context.run().map(|run| (run.correlation(), run.started()));
    let note = note::event(&target, text(args.text)?, run, &*context.clock);
    let kept = keep(&dir, Settings::load(&dir, &context.env)?, &context.clock, &note)?;
    if let Some(warning) = &kept.warning {
        context.out.warn(warning);
    }
    show(context, &note, &target, &kept)
}

/// Says where the note stands now.
pub(super) fn show(
    context: &mut Context,
    note: &Event,
    target: &StoredEvent,
    kept: &Kept,
) -> Result<Outcome, Error> {
    let about = target.seq;
    if context.out.is_json() {
        context.out.json(&kept.told(about, note))?;
    } else {
        let words = match kept.seq {
            Some(seq) => {
                format!("note {seq} on event {about}: {}", display::fit(&target.event.summary(), 80))
            }
            None => {
                let why = kept.waits.map_or_else(String::new, |why| format!(": {why}"));
                format!("the note on event {about} waits in the inbox{why}")
            }
        };
        context.out.line(&words)?;
    }
    Ok(Outcome::with_summary(format!("a note on event {about}")))
}

fn text(given: String) -> Result<String, Error> {
    let text = if given == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(note::TEXT_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::failed(format!("cannot read the note from stdin: {error}")))?;
        String::from_utf8(bytes).map_err(|_| Error::usage("the note on stdin is not UTF-8"))?
    } else {
        given
    };
    note::text(&text)
}
