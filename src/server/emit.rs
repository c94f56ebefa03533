//! `POST /events/emit`: one event, or an array that is one atomic batch. The answer comes when the level that was
//! asked for is reached, so a 200 means stored, and nothing else means it.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use super::admission::Unread;
use super::connections::read_body;
use super::error::Refusal;
use super::params::Params;
use super::{App, json_response};
use crate::event::{EmitDefaults, EmitRequest, Event, FieldError, Seq};
use crate::store::{Level, Way};
use crate::wire::{BODY_BYTES_MAX, Durability, Emitted, ErrorCode};

/// Bodies above this are parsed off the threads that serve sockets.
const PARSED_IN_PLACE_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn routed(State(app): State<Arc<App>>, uri: Uri, body: Body) -> Result<Response, Refusal> {
    emit(&app, &uri, body).await
}

/// The same, for who knows without the router that this is what was asked.
pub(super) async fn emit<B>(app: &Arc<App>, uri: &Uri, body: B) -> Result<Response, Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let asked = read(app, uri, body).await;
    let (events, durability, expected) = asked.map_err(|unread| app.turn_down(Way::Http, unread))?;
    app.admit(Way::Http, &events)?;
    append(app, events, durability, expected).await
}

type Asked = (Vec<Event>, Durability, Option<Seq>);

async fn read<B>(app: &Arc<App>, uri: &Uri, body: B) -> Result<Asked, Unread>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut params = Params::of(uri)?;
    let durability = durability(&mut params)?;
    let expected = params.cursor("expected_seq")?;
    params.finish()?;
    let body = read_body(body, BODY_BYTES_MAX, app.settings.body_read_timeout).await?;
    let events = if body.len() > PARSED_IN_PLACE_BYTES_MAX {
        let app = app.clone();
        let parsed = tokio::task::spawn_blocking(move || events(&app, &body)).await;
        parsed.map_err(|_| Refusal::new(ErrorCode::Internal, "the request could not be read"))??
    } else {
        events(app, &body)?
    };
    Ok((events, durability, expected))
}

/// Takes the `durability` parameter out.
pub(super) fn durability(params: &mut Params) -> Result<Durability, Refusal> {
    let Some(name) = params.take("durability")? else { return Ok(Durability::default()) };
    Durability::from_name(&name)
        .ok_or_else(|| Refusal::parameter("durability", format!("`durability` is disk or os, not `{name}`")))
}

/// Appends `events` as one batch and says what became of them.
async fn append(
    app: &App,
    events: Vec<Event>,
    durability: Durability,
    expected: Option<Seq>,
) -> Result<Response, Refusal> {
    let level = match durability {
        Durability::Disk => Level::Disk,
        Durability::Os => Level::Os,
    };
    let pending = app.store.emit_from(Way::Http, events, level, expected)?;
    pending.commit_if_alone(beside_others);
    let emitted = pending.await?;
    let emitted = Emitted {
        seqs: emitted.seqs.iter().map(|seq| seq.get()).collect(),
        durability: match emitted.durability {
            Level::Disk => Durability::Disk.name().to_owned(),
            Level::Os => Durability::Os.name().to_owned(),
        },
        duplicates: emitted.duplicates.iter().map(|at| *at as u64).collect(),
    };
    Ok(json_response(StatusCode::OK, &emitted))
}

/// Runs what blocks for a flush, where somebody else can take over what this thread serves: the runtime hands the other connections, and
/// the look for new requests, to another thread, which takes over while the disk works. A plain call would let them wait for
/// as long as the disk does, although another core is free: who sleeps beside is not woken for what is not seen.
fn beside_others(work: &mut dyn FnMut()) {
    if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        block_in_place(work);
    }
}

/// What is wrong with a body, in the words of the interface.
pub(super) fn refusal(error: FieldError) -> Refusal {
    let code = ErrorCode::from_code(error.code).unwrap_or(ErrorCode::OutOfRange);
    let refusal = Refusal::new(code, error.message);
    if error.field.is_empty() { refusal } else { refusal.field(error.field) }
}

fn events(app: &App, body: &Bytes) -> Result<Vec<Event>, Unread> {
    let requests = EmitRequest::parse(body)
        .map_err(|error| Unread { refusal: refusal(error), events: EmitRequest::count(body) })?;
    let own = |request: EmitRequest| {
        let clock = &*app.settings.clock;
        let id = crate::clock::new_id(clock);
        let instance = app.settings.instance_id.clone();
        let source = app.settings.source.clone();
        request.into_event(EmitDefaults { id, time: clock.now(), instance, source })
    };
    Ok(requests.into_iter().map(own).collect())
}
