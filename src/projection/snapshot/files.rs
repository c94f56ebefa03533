//! Where snapshots lie: two files that take turns, and a sparse ladder of older ones.
//!
//! `NAME.0.snap` and `NAME.1.snap` hold the two latest. A save replaces the older of the two in one step, so that a
//! crash at any moment leaves the other whole. That is enough to start quickly.
//!
//! To show the state at any seq quickly, older ones are kept too: rungs, `NAME.<20 digits of the seq>.snap`, one in every
//! stretch of [`stride`] seqs. The stretch doubles as the journal grows, so that there are never more than [`RUNGS_MAX`]
//! rungs of a projection, nor more than [`RUNG_BYTES_MAX`] of them. A rung is a second name of a file that was saved
//! anyway: it costs no second write.
//!
//! Parts that snapshots share ([`Part`]) lie beside them, `NAME.<64 digits of the hash>.part`, each written and flushed before the first
//! snapshot that names it. One that no snapshot names any more is removed when rungs are; not while another is being saved, whose parts
//! nothing names yet.
//!
//! A file is chosen by the seq that it claims and then believed by its checksums alone: a wrong claim costs a read. All
//! of them are derived; the state without them is the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::super::durable::{self, Step};
use super::{
    HEADER_BYTES, Head, Part, Refusal, Refused, claimed_head_bytes, claimed_parts, claimed_seq, decode_apart,
};
use crate::event::Seq;
use crate::projection::runner::SNAPSHOT_EVERY;
use crate::projection::{Fold, Projection, StateHash};

const SLOTS: [u8; 2] = [0, 1];
/// Most rungs of a projection: in ten million events they lie as close as snapshots are taken.
pub const RUNGS_MAX: u64 = 512;
/// Most bytes in the rungs of a projection and the parts of its snapshots; the latest two snapshots are beside this.
pub const RUNG_BYTES_MAX: u64 = 384 << 20;
const SEQ_DIGITS: usize = 20;
/// What the name of a part ends in.
const PART: &str = "part";
/// More than the names of a snapshot's parts take.
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// So many parts are read by two threads: fewer are there before the second has begun.
const WORTH_A_THREAD: usize = 16;

/// How many seqs lie between two rungs of a journal of this length.
pub const fn stride(tail: Seq) -> u64 {
    let mut stride = SNAPSHOT_EVERY;
    while tail.get() / stride >= RUNGS_MAX {
        stride *= 2;
    }
    stride
}

/// The snapshots of a journal, and beside them its bases. Clones know of each other: while one saves, none removes.
#[derive(Clone, Debug)]
pub struct Files {
    dir: PathBuf,
    base: Option<PathBuf>,
    journal: [u8; 16],
    changing: Arc<Mutex<()>>,
}

/// Which states are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The least seq: what follows an earlier state is not retained whole.
    pub from: Seq,
    /// The greatest seq: a later state knows too much.
    pub to: Seq,
    /// How far the journal reaches: what claims to know more is not of it.
    pub durable: Seq,
}

impl Span {
    /// Of a journal that is whole and ends at `seq`.
    pub fn up_to(seq: Seq) -> Span {
        Span { from: Seq::ZERO, to: seq, durable: seq }
    }
}

/// The best state found, and what was refused on the way.
pub struct Found<P: Projection> {
    /// The newest believable fold; none means: fold from the first event.
    pub fold: Option<Fold<P>>,
    /// The files that were there and were not believed.
    pub refused: Vec<Refusal>,
}

impl<P: Projection> Default for Found<P> {
    fn default() -> Self {
        Found { fold: None, refused: Vec::new() }
    }
}

impl<P: Projection> Found<P> {
    pub(in crate::projection) fn refuse(&mut self, path: &Path, why: Refused) {
        self.refused.push(Refusal { projection: P::NAME, path: path.to_owned(), why });
    }
}

fn part_path(dir: &Path, projection: &str, hash: &StateHash) -> PathBuf {
    dir.join(format!("{projection}.{hash}.{PART}"))
}

/// The parts in a directory, each looked at once: for who looks at many snapshots that share them, whatever their projection. Changes
/// nothing.
#[derive(Debug, Default)]
pub struct SharedParts(HashMap<PathBuf, bool>);

impl SharedParts {
    /// Whether every part that this snapshot of `projection` in `dir` names lies beside it whole.
    pub fn has_all(&mut self, dir: &Path, projection: &str, snapshot: &[u8]) -> bool {
        claimed_parts(snapshot).iter().all(|hash| {
            let path = part_path(dir, projection, hash);
            let is_whole = |path: &Path| {
                let bytes = durable::read(path).ok().flatten();
                bytes.is_some_and(|bytes| StateHash::of_bytes(&bytes) == *hash)
            };
            match self.0.get(&path) {
                Some(known) => *known,
                None => {
                    let found = is_whole(&path);
                    self.0.insert(path, found);
                    found
                }
            }
        })
    }
}

impl Files {
    /// The snapshots in `dir` of the journal of this id.
    pub fn new(dir: impl Into<PathBuf>, journal: [u8; 16]) -> Files {
        Files { dir: dir.into(), base: None, journal, changing: Arc::default() }
    }

    /// With the bases in `dir`, which states begin from once retention has dropped events.
    #[must_use]
    pub fn with_base(mut self, dir: impl Into<PathBuf>) -> Files {
        self.base = Some(dir.into());
        self
    }

    /// The journal that the snapshots are of.
    pub fn journal(&self) -> [u8; 16] {
        self.journal
    }

    /// Where the bases lie.
    pub fn base(&self) -> Option<&Path> {
        self.base.as_deref()
    }

    /// The path of one of the two files that take turns.
    pub fn path<P: Projection>(&self, slot: u8) -> PathBuf {
        self.dir.join(format!("{}.{slot}.snap", P::NAME))
    }

    fn rung<P: Projection>(&self, seq: Seq) -> PathBuf {
        self.dir.join(format!("{}.{:0SEQ_DIGITS$}.snap", P::NAME, seq.get()))
    }

    /// The newest fold within `span` that can be believed.
    pub fn newest<P: Projection>(&self, span: Span) -> Found<P> {
        let mut found = Found::default();
        // A directory that cannot be listed has no rungs: they are shortcuts.
        let mut candidates: Vec<(Seq, PathBuf)> = self.rungs::<P>().unwrap_or_default().into_iter().collect();
        for slot in SLOTS {
            let path = self.path::<P>(slot);
            match durable::read_beginning(&path, HEADER_BYTES as u64) {
                Ok(None) => {}
                Ok(Some(header)) => match claimed_seq(&header) {
                    Some(seq) => candidates.push((seq, path)),
                    None => found.refuse(&path, Refused::Damaged),
                },
                Err(_) => found.refuse(&path, Refused::Damaged),
            }
        }
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        let mut absent = BTreeSet::new();
        for (claimed, path) in candidates {
            let of_use = span.from <= claimed && claimed <= span.to;
            if claimed > span.durable || (of_use && found.fold.is_none()) {
                match self.read::<P>(&path, span.durable, &mut absent) {
                    Ok(Some(fold)) if fold.seq() <= span.to => found.fold = Some(fold),
                    Ok(_) => {}
                    Err(why) => found.refuse(&path, why),
                }
            }
        }
        found
    }

    /// The fold in a file. Parts that were not to be had are remembered in `absent`: what names one of them need not be tried.
    fn read<P: Projection>(
        &self,
        path: &Path,
        durable: Seq,
        absent: &mut BTreeSet<[u8; 32]>,
    ) -> Result<Option<Fold<P>>, Refused> {
        let Some(bytes) = durable::read(path).map_err(|_| Refused::Damaged)? else { return Ok(None) };
        let named: BTreeSet<[u8; 32]> = claimed_parts(&bytes).iter().map(|hash| *hash.as_bytes()).collect();
        if !named.is_disjoint(absent) {
            return Err(Refused::Damaged);
        }
        // Not before the first is asked for: by then the bytes that name them have been found whole.
        let mut loaded: Option<HashMap<[u8; 32], Part>> = None;
        let mut load = |hash: &StateHash| {
            let all = loaded.get_or_insert_with(|| self.all_parts::<P>(&named, absent));
            all.get(hash.as_bytes()).cloned()
        };
        decode_apart::<P>(&bytes, self.journal, durable, &mut load).map(Some)
    }

    /// The parts, up to the first that cannot be had, which goes into `absent`. To read and to hash many is most of the work that a state
    /// takes, so two threads share it.
    fn all_parts<P: Projection>(
        &self,
        named: &BTreeSet<[u8; 32]>,
        absent: &mut BTreeSet<[u8; 32]>,
    ) -> HashMap<[u8; 32], Part> {
        let lacks_one = AtomicBool::new(false);
        let read = |hashes: &[[u8; 32]]| {
            let mut parts = Vec::with_capacity(hashes.len());
            for hash in hashes {
                if lacks_one.load(Ordering::Relaxed) {
                    break;
                }
                match self.part::<P>(&StateHash::from_bytes(*hash)) {
                    Some(part) => parts.push((*hash, part)),
                    None => {
                        lacks_one.store(true, Ordering::Relaxed);
                        return (parts, Some(*hash));
                    }
                }
            }
            (parts, None)
        };
        let hashes: Vec<[u8; 32]> = named.iter().copied().collect();
        let has_cores = thread::available_parallelism().map_or(1, NonZero::get) > 1;
        let there = if has_cores && hashes.len() >= WORTH_A_THREAD { hashes.len() / 2 } else { 0 };
        let (there, here) = hashes.split_at(there);
        let halves = thread::scope(|scope| {
            let builder = || thread::Builder::new().name("parts".to_owned());
            let reading = (!there.is_empty()).then(|| builder().spawn_scoped(scope, || read(there)));
            let here = read(here);
            let other = reading.and_then(Result::ok).and_then(|reading| reading.join().ok());
            // Where no thread was to be had, this one does its work.
            [here, other.unwrap_or_else(|| read(there))]
        });
        absent.extend(halves.iter().filter_map(|(_, absent)| *absent));
        halves.into_iter().flat_map(|(parts, _)| parts).collect()
    }

    fn part_path<P: Projection>(&self, hash: &StateHash) -> PathBuf {
        part_path(&self.dir, P::NAME, hash)
    }

    /// A part. A file that holds others is removed, so that the next save writes it again: whoever cannot is told of
    /// a damaged snapshot all the same.
    fn part<P: Projection>(&self, hash: &StateHash) -> Option<Part> {
        let path = self.part_path::<P>(hash);
        let part = Part::of(durable::read(&path).ok().flatten()?);
        if part.hash() == hash {
            return Some(part);
        }
        let _ = durable::remove_if_there(&path);
        None
    }

    /// Held while files come or go.
    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves the parts that are not there yet: before the bytes that name them.
    pub(in crate::projection) fn save_parts<P: Projection>(&self, parts: &[Part]) -> io::Result<()> {
        for part in parts {
            let path = self.part_path::<P>(part.hash());
            let there = fs::metadata(&path).is_ok_and(|file| file.len() == part.bytes().len() as u64);
            if !there {
                durable::replace_in_steps(&path, None, part.bytes(), &mut |_| Ok(()))?;
            }
        }
        Ok(())
    }

    /// Removes the parts that no snapshot names; none, where that cannot be told.
    fn forget_parts<P: Projection>(&self) -> io::Result<()> {
        let snapshots = self.rungs::<P>()?.into_values();
        let mut named = BTreeSet::new();
        for path in snapshots.chain(SLOTS.map(|slot| self.path::<P>(slot))) {
            match durable::read_head(&path, HEADER_BYTES as u64, HEAD_BYTES_MAX, claimed_head_bytes) {
                Ok(bytes) => {
                    let hashes = bytes.map(|bytes| claimed_parts(&bytes)).unwrap_or_default();
                    named.extend(hashes.iter().map(|hash| self.part_path::<P>(hash)));
                }
                // What is no plain file is no snapshot.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
        let unnamed = self.parts::<P>()?.into_iter().filter(|path| !named.contains(path));
        unnamed.into_iter().try_for_each(|path| durable::remove_if_there(&path))
    }

    fn parts<P: Projection>(&self) -> io::Result<Vec<PathBuf>> {
        let is_part = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let rest = name.and_then(|name| name.strip_prefix(P::NAME)?.strip_prefix('.'));
            rest.and_then(|rest| rest.strip_suffix(PART)).is_some()
        };
        Ok(self.listed()?.into_iter().filter(is_part).collect())
    }

    /// What the directory holds. One that is not there holds nothing.
    fn listed(&self) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|entry| Ok(entry?.path())).collect(),
        }
    }

    /// Saves a snapshot, the parts that its bytes name first.
    ///
    /// # Errors
    /// When it cannot be written. What was saved before is untouched.
    pub fn save_with_parts<P: Projection>(&self, bytes: &[u8], parts: &[Part]) -> io::Result<()> {
        let _changing = self.changing();
        self.save_parts::<P>(parts)?;
        self.save_in_steps::<P>(bytes, &mut |_| Ok(()))
    }

    /// Saves the bytes of a snapshot over the older of the two files, and as a rung if its stretch has none yet. Makes the
    /// directory if it is not there.
    pub fn save<P: Projection>(&self, bytes: &[u8]) -> io::Result<()> {
        self.save_with_parts::<P>(bytes, &[])
    }

    /// [`Files::save`], told after each step and ended where `after` fails: for tests of what a crash leaves.
    pub(in crate::projection) fn save_in_steps<P: Projection>(
        &self,
        bytes: &[u8],
        after: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> io::Result<()> {
        let target = self.path::<P>(self.older_slot::<P>());
        let seq = claimed_seq(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let stride = stride(seq);
        let due = !self.rungs::<P>()?.keys().any(|rung| rung.get() / stride == seq.get() / stride);
        let rung = due.then(|| self.rung::<P>(seq));
        durable::replace_in_steps(&target, rung.as_deref(), bytes, after)?;
        self.thin::<P>(stride)
    }

    /// Removes rungs until they are as sparse as `stride` says and within their bytes. The first of each stretch stays.
    fn thin<P: Projection>(&self, mut stride: u64) -> io::Result<()> {
        let mut rungs = self.rungs::<P>()?;
        let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        loop {
            let (mut stretch, before) = (None, rungs.len());
            for (seq, rung) in std::mem::take(&mut rungs) {
                if stretch == Some(seq.get() / stride) {
                    durable::remove_if_there(&rung)?;
                } else {
                    stretch = Some(seq.get() / stride);
                    rungs.insert(seq, rung);
                }
            }
            if rungs.len() < before {
                self.forget_parts::<P>()?;
            }
            let bytes: u64 = rungs.values().chain(&self.parts::<P>()?).map(|path| length(path)).sum();
            if bytes <= RUNG_BYTES_MAX || rungs.len() <= 1 {
                return Ok(());
            }
            stride *= 2;
        }
    }

    /// Removes the rungs before `first`: what follows them is not retained.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn forget_before<P: Projection>(&self, first: Seq) -> io::Result<()> {
        let _changing = self.changing();
        self.remove_before::<P>(first)
    }

    fn remove_before<P: Projection>(&self, first: Seq) -> io::Result<()> {
        let mut removed = false;
        for (seq, rung) in self.rungs::<P>()? {
            if seq.next() < first {
                durable::remove_if_there(&rung)?;
                removed = true;
            }
        }
        if removed || first == Seq::MAX { self.forget_parts::<P>() } else { Ok(()) }
    }

    /// Removes all of a projection.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn forget<P: Projection>(&self) -> io::Result<()> {
        let _changing = self.changing();
        SLOTS.into_iter().try_for_each(|slot| durable::remove_if_there(&self.path::<P>(slot)))?;
        self.remove_before::<P>(Seq::MAX)
    }

    /// The rungs by the seq in their names.
    fn rungs<P: Projection>(&self) -> io::Result<BTreeMap<Seq, PathBuf>> {
        let rung = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let digits = name.strip_prefix(P::NAME)?.strip_prefix('.')?.strip_suffix(".snap")?;
            let is_seq = digits.len() == SEQ_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
            let seq = is_seq.then(|| digits.parse().ok()).flatten()?;
            Some((Seq::new(seq), path))
        };
        Ok(self.listed()?.into_iter().filter_map(rung).collect())
    }

    /// The file to write over: one that cannot be believed, else the one that is further behind.
    fn older_slot<P: Projection>(&self) -> u8 {
        let seq = |slot| {
            let bytes = durable::read(&self.path::<P>(slot)).ok().flatten()?;
            let head = Head::read(&bytes).ok()?;
            let known = head.is_of_known_layout() && head.schema == P::SCHEMA;
            let ours = head.name == P::NAME.as_bytes() && known;
            (ours && head.journal == self.journal).then_some(head.seq)
        };
        u8::from(seq(0) > seq(1))
    }
}
