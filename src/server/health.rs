//! `GET /health`, the one route without a token, and `POST /admin/shutdown`, the safe stop.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::error::Refusal;
use super::params::Params;
use super::{App, json_response, json_text_response};
use crate::wire::Health;

/// Says nothing that a stranger may not know: no path, no session, no count of anything but events.
pub(super) async fn health(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    Params::of(&uri)?.finish()?;
    let reads_only = app.settings.reads_only || app.store.poisoned().is_some();
    let status = if reads_only { "read_only" } else { "ok" };
    let health = Health {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id: app.settings.instance_id.clone(),
        tail: app.store.durable().get(),
        uptime_ms: app.uptime_ms(),
    };
    Ok(json_response(StatusCode::OK, &health))
}

/// Answers first and stops then: the caller watches the runtime file or the lock for the end.
pub(super) async fn shutdown(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    Params::of(&uri)?.finish()?;
    app.stop_asked.send_replace(true);
    Ok(json_text_response(StatusCode::ACCEPTED, String::from(r#"{"stopping":true}"#)))
}
