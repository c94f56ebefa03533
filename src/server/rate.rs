//! How many events a source may emit: the limit behind 429.
//!
//! The limit is there for the emitter that runs wild (a loop around an emit), not for sessions: its default is far beyond
//! what an agent does. A source is an agent session, by its id; events without one share one source, since nothing else
//! about them is known that a client could not make up anew for each request. Events are counted, not requests, so that
//! batching gains nothing.
//!
//! A batch is let in or refused as a whole. One of several sessions is asked for session by session, and what was let in
//! for those asked first stays taken from them when a later one refuses it. `emit.burst` holds a whole batch, so that no batch
//! is refused for ever.
//!
//! Memory is bounded: of [`SOURCES_MAX`] sources the state is kept, by a number that stands for the id; those that have
//! rested are forgotten first, and if none has, further ones share one state. Two sources whose numbers are the same share a
//! limit, which no session meets.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Sources whose state is kept.
const SOURCES_MAX: usize = 4_096;
/// Stands for all sources beyond those.
const THE_OTHERS: u64 = 0;

type States<C> = RateLimiter<u64, HashMapStateStore<u64>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The limit and the state of each source; see the module.
pub(super) struct Rates<C: Clock = DefaultClock> {
    states: Option<States<C>>,
    hasher: RandomState,
    clock: C,
    per_second: u32,
}

/// A batch that came too early.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TooFast {
    /// It is let in after this many whole seconds, if nothing else comes from its source.
    Until(u64),
    /// It holds more than is ever let in at once.
    Never,
}

impl Rates {
    /// At most `burst` events at once and `per_second` in the long run from each source; 0 is no limit.
    pub(super) fn new(per_second: u32, burst: u32) -> Rates {
        Rates::with_clock(per_second, burst, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(per_second: u32, burst: u32, clock: C) -> Rates<C> {
        let states = NonZeroU32::new(per_second).zip(NonZeroU32::new(burst)).map(|(rate, burst)| {
            let quota = Quota::per_second(rate).allow_burst(burst);
            RateLimiter::new(quota, HashMapStateStore::default(), clock.clone())
        });
        Rates { states, hasher: RandomState::new(), clock, per_second }
    }

    /// The limit that is told.
    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Whether a batch may come in: `sessions` has one item an event.
    pub(super) fn check<'a>(
        &self,
        sessions: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Result<(), TooFast> {
        let Some(states) = &self.states else { return Ok(()) };
        let mut counts: BTreeMap<Option<&str>, u32> = BTreeMap::new();
        for session in sessions {
            *counts.entry(session).or_default() += 1;
        }
        for (session, count) in counts {
            let Some(count) = NonZeroU32::new(count) else { continue };
            let source = self.source(states, session);
            let passed = states.check_key_n(&source, count).map_err(|_| TooFast::Never)?;
            passed.map_err(|until| TooFast::Until(whole_seconds(until.wait_time_from(self.clock.now()))))?;
        }
        Ok(())
    }

    fn source(&self, states: &States<C>, session: Option<&str>) -> u64 {
        if states.len() >= SOURCES_MAX {
            states.retain_recent();
            if states.len() >= SOURCES_MAX {
                return THE_OTHERS;
            }
        }
        self.hasher.hash_one(session).max(THE_OTHERS + 1)
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0).max(u64::from(wait.is_zero()))
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limit(per_second: u32, burst: u32) -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rates::with_clock(per_second, burst, clock.clone()), clock)
    }

    fn of(session: &str, events: usize) -> impl Iterator<Item = Option<&str>> {
        std::iter::repeat_n(Some(session), events)
    }

    #[test]
    fn a_source_that_is_over_its_limit_is_told_when_and_others_go_on() {
        let (rates, clock) = limit(10, 1_000);
        assert_eq!(rates.check(of("a", 1_000)), Ok(()));
        assert_eq!(rates.check(of("a", 15)), Err(TooFast::Until(2)));
        assert_eq!(rates.check(of("b", 1_000)), Ok(()));
        assert_eq!(rates.check([None]), Ok(()));
        clock.advance(Duration::from_secs(2));
        assert_eq!(rates.check(of("a", 15)), Ok(()), "what was promised is kept");
        assert_eq!(rates.check(of("a", 15)), Err(TooFast::Until(1)));
        assert_eq!(rates.check(of("c", 1_001)), Err(TooFast::Never));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let (rates, _) = limit(0, 1_000);
        for _ in 0..100 {
            assert_eq!(rates.check(of("a", 1_000)), Ok(()));
        }
    }

    #[test]
    fn sources_beyond_the_table_share_one_state_and_those_that_rested_are_forgotten() {
        let (rates, clock) = limit(1_000, 1_000);
        for n in 0..3 * SOURCES_MAX {
            let session = format!("session {n}");
            let passed = rates.check(of(&session, 1));
            assert_eq!(passed, if n < SOURCES_MAX + 1_000 { Ok(()) } else { Err(TooFast::Until(1)) }, "{n}");
        }
        let states = rates.states.as_ref().unwrap();
        assert!(states.len() <= SOURCES_MAX + 1, "{}", states.len());
        clock.advance(Duration::from_secs(3));
        assert_eq!(rates.check(of("new", 1_000)), Ok(()));
        assert_eq!(states.len(), 1);
    }
}
