//! Reading a journal without holding its lock: from another process, or from a copy. Never writes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::catalog::{Catalog, list_bases, open_segment, refusal};
use crate::disk::{Access, Disk, read_full};
use crate::error::{Error, Result};
use crate::format::tail::{TAIL_BYTES, TAIL_NAME, TailFile};
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::judging::read_judged;
use crate::opening::{Before, Ending, read_ending, report};
use crate::reader::Reader;
use crate::recovered::Recovery;
use crate::recovery::Surroundings;
use crate::types::{JournalId, Level, Seq};
use crate::watch::{Progress, TailWatch};

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

/// A journal opened for reading only. Cheap to clone; all clones move together.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) catalog: Arc<Catalog>,
    /// One refresh at a time.
    refreshing: Arc<Mutex<()>>,
}

impl View {
    /// Opens what is there. With no writer, the last segment is judged as an opening for writing would, but nothing is
    /// moved or cut, and whole batches behind the last proof are flushed before they are shown.
    ///
    /// # Errors
    /// [`Error::NoJournal`] if there is no segment; [`Error::UnsupportedVersion`], [`Error::UnsupportedFeature`] and
    /// [`Error::Io`] as they come.
    pub fn open(disk: Arc<dyn Disk>, writer: Writer) -> Result<(View, Recovery)> {
        let bases = list_bases(&*disk)?;
        let Some((_, before)) = bases.split_last() else { return Err(Error::NoJournal) };
        if let (Writer::Alive { .. }, Some(journal)) = (writer, id_of(&*disk, &bases)?) {
            // A live writer's word saves reading its whole segment.
            let progress = Arc::new(Progress::starting_at(Seq::ZERO));
            let catalog = Arc::new(Catalog::new(Arc::clone(&disk), journal, progress, bases.clone()));
            let view = View { catalog, refreshing: Arc::default() };
            if view.told(writer).is_some() {
                let durable = view.refresh(writer)?;
                return Ok((view, Recovery { durable, ..Recovery::default() }));
            }
        }
        let (found, journal) = look(&*disk, &bases, None)?;
        let journal = match journal {
            Some(journal) => journal,
            None => Before::read(&*disk, before)?.journal.unwrap_or_default(),
        };
        let progress = Arc::new(Progress::starting_at(found.proven));
        let catalog = Arc::new(Catalog::new(disk, journal, progress, bases));
        let view = View { catalog, refreshing: Arc::default() };
        view.show(&found, writer)?;
        let recovery = Recovery { durable: view.durable(), ..found.recovery };
        Ok((view, recovery))
    }

    /// Looks again; the durable tail then. Readers that stand at the old one go on.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn refresh(&self, writer: Writer) -> Result<Seq> {
        let _one = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tail) = self.told(writer) {
            if self.catalog.bases().last() != Some(&tail.segment) {
                self.catalog.relist()?;
            }
            self.publish(tail.durable);
            return Ok(self.durable());
        }
        let bases = list_bases(&*self.catalog.disk)?;
        if bases.is_empty() {
            return Err(Error::NoJournal);
        }
        let (found, _) = look(&*self.catalog.disk, &bases, Some(self.catalog.journal))?;
        self.catalog.set_bases(bases);
        self.show(&found, writer)?;
        Ok(self.durable())
    }

    /// Which journal this is.
    pub fn id(&self) -> JournalId {
        self.catalog.journal
    }

    /// The first seq that is retained.
    pub fn first(&self) -> Seq {
        self.catalog.first()
    }

    /// The highest seq that may be read; [`Seq::ZERO`] if there is none.
    pub fn durable(&self) -> Seq {
        self.catalog.durable()
    }

    /// Ends all who follow: nothing more will come.
    pub fn close(&self) {
        self.catalog.progress.close();
    }

    /// A watch of what [`View::refresh`] finds.
    pub fn watch(&self) -> TailWatch {
        TailWatch::new(Arc::clone(&self.catalog.progress))
    }

    /// A reader that begins at `from`.
    pub fn reader(&self, from: Seq) -> Reader {
        Reader::new(Arc::clone(&self.catalog), from)
    }

    /// Moves the durable tail to what was found, as far as it may be shown.
    fn show(&self, found: &Found, writer: Writer) -> Result<()> {
        if let Some(tail) = self.told(writer) {
            self.publish(tail.durable.max(found.proven));
            return Ok(());
        }
        self.publish(found.proven);
        if writer == Writer::Absent && found.whole > found.proven {
            // Nobody flushed these, or nobody lived to say so. What is shown must not be taken back by a power cut.
            let (file, name) = open_segment(&*self.catalog.disk, found.base, Access::Read)?;
            file.sync_data().map_err(|error| Error::io("flush", &name, error))?;
            self.publish(found.whole);
        }
        Ok(())
    }

    fn publish(&self, durable: Seq) {
        self.catalog.progress.publish(Level::Os, durable);
        self.catalog.progress.publish(Level::Disk, durable);
    }

    /// What a live writer says about how far it has flushed.
    pub(crate) fn told(&self, writer: Writer) -> Option<TailFile> {
        let Writer::Alive { boot } = writer else { return None };
        let file = self.catalog.disk.open(TAIL_NAME, Access::Read).ok()?;
        let mut bytes = [0; TAIL_BYTES];
        // A few times: the writer may be writing it.
        let tail = (0..8).find_map(|_| {
            let got = read_full(&*file, &mut bytes, 0).ok()?;
            TailFile::decode(&bytes[..got]).ok()
        })?;
        (tail.boot == boot && tail.journal == self.catalog.journal).then_some(tail)
    }
}

/// What the last segment holds.
struct Found {
    base: Seq,
    /// Proven durable.
    proven: Seq,
    /// Whole, behind the proof too.
    whole: Seq,
    recovery: Recovery,
}

/// The journal's id, from the header of the last segment.
fn id_of(disk: &dyn Disk, bases: &[Seq]) -> Result<Option<JournalId>> {
    let Some(&base) = bases.last() else { return Ok(None) };
    let (file, name) = open_segment(disk, base, Access::Read)?;
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let got = read_full(&*file, &mut bytes, 0).map_err(|error| Error::io("read", &name, error))?;
    match SegmentHeader::decode(&bytes[..got]) {
        Ok(header) => Ok(Some(header.journal)),
        Err(fault) => refusal(fault, &name).map_or(Ok(None), Err),
    }
}

fn look(disk: &dyn Disk, bases: &[Seq], journal: Option<JournalId>) -> Result<(Found, Option<JournalId>)> {
    let (base, before) = bases.split_last().map_or((Seq::FIRST, &[][..]), |(&base, before)| (base, before));
    if let Ending::Clean(end) | Ending::Sealed(end) = read_ending(disk, base)? {
        let proven = end.next.prev();
        let recovery = Recovery { clean: true, durable: proven, ..Recovery::default() };
        return Ok((Found { base, proven, whole: proven, recovery }, Some(end.header.journal)));
    }
    let told = Before::read(disk, before)?;
    let (file, name) = open_segment(disk, base, Access::Read)?;
    let around = Surroundings {
        base,
        journal: journal.or(told.journal),
        previous: told.link,
        footer: None,
        proven: None,
    };
    let judged = read_judged(&*file, &name, around)?.map_err(|fault| {
        let damaged = || Error::io("understand", &name, std::io::ErrorKind::InvalidData.into());
        refusal(fault, &name).unwrap_or_else(damaged)
    })?;
    let verdict = judged.verdict;
    let found =
        Found { base, proven: verdict.proven, whole: verdict.last(), recovery: report(&verdict, &name) };
    Ok((found, verdict.identity.map(|identity| identity.journal).or(told.journal)))
}
