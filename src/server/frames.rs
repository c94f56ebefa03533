//! The frames of recent events, built once and shared by every stream that sends them.
//!
//! A frame does not depend on who reads it, so it is kept by seq in a small table: near the tail, where many
//! streams read the same events at the same time, each is encoded once. A slot holds the last frame whose seq
//! falls on it; a reader that is far behind finds other seqs there and encodes for itself, without pushing the
//! recent ones out. The table is bounded in frames and in bytes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::event::StoredEvent;
use crate::wire::sse;

/// Frames that are kept: more than a burst that waits for one wake-up of every stream.
const FRAMES_MAX: usize = 1_024;
/// A larger frame is not kept, so the table never holds more than 32 MiB.
const FRAME_BYTES_KEPT_MAX: usize = 32 * 1024;
/// Streams that read different seqs do not wait for each other.
const SHARDS: usize = 16;

const _: () = assert!(FRAMES_MAX.is_multiple_of(SHARDS));

type Slot = Option<(u64, Arc<str>)>;

/// See the module.
pub(crate) struct FrameCache {
    shards: [Mutex<Box<[Slot]>>; SHARDS],
}

impl Default for FrameCache {
    fn default() -> Self {
        FrameCache { shards: std::array::from_fn(|_| Mutex::new(vec![None; FRAMES_MAX / SHARDS].into())) }
    }
}

impl FrameCache {
    /// The frame of `event`, encoded now if it is not kept.
    pub(crate) fn frame(&self, event: &StoredEvent) -> Arc<str> {
        let seq = event.seq.get();
        let place = usize::try_from(seq % FRAMES_MAX as u64).unwrap_or(0);
        let (shard, at) = (&self.shards[place % SHARDS], place / SHARDS);
        let kept = |slots: &[Slot]| match &slots[at] {
            Some((kept, frame)) if *kept == seq => Some(frame.clone()),
            _ => None,
        };
        if let Some(frame) = kept(&shard.lock().unwrap_or_else(PoisonError::into_inner)) {
            return frame;
        }
        let frame = encode(event);
        if frame.len() <= FRAME_BYTES_KEPT_MAX {
            let mut slots = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if slots[at].as_ref().is_none_or(|(kept, _)| *kept < seq) {
                slots[at] = Some((seq, frame.clone()));
            }
        }
        frame
    }
}

fn encode(event: &StoredEvent) -> Arc<str> {
    let mut frame = String::new();
    sse::event_frame(&mut frame, event.seq.get(), event.event.kind.name(), &event.to_json());
    frame.into()
}
