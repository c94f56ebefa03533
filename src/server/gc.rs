//! Retention: `POST /admin/gc`, and by itself while a policy is set.
//!
//! By itself it looks once a minute, and whenever about a segment's worth was appended. Without a policy there is no task and
//! nothing wakes up. It works in a thread of its own, and always in the same one: a base is a fold of what goes, in memory that an
//! allocator with arenas (which `api-server` limits where it can) keeps for the thread that asked for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::error::Refusal;
use super::params::Params;
use super::{App, json_response};
use crate::error::Error;
use crate::projection::retention::{self, Report};
use crate::store::retention::Pace;
use crate::wire::ErrorCode;

/// How often a segment may go for its age.
const MINUTE: Duration = Duration::from_mins(1);

/// Drops all that the policy lets go; with `dry_run=true`, says what that would be.
pub(super) async fn gc(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let mut params = Params::of(&uri)?;
    let dry_run = params.parse::<bool>("dry_run")?.unwrap_or(false);
    params.finish()?;
    let applied = tokio::task::spawn_blocking(move || apply(&app, Pace::All, dry_run)).await;
    let stopped =
        |_| Refusal::new(ErrorCode::Internal, "retention was not finished; it goes on at the next start");
    Ok(json_response(StatusCode::OK, &applied.map_err(stopped)??))
}

fn apply(app: &App, pace: Pace, dry_run: bool) -> Result<Report, Error> {
    if app.settings.reads_only {
        let cause = "the journal cannot be opened for writing".into();
        return Err(Error::StorageFull { cause });
    }
    // Those of the runners: none saves a snapshot while parts are removed.
    let files = app.files.as_ref();
    let files = files.ok_or_else(|| Error::failed("this server keeps no states, so it drops nothing"))?;
    retention::apply(&app.store, files, &app.settings.retention, pace, dry_run)
}

/// The thread that applies the policy.
pub(super) struct Retaining {
    thread: JoinHandle<()>,
    /// Dropped to end it.
    stop: oneshot::Sender<()>,
}

impl Retaining {
    /// Starts it if there is a policy.
    pub(super) fn start(app: &Arc<App>) -> Option<Retaining> {
        if !app.settings.retention.is_set() || app.settings.saved.is_none() {
            return None;
        }
        let (stop, stopping) = oneshot::channel();
        let (app, runtime) = (app.clone(), Handle::current());
        let thread = std::thread::Builder::new().name("retention".into());
        match thread.spawn(move || keep(&app, &runtime, stopping)) {
            Ok(thread) => Some(Retaining { thread, stop }),
            Err(error) => {
                tracing::error!(%error, "no thread for retention: nothing is dropped until the next start");
                None
            }
        }
    }

    /// Ends it; a cut that is being made is finished.
    pub(super) async fn end(self) {
        drop(self.stop);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("retention failed");
        }
    }
}

fn keep(app: &App, runtime: &Handle, mut stopping: oneshot::Receiver<()>) {
    let grown = app.store.grown();
    let _within = runtime.enter();
    let mut minute = tokio::time::interval(MINUTE);
    minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = async {
            tokio::select! {
                // Sent or dropped: either way there is no more to do.
                _ = &mut stopping => None,
                _ = minute.tick() => Some(Pace::One),
                () = grown.notified() => Some(Pace::SizeAlone),
            }
        };
        let Some(pace) = runtime.block_on(due) else { break };
        match catch_unwind(AssertUnwindSafe(|| apply(app, pace, false))) {
            Ok(Ok(Report { dropped: Some(dropped), .. })) => {
                let (from, to, reason) = (dropped.from_seq, dropped.to_seq, dropped.reason);
                tracing::info!(from, to, reason, bytes = dropped.bytes, "retention dropped segments");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "retention could not be applied; it is tried again in a minute");
            }
            Err(_panic) => tracing::error!("retention failed; it is tried again in a minute"),
        }
    }
    if let Err(error) = app.store.tell_cuts() {
        tracing::warn!(%error, "what was dropped last is told by the next opening");
    }
}
