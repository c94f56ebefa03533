//! What a journal is opened with.

use crate::types::{JournalId, Seq};

/// Aimed-at size of a segment: large enough that sealing is rare, small enough to drop, map and copy at ease.
pub const SEGMENT_BYTES_TARGET: u64 = 64 * 1024 * 1024;

/// What the journal cannot know by itself: identity, randomness, sizes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// A segment is sealed when the next batch would carry it past this size. A batch is never split over segments,
    /// so one that is larger than this makes a larger segment.
    pub segment_bytes_target: u64,
    /// The id that a journal gets if there is none yet.
    pub journal_id_if_new: JournalId,
    /// The seq that the first record gets if there is no journal yet: more than 1 for one that goes on where another
    /// was cut.
    pub first_if_new: Seq,
    /// Random bytes, new for every opening: the salts of the segments are derived from them.
    pub salt_seed: [u8; 32],
    /// Whether batches are linked by hash. Off is for measuring what the chain costs; it cannot be switched within a journal.
    pub chain: bool,
    /// [`crate::boot_hash`] of this machine; followers in other processes believe the tail file of the same boot only.
    pub boot: u64,
}

impl Options {
    /// The defaults, with what has none.
    pub fn new(journal_id_if_new: JournalId, salt_seed: [u8; 32]) -> Options {
        Options {
            segment_bytes_target: SEGMENT_BYTES_TARGET,
            journal_id_if_new,
            first_if_new: Seq::FIRST,
            salt_seed,
            chain: true,
            boot: 0,
        }
    }

    /// Sets [`Options::segment_bytes_target`].
    #[must_use]
    pub fn with_segment_bytes_target(mut self, bytes: u64) -> Options {
        self.segment_bytes_target = bytes;
        self
    }

    /// Sets [`Options::first_if_new`]; the first seq is never less than [`Seq::FIRST`].
    #[must_use]
    pub fn with_first_if_new(mut self, first: Seq) -> Options {
        self.first_if_new = first.max(Seq::FIRST);
        self
    }

    /// Sets [`Options::chain`].
    #[must_use]
    pub fn with_chain(mut self, chain: bool) -> Options {
        self.chain = chain;
        self
    }

    /// Sets [`Options::boot`].
    #[must_use]
    pub fn with_boot(mut self, boot: u64) -> Options {
        self.boot = boot;
        self
    }
}
