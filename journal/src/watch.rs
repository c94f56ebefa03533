//! The durable tail: one number that rises, and those who wait for it.

use std::task::{Poll, Waker};
use std::time::Duration;

use crate::types::Seq;

/// Watches the durable tail of a journal. Cheap to clone; each clone waits for itself.
#[derive(Clone, Debug)]
pub struct TailWatch {}

impl TailWatch {
    /// The highest durable seq now; [`Seq::ZERO`] if there is none.
    pub fn get(&self) -> Seq {
        todo!()
    }

    /// Blocks until the durable tail is beyond `seq`, the journal is closed, or `timeout` has passed; the durable tail then.
    pub fn wait_beyond(&self, seq: Seq, timeout: Duration) -> Seq {
        let _ = (seq, timeout);
        todo!()
    }

    /// Ready with the durable tail once it is beyond `seq`, or once the journal is closed (see [`TailWatch::is_closed`]);
    /// until then `waker` is kept (one per watch, the last given) and woken when that happens.
    pub fn poll_beyond(&self, seq: Seq, waker: &Waker) -> Poll<Seq> {
        let _ = (seq, waker);
        todo!()
    }

    /// Whether the journal was closed: the durable tail will not rise any more.
    pub fn is_closed(&self) -> bool {
        todo!()
    }
}
