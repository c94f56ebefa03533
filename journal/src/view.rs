//! Reading a journal without holding its lock: from another process, or from a copy. Never writes.

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Result;
use crate::reader::Reader;
use crate::recovered::Recovery;
use crate::types::{JournalId, Seq};

/// Whether somebody holds the journal's lock, as the caller found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Nobody: the verdict over the bytes decides what is durable.
    Absent,
    /// A live process: what it says in the tail file counts, if that file is of this boot ([`crate::boot_hash`]).
    Alive {
        /// The boot of the machine now.
        boot: u64,
    },
}

/// A journal opened for reading only.
#[derive(Clone, Debug)]
pub struct View {}

impl View {
    /// Opens what is there.
    ///
    /// # Errors
    /// [`crate::Error::NoJournal`] if there is no segment.
    pub fn open(disk: Arc<dyn Disk>, writer: Writer) -> Result<(View, Recovery)> {
        let _ = (disk, writer);
        todo!()
    }

    /// Looks again; the durable tail then. Readers that stand at the old one go on.
    pub fn refresh(&self, writer: Writer) -> Result<Seq> {
        let _ = writer;
        todo!()
    }

    /// Which journal this is.
    pub fn id(&self) -> JournalId {
        todo!()
    }

    /// The first seq that is retained; one past the durable tail if there is none.
    pub fn first(&self) -> Seq {
        todo!()
    }

    /// The highest seq that may be read; [`Seq::ZERO`] if there is none.
    pub fn durable(&self) -> Seq {
        todo!()
    }

    /// A reader that begins at `from`.
    pub fn reader(&self, from: Seq) -> Reader {
        let _ = from;
        todo!()
    }
}
