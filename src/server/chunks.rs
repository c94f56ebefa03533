//! Pieces of streams that were built a moment ago, shared by every stream that wants the same.
//!
//! What a stream sends after a cursor depends on its filter and on the journal alone. So the first that is woken by an event builds
//! the chunk, and the thousand that stand at the same cursor with the same filter hand the same bytes to their sockets: read,
//! matched and encoded once. A stream that lags a little finds the chunks of those ahead; one that lags more builds its own.
//!
//! The table is bounded in bytes, whatever the number of streams and filters: each slot holds the last chunk that fell on it.
//! Who takes a chunk goes on exactly where it ends, and nobody takes one that begins elsewhere: `tests/schedules.rs` has streams
//! push each other's chunks out at every moment.
#![cfg_attr(
    not(shuttle),
    expect(unreachable_pub, reason = "only the schedules of tests/schedules.rs name it")
)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use crate::event::Seq;
use crate::store::Subscription;
use crate::store::sync::{Control, Mutex, MutexGuard, is_broken};

/// Chunks that are kept: at most 16 KiB each, so at most 4 MiB. Two in the model, where streams are to push each other's out.
const CHUNKS_MAX: usize = if cfg!(shuttle) { 2 } else { 256 };

/// What streams with one filter send between two cursors.
#[derive(Clone)]
struct Chunk {
    /// The text that stands for the filter.
    filter: Arc<str>,
    /// From after this seq
    after: Seq,
    /// to this one, included,
    through: Seq,
    /// these are the frames,
    bytes: Bytes,
    /// and so many of them are events and gaps.
    deliveries: Deliveries,
}

/// What is counted as delivered with a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Events.
    pub events: u64,
    /// Gaps, and records that are no event.
    pub gaps: u64,
}

/// See the module.
pub struct ChunkCache {
    slots: Box<[Mutex<Option<Chunk>>]>,
}

impl Default for ChunkCache {
    fn default() -> Self {
        ChunkCache { slots: (0..CHUNKS_MAX).map(|_| Mutex::new(None)).collect() }
    }
}

impl ChunkCache {
    /// The chunk that comes next for `subscription`, if somebody with the same filter has built it: the subscription goes on behind it.
    pub fn take_over(
        &self,
        filter: &Arc<str>,
        subscription: &mut Subscription,
    ) -> Option<(Bytes, Deliveries)> {
        let (bytes, through, deliveries) = self.get(filter, subscription.cursor())?;
        let through =
            if is_broken(Control::GoesOnFromItsOwnCursor) { subscription.cursor() } else { through };
        subscription.go_to(through);
        Some((bytes, deliveries))
    }

    /// Leaves a chunk for others: what `subscription` gave after `after` and up to its cursor.
    pub fn hand_over(
        &self,
        filter: &Arc<str>,
        after: Seq,
        subscription: &Subscription,
        bytes: &Bytes,
        deliveries: Deliveries,
    ) {
        let (filter, through) = (filter.clone(), subscription.cursor());
        self.put(Chunk { filter, after, through, bytes: bytes.clone(), deliveries });
    }

    /// What comes after `after`, if somebody with the same filter has built it.
    fn get(&self, filter: &Arc<str>, after: Seq) -> Option<(Bytes, Seq, Deliveries)> {
        let slot = self.slot(filter, after)?;
        let chunk = slot.as_ref()?;
        let stands_here = chunk.after == after || is_broken(Control::TakesAnyChunk);
        let same = stands_here && (Arc::ptr_eq(&chunk.filter, filter) || chunk.filter == *filter);
        same.then(|| (chunk.bytes.clone(), chunk.through, chunk.deliveries))
    }

    fn put(&self, chunk: Chunk) {
        let Some(mut slot) = self.slot(&chunk.filter, chunk.after) else { return };
        let before = slot.replace(chunk);
        drop(slot);
        drop(before);
    }

    fn slot(&self, filter: &Arc<str>, after: Seq) -> Option<MutexGuard<'_, Option<Chunk>>> {
        let mut hasher = DefaultHasher::new();
        (filter, after.get()).hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % CHUNKS_MAX as u64).ok()?;
        Some(self.slots[at].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_serves_the_same_filter_at_the_same_cursor_and_nobody_else() {
        let cache = ChunkCache::default();
        let (one, same, other): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "a".into(), "b".into());
        let bytes = Bytes::from_static(b"frames");
        cache.put(Chunk {
            filter: one.clone(),
            after: Seq::new(4),
            through: Seq::new(9),
            bytes: bytes.clone(),
            deliveries: Deliveries { events: 5, gaps: 0 },
        });
        let found = cache.get(&same, Seq::new(4)).expect("the chunk");
        assert_eq!(
            (found.0.as_ptr(), found.1),
            (bytes.as_ptr(), Seq::new(9)),
            "the same bytes, not equal ones"
        );
        assert!(cache.get(&other, Seq::new(4)).is_none());
        assert!(cache.get(&one, Seq::new(5)).is_none());
    }

    #[test]
    fn the_table_is_bounded_whatever_is_put_into_it() {
        let cache = ChunkCache::default();
        for seq in 0..10_000 {
            let filter: Arc<str> = format!("filter {}", seq % 100).into();
            cache.put(Chunk {
                filter,
                after: Seq::new(seq),
                through: Seq::new(seq + 1),
                bytes: Bytes::new(),
                deliveries: Deliveries::default(),
            });
        }
        let kept = cache.slots.iter().filter(|slot| slot.lock().unwrap().is_some()).count();
        assert!((200..=CHUNKS_MAX).contains(&kept), "{kept}");
    }
}
