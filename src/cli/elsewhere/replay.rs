//! `replay --server`: the server paces the events, and they are shown as they come.

use std::time::Duration;

use super::super::lines::Lines;
use super::super::tail::show_frame;
use super::super::{Context, Outcome, display, events as here};
use super::{Pairs, detail, given, noted, of_pairs, place_words, told};
use crate::client::{Next, Server};
use crate::error::Error;
use crate::event::Range;
use crate::projection::pacing::Pacing;
use crate::wire::path;

const LOOK_AROUND: Duration = Duration::from_millis(100);

pub(in crate::cli) fn replay(
    session: &str,
    range: Range,
    pacing: Pacing,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let session = detail(server, session).map_err(told)?.session.id;
    let noted = noted(server, context)?;
    let mut pairs: Pairs = vec![
        ("session", session),
        ("speed", pacing.speed.to_string()),
        ("max_gap", format!("{}ms", pacing.max_gap.as_millis())),
    ];
    given(&mut pairs, "from", range.from.map(place_words));
    given(&mut pairs, "until", range.until.map(place_words));
    let mut stream = server.stream(&of_pairs(path::REPLAY, &pairs), None).map_err(told)?;
    let mut lines = Lines::default();
    loop {
        match stream.next(LOOK_AROUND).map_err(told)? {
            Next::Frame(frame) => {
                let before = lines.events;
                show_frame(&frame, &mut lines, context)?;
                if let (Some(noted), Ok(seq)) = (&noted, frame.last_event_id.parse())
                    && lines.events > before
                {
                    noted.beside(&mut context.out, seq)?;
                }
            }
            Next::Quiet => context.out.flush()?,
            Next::End => break,
        }
    }
    context.out.note(&format!("{} replayed", display::counted(lines.events, "event")));
    here::end(&lines, context)
}
