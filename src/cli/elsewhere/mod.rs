//! What the reading commands show of a server elsewhere (`--server`).
//!
//! The server is asked for the very object that the command shows of a data directory, and the same code shows it: what would be folded
//! here is folded there. Nothing of this machine is read or written for it, and what cannot be had over HTTP is refused, not left out.
//! A session may be named by the beginning of its id, as everywhere.

mod annotate;
mod bisect;
mod events;
mod looks;
mod replay;
mod status;
mod tail;

pub(super) use annotate::annotate;
pub(super) use bisect::bisect;
pub(super) use events::{Part, events, search};
pub(super) use looks::{diff, session, sessions, state, stats, why};
pub(super) use replay::replay;
pub(super) use status::status;
pub(super) use tail::tail;

use super::Context;
use super::filters::{Filters, WHOLE_ID_BYTES, not_there_yet};
use super::notes::Noted;
use crate::client::{self, Server, percent_encoded, target};
use crate::error::Error;
use crate::event::{Place, Seq, Timestamp};
use crate::projection::StateView;
use crate::projection::sessions::view::SessionDetail;
use crate::wire::{ErrorCode, Health, path};

/// What a request is made of.
type Pairs = Vec<(&'static str, String)>;

/// A path with its query.
fn asked<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    target(path, pairs)
}

fn of_pairs(path: &str, pairs: &Pairs) -> String {
    asked(path, pairs.iter().map(|(name, value)| (*name, value.as_str())))
}

/// What a server refuses is told as the command would tell it of a directory.
fn told(error: client::Error) -> Error {
    if error.is(ErrorCode::InvalidParameter) {
        return Error::usage(error.to_string());
    }
    if error.is(ErrorCode::Unauthorized) {
        return Error::Server {
            code: ErrorCode::Unauthorized.code(),
            message: "the server does not know this token: each start of a server makes a new one, so fetch it again".to_owned(),
        };
    }
    error.into()
}

/// The highest seq that is durable there.
fn tail_of(server: &Server) -> Result<Seq, Error> {
    server.get::<Health>(path::HEALTH).map(|health| Seq::new(health.tail)).map_err(told)
}

fn place_words(place: Place) -> String {
    match place {
        Place::Seq(seq) => seq.to_string(),
        Place::Time(time) => time.to_string(),
    }
}

fn given(pairs: &mut Pairs, name: &'static str, value: Option<impl ToString>) {
    pairs.extend(value.map(|value| (name, value.to_string())));
}

fn since_pair(pairs: &mut Pairs, since: Option<Timestamp>) {
    given(pairs, "since", since);
}

/// The path of a session, or of a part of it.
fn session_path(id: &str, part: &str) -> String {
    format!("{}/{}{part}", path::SESSIONS, percent_encoded(id))
}

/// The session that `id` is or begins.
fn detail(server: &Server, id: &str) -> Result<SessionDetail, client::Error> {
    server.get(&session_path(id, ""))
}

/// As [`Filters::complete`].
fn complete(filters: &mut Filters, waits: bool, server: &Server, context: &mut Context) -> Result<(), Error> {
    // A whole id needs no other in its place, and whoever waits for it waits.
    for session in filters.session.iter_mut().filter(|given| !waits || given.len() < WHOLE_ID_BYTES) {
        match detail(server, session) {
            Ok(found) => *session = found.session.id,
            Err(error) if waits && error.is(ErrorCode::NotFound) => context.out.note(&not_there_yet(session)),
            Err(error) => return Err(told(error)),
        }
    }
    Ok(())
}

/// People's notes, where they are shown beside the events.
fn noted(server: &Server, context: &Context) -> Result<Option<Noted>, Error> {
    if context.out.is_json() {
        return Ok(None);
    }
    let state: StateView = server.get(&asked("/state/notes", [])).map_err(told)?;
    let notes = serde_json::from_str(state.state.get())
        .map_err(|error| Error::failed(format!("the server's notes cannot be read: {error}")))?;
    Ok(Some(Noted::of(notes)))
}
