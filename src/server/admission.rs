//! Who gets in, and the books of who does not: every event that came to the server is entered once, so that what was offered is
//! what was committed, known already, refused or is on its way.
//!
//! What the store decides it enters itself. Here is entered what never came so far: requests that the guard or the server's end
//! turned away, bodies that could not be read, sources over their limit. A body that cannot be read counts as one
//! event; one that can, but is refused for one of its elements, as all of them.

use axum::http::Method;
use axum::http::request::Parts;

use super::App;
use super::error::Refusal;
use super::rate::TooFast;
use super::telling::Cause;
use crate::event::Event;
use crate::store::Way;
use crate::wire::{ErrorCode, path};

/// A request that was refused before the store saw its events.
pub(super) struct Unread {
    pub(super) refusal: Refusal,
    /// How many they were.
    pub(super) events: u64,
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Unread {
        Unread { refusal, events: 1 }
    }
}

impl App {
    /// Enters a refusal, and hands it on.
    pub(super) fn turn_down(&self, way: Way, unread: impl Into<Unread>) -> Refusal {
        let Unread { refusal, events } = unread.into();
        self.store.refused(way, refusal.code.code(), events);
        refusal
    }

    /// Lets a batch in, or none of it.
    pub(super) fn admit(&self, way: Way, events: &[Event]) -> Result<(), Refusal> {
        let sessions = events.iter().map(|event| event.session.as_deref());
        let Err(too_fast) = self.rates.check(sessions) else { return Ok(()) };
        let count = events.len() as u64;
        self.untold.add(if way == Way::Hook { Cause::HooksTooFast } else { Cause::EmitsTooFast }, count);
        let limit = self.rates.per_second();
        let message = format!("a source may emit {limit} events a second");
        let refusal = match too_fast {
            TooFast::Until(seconds) => {
                Refusal::new(ErrorCode::RateLimited, format!("{message}; try again in {seconds} s"))
                    .retry_after(seconds)
            }
            TooFast::Never => {
                Refusal::new(ErrorCode::OutOfRange, format!("{message}, and never so many at once"))
            }
        };
        Err(self.turn_down(way, Unread { refusal, events: count }))
    }
}

/// Which way events come by such a request, if they do.
pub(super) fn way_of(request: &Parts) -> Option<Way> {
    match (&request.method, request.uri.path()) {
        (&Method::POST, path::EMIT) => Some(Way::Http),
        (&Method::POST, path::HOOK_CLAUDE) => Some(Way::Hook),
        _ => None,
    }
}
