//! `POST /hooks/claude`: the payload of one hook, as Claude Code sends it to a handler of type `http`.
//!
//! The agent reads an answer's body as instructions, so it is an object without any; where the event went stands
//! in a header.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;

use super::connections::read_body;
use super::emit::durability;
use super::error::Refusal;
use super::params::Params;
use super::{App, json_text_response};
use crate::agent::Origin;
use crate::agent::claude::hook::{self, HookError};
use crate::event::Event;
use crate::store::{Level, Way};
use crate::wire::{Durability, ErrorCode, HOOK_BODY_BYTES_MAX, header};

pub(super) async fn claude(State(app): State<Arc<App>>, uri: Uri, body: Body) -> Result<Response, Refusal> {
    let asked = read(&app, &uri, body).await;
    let (body, level) = asked.map_err(|refusal| app.turn_down(Way::Hook, refusal))?;
    // A tool's answer may be megabytes: read and redacted off the threads that serve sockets.
    let pending = {
        let app = app.clone();
        tokio::task::spawn_blocking(move || -> Result<_, Refusal> {
            let event = event(&app, &body).map_err(|refusal| app.turn_down(Way::Hook, refusal))?;
            app.admit(Way::Hook, std::slice::from_ref(&event))?;
            Ok(app.store.emit_from(Way::Hook, vec![event], level, None)?)
        })
    };
    let pending =
        pending.await.map_err(|_| Refusal::new(ErrorCode::Internal, "the payload could not be read"))??;
    let emitted = pending.await?;
    let mut response = json_text_response(StatusCode::OK, String::from("{}"));
    if let Some(seq) = emitted.seqs.first() {
        response.headers_mut().insert(header::SEQ, HeaderValue::from(seq.get()));
    }
    Ok(response)
}

async fn read(app: &App, uri: &Uri, body: Body) -> Result<(Bytes, Level), Refusal> {
    let mut params = Params::of(uri)?;
    let level = match durability(&mut params)? {
        Durability::Disk => Level::Disk,
        Durability::Os => Level::Os,
    };
    params.finish()?;
    Ok((read_body(body, HOOK_BODY_BYTES_MAX, app.settings.body_read_timeout).await?, level))
}

fn event(app: &App, body: &[u8]) -> Result<Event, Refusal> {
    let clock = &*app.settings.clock;
    let origin = Origin {
        now: clock.now(),
        source: app.settings.source.clone(),
        instance: app.settings.instance_id.clone(),
        project_dir: None,
        process: None,
    };
    hook::event(body, &origin, crate::clock::unique(clock)).map_err(|error| {
        let code = match error {
            HookError::TooLong { .. } => ErrorCode::BodyTooLarge,
            _ => ErrorCode::MalformedJson,
        };
        Refusal::new(code, error.to_string())
    })
}
