//! `GET /state/{projection}`: what a projection says, now or as of any moment.
//!
//! Now is answered from the runner that follows the journal. An earlier moment is folded for the request, from the nearest
//! saved state; that takes memory and a processor for a while, so only a few requests do it at a time.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;

use super::App;
use super::error::Refusal;
use super::params::{Params, Place};
use super::projections::caught_up;
use super::sessions::{answer, blocking};
use crate::error::Error;
use crate::projection::{StateView, registry, seq_known_at};
use crate::wire::{ErrorCode, path};

/// Requests that fold an earlier moment at a time; others wait.
pub(super) const FOLDING_MAX: usize = 2;

/// The route of this file, mounted by `routes.rs`.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(path::STATE, get(state))
}

async fn state(State(app): State<Arc<App>>, Path(name): Path<String>, uri: Uri) -> Result<Response, Refusal> {
    let definition = registry::find(&name)?;
    let mut params = Params::of(&uri)?;
    params.check_journal(&app.store)?;
    let at = params.place("at", app.settings.clock.now())?;
    params.finish()?;
    let view = match at {
        None => now(&app, definition.name).await?,
        Some(place) => earlier(&app, definition, place).await?,
    };
    Ok(answer(&app, &view))
}

async fn now(app: &App, name: &str) -> Result<StateView, Refusal> {
    let runner = app.projections.get(name).ok_or_else(|| {
        Refusal::new(ErrorCode::NotFound, format!("the projection {name} is not kept by this server"))
    })?;
    caught_up(app, &*runner).await?;
    Ok(blocking(move || runner.view()).await??)
}

async fn earlier(
    app: &Arc<App>,
    definition: &'static registry::Definition,
    place: Place,
) -> Result<StateView, Refusal> {
    let durable = app.store.durable();
    if let Place::Seq(seq) = place
        && seq > durable
    {
        return Err(Error::CursorAhead { asked: seq.get(), last: durable.get() }.into());
    }
    let _turn = app.turn_to_fold().await?;
    let folding = app.clone();
    let view = blocking(move || {
        let seq = match place {
            Place::Seq(seq) => seq,
            Place::Time(time) => seq_known_at(&folding.store, time)?,
        };
        let (fold, progress) = definition.state_at(&folding.store, folding.files.as_ref(), seq)?;
        for refusal in &progress.refused {
            tracing::warn!(path = %refusal.path.display(), why = %refusal.why, "a saved state is not used");
        }
        StateView::of(&*fold)
    });
    Ok(view.await??)
}
