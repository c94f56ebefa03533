//! inotify, and an eventfd for whoever wakes from within the process. No thread.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::News;

/// Some notices; what is left of them is read in the next round.
const NOTICES_BYTES: usize = 4096;

/// Who waits for news.
pub(in crate::store) struct Notices {
    nudged: Nudge,
    told: Option<OwnedFd>,
    complete: bool,
}

/// Ends a wait, the present one or the next.
#[derive(Clone)]
pub(in crate::store) struct Nudge(Arc<OwnedFd>);

impl Nudge {
    pub(in crate::store) fn nudge(&self) {
        // Any number but zero will do. It fails only where the sum of those that wait is too large, and one is enough.
        rustix::io::write(&*self.0, &1u64.to_le_bytes()).ok();
    }
}

impl Notices {
    /// Of these directories.
    ///
    /// # Errors
    /// When the process may have no more descriptors. Directories that cannot be watched are no error.
    pub(in crate::store) fn of(directories: &[(&Path, News)]) -> std::io::Result<Notices> {
        let nudged = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let told = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let is_watched = |(directory, news): &(&Path, News)| {
            told.as_ref().is_some_and(|told| {
                inotify::add_watch(told, *directory, mask(*news) | WatchFlags::ONLYDIR).is_ok()
            })
        };
        // Each is tried, whatever becomes of the others.
        let complete = directories.iter().map(is_watched).fold(true, |all, one| all & one);
        Ok(Notices { nudged: Nudge(Arc::new(nudged)), told, complete })
    }

    /// Whether the system tells of all of them.
    pub(in crate::store) fn are_complete(&self) -> bool {
        self.complete
    }

    pub(in crate::store) fn nudge(&self) -> Nudge {
        self.nudged.clone()
    }

    /// Until there is a reason to look, or so long. What was told before is told by this.
    pub(in crate::store) fn wait(&self, at_most: Duration) {
        let watched: Vec<_> =
            std::iter::once(self.nudged.0.as_fd()).chain(self.told.as_ref().map(OwnedFd::as_fd)).collect();
        let mut asked: Vec<_> = watched.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        // A wait of many centuries is cut; interrupted by a signal it is over early, and what follows is a look.
        let timeout = Timespec::try_from(at_most).ok();
        let outcome = poll(&mut asked, timeout.as_ref());
        if outcome.is_ok_and(|ready| ready > 0) {
            watched.iter().for_each(read_up);
        }
    }
}

fn mask(news: News) -> WatchFlags {
    match news {
        News::Names => WatchFlags::MOVED_TO,
        News::Writes => WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO,
    }
}

/// Takes what was told; that it was is all there is to know. An overrun queue tells of itself in the same way.
fn read_up(fd: impl std::os::fd::AsFd) {
    let mut notices = [MaybeUninit::<u8>::uninit(); NOTICES_BYTES];
    loop {
        match rustix::io::read(&fd, &mut notices) {
            Ok((read, _)) if !read.is_empty() => {}
            Err(Errno::INTR) => {}
            // Nothing is left, or nothing can be had: the look that follows does not depend on it.
            Ok(_) | Err(_) => return,
        }
    }
}
