//! Being told of what happens in directories, and waiting for it.
//!
//! Constraints first. A hook makes a file in the inbox, writes it, closes it and renames it, and only the last of these is
//! news: whoever is woken by the others looks at a directory in which nothing new stands yet, on a core and under a lock that
//! the hook wants for itself. And who waits wants to be woken by others of its process as well, to stop.
//!
//! How: on Linux the system is asked for what is news and nothing else, and the thread that waits is woken by the system itself,
//! with no other thread in between. Elsewhere `notify` has a thread that is told of everything and passes on what is news.
//!
//! A notice says only that there is a reason to look. What the system does not tell (its queue ran over, or it cannot watch
//! at all) must be found by looking now and then: [`Notices::are_complete`] says how often that is needed.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use elsewhere::{Notices, Nudge};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::{Notices, Nudge};

/// What is news in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// A file got its name by being renamed.
    Names,
    /// Anything was written, made or renamed.
    Writes,
}

#[cfg(test)]
mod tests;
