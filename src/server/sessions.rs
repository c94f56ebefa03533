//! `GET /sessions`, `GET /sessions/{id}`, `GET /sessions/{id}/timeline` and `GET /diff`: the sessions projection over HTTP.
//!
//! The handlers translate and call. What they answer is made by `projection::sessions` and `projection::diff`, the same code
//! that answers the `sessions`, `session` and `diff` commands offline, so both show the same. A request sees every event that was durable when it
//! came: it waits until the projection is there, and says so if that takes too long.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use super::error::Refusal;
use super::params::Params;
use super::projections::caught_up;
use super::{App, json_response};
use crate::answers::{self, ID_CHARS_SHOWN};
use crate::event::text::brief;
use crate::projection::diff;
use crate::projection::sessions::look::{self, Found, InState};
use crate::projection::sessions::timeline::Builder;
use crate::projection::sessions::view::{self, LIST_LIMIT_DEFAULT, ListQuery, Unresolved};
use crate::projection::sessions::viewer::Looking;
use crate::wire::{ErrorCode, header, path};

/// The routes of this file, mounted by `routes.rs`.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(path::SESSIONS, get(list))
        .route(path::SESSION, get(one))
        .route(path::SESSION_TIMELINE, get(timeline))
        .route(path::DIFF, get(difference))
}

async fn list(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let query = list_query(&app, &uri)?;
    caught_up(&app, &*app.projections.sessions).await?;
    let list = app.projections.sessions.read(|fold| view::list(fold, &query, &looking(&app)));
    Ok(answer(&app, &list))
}

async fn one(State(app): State<Arc<App>>, Path(id): Path<String>, uri: Uri) -> Result<Response, Refusal> {
    only_journal(&app, &uri)?;
    let found = find(&app, "id", id).await?;
    let store = app.store.clone();
    let found = blocking(move || look::with_detail(&store, found)).await??;
    Ok(answer(&app, &view::detail(&found.id, &found.session, found.seq, &looking(&app))))
}

/// From where this server looks.
fn looking(app: &App) -> Looking<'_> {
    let settings = &app.settings;
    Looking::from_here(settings.clock.now(), &settings.source.host, &settings.prices)
}

async fn timeline(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let mut params = Params::of(&uri)?;
    params.check_journal(&app.store)?;
    let with_patches = params.parse::<bool>("patches")?.unwrap_or(false);
    params.finish()?;
    let builder = if with_patches { Builder::with_patches() } else { Builder::default() };
    let found = find(&app, "id", id).await?;
    let store = app.store.clone();
    let (_, timeline, _) = blocking(move || look::timeline(&store, found, builder)).await??;
    Ok(answer(&app, &timeline))
}

async fn difference(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let mut params = Params::of(&uri)?;
    params.check_journal(&app.store)?;
    let mut side = |name| {
        let missing = || Refusal::parameter(name, format!("`{name}` names one of the two sessions"));
        params.take(name)?.ok_or_else(missing)
    };
    let (a, b) = (side("a")?, side("b")?);
    let limit = params.parse::<usize>("limit")?.unwrap_or(diff::LIMIT_DEFAULT);
    if limit == 0 {
        return Err(Refusal::parameter("limit", "`limit` takes a number from 1"));
    }
    params.finish()?;
    let (a, b) = (find(&app, "a", a).await?, find(&app, "b", b).await?);
    let _turn = app.turn_to_fold().await?;
    let store = app.store.clone();
    let (difference, _) = blocking(move || diff::compare(&store, &a, &b)).await??;
    Ok(answer(&app, &difference.view(limit)))
}

fn list_query(app: &App, uri: &Uri) -> Result<ListQuery, Refusal> {
    let mut params = Params::of(uri)?;
    params.check_journal(&app.store)?;
    let project = params.take("project")?;
    let limit = params.parse("limit")?.unwrap_or(LIST_LIMIT_DEFAULT);
    if limit == 0 {
        return Err(Refusal::parameter("limit", "`limit` takes a number from 1"));
    }
    let since = params.time("since", app.settings.clock.now())?;
    let state = params.parse("state")?;
    params.finish()?;
    Ok(ListQuery { project, since, state, limit })
}

fn only_journal(app: &App, uri: &Uri) -> Result<(), Refusal> {
    let mut params = Params::of(uri)?;
    params.check_journal(&app.store)?;
    params.finish()
}

/// The session that parameter `name` names: its id, or the beginning of it that no other shares.
pub(super) async fn find(app: &App, name: &str, given: String) -> Result<Found, Refusal> {
    caught_up(app, &*app.projections.sessions).await?;
    match app.projections.sessions.read(|fold| look::in_state(fold.state(), fold.seq(), &given)) {
        InState::Found(found) => Ok(*found),
        InState::Unresolved(why) => Err(unresolved(name, &given, &why)),
        InState::AskJournal => {
            let (store, seq, id) = (app.store.clone(), app.projections.sessions.seq(), given.clone());
            let found = blocking(move || look::in_journal(&store, seq, &id)).await??;
            found.map_err(|why| unresolved(name, &given, &why))
        }
    }
}

fn unresolved(name: &str, given: &str, why: &Unresolved) -> Refusal {
    match why {
        Unresolved::Unknown => {
            let given = brief(given, ID_CHARS_SHOWN);
            Refusal::new(ErrorCode::NotFound, format!("no session is or begins with `{given}`")).field(name)
        }
        Unresolved::Ambiguous(ids) => Refusal::parameter(name, answers::ambiguous(given, ids).to_string()),
    }
}

pub(super) fn answer(app: &App, body: &impl Serialize) -> Response {
    let mut response = json_response(StatusCode::OK, body);
    if let Ok(value) = HeaderValue::from_str(&app.store.journal_id().to_string()) {
        response.headers_mut().insert(HeaderName::from_static(header::JOURNAL), value);
    }
    response
}

/// Reading the journal blocks: it is done beside the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|stopped| {
        tracing::error!(error = %stopped, "reading the journal was stopped");
        Refusal::new(ErrorCode::Internal, "reading the journal failed; the server's log says why")
    })
}
