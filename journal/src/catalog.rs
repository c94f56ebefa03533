//! Which segments there are, shared by the writer and its readers.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Access, Bytes, Disk, DiskFile, read_full};
use crate::error::{Error, Result};
use crate::format::segment::{segment_base, segment_name};
use crate::format::{FOOTER_BYTES, Fault, Footer};
use crate::segments::{OpenSegment, Segments};
use crate::stats::Tally;
use crate::types::{JournalId, Level, Seq};
use crate::watch::Progress;

/// The segments of a journal and how far they may be read.
pub(crate) struct Catalog {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) journal: JournalId,
    pub(crate) progress: Arc<Progress>,
    pub(crate) tally: Tally,
    bases: Mutex<Arc<[Seq]>>,
    segments: Segments,
}

impl Catalog {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        journal: JournalId,
        progress: Arc<Progress>,
        bases: Vec<Seq>,
    ) -> Catalog {
        Catalog {
            disk,
            journal,
            progress,
            tally: Tally::default(),
            bases: Mutex::new(bases.into()),
            segments: Segments::default(),
        }
    }

    /// First seqs of the segments, ascending.
    pub(crate) fn bases(&self) -> Arc<[Seq]> {
        Arc::clone(&self.bases.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_bases(&self, bases: Vec<Seq>) {
        self.segments.retain(&bases);
        *self.bases.lock().unwrap_or_else(PoisonError::into_inner) = bases.into();
    }

    /// Lets go of the oldest segment, which is no more. Who reads it goes on.
    pub(crate) fn drop_base(&self, base: Seq) {
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        *bases = bases.iter().copied().filter(|kept| *kept != base).collect();
        drop(bases);
        self.forget(base);
    }

    pub(crate) fn add_base(&self, base: Seq) {
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        if bases.last() != Some(&base) {
            *bases = bases.iter().copied().chain([base]).collect();
        }
    }

    /// Reads the names again.
    pub(crate) fn relist(&self) -> Result<()> {
        // Under the lock: the writer and retention change the directory first and this list then, so a segment that comes or
        // goes meanwhile is not forgotten, and does not come back.
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = list_bases(&*self.disk)?;
        self.segments.retain(&listed);
        *bases = listed.into();
        Ok(())
    }

    /// The segment that begins with `base`, open; `None` if it is not there or nothing in it can be made out.
    pub(crate) fn segment(&self, base: Seq, is_last: bool) -> Result<Option<Arc<OpenSegment>>> {
        self.segments.get(&*self.disk, self.journal, base, is_last)
    }

    /// What has the name of the segment that begins with `base` may be another file now.
    pub(crate) fn forget(&self, base: Seq) {
        self.segments.forget(base);
    }

    pub(crate) fn durable(&self) -> Seq {
        self.progress.get(Level::Disk)
    }

    /// The first seq that is retained.
    pub(crate) fn first(&self) -> Seq {
        self.bases().first().copied().unwrap_or(Seq::FIRST)
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("journal", &self.journal)
            .field("segments", &self.bases().len())
            .finish_non_exhaustive()
    }
}

/// The bases of the segment files on `disk`, ascending.
pub(crate) fn list_bases(disk: &dyn Disk) -> Result<Vec<Seq>> {
    let names = disk.list("").map_err(|error| Error::io("list", "the journal's directory", error))?;
    let mut bases: Vec<Seq> = names.iter().filter_map(|name| segment_base(name)).collect();
    bases.sort_unstable();
    Ok(bases)
}

/// The footer of the segment in `file`, if it is sealed and the footer is whole.
pub(crate) fn read_footer(file: &dyn DiskFile, name: &str) -> Result<Option<Footer>> {
    let read = || {
        let Some(at) = file.size()?.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        let mut bytes = [0; FOOTER_BYTES];
        let got = read_full(file, &mut bytes, at)?;
        Ok(Footer::decode(&bytes[..got], at).ok())
    };
    read().map_err(|error| Error::io("read", name, error))
}

/// Opens the segment that begins with `base`.
pub(crate) fn open_segment(
    disk: &dyn Disk,
    base: Seq,
    access: Access,
) -> Result<(Arc<dyn DiskFile>, String)> {
    let name = segment_name(base);
    match disk.open(&name, access) {
        Ok(file) => Ok((file, name)),
        Err(error) => Err(Error::io("open", &name, error)),
    }
}

/// The whole content of `file`.
pub(crate) fn read_all(file: &dyn DiskFile, name: &str) -> Result<Bytes> {
    read_from(file, name, 0)
}

/// The content of `file` from `offset` on.
pub(crate) fn read_from(file: &dyn DiskFile, name: &str, offset: u64) -> Result<Bytes> {
    let read = || {
        let left = file.size()?.saturating_sub(offset);
        let mut bytes = Bytes::zeros(usize::try_from(left).unwrap_or(usize::MAX));
        let got = read_full(file, bytes.as_mut(), offset)?;
        bytes.truncate(got);
        Ok(bytes)
    };
    read().map_err(|error| Error::io("read", name, error))
}

/// Up to `len` bytes of `file` from `at` on.
pub(crate) fn read_some(file: &dyn DiskFile, name: &str, at: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let got = read_full(file, &mut bytes, at).map_err(|error| Error::io("read", name, error))?;
    bytes.truncate(got);
    Ok(bytes)
}

/// A fault that means "use a newer program" as an error; `None` for damage.
pub(crate) fn refusal(fault: Fault, file: &str) -> Option<Error> {
    use crate::format::segment::INCOMPATIBLE_FEATURES;
    match fault {
        Fault::Version { found, supported } => {
            Some(Error::UnsupportedVersion { file: file.to_owned(), found, supported })
        }
        Fault::Features { bits } => {
            let names: Vec<String> = (0..u32::BITS)
                .map(|bit| 1 << bit)
                .filter(|bit| bits & bit != 0)
                .map(|bit| match INCOMPATIBLE_FEATURES.iter().find(|(known, _)| *known == bit) {
                    Some((_, name)) => format!("feature \"{name}\""),
                    None => format!("incompatible feature bit {}", u32::trailing_zeros(bit)),
                })
                .collect();
            Some(Error::UnsupportedFeature { file: file.to_owned(), features: names.join(" and ") })
        }
        _ => None,
    }
}
