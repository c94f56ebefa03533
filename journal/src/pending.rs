//! What was submitted and is not yet written.
//!
//! Submitting copies the payloads, under a short lock, to where they will be written from: the arena already has the
//! shape of the frames, with room for each header, and only what depends on the segment (offset, salt, checksums, link)
//! is filled in when it is committed. So a commit is one contiguous write with no second copy.
//!
//! Submissions that follow each other within [`RECORDED_GRAIN_MICROS`] share a frame, up to [`GROUP_BYTES_TARGET`]: one header and
//! one link serve them all. A submission is never split, so each stays atomic.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::format::batch::BATCH_BODY_BYTES_MAX;
use crate::format::{BATCH_HEADER_BYTES, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, padded, record};
use crate::types::{Level, Micros, Seq};

/// Submissions share a frame, and with it the time that the journal took them, if they are at most this far apart.
pub(crate) const RECORDED_GRAIN_MICROS: i64 = 1_000;
/// A frame takes no further submission when its records are this long: large enough that its header costs nothing.
pub(crate) const GROUP_BYTES_TARGET: usize = 128 * 1024;

/// One frame to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Where its header goes, in the arena.
    pub(crate) start: usize,
    /// Where its records end; the padding is added when the next group begins or the arena is taken.
    pub(crate) end: usize,
    pub(crate) first: Seq,
    pub(crate) count: u32,
    pub(crate) recorded: Micros,
}

/// Frames to be, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    pub(crate) bytes: Vec<u8>,
    pub(crate) groups: Vec<Group>,
    /// Whether anybody asked for level `disk`.
    pub(crate) wants_disk: bool,
}

impl Arena {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.groups.clear();
        self.wants_disk = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn pad(&mut self) {
        let end = padded(self.bytes.len());
        self.bytes.resize(end, 0);
    }
}

/// A stretch of submissions that share their fate: it ends when a commit fails.
#[derive(Debug, Default)]
pub(crate) struct Epoch {
    failed: OnceLock<Failure>,
}

/// How an epoch ended.
#[derive(Debug)]
struct Failure {
    /// What of it was written all the same, and what of that was or still can become durable.
    written: Seq,
    flushable: Seq,
    error: Error,
}

impl Epoch {
    /// The error of a submission whose last seq is `last`, if it was lost.
    pub(crate) fn failure(&self, last: Seq, level: Level) -> Option<Error> {
        let failure = self.failed.get()?;
        let survives = match level {
            Level::Os => failure.written,
            Level::Disk => failure.flushable,
        };
        (last > survives).then(|| failure.error.clone())
    }
}

/// The queue in front of the writer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) arena: Arena,
    /// The seq that the next record gets.
    pub(crate) next: Seq,
    /// `recorded` of the last group ever made.
    pub(crate) recorded: Micros,
    pub(crate) epoch: Arc<Epoch>,
    /// Why nothing more is taken.
    pub(crate) refuse: Option<Error>,
}

/// The seqs and the time that a submission got.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) recorded: Micros,
    pub(crate) epoch: Arc<Epoch>,
}

impl Pending {
    pub(crate) fn new(next: Seq, recorded: Micros) -> Pending {
        Pending { arena: Arena::default(), next, recorded, epoch: Arc::default(), refuse: None }
    }

    pub(crate) fn submit(
        &mut self,
        payloads: &[&[u8]],
        body_bytes: usize,
        now: Micros,
        level: Level,
        expected_tail: Option<Seq>,
    ) -> Result<Given> {
        if let Some(refusal) = &self.refuse {
            return Err(refusal.clone());
        }
        if let Some(expected) = expected_tail
            && expected != self.next
        {
            return Err(Error::TailMismatch { expected, actual: self.next });
        }
        let first = self.next;
        let count = u32::try_from(payloads.len()).unwrap_or(u32::MAX);
        if Seq::MAX.since(first) <= u64::from(count) {
            return Err(Error::TooLarge {
                what: "the number of records",
                bytes: u64::MAX,
                max: u64::MAX - 1,
            });
        }
        self.recorded = self.group_for(body_bytes, now);
        for payload in payloads {
            record::push(&mut self.arena.bytes, payload, 0);
        }
        let end = self.arena.bytes.len();
        if let Some(group) = self.arena.groups.last_mut() {
            group.end = end;
            group.count += count;
        }
        self.arena.wants_disk |= level == Level::Disk;
        self.next = first.plus(count.into());
        let epoch = Arc::clone(&self.epoch);
        Ok(Given { first, last: self.next.prev(), recorded: self.recorded, epoch })
    }

    /// Makes sure that the last group takes `body_bytes` more at `now`; its `recorded`.
    fn group_for(&mut self, body_bytes: usize, now: Micros) -> Micros {
        if let Some(group) = self.arena.groups.last()
            && now.since(group.recorded) < RECORDED_GRAIN_MICROS
            && group.end - group.start + body_bytes <= GROUP_BYTES_TARGET
        {
            return group.recorded;
        }
        let recorded = now.max(self.recorded);
        #[cfg(test)]
        let recorded = if crate::tests::clocks::clocks_are_trusted() { now } else { recorded };
        self.arena.pad();
        let start = self.arena.bytes.len();
        self.arena.bytes.resize(start + BATCH_HEADER_BYTES, 0);
        let end = self.arena.bytes.len();
        self.arena.groups.push(Group { start, end, first: self.next, count: 0, recorded });
        recorded
    }

    /// Takes all that waits and leaves `empty` in its place.
    pub(crate) fn take(&mut self, empty: Arena) -> Arena {
        debug_assert!(empty.is_empty(), "what is left behind must hold nothing");
        self.arena.pad();
        std::mem::replace(&mut self.arena, empty)
    }

    /// Ends the epoch: what waits, and what was taken and is beyond `written` (or `flushable`), is lost; the next
    /// record gets the seq after `written`.
    pub(crate) fn fail(&mut self, error: &Error, written: Seq, flushable: Seq, recorded: Micros) {
        let epoch = std::mem::take(&mut self.epoch);
        let failure = Failure { written, flushable, error: error.clone() };
        let _only_once = epoch.failed.set(failure);
        self.arena.clear();
        self.next = written.next();
        self.recorded = recorded;
    }
}

/// The bytes that `payloads` take as records of one batch.
///
/// # Errors
/// [`Error::EmptyBatch`], [`Error::TooLarge`].
pub(crate) fn body_bytes(payloads: &[&[u8]]) -> Result<usize> {
    if payloads.is_empty() {
        return Err(Error::EmptyBatch);
    }
    let mut sum: usize = 0;
    for payload in payloads {
        if payload.len() > RECORD_BYTES_MAX {
            let (bytes, max) = (payload.len() as u64, RECORD_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "a record", bytes, max });
        }
        sum += RECORD_HEADER_BYTES + payload.len();
        if sum > BATCH_BODY_BYTES_MAX {
            let (bytes, max) = (sum as u64, BATCH_BODY_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "a batch", bytes, max });
        }
    }
    Ok(sum)
}
