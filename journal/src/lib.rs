//! The journal: an append-only, checksummed, hash-chained sequence of records in segment files. Bytes in, bytes out.
//!
//! It is not a database: there are no keys, no updates, no queries. It knows nothing of what a payload means, asks no
//! clock, makes no random numbers, prints nothing, and needs no runtime: tasks wait through [`std::task::Waker`].
//!
//! # What it promises
//! - A record acknowledged at level [`Level::Disk`] is there, byte for byte, after a kill, a crash or a power cut. One
//!   acknowledged at [`Level::Os`] survives the death of the process.
//! - [`Seq`]s are dense from 1, and one that was durable is never given again. A submission is atomic.
//! - Readers see what is durable and nothing else: what was seen once is never taken back.
//! - What is dropped is whole oldest segments, never anything in the middle.
//! - An unfinished end, as a crash leaves it, is cut, kept aside and told. Damage below the proven durable point is
//!   contained: every other record stays readable, and readers get a [`Gap`] that names what is lost.
//!
//! # The way of a record
//! ```text
//! submit --> pending (seq, arena) --> writer: seal, one write, one flush --> durable tail --> watches, tickets
//!                                                   |                                            |
//!                                              segment files  <-- readers, views (maps, reads) <--+
//! ```
//!
//! # Layers
//! - [`mod@format`], [`scan`], [`recovery`], [`verify::check_segment`]: functions of bytes, no files.
//! - [`disk`]: the one door to files, with [`RealDisk`] and, for tests, [`sim::SimDisk`].
//! - [`Journal`] writes and reads, [`View`] only reads, [`Lock`] makes sure that one writes.
//!
//! # Limits
//! A payload has at most 16,777,215 bytes, a submission 67,108,864. A segment aims at 64 MiB.
//! Readers share at most 64 open segments, and an index of each in memory that is built as they are walked, of at most 2 %
//! of its bytes. A jump to a seq or a time is O(log n): by the index where somebody has been before, by halving the segment
//! where nobody has.
//!
//! ```
//! use std::sync::Arc;
//! use mnemosyne_journal::{Item, Journal, JournalId, Level, Micros, Options, RealDisk, Seq};
//!
//! # let dir = tempfile::tempdir().map_err(|_| mnemosyne_journal::Error::NoJournal)?;
//! # let dir = dir.path().join("journal");
//! let options = Options::new(JournalId::from_bytes(*b"sixteen bytes id"), [7; 32]);
//! let (journal, recovery) = Journal::open(Arc::new(RealDisk::new(dir)), options, Micros::new(0))?;
//! assert!(recovery.created);
//!
//! let ticket = journal.submit(&[b"hello", b"world"], Micros::new(1), Level::Disk, None)?;
//! let ack = ticket.wait()?;
//! assert_eq!((ack.first, ack.last), (Seq::new(1), Seq::new(2)));
//!
//! let mut reader = journal.reader(Seq::new(2));
//! while let Some(item) = reader.next()? {
//!     if let Item::Record(record) = item {
//!         assert_eq!(record.payload, b"world");
//!     }
//! }
//! journal.close()?;
//! # Ok::<(), mnemosyne_journal::Error>(())
//! ```

mod catalog;
mod committer;
pub mod disk;
mod error;
mod extents;
mod filler;
pub mod format;
mod index;
pub mod inspect;
mod item;
mod journal;
mod judging;
mod locate;
mod lock;
mod opening;
mod options;
mod pending;
mod reader;
mod recovered;
pub mod recovery;
mod retention;
pub mod scan;
mod scrub;
mod segments;
pub mod sim;
mod source;
mod stats;
mod sync;
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
pub use extents::{Extent, prove_copy};
pub use item::{Gap, GapReason, Item, Record};
pub use journal::Journal;
pub use lock::Lock;
pub use options::{Options, SEGMENT_BYTES_TARGET};
pub use reader::Reader;
pub use recovered::{Damage, Recovery, TornTail};
pub use retention::{Dropped, SegmentInfo};
pub use stats::Stats;
#[cfg(shuttle)]
#[doc(hidden)]
pub use sync::{Control, break_for_control};
pub use ticket::{Ack, Ticket};
pub use types::{Hash, JournalId, Level, Micros, Seq};
pub use view::{View, Writer};
pub use watch::TailWatch;
