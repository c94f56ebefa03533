//! What a submission gets: its seqs at once, its acknowledgement later.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::types::{Level, Micros, Seq};

/// A submitted batch on its way to the disk. Dropping it does not take the batch back.
#[derive(Debug)]
#[must_use = "without waiting, nothing is known about the fate of the batch"]
pub struct Ticket {}

impl Ticket {
    /// Seq of the first record. Fixed now, but only an acknowledgement makes it theirs for good.
    pub fn first(&self) -> Seq {
        todo!()
    }

    /// Seq of the last record.
    pub fn last(&self) -> Seq {
        todo!()
    }

    /// Blocks until the batch is as safe as its level asks. Without a committer thread the waiter commits by itself,
    /// for everybody who waits.
    pub fn wait(self) -> Result<Ack> {
        todo!()
    }
}

impl Future for Ticket {
    type Output = Result<Ack>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = context;
        todo!()
    }
}

/// The journal's word that a batch is as safe as its level says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Seq of the first record.
    pub first: Seq,
    /// Seq of the last record.
    pub last: Seq,
    /// When the journal took it, as its records will say; never earlier than the batch before.
    pub recorded: Micros,
    /// What is promised.
    pub level: Level,
}
