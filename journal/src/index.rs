//! Where frames begin: a sparse index of a segment, in memory, built by whoever walks it.
//!
//! Without it a reader walks all headers from the segment's begin; with it, at most those of one stretch. It is derived and
//! never trusted: a place that it names must hold a whole header of the right seq, or it is forgotten.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::Seq;

/// One place is kept for about this many bytes: a walk of so many headers is cheaper than a cache miss on the index.
const STRETCH_BYTES: u64 = 16 * 1024;

/// Places of frames in one segment, ascending.
#[derive(Debug, Default)]
pub(crate) struct SegmentIndex {
    places: Mutex<Vec<(Seq, u64)>>,
}

impl SegmentIndex {
    fn places(&self) -> MutexGuard<'_, Vec<(Seq, u64)>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last place that is not behind `seq`.
    pub(crate) fn before(&self, seq: Seq) -> Option<(Seq, u64)> {
        let places = self.places();
        let after = places.partition_point(|(first, _)| *first <= seq);
        after.checked_sub(1).map(|index| places[index])
    }

    /// Notes that the frame of `seq` begins at `offset`; the next offset that is worth noting.
    pub(crate) fn note(&self, seq: Seq, offset: u64) -> u64 {
        let mut places = self.places();
        match places.last() {
            Some((_, last)) if offset < last + STRETCH_BYTES => last + STRETCH_BYTES,
            _ => {
                places.push((seq, offset));
                offset + STRETCH_BYTES
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.places().clear();
    }
}
