//! What version a program says it is: asked of it, with a bound.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a program may take to say its version. Claude Code starts an interpreter for it.
const BOUND: Duration = Duration::from_secs(10);
/// No version is longer.
const ANSWER_BYTES_MAX: u64 = 4096;

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
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(of(Path::new("/nowhere/mnemosyne")), None);
        assert_eq!(of(Path::new("/dev/null")), None, "it cannot be run");
    }
}
