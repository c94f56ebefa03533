//! The ends that nobody reports: of sessions whose agent is gone, and of a server that nobody needs.
//!
//! **Sessions.** About a third of sessions end without a word: a closed terminal, a killed agent. Their starts name the
//! agent's process, and this task waits for that process to end: on Linux on a handle of it, so that nothing wakes up while
//! nothing happens; elsewhere by a look every [`LOOK`]. Then it waits [`GRACE`] for hooks that are still running, takes in what
//! the inbox holds, and ends the session (`session_ended`, `process_gone`, inferred) if it is still open. Because the open
//! sessions are those of the projection, a server that starts later ends what was left open before it.
//!
//! A hook that comes later still reopens the session, which then is ended once more when it has been silent for
//! [`REOPENED_SILENCE`]: not at once, for the agent may live on in a process that it did not name.
//!
//! **The server.** One that nobody asked for leaves when for `linger` no session was live and no client connected. A session is
//! live while its process is; without a known process, for [`UNWATCHED_HOLD`] after its last sign. It empties the inbox before it
//! decides, and stays if it cannot.
//!
//! It looks at the sessions when the journal has grown or a connection has come or gone, at most once every [`SETTLE`].

use std::collections::{HashMap, HashSet};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use tokio::io::{Interest, unix::AsyncFd};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::App;
use crate::clock::ProcessStamp;
use crate::error::{Error, Result};
use crate::event::{Event, Kind, Seq, Timestamp, ids, payload};
use crate::projection::AnyRunner;
use crate::projection::sessions::state::Sessions;
use crate::projection::sessions::unfinished::Unfinished;
use crate::store::Level;
use crate::store::counters::{Books, Way};
use crate::store::emit::BATCH_EVENTS_MAX;

/// How often a process is looked at where the system does not tell of its end.
const LOOK: Duration = Duration::from_secs(10);
/// How long hooks of an agent that is gone may still take.
const GRACE: Duration = Duration::from_secs(1);
/// How long events gather before the sessions are looked at again.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a session that came back after its inferred end must be silent to be ended again.
const REOPENED_SILENCE: Duration = Duration::from_mins(1);
/// How long a session without a known process keeps the server.
const UNWATCHED_HOLD: Duration = Duration::from_hours(1);
/// How long the task rests when what it wanted to do failed.
const RETRY: Duration = Duration::from_secs(10);
/// How long the projection may take to reach what is durable.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// The reason of an inferred end.
const PROCESS_GONE: &str = "process_gone";

/// Ends sessions whose agent is gone, and the server when nobody needs it and it was given a time to linger; until it stops.
pub(super) async fn watch(app: Arc<App>) {
    let mut phase = app.phase.subscribe();
    tokio::select! {
        () = Watch::new(&app).run() => {}
        _ = phase.wait_for(|phase| *phase != super::Phase::Running) => {}
    }
}

struct Watch<'a> {
    app: &'a App,
    /// Waits for the end of each process that an open session has.
    ends: JoinSet<()>,
    waited_for: HashMap<ProcessStamp, AbortHandle>,
    /// Since when nobody needs the server.
    idle_since: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(app: &'a App) -> Watch<'a> {
        Watch { app, ends: JoinSet::new(), waited_for: HashMap::new(), idle_since: None }
    }

    async fn run(mut self) {
        let mut reached = AnyRunner::watch(&*self.app.projections.sessions);
        let mut connections = self.app.connections.subscribe();
        loop {
            reached.mark_unchanged();
            let open = self.look();
            self.wait_for_ends(&open.running);
            if !open.gone.is_empty() {
                sleep(GRACE).await;
                if let Err(error) = self.end(&open.gone).await {
                    tracing::warn!("sessions whose agent is gone could not be ended: {error}");
                    sleep(RETRY).await;
                }
                continue;
            }
            if connections.has_changed().unwrap_or(false) {
                // A client that has come and gone since has used the server.
                self.idle_since = None;
            }
            let is_connected = *connections.borrow_and_update() > 0;
            let leave_at = self.leave_at(open.keeps_server() || is_connected);
            if leave_at.is_some_and(|at| at <= Instant::now()) {
                match self.leave().await {
                    Ok(true) => return,
                    Ok(false) => self.idle_since = None,
                    Err(error) => {
                        tracing::warn!("nobody needs the server; it stays for what is in the inbox: {error}");
                        sleep(RETRY).await;
                    }
                }
                continue;
            }
            let next = [leave_at, open.look_again].into_iter().flatten().min();
            tokio::select! {
                _ = reached.changed() => sleep(SETTLE).await,
                _ = connections.changed(), if self.app.settings.linger.is_some() => {
                    self.idle_since = None;
                    sleep(SETTLE).await;
                }
                // A process that has ended, or a wait that was given up: the next look tells.
                Some(_) = self.ends.join_next() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// The open sessions as of now.
    fn look(&mut self) -> Open {
        self.waited_for.retain(|_, wait| !wait.is_finished());
        let Watch { app, waited_for, .. } = self;
        let (now, host) = (app.settings.clock.now(), &app.settings.source.host);
        app.projections.sessions.read(|fold| {
            let mut open = Open::default();
            for unfinished in fold.state().unfinished() {
                open.take(&unfinished, host, now, |process| {
                    waited_for.contains_key(&process) || process.is_alive()
                });
            }
            open.name_projects(fold.state());
            open
        })
    }

    /// Waits for the ends of these processes, and of no others any more.
    fn wait_for_ends(&mut self, running: &HashSet<ProcessStamp>) {
        self.waited_for.retain(|process, wait| {
            let is_wanted = running.contains(process);
            if !is_wanted {
                wait.abort();
            }
            is_wanted
        });
        for process in running {
            self.waited_for.entry(*process).or_insert_with(|| self.ends.spawn(end_of(*process)));
        }
    }

    /// Ends those sessions that are still open once what their last hooks left is taken in.
    async fn end(&mut self, gone: &[Gone]) -> Result<()> {
        self.take_in().await?;
        let open = self.look();
        let still = gone.iter().filter(|gone| open.gone.contains(gone));
        let events: Vec<Event> = still.map(|gone| gone.event(self.app)).collect();
        for some in events.chunks(BATCH_EVENTS_MAX) {
            let emitted = self.app.store.emit(some.to_vec(), Level::Disk, None)?.await?;
            tracing::info!(sessions = some.len(), "ended sessions whose agent is gone");
            self.catch_up(emitted.seqs.iter().copied().max().unwrap_or(Seq::ZERO)).await?;
        }
        Ok(())
    }

    /// When the server leaves, should nothing happen until then.
    fn leave_at(&mut self, is_needed: bool) -> Option<Instant> {
        let linger = self.app.settings.linger?;
        if is_needed {
            self.idle_since = None;
            return None;
        }
        Some(*self.idle_since.get_or_insert_with(Instant::now) + linger)
    }

    /// Asks the server to stop, unless it turns out that somebody needs it; whether it did.
    async fn leave(&mut self) -> Result<bool> {
        self.take_in().await?;
        // What is counted here is known below; what comes later is in the books when they are closed.
        let known = of_others(&self.app.store.books());
        self.catch_up(self.app.store.durable()).await?;
        let open = self.look();
        if open.keeps_server() || !open.gone.is_empty() || *self.app.connections.borrow() > 0 {
            return Ok(false);
        }
        tracing::info!("no session is live and no client is connected: leaving");
        // Set once: it asks to stop right away.
        self.app.left_with.get_or_init(|| known);
        self.app.stop_asked.send_replace(true);
        Ok(true)
    }

    /// Drains the inbox, and waits until the sessions know what was in it.
    async fn take_in(&self) -> Result<()> {
        let store = self.app.store.clone();
        let drained = tokio::task::spawn_blocking(move || store.drain_inbox()).await;
        drained.map_err(|stopped| Error::failed(format!("the drain was stopped: {stopped}")))??;
        self.catch_up(self.app.store.durable()).await
    }

    async fn catch_up(&self, seq: Seq) -> Result<()> {
        if self.app.projections.sessions.reached(seq, CATCH_UP_TIMEOUT).await {
            return Ok(());
        }
        Err(Error::failed("the sessions projection is behind the journal"))
    }
}

/// How many events came from elsewhere: what the server and its imports add is no reason to stay.
pub(super) fn of_others(books: &Books) -> u64 {
    [Way::Http, Way::Hook, Way::Inbox].iter().map(|way| books.of(*way).committed()).sum()
}

/// What there is of open sessions.
#[derive(Default)]
struct Open {
    /// Their processes that run.
    running: HashSet<ProcessStamp>,
    /// Those whose process is gone, and that are to be ended.
    gone: Vec<Gone>,
    /// Whether there is one without a known process that was heard of lately.
    has_unwatched: bool,
    /// When time alone changes this.
    look_again: Option<Instant>,
}

/// An open session whose agent is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gone {
    session: String,
    project: Option<String>,
    process: ProcessStamp,
    /// Its latest sign: for what came after this sign it ends once.
    sign: Seq,
}

impl Open {
    fn take(
        &mut self,
        session: &Unfinished,
        host: &str,
        now: Timestamp,
        is_alive: impl FnOnce(ProcessStamp) -> bool,
    ) {
        let Unfinished { id, sign, process: named, inferred_end } = session;
        let process = named.as_ref().and_then(|named| Some((named.mark, named.value.on(host)?)));
        let Some((told, process)) = process else {
            self.has_unwatched |= self.is_within(sign.time(), UNWATCHED_HOLD, now);
            return;
        };
        if is_alive(process) {
            self.running.insert(process);
            return;
        }
        let was_ended = inferred_end.is_some_and(|end| told < end);
        if was_ended && self.is_within(sign.time(), REOPENED_SILENCE, now) {
            return;
        }
        self.gone.push(Gone { session: id.to_string(), project: None, process, sign: sign.seq() });
    }

    /// Adds the projects of those that are gone.
    fn name_projects(&mut self, state: &Sessions) {
        for gone in &mut self.gone {
            let session = state.get(&gone.session);
            gone.project = session.and_then(|session| Some(session.project.as_ref()?.value.clone()));
        }
    }

    /// Whether less than `time` has passed since; if so, there is another look when it has.
    fn is_within(&mut self, since: Timestamp, time: Duration, now: Timestamp) -> bool {
        let passed = u64::try_from(now.as_micros().saturating_sub(since.as_micros())).unwrap_or(0);
        let left = time.saturating_sub(Duration::from_micros(passed));
        if left.is_zero() {
            return false;
        }
        let then = Instant::now() + left;
        self.look_again = Some(self.look_again.map_or(then, |other| other.min(then)));
        true
    }

    fn keeps_server(&self) -> bool {
        self.has_unwatched || !self.running.is_empty()
    }
}

impl Gone {
    fn event(&self, app: &App) -> Event {
        let ended = payload::SessionEnded { reason: PROCESS_GONE.to_owned(), inferred: true };
        let ProcessStamp { pid, start_ticks } = self.process;
        let key = format!("{PROCESS_GONE}:{pid}-{start_ticks}:{}", self.sign);
        let id = ids::natural(&self.session, Kind::SessionEnded.name(), &key);
        let source = app.settings.source.clone();
        let mut event = Event::new(id, app.settings.clock.now(), self.session.clone(), source, ended);
        event.session = Some(self.session.clone());
        event.project.clone_from(&self.project);
        event
    }
}

/// Returns when this process has ended.
async fn end_of(process: ProcessStamp) {
    #[cfg(target_os = "linux")]
    if let Some(handle) = handle_of(process) {
        // An error is as good an end: the look below decides.
        let _ = handle.readable().await;
    }
    while process.is_alive() {
        sleep(LOOK).await;
    }
}

/// A handle that can be read from when the process has ended; `None` if it has, or the system gives none.
#[cfg(target_os = "linux")]
#[expect(
    deprecated,
    reason = "its successor is unsafe because a descriptor might not be owned; an OwnedFd is, and `unsafe` has other places"
)]
fn handle_of(process: ProcessStamp) -> Option<AsyncFd<OwnedFd>> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let handle = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    // The handle stands for one process for good; this says which.
    process.is_alive().then(|| AsyncFd::with_interest(handle, Interest::READABLE).ok())?
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
