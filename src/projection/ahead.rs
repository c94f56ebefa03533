//! Events of a replay in batches, decoded ahead of whoever takes them in, on another core.
//!
//! Decoding an event costs about as much as folding it, and the one does not depend on the other. So where a long stretch is folded, a thread of
//! its own reads and decodes it while the caller takes in the batches before. What the caller sees is the same as without: the same items in
//! the same order, and an error after all that was read before it. Short stretches, and machines with one core, stay with the caller's thread.
//!
//! [`BATCHES`] batches go round, so memory is bounded however far the caller falls behind: each holds at most [`BATCH_EVENTS_MAX`] items
//! and ends at [`BATCH_BYTES_MAX`] and the record that reaches it; room for more than [`ROOM_BYTES_MAX`] is given back before an item is used again.
//! That is 12 MiB and four records in all.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::runner::BATCH_EVENTS_MAX;
use crate::error::Result;
use crate::store::{Item, Replay};

/// Batches under way: one is filled, one is taken in, and the others make up for uneven work.
const BATCHES: usize = 4;
/// A batch ends where its payloads have come to this.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// What an item keeps for the next one.
const ROOM_BYTES_MAX: usize = 8 << 10;
/// A shorter stretch is over before a thread for it has paid off: about a millisecond.
const WORTH_A_THREAD: u64 = 2_048;

/// Items, in memory that is used again.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    length: usize,
}

impl Batch {
    fn taken(&self) -> &[Item] {
        &self.items[..self.length]
    }

    /// Takes the next items in. It has none at the end of the replay; where reading failed, those before.
    fn fill(&mut self, replay: &mut Replay) -> Result<()> {
        let mut bytes = 0;
        self.length = 0;
        while self.length < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
            if self.length == self.items.len() {
                self.items.push(Item::blank());
            }
            let item = &mut self.items[self.length];
            if item.room() > ROOM_BYTES_MAX {
                *item = Item::blank();
            }
            if !replay.next_over(item)? {
                break;
            }
            bytes += item.room();
            self.length += 1;
        }
        for item in &mut self.items[self.length..] {
            if item.room() > ROOM_BYTES_MAX {
                *item = Item::blank();
            }
        }
        Ok(())
    }
}

/// Hands all items of `replay` to `take`, in batches. `events` is about how many there are.
///
/// # Errors
/// When the journal cannot be read; what was read before that was taken.
pub(super) fn each_batch(replay: &mut Replay, events: u64, mut take: impl FnMut(&[Item])) -> Result<()> {
    let is_worth_it = events >= WORTH_A_THREAD && thread::available_parallelism().map_or(1, NonZero::get) > 1;
    if is_worth_it { on_two_cores(replay, &mut take) } else { on_one_core(replay, &mut take) }
}

fn on_one_core(replay: &mut Replay, take: &mut dyn FnMut(&[Item])) -> Result<()> {
    let mut batch = Batch::default();
    loop {
        let read = batch.fill(replay);
        if batch.length > 0 {
            take(batch.taken());
        }
        read?;
        if batch.length == 0 {
            return Ok(());
        }
    }
}

fn on_two_cores(replay: &mut Replay, take: &mut dyn FnMut(&[Item])) -> Result<()> {
    let reading = &mut *replay;
    let is_done = thread::scope(|scope| -> Result<bool> {
        let (full, filled) = sync_channel(BATCHES);
        let (empty, emptied) = sync_channel(BATCHES);
        for _ in 0..BATCHES {
            // There is room for all of them.
            _ = empty.try_send(Batch::default());
        }
        let decoding = thread::Builder::new().name("decode".to_owned());
        if decoding.spawn_scoped(scope, move || decode(reading, &full, &emptied)).is_err() {
            return Ok(false);
        }
        for batch in filled {
            let batch: Batch = batch?;
            take(batch.taken());
            // Once all is decoded, nobody waits for it.
            _ = empty.send(batch);
        }
        Ok(true)
    })?;
    // Where no thread can be started, nothing was read.
    if is_done { Ok(()) } else { on_one_core(replay, take) }
}

/// Fills batches until the replay ends or nobody takes them any more.
fn decode(replay: &mut Replay, full: &SyncSender<Result<Batch>>, emptied: &Receiver<Batch>) {
    while let Ok(mut batch) = emptied.recv() {
        let read = batch.fill(replay);
        let is_last = batch.length == 0 || read.is_err();
        let mut is_taken = batch.length == 0 || full.send(Ok(batch)).is_ok();
        if let Err(error) = read {
            is_taken = full.send(Err(error)).is_ok();
        }
        if is_last || !is_taken {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
