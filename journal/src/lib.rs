//! The journal: bytes in, bytes out.

pub mod disk;
mod error;
mod journal;
mod lock;
mod options;
mod reader;
mod recovered;
pub mod sim;
mod ticket;
mod types;
mod view;
mod watch;

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
