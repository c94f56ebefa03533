//! `inbox/failed`: how many events could not be kept, and why the last one could not.
//!
//! A hook must not disturb the agent, so its exit code says nothing; what it could not keep is counted here for `doctor` and
//! `status`. The block is preallocated (zeros) when the data directory is made and only overwritten afterwards, so counting works
//! on a full disk. Several processes count at once under a file lock that is waited for only briefly: a hook never hangs.
//!
//! ```text
//! 0   magic   8  "mnemofl" 0x01
//! 8   count   8  u64 LE
//! 16  last    8  i64 LE, microseconds since the Unix epoch; the smallest where it is unknown
//! 24  length  1  u8, bytes of the reason, at most 35
//! 25  reason 35  code of the last failure, zeros behind it
//! 60  crc     4  u32 LE, CRC-32/ISO-HDLC over 0..60
//! 64  noted   8  u64 LE, the count that a person has been told of (`doctor --fix`); zeros where none was
//! 72  crc     4  u32 LE, CRC-32/ISO-HDLC over 64..72; zeros where nothing is noted
//! 76  zeros up to 4096: one block, whatever the disk's sector
//! ```
//!
//! The count never goes back. What a person has been told of is noted beside it, so that the same failures are not told for ever.
//!
//! Before there was such a note, a block ended at 64, with zeros behind. It reads as one of which nothing is noted, and who wrote it reads
//! and counts in one with a note, which stays: so both have one magic. `tests/golden/inbox` pins both; `docs/format.md` names them.

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
const NOTED_AT: usize = CRC_AT + 4;
const NOTED_CRC_AT: usize = NOTED_AT + 8;
const USED_BYTES: usize = NOTED_CRC_AT + 4;
const BLOCK_BYTES: usize = 4096;
/// A holder needs two system calls; who waits longer meets a stopped process and gives up.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

const _: () = assert!(NOTED_AT == 64 && USED_BYTES == 76);

/// What could not be kept so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures {
    /// How many events.
    pub count: u64,
    /// When the last one failed; absent if none did.
    pub last: Option<Timestamp>,
    /// Stable code of the last failure.
    pub reason: String,
    /// How many of them somebody has been told of and has noted.
    pub noted: u64,
}

impl Failures {
    /// Those that nobody has noted.
    pub const fn open(&self) -> u64 {
        self.count.saturating_sub(self.noted)
    }

    /// Why the last one could not be kept, in words.
    pub fn words(&self) -> &str {
        match self.reason.as_str() {
            "malformed_json" => "its payload was not one whole JSON object",
            "payload_too_large" => "its payload was longer than 16 MiB",
            "stdin_unreadable" => "its payload could not be read from stdin",
            "wrong_hook" => "its payload was of another hook than the script's",
            "usage" => "the command was called with a wrong argument, or without a session",
            "panic" => "the program failed on it, which is a defect of its own",
            "inbox_full" => "the inbox was at its cap",
            "storage_full" => "no space was left",
            "unsafe_path" => "a file or directory was not safe to use",
            "config_invalid" => "the configuration could not be read",
            "bad_switch" => "an environment variable held what it cannot hold",
            "no_home" => "the home directory of the user is unknown",
            "no_data_dir" => "there was no data directory",
            "io" => "the operating system refused to write it",
            "locked" => "another process held what was needed for too long",
            "no_entropy" => "the operating system gave no random bytes for its id",
            "batch_size" => "it was too large",
            "counter_damaged" => "the counter was damaged, so neither number nor reason is known",
            "failed" => "the reason was not noted",
            other => other,
        }
    }
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

/// Notes that somebody has been told of all that failed so far. Returns what was open until now.
///
/// # Errors
/// As [`guard::open`], and when another process holds the block.
pub fn note(inbox: &Path) -> Result<Failures, Error> {
    let path = inbox.join("failed");
    let file = guard::open(&path, How::Write)?;
    let _lock = locked(&file, &path)?;
    let open = load(&file, &path)?;
    let noted = Failures { noted: open.count, ..open.clone() };
    file.write_all_at(&encode(&noted)[..USED_BYTES], 0).map_err(Error::io("write", &path))?;
    Ok(open)
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
    let mut present = 0;
    // A block of an earlier version may end before the part that is noted. One that ends before that is damaged, not empty.
    while present < USED_BYTES {
        match file.read_at(&mut block[present..], present as u64) {
            Ok(0) => break,
            Ok(bytes) => present += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
    Ok(decode(&block))
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
    block[CRC_AT..NOTED_AT].copy_from_slice(&crc.to_le_bytes());
    if failures.noted > 0 {
        block[NOTED_AT..NOTED_CRC_AT].copy_from_slice(&failures.noted.to_le_bytes());
        let crc = crc32fast::hash(&block[NOTED_AT..NOTED_CRC_AT]);
        block[NOTED_CRC_AT..USED_BYTES].copy_from_slice(&crc.to_le_bytes());
    }
    block
}

/// The reason where the block itself is damaged.
const DAMAGED: &str = "counter_damaged";

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
    let intact = block[..COUNT_AT] == MAGIC
        && crc32fast::hash(&block[..CRC_AT]).to_le_bytes() == block[CRC_AT..NOTED_AT];
    if !intact {
        return Failures { count: 1, last: None, reason: DAMAGED.into(), noted: 0 };
    }
    // A damaged note is none: what failed is told once more.
    let noted = crc32fast::hash(&block[NOTED_AT..NOTED_CRC_AT]).to_le_bytes() == block[NOTED_CRC_AT..];
    let length = usize::from(block[REASON_LENGTH_AT]).min(REASON_BYTES_MAX);
    let last = i64::from_le_bytes(eight(LAST_AT));
    Failures {
        count: u64::from_le_bytes(eight(COUNT_AT)),
        last: (last != i64::MIN).then(|| Timestamp::from_micros(last)),
        reason: String::from_utf8_lossy(&block[REASON_AT..REASON_AT + length]).into_owned(),
        noted: if noted { u64::from_le_bytes(eight(NOTED_AT)) } else { 0 },
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
    fn what_was_noted_is_not_open_and_what_comes_after_it_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(note(dir.path()).is_err(), "nothing was counted");
        count(dir.path(), "malformed_json", now()).unwrap();
        // As an earlier version left it.
        let path = dir.path().join("failed");
        std::fs::File::options().write(true).open(&path).unwrap().set_len(64).unwrap();
        assert_eq!(read(dir.path()).unwrap().open(), 1);
        assert_eq!(note(dir.path()).unwrap().words(), "its payload was not one whole JSON object");
        assert_eq!((read(dir.path()).unwrap().open(), read(dir.path()).unwrap().count), (0, 1));
        count(dir.path(), "io", now()).unwrap();
        assert_eq!((read(dir.path()).unwrap().open(), read(dir.path()).unwrap().count), (1, 2));
        note(dir.path()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[64] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(dir.path()).unwrap().open(), 2, "a damaged note hides nothing");
    }

    /// The bytes of a golden file: pairs of hex digits; `#` begins a comment.
    fn golden(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/golden/inbox/{name}.hex", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let digits = text.lines().map(|line| line.split('#').next().unwrap());
        let bytes = digits.flat_map(str::split_whitespace);
        bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    fn three(noted: u64) -> Failures {
        let last = Some(Timestamp::from_micros(1_767_323_045_678_901));
        Failures { count: 3, last, reason: "storage_full".into(), noted }
    }

    #[test]
    fn the_golden_blocks_are_read_and_written() {
        for (name, failures) in [("failed", three(2)), ("failed_not_noted", three(0))] {
            let bytes = golden(name);
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("failed");
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(dir.path()).unwrap(), failures, "{name}");
            let mut block = bytes.clone();
            block.resize(BLOCK_BYTES, 0);
            assert_eq!(encode(&failures)[..], block, "{name}");
            std::fs::write(&path, &block).unwrap();
            assert_eq!(read(dir.path()).unwrap(), failures, "{name}, with its zeros");
        }
    }

    #[test]
    fn a_block_without_room_for_a_note_is_counted_in_and_noted() {
        for zeros in [0, BLOCK_BYTES - NOTED_AT] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("failed");
            let mut bytes = golden("failed_not_noted");
            assert_eq!(bytes.len(), NOTED_AT);
            bytes.resize(NOTED_AT + zeros, 0);
            std::fs::write(&path, bytes).unwrap();
            count(dir.path(), "io", now()).unwrap();
            assert_eq!((read(dir.path()).unwrap().count, read(dir.path()).unwrap().noted), (4, 0));
            note(dir.path()).unwrap();
            assert_eq!((read(dir.path()).unwrap().open(), read(dir.path()).unwrap().noted), (0, 4));
            // As the earlier version reads it: what it knows of is whole, and what it writes leaves the note.
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes(), bytes[CRC_AT..NOTED_AT]);
            let mut earlier = encode(&Failures { noted: 0, ..three(0) })[..NOTED_AT].to_vec();
            earlier.extend_from_slice(&bytes[NOTED_AT..]);
            std::fs::write(&path, earlier).unwrap();
            assert_eq!(read(dir.path()).unwrap(), three(4));
        }
    }

    #[test]
    fn a_block_cut_short_of_its_own_end_is_told_as_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("failed");
        for bytes in [1, CRC_AT, NOTED_AT - 1] {
            std::fs::write(&path, &golden("failed")[..bytes]).unwrap();
            let failures = read(dir.path()).unwrap();
            assert_eq!((failures.count, failures.reason.as_str()), (1, DAMAGED), "{bytes} bytes");
        }
        std::fs::write(&path, b"").unwrap();
        assert_eq!(read(dir.path()).unwrap(), Failures::default(), "it was made and nothing counted yet");
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
