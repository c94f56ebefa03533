//! The journal: bytes in, bytes out.

mod catalog;
mod committer;
pub mod disk;
mod error;
pub mod format;
mod journal;
mod lock;
mod opening;
mod options;
mod pending;
mod reader;
mod recovered;
pub mod recovery;
pub mod scan;
pub mod sim;
#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the numbers of tests are small"
)]
mod tests;
mod ticket;
mod types;
pub mod verify;
mod view;
mod watch;
mod writer;

pub use disk::{Disk, DiskFile, RealDisk, boot_hash};
pub use error::{Error, Result};
pub use journal::Journal;
pub use lock::Lock;
pub use options::{Options, SEGMENT_BYTES_TARGET};
pub use reader::{Gap, GapReason, Item, Reader, Record};
pub use recovered::{Damage, Recovery, TornTail};
pub use ticket::{Ack, Ticket};
pub use types::{Hash, JournalId, Level, Micros, Seq};
pub use view::{View, Writer};
pub use watch::TailWatch;
