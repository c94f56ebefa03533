//! What a submission gets: its seqs at once, its acknowledgement later.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::journal::Core;
use crate::pending::{Epoch, Given};
use crate::types::{Level, Micros, Seq};

/// A submitted batch on its way to the disk. Dropping it does not take the batch back.
#[derive(Debug)]
#[must_use = "without waiting, nothing is known about the fate of the batch"]
pub struct Ticket {
    core: Arc<Core>,
    epoch: Arc<Epoch>,
    ack: Ack,
    /// Where its waker is kept, once it was polled.
    place: Option<u64>,
}

impl Ticket {
    pub(crate) fn new(core: Arc<Core>, given: Given, level: Level) -> Ticket {
        let Given { first, last, recorded, epoch } = given;
        Ticket { core, epoch, ack: Ack { first, last, recorded, level }, place: None }
    }

    /// Seq of the first record. Fixed now, but only an acknowledgement makes it theirs for good.
    pub fn first(&self) -> Seq {
        self.ack.first
    }

    /// Seq of the last record.
    pub fn last(&self) -> Seq {
        self.ack.last
    }

    /// Blocks until the batch is as safe as its level asks. Without a committer thread the waiter commits by itself,
    /// for everybody who waits.
    pub fn wait(self) -> Result<Ack> {
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            if let Err(error) =
                self.core.commit_or_await(self.ack.last, self.ack.level, || self.outcome().is_some())
            {
                return self.outcome().unwrap_or(Err(error));
            }
        }
    }

    /// For tasks, before they wait: commits at level `disk` on this very thread if nobody else waits or commits, since waking
    /// the committer and being woken by it costs as much as a quick flush. Else does nothing, and the committer does it.
    ///
    /// What blocks is handed to `blocking`, which may run it where that disturbs nobody, or not at all.
    pub fn commit_if_alone(&self, blocking: impl FnOnce(&mut dyn FnMut())) {
        let Ack { first, last, level, .. } = self.ack;
        if level == Level::Disk
            && let Some(mut state) = self.core.writer_if_alone(first, last)
        {
            // The error reaches every ticket that it concerns.
            blocking(&mut || _ = self.core.commit_with(&mut state, Level::Disk));
        }
    }

    /// The acknowledgement or the error, once it is known.
    fn outcome(&self) -> Option<Result<Ack>> {
        let Ack { last, level, .. } = self.ack;
        // The number first: if it was moved by others who got these seqs after a failure, the failure is seen below.
        let reached = self.core.progress.get(level) >= last;
        if let Some(error) = self.epoch.failure(last, level) {
            return Some(Err(error));
        }
        if reached {
            return Some(Ok(self.ack));
        }
        let error = self.core.ended()?;
        // Writing has ended for good; the number may have moved just before.
        Some(if self.core.progress.get(level) >= last { Ok(self.ack) } else { Err(error) })
    }
}

impl Future for Ticket {
    type Output = Result<Ack>;

    /// Needs a committer thread to become ready: polling commits nothing.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = self.get_mut();
        if let Some(outcome) = ticket.outcome() {
            return Poll::Ready(outcome);
        }
        let place = *ticket.place.get_or_insert_with(|| ticket.core.progress.new_place());
        let Ack { last, level, .. } = ticket.ack;
        let progress = Arc::clone(&ticket.core.progress);
        let polled = progress.poll_until(place, last.prev(), level, context.waker(), || ticket.outcome());
        if polled.is_pending() {
            ticket.core.ask_for_commit();
        }
        polled
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.core.progress.leave(place);
        }
    }
}

/// The journal's word that a batch is as safe as its level says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Seq of the first record.
    pub first: Seq,
    /// Seq of the last record.
    pub last: Seq,
    /// When the journal took it, as its records will say; never earlier than the batch before. Submissions that come
    /// within a millisecond of each other may share the moment of the first.
    pub recorded: Micros,
    /// What is promised.
    pub level: Level,
}
