//! `inbox/failed`: how many events could not be kept, and why the last one could not.
//!
//! A hook must not disturb the agent, so its exit code says nothing; what it could not keep is counted here for `doctor` and
//! `status`. The block is preallocated (zeros) when the data directory is made and only overwritten afterwards, so counting works
//! on a full disk. Several processes count at once under a file lock that is waited for only briefly: a hook never hangs.
//!
//! ```text
//! 0   magic   8  "mnemofl" 0x01
//! 8   count   8  u64 LE
//! 16  last    8  i64 LE, microseconds since the Unix epoch
//! 24  length  1  bytes of the reason
//! 25  reason 35  code of the last failure
//! 60  crc     4  u32 LE over 0..60
//! 64  zeros up to 4096: one block, whatever the disk's sector
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crate::config::guard::{self, How};
use crate::error::Error;
use crate::event::Timestamp;

const MAGIC: [u8; 8] = *b"mnemofl\x01";
const COUNT_AT: usize = 8;
const LAST_AT: usize = 16;
const REASON_LENGTH_AT: usize = 24;
const REASON_AT: usize = 25;
const REASON_BYTES_MAX: usize = 35;
const CRC_AT: usize = REASON_AT + REASON_BYTES_MAX;
const USED_BYTES: usize = CRC_AT + 4;
const BLOCK_BYTES: usize = 4096;
/// A holder needs two system calls; who waits longer meets a stopped process and gives up.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

const _: () = assert!(USED_BYTES == 64);

/// What could not be kept so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures {
    /// How many events.
    pub count: u64,
    /// When the last one failed; absent if none did.
    pub last: Option<Timestamp>,
    /// Stable code of the last failure.
    pub reason: String,
}

/// Adds one. Works on a full disk and beside other processes.
///
/// # Errors
/// When not even that is possible; there is nobody left to tell.
pub fn count(inbox: &Path, reason: &str, now: Timestamp) -> Result<(), Error> {
    let path = inbox.join("failed");
    // Whoever opens a file checks its last component only: behind a planted link this one would be made elsewhere.
    if !guard::is_own_dir(inbox)? {
        return Err(Error::Io {
            action: "find",
            path: inbox.into(),
            source: std::io::ErrorKind::NotADirectory.into(),
        });
    }
    let file = guard::open(&path, How::Create)?;
    let _lock = locked(&file, &path)?;
    let mut failures = load(&file, &path)?;
    failures.count = failures.count.saturating_add(1);
    failures.last = Some(now);
    reason.clone_into(&mut failures.reason);
    file.write_all_at(&encode(&failures)[..USED_BYTES], 0).map_err(Error::io("write", &path))
}

/// What was counted so far; nothing if there is no block.
///
/// # Errors
/// As [`guard::open`].
pub fn read(inbox: &Path) -> Result<Failures, Error> {
    let path = inbox.join("failed");
    match guard::open(&path, How::Read) {
        Ok(file) => load(&file, &path),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Failures::default())
        }
        Err(error) => Err(error),
    }
}

fn locked<'a>(file: &'a File, path: &Path) -> Result<impl Drop + 'a, Error> {
    struct Unlock<'a>(&'a File);
    impl Drop for Unlock<'_> {
        fn drop(&mut self) {
            // Closing the file does the same a moment later.
            self.0.unlock().ok();
        }
    }
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Unlock(file)),
            Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(std::fs::TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
        }
    }
    Err(Error::Locked { holder: format!("a process that counts in {}", path.display()) })
}

fn load(file: &File, path: &Path) -> Result<Failures, Error> {
    let mut block = [0; USED_BYTES];
    match file.read_exact_at(&mut block, 0) {
        Ok(()) => Ok(decode(&block)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Failures::default()),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn encode(failures: &Failures) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let reason = failures.reason.as_bytes();
    let length = reason.len().min(REASON_BYTES_MAX);
    let last = failures.last.map_or(i64::MIN, Timestamp::as_micros);
    block[..COUNT_AT].copy_from_slice(&MAGIC);
    block[COUNT_AT..LAST_AT].copy_from_slice(&failures.count.to_le_bytes());
    block[LAST_AT..REASON_LENGTH_AT].copy_from_slice(&last.to_le_bytes());
    block[REASON_LENGTH_AT] = u8::try_from(length).unwrap_or(0);
    block[REASON_AT..REASON_AT + length].copy_from_slice(&reason[..length]);
    let crc = crc32fast::hash(&block[..CRC_AT]);
    block[CRC_AT..USED_BYTES].copy_from_slice(&crc.to_le_bytes());
    block
}

/// A damaged block counts as at least one failure with the reason `counter_damaged`: zero would be a lie.
fn decode(block: &[u8; USED_BYTES]) -> Failures {
    if block.iter().all(|byte| *byte == 0) {
        return Failures::default();
    }
    let eight = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&block[at..at + 8]);
        bytes
    };
    let intact =
        block[..COUNT_AT] == MAGIC && crc32fast::hash(&block[..CRC_AT]).to_le_bytes() == block[CRC_AT..];
    if !intact {
        return Failures { count: 1, last: None, reason: "counter_damaged".into() };
    }
    let length = usize::from(block[REASON_LENGTH_AT]).min(REASON_BYTES_MAX);
    let last = i64::from_le_bytes(eight(LAST_AT));
    Failures {
        count: u64::from_le_bytes(eight(COUNT_AT)),
        last: (last != i64::MIN).then(|| Timestamp::from_micros(last)),
        reason: String::from_utf8_lossy(&block[REASON_AT..REASON_AT + length]).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000)
    }

    #[test]
    fn counting_from_many_threads_loses_none_and_writes_in_place() {
        let dir = tempfile::tempdir().unwrap();
        guard::preallocate(&dir.path().join("failed"), BLOCK_BYTES).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Failures::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| count(dir.path(), "storage_full", now()).unwrap()));
            }
        });
        let failures = read(dir.path()).unwrap();
        assert_eq!(
            (failures.count, failures.last, failures.reason.as_str()),
            (100, Some(now()), "storage_full")
        );
        assert_eq!(std::fs::metadata(dir.path().join("failed")).unwrap().len(), BLOCK_BYTES as u64);
        guard::preallocate(&dir.path().join("failed"), BLOCK_BYTES).unwrap();
        assert_eq!(read(dir.path()).unwrap().count, 100, "preparing again keeps the count");
    }

    #[test]
    fn a_damaged_block_is_not_read_as_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        count(dir.path(), "x", now()).unwrap();
        let path = dir.path().join("failed");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(dir.path()).unwrap().reason, "counter_damaged");
        count(dir.path(), "y", now()).unwrap();
        assert_eq!(read(dir.path()).unwrap().count, 2);
    }
}
