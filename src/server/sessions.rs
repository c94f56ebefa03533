//! `GET /sessions`, `GET /sessions/{id}` and `GET /sessions/{id}/timeline`: the session projection.

use std::sync::Arc;

use axum::Router;

use super::App;

/// The routes of this file, mounted by `routes.rs`.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
}
