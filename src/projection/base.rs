//! The states that stand for events which retention has dropped.
//!
//! A snapshot can be deleted; a base cannot. Once segments are gone, the state at seq N is the fold of what is retained over
//! the base, so the base is written, flushed and in its place **before** the cut, and holds every registered projection.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "mnembase"
//!      8      4  u32 LE  version of this layout
//!     12      4  u32 LE  number of states, n
//!     16     16  journal id
//!     32      8  u64 LE  seq of the last event folded: the cut
//!     40    8*n  u64 LE each: length of a state
//! 40+8*n     32  BLAKE3 of everything above
//!                n states, each the bytes of a snapshot, with its own checksum
//! ```
//!
//! One file a cut, `base/<20 digits of the seq>.base`, replaced in one step. A crash between the base and the cut leaves a
//! base ahead of the cut, and the one before it, which serves the seqs between; the next write removes those that are of no
//! use any more.
//!
//! A state in a base outlives the version that wrote it. A projection whose schema has changed carries it over
//! ([`Projection::migrate`]) or begins after the cut, and that is told. One state damaged costs that one projection.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::ahead::each_batch;
use super::any::AnyFold;
use super::durable::{self, Step};
use super::runner::{Progress, Source, retained, seq_at};
use super::snapshot::{self, Files, Found, Refused, Span};
use super::{Definition, Fold, Projection, registry};
use crate::error::{Error, Result};
use crate::event::{Seq, Timestamp};

const MAGIC: [u8; 8] = *b"mnembase";
const LAYOUT: u32 = 1;
const HEADER_BYTES: usize = 40;
const LENGTH_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 32;
const SEQ_DIGITS: usize = 20;
const EXTENSION: &str = "base";
/// More states than this no version has.
const STATES_MAX: u32 = 1_024;

/// A base that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The last event in it.
    pub seq: Seq,
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// What folding it met.
    pub progress: Progress,
}

/// Writes the base of everything up to `seq`, which must be durable, into `files`' base directory. On return it is on
/// disk: what it stands for may be dropped. Any failure means: do not cut.
///
/// # Errors
/// [`Error::Invalid`] when `seq` is not durable or no base directory was named, [`Error::BeforeBase`] when it was dropped
/// already, [`Error::Integrity`] when a base that is needed is damaged, [`Error::Io`].
pub fn write(source: &dyn Source, files: &Files, seq: Seq) -> Result<Written> {
    write_in_steps(source, files, seq, &mut |_| Ok(()))
}

/// The seq whose state was the one at `time`: the last that was recorded by then.
///
/// # Errors
/// [`Error::BeforeBaseAt`] where the first one that is kept was recorded later: a base is of a seq, and when that was recorded is dropped
/// with it. When the journal cannot be read.
pub fn seq_known_at(source: &(impl Source + ?Sized), time: Timestamp) -> Result<Seq> {
    let (seq, first) = (seq_at(source, time)?, source.first());
    if first > Seq::FIRST && seq < first {
        return Err(Error::BeforeBaseAt { asked: time, first: first.prev().get() });
    }
    Ok(seq)
}

/// [`write()`], told after each step and ended where `after` fails.
fn write_in_steps(
    source: &dyn Source,
    files: &Files,
    seq: Seq,
    after: &mut dyn FnMut(Step) -> std::io::Result<()>,
) -> Result<Written> {
    let refuse = |message: String| Error::Invalid { field: "seq".to_owned(), message };
    let dir = files.base().ok_or_else(|| refuse("no directory for bases was named".to_owned()))?;
    if seq > source.durable() {
        return Err(refuse(format!("{seq} is not durable yet")));
    }
    let (folds, progress) = fold_all(source, files, seq)?;
    let bytes = encode(&folds, files.journal(), seq)?;
    let path = path_of(dir, seq);
    forget_unfinished(dir)?;
    durable::replace_in_steps(&path, None, &bytes, after).map_err(Error::io("write", &path))?;
    forget_before(dir, source.first(), seq, after)?;
    for definition in registry::TABLE {
        definition.forget_before(files, source.first()).map_err(Error::io("tidy", dir))?;
    }
    Ok(Written { seq, path, bytes: bytes.len() as u64, progress })
}

/// The states of all projections up to `seq`, in one pass over the journal.
fn fold_all(source: &dyn Source, files: &Files, seq: Seq) -> Result<(Vec<Box<dyn AnyFold>>, Progress)> {
    let mut progress = Progress::default();
    let mut folds = Vec::new();
    for definition in registry::TABLE {
        folds.push(start(definition, source, files, seq, &mut progress)?);
    }
    if let Some(refusal) =
        progress.refused.iter().find(|refusal| is_base(&refusal.path) && is_fatal(refusal.why))
    {
        return Err(Error::Integrity {
            message: format!(
                "{}: {} ({}); nothing is dropped while the states before it are not to be had",
                refusal.path.display(),
                refusal.why,
                refusal.projection
            ),
        });
    }
    let from = folds.iter().map(|fold| fold.seq()).min().unwrap_or(Seq::ZERO).next();
    let mut replay = source.replay(from).through(seq);
    each_batch(&mut replay, seq.get().saturating_sub(from.get()), |batch| {
        progress.count_all(batch);
        for fold in &mut folds {
            batch.iter().for_each(|item| fold.take(item));
        }
    })?;
    for fold in &mut folds {
        fold.skip(seq);
    }
    Ok((folds, progress))
}

fn start(
    definition: &Definition,
    source: &dyn Source,
    files: &Files,
    seq: Seq,
    progress: &mut Progress,
) -> Result<Box<dyn AnyFold>> {
    let span = retained(source, seq)?;
    let found = definition.newest(files, span);
    progress.refused.extend(found.refused);
    if let Some(fold) = found.fold {
        return Ok(fold);
    }
    if let Some(dir) = files.base() {
        for (_, path) in within(dir, span)? {
            let bytes = durable::read(&path).map_err(Error::io("read", &path))?.unwrap_or_default();
            match definition.decode_base(&bytes, files.journal()) {
                Ok(fold) => return Ok(fold),
                Err(why) => {
                    progress.refused.push(snapshot::Refusal { projection: definition.name, path, why });
                }
            }
        }
    }
    Ok(definition.empty())
}

/// A projection that is younger than the base begins after it; anything else wrong with a base is a loss.
fn is_fatal(why: Refused) -> bool {
    !matches!(why, Refused::Absent | Refused::OtherSchema)
}

/// Whether a path is that of a base.
pub fn is_base(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// The newest state of `P` within `span` that a base holds, added to what was `found`.
pub(super) fn newest<P: Projection>(files: &Files, span: Span, found: &mut Found<P>) -> Result<()> {
    let Some(dir) = files.base() else { return Ok(()) };
    for (_, path) in within(dir, span)? {
        let bytes = durable::read(&path).ok().flatten();
        let decoded = bytes.ok_or(Refused::Damaged).and_then(|bytes| decode::<P>(&bytes, files.journal()));
        match decoded {
            Ok(fold) if fold.seq() <= span.to => {
                found.fold = Some(fold);
                return Ok(());
            }
            Ok(_) => found.refuse(&path, Refused::Damaged),
            Err(why) => found.refuse(&path, why),
        }
    }
    Ok(())
}

/// The bases of use within `span`, the newest first.
fn within(dir: &Path, span: Span) -> Result<Vec<(Seq, PathBuf)>> {
    let of_use = bases(dir)?.into_iter().filter(|(seq, _)| span.from <= *seq && *seq <= span.to);
    Ok(of_use.rev().collect())
}

/// The bases in `dir` by their seqs. A directory that is not there has none.
///
/// # Errors
/// [`Error::Io`] when it cannot be listed.
pub fn bases(dir: &Path) -> Result<BTreeMap<Seq, PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.map_err(Error::io("list", dir))?,
    };
    let mut bases = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", dir))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_seq = stem.len() == SEQ_DIGITS && stem.bytes().all(|byte| byte.is_ascii_digit());
        if let (true, true, Ok(seq)) = (is_base(&path), is_seq, stem.parse()) {
            bases.insert(Seq::new(seq), path);
        }
    }
    Ok(bases)
}

/// What of the bases in `dir` cannot be believed, as sentences. They are read and nothing is folded.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be listed.
pub fn damaged(dir: &Path, journal: [u8; 16]) -> Result<Vec<String>> {
    let mut damaged = Vec::new();
    for (_, path) in bases(dir)? {
        let name = format!("base/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let bytes = durable::read(&path).ok().flatten().unwrap_or_default();
        match states(&bytes, journal) {
            Err(Refused::OtherSchema) => {}
            Err(Refused::OtherJournal) => damaged.push(format!("{name} is of another journal")),
            Err(_) => damaged.push(format!("{name} is damaged: none of its states can be read")),
            Ok(found) => {
                let all = found.states.len();
                let is_lost = |state: &&[u8]| match snapshot::label(state) {
                    Ok(label) => label.journal != journal,
                    Err(why) => is_fatal(why),
                };
                let lost = found.all().filter(is_lost).count();
                if lost > 0 {
                    damaged.push(format!("{name} is damaged: {lost} of its {all} states cannot be read"));
                }
            }
        }
    }
    Ok(damaged)
}

/// Where the base of a cut at `seq` lies.
pub fn path_of(dir: &Path, seq: Seq) -> PathBuf {
    dir.join(format!("{:0SEQ_DIGITS$}.{EXTENSION}", seq.get()))
}

/// Removes what a crash left of a base that was being written: the next one has another name. One process writes bases at a time.
fn forget_unfinished(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("list", dir))?,
    };
    for entry in entries {
        let path = entry.map_err(Error::io("list", dir))?.path();
        if path.extension().is_some_and(|extension| extension == durable::UNFINISHED) {
            durable::remove_if_there(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Removes the bases that end before the first retained event needs them; the one just written always stays.
fn forget_before(
    dir: &Path,
    first: Seq,
    written: Seq,
    after: &mut dyn FnMut(Step) -> std::io::Result<()>,
) -> Result<()> {
    for (seq, path) in bases(dir)? {
        if seq.next() < first && seq != written {
            durable::remove_if_there(&path)
                .and_then(|()| after(Step::Tidied))
                .map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

fn encode(folds: &[Box<dyn AnyFold>], journal: [u8; 16], seq: Seq) -> Result<Vec<u8>> {
    let states = folds.iter().map(|fold| fold.encode(journal)).collect::<Result<Vec<_>>>()?;
    let count = u32::try_from(states.len()).map_err(|_| Error::failed("there are too many projections"))?;
    Ok(assembled(&states, count, journal, seq))
}

fn assembled(states: &[Vec<u8>], count: u32, journal: [u8; 16], seq: Seq) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&LAYOUT.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&journal);
    out.extend_from_slice(&seq.get().to_le_bytes());
    for state in states {
        out.extend_from_slice(&(state.len() as u64).to_le_bytes());
    }
    let checksum = blake3::hash(&out);
    out.extend_from_slice(checksum.as_bytes());
    for state in states {
        out.extend_from_slice(state);
    }
    out
}

/// A base for a copy of the journal under another id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relabelled {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How many states it holds.
    pub states: usize,
    /// How many of them cannot be believed. They stay as they are, so nobody believes them in the copy either.
    pub refused: usize,
}

/// The base in `bytes`, which is of the journal `from`, as one of the journal `to` that holds the same events under the same seqs.
///
/// # Errors
/// Why it is not believed at all.
pub fn relabelled(bytes: &[u8], from: [u8; 16], to: [u8; 16]) -> Result<Relabelled, Refused> {
    let found = states(bytes, from)?;
    let mut refused = 0;
    let mut states = Vec::new();
    for state in found.all() {
        let is_ours = snapshot::label(state).is_ok_and(|label| label.journal == from);
        let moved = if is_ours { snapshot::relabelled(state, to).ok() } else { None };
        refused += usize::from(moved.is_none());
        states.push(moved.unwrap_or_else(|| state.to_vec()));
    }
    let count = u32::try_from(states.len()).map_err(|_| Refused::Damaged)?;
    Ok(Relabelled { bytes: assembled(&states, count, to, found.seq), states: states.len(), refused })
}

/// The state of `P` in the bytes of a base.
///
/// # Errors
/// Why it is not believed.
pub fn decode<P: Projection>(bytes: &[u8], journal: [u8; 16]) -> Result<Fold<P>, Refused> {
    let states = states(bytes, journal)?;
    let state = states.of(P::NAME).ok_or_else(|| states.why_not())?;
    snapshot::decode_primary::<P>(state, journal, states.seq)
}

/// The states in a base whose header can be believed.
pub struct States<'a> {
    /// The cut.
    pub seq: Seq,
    states: Vec<&'a [u8]>,
}

impl<'a> States<'a> {
    /// The bytes of all of them.
    pub fn all(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.states.iter().copied()
    }

    /// The bytes of the state of a projection, if one that is whole is of it.
    pub fn of(&self, projection: &str) -> Option<&'a [u8]> {
        let is_of = |state: &&[u8]| snapshot::label(state).is_ok_and(|label| label.projection == projection);
        self.states.iter().copied().find(is_of)
    }

    /// Where a damaged state may have been the one asked for, nobody can say that it was not there.
    fn why_not(&self) -> Refused {
        let damaged = self.states.iter().any(|state| snapshot::label(state) == Err(Refused::Damaged));
        if damaged { Refused::Damaged } else { Refused::Absent }
    }
}

/// Reads the header of a base and finds its states.
///
/// # Errors
/// Why it is not believed.
pub fn states(bytes: &[u8], journal: [u8; 16]) -> Result<States<'_>, Refused> {
    let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Refused::Damaged)?;
    let mut rest = header.as_slice();
    let magic: [u8; 8] = snapshot::take(&mut rest)?;
    let layout = u32::from_le_bytes(snapshot::take(&mut rest)?);
    let count = u32::from_le_bytes(snapshot::take(&mut rest)?);
    let of_journal: [u8; 16] = snapshot::take(&mut rest)?;
    let seq = Seq::new(u64::from_le_bytes(snapshot::take(&mut rest)?));
    if magic != MAGIC || count > STATES_MAX {
        return Err(Refused::Damaged);
    }
    let lengths_bytes = LENGTH_BYTES * usize::try_from(count).map_err(|_| Refused::Damaged)?;
    let (head, mut body) = bytes.split_at_checked(HEADER_BYTES + lengths_bytes).ok_or(Refused::Damaged)?;
    let checksum: [u8; CHECKSUM_BYTES] = snapshot::take(&mut body)?;
    if blake3::hash(head) != checksum {
        return Err(Refused::Damaged);
    }
    if layout != LAYOUT {
        return Err(Refused::OtherSchema);
    }
    if of_journal != journal {
        return Err(Refused::OtherJournal);
    }
    let mut lengths = &head[HEADER_BYTES..];
    let mut states = Vec::new();
    for _ in 0..count {
        let length = u64::from_le_bytes(snapshot::take(&mut lengths)?);
        states.push(snapshot::take_slice(&mut body, length)?);
    }
    if body.is_empty() { Ok(States { seq, states }) } else { Err(Refused::Damaged) }
}

#[cfg(test)]
mod tests;
