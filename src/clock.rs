//! Time, randomness and the identity of processes: what a run takes from the machine, behind seams.
//!
//! [`SystemClock`] is the only place that asks for the time. Everything else takes a [`Clock`] or a [`Timestamp`], so that
//! tests decide what time it is. A process is named by its pid together with the tick at which it started: a pid alone is
//! given again to strangers.

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::event::{Source, Timestamp, ids};

/// Says what time it is.
pub trait Clock: Send + Sync {
    /// UTC now. May jump either way: nothing may depend on it for order.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters")]
    fn now(&self) -> Timestamp {
        let micros = match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Timestamp::from_micros(micros)
    }
}

/// A clock that stands still until it is told to move; for tests.
#[derive(Debug)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> FixedClock {
        FixedClock(AtomicI64::new(now.as_micros()))
    }

    /// Moves it by `micros`, backwards if negative.
    pub fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// `N` random bytes of the operating system, good enough for tokens.
///
/// # Errors
/// [`Error::Entropy`] when there are none to be had.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    platform::fill_random(&mut bytes).map_err(|error| Error::Entropy(error.to_string()))?;
    Ok(bytes)
}

/// Random bytes that a thread asked for ahead, each given out once: who names many things need not ask for each.
struct RandomAhead {
    bytes: [u8; RANDOM_AHEAD_BYTES],
    used: usize,
}

/// Enough for two dozen ids, and little for a hook, which needs one.
const RANDOM_AHEAD_BYTES: usize = 256;

std::thread_local! {
    static RANDOM_AHEAD: RefCell<RandomAhead> =
        const { RefCell::new(RandomAhead { bytes: [0; RANDOM_AHEAD_BYTES], used: RANDOM_AHEAD_BYTES }) };
}

impl RandomAhead {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        const { assert!(N <= RANDOM_AHEAD_BYTES) };
        if self.used + N > RANDOM_AHEAD_BYTES {
            self.bytes = random()?;
            self.used = 0;
        }
        let mut taken = [0; N];
        taken.copy_from_slice(&self.bytes[self.used..self.used + N]);
        self.used += N;
        Ok(taken)
    }
}

/// `N` bytes that no other call of any process gets, for names and ids, never for secrets. Random where the operating system
/// gives randomness, else a hash of process, time and count: an event must not be lost for want of entropy.
pub fn unique<const N: usize>(clock: &dyn Clock) -> [u8; N] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    RANDOM_AHEAD.with_borrow_mut(RandomAhead::take).unwrap_or_else(|_| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&std::process::id().to_le_bytes());
        hasher.update(&ProcessStamp::current().start_ticks.to_le_bytes());
        hasher.update(&clock.now().as_micros().to_le_bytes());
        hasher.update(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let mut bytes = [0; N];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    })
}

/// A new event id (UUID v7).
pub fn new_id(clock: &dyn Clock) -> Uuid {
    ids::v7(clock.now(), unique::<10>(clock))
}

/// Who this process is, for the envelope of its events.
pub fn this_source(program: impl Into<String>) -> Source {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Source { program: program.into(), host, pid: std::process::id() }
}

/// A process, named so that a later one with the same pid is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessStamp {
    /// Its id.
    pub pid: u32,
    /// The tick since the machine's start at which it began; 0 where the system does not tell.
    pub start_ticks: u64,
}

impl ProcessStamp {
    /// This process.
    pub fn current() -> ProcessStamp {
        let pid = std::process::id();
        ProcessStamp { pid, start_ticks: platform::start_ticks(pid).unwrap_or(0) }
    }

    /// The process that has this pid now; `None` if there is none or the system does not tell.
    pub fn of(pid: u32) -> Option<ProcessStamp> {
        platform::start_ticks(pid).map(|start_ticks| ProcessStamp { pid, start_ticks })
    }

    /// Whether that very process still runs.
    pub fn is_alive(self) -> bool {
        match platform::start_ticks(self.pid) {
            Some(ticks) => ticks == self.start_ticks,
            None => platform::CANNOT_TELL && exists(self.pid),
        }
    }
}

/// When the process that has this pid now was started; `None` if there is none or the system does not tell.
/// Good to about a second.
pub fn started_at(pid: u32) -> Option<Timestamp> {
    let ticks = platform::start_ticks(pid)?;
    let seconds = platform::boot_time_seconds()?;
    let micros = ticks.checked_mul(1_000_000 / platform::TICKS_PER_SECOND)?;
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add_unsigned(micros)?))
}

/// Whether a process has this pid.
pub fn exists(pid: u32) -> bool {
    i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).is_some_and(|pid| {
        // EPERM: it is there, but not ours.
        !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
    })
}

#[cfg(target_os = "linux")]
mod platform {
    /// A process without a stat file does not exist.
    pub(super) const CANNOT_TELL: bool = false;
    /// `USER_HZ`: 100 on every architecture that is built for.
    pub(super) const TICKS_PER_SECOND: u64 = 100;

    pub(super) fn start_ticks(pid: u32) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(&stat)
    }

    /// Field 22. The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    /// A zombie has ended: it holds nothing any more.
    pub(super) fn parse_stat(stat: &str) -> Option<u64> {
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        fields.nth(18)?.parse().ok()
    }

    /// As the crate does, but for the way there: in a static program it does not find the system call and opens two devices first.
    pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), ::getrandom::Error> {
        use rustix::rand::{GetRandomFlags, getrandom};
        match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(filled) if filled == bytes.len() => Ok(()),
            // Interrupted, or a kernel that has no such call.
            _ => ::getrandom::fill(bytes),
        }
    }

    pub(super) fn boot_time_seconds() -> Option<i64> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    /// Start times are not read on this system; a pid that exists is taken for the process that was meant.
    pub(super) const CANNOT_TELL: bool = true;
    pub(super) const TICKS_PER_SECOND: u64 = 100;

    pub(super) fn start_ticks(_pid: u32) -> Option<u64> {
        None
    }

    pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), ::getrandom::Error> {
        ::getrandom::fill(bytes)
    }

    pub(super) fn boot_time_seconds() -> Option<i64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_things_is_given_once_whichever_thread_asks() {
        let many = || (0..1_000).map(|_| unique::<10>(&SystemClock)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(many)).collect();
        let mut names: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(names.len(), 4_000);
    }

    #[test]
    fn this_process_lives_and_a_later_one_with_its_pid_does_not_pass_for_it() {
        let own = ProcessStamp::current();
        assert!(own.is_alive());
        assert!(!ProcessStamp { start_ticks: own.start_ticks + 1, ..own }.is_alive());
    }

    #[test]
    fn a_process_that_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stamp = ProcessStamp { pid: child.id(), start_ticks: platform::start_ticks(child.id()).unwrap() };
        assert!(stamp.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!stamp.is_alive());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn stat_is_read_past_a_hostile_program_name() {
        let stat = "42 (a) R 1 (b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        assert_eq!(platform::parse_stat(stat), Some(777));
        assert_eq!(platform::parse_stat(&stat.replace(") S", ") Z")), None);
        assert_eq!(platform::parse_stat("42 (a"), None);
    }

    #[test]
    fn this_process_started_in_the_past_and_not_long_ago() {
        let (now, start) =
            (SystemClock.now().as_micros(), started_at(std::process::id()).unwrap().as_micros());
        assert!(start <= now + 2_000_000 && start > now - 3_600_000_000, "{start} {now}");
    }

    #[test]
    fn ids_differ_and_carry_the_time() {
        let clock = FixedClock::at(Timestamp::from_micros(1_700_000_000_000_000));
        let (a, b) = (new_id(&clock), new_id(&clock));
        assert_ne!(a, b);
        assert_eq!(a.get_version_num(), 7);
    }
}
