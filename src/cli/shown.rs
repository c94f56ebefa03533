//! How far a follower has shown what there is, and when that is handed on and noted.

use std::time::{Duration, Instant};

use super::Context;
use super::cursor_file::CursorFile;
use crate::error::Error;
use crate::event::Seq;

/// What was shown is handed on, and noted in the cursor file, after this time at the latest
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// and after so many events.
const SETTLE_EVENTS_MAX: u32 = 256;

/// Where a follower stands.
pub(super) struct Shown {
    /// The last seq that was shown or skipped.
    pub(super) cursor: Seq,
    file: Option<CursorFile>,
    /// Events shown since the output was last handed on,
    unsettled: u32,
    /// and when that was.
    settled: Instant,
}

impl Shown {
    /// From `cursor` on; noted in the file, if there is one.
    pub(super) fn up_to(cursor: Seq, file: Option<CursorFile>) -> Shown {
        Shown { cursor, file, unsettled: 0, settled: Instant::now() }
    }

    /// What the file said when it was opened.
    pub(super) fn noted(&self) -> Option<Seq> {
        self.file.as_ref().and_then(CursorFile::cursor)
    }

    /// Which journal it is, for one that was made after the file was opened.
    pub(super) fn learn(&mut self, journal: &str) {
        if let Some(file) = &mut self.file {
            file.learn(journal);
        }
    }

    /// Everything up to `seq` was shown or skipped. Seqs only rise.
    pub(super) fn pass(&mut self, seq: Seq) {
        self.cursor = self.cursor.max(seq);
    }

    /// One more was shown.
    ///
    /// # Errors
    /// As [`Shown::settle`].
    pub(super) fn one_more(&mut self, context: &mut Context) -> Result<(), Error> {
        self.unsettled += 1;
        if self.unsettled >= SETTLE_EVENTS_MAX || self.settled.elapsed() >= SETTLE_EVERY {
            self.settle(context)?;
        }
        Ok(())
    }

    /// Hands on what was shown, and then notes that it was.
    ///
    /// # Errors
    /// When the output is closed, or the file cannot be replaced.
    pub(super) fn settle(&mut self, context: &mut Context) -> Result<(), Error> {
        context.out.flush()?;
        context.out.check_reader()?;
        (self.unsettled, self.settled) = (0, Instant::now());
        match &mut self.file {
            Some(file) => file.save(self.cursor),
            None => Ok(()),
        }
    }
}
