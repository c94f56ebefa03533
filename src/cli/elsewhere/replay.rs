//! `replay --server`: the server paces the events, and they are shown as they come.

use std::time::Duration;

use serde::Deserialize;

use super::super::lines::Lines;
use super::super::tail::show_frame;
use super::super::{Context, Outcome, events as here, replay as local};
use super::{Pairs, detail, given, noted, of_pairs, place_words, told};
use crate::client::{Next, Server};
use crate::error::Error;
use crate::event::Range;
use crate::projection::changes::Change;
use crate::projection::pacing::Pacing;
use crate::projection::registry;
use crate::wire::{path, sse};

const LOOK_AROUND: Duration = Duration::from_millis(100);

pub(in crate::cli) fn replay(
    session: &str,
    range: Range,
    pacing: Pacing,
    state: Option<&str>,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    state.map(registry::find).transpose()?;
    let session = detail(server, session).map_err(told)?.session.id;
    let noted = noted(server, context)?;
    let mut pairs: Pairs = vec![
        ("session", session),
        ("speed", pacing.speed.to_string()),
        ("max_gap", format!("{}ms", pacing.max_gap.as_millis())),
    ];
    given(&mut pairs, "from", range.from.map(place_words));
    given(&mut pairs, "until", range.until.map(place_words));
    given(&mut pairs, "state", state);
    let mut stream = server.stream(&of_pairs(path::REPLAY, &pairs), None).map_err(told)?;
    let (mut lines, mut changed) = (Lines::default(), None);
    loop {
        match stream.next(LOOK_AROUND).map_err(told)? {
            // What an event changes comes before it, and is shown after it.
            Next::Frame(frame) if frame.event == sse::STATE => changed = Some(frame.data),
            Next::Frame(frame) => {
                let before = lines.events;
                show_frame(&frame, &mut lines, context)?;
                if lines.events == before {
                    continue;
                }
                if let Some(changed) = changed.take() {
                    show_changes(&changed, context)?;
                }
                if let (Some(noted), Ok(seq)) = (&noted, frame.last_event_id.parse()) {
                    noted.beside(&mut context.out, seq)?;
                }
            }
            Next::Quiet => context.out.flush()?,
            Next::End => break,
        }
    }
    context.out.note(&local::played_words(lines.events));
    here::end(&lines, context)
}

fn show_changes(frame: &str, context: &mut Context) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Told {
        changes: Vec<Change>,
    }
    if context.out.is_json() {
        return context.out.json_text(&format!("{{\"state\":{frame}}}"));
    }
    let told: Told = serde_json::from_str(frame)
        .map_err(|error| Error::failed(format!("the server sent changes that cannot be read: {error}")))?;
    local::print_changes(&mut context.out, &told.changes)
}
