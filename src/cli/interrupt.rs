//! Ctrl-C and SIGTERM.
//!
//! One thread waits for both. By default the first one ends the program at once, after the wrapper has written the
//! end of a recorded run: commands that only read have nothing to tidy up. A command that has (a server, a follower,
//! a demonstration with a child and a directory of its own) calls [`Interrupt::take_over`] and from then on is told
//! instead; a second signal still ends the program at once, for somebody who has lost patience.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Knows whether the user, or the system, wants the program to end. Cloned handles are the same one.
#[derive(Clone)]
pub struct Interrupt {
    taken_over: Arc<AtomicBool>,
    asked: Arc<watch::Sender<bool>>,
    abandoned: Arc<Mutex<Option<Tidy>>>,
}

/// What is to be done before the program ends at once.
type Tidy = Box<dyn FnOnce() + Send>;

impl Default for Interrupt {
    fn default() -> Self {
        Interrupt {
            taken_over: Arc::default(),
            asked: Arc::new(watch::Sender::new(false)),
            abandoned: Arc::default(),
        }
    }
}

impl Interrupt {
    /// Begins to wait for signals. `at_once` ends the program; it does not return.
    ///
    /// # Errors
    /// When the system refuses the handlers or the thread.
    pub(super) fn listen(&self, at_once: impl Fn() + Send + 'static) -> std::io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let interrupt = self.clone();
        let thread = std::thread::Builder::new().name("signals".into());
        thread.spawn(move || {
            for _ in signals.forever() {
                if !interrupt.signal() {
                    interrupt.abandon();
                    at_once();
                }
            }
        })?;
        Ok(())
    }

    /// Takes note of a signal; whether the command itself will see to it.
    fn signal(&self) -> bool {
        let first = !self.asked.send_replace(true);
        first && self.taken_over.load(Ordering::SeqCst)
    }

    /// What a command leaves to nobody if the program ends at once, after a second signal: it must be short, and wait for nothing.
    pub fn when_abandoned(&self, tidy: impl FnOnce() + Send + 'static) {
        *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tidy));
    }

    fn abandon(&self) {
        let tidy = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tidy) = tidy {
            tidy();
        }
    }

    /// From now on the first signal is only noted.
    pub fn take_over(&self) {
        self.taken_over.store(true, Ordering::SeqCst);
    }

    /// Whether the program was asked to end.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until the program is asked to end.
    pub async fn wait(&self) {
        let mut asked = self.asked.subscribe();
        // The sender lives as long as this handle does, so the wait can only end with a signal.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_took_over_so_the_first_signal_ends_it() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.is_asked());
        assert!(!interrupt.signal());
        assert!(interrupt.is_asked());
    }

    #[test]
    fn a_command_that_took_over_is_told_once() {
        let interrupt = Interrupt::default();
        interrupt.take_over();
        assert!(interrupt.signal(), "the first is the command's");
        assert!(!interrupt.signal(), "the second ends the program");
    }

    #[tokio::test]
    async fn a_waiter_wakes() {
        let interrupt = Interrupt::default();
        interrupt.take_over();
        let waiter = tokio::spawn({
            let interrupt = interrupt.clone();
            async move { interrupt.wait().await }
        });
        interrupt.signal();
        waiter.await.unwrap();
    }
}
