//! `annotate SEQ TEXT`: a person's note on an event, itself an event.
//!
//! It belongs to the session of the event that it is about, so that it stands in that session's views too. A server that runs takes it;
//! else this command takes the lock; where another process holds it, the note waits in the inbox as what hooks leave does.

use std::io::Read as _;

use serde_json::json;
use uuid::Uuid;

use super::{Context, Outcome, display, elsewhere};
use crate::client::Server;
use crate::clock;
use crate::config::settings::Durability;
use crate::config::{DataDir, Settings};
use crate::error::Error;
use crate::event::{Event, Redactor, Seq, StoredEvent, payload};
use crate::projection::why;
use crate::store::inbox::{self, Deposit};
use crate::store::{self, Level, Opening, Store};
use crate::wire;

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

/// Longest note in bytes.
const TEXT_BYTES_MAX: u64 = 32 * 1024;

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
    let target = why::at(&view, about)?.ok_or_else(|| why::absent(about))?;
    let run = context.run().map(|run| (run.correlation(), run.started()));
    let note = note(&target, text(args.text)?, run, context);
    let (seq, way) = keep(&dir, &note, context)?;
    show(context, &note, &target, seq, way)
}

/// Says where the note stands now.
pub(super) fn show(
    context: &mut Context,
    note: &Event,
    target: &StoredEvent,
    seq: Option<u64>,
    way: &str,
) -> Result<Outcome, Error> {
    let about = target.seq;
    if context.out.is_json() {
        context.out.json(&json!({"version": 1, "seq": seq, "about": about, "id": note.id, "way": way}))?;
    } else {
        let words = match seq {
            Some(seq) => {
                format!("note {seq} on event {about}: {}", display::fit(&target.event.summary(), 80))
            }
            None => {
                format!("the note on event {about} waits in the inbox: another process holds the journal")
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
            .take(TEXT_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::failed(format!("cannot read the note from stdin: {error}")))?;
        String::from_utf8(bytes).map_err(|_| Error::usage("the note on stdin is not UTF-8"))?
    } else {
        given
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::usage("the note is empty"));
    }
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(Error::usage(format!("the note is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

/// The note as an event. `run` is the correlation and the start of the run that it is a part of.
pub(super) fn note(
    target: &StoredEvent,
    text: String,
    run: Option<(Uuid, Uuid)>,
    context: &Context,
) -> Event {
    let id = clock::new_id(&*context.clock);
    let session = target.event.session.clone();
    let instance = session.clone().unwrap_or_else(|| id.to_string());
    let payload = payload::Annotated { seq: target.seq.get(), text };
    let mut note = Event::new(id, context.now(), instance, clock::this_source("mnemosyne"), payload);
    note.session = session;
    note.project.clone_from(&target.event.project);
    if let Some((correlation, started)) = run {
        note = note.with_correlation(correlation).with_causation(started);
    }
    note.redact(&Redactor::new());
    note
}

/// Where the note stands now, and which way it went: `server`, `journal` or `inbox`. Its id makes a second way safe where the first
/// one's answer was lost.
fn keep(dir: &DataDir, note: &Event, context: &mut Context) -> Result<(Option<u64>, &'static str), Error> {
    let settings = Settings::load(dir, &context.env)?;
    let durability = settings.emit_durability;
    if let Some(server) = Server::find(dir)? {
        let request = json!({
            "kind": note.kind.name(), "payload": note.payload.to_json(), "id": note.id, "time": note.time,
            "session": note.session, "project": note.project, "correlation": note.correlation,
            "causation": note.causation,
        });
        let request = request.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let request: serde_json::Map<_, _> =
            request.map(|(name, value)| (name.clone(), value.clone())).collect();
        let level = match durability {
            Durability::Os => wire::Durability::Os,
            Durability::Disk => wire::Durability::Disk,
        };
        match server.emit(&serde_json::Value::Object(request).to_string(), level, None) {
            Ok(emitted) => return Ok((emitted.seqs.first().copied(), "server")),
            Err(error) => context
                .out
                .warn(&format!("the server did not take the note, so it goes into the inbox: {error}")),
        }
        return leave(dir, note, durability, context);
    }
    let instance = clock::new_id(&*context.clock).to_string();
    let (store, _) = match Store::open(dir, Opening::command(instance, context.clock.clone(), settings)) {
        Ok(opened) => opened,
        Err(Error::Locked { .. } | Error::ServerRunning { .. }) => {
            return leave(dir, note, durability, context);
        }
        Err(error) => return Err(error),
    };
    let level = match durability {
        Durability::Os => Level::Os,
        Durability::Disk => Level::Disk,
    };
    let emitted = store.emit(vec![note.clone()], level, None).and_then(crate::store::Pending::wait);
    let closed = store.close();
    let emitted = emitted?;
    closed?;
    Ok((emitted.seqs.first().map(|seq| seq.get()), "journal"))
}

fn leave(
    dir: &DataDir,
    note: &Event,
    durability: Durability,
    context: &Context,
) -> Result<(Option<u64>, &'static str), Error> {
    let how = match durability {
        Durability::Os => Deposit::Os,
        Durability::Disk => Deposit::Disk,
    };
    inbox::deposit(&dir.inbox(), note, &*context.clock, how)?;
    Ok((None, "inbox"))
}
