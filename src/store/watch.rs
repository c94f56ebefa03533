//! Draining as events arrive.
//!
//! The system tells when a file gets its name in the inbox; the thread that is told drains. What the system does not tell (its queue ran
//! over, or it cannot watch at all) a look every few seconds finds, so that nothing waits for ever. A failed drain is
//! tried again, but not more often than once in a while however much arrives; why it failed is kept for whoever asks
//! ([`InboxWatch::trouble`]) and logged when it changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::store::inbox::running;
use crate::store::notice::{News, Notices, Nudge};
use crate::store::open::Store;

/// How often the inbox is looked at whatever the system tells.
const LOOK: Duration = Duration::from_secs(5);
/// The same where the system does not tell.
const LOOK_UNTOLD: Duration = Duration::from_millis(250);
/// The store tells of files that it set aside at most this often.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// How long a drain that failed is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// Drains the inbox as events arrive, until it is dropped.
pub struct InboxWatch {
    shared: Arc<Shared>,
    nudge: Nudge,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Store {
    /// Starts a thread that drains the inbox when something arrives in it. A store without an inbox has nothing to watch.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn watch_inbox(&self) -> Result<InboxWatch> {
        let inbox = self.inner.dir.as_ref().map(crate::config::DataDir::inbox);
        let directories: Vec<_> = inbox.as_deref().map(|inbox| (inbox, News::Names)).into_iter().collect();
        let notices = Notices::of(&directories)
            .map_err(|error| Error::io("watch", inbox.clone().unwrap_or_default())(error))?;
        let nudge = notices.nudge();
        self.inner.writer().wake = Some(nudge.clone());
        // What arrived before the watch stood.
        nudge.nudge();
        let shared = Arc::new(Shared::default());
        let (store, of_thread) = (self.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("inbox".into())
            .spawn(move || drain_as_told(&store, &of_thread, &notices))
            .map_err(Error::io("start a thread for", inbox.unwrap_or_default()))?;
        Ok(InboxWatch { shared, nudge, thread: Some(thread) })
    }
}

impl Shared {
    /// Keeps the outcome of a drain, and logs it if it is another than the last one's.
    fn note(&self, trouble: Option<String>) {
        let mut noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *noted == trouble {
            return;
        }
        if let Some(trouble) = &trouble {
            tracing::warn!("the inbox cannot be emptied, what arrives waits there: {trouble}");
        } else {
            tracing::info!("the inbox is emptied again");
        }
        *noted = trouble;
    }
}

impl InboxWatch {
    /// Why the last drain failed, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for InboxWatch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.nudge.nudge();
        if let Some(thread) = self.thread.take() {
            // It panics only if a drain does, and a drain that did is over.
            thread.join().ok();
        }
    }
}

fn drain_as_told(store: &Store, shared: &Shared, notices: &Notices) {
    let look = if notices.are_complete() { LOOK } else { LOOK_UNTOLD };
    let inbox = store.inner.dir.as_ref().map(crate::config::DataDir::inbox);
    let mut looked = Instant::now();
    let mut failed: Option<Instant> = None;
    let mut told: Option<Instant> = None;
    let mut untold = crate::store::Drained::default();
    loop {
        notices.wait(if failed.is_some() { RETRY } else { look });
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        if failed.is_some_and(|failed| failed.elapsed() < RETRY) {
            continue;
        }
        // Marks are looked at rarely: nothing arrives when a process is killed.
        let due = inbox.as_deref().filter(|_| looked.elapsed() >= look);
        let ended = due.map_or(Ok(0), |inbox| {
            looked = Instant::now();
            running::end_killed(inbox, &*store.inner.clock)
        });
        let outcome = ended.and_then(|_| store.drain_inbox()).and_then(|drained| {
            if drained.quarantined > 0 {
                untold += drained;
            }
            if untold.is_empty() || told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
                return Ok(());
            }
            told = Some(Instant::now());
            store.tell_drained(std::mem::take(&mut untold))
        });
        let trouble = match outcome {
            Err(Error::Closed { .. }) => return,
            outcome => outcome.err().map(|error| error.to_string()),
        };
        failed = trouble.is_some().then(Instant::now);
        shared.note(trouble);
    }
}
