//! The terminal in raw mode, on its second screen; given back on every way out.
//!
//! Whoever holds it drops it: at the end, on an error, during a panic. The report of a panic and the end of the process by a second
//! signal come before that, so both give it back first ([`restore`]), and then nothing is left to give back.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::Command as _;
use crossterm::{cursor, terminal};

use crate::cli::out::Out;
use crate::error::Error;

static HELD: AtomicBool = AtomicBool::new(false);

/// Holds the terminal.
pub(super) struct Held(());

impl Held {
    /// Takes it.
    ///
    /// # Errors
    /// When it is none, or cannot be set.
    pub(super) fn take(out: &mut Out) -> Result<Held, Error> {
        HELD.store(true, Ordering::SeqCst);
        let held = Held(());
        terminal::enable_raw_mode().map_err(|source| Error::Output { source })?;
        out.draw(&ansi(|text| {
            terminal::EnterAlternateScreen.write_ansi(text)?;
            cursor::Hide.write_ansi(text)
        }))?;
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back if it is held; at any other time it does nothing.
pub(in crate::cli) fn restore() {
    if !HELD.swap(false, Ordering::SeqCst) {
        return;
    }
    let text = ansi(|text| {
        cursor::Show.write_ansi(text)?;
        terminal::LeaveAlternateScreen.write_ansi(text)
    });
    // Where the terminal is gone there is nothing to give back.
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    let _ = terminal::disable_raw_mode();
}

/// Escape sequences as text.
pub(super) fn ansi(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text);
    text
}
