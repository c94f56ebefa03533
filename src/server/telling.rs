//! What the server has to tell in the journal about itself while it runs: that it refused emits for their rate, and that streams
//! fell behind. Each at most once a minute a cause, with what came together since.
//!
//! A cause is told at its first occurrence; what comes in the minute after is added up and told at the end of it, or before
//! the server stops. Nothing wakes up while nothing happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::App;
use crate::event::{Payload, payload};
use crate::store::Level;
use crate::wire::path;

/// At most one event a cause in this time.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Requests to emit that were refused for their rate.
    EmitsTooFast,
    /// Hooks that were.
    HooksTooFast,
    /// A stream that had been at the live end reads files again.
    Lag,
}

impl Cause {
    const ALL: [Cause; 3] = [Cause::EmitsTooFast, Cause::HooksTooFast, Cause::Lag];
}

/// What was not told yet, a cause each.
#[derive(Default)]
pub(super) struct Untold {
    causes: [Untellable; Cause::ALL.len()],
    /// Of the last lag: how far behind, and where.
    behind: AtomicU64,
    cursor: AtomicU64,
}

#[derive(Default)]
struct Untellable {
    /// How often, and how many events were in it: together, so that neither is told without the other.
    count: Mutex<(u64, u64)>,
    more: Notify,
}

impl Untold {
    /// One more of `cause`, with so many events.
    pub(super) fn add(&self, cause: Cause, events: u64) {
        let of = &self.causes[cause as usize];
        let mut count = of.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = (count.0 + 1, count.1 + events);
        drop(count);
        of.more.notify_one();
    }

    /// A stream at `cursor` fell `behind`.
    pub(super) fn add_lag(&self, behind: u64, cursor: u64) {
        self.behind.store(behind, Ordering::Relaxed);
        self.cursor.store(cursor, Ordering::Relaxed);
        self.add(Cause::Lag, 0);
    }

    fn take(&self, cause: Cause, limit_per_second: u32) -> Option<Payload> {
        let of = &self.causes[cause as usize];
        let taken = std::mem::take(&mut *of.count.lock().unwrap_or_else(PoisonError::into_inner));
        let (refused, events) = (taken.0, Some(taken.1));
        if refused == 0 {
            return None;
        }
        let limit_per_second = u64::from(limit_per_second);
        let rate =
            |route: &str| payload::RateLimited { route: route.to_owned(), refused, limit_per_second, events };
        Some(match cause {
            Cause::EmitsTooFast => rate(path::EMIT).into(),
            Cause::HooksTooFast => rate(path::HOOK_CLAUDE).into(),
            Cause::Lag => Payload::from(payload::SubscriberLagged {
                subscriber: "sse".to_owned(),
                cursor_seq: self.cursor.load(Ordering::Relaxed),
                behind: self.behind.load(Ordering::Relaxed),
            }),
        })
    }
}

/// The tasks that tell.
pub(super) struct Telling(JoinSet<()>);

impl Telling {
    pub(super) fn start(app: &std::sync::Arc<App>) -> Telling {
        let mut tasks = JoinSet::new();
        for cause in Cause::ALL {
            let app = app.clone();
            tasks.spawn(async move {
                loop {
                    app.untold.causes[cause as usize].more.notified().await;
                    tell(&app, cause);
                    tokio::time::sleep(TELL_EVERY).await;
                }
            });
        }
        Telling(tasks)
    }

    /// Tells what is left and ends.
    pub(super) async fn end(mut self, app: &App) {
        self.0.shutdown().await;
        for cause in Cause::ALL {
            tell(app, cause);
        }
    }
}

fn tell(app: &App, cause: Cause) {
    let Some(payload) = app.untold.take(cause, app.rates.per_second()) else { return };
    // Nobody waits for it; the log hears if it cannot be had.
    if let Err(error) = app.store.emit(vec![app.own_event(payload)], Level::Os, None) {
        tracing::warn!(%error, ?cause, "it could not be told in the journal");
    }
}
