//! Events of a replay in batches, decoded ahead of whoever takes them in, on two cores.
//!
//! Decoding an event costs about as much as folding it, or more, and the one does not depend on the other. So where a long stretch is folded, a
//! thread of its own decodes it while the caller takes in the batches before; and where the next batch is not decoded yet, the caller
//! decodes the one after those that are under way, so that neither waits while there is work. Records are read one batch after the other, under a lock; a
//! batch that is read is decoded by whoever read it. What the caller sees is the same as without: the same items in the same order, and an
//! error after all that was read before it. Short stretches, and machines with one core, stay with the caller's thread.
//!
//! [`BATCHES`] batches go round, so memory is bounded however far the caller falls behind: each holds at most [`BATCH_EVENTS_MAX`] items
//! and ends at [`BATCH_BYTES_MAX`] and the record that reaches it, once as it was read and once decoded; room for more than [`ROOM_BYTES_MAX`] is
//! given back before an item is used again. That is 12 MiB and eight records in all.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::runner::BATCH_EVENTS_MAX;
use crate::error::Result;
use crate::store::{Item, Replay, Undecoded};

/// Batches under way: each of the two threads has one, and the others make up for uneven work.
const BATCHES: usize = 4;
/// A batch ends where its records have come to this.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// What an item keeps for the next one.
const ROOM_BYTES_MAX: usize = 8 << 10;
/// A shorter stretch is over before a thread for it has paid off: about a millisecond.
const WORTH_A_THREAD: u64 = 2_048;

/// Items, in memory that is used again.
#[derive(Default)]
struct Batch {
    undecoded: Undecoded,
    items: Vec<Item>,
    length: usize,
}

impl Batch {
    fn taken(&self) -> &[Item] {
        &self.items[..self.length]
    }

    /// Takes the next records in. It has none at the end of the replay; where reading failed, those before.
    fn read(&mut self, replay: &mut Replay) -> Result<()> {
        self.length = 0;
        // A record that is longer than a batch should be leaves no room behind.
        self.undecoded.clear(BATCH_BYTES_MAX * 2);
        while self.undecoded.len() < BATCH_EVENTS_MAX && self.undecoded.bytes() < BATCH_BYTES_MAX {
            if !replay.read_on(&mut self.undecoded)? {
                break;
            }
        }
        Ok(())
    }

    /// Turns what was read into items.
    fn decode(&mut self) {
        self.length = self.undecoded.len();
        if self.items.len() < self.length {
            self.items.resize_with(self.length, Item::blank);
        }
        for item in &mut self.items {
            if item.room() > ROOM_BYTES_MAX {
                *item = Item::blank();
            }
        }
        self.undecoded.decode_over(&mut self.items);
    }
}

/// Hands all items of `replay` to `take`, in batches. `events` is about how many there are.
///
/// # Errors
/// When the journal cannot be read; what was read before that was taken.
pub(super) fn each_batch(replay: &mut Replay, events: u64, mut take: impl FnMut(&[Item])) -> Result<()> {
    debug_assert!(!replay.is_filtered(), "a filter wants events, and reading ahead has none yet");
    let is_worth_it = events >= WORTH_A_THREAD && thread::available_parallelism().map_or(1, NonZero::get) > 1;
    if is_worth_it { on_two_cores(replay, &mut take) } else { on_one_core(replay, &mut take) }
}

fn on_one_core(replay: &mut Replay, take: &mut dyn FnMut(&[Item])) -> Result<()> {
    let mut batch = Batch::default();
    loop {
        let read = batch.read(replay);
        batch.decode();
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
    let shared = Shared::of(replay);
    thread::scope(|scope| {
        let decoding = thread::Builder::new().name("decode".to_owned());
        // Where no thread can be started, the caller does it all.
        _ = decoding.spawn_scoped(scope, || shared.decode_all());
        shared.take_all(take)
    })
}

/// What both threads hold.
struct Shared<'a> {
    /// Locked while a batch is read, and before `hand`.
    reading: Mutex<Reading<'a>>,
    hand: Mutex<Hand>,
    changed: Condvar,
}

struct Reading<'a> {
    replay: &'a mut Replay,
    /// How many were read.
    batches: u64,
    is_over: bool,
}

struct Hand {
    empty: Vec<Batch>,
    /// With their numbers, in no order.
    decoded: Vec<(u64, Batch)>,
    /// How many batches there are in all, and how reading ended.
    end: Option<(u64, Result<()>)>,
    /// One of the two is gone.
    is_left: bool,
}

/// What the caller does next.
enum Turn {
    Take(Batch),
    Decode(Batch),
    End(Result<()>),
}

impl<'a> Shared<'a> {
    fn of(replay: &'a mut Replay) -> Shared<'a> {
        let empty = std::iter::repeat_with(Batch::default).take(BATCHES).collect();
        let hand = Hand { empty, decoded: Vec::with_capacity(BATCHES), end: None, is_left: false };
        let reading = Mutex::new(Reading { replay, batches: 0, is_over: false });
        Shared { reading, hand: Mutex::new(hand), changed: Condvar::new() }
    }

    /// The caller's part.
    fn take_all(&self, take: &mut dyn FnMut(&[Item])) -> Result<()> {
        let _leaving = Leaving(self);
        let mut nth = 0;
        loop {
            match self.turn(nth) {
                Turn::Take(batch) => {
                    take(batch.taken());
                    self.give_back(batch);
                    nth += 1;
                }
                Turn::Decode(batch) => _ = self.decode_next(batch),
                Turn::End(ended) => return ended,
            }
        }
    }

    /// The other thread's part.
    fn decode_all(&self) {
        let _leaving = Leaving(self);
        while let Some(batch) = self.wait_for_empty() {
            if !self.decode_next(batch) {
                return;
            }
        }
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the caller, who has taken in all batches before `nth`.
    fn turn(&self, nth: u64) -> Turn {
        let mut hand = self.hand();
        loop {
            if let Some(at) = hand.decoded.iter().position(|(number, _)| *number == nth) {
                return Turn::Take(hand.decoded.swap_remove(at).1);
            }
            match &mut hand.end {
                Some((batches, ended)) if *batches == nth => {
                    return Turn::End(std::mem::replace(ended, Ok(())));
                }
                // All is read, and the other one decodes what is missing.
                Some(_) => {}
                None => {
                    if let Some(batch) = hand.empty.pop() {
                        return Turn::Decode(batch);
                    }
                }
            }
            if hand.is_left {
                // By a panic, which goes on when it is joined.
                return Turn::End(Ok(()));
            }
            hand = self.changed.wait(hand).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the other thread; none when there is nothing left to do.
    fn wait_for_empty(&self) -> Option<Batch> {
        let mut hand = self.hand();
        loop {
            if hand.is_left || hand.end.is_some() {
                return None;
            }
            if let Some(batch) = hand.empty.pop() {
                return Some(batch);
            }
            hand = self.changed.wait(hand).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads the next batch and decodes it; false once there is none.
    fn decode_next(&self, mut batch: Batch) -> bool {
        let number = {
            // Whoever panicked while he read has records that nobody else will see: nothing may follow them.
            let Ok(mut reading) = self.reading.lock() else { return false };
            if reading.is_over {
                return false;
            }
            let read = batch.read(reading.replay);
            let number = reading.batches;
            let has_some = batch.undecoded.len() > 0;
            reading.batches += u64::from(has_some);
            if read.is_err() || !has_some {
                reading.is_over = true;
                self.hand().end = Some((reading.batches, read));
                self.changed.notify_all();
            }
            if !has_some {
                return false;
            }
            number
        };
        batch.decode();
        self.hand().decoded.push((number, batch));
        self.changed.notify_all();
        true
    }

    fn give_back(&self, batch: Batch) {
        self.hand().empty.push(batch);
        self.changed.notify_all();
    }
}

/// Whoever leaves, by a panic too, keeps the other from waiting for it.
struct Leaving<'s, 'a>(&'s Shared<'a>);

impl Drop for Leaving<'_, '_> {
    fn drop(&mut self) {
        self.0.hand().is_left = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
