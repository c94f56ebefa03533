//! The server's own followers of the journal: the projections that answer `/sessions` and `/state`, the import of transcripts while
//! their sessions live, the watch over ends that nobody reports, and retention.
//!
//! All append events of their own, so all end before the server says that it has stopped: `server_stopped` is the last
//! thing that a server records.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::gc::Retaining;
use super::{App, life, projections};
use crate::agent::claude::live;
use crate::error::Result;
use crate::projection::snapshot::Refusal;

/// The tasks that follow; see the module.
pub(super) struct Followers {
    projecting: JoinHandle<()>,
    importing: Option<Importing>,
    retaining: Option<Retaining>,
    watching: Option<JoinHandle<()>>,
}

struct Importing {
    task: JoinHandle<Result<()>>,
    /// Dropped to end it.
    stop: oneshot::Sender<()>,
}

impl Followers {
    pub(super) fn start(app: &Arc<App>, refused: Vec<Refusal>) -> Followers {
        let projecting = tokio::spawn(projections::keep_up(app.clone(), refused));
        let importing = app.settings.imports_live.then(|| Importing::start(app));
        let watching = app.settings.ends_sessions.then(|| tokio::spawn(life::watch(app.clone())));
        Followers { projecting, importing, retaining: Retaining::start(app), watching }
    }

    /// Ends them and waits until they have: an import that runs is finished, a snapshot that is being written is not told of.
    pub(super) async fn end(self) {
        if let Some(retaining) = self.retaining {
            retaining.end().await;
        }
        // It ends by itself as soon as the server stops.
        if let Some(watching) = self.watching
            && let Err(error) = watching.await
        {
            tracing::error!(%error, "the watch over sessions failed");
        }
        if let Some(Importing { task, stop }) = self.importing {
            drop(stop);
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("the import of live sessions ended early: {error}"),
                Err(error) => tracing::warn!("the import of live sessions ended early: {error}"),
            }
        }
        self.projecting.abort();
        match self.projecting.await {
            Err(error) if error.is_panic() => tracing::error!(%error, "the projections failed"),
            // It was ended, or had ended with the store.
            _ => {}
        }
    }
}

impl Importing {
    fn start(app: &App) -> Importing {
        let (stop, stopping) = oneshot::channel::<()>();
        let stopping = async {
            // Sent or dropped: either way there is no more to do.
            let _ = stopping.await;
        };
        let settings = &app.settings;
        let follow =
            live::follow(app.store.clone(), settings.source.clone(), settings.instance_id.clone(), stopping);
        Importing { task: tokio::spawn(follow), stop }
    }
}
