//! Looking at one segment while the journal is written: damage that is found before somebody needs the record can
//! still be helped, from a backup for example.
//!
//! A sealed segment never changes, and of the one that is being written nothing that is durable, so a look needs no lock and gives
//! no false alarm. The bytes are read in pieces, as slowly as the caller wants, and only then checked: of a sealed segment out of the
//! page cache through the map that readers use too.

use crate::catalog::{open_segment, read_all, refusal};
use crate::disk::{Access, DiskFile, read_full};
use crate::error::{Error, Result};
use crate::format::Fault;
use crate::journal::Journal;
use crate::types::Seq;
use crate::verify::{Around, Checked, check_file, check_segment};

/// How much is read between two calls of the caller's pace.
const PIECE_BYTES: usize = 1024 * 1024;

impl Journal {
    /// The sealed segments, oldest first: the first seq and the last of each. Reads nothing.
    pub fn sealed(&self) -> Vec<(Seq, Seq)> {
        self.core().catalog.bases().windows(2).map(|pair| (pair[0], pair[1].prev())).collect()
    }

    /// Reads and checks the segment that begins with `base`, every byte of it; of the one that is being written, all that is
    /// durable when this is called. Before each piece `pace` is told how many bytes come next; it may take its time, and ends the
    /// look by answering false. `None` then, and if there is no such segment.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::UnsupportedVersion`], [`Error::UnsupportedFeature`]. Damage is not an error.
    pub fn verify_segment(&self, base: Seq, pace: &mut dyn FnMut(u64) -> bool) -> Result<Option<Checked>> {
        let durable = self.durable();
        let catalog = &self.core().catalog;
        let bases = catalog.bases();
        let Ok(index) = bases.binary_search(&base) else { return Ok(None) };
        let around =
            Around { journal: Some(catalog.journal), ..Around::read(&*catalog.disk, &bases, index)? };
        let (file, name) = match open_segment(&*catalog.disk, base, Access::Read) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            opened => opened?,
        };
        if !read_slowly(&*file, pace).map_err(|error| Error::io("read", &name, error))? {
            return Ok(None);
        }
        if around.next_base.is_none() {
            return check_file(&*file, &name, &around, durable).map(Some);
        }
        let checked = match file.map() {
            Some(map) => check_segment(&map, &around),
            None => check_segment(&read_all(&*file, &name)?, &around),
        };
        checked.map(Some).map_err(|fault: Fault| {
            let damaged = || Error::io("understand", &name, std::io::ErrorKind::InvalidData.into());
            refusal(fault, &name).unwrap_or_else(damaged)
        })
    }
}

/// Brings the file into the page cache; false if it was ended before its end.
fn read_slowly(file: &dyn DiskFile, pace: &mut dyn FnMut(u64) -> bool) -> std::io::Result<bool> {
    let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
    loop {
        if !pace(PIECE_BYTES as u64) {
            return Ok(false);
        }
        let got = read_full(file, &mut piece, at)?;
        at += got as u64;
        if got < PIECE_BYTES {
            return Ok(true);
        }
    }
}
