//! Sessions that the state has forgotten: that they were is remembered, by the fingerprints of their ids.

use serde::{Deserialize, Serialize};

use crate::projection::keyed::Keys;
use crate::projection::pages::Pages;
use crate::projection::snapshot::Part;

const KEY_BYTES: usize = 8;

/// The fingerprints, in the order in which they came: u64 LE each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Departed {
    pages: Pages,
    /// Of them, those whose session was seen again and is known now.
    back: u64,
    /// All of them: told by the pages.
    #[serde(skip)]
    keys: Keys,
}

impl Departed {
    /// How many are away now.
    pub(super) fn len(&self) -> u64 {
        (self.keys.len() as u64).saturating_sub(self.back)
    }

    pub(super) fn put(&mut self, key: u64) {
        if self.keys.insert(key) {
            self.pages.add(&key.to_le_bytes());
        } else {
            self.back = self.back.saturating_sub(1);
        }
    }

    /// Says whether it was away; it is back then.
    pub(super) fn take(&mut self, key: u64) -> bool {
        let was_away = self.keys.contains(&key);
        self.back += u64::from(was_away);
        was_away
    }

    /// What never changes.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.pages.parts()
    }

    /// The same, to be filled; then [`Departed::filled`].
    pub(super) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.pages.parts_mut()
    }

    pub(super) fn filled(&mut self) -> bool {
        let pages = || self.pages.each().map(|(_, bytes)| bytes.as_chunks::<KEY_BYTES>());
        let are_whole = pages().all(|(_, rest)| rest.is_empty());
        self.keys.clear();
        self.keys.reserve(pages().map(|(keys, _)| keys.len()).sum());
        self.keys.extend(pages().flat_map(|(keys, _)| keys).map(|key| u64::from_le_bytes(*key)));
        are_whole
    }
}
