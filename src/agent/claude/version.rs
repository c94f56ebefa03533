//! What version a program says it is: asked of it, with a bound; or read in it, where it must not be run.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a program may take to say its version. Claude Code starts an interpreter for it.
const BOUND: Duration = Duration::from_secs(10);
/// No version is longer.
const ANSWER_BYTES_MAX: u64 = 4096;

/// What is looked through at a time.
const PART_BYTES: usize = 1 << 20;
/// No program of ours is larger, with all that a debugger wants.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;
/// No version is longer.
const VERSION_BYTES_MAX: usize = 64;

/// The version that stands in a build of this program, read and not run; `None` where it is another program, or one that was built
/// before this mark stood in it.
pub fn written_in(program: &Path) -> Option<String> {
    let metadata = program.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > PROGRAM_BYTES_MAX {
        return None;
    }
    let mut file = File::open(program).ok()?.take(PROGRAM_BYTES_MAX);
    let finder = memchr::memmem::Finder::new(MARK);
    let mut bytes = Vec::with_capacity(PART_BYTES + MARK.len() + VERSION_BYTES_MAX);
    loop {
        // What may have begun at the end of the last part stays before the next.
        let kept = bytes.len().min(MARK.len() + VERSION_BYTES_MAX);
        bytes.drain(..bytes.len() - kept);
        let read = file.by_ref().take(PART_BYTES as u64).read_to_end(&mut bytes).ok()?;
        let found = finder.find_iter(&bytes).find_map(|at| {
            let rest = &bytes[at + MARK.len()..];
            let line = rest.split(|byte| *byte == b'\n').next()?;
            let is_whole = line.len() < rest.len() && line.len() <= VERSION_BYTES_MAX;
            let line = std::str::from_utf8(line).ok().filter(|_| is_whole)?;
            version_in(line).filter(|version| *version == line).map(str::to_owned)
        });
        if found.is_some() || read == 0 {
            return found;
        }
    }
}

/// What `PROGRAM --version` prints first that looks like a version, such as `2.1.139`; `None` where the program is not
/// there, does not say, or takes too long, in which case it is ended.
pub fn of(program: &Path) -> Option<String> {
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let (sender, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(ANSWER_BYTES_MAX).read_to_string(&mut text);
        // Whoever asked may have stopped waiting.
        sender.send(read.map(|_| text)).ok();
    });
    let said = answer.recv_timeout(BOUND);
    // It has said what it had to say, or it never will.
    child.kill().ok();
    child.wait().ok();
    version_in(&said.ok()?.ok()?).map(str::to_owned)
}

/// What stands in every build of this program before its version.
const MARK: &str = "\nthis program is mnemosyne, version ";
/// The mark as it stands in this build.
const STAMP: &str = concat!("\nthis program is mnemosyne, version ", env!("CARGO_PKG_VERSION"), "\n");
/// The version of this program. What prints it keeps the mark in the program, for they are one text.
pub const OWN: &str = STAMP.split_at(STAMP.len() - 1).0.split_at(MARK.len()).1;

/// The first word of a text that begins with a digit and has a dot.
fn version_in(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

/// The three numbers of a version; what follows them is left out.
pub fn numbers(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version.split(['.', '-', '+']);
    let mut next = || parts.next()?.parse().ok();
    Some((next()?, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert_eq!(version_in("2.1.139 (Claude Code)\n"), Some("2.1.139"));
        assert_eq!(version_in("mnemosyne 0.1.0\n"), Some("0.1.0"));
        assert_eq!(version_in("usage: x"), None);
        assert_eq!(numbers("2.1.139"), Some((2, 1, 139)));
        assert_eq!(numbers("2.1.139-beta.1"), Some((2, 1, 139)));
        assert_eq!(numbers("2.1"), None);
    }

    #[test]
    fn the_mark_is_found_wherever_it_stands_and_only_where_a_version_follows() {
        assert_eq!(OWN, env!("CARGO_PKG_VERSION"));
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("mnemosyne");
        let of = |bytes: &[u8]| {
            std::fs::write(&program, bytes).unwrap();
            written_in(&program)
        };
        for before in [0, 1, PART_BYTES - 80, PART_BYTES - 36, PART_BYTES - 1, PART_BYTES, 3 * PART_BYTES] {
            // The needle of a search stands in a program as well.
            let bytes =
                [&vec![b'x'; before], MARK.as_bytes(), b"no", MARK.as_bytes(), b"4.5.6-rc.1\n..."].concat();
            assert_eq!(of(&bytes).as_deref(), Some("4.5.6-rc.1"), "{before}");
        }
        assert_eq!(of(b""), None);
        assert_eq!(of(&[MARK.as_bytes(), b"4.5.6"].concat()), None, "it is cut off");
        assert_eq!(of(&[MARK.as_bytes(), &[b'4'; 100], b".5\n"].concat()), None);
        assert_eq!(written_in(dir.path()), None);
        assert_eq!(written_in(Path::new("/dev/zero")), None);
    }

    #[test]
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(of(Path::new("/nowhere/mnemosyne")), None);
        assert_eq!(of(Path::new("/dev/null")), None, "it cannot be run");
    }
}
