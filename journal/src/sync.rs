//! Locks, threads, atomics and the clock of waiting: the standard library's, or, with `--cfg shuttle`, those of a scheduler that
//! runs one thread at a time and chooses the next by a seed (`tests/schedules.rs`, run by `tools/schedules.sh`).
//!
//! Whatever one thread waits for and another brings about comes from here. Locks that are only ever held for a few
//! instructions, in which nothing here is called, may be the standard library's all the same: to the scheduler they are not there.
//!
//! The model has no time of its own, so this one brings it: looking at the clock moves it by a microsecond, and a wait with
//! a limit may end at any moment, with the clock at its limit. A deadline therefore can be early, which the code must bear,
//! and a wait without one ends by a wake-up or is a deadlock, which is told.

use std::sync::PoisonError;
use std::time::Duration;

#[cfg(not(shuttle))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread;
    pub(crate) use std::time::Instant;
}

#[cfg(not(shuttle))]
pub(crate) use real::*;

#[cfg(shuttle)]
mod model {
    use std::cell::Cell;
    use std::ops::Add;
    use std::time::Duration;

    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

    std::thread_local! {
        /// Of all schedules that this thread of the machine runs, one after the other: only differences matter.
        static CLOCK: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    fn pass(time: Duration) {
        CLOCK.set(CLOCK.get().saturating_add(time));
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Instant(Duration);

    impl Instant {
        pub(crate) fn now() -> Instant {
            pass(Duration::from_micros(1));
            Instant(CLOCK.get())
        }

        pub(crate) fn checked_add(self, time: Duration) -> Option<Instant> {
            self.0.checked_add(time).map(Instant)
        }

        pub(crate) fn saturating_duration_since(self, earlier: Instant) -> Duration {
            self.0.saturating_sub(earlier.0)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Instant;

        fn add(self, time: Duration) -> Instant {
            Instant(self.0.saturating_add(time))
        }
    }

    pub(crate) mod thread {
        use std::time::Duration;

        pub(crate) use shuttle::thread::{Builder, JoinHandle, Thread, current, park, yield_now};

        /// Ends after others had a turn, as if by its limit.
        pub(crate) fn park_timeout(limit: Duration) {
            yield_now();
            super::pass(limit);
        }
    }
}

#[cfg(shuttle)]
pub(crate) use model::*;

/// Waits on `condition` for at most `limit`, perhaps less.
pub(crate) fn wait_timeout<'a, T>(
    condition: &Condvar,
    lock: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    limit: Duration,
) -> MutexGuard<'a, T> {
    #[cfg(not(shuttle))]
    {
        // Only the model takes it again.
        let _ = lock;
        condition.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0
    }
    #[cfg(shuttle)]
    {
        // Nobody signals whoever waits with a limit: the wait ends by itself.
        let _ = condition;
        drop(guard);
        thread::park_timeout(limit);
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a control breaks on purpose, to see that the schedules find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(shuttle), expect(unreachable_pub, reason = "outside of the model nobody else names it"))]
pub enum Control {
    /// Who enters the table of those who wait does not look again under its lock.
    LooksOnce,
    /// Whoever lets the writer go wakes nobody to commit next.
    KeepsTheTurn,
    /// The durable number moves before the flush.
    AcknowledgesEarly,
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
