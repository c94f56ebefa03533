//! Sessions that are not among the recent ones, without most of their detail.
//!
//! Whoever watches over sessions that are not over asks for them again and again. So an entry is marked with whether its session is over, and
//! from the first question on, what matters of those that are not is
//! kept unpacked ([`Unfinished`]); who never asks pays nothing for it, and it is no part of the state.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::ser::Error as _;
use serde::{Deserialize, Serialize};

use super::state::{Phase, Session};
use super::unfinished::Unfinished;
use crate::projection::archive::{Archive, Sealed};
use crate::projection::entries::{Named, Stamp};
use crate::projection::snapshot::Part;

/// The sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Archived {
    entries: Archive,
    #[serde(skip)]
    watched: Watched,
}

/// What matters of the sessions that are not over, by the fingerprints of their ids, once somebody has asked for it. It follows from the
/// pages, so two archives that differ in it alone are the same.
#[derive(Debug, Default)]
struct Watched(OnceLock<BTreeMap<u64, Unfinished>>);

impl Clone for Watched {
    fn clone(&self) -> Watched {
        Watched::default()
    }
}

impl PartialEq for Watched {
    fn eq(&self, _: &Watched) -> bool {
        true
    }
}

impl Eq for Watched {}

impl Archived {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts a session in.
    pub(super) fn put(&mut self, key: u64, id: &str, session: &Session) {
        self.entries.put(key, u8::from(session.phase() != Phase::Ended), id, session);
        if let Some(watched) = self.watched.0.get_mut() {
            Unfinished::of(id, session).map(|unfinished| watched.insert(key, unfinished));
        }
    }

    /// Takes the session of this id out.
    pub(super) fn take(&mut self, key: u64, id: &str) -> Option<Session> {
        let session = self.entries.take(key, id)?;
        self.watch_no_more(key);
        Some(session)
    }

    /// The session of this id.
    pub(super) fn get(&self, key: u64, id: &str) -> Option<Session> {
        self.entries.get(key, id)
    }

    /// Forgets the one that was seen least recently; gives back the fingerprint of its id.
    pub(super) fn forget_oldest(&mut self) -> Option<u64> {
        let key = self.entries.forget_oldest()?;
        self.watch_no_more(key);
        Some(key)
    }

    fn watch_no_more(&mut self, key: u64) {
        if let Some(watched) = self.watched.0.get_mut() {
            watched.remove(&key);
        }
    }

    /// All of them, unpacked; the one that was seen least recently first.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, Session)> {
        self.entries.entries().filter_map(|entry| entry.value())
    }

    /// All of them, for their JSON.
    pub(super) fn each(&self) -> impl Iterator<Item = Named<'_>> {
        self.entries.entries().filter_map(|sealed| {
            let (id, stamp) = (Cow::Borrowed(sealed.id()?), Stamp::Bytes(sealed.bytes()));
            let json = move || match sealed.value::<Session>() {
                Some((_, session)) => serde_json::to_string(&session),
                None => Err(serde_json::Error::custom("it cannot be unpacked")),
            };
            Some(Named { id, stamp, json: Box::new(json) })
        })
    }

    /// Those that are not over.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Unfinished> {
        let unpack = |entry: Sealed<'_>| {
            let (id, session) = entry.value()?;
            Some((entry.key, Unfinished::of(&id, &session)?))
        };
        let open = || self.entries.entries().filter(|entry| entry.mark != 0);
        self.watched.0.get_or_init(|| open().filter_map(unpack).collect()).values()
    }

    /// What never changes.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.entries.parts()
    }

    /// The same, to be filled; then [`Archived::filled`].
    pub(super) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.entries.parts_mut()
    }

    /// Finds the entries in the pages. False if these are none of an archive.
    pub(super) fn filled(&mut self) -> bool {
        self.watched = Watched::default();
        self.entries.filled()
    }
}
