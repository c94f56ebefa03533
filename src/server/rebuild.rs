//! `POST /admin/rebuild`: folds projections anew from the journal while their present states are served, and puts the new ones in
//! their place.
//!
//! A second state lies in memory meanwhile, so one request does it at a time, a projection after the other; others wait. What was begun
//! is brought to its end also when the client goes away.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::error::Refusal;
use super::params::Params;
use super::projections::{caught_up, record};
use super::sessions::blocking;
use super::{App, json_response};
use crate::projection::{AnyRunner, registry};
use crate::wire::{ErrorCode, Rebuilds, Rebuilt};

/// Rebuilds `projection`, or all, and answers when they are served.
pub(super) async fn rebuild(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let mut params = Params::of(&uri)?;
    let name = params.take("projection")?;
    params.finish()?;
    let mut runners = app.projections.all();
    if let Some(name) = name {
        let known = registry::find(&name)?;
        runners.retain(|runner| runner.name() == known.name);
    }
    let turn = app
        .rebuilding
        .clone()
        .acquire_owned()
        .await
        .map_err(|_| Refusal::new(ErrorCode::Stopping, ErrorCode::Stopping.meaning()))?;
    for runner in &runners {
        caught_up(&app, &**runner).await?;
    }
    let projections = blocking(move || {
        let _turn = turn;
        runners.iter().map(|runner| one(&app, &**runner)).collect::<Result<Vec<_>, Refusal>>()
    });
    Ok(json_response(StatusCode::OK, &Rebuilds { version: 1, projections: projections.await?? }))
}

fn one(app: &App, runner: &dyn AnyRunner) -> Result<Rebuilt, Refusal> {
    // A stop does not wait for the projections that are left.
    app.check_running()?;
    let (begun, projection) = (Instant::now(), runner.name());
    let rebuilt = runner.rebuild(&app.store)?;
    let duration = begun.elapsed();
    for refusal in &rebuilt.progress.refused {
        tracing::warn!(path = %refusal.path.display(), why = %refusal.why, "a saved state is not used");
    }
    let (missing, before, after) = (rebuilt.missing, rebuilt.before, rebuilt.after);
    if rebuilt.replaced {
        record(app, "rebuild", projection, rebuilt.progress.events, duration);
        if before != after {
            tracing::warn!(projection, %before, %after, "the state that was served was not what the journal says");
        }
    } else {
        tracing::warn!(projection, missing, "the journal has lost what the state still holds: it stays");
    }
    Ok(Rebuilt {
        projection: projection.to_owned(),
        seq: rebuilt.seq.get(),
        events: rebuilt.progress.events,
        missing,
        hash_before: before.to_string(),
        hash_after: after.to_string(),
        replaced: rebuilt.replaced,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    })
}
