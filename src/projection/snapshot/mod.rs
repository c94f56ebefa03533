//! Saved folds as checksummed bytes.
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
//!     88      8  u64 LE  seqs that could not be read and are not in the state; from layout 2 on
//!     96      8  u64 LE  number of parts, p; from layout 3 on
//!    104      8  u64 LE  length of the parts where they follow, q; 0 where they lie in files of their own; from layout 3 on
//!    112      n  name of the projection, UTF-8
//!         p*32  hash of each part: BLAKE3 of its bytes
//!             m  state, postcard
//!             q  parts, each a u64 LE of its length and its bytes
//!            32  BLAKE3 of everything above
//! ```
//!
//! Layout 1 has no count of what could not be read; it is read as none. Before layout 3 there are no parts ([`Part`]).
//!
//! A snapshot is believed only when every byte is as it was written and when it is of this projection, schema and
//! journal and not ahead of the journal. A refusal is a value, not an error: the state is then folded anew.
//!
//! Where the bytes lie is the business of [`files`]. A redaction of the journal must remove them: they hold what the events said.

pub mod files;
mod part;

use std::path::PathBuf;

use super::{Fold, Projection, StateHash};
use crate::event::Seq;

pub use files::{Files, Found, SharedParts, Span};
pub use part::{Part, bytes};

const MAGIC: [u8; 8] = *b"mnemsnap";
const LAYOUT: u32 = 3;
/// The first one; its files are read.
const LAYOUT_OLDEST: u32 = 1;
/// The first one with parts.
const LAYOUT_PARTS: u32 = 3;
const HEADER_BYTES: usize = 112;
const HASH_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 32;
const JOURNAL_AT: std::ops::Range<usize> = 16..32;
const SEQ_AT: std::ops::Range<usize> = 32..40;
const NAME_LENGTH_AT: usize = 72;
const PARTS_AT: usize = 96;

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
    /// The base was written by a version that did not have the projection.
    #[error("the base holds no state of the projection")]
    Absent,
}

/// A file that was there and was not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of which projection.
    pub projection: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: Refused,
}

/// The bytes of a fold, its parts in them.
pub fn encode<P: Projection>(fold: &Fold<P>, journal: [u8; 16]) -> Result<Vec<u8>, postcard::Error> {
    let mut following = Vec::new();
    for part in P::parts(fold.state()) {
        following.extend_from_slice(&(part.bytes().len() as u64).to_le_bytes());
        following.extend_from_slice(part.bytes());
    }
    encode_with(fold, journal, &following)
}

/// The bytes of a fold without its parts, and these.
pub fn encode_apart<P: Projection>(
    fold: &Fold<P>,
    journal: [u8; 16],
) -> Result<(Vec<u8>, Vec<Part>), postcard::Error> {
    Ok((encode_with(fold, journal, &[])?, P::parts(fold.state())))
}

fn encode_with<P: Projection>(
    fold: &Fold<P>,
    journal: [u8; 16],
    following: &[u8],
) -> Result<Vec<u8>, postcard::Error> {
    let (state, parts) = (postcard::to_stdvec(fold.state())?, P::parts(fold.state()));
    let name = P::NAME.as_bytes();
    let bytes = HEADER_BYTES + name.len() + parts.len() * HASH_BYTES + state.len() + following.len();
    let mut out = Vec::with_capacity(bytes + CHECKSUM_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&LAYOUT.to_le_bytes());
    out.extend_from_slice(&P::SCHEMA.to_le_bytes());
    out.extend_from_slice(&journal);
    out.extend_from_slice(&fold.seq().get().to_le_bytes());
    out.extend_from_slice(StateHash::of_bytes(&state).as_bytes());
    out.extend_from_slice(&(name.len() as u64).to_le_bytes());
    out.extend_from_slice(&(state.len() as u64).to_le_bytes());
    out.extend_from_slice(&fold.missing().to_le_bytes());
    out.extend_from_slice(&(parts.len() as u64).to_le_bytes());
    out.extend_from_slice(&(following.len() as u64).to_le_bytes());
    out.extend_from_slice(name);
    parts.iter().for_each(|part| out.extend_from_slice(part.hash().as_bytes()));
    out.extend_from_slice(&state);
    out.extend_from_slice(following);
    let checksum = blake3::hash(&out);
    out.extend_from_slice(checksum.as_bytes());
    Ok(out)
}

/// The fold in `bytes`, if they can be believed for this journal up to `newest`. Its parts must be in them.
pub fn decode<P: Projection>(bytes: &[u8], journal: [u8; 16], newest: Seq) -> Result<Fold<P>, Refused> {
    decode_apart(bytes, journal, newest, &mut |_| None)
}

/// As [`decode`]; parts that are not in the bytes are what `load` gives for their hash.
pub fn decode_apart<P: Projection>(
    bytes: &[u8],
    journal: [u8; 16],
    newest: Seq,
    load: &mut dyn FnMut(&StateHash) -> Option<Part>,
) -> Result<Fold<P>, Refused> {
    let head = Head::read(bytes)?;
    head.check::<P>(journal, newest)?;
    if head.schema != P::SCHEMA {
        return Err(Refused::OtherSchema);
    }
    head.fold(load)
}

/// As [`decode`], of primary bytes: a state of an older schema is carried over where the projection knows how.
pub(super) fn decode_primary<P: Projection>(
    bytes: &[u8],
    journal: [u8; 16],
    newest: Seq,
) -> Result<Fold<P>, Refused> {
    let head = Head::read(bytes)?;
    head.check::<P>(journal, newest)?;
    if head.schema == P::SCHEMA {
        return head.fold(&mut |_| None);
    }
    let state = P::migrate(head.schema, head.state).ok_or(Refused::OtherSchema)?;
    Ok(Fold::restore(state, head.seq, head.missing))
}

/// The parts that a snapshot claims to need, by its first bytes. Good for keeping their files, and for nothing else.
fn claimed_parts(bytes: &[u8]) -> Vec<StateHash> {
    let hashes = || bytes.get(HEADER_BYTES.checked_add(number_at(bytes, NAME_LENGTH_AT)?)?..);
    let is_ours = bytes.starts_with(&MAGIC) && bytes.get(8..12) == Some(&LAYOUT.to_le_bytes());
    let count = number_at(bytes, PARTS_AT).unwrap_or(0);
    let (hashes, _) = hashes().filter(|_| is_ours).unwrap_or_default().as_chunks::<HASH_BYTES>();
    hashes.iter().take(count).map(|hash| StateHash::from_bytes(*hash)).collect()
}

/// How far the names of its parts reach, by the first bytes of a snapshot; all that can be where they do not say.
fn claimed_head_bytes(header: &[u8]) -> u64 {
    let reach = || {
        let names = number_at(header, PARTS_AT)?.checked_mul(HASH_BYTES)?;
        HEADER_BYTES.checked_add(number_at(header, NAME_LENGTH_AT)?)?.checked_add(names)
    };
    reach().and_then(|reach| u64::try_from(reach).ok()).unwrap_or(u64::MAX)
}

fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u64::from_le_bytes(*bytes)).ok()
}

/// What the bytes of a snapshot say of themselves, once their checksum has been found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Which projection.
    pub projection: String,
    /// The version of its state.
    pub schema: u32,
    /// Of which journal.
    pub journal: [u8; 16],
    /// The last event folded.
    pub seq: Seq,
    /// The hash of the state.
    pub hash: StateHash,
}

/// Reads what a snapshot says of itself; its state stays bytes.
///
/// # Errors
/// [`Refused::Damaged`], and [`Refused::OtherSchema`] for a layout that this version does not know.
pub fn label(bytes: &[u8]) -> Result<Label, Refused> {
    let head = Head::read(bytes)?;
    if !head.is_of_known_layout() {
        return Err(Refused::OtherSchema);
    }
    let projection = String::from_utf8(head.name.to_vec()).map_err(|_| Refused::Damaged)?;
    Ok(Label { projection, schema: head.schema, journal: head.journal, seq: head.seq, hash: head.hash })
}

/// The same snapshot, of another journal: of a copy with the same events under the same seqs.
///
/// # Errors
/// As [`label`].
pub(super) fn relabelled(bytes: &[u8], journal: [u8; 16]) -> Result<Vec<u8>, Refused> {
    label(bytes)?;
    let mut out = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
    out[JOURNAL_AT].copy_from_slice(&journal);
    let checksum = blake3::hash(&out);
    out.extend_from_slice(checksum.as_bytes());
    Ok(out)
}

/// The seq that a file's first bytes claim. Good for choosing which file to read, and for nothing else.
fn claimed_seq(header: &[u8]) -> Option<Seq> {
    let seq = header.get(SEQ_AT)?.try_into().ok()?;
    header.starts_with(&MAGIC).then_some(Seq::new(u64::from_le_bytes(seq)))
}

/// A snapshot whose checksum holds, its state still bytes.
struct Head<'a> {
    layout: u32,
    schema: u32,
    journal: [u8; 16],
    seq: Seq,
    hash: StateHash,
    missing: u64,
    name: &'a [u8],
    state: &'a [u8],
    /// The parts that follow.
    parts: &'a [u8],
}

impl<'a> Head<'a> {
    fn is_of_known_layout(&self) -> bool {
        (LAYOUT_OLDEST..=LAYOUT).contains(&self.layout)
    }

    fn check<P: Projection>(&self, journal: [u8; 16], newest: Seq) -> Result<(), Refused> {
        if self.name != P::NAME.as_bytes() {
            return Err(Refused::OtherProjection);
        }
        if !self.is_of_known_layout() {
            return Err(Refused::OtherSchema);
        }
        if self.journal != journal {
            return Err(Refused::OtherJournal);
        }
        if self.seq > newest { Err(Refused::Ahead) } else { Ok(()) }
    }

    fn fold<P: Projection>(
        &self,
        load: &mut dyn FnMut(&StateHash) -> Option<Part>,
    ) -> Result<Fold<P>, Refused> {
        let mut state = postcard::from_bytes(self.state).map_err(|_| Refused::Damaged)?;
        let mut following = self.parts;
        let mut fill = |part: &mut Part| {
            if following.is_empty() {
                return load(part.hash()).is_some_and(|loaded| part.become_it(loaded));
            }
            let length = take(&mut following).map(u64::from_le_bytes);
            let bytes = length.and_then(|length| take_slice(&mut following, length));
            bytes.is_ok_and(|bytes| part.fill(bytes.to_vec()))
        };
        if !P::fill_parts(&mut state, &mut fill) {
            return Err(Refused::Damaged);
        }
        let fold = Fold::restore(state, self.seq, self.missing);
        // A state type that changed without a new schema can decode to something else: it does not hash the same.
        if fold.hash().ok() == Some(self.hash) { Ok(fold) } else { Err(Refused::OtherSchema) }
    }

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
        let missing = if layout == LAYOUT_OLDEST { 0 } else { u64::from_le_bytes(take(&mut rest)?) };
        let (parts_count, parts_bytes) = if layout < LAYOUT_PARTS {
            (0, 0)
        } else {
            (u64::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?))
        };
        let name = take_slice(&mut rest, name_bytes)?;
        let hashes_bytes = parts_count.checked_mul(HASH_BYTES as u64).ok_or(Refused::Damaged)?;
        take_slice(&mut rest, hashes_bytes)?;
        let state = take_slice(&mut rest, state_bytes)?;
        let parts = take_slice(&mut rest, parts_bytes)?;
        if magic != MAGIC || !rest.is_empty() {
            return Err(Refused::Damaged);
        }
        Ok(Head { layout, schema, journal, seq, hash, missing, name, state, parts })
    }
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Refused> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(Refused::Damaged)?;
    *rest = left;
    Ok(*taken)
}

pub(super) fn take_slice<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], Refused> {
    let bytes = usize::try_from(bytes).map_err(|_| Refused::Damaged)?;
    let (taken, left) = rest.split_at_checked(bytes).ok_or(Refused::Damaged)?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
mod tests;
