//! What hooks cost in use, as each call knows it of itself: `log/hook-times`.
//!
//! Constraints first. An agent waits for each call, so leaving the figure must cost next to nothing, may not wait for another
//! call, and may not make one fail: the figure is left when the event lies in the inbox, and where it cannot be left, it is
//! not there. The file has a bound, and calls that end at the same moment must not take each other's figure.
//!
//! How: one record is appended in one write, without a lock and without a flush. A file that holds [`CALLS_PER_FILE`] makes
//! way to `hook-times.1`, so that of a busy day at least as many of the latest calls are known.
//!
//! ```text
//! 0  at    4  u32 LE, seconds since the Unix epoch
//! 4  took  4  u32 LE, microseconds
//! 8  crc   4  u32 LE over 0..8
//! ```
//!
//! What is measured: the CPU time that the process had used when `hook` began, which is that of its start, and from there the
//! time that passed until the event was kept, without the wait for the payload: how fast the agent writes that is the agent's.
//! Left out are what the process waited for before that (its program being read from a disk, a busy machine) and its end.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::DataDir;
use crate::config::guard::{self, How};
use crate::error::{Error, Result};
use crate::event::Timestamp;
use crate::store::inbox::frame;

/// Calls in one file.
pub const CALLS_PER_FILE: u64 = 8_192;
const RECORD_BYTES: usize = 12;
const FILE_BYTES: u64 = CALLS_PER_FILE * RECORD_BYTES as u64;
/// Calls that end while a file makes way still write to it: a few, and never as many as this.
const FILE_BYTES_MAX: u64 = 2 * FILE_BYTES;
const CRC_AT: usize = 8;
const MICROS: i64 = 1_000_000;

/// The time of one call, while it runs.
pub struct Stopwatch {
    before: Duration,
    begun: Instant,
    waited: Duration,
}

impl Stopwatch {
    /// Begins with what the process has used up to now.
    pub fn start() -> Stopwatch {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let before = Duration::try_from(used).unwrap_or_default();
        Stopwatch { before, begun: Instant::now(), waited: Duration::ZERO }
    }

    /// Runs `wait`, whose time is not the call's.
    pub fn apart<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let outcome = wait();
        self.waited += begun.elapsed();
        outcome
    }

    fn took(&self) -> Duration {
        self.before + self.begun.elapsed().saturating_sub(self.waited)
    }

    /// Leaves what the call has taken so far.
    ///
    /// # Errors
    /// When it cannot be left.
    pub fn leave(&self, dir: &DataDir, now: Timestamp) -> Result<()> {
        leave(&Place::of(dir), now, self.took())
    }
}

/// The calls that are known of a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// The oldest that is known, where older ones of the stretch may have had to make way.
    pub since: Option<Timestamp>,
    /// What they took in microseconds, shortest first.
    micros: Vec<u32>,
}

impl Calls {
    /// How many.
    pub fn count(&self) -> u64 {
        self.micros.len() as u64
    }

    /// What so many of a hundred calls took at most; nothing where there is no call.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.micros.len() * percent).div_ceil(100).max(1);
        self.micros.get(rank - 1).map(|micros| Duration::from_micros(u64::from(*micros)))
    }
}

/// The calls since `from` and before `now`.
///
/// # Errors
/// As [`guard::read_if_present`]; where nothing was left, there are no calls.
pub fn read(dir: &DataDir, from: Timestamp, now: Timestamp) -> Result<Calls> {
    let place = Place::of(dir);
    guard::is_own_dir(&place.directory)?;
    let older = guard::read_if_present(&place.older(), FILE_BYTES_MAX)?;
    let newer = guard::read_if_present(&place.file(), FILE_BYTES_MAX)?;
    let made_way = older.is_some();
    let bytes = [older.unwrap_or_default(), newer.unwrap_or_default()].concat();
    let all = decode(&bytes);
    let (from, now) = (seconds(from), seconds(now));
    let oldest = all.iter().map(|(at, _)| *at).min().filter(|at| made_way && *at > from);
    let mut micros: Vec<u32> =
        all.into_iter().filter(|(at, _)| (from..=now).contains(at)).map(|(_, micros)| micros).collect();
    micros.sort_unstable();
    Ok(Calls { since: oldest.map(|at| Timestamp::from_micros(i64::from(at) * MICROS)), micros })
}

struct Place {
    directory: PathBuf,
}

impl Place {
    fn of(dir: &DataDir) -> Place {
        Place { directory: dir.path().join("log") }
    }

    fn file(&self) -> PathBuf {
        self.directory.join("hook-times")
    }

    fn older(&self) -> PathBuf {
        self.directory.join("hook-times.1")
    }
}

fn leave(place: &Place, now: Timestamp, took: Duration) -> Result<()> {
    let path = place.file();
    // Whoever opens a file checks its last component only: behind a planted link this one would be made elsewhere.
    if !guard::is_own_dir(&place.directory)? {
        return Err(Error::io("find", &place.directory)(std::io::ErrorKind::NotADirectory.into()));
    }
    let mut file = guard::open(&path, How::Append)?;
    if file.metadata().map_err(Error::io("inspect", &path))?.len() >= FILE_BYTES {
        make_way(&file, place)?;
        file = guard::open(&path, How::Append)?;
    }
    file.write_all(&encode(now, took)).map_err(Error::io("write", &path))
}

/// Renames the full `file`, unless another call is at it or has been. Of several that found the same file full, one at a time
/// holds its lock, and only the first still finds it under its name: no file that is not full makes way.
fn make_way(file: &File, place: &Place) -> Result<()> {
    let path = place.file();
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => return Ok(()),
        other => other.map_err(|error| Error::io("lock", &path)(error.into()))?,
    }
    if is_at(file, &path)? {
        std::fs::rename(&path, place.older()).map_err(Error::io("rename", &path))?;
    }
    Ok(())
}

fn is_at(file: &File, path: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let of = file.metadata().map_err(Error::io("inspect", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(at) => Ok((at.dev(), at.ino()) == (of.dev(), of.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("inspect", path)(error)),
    }
}

/// A moment before 1970 or after 2106 counts as the nearest that can be written.
fn seconds(time: Timestamp) -> u32 {
    let seconds = time.as_micros().div_euclid(MICROS).max(0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

fn encode(now: Timestamp, took: Duration) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..4].copy_from_slice(&seconds(now).to_le_bytes());
    record[4..CRC_AT].copy_from_slice(&u32::try_from(took.as_micros()).unwrap_or(u32::MAX).to_le_bytes());
    let crc = frame::checksum([&record[..CRC_AT]]);
    record[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    record
}

/// Seconds and microseconds of every whole record. A write that a full disk cut short costs its own record.
fn decode(mut bytes: &[u8]) -> Vec<(u32, u32)> {
    let four = |at: usize, record: &[u8]| u32::from_le_bytes([0, 1, 2, 3].map(|n| record[at + n]));
    let mut found = Vec::with_capacity(bytes.len() / RECORD_BYTES);
    while let Some(record) = bytes.get(..RECORD_BYTES) {
        let is_whole = crc32fast::hash(&record[..CRC_AT]) == four(CRC_AT, record);
        if is_whole {
            found.push((four(0, record), four(4, record)));
        }
        bytes = &bytes[if is_whole { RECORD_BYTES } else { 1 }..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_700_000_000 + seconds) * MICROS)
    }

    fn place() -> (tempfile::TempDir, DataDir) {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::at(home.path().join("data"));
        dir.create().unwrap();
        (home, dir)
    }

    #[test]
    fn percentiles_are_of_the_calls_in_the_stretch() {
        let (_home, dir) = place();
        assert_eq!(read(&dir, at(0), at(9)).unwrap().percentile(50), None);
        for n in 1..=100 {
            leave(&Place::of(&dir), at(n), Duration::from_micros(n.unsigned_abs() * 10)).unwrap();
        }
        let calls = read(&dir, at(0), at(100)).unwrap();
        let micros = |percent| calls.percentile(percent).unwrap().as_micros();
        assert_eq!((calls.count(), calls.since), (100, None));
        assert_eq!((micros(50), micros(95), micros(100)), (500, 950, 1_000));
        let calls = read(&dir, at(91), at(95)).unwrap();
        assert_eq!((calls.count(), calls.percentile(0)), (5, Some(Duration::from_micros(910))));
    }

    #[test]
    fn a_cut_record_costs_itself_alone() {
        let mut bytes = encode(at(0), Duration::from_micros(7)).to_vec();
        bytes.extend_from_slice(&encode(at(1), Duration::from_micros(8))[..5]);
        bytes.extend_from_slice(&encode(at(2), Duration::MAX));
        let found: Vec<u32> = decode(&bytes).into_iter().map(|(_, micros)| micros).collect();
        assert_eq!(found, [7, u32::MAX]);
        assert_eq!(decode(&[0; 40]).len(), 0, "zeros, as a crash may leave them, are no records");
    }

    #[test]
    fn files_make_way_one_after_the_other_however_many_calls_end_at_once() {
        const THREADS: u64 = 8;
        let (_home, dir) = place();
        let each = 2 * CALLS_PER_FILE / THREADS;
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let dir = &dir;
                scope.spawn(move || {
                    for n in 0..each {
                        leave(&Place::of(dir), at(5), Duration::from_micros(thread * each + n)).unwrap();
                    }
                });
            }
        });
        // None is lost by two that rename at once; a third file's worth would begin only now.
        let calls = read(&dir, at(0), at(9)).unwrap();
        assert_eq!(calls.count(), 2 * CALLS_PER_FILE);
        leave(&Place::of(&dir), at(6), Duration::from_micros(1)).unwrap();
        for n in 0..CALLS_PER_FILE {
            leave(&Place::of(&dir), at(7), Duration::from_micros(n)).unwrap();
        }
        let calls = read(&dir, at(0), at(9)).unwrap();
        assert!((CALLS_PER_FILE + 1..=2 * CALLS_PER_FILE).contains(&calls.count()), "{}", calls.count());
        assert!(calls.since > Some(at(0)), "what had to make way is told: {:?}", calls.since);
    }

    #[test]
    fn nothing_is_written_behind_a_planted_link() {
        let (home, dir) = place();
        let elsewhere = home.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::remove_dir(dir.path().join("log")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("log")).unwrap();
        assert!(leave(&Place::of(&dir), at(0), Duration::ZERO).is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[test]
    fn the_wait_for_the_payload_is_not_the_calls() {
        let mut watch = Stopwatch::start();
        assert!(watch.before > Duration::ZERO, "this process has run");
        watch.apart(|| std::thread::sleep(Duration::from_millis(30)));
        assert!(watch.waited >= Duration::from_millis(30));
        let took = watch.took();
        assert!(took + watch.waited <= watch.before + watch.begun.elapsed());
    }
}
