//! Values that are not among the recent ones of a state: as bytes, in pages.
//!
//! A value comes here when others were seen after it, and leaves when it is seen again, or when too many
//! came after it. So the pages are in the order in which values were last seen, and the oldest entry is the one to forget. An entry whose
//! value was seen again stays where it is and counts no more; when most entries are such, the others are written anew.
//!
//! ```text
//! offset  bytes  field of an entry
//!      0      4  u32 LE  bytes that follow
//!      4      8  u64 LE  fingerprint of the id
//!     12      1  what its owner marked it with
//!     13         id and value, postcard
//! ```

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keyed::Keyed;
use super::pages::{Pages, Place};
use super::snapshot::Part;

const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = 13;
/// So many entries more than those that count may lie there without counting.
const VOID_MAX: usize = 1_024;

/// The values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Archive {
    pages: Pages,
    /// Where the oldest entry begins that may count.
    front: u32,
    /// Entries whose values were seen again.
    void: BTreeSet<Place>,
    /// Where each value is, by the fingerprint of its id: told by the pages.
    #[serde(skip)]
    places: Keyed<Place>,
}

/// One entry, its value still bytes.
pub(super) struct Sealed<'a> {
    /// The fingerprint of its id.
    pub(super) key: u64,
    /// What its owner marked it with.
    pub(super) mark: u8,
    packed: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// The first in `bytes`, and how many bytes it takes.
    fn first(bytes: &'a [u8]) -> Option<(Sealed<'a>, u32)> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_le_bytes(*length);
        let entry = rest.get(..usize::try_from(length).ok()?)?;
        let (key, entry) = entry.split_first_chunk()?;
        let (mark, packed) = entry.split_first()?;
        let entry = Sealed { key: u64::from_le_bytes(*key), mark: *mark, packed };
        Some((entry, length.checked_add(u32::try_from(LENGTH_BYTES).ok()?)?))
    }

    /// The id and the value.
    pub(super) fn value<V: DeserializeOwned>(&self) -> Option<(String, V)> {
        postcard::from_bytes(self.packed).ok()
    }
}

impl Archive {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Puts a value in.
    pub(super) fn put<V: Serialize>(&mut self, key: u64, mark: u8, id: &str, value: &V) {
        let mut entry = vec![0; HEAD_BYTES];
        entry[LENGTH_BYTES..HEAD_BYTES - 1].copy_from_slice(&key.to_le_bytes());
        entry[HEAD_BYTES - 1] = mark;
        #[expect(
            clippy::expect_used,
            reason = "numbers, texts, lists and maps of known length always have bytes"
        )]
        let mut entry = postcard::to_extend(&(id, value), entry).expect("a value can always be written");
        let length = u32::try_from(entry.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
        entry[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        let place = self.pages.add(&entry);
        self.places.insert(key, place);
    }

    /// Takes the value of this id out.
    pub(super) fn take<V: DeserializeOwned>(&mut self, key: u64, id: &str) -> Option<V> {
        let value = self.get(key, id)?;
        let place = self.places.remove(&key);
        self.void.extend(place);
        if self.void.len() > self.places.len() + VOID_MAX {
            self.compact();
        }
        Some(value)
    }

    /// Writes the entries that count into pages of their own, in their order: values that take turns would fill the archive otherwise.
    fn compact(&mut self) {
        let places = self.in_order();
        let old = std::mem::take(&mut self.pages);
        (self.front, self.void) = (0, BTreeSet::new());
        for (place, key) in places {
            let found = old.at(place).and_then(|bytes| {
                let (_, length) = Sealed::first(bytes)?;
                bytes.get(..usize::try_from(length).ok()?)
            });
            match found {
                Some(entry) => _ = self.places.insert(key, self.pages.add(entry)),
                None => _ = self.places.remove(&key),
            }
        }
    }

    /// Where each is, the one that was seen least recently first.
    fn in_order(&self) -> Vec<(Place, u64)> {
        let mut places: Vec<_> = self.places.iter().map(|(key, place)| (*place, *key)).collect();
        places.sort_unstable();
        places
    }

    /// The value of this id.
    pub(super) fn get<V: DeserializeOwned>(&self, key: u64, id: &str) -> Option<V> {
        let (entry, _) = Sealed::first(self.pages.at(*self.places.get(&key)?)?)?;
        entry.value().filter(|(found, _)| found == id).map(|(_, value)| value)
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
                self.places.remove(&key);
                return Some(key);
            }
        }
        None
    }

    /// All of them, the one that was seen least recently first.
    pub(super) fn entries(&self) -> impl Iterator<Item = Sealed<'_>> {
        let places = self.in_order().into_iter();
        places.filter_map(|(place, _)| Some(Sealed::first(self.pages.at(place)?)?.0))
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
        self.places.clear();
        let (oldest, front) = (self.pages.oldest(), self.front);
        for (page, bytes) in self.pages.each() {
            let mut at = if page == oldest { front } else { 0 };
            let Some(mut rest) = usize::try_from(at).ok().and_then(|at| bytes.get(at..)) else {
                return false;
            };
            while !rest.is_empty() {
                let Some((entry, length)) = Sealed::first(rest) else { return false };
                let place = Place { page, at };
                if self.void.is_empty() || !self.void.contains(&place) {
                    self.places.insert(entry.key, place);
                }
                let Some(next) = usize::try_from(length).ok().and_then(|length| rest.get(length..)) else {
                    return false;
                };
                (at, rest) = (at + length, next);
            }
        }
        true
    }
}
