//! Locks that subscribers and the streams over them share: the standard library's, or, with `--cfg shuttle`, those of a scheduler that runs one thread at a
//! time and chooses the next by a seed (`tests/schedules.rs`, run by `tools/schedules.sh`). The journal beneath has its own.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// What a control breaks on purpose, to see that the schedules find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(shuttle), expect(unreachable_pub, reason = "outside of the model nobody else names it"))]
pub enum Control {
    /// Who has read to the end goes on from the live end of that moment, not from its own cursor.
    JumpsToTheLiveEnd,
    /// Who has read to the end waits for what comes after the live end, not for what comes after its cursor.
    WaitsBehindTheLiveEnd,
    /// Whether the log was closed is asked after the last look, not before it.
    AsksForTheEndLast,
    /// An event of the window is taken whatever its seq: the window has gone round, and nobody notices.
    TakesAnySlot,
    /// A chunk that another stream built is taken wherever it begins.
    TakesAnyChunk,
    /// Who has taken another's chunk goes on where it stood before.
    GoesOnFromItsOwnCursor,
    /// Who enters the relay's table does not look again under its lock.
    EntersWithoutALook,
}

#[cfg(shuttle)]
std::thread_local! {
    static BROKEN: std::cell::Cell<Option<Control>> = const { std::cell::Cell::new(None) };
}

/// Breaks `control` in all schedules that this thread of the machine runs from here on.
#[cfg(shuttle)]
pub fn break_for_control(control: Option<Control>) {
    BROKEN.set(control);
}

#[cfg(shuttle)]
pub(crate) fn is_broken(control: Control) -> bool {
    BROKEN.get() == Some(control)
}

#[cfg(not(shuttle))]
#[inline]
pub(crate) const fn is_broken(_control: Control) -> bool {
    false
}
