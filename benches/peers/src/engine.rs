//! What is compared: the least that a journal can be asked for.

use std::path::Path;
use std::time::Duration;

pub type Fault = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Fault>;

/// An opened engine. Records are numbered from 0 in the order in which they were appended.
pub trait Engine: Send + Sync {
    /// Appends one batch; `durable`: returns when the engine says that it would survive a power cut.
    ///
    /// # Errors
    /// Whatever the engine says.
    fn append(&self, batch: &[&[u8]], durable: bool) -> Result<()>;

    /// Readies it for many durable appends, as a server would.
    ///
    /// # Errors
    /// Whatever the engine says.
    fn serve(&self) -> Result<()> {
        Ok(())
    }

    /// Hands to the operating system what the engine still holds back.
    ///
    /// # Errors
    /// Whatever the engine says.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// Whatever the engine says.
    fn sync(&self) -> Result<()>;

    /// Reads all, with the engine's own checks on; returns how many records there were.
    ///
    /// # Errors
    /// Whatever the engine says.
    fn scan(&self) -> Result<u64>;

    /// Reads one; returns its length.
    ///
    /// # Errors
    /// Whatever the engine says.
    fn get(&self, number: u64) -> Result<usize>;

    /// Appends durably from so many asynchronous tasks for so long; returns how long each record took. `None`: the engine has none.
    fn tasks(&self, _tasks: usize, _record: &[u8], _long: Duration) -> Option<Result<Vec<Duration>>> {
        None
    }
}

/// An engine that can be opened.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// Opens or creates it in a directory of its own.
    pub open: fn(&Path) -> Result<Box<dyn Engine>>,
    /// Whether it can append without flushing.
    pub unflushed: bool,
    /// Whether it can read.
    pub reads: bool,
    /// Whether it only reads here: the engine of another row, filled otherwise.
    pub reads_only: bool,
    /// Whether it acknowledges only what a power cut would not take: by its own documentation, and by the flushes that were counted.
    pub honest: bool,
    /// What a reader of the table must know.
    pub note: &'static str,
}
