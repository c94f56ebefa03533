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

    /// The id.
    pub(super) fn id(&self) -> Option<&'a str> {
        postcard::take_from_bytes(self.packed).ok().map(|(id, _)| id)
    }

    /// The id and the value as bytes: the same bytes are the same value.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.packed
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
        // Another id with the same fingerprint: it cannot be found any more, and must not be the one that is forgotten for this.
        self.void.extend(self.places.insert(key, place));
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
                self.front = 0;
                if self.pages.drop_oldest() {
                    continue;
                }
                return None;
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

    /// Finds the entries in the pages. False if these are none of an archive: every entry is of an id of its own, or void.
    pub(super) fn filled(&mut self) -> bool {
        self.places.clear();
        let mut void = 0;
        let (oldest, front) = (self.pages.oldest(), self.front);
        for (page, bytes) in self.pages.each() {
            let mut at = if page == oldest { front } else { 0 };
            let Some(mut rest) = usize::try_from(at).ok().and_then(|at| bytes.get(at..)) else {
                return false;
            };
            while !rest.is_empty() {
                let Some((entry, length)) = Sealed::first(rest) else { return false };
                let place = Place { page, at };
                if !self.void.is_empty() && self.void.contains(&place) {
                    void += 1;
                } else if self.places.insert(entry.key, place).is_some() {
                    return false;
                }
                let Some(next) = usize::try_from(length).ok().and_then(|length| rest.get(length..)) else {
                    return false;
                };
                (at, rest) = (at + length, next);
            }
        }
        void == self.void.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Value = Vec<u64>;

    /// As it is read back: from its own bytes and those of its parts.
    fn resumed(archive: &Archive) -> Option<Archive> {
        let mut read: Archive = postcard::from_bytes(&postcard::to_stdvec(archive).unwrap()).unwrap();
        for (part, known) in read.parts_mut().zip(archive.parts()) {
            assert!(part.become_it(known.clone()));
        }
        read.filled().then_some(read)
    }

    fn ids(archive: &Archive) -> Vec<String> {
        archive.entries().map(|entry| entry.value::<Value>().unwrap().0).collect()
    }

    fn of(count: u64) -> Archive {
        let mut archive = Archive::default();
        (0..count).for_each(|n| archive.put(n, 0, &n.to_string(), &vec![n; 64]));
        archive
    }

    #[test]
    fn what_is_taken_out_is_there_no_more_and_the_oldest_is_forgotten_first() {
        let mut archive = of(5_000);
        assert!(archive.parts().count() > 3);
        assert_eq!(archive.take::<Value>(7, "8"), None, "another id");
        assert_eq!(archive.take::<Value>(0, "0"), Some(vec![0; 64]));
        assert_eq!(archive.take::<Value>(0, "0"), None);
        archive.put(0, 1, "0", &vec![9_u64; 64]);
        assert_eq!((archive.len(), resumed(&archive).as_ref()), (5_000, Some(&archive)));
        let order: Vec<u64> = std::iter::from_fn(|| archive.forget_oldest()).collect();
        assert_eq!(order, (1..5_000).chain([0]).collect::<Vec<_>>());
        assert_eq!((archive.len(), resumed(&archive).unwrap()), (0, archive));
    }

    #[test]
    fn two_ids_of_one_fingerprint_leave_the_later_one() {
        let mut archive = of(3);
        archive.put(1, 0, "another", &vec![7_u64; 64]);
        let mut read = resumed(&archive).unwrap();
        assert_eq!(read, archive);
        for archive in [&mut archive, &mut read] {
            assert_eq!((archive.len(), archive.get::<Value>(1, "1")), (3, None));
            assert_eq!(std::iter::from_fn(|| archive.forget_oldest()).collect::<Vec<_>>(), [0, 2, 1]);
        }
        assert_eq!(read, archive);
    }

    #[test]
    fn values_that_take_turns_do_not_fill_the_pages() {
        let mut archive = of(8);
        for n in 0..20_000 {
            let value = archive.take::<Value>(n % 8, &(n % 8).to_string()).unwrap();
            archive.put(n % 8, 0, &(n % 8).to_string(), &value);
        }
        let bytes: usize = archive.pages.each().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes < 2 * VOID_MAX * 128, "{bytes} bytes");
        assert_eq!(ids(&archive), ["0", "1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(resumed(&archive).unwrap(), archive);
    }

    /// Bytes of another's making: what does not fit together is refused, and nothing waits for what is not there.
    #[test]
    fn pages_and_what_counts_in_them_must_fit() {
        let good = of(2_000);
        let there = *good.places.get(&3).unwrap();
        let forged = |change: &dyn Fn(&mut Archive)| {
            let mut archive = good.clone();
            change(&mut archive);
            resumed(&archive).is_none()
        };
        assert!(!forged(&|_| ()), "the control");
        assert!(!forged(&|archive| _ = archive.take::<Value>(3, "3")), "the other control");
        for page in [0, 1, 1_000] {
            assert!(
                forged(&|archive| _ = archive.void.insert(Place { page, at: 1 })),
                "void where nothing begins"
            );
        }
        assert!(forged(&|archive| archive.front = 1));
        assert!(forged(&|archive| archive.front = u32::MAX));
        assert!(forged(&|archive| {
            let twice = good.pages.at(there).unwrap()[..100].to_vec();
            archive.pages.add(&twice);
        }));
        assert!(forged(&|archive| {
            let entry = Sealed::first(good.pages.at(there).unwrap()).unwrap();
            archive.pages.add(&good.pages.at(there).unwrap()[..usize::try_from(entry.1).unwrap()]);
        }));
        // The oldest of none that can be found.
        let mut archive = good.clone();
        archive.front = u32::MAX;
        archive.void = (0..100).map(|at| Place { page: 0, at }).collect();
        while archive.forget_oldest().is_some() {}
        assert_eq!(archive.pages.oldest(), u64::try_from(good.parts().count()).unwrap() + 1);
    }
}
