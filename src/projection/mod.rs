//! Projections: read models that are pure folds of the journal.
//!
//! **Constraints.** The state at seq N is the fold of the events up to N and of nothing else: no clock, no process
//! table, no randomness, no hash order, no float. The same journal gives the same bytes of state, and so the same
//! [`StateHash`], on any machine. What depends on the present (an age, whether a silent agent still lives) is
//! computed by the viewer, beside the state. A snapshot is a shortcut and never a source: one that is damaged, of
//! another schema, of another journal or ahead of the journal is refused and the state is folded anew.
//!
//! **How it works.** A [`Projection`] names itself and says how one event changes its state. A [`Fold`] is a state
//! with the seq that it has reached. [`snapshot`] turns a fold into checksummed bytes and back; two files take turns, and
//! a sparse ladder of older ones makes time travel quick. A [`Runner`] brings a fold up to the durable tail and lets readers
//! look between two short batches. [`state_at`] gives the state at any seq from the nearest state saved below it. After
//! retention that may be a [`base`], which is no shortcut: it stands for events that are gone.
//!
//! **One table.** [`registry`] has a row for every projection. From it come the names that commands and routes take, the
//! server's [`Runners`], which follow the store as one subscription (an event is read and decoded once for all of
//! them; its payload is parsed only by who asks for it), and what is done with all of them: bases, comparisons, tests.
//! Where many events are to be folded, a second thread decodes them ahead.
//!
//! **Two orders.** Events are folded by seq, the order in which the journal took them. Imported lines arrive late, so a
//! fold that speaks of time (what was last, what was first, who still waits) compares [`Mark`]s, (time, seq),
//! instead of believing that what comes later in the journal happened later.
//!
//! A new projection is a state, an `apply`, a `SCHEMA` and a row in [`registry`]; the frame gives it snapshots, time travel, hashes and
//! rebuilds. Raise `SCHEMA` whenever the state's shape **or the meaning of `apply`** changes: old snapshots are
//! then rebuilt by themselves.

pub mod agents;
mod ahead;
pub mod any;
mod archive;
pub mod base;
pub mod bisect;
mod by_id;
pub mod calendar;
pub mod changes;
pub mod commands;
pub mod compare;
pub mod diff;
mod durable;
pub mod entries;
mod fold;
mod follow;
mod gaps;
pub mod health;
pub mod histogram;
mod keyed;
mod mark;
pub mod notes;
pub mod orchestrator;
pub mod pacing;
mod pages;
pub mod registry;
pub mod retention;
mod runner;
pub mod sessions;
pub mod snapshot;
pub mod stats;
pub mod steps;
#[cfg(test)]
pub(crate) mod testing;
pub mod why;

use serde::{Serialize, de::DeserializeOwned};

use crate::event::{Json, Kind, StoredEvent};
use entries::Mapped;
use sessions::viewer::Looking;
use snapshot::Part;

pub use any::{AnyFold, Definition, StateView};
pub use base::seq_known_at;
pub use fold::{Fold, StateHash};
pub use follow::{Follower, Told};
pub use gaps::GapView;
pub use mark::{Latest, Mark};
pub use registry::Runners;
pub use runner::{
    AnyRunner, BATCH_EVENTS_MAX, Progress, Runner, SNAPSHOT_BYTES_AN_EVENT, SNAPSHOT_EVERY, SnapshotError,
    Source, Taken, seq_at, state_at, state_since,
};

/// Says which kinds can change a state; none is a kind that this program does not know.
pub type Wanted = fn(Option<Kind>) -> bool;

/// A pure fold of events into a state.
pub trait Projection: 'static {
    /// The name in files, routes and commands: `sessions`.
    const NAME: &'static str;
    /// The version of the state's shape and of the meaning of `apply`.
    const SCHEMA: u32;
    /// What is known. Ordered maps and integers only: its postcard bytes are hashed.
    type State: Serialize + DeserializeOwned + Default + Send + Sync + 'static;

    /// Takes one event into the state. Events come by rising seq, each once; some may be missing.
    fn apply(state: &mut Self::State, event: &StoredEvent);

    /// What of a state concerns one session, as JSON; null where nothing does. All of it, where a projection cannot tell.
    ///
    /// # Errors
    /// When the state has no JSON form: a fault of the projection.
    fn session_json(state: &Self::State, session: &str) -> serde_json::Result<Json> {
        let _ = session;
        serde_json::to_value(state)
    }

    /// The JSON of a state in parts, where it is one of many entries; see [`Mapped`]. Put together they are what the state serializes to.
    fn mapped(state: &Self::State) -> Option<Mapped<'_>> {
        let _ = state;
        None
    }

    /// What people are shown of a fold as it is looked at, where its state is made for folding more than for reading; none is the state
    /// itself.
    fn shown(fold: &Fold<Self>, looking: &Looking<'_>) -> Option<serde_json::Result<Json>>
    where
        Self: Sized,
    {
        let _ = (fold, looking);
        None
    }

    /// Which kinds can change the state at all, where there are such as cannot: a fold from the journal looks at those where they lie,
    /// without taking them out.
    const WANTED: Option<Wanted> = None;

    /// Whether an event of this kind can change the state at all: [`Projection::WANTED`].
    fn wants(kind: Option<Kind>) -> bool {
        Self::WANTED.is_none_or(|wanted| wanted(kind))
    }

    /// Whether an event can change the state at all, told from its envelope. A search over states passes over those that cannot.
    fn concerns(event: &StoredEvent) -> bool {
        Self::wants(event.event.kind.known())
    }

    /// The parts of a state that never change once they are made, in an order that [`Projection::fill_parts`] keeps to.
    fn parts(state: &Self::State) -> Vec<Part> {
        let _ = state;
        Vec::new()
    }

    /// Gives each part of a state that was read its bytes, by `fill`; false where one cannot be had, or they make no state.
    fn fill_parts(state: &mut Self::State, fill: &mut dyn FnMut(&mut Part) -> bool) -> bool {
        let _ = (state, fill);
        true
    }

    /// Carries the state of an older schema over, from its postcard bytes. Asked only for a base: a snapshot of an older schema
    /// is folded anew. `None` means that it cannot be had any more, and the projection begins after the base.
    fn migrate(schema: u32, state: &[u8]) -> Option<Self::State> {
        let _ = (schema, state);
        None
    }
}

#[cfg(test)]
mod frame_tests;
