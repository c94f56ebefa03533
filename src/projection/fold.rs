//! A state and the seq that it has reached.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Projection;
use crate::event::{Seq, StoredEvent};

/// BLAKE3 of the postcard bytes of a state: two machines that hold the same journal print the same one.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash([u8; 32]);

impl StateHash {
    pub(super) fn of_bytes(bytes: &[u8]) -> StateHash {
        StateHash(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> StateHash {
        StateHash(bytes)
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The state of a projection at a seq.
pub struct Fold<P: Projection> {
    state: P::State,
    seq: Seq,
    missing: u64,
}

impl<P: Projection> Default for Fold<P> {
    fn default() -> Self {
        Fold { state: P::State::default(), seq: Seq::ZERO, missing: 0 }
    }
}

impl<P: Projection> Fold<P> {
    pub(super) fn restore(state: P::State, seq: Seq, missing: u64) -> Self {
        Fold { state, seq, missing }
    }

    /// Takes in the next event. One that was taken in already changes nothing.
    pub fn apply(&mut self, event: &StoredEvent) {
        if event.seq > self.seq {
            P::apply(&mut self.state, event);
            self.seq = event.seq;
        }
    }

    /// Passes over records that cannot be read any more, up to and including `to`.
    pub fn skip(&mut self, to: Seq) {
        self.missing += to.get().saturating_sub(self.seq.get());
        self.seq = self.seq.max(to);
    }

    /// Passes over events that change nothing, up to and including `to`.
    pub(super) fn pass(&mut self, to: Seq) {
        self.seq = self.seq.max(to);
    }

    /// What is known at [`Fold::seq`].
    pub fn state(&self) -> &P::State {
        &self.state
    }

    /// The same, for whoever needs no more of the fold.
    pub fn into_state(self) -> P::State {
        self.state
    }

    /// The last seq that was folded; zero before the first.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Seqs up to [`Fold::seq`] that could not be read when their turn came: damaged, dropped before a base stood for them, or no
    /// events to this program and not of a kind that changes nothing. The state is the fold of the others. It is no part of the state and of its hash, but a snapshot keeps it.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// The hash of the state. It costs an encoding of all of it.
    pub fn hash(&self) -> Result<StateHash, postcard::Error> {
        Ok(StateHash::of_bytes(&postcard::to_stdvec(&self.state)?))
    }
}
