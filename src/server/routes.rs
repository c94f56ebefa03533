//! The table of routes. What is not in it is a 404, and another method on what is in it a 405, both with the
//! error object that every other refusal has.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::routing::{get, post};

use super::error::Refusal;
use super::{
    App, backup, emit, events, gc, health, hooks, metrics, rebuild, replay, sessions, state, stats, stream,
};
use crate::wire::{ErrorCode, path};

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(path::HEALTH, get(health::health))
        .route(path::EMIT, post(emit::routed))
        .route(path::EVENTS, get(events::many))
        .route(path::STATS, get(stats::stats))
        .route(path::STREAM, get(stream::stream))
        .route(path::REPLAY, get(replay::replay))
        .route(path::EVENT, get(events::one))
        .route(path::HOOK_CLAUDE, post(hooks::claude))
        .route(path::METRICS, get(metrics::metrics))
        .route(path::GC, post(gc::gc))
        .route(path::BACKUP, post(backup::backup))
        .route(path::REBUILD, post(rebuild::rebuild))
        .route(path::SHUTDOWN, post(health::shutdown))
        .merge(sessions::routes())
        .merge(state::routes())
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(app)
}

async fn not_found(uri: Uri) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no route {}", uri.path()))
}

/// axum adds the `Allow` header.
async fn method_not_allowed() -> Refusal {
    Refusal::new(
        ErrorCode::MethodNotAllowed,
        "the route does not take this method; `Allow` says which it takes",
    )
}
