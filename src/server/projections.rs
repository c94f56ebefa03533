//! The task that keeps all projections at the live end, and what it tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::App;
use super::error::Refusal;
use crate::event::{Event, Seq, payload};
use crate::projection::{AnyRunner, Follower, Told, snapshot};
use crate::store::Level;
use crate::wire::ErrorCode;

/// How long a request waits for a projection to reach what is durable.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the projections rest after the journal could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Waits until what is durable now is in a projection, so that whoever was told of an event finds it there.
pub(super) async fn caught_up(app: &App, runner: &dyn AnyRunner) -> Result<(), Refusal> {
    let durable = app.store.durable();
    let mut watch: watch::Receiver<_> = runner.watch();
    let reached = tokio::time::timeout(CATCH_UP_TIMEOUT, watch.wait_for(|reached| *reached >= durable)).await;
    if matches!(reached, Ok(Ok(_))) {
        return Ok(());
    }
    let message = format!("the projection {} is still behind the journal: try again later", runner.name());
    Err(Refusal::new(ErrorCode::Internal, message))
}

/// Brings the projections up to the journal and keeps them there until the store is closed or this is dropped.
/// `refused` are the saved states that could not be believed at the start: what is folded anew instead is told as a rebuild.
pub(super) async fn keep_up(app: Arc<App>, mut refused: Vec<snapshot::Refusal>) {
    loop {
        // What was written before the start is read beside the threads that serve.
        let (telling, instead_of) = (app.clone(), std::mem::take(&mut refused));
        let caught_up = tokio::task::spawn_blocking(move || {
            let mut follower = Follower::new(&telling.projections);
            let rebuilding = Rebuilding::begin(&telling, &instead_of);
            let caught_up = follower.catch_up(&telling.store, |told| tell(&telling, told));
            if caught_up.is_ok() {
                rebuilding.end(&telling);
            }
            (follower, caught_up)
        });
        let mut follower = match caught_up.await {
            Ok((follower, Ok(_))) => follower,
            Ok((follower, Err(error))) => {
                tracing::error!(%error, "the projections cannot read the journal");
                follower
            }
            Err(stopped) => {
                tracing::error!(error = %stopped, "the projections were stopped");
                Follower::new(&app.projections)
            }
        };
        match follower.follow(&app.store, |told| tell(&app, told)).await {
            Ok(()) => return,
            Err(error) => tracing::error!(%error, "the projections cannot follow the journal"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Saves the projections at a stop, so that the next start and the commands in between need not fold again.
pub(super) async fn save(app: &Arc<App>) {
    for runner in app.projections.all() {
        let projection = runner.name();
        match tokio::task::spawn_blocking(move || runner.snapshot()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, projection, "no snapshot at the stop"),
            Err(stopped) => tracing::warn!(error = %stopped, projection, "no snapshot at the stop"),
        }
    }
}

/// The projections that begin anew, or from further behind, because a saved state could not be believed.
struct Rebuilding {
    begun: Instant,
    from: BTreeMap<&'static str, Seq>,
}

impl Rebuilding {
    fn begin(app: &App, refused: &[snapshot::Refusal]) -> Rebuilding {
        let mut from = BTreeMap::new();
        for snapshot::Refusal { projection, path, why } in refused {
            tracing::warn!(projection, path = %path.display(), %why, "a saved state is not used");
            let runner = app.projections.get(projection);
            from.extend(runner.map(|runner| (*projection, runner.seq())));
        }
        Rebuilding { begun: Instant::now(), from }
    }

    fn end(self, app: &App) {
        let duration = self.begun.elapsed();
        for (projection, from) in self.from {
            let reached = app.projections.get(projection).map_or(from, |runner| runner.seq());
            record(app, "rebuild", projection, reached.get().saturating_sub(from.get()), duration);
        }
    }
}

fn tell(app: &App, told: Told) {
    match told {
        Told::Taken { projection, taken } => {
            record(app, "snapshot", projection, taken.events, taken.duration);
        }
        Told::Failed { projection, error } => tracing::warn!(%error, projection, "no snapshot"),
    }
}

/// One event for an operation, or for the snapshots of a minute. It counts toward no snapshot, so an idle journal stays idle.
pub(super) fn record(app: &App, operation: &str, projection: &str, events: u64, duration: Duration) {
    let event: Event = app.own_event(payload::DatabaseOperation {
        operation: operation.to_owned(),
        projection: projection.to_owned(),
        affected_rows: events,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    });
    // Nobody waits for it; the log hears if it cannot be had.
    if let Err(error) = app.store.emit(vec![event], Level::Os, None) {
        tracing::warn!(%error, operation, projection, "an operation could not be told");
    }
}
