//! Reading a secret: from a terminal without showing it, or to the end of a pipe. Never from the command line, which other users
//! and histories of shells see.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::config::known::VALUE_BYTES_MAX;
use crate::error::Error;

/// How the terminal was set before it was told not to show what is typed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The first line of stdin, without its end; from a pipe there may be no other. A terminal is asked for it with `prompt` and does not
/// show it.
///
/// # Errors
/// [`Error::Usage`] when it is too long, no text, or more than a line; [`Error::Failed`] when stdin cannot be read.
pub(super) fn read(prompt: &str) -> Result<String, Error> {
    let cannot = |error: std::io::Error| Error::failed(format!("cannot read the key from stdin: {error}"));
    // Two more than a value may have: the end of its line.
    let bytes_max = VALUE_BYTES_MAX as u64 + 2;
    let mut bytes = Vec::new();
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let mut stderr = std::io::stderr();
        write!(stderr, "{prompt}: ").and_then(|()| stderr.flush()).map_err(cannot)?;
        let hidden = Hidden::begin().map_err(cannot)?;
        let read = stdin.lock().take(bytes_max).read_until(b'\n', &mut bytes);
        drop(hidden);
        // Nothing more can be told where this fails.
        writeln!(stderr).ok();
        read.map_err(cannot)?;
    } else {
        stdin.lock().take(bytes_max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    }
    for end in [&b"\n"[..], b"\r"] {
        if bytes.ends_with(end) {
            bytes.truncate(bytes.len() - end.len());
        }
    }
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(Error::usage(format!("a key has at most {VALUE_BYTES_MAX} bytes, on one line")));
    }
    String::from_utf8(bytes).map_err(|_| Error::usage("a key is text on one line"))
}

/// While it lives, the terminal does not show what is typed.
struct Hidden(());

impl Hidden {
    fn begin() -> std::io::Result<Hidden> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let hidden = Hidden(());
        tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
        Ok(hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        restore();
    }
}

/// Lets the terminal show again what is typed, if it was told not to; at any other time it does nothing.
pub(super) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Where the terminal is gone there is nothing to set.
        tcsetattr(std::io::stdin(), OptionalActions::Now, &before).ok();
    }
}
