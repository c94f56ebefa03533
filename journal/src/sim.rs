//! A disk in memory that behaves as badly as a real one may, by seed.
//!
//! Each file has two contents. The live one is what the program sees, as through a page cache. The durable one is what a
//! power cut leaves; between them stand the calls since the last flush. At a power cut each of them is kept, lost or
//! torn, sector by sector, in any combination: that is what "unflushed" means. Names are the same: a creation or a
//! rename is certain only after [`crate::Disk::sync_dir`]. A flush that fails is worse than none: some of the data reaches the
//! disk, the rest never will, and the live content goes on showing all of it.
//!
//! Everything that happens follows from the seed and the calls, so a failure can be run again.
//!
//! ```
//! use std::sync::Arc;
//! use mnemosyne_journal::{Journal, JournalId, Level, Micros, Options, sim::SimDisk};
//!
//! let disk = SimDisk::new(42);
//! let options = Options::new(JournalId::from_bytes([1; 16]), [2; 32]);
//! let (journal, _) = Journal::open(Arc::new(disk.clone()), options.clone(), Micros::new(0))?;
//! journal.submit(&[b"kept"], Micros::new(0), Level::Disk, None)?.wait()?;
//! disk.power_cut();
//! let (journal, _) = Journal::open(Arc::new(disk.restarted()), options, Micros::new(0))?;
//! assert_eq!(journal.durable().get(), 1);
//! # Ok::<(), mnemosyne_journal::Error>(())
//! ```

mod files;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: u64 = 512;

/// A deterministic source of coins (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// True `percent` times out of 100.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a call does; for choosing which ones fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`crate::DiskFile::write_at`].
    Write,
    /// [`crate::DiskFile::sync_data`].
    Sync,
    /// [`crate::DiskFile::set_len`].
    SetLen,
    /// [`crate::Disk::create`], [`crate::Disk::rename`] and [`crate::Disk::remove`].
    Names,
    /// [`crate::Disk::sync_dir`].
    SyncDir,
}

/// A simulated disk. Clones are handles of the same one.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct State {
    rng: Rng,
    inodes: Vec<Inode>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Name changes since the last flush of their directory.
    renamings: Vec<Renaming>,
    /// How many changing calls were made.
    calls: u64,
    cut_at: Option<u64>,
    is_cut: bool,
    faults: Vec<Fault>,
    capacity: Option<u64>,
    syncs_do_nothing: bool,
    writes_fall_short: bool,
    trace: Vec<String>,
}

#[derive(Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    unflushed: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone)]
enum Renaming {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

#[derive(Clone)]
struct Fault {
    call: Call,
    /// How many calls of this kind still succeed before.
    after: u64,
    errno: Errno,
    /// Whether all later calls of the kind fail too.
    stays: bool,
}

impl SimDisk {
    /// An empty disk whose accidents follow from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::with(State {
            rng: Rng::new(seed),
            inodes: Vec::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            renamings: Vec::new(),
            calls: 0,
            cut_at: None,
            is_cut: false,
            faults: Vec::new(),
            capacity: None,
            syncs_do_nothing: false,
            writes_fall_short: false,
            trace: Vec::new(),
        })
    }

    fn with(state: State) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power now: every later call through this handle fails.
    pub fn power_cut(&self) {
        self.lock().is_cut = true;
    }

    /// Cuts the power in the middle of the changing call number `call`, counted from 0 over the disk's life.
    pub fn cut_at(&self, call: u64) {
        self.lock().cut_at = Some(call);
    }

    /// Whether the power was cut.
    pub fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    /// How many changing calls were made so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// The disk after the power is back: what a power cut left, by the seed.
    #[must_use]
    pub fn restarted(&self) -> SimDisk {
        let mut state = self.lock().clone();
        state.lose_power();
        SimDisk::with(state)
    }

    /// The disk after only the process died: everything that was written is there, nothing more is flushed.
    #[must_use]
    pub fn after_kill(&self) -> SimDisk {
        let mut state = self.lock().clone();
        (state.is_cut, state.cut_at) = (false, None);
        state.faults.clear();
        SimDisk::with(state)
    }

    /// Makes the call of this kind fail with `errno` after `after` more have succeeded; with `stays`, all later ones too.
    pub fn fail(&self, call: Call, after: u64, errno: Errno, stays: bool) {
        self.lock().faults.push(Fault { call, after, errno, stays });
    }

    /// Ends all failures that were asked for.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Limits the sum of all files' sizes.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// For controls: flushes answer success and do nothing, as a disk that lies.
    pub fn let_syncs_do_nothing(&self) {
        self.lock().syncs_do_nothing = true;
    }

    /// Every other write takes only a part of what it is given, as a system call may.
    pub fn let_writes_fall_short(&self) {
        self.lock().writes_fall_short = true;
    }

    /// What was called, in order, one line each.
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// The live content of a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.live.get(name).map(|&inode| state.inodes[inode].live.clone())
    }

    /// Replaces a file's content, live and durable: damage, or a file from elsewhere.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        let mut state = self.lock();
        let inode = state.new_inode();
        state.inodes[inode] = Inode { live: content.clone(), durable: content, unflushed: Vec::new() };
        state.live.insert(name.to_owned(), inode);
        state.durable.insert(name.to_owned(), inode);
    }

    /// Removes a file, live and durable.
    pub fn take(&self, name: &str) {
        let mut state = self.lock();
        state.live.remove(name);
        state.durable.remove(name);
    }

    /// A disk with the same files, everything flushed, and accidents of its own.
    #[must_use]
    pub fn copied(&self, seed: u64) -> SimDisk {
        let copy = SimDisk::new(seed);
        let state = self.lock();
        for (name, &inode) in &state.live {
            copy.put(name, state.inodes[inode].live.clone());
        }
        drop(state);
        copy
    }
}

impl State {
    fn new_inode(&mut self) -> usize {
        self.inodes.push(Inode::default());
        self.inodes.len() - 1
    }

    /// Counts a changing call; what to do with it.
    fn begin(&mut self, call: Call, what: impl FnOnce() -> String) -> Result<(), Trouble> {
        if self.is_cut {
            return Err(Trouble::Cut);
        }
        let number = self.calls;
        self.calls += 1;
        let line = format!("{number} {}", what());
        self.trace.push(line);
        if self.cut_at == Some(number) {
            self.is_cut = true;
            return Err(Trouble::CutNow);
        }
        let Some(index) = self.faults.iter().position(|fault| fault.call == call) else { return Ok(()) };
        let fault = &mut self.faults[index];
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        let errno = fault.errno;
        if !fault.stays {
            self.faults.remove(index);
        }
        Err(Trouble::Fails(errno))
    }

    fn used(&self) -> u64 {
        self.live.values().map(|&inode| self.inodes[inode].live.len() as u64).sum()
    }

    /// How many of `bytes` at `offset` of a file fit on the disk.
    fn room(&self, inode: usize, offset: u64, bytes: usize) -> usize {
        let Some(capacity) = self.capacity else { return bytes };
        let len = self.inodes[inode].live.len() as u64;
        let growth = (offset + bytes as u64).saturating_sub(len);
        let free = capacity.saturating_sub(self.used());
        bytes - usize::try_from(growth.saturating_sub(free)).unwrap_or(bytes).min(bytes)
    }

    fn lose_power(&mut self) {
        let mut rng = self.rng.clone();
        // What survives of unflushed calls differs from crash to crash: all, nothing, or some.
        let percent = [0, 100, 50, 10, 90][index(rng.below(5))];
        for renaming in std::mem::take(&mut self.renamings) {
            if rng.chance(percent) {
                renaming.apply(&mut self.durable);
            }
        }
        for inode in &mut self.inodes {
            inode.settle(&mut rng, percent);
            inode.live = inode.durable.clone();
        }
        self.live = self.durable.clone();
        (self.is_cut, self.cut_at, self.capacity) = (false, None, None);
        self.faults.clear();
        self.rng = Rng::new(rng.bits());
    }
}

/// Why a call does not simply succeed.
enum Trouble {
    /// The power was cut before.
    Cut,
    /// The power is cut while this call runs.
    CutNow,
    /// It answers with an error.
    Fails(Errno),
}

impl Trouble {
    fn error(&self) -> io::Error {
        match self {
            Trouble::Cut | Trouble::CutNow => io::Error::other("the power is cut"),
            Trouble::Fails(errno) => (*errno).into(),
        }
    }
}

impl Renaming {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Renaming::Create(name, inode) => {
                names.insert(name, inode);
            }
            Renaming::Rename(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
            Renaming::Remove(name) => {
                names.remove(&name);
            }
        }
    }

    fn dir(&self) -> &str {
        let (Renaming::Create(name, _) | Renaming::Rename(_, name, _) | Renaming::Remove(name)) = self;
        dir_of(name)
    }
}

fn dir_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => write_into(content, *offset, bytes),
            Change::SetLen(len) => content.resize(index(*len), 0),
        }
    }
}

impl Inode {
    /// Lets each unflushed sector reach the disk or not, for good.
    fn settle(&mut self, rng: &mut Rng, percent: u64) {
        for change in std::mem::take(&mut self.unflushed) {
            match &change {
                Change::SetLen(_) if rng.chance(percent) => change.apply(&mut self.durable),
                Change::SetLen(_) => {}
                Change::Write(offset, bytes) => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let here = offset + at as u64;
                        let end = bytes.len().min(at + index(SECTOR_BYTES - here % SECTOR_BYTES));
                        if rng.chance(percent) {
                            write_into(&mut self.durable, here, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unflushed.push(change);
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn write_into(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (index(offset), index(offset) + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("files", &self.lock().live.keys()).finish_non_exhaustive()
    }
}
