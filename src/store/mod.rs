//! L2, the store: events over a log. It owns what a log does not know: event ids, deduplication, the inbox, who may write.
//!
//! Constraints first. One process writes at a time: the holder of the lock. A command's or hook's success means that its event
//! is in the journal or in the inbox. The same id is one event, across restarts. What anybody sees is durable.
//!
//! ```text
//! hook, lifecycle --> inbox::deposit --> inbox/  --drained in order by the holder--+
//!                                                                                  v
//! command, HTTP   --> Store::emit: redact, encode --> writer lock: drain, dedupe, append --> Log (local journal)
//!                                                        | released before the flush           |
//!                                                        v                                    v durable tail
//!                                                    Pending (Future or wait())    Replay, Subscription, View
//! ```
//!
//! Start at [`Store::emit`]. Modules in the order of the data path: [`inbox`], [`lock`], [`open`], [`emit`], `ids`,
//! [`log`], [`replay`], [`subscribe`], [`view`], [`watch`] (over `notice`); beside it [`counters`] and [`search`]. [`retention`] lets the
//! past go, [`backup`] copies it, [`scrub`] looks for rot; [`check`], [`index`] and [`space`] look at what it is on the disk.

pub mod backup;
pub mod check;
mod commands;
pub mod counters;
pub mod emit;
#[cfg(test)]
mod faults;
pub(crate) mod ids;
pub mod inbox;
pub mod index;
pub mod lock;
pub mod log;
mod notice;
pub mod open;
pub mod replay;
pub mod retention;
pub mod scrub;
pub mod search;
pub mod space;
pub mod subscribe;
pub(crate) mod sync;
#[cfg(test)]
pub(crate) mod testing;
pub mod view;
pub mod watch;

/// Version of the journal's format on disk.
pub const FORMAT_VERSION: u32 = mnemosyne_journal::format::VERSION as u32;

pub use counters::{Account, Books, InboxState, Way};
pub use emit::{Emitted, Pending};
pub use inbox::drain::Drained;
pub use lock::{Holder, Role, holder};
pub use log::{Gap, GapReason, JournalId, Level, Log, MemoryLog, Stats, level_name};
pub use open::{Opened, Opening, Store};
pub(crate) use replay::Undecoded;
pub use replay::{Item, Replay, SessionOrder, Undecodable};
pub use subscribe::{Delivery, Subscription};
#[cfg(shuttle)]
#[doc(hidden)]
pub use sync::{Control, break_for_control};
pub use view::{View, read};
pub use watch::InboxWatch;
