//! [`Batcher`]: for who emits thousands of events a second and need not wait for each.
//!
//! Constraints: an event that was taken is never lost silently, whether the server is there or not; memory is bounded; who
//! emits is not held up by a flush of the disk.
//!
//! How: events are collected and sent as one atomic batch when there are [`BATCH_EVENTS`] of them or [`BATCH_BYTES`], or when the
//! first of them has waited for [`BATCH_AGE`], by a thread of its own, in order. What the server does not take (it is
//! not there, it stops, it stays over its limit) goes into the inbox, from where the next holder of the journal takes it: ids
//! are given before, so what arrived after all is not doubled. Only if not even that is possible is there an error; the
//! events stay here and are tried again at the next [`Batcher::flush`]. Dropping it sends what is left; what can be
//! put nowhere then is counted as a failure of the inbox.
//!
//! When [`Batcher::flush`] returns, every event is in the journal at level `disk`, or in the inbox at level `os`: [`Sent`] says how many
//! went which way. An event that is still collected is lost with the process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Server, request_of, request_of_all};
use crate::clock::Clock;
use crate::config::DataDir;
use crate::error::{Error, Result};
use crate::event::{Event, Redactor, is_own};
use crate::store::inbox::{self, Deposit};
use crate::wire::{BODY_BYTES_MAX, Durability};

/// Events in a full batch: as many as a request may hold.
pub const BATCH_EVENTS: usize = 1_000;
/// Bytes of a full batch: as many as a request may have, with room for its brackets.
pub const BATCH_BYTES: usize = BODY_BYTES_MAX - 2;
/// How long an event waits for others.
pub const BATCH_AGE: Duration = Duration::from_millis(50);
/// Who emits waits while so many full batches are collected.
const BATCHES_MAX: usize = 4;

/// What became of the events so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// In the journal, on the disk.
    pub committed: u64,
    /// The journal held them already.
    pub duplicates: u64,
    /// In the inbox.
    pub in_inbox: u64,
    /// Why the last batch that went into the inbox did.
    pub why_inbox: Option<String>,
}

/// See the module.
pub struct Batcher {
    shared: Arc<Shared>,
    redactor: Redactor,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    dir: DataDir,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    collected: Vec<Collected>,
    bytes: usize,
    /// Since when the first of them waits.
    since: Option<Instant>,
    /// Events that the thread is sending.
    sending: usize,
    flushing: bool,
    closed: bool,
    sent: Sent,
    /// Why nothing could be kept anywhere; taken by who hears it.
    failed: Option<Error>,
}

struct Collected {
    event: Event,
    /// As it is asked for; `None` for what only the inbox takes.
    request: Option<String>,
}

impl Collected {
    fn bytes(&self) -> usize {
        self.request.as_ref().map_or_else(|| self.event.payload.as_str().len(), String::len) + 1
    }
}

impl Batcher {
    /// A batcher for the server of `dir`, or its inbox while there is none. The directory has to be there.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(dir: DataDir, clock: Arc<dyn Clock>) -> Result<Batcher> {
        let inbox = dir.inbox();
        let shared = Arc::new(Shared { dir, clock, state: Mutex::default(), changed: Condvar::new() });
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("batcher".into())
            .spawn(move || of_thread.send_as_they_come())
            .map_err(Error::io("start a thread for", inbox))?;
        Ok(Batcher { shared, redactor: Redactor::new(), thread: Some(thread) })
    }

    /// Takes an event: secrets are taken out here. Waits only while four full batches are collected.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a kind that only the program itself emits, and why nothing could be kept, if that is
    /// so. The event was not taken then.
    pub fn emit(&self, mut event: Event) -> Result<()> {
        if let Some(kind) = event.kind.known().filter(|kind| is_own(*kind)) {
            let message = format!("{kind} is emitted by mnemosyne itself");
            return Err(Error::Invalid { field: "kind".to_owned(), message });
        }
        event.redact(&self.redactor);
        let request = if event.cut.is_empty() {
            Some(request_of(&event).map_err(|error| Error::failed(error.to_string()))?)
        } else {
            None
        };
        let collected = Collected { event, request };
        let mut state = self.shared.lock();
        while state.collected.len() >= BATCHES_MAX * BATCH_EVENTS || state.bytes >= BATCHES_MAX * BATCH_BYTES
        {
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            state = self.shared.wait(state);
        }
        state.bytes += collected.bytes();
        state.collected.push(collected);
        if state.since.is_none() {
            state.since = Some(Instant::now());
            self.shared.changed.notify_all();
        } else if state.is_full() {
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Sends what is collected and waits until all of it is kept; what became of every event so far.
    ///
    /// # Errors
    /// Why something could be kept neither in the journal nor in the inbox. It is still here.
    pub fn flush(&self) -> Result<Sent> {
        let mut state = self.shared.lock();
        state.failed = None;
        while !(state.collected.is_empty() && state.sending == 0) {
            state.flushing = true;
            self.shared.changed.notify_all();
            state = self.shared.wait(state);
            if let Some(error) = state.failed.take() {
                state.flushing = false;
                return Err(error);
            }
        }
        state.flushing = false;
        Ok(state.sent.clone())
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere that we know of; its events would be lost with it.
            thread.join().ok();
        }
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.collected.len() >= BATCH_EVENTS || self.bytes >= BATCH_BYTES
    }

    /// How long the thread may wait; zero when there is something to send.
    fn rest(&self) -> Option<Duration> {
        let since = self.since.filter(|_| !self.collected.is_empty())?;
        let is_due = self.is_full() || self.flushing || self.closed;
        Some(if is_due { Duration::ZERO } else { BATCH_AGE.saturating_sub(since.elapsed()) })
    }

    /// The beginning of what is collected, as much as one request takes. What only the inbox takes goes by itself.
    fn take_batch(&mut self) -> Vec<Collected> {
        let (mut count, mut bytes) = (0, 0);
        let by_request = self.collected.first().is_some_and(|first| first.request.is_some());
        for one in self.collected.iter().take(BATCH_EVENTS) {
            bytes += one.bytes();
            if one.request.is_some() != by_request || (bytes > BATCH_BYTES && count > 0) {
                break;
            }
            count += 1;
        }
        let batch: Vec<Collected> = self.collected.drain(..count).collect();
        self.bytes -= batch.iter().map(Collected::bytes).sum::<usize>();
        self.since = (!self.collected.is_empty()).then(Instant::now);
        self.sending = batch.len();
        batch
    }

    fn put_back(&mut self, batch: Vec<Collected>, error: Error) {
        self.bytes += batch.iter().map(Collected::bytes).sum::<usize>();
        self.collected.splice(0..0, batch);
        // Without a beginning it is not tried again by itself, only when somebody asks.
        (self.since, self.failed) = (None, Some(error));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn send_as_they_come(&self) {
        let mut state = self.lock();
        loop {
            if state.since.is_none() && (state.flushing || state.closed) && state.failed.is_none() {
                // What could be kept nowhere is tried once more.
                state.since = (!state.collected.is_empty()).then(Instant::now);
            }
            match state.rest() {
                Some(Duration::ZERO) => {
                    let batch = state.take_batch();
                    drop(state);
                    let outcome = self.send(&batch);
                    state = self.lock();
                    state.sending = 0;
                    match outcome {
                        Ok(sent) => state.sent.add(sent),
                        Err(error) => state.put_back(batch, error),
                    }
                    self.changed.notify_all();
                }
                _ if state.closed => {
                    for _ in &state.collected {
                        let why = Error::failed("a batch could not be kept");
                        // The last resort of who can tell nobody any more.
                        inbox::count_failure(&self.dir.inbox(), &why, &*self.clock).ok();
                    }
                    return;
                }
                Some(rest) => {
                    let woken = self.changed.wait_timeout(state, rest);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.wait(state),
            }
        }
    }

    fn send(&self, batch: &[Collected]) -> Result<Sent> {
        let requests: Option<Vec<String>> = batch.iter().map(|one| one.request.clone()).collect();
        let why = match requests {
            None => String::from("something was cut from the event, which a request cannot say"),
            Some(requests) => match self.send_to_server(&request_of_all(&requests)) {
                Ok(sent) => return Ok(sent),
                Err(why) => why,
            },
        };
        for one in batch {
            inbox::deposit(&self.dir.inbox(), &one.event, &*self.clock, Deposit::Os)?;
        }
        Ok(Sent { in_inbox: batch.len() as u64, why_inbox: Some(why), ..Sent::default() })
    }

    fn send_to_server(&self, body: &str) -> Result<Sent, String> {
        let server = Server::find(&self.dir).map_err(|error| error.to_string())?;
        let server = server.ok_or_else(|| String::from("no server runs"))?;
        let emitted = server.emit(body, Durability::Disk, None).map_err(|error| error.to_string())?;
        let duplicates = emitted.duplicates.len() as u64;
        Ok(Sent { committed: emitted.seqs.len() as u64 - duplicates, duplicates, ..Sent::default() })
    }
}

impl Sent {
    fn add(&mut self, more: Sent) {
        self.committed += more.committed;
        self.duplicates += more.duplicates;
        self.in_inbox += more.in_inbox;
        self.why_inbox = more.why_inbox.or(self.why_inbox.take());
    }
}
