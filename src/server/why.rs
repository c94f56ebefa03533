//! `GET /events/{seq}?why=1`: an event with the chain of what led to it, the same that `why --json` prints.

use std::sync::Arc;

use axum::response::Response;

use super::App;
use super::error::Refusal;
use super::params::Params;
use super::projections::caught_up;
use super::sessions::{answer as shown, blocking};
use crate::event::Seq;
use crate::projection::why::{self, DEPTH_DEFAULT, Extent};

/// How deep, if `why` is asked for.
pub(super) fn asked(params: &mut Params) -> Result<Option<u32>, Refusal> {
    let asked = match params.take("why")?.as_deref() {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return Err(Refusal::parameter("why", "`why` is 1 or 0".to_owned())),
    };
    let depth = params.parse::<u32>("depth")?;
    match depth {
        Some(_) if !asked => Err(Refusal::parameter("depth", "`depth` belongs to `why=1`".to_owned())),
        Some(0) => Err(Refusal::parameter("depth", "`depth` takes a number from 1".to_owned())),
        depth => Ok(asked.then_some(depth.unwrap_or(DEPTH_DEFAULT))),
    }
}

/// A part of the journal is read for it, so only a few requests do it at a time.
pub(super) async fn answer(app: &Arc<App>, seq: Seq, depth: u32) -> Result<Response, Refusal> {
    caught_up(app, &*app.projections.sessions).await?;
    let _turn = app.turn_to_fold().await?;
    let reading = app.clone();
    let explained = blocking(move || {
        let extent = |id: &str| {
            reading.projections.sessions.read(|fold| {
                let session = fold.state().get(id).filter(|session| !session.returned)?;
                Some(Extent { first: Seq::new(session.seq_first), last: Seq::new(session.seq_last) })
            })
        };
        let notes = |seq: Seq| reading.projections.notes.read(|fold| fold.state().of(seq).to_vec());
        why::explain(&reading.store, seq, depth, extent, &notes)
    });
    Ok(shown(app, &explained.await??))
}
