//! Zeros ahead of the writer, in servers.
//!
//! A flush of bytes that were already allocated and written once needs no new metadata and is several times cheaper than one
//! that makes the file grow. So a second thread writes zeros, in chunks, ahead of where the writer is, and flushes them
//! itself. Whoever opens a journal for one append does not pay for this: there is no thread then.
//!
//! Zeros must never fall on a frame. The thread says where its chunk begins before it writes; the writer says how far it
//! is about to write and waits if that reaches into the chunk in hand, which it rarely does. Before the file is cut, sealed
//! or left, the writer takes it back.
//!
//! The thread has a descriptor of its own: a failed flush is told once for each, and the writer must not miss its own.

use std::io;
use std::sync::{Arc, PoisonError};

use crate::disk::{Access, Disk, DiskFile, write_full};
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, MutexGuard, thread};
use crate::writer::is_full;

/// How much is written at a time: large against a commit, small against a disk's patience.
const CHUNK_BYTES: u64 = 1024 * 1024;
/// How far ahead of the writer the zeros reach.
const AHEAD_BYTES: u64 = 4 * CHUNK_BYTES;

#[derive(Debug, Default)]
pub(crate) struct Filler {
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    stop: bool,
    target: Option<Target>,
    /// Whether a chunk is being written at the target's `filled`.
    busy: bool,
    failed: Option<io::Error>,
}

#[derive(Debug)]
struct Target {
    file: Arc<dyn DiskFile>,
    /// Where the writer is.
    offset: u64,
    /// Where the zeros end; beyond that only the thread may write.
    filled: u64,
    /// Nothing is filled beyond this.
    limit: u64,
}

impl Target {
    fn wants_more(&self) -> bool {
        // Not before the first frame: a segment that stays empty stays small.
        self.filled < self.limit
            && self.offset > 0
            && self.filled - self.offset.min(self.filled) < AHEAD_BYTES
    }
}

impl Filler {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_state(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state();
        while state.busy && !until(&state) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    pub(crate) fn start(self: &Arc<Self>) -> Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return Ok(());
        }
        self.state().running = true;
        let filler = Arc::clone(self);
        let spawned = thread::Builder::new().name("journal-fill".to_owned()).spawn(move || filler.run());
        *thread = Some(spawned.map_err(|error| Error::io("start", "the filling thread", error))?);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        let mut state = self.state();
        (state.stop, state.running) = (true, false);
        drop(state);
        self.changed.notify_all();
        if let Some(handle) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic of the thread was reported by the panic hook; without it segments merely grow.
            let _reported = handle.join();
        }
    }

    /// The writer is at `offset` of this file, which ends there. Does nothing while no thread runs.
    pub(crate) fn attach(&self, disk: &dyn Disk, name: &str, offset: u64, limit: u64) {
        let mut state = self.state();
        if !state.running || state.target.is_some() {
            return;
        }
        // Without a descriptor of its own the segment merely grows as it is written.
        if let Ok(file) = disk.open(name, Access::Write) {
            state.target = Some(Target { file, offset: 0, filled: offset, limit });
        }
    }

    /// The writer is about to write up to `end`.
    pub(crate) fn reserve(&self, end: u64) {
        let clear = |state: &State| state.target.as_ref().is_none_or(|target| end <= target.filled);
        let mut state = self.idle_state(clear);
        if let Some(target) = &mut state.target {
            target.offset = end;
            target.filled = target.filled.max(end);
            if target.wants_more() {
                self.changed.notify_all();
            }
        }
    }

    /// Takes the file back: from here on only the writer touches it.
    pub(crate) fn detach(&self) {
        self.idle_state(|_| false).target = None;
    }

    /// The error of a flush that failed here, which may concern the writer's bytes as well, or of a write that met a broken
    /// disk, which the writer would meet next.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.state().failed.take()
    }

    fn run(&self) {
        let mut state = self.state();
        while !state.stop {
            if state.target.as_ref().is_some_and(Target::wants_more) {
                drop(state);
                self.fill_chunk();
                state = self.state();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Writes and flushes one chunk of zeros.
    fn fill_chunk(&self) {
        let mut state = self.state();
        let Some((file, start, limit)) =
            state.target.as_ref().map(|target| (Arc::clone(&target.file), target.filled, target.limit))
        else {
            return;
        };
        state.busy = true;
        drop(state);
        let end = (start + CHUNK_BYTES).min(limit);
        let zeros = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
        let written = write_full(&*file, &zeros, start);
        let written_whole = written.is_ok();
        let failed = match written {
            Ok(()) => file.sync_data().err(),
            // No space: the writer will meet it itself, and should find what is left for its own bytes. What was filled
            // of the chunk is zero, and is cut with the rest.
            Err(error) if is_full(&error) => None,
            Err(error) => Some(error),
        };
        let mut state = self.state();
        state.busy = false;
        match (&mut state.target, written_whole && failed.is_none()) {
            (Some(target), true) => target.filled = end,
            (target, _) => *target = None,
        }
        if failed.is_some() {
            state.failed = failed;
        }
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn zeros_go_ahead_of_the_writer_and_never_onto_what_it_wrote() {
        let (disk, filler) = (SimDisk::new(1), Arc::new(Filler::default()));
        let file = disk.create("a").unwrap();
        filler.start().unwrap();
        filler.attach(&disk, "a", 128, 20 * CHUNK_BYTES);
        let (mut at, block) = (128_u64, vec![7_u8; 100_000]);
        for _ in 0..150 {
            filler.reserve(at + block.len() as u64);
            write_full(&*file, &block, at).unwrap();
            at += block.len() as u64;
        }
        filler.detach();
        filler.stop();
        let content = disk.content("a").unwrap();
        let end = usize::try_from(at).unwrap();
        assert!(content[128..end].iter().all(|&byte| byte == 7), "a zero fell on a frame");
        assert!(content[end..].iter().all(|&byte| byte == 0));
        assert!(content.len() as u64 >= at);
    }
}
