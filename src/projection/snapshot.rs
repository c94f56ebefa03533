//! Saved folds: checksummed bytes, in two files that take turns.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "mnemsnap"
//!      8      4  u32 LE  version of this layout
//!     12      4  u32 LE  schema of the projection
//!     16     16  journal id
//!     32      8  u64 LE  seq of the last event folded
//!     40     32  hash of the state: BLAKE3 of the bytes below
//!     72      8  u64 LE  length of the name, n
//!     80      8  u64 LE  length of the state, m
//!     88      n  name of the projection, UTF-8
//!   88+n      m  state, postcard
//! 88+n+m     32  BLAKE3 of everything above
//! ```
//!
//! A snapshot is believed only when every byte is as it was written and when it is of this projection, schema and
//! journal and not ahead of the journal. A refusal is a value, not an error: the state is then folded anew.
//!
//! Files are `NAME.0.snap` and `NAME.1.snap`. A save replaces the older of the two, through a temporary file that is
//! flushed and renamed, so that a crash at any step leaves the newer one whole. Nothing is lost with both.
//! A redaction of the journal must remove them: they hold what the events said.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Fold, Projection, StateHash};
use crate::event::Seq;

const MAGIC: [u8; 8] = *b"mnemsnap";
const LAYOUT: u32 = 1;
const HEADER_BYTES: usize = 88;
const CHECKSUM_BYTES: usize = 32;
/// A file longer than this is not read: a state is bounded far below it.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
const SLOTS: [u8; 2] = [0, 1];

/// Why a snapshot was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Bytes are missing, added or changed.
    #[error("the snapshot is damaged")]
    Damaged,
    /// Of another projection.
    #[error("the snapshot is of another projection")]
    OtherProjection,
    /// Of another version of the state, or of this layout.
    #[error("the snapshot is of another schema")]
    OtherSchema,
    /// Of another journal.
    #[error("the snapshot is of another journal")]
    OtherJournal,
    /// It has folded events that the journal does not hold, or that lie beyond the seq asked for.
    #[error("the snapshot is ahead of the journal")]
    Ahead,
}

/// The bytes of a fold.
pub fn encode<P: Projection>(fold: &Fold<P>, journal: [u8; 16]) -> Result<Vec<u8>, postcard::Error> {
    let state = postcard::to_stdvec(fold.state())?;
    let name = P::NAME.as_bytes();
    let mut out = Vec::with_capacity(HEADER_BYTES + name.len() + state.len() + CHECKSUM_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&LAYOUT.to_le_bytes());
    out.extend_from_slice(&P::SCHEMA.to_le_bytes());
    out.extend_from_slice(&journal);
    out.extend_from_slice(&fold.seq().get().to_le_bytes());
    out.extend_from_slice(StateHash::of_bytes(&state).as_bytes());
    out.extend_from_slice(&(name.len() as u64).to_le_bytes());
    out.extend_from_slice(&(state.len() as u64).to_le_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&state);
    let checksum = blake3::hash(&out);
    out.extend_from_slice(checksum.as_bytes());
    Ok(out)
}

/// The fold in `bytes`, if they can be believed for this journal up to `newest`.
pub fn decode<P: Projection>(bytes: &[u8], journal: [u8; 16], newest: Seq) -> Result<Fold<P>, Refused> {
    let head = Head::read(bytes)?;
    if head.name != P::NAME.as_bytes() {
        return Err(Refused::OtherProjection);
    }
    if head.layout != LAYOUT || head.schema != P::SCHEMA {
        return Err(Refused::OtherSchema);
    }
    if head.journal != journal {
        return Err(Refused::OtherJournal);
    }
    if head.seq > newest {
        return Err(Refused::Ahead);
    }
    let state = postcard::from_bytes(head.state).map_err(|_| Refused::Damaged)?;
    let fold = Fold::restore(state, head.seq);
    // A state type that changed without a new schema can decode to something else: it does not hash the same.
    if fold.hash().ok() == Some(head.hash) { Ok(fold) } else { Err(Refused::OtherSchema) }
}

/// A snapshot whose checksum holds, its state still bytes.
struct Head<'a> {
    layout: u32,
    schema: u32,
    journal: [u8; 16],
    seq: Seq,
    hash: StateHash,
    name: &'a [u8],
    state: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refused> {
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Refused::Damaged)?;
        if blake3::hash(body) != *checksum {
            return Err(Refused::Damaged);
        }
        let mut rest = body;
        let magic = take::<8>(&mut rest)?;
        let layout = u32::from_le_bytes(take(&mut rest)?);
        let schema = u32::from_le_bytes(take(&mut rest)?);
        let journal = take(&mut rest)?;
        let seq = Seq::new(u64::from_le_bytes(take(&mut rest)?));
        let hash = StateHash::from_bytes(take(&mut rest)?);
        let name_bytes = u64::from_le_bytes(take(&mut rest)?);
        let state_bytes = u64::from_le_bytes(take(&mut rest)?);
        let name = take_slice(&mut rest, name_bytes)?;
        let state = take_slice(&mut rest, state_bytes)?;
        if magic != MAGIC || !rest.is_empty() {
            return Err(Refused::Damaged);
        }
        Ok(Head { layout, schema, journal, seq, hash, name, state })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Refused> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(Refused::Damaged)?;
    *rest = left;
    Ok(*taken)
}

fn take_slice<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], Refused> {
    let bytes = usize::try_from(bytes).map_err(|_| Refused::Damaged)?;
    let (taken, left) = rest.split_at_checked(bytes).ok_or(Refused::Damaged)?;
    *rest = left;
    Ok(taken)
}

/// The two files of one projection.
#[derive(Clone, Debug)]
pub struct Files {
    dir: PathBuf,
    journal: [u8; 16],
}

/// The best snapshot found, and what was refused on the way.
pub struct Found<P: Projection> {
    /// The newest believable fold; none means: fold from the first event.
    pub fold: Option<Fold<P>>,
    /// The files that were there and were not believed.
    pub refused: Vec<(PathBuf, Refused)>,
}

impl Files {
    /// The snapshots in `dir` of the journal of this id.
    pub fn new(dir: impl Into<PathBuf>, journal: [u8; 16]) -> Files {
        Files { dir: dir.into(), journal }
    }

    /// The journal that the snapshots are of.
    pub fn journal(&self) -> [u8; 16] {
        self.journal
    }

    /// The path of one of the two files.
    pub fn path<P: Projection>(&self, slot: u8) -> PathBuf {
        self.dir.join(format!("{}.{slot}.snap", P::NAME))
    }

    /// The newest fold at or below `newest` that can be believed.
    pub fn newest<P: Projection>(&self, newest: Seq) -> Found<P> {
        let mut found = Found { fold: None, refused: Vec::new() };
        for slot in SLOTS {
            let path = self.path::<P>(slot);
            match read_bounded(&path).map_or(Some(Err(Refused::Damaged)), |bytes| {
                bytes.map(|bytes| decode::<P>(&bytes, self.journal, newest))
            }) {
                Some(Err(refused)) => found.refused.push((path, refused)),
                Some(Ok(fold)) if found.fold.as_ref().is_none_or(|held| held.seq() < fold.seq()) => {
                    found.fold = Some(fold);
                }
                None | Some(Ok(_)) => {}
            }
        }
        found
    }

    /// Saves the bytes of a snapshot over the older of the two files. Makes the directory if it is not there.
    pub fn save<P: Projection>(&self, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let target = self.path::<P>(self.older_slot::<P>());
        let temporary = target.with_extension("tmp");
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&temporary, &target)?;
        File::open(&self.dir)?.sync_all()
    }

    /// The file to write over: one that cannot be believed, else the one that is further behind.
    fn older_slot<P: Projection>(&self) -> u8 {
        let seq = |slot| {
            let bytes = read_bounded(&self.path::<P>(slot)).ok().flatten()?;
            let head = Head::read(&bytes).ok()?;
            let ours = head.name == P::NAME.as_bytes() && head.layout == LAYOUT && head.schema == P::SCHEMA;
            (ours && head.journal == self.journal).then_some(head.seq)
        };
        u8::from(seq(0) > seq(1))
    }
}

/// The bytes of a file of bearable length; none if there is no such file.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK).bits());
    let mut options = OpenOptions::new();
    options.read(true);
    if let Ok(flags) = no_follow {
        options.custom_flags(flags);
    }
    let file = match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    file.take(SNAPSHOT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SNAPSHOT_BYTES_MAX {
        Err(io::ErrorKind::InvalidData.into())
    } else {
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests;
