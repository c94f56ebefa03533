//! `annotate --server`: the note goes to the server, or nowhere. The inbox of this machine belongs to another journal.

use super::super::annotate::show;
use super::super::{Context, Outcome};
use super::told;
use crate::answers::note;
use crate::client::keep::Kept;
use crate::client::{Server, request_of};
use crate::error::Error;
use crate::event::{Seq, StoredEvent};
use crate::wire::{Durability, path};

pub(in crate::cli) fn annotate(
    about: Seq,
    text: String,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let target = server.get_json(&path::event(about.get())).map_err(told)?;
    let target = StoredEvent::from_json(&target)
        .map_err(|error| Error::failed(format!("the server sent an event that cannot be read: {error}")))?;
    // The record of this run stays on this machine, where nobody who reads the note could find it.
    let note = note::event(&target, text, None, &*context.clock);
    let request = request_of(&note).map_err(|error| Error::failed(error.to_string()))?;
    let emitted = server.emit(&request, Durability::Disk, None).map_err(told)?;
    let kept = Kept::done(emitted.seqs.first().copied(), "server");
    show(context, &note, &target, &kept)
}
