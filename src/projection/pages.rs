//! Bytes that are only added to, in pages: what a state keeps much of and changes nothing of.
//!
//! Records go into the open page. A page that is full is sealed: it gets a hash, and from then on it never changes, so all snapshots
//! that hold it share one copy of it on disk ([`crate::projection::snapshot`]), and a state's own bytes hold the hash in its place. The oldest page
//! leaves as a whole.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::projection::snapshot::Part;

/// A page is sealed by the record that reaches this.
pub(in crate::projection) const PAGE_BYTES: usize = 64 << 10;

/// Records in pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::projection) struct Pages {
    /// Pages that have left.
    left: u64,
    sealed: VecDeque<Part>,
    #[serde(with = "crate::projection::snapshot::bytes")]
    open: Vec<u8>,
}

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::projection) struct Place {
    pub(in crate::projection) page: u64,
    pub(in crate::projection) at: u32,
}

impl Pages {
    /// Adds a record, whole within one page.
    pub(in crate::projection) fn add(&mut self, record: &[u8]) -> Place {
        let at = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        let place = Place { page: self.left + self.sealed.len() as u64, at };
        self.open.extend_from_slice(record);
        if self.open.len() >= PAGE_BYTES {
            let mut page = std::mem::take(&mut self.open);
            page.shrink_to_fit();
            self.sealed.push_back(Part::of(page));
        }
        place
    }

    /// The bytes from a place to the end of its page; none if that has left.
    pub(in crate::projection) fn at(&self, place: Place) -> Option<&[u8]> {
        let nth = usize::try_from(place.page.checked_sub(self.left)?).ok()?;
        let page = match self.sealed.get(nth) {
            Some(sealed) => sealed.bytes(),
            None if nth == self.sealed.len() => &self.open,
            None => return None,
        };
        page.get(usize::try_from(place.at).ok()?..)
    }

    /// All pages, the oldest first, each with its number.
    pub(in crate::projection) fn each(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let pages = self.sealed.iter().map(Part::bytes).chain([self.open.as_slice()]);
        (self.left..).zip(pages)
    }

    /// The number of the oldest page.
    pub(in crate::projection) fn oldest(&self) -> u64 {
        self.left
    }

    /// Lets the oldest page go. False if that was the open one, and all that there was.
    pub(in crate::projection) fn drop_oldest(&mut self) -> bool {
        let was_sealed = self.sealed.pop_front().is_some();
        if !was_sealed {
            self.open.clear();
        }
        self.left += 1;
        was_sealed
    }

    /// The sealed ones.
    pub(in crate::projection) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.sealed.iter()
    }

    /// The same, to be filled.
    pub(in crate::projection) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.sealed.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_at_their_places_until_their_page_leaves() {
        let mut pages = Pages::default();
        let record = |n: u32| vec![u8::try_from(n % 251).unwrap(); 1_000];
        let places: Vec<Place> = (0..200).map(|n| pages.add(&record(n))).collect();
        assert_eq!(pages.parts().count(), 3, "66 records a page");
        for (n, place) in (0..).zip(&places) {
            assert_eq!(pages.at(*place).unwrap()[..1_000], record(n));
        }
        assert!(pages.drop_oldest());
        assert_eq!((pages.at(places[0]), pages.at(places[65]), pages.oldest()), (None, None, 1));
        assert_eq!(pages.at(places[66]).unwrap()[..1_000], record(66));
        assert_eq!(pages.each().map(|(page, _)| page).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!([(); 3].map(|()| pages.drop_oldest()), [true, true, false], "the open one is the last");
        assert_eq!((pages.at(places[199]), pages.oldest()), (None, 4));
    }
}
