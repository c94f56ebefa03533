//! Sessions that are not among the recent ones: as bytes, in pages.
//!
//! A session comes here without most of its detail when others were seen after it, and leaves when it is seen again, or when too many
//! came after it. So the pages are in the order in which sessions were last seen, and the oldest entry is the one to forget. An entry whose
//! session was seen again stays where it is and counts no more; when most entries are such, the others are written anew.
//!
//! ```text
//! offset  bytes  field of an entry
//!      0      4  u32 LE  bytes that follow
//!      4      8  u64 LE  fingerprint of the id
//!     12      1  1 if the session is not over
//!     13         id and session, postcard
//! ```
//!
//! Whoever watches over sessions that are not over asks for them again and again. From the first question on, what matters of those is
//! kept unpacked ([`Unfinished`]); who never asks pays nothing for it, and it is no part of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::pages::{Pages, Place};
use super::state::{Phase, Session};
use super::unfinished::Unfinished;
use crate::projection::snapshot::Part;

const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = 13;
/// So many entries more than those that count may lie there without counting.
const VOID_MAX: usize = 1_024;

/// The sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Archive {
    pages: Pages,
    /// Where the oldest entry begins that may count.
    front: u32,
    /// Entries whose sessions were seen again.
    void: BTreeSet<Place>,
    /// Where each session is, by the fingerprint of its id: told by the pages.
    #[serde(skip)]
    places: BTreeMap<u64, Place>,
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

/// One entry, its session still bytes.
struct Sealed<'a> {
    key: u64,
    open: bool,
    packed: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// The first in `bytes`, and how many bytes it takes.
    fn first(bytes: &'a [u8]) -> Option<(Sealed<'a>, u32)> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_le_bytes(*length);
        let entry = rest.get(..usize::try_from(length).ok()?)?;
        let (key, entry) = entry.split_first_chunk()?;
        let (open, packed) = entry.split_first()?;
        let entry = Sealed { key: u64::from_le_bytes(*key), open: *open != 0, packed };
        Some((entry, length.checked_add(u32::try_from(LENGTH_BYTES).ok()?)?))
    }

    fn session(&self) -> Option<(String, Session)> {
        postcard::from_bytes(self.packed).ok()
    }
}

impl Archive {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Puts a session in.
    pub(super) fn put(&mut self, key: u64, id: &str, session: &Session) {
        let mut entry = vec![0; HEAD_BYTES];
        entry[LENGTH_BYTES..HEAD_BYTES - 1].copy_from_slice(&key.to_le_bytes());
        entry[HEAD_BYTES - 1] = u8::from(session.phase() != Phase::Ended);
        #[expect(
            clippy::expect_used,
            reason = "numbers, texts, lists and maps of known length always have bytes"
        )]
        let mut entry = postcard::to_extend(&(id, session), entry).expect("a session can always be written");
        let length = u32::try_from(entry.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
        entry[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        let place = self.pages.add(&entry);
        self.places.insert(key, place);
        if let Some(watched) = self.watched.0.get_mut() {
            Unfinished::of(id, session).map(|unfinished| watched.insert(key, unfinished));
        }
    }

    /// Takes the session of this id out.
    pub(super) fn take(&mut self, key: u64, id: &str) -> Option<Session> {
        let session = self.get(key, id)?;
        let place = self.remove(key);
        self.void.extend(place);
        if self.void.len() > self.places.len() + VOID_MAX {
            self.compact();
        }
        Some(session)
    }

    fn remove(&mut self, key: u64) -> Option<Place> {
        if let Some(watched) = self.watched.0.get_mut() {
            watched.remove(&key);
        }
        self.places.remove(&key)
    }

    /// Writes the entries that count into pages of their own, in their order: sessions that take turns would fill the archive otherwise.
    fn compact(&mut self) {
        let mut places: Vec<(Place, u64)> = self.places.iter().map(|(key, place)| (*place, *key)).collect();
        places.sort_unstable();
        let old = std::mem::take(&mut self.pages);
        (self.front, self.void) = (0, BTreeSet::new());
        for (place, key) in places {
            let found = old.at(place).and_then(|bytes| {
                let (_, length) = Sealed::first(bytes)?;
                bytes.get(..usize::try_from(length).ok()?)
            });
            match found {
                Some(entry) => _ = self.places.insert(key, self.pages.add(entry)),
                None => _ = self.remove(key),
            }
        }
    }

    /// The session of this id.
    pub(super) fn get(&self, key: u64, id: &str) -> Option<Session> {
        let (entry, _) = Sealed::first(self.pages.at(*self.places.get(&key)?)?)?;
        entry.session().filter(|(found, _)| found == id).map(|(_, session)| session)
    }

    /// Forgets the one that was seen least recently; gives back the fingerprint of its id.
    pub(super) fn forget_oldest(&mut self) -> Option<u64> {
        while !self.places.is_empty() {
            let place = Place { page: self.pages.oldest(), at: self.front };
            let Some((entry, bytes)) = self.pages.at(place).and_then(Sealed::first) else {
                // The end of the page.
                self.pages.drop_oldest();
                self.front = 0;
                continue;
            };
            let key = entry.key;
            self.front += bytes;
            if !self.void.remove(&place) {
                self.remove(key);
                return Some(key);
            }
        }
        None
    }

    /// All of them, unpacked; the order is that of fingerprints.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, Session)> {
        self.entries().filter_map(|entry| entry.session())
    }

    /// Those that are not over.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Unfinished> {
        let unpack = |entry: Sealed<'_>| {
            let (id, session) = entry.session()?;
            Some((entry.key, Unfinished::of(&id, &session)?))
        };
        let open = || self.entries().filter(|entry| entry.open);
        self.watched.0.get_or_init(|| open().filter_map(unpack).collect()).values()
    }

    fn entries(&self) -> impl Iterator<Item = Sealed<'_>> {
        self.places.values().filter_map(|place| Some(Sealed::first(self.pages.at(*place)?)?.0))
    }

    /// What never changes.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.pages.parts()
    }

    /// The same, to be filled; then [`Archive::filled`].
    pub(super) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.pages.parts_mut()
    }

    /// Finds the entries in the pages. False if these are none of an archive.
    pub(super) fn filled(&mut self) -> bool {
        self.watched = Watched::default();
        let mut places = Vec::new();
        let (oldest, front) = (self.pages.oldest(), self.front);
        for (page, bytes) in self.pages.each() {
            let mut at = if page == oldest { front } else { 0 };
            let Some(mut rest) = usize::try_from(at).ok().and_then(|at| bytes.get(at..)) else {
                return false;
            };
            while !rest.is_empty() {
                let Some((entry, length)) = Sealed::first(rest) else { return false };
                let place = Place { page, at };
                if !self.void.contains(&place) {
                    places.push((entry.key, place));
                }
                let Some(next) = usize::try_from(length).ok().and_then(|length| rest.get(length..)) else {
                    return false;
                };
                (at, rest) = (at + length, next);
            }
        }
        self.places = places.into_iter().collect();
        true
    }
}
