//! `notify`, whose thread is told of everything.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecursiveMode, Watcher as _};

use super::News;

/// Who waits for news.
pub(in crate::store) struct Notices {
    nudge: Nudge,
    told: Mutex<Receiver<()>>,
    watchers: Vec<notify::RecommendedWatcher>,
    asked: usize,
}

/// Ends a wait, the present one or the next.
#[derive(Clone)]
pub(in crate::store) struct Nudge(SyncSender<()>);

impl Nudge {
    pub(in crate::store) fn nudge(&self) {
        // Full means that a nudge waits already, and one is enough.
        self.0.try_send(()).ok();
    }
}

impl Notices {
    /// Of these directories.
    ///
    /// # Errors
    /// Never here. Directories that cannot be watched are no error.
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux, where it can fail")]
    pub(in crate::store) fn of(directories: &[(&Path, News)]) -> std::io::Result<Notices> {
        let (nudge, told) = sync_channel(1);
        let nudge = Nudge(nudge);
        let watchers = directories
            .iter()
            .filter_map(|(directory, news)| watch(directory, *news, nudge.clone()))
            .collect();
        Ok(Notices { nudge, told: Mutex::new(told), watchers, asked: directories.len() })
    }

    /// Whether the system tells of all of them.
    pub(in crate::store) fn are_complete(&self) -> bool {
        self.watchers.len() == self.asked
    }

    pub(in crate::store) fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Until there is a reason to look, or so long. What was told before is told by this.
    pub(in crate::store) fn wait(&self, at_most: Duration) {
        // Woken or not, what follows is a look.
        self.told.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(at_most).ok();
    }
}

/// Reading and unlinking are told too, and looking is reading: only what is news wakes, or each look would cause the next.
fn watch(directory: &Path, news: News, nudge: Nudge) -> Option<notify::RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        // An error here is an overrun queue: a reason to look.
        if event.map_or(true, |event| event.need_rescan() || is_news(event.kind, news)) {
            nudge.nudge();
        }
    };
    let mut watcher = notify::recommended_watcher(told).ok()?;
    watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}

/// Where a rename is told as the making of a file, that must do.
fn is_news(kind: EventKind, news: News) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
        EventKind::Modify(_) => news == News::Writes,
        _ => false,
    }
}
