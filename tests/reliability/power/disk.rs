//! A file system in this process's memory that keeps apart what was written and what was flushed.
//!
//! A file's bytes are durable after fsync or fdatasync of the file, a directory's names after fsync of the directory; nothing
//! else makes anything durable, and nothing is flushed by itself. At an operation chosen beforehand the power fails: what is
//! durable at that moment is what stays, every later call ends with EIO, and [`PowerDisk::restore`] shows what the next boot
//! finds. Of what was not flushed, nothing survives, or each 512-byte sector by a throw of dice.
//!
//! Or one chosen operation fails with EIO and nothing else does ([`PowerDisk::fail_call`]), counted over the whole disk, whoever calls:
//! a server flushes on whichever of its threads it is at hand.
//!
//! Files are opened for direct I/O and attributes are never cached, so the kernel keeps nothing of its own that would
//! outlive the cut.

use crate::world::Dice;
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

const SECTOR: usize = 512;
const UNCACHED: Duration = Duration::ZERO;

/// The file system; clones are the same one.
#[derive(Clone)]
pub(crate) struct PowerDisk(Arc<Mutex<State>>);

/// What may fail by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// fdatasync of a file.
    SyncData,
    /// fsync of a file or a directory.
    Sync,
    /// A write.
    Write,
}

/// One operation that is to fail.
struct Trap {
    call: Call,
    /// Whether a file of this name counts; a segment that is being made goes by the name that it will get.
    is_meant: Box<dyn Fn(&str) -> bool + Send>,
    /// How many of them until it fails; 0 once it has.
    left: u64,
    /// The name of the thread that met it.
    met_by: Option<String>,
}

struct State {
    nodes: HashMap<u64, Node>,
    next: u64,
    owner: (u32, u32),
    /// Operations until the power fails; `None` while it cannot.
    fuse: Option<u64>,
    dead: bool,
    /// The positive control: flushes of files answer and do nothing.
    lies: bool,
    /// Another: flushes of directories do.
    forgets_names: bool,
    trap: Option<Trap>,
}

enum Node {
    Dir { live: BTreeMap<OsString, u64>, durable: BTreeMap<OsString, u64> },
    File { mode: u16, live: Vec<u8>, durable: Vec<u8> },
}

impl PowerDisk {
    pub(super) fn new(owner: (u32, u32), lies: bool) -> PowerDisk {
        let state = State {
            nodes: HashMap::new(),
            next: 2,
            owner,
            fuse: None,
            dead: false,
            lies,
            forgets_names: false,
            trap: None,
        };
        let disk = PowerDisk(Arc::new(Mutex::new(state)));
        disk.format();
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no operation panics")
    }

    /// An empty disk again.
    pub(super) fn format(&self) {
        let mut state = self.state();
        state.nodes.clear();
        state.nodes.insert(1, Node::Dir { live: BTreeMap::new(), durable: BTreeMap::new() });
        (state.fuse, state.dead, state.trap) = (None, false, None);
    }

    /// From now on no name becomes durable.
    pub(super) fn forget_names(&self) {
        self.state().forgets_names = true;
    }

    /// Lets the power fail at the n-th operation from now that changes or flushes something.
    pub(super) fn fail_at(&self, n: u64) {
        self.state().fuse = Some(n);
    }

    /// Lets the n-th such call from now on end with EIO, on the files that are meant. Unlike a power cut it passes: what comes after it
    /// is done, or says that it is, as with a kernel that calls pages clean that it has dropped.
    pub(crate) fn fail_call(&self, call: Call, n: u64, is_meant: impl Fn(&str) -> bool + Send + 'static) {
        self.state().trap = Some(Trap { call, is_meant: Box::new(is_meant), left: n, met_by: None });
    }

    /// From now on nothing fails; the name of the thread that met the failure, if one has.
    pub(crate) fn heal(&self) -> Option<String> {
        self.state().trap.take().and_then(|trap| trap.met_by)
    }

    /// The name of the thread that met the failure, once one has.
    pub(crate) fn met_by(&self) -> Option<String> {
        self.state().trap.as_ref().and_then(|trap| trap.met_by.clone())
    }

    /// What stands after the process alone has died: everything that was written, flushed or not.
    pub(super) fn revive(&self) {
        let mut state = self.state();
        (state.fuse, state.dead) = (None, false);
    }

    fn synced(&self, request: &Request, call: Call, ino: INodeNo) -> Result<(), Errno> {
        let mut state = self.state();
        state.pass(call, ino, request.pid())?;
        state.sync(ino)
    }

    /// Cuts the power, if it did not fail before, and shows what the next boot finds; whether it had failed.
    pub(super) fn restore(&self, dice: &mut Dice) -> bool {
        let mut state = self.state();
        let failed = state.dead;
        let tears = dice.below(2) == 0;
        for node in state.nodes.values_mut() {
            match node {
                Node::Dir { live, durable } => *live = durable.clone(),
                Node::File { live, durable, .. } => {
                    if tears {
                        tear(live, durable, dice);
                    }
                    live.clone_from(durable);
                }
            }
        }
        (state.fuse, state.dead) = (None, false);
        failed
    }
}

/// Lets some sectors of what was not flushed reach the disk, and perhaps the length.
fn tear(live: &[u8], durable: &mut Vec<u8>, dice: &mut Dice) {
    if live == durable.as_slice() {
        return;
    }
    if dice.below(2) == 0 {
        durable.resize(live.len(), 0);
    }
    let sectors = durable.len().min(live.len()).div_ceil(SECTOR);
    for sector in 0..sectors {
        let range = sector * SECTOR..((sector + 1) * SECTOR).min(live.len()).min(durable.len());
        if live[range.clone()] != durable[range.clone()] && dice.below(2) == 0 {
            durable[range.clone()].copy_from_slice(&live[range]);
        }
    }
}

impl State {
    /// Counts an operation; an error once the power is gone.
    fn step(&mut self) -> Result<(), Errno> {
        match &mut self.fuse {
            Some(0 | 1) => self.dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.alive()
    }

    /// Counts a call that may be the one that is to fail.
    fn pass(&mut self, call: Call, ino: INodeNo, thread: u32) -> Result<(), Errno> {
        let Some(mut trap) = self.trap.take() else { return Ok(()) };
        let mut passed = Ok(());
        if trap.left > 0 && trap.call == call && (trap.is_meant)(&self.name(ino)) {
            trap.left -= 1;
            if trap.left == 0 {
                let name = std::fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
                trap.met_by = Some(name.trim_end().to_owned());
                passed = Err(Errno::EIO);
            }
        }
        self.trap = Some(trap);
        passed
    }

    /// What a file is called, or is going to be.
    fn name(&self, ino: INodeNo) -> String {
        let names = self.nodes.values().filter_map(|node| match node {
            Node::Dir { live, .. } => live.iter().find(|(_, named)| **named == ino.0),
            Node::File { .. } => None,
        });
        let name = names.map(|(name, _)| name.to_string_lossy().into_owned()).next().unwrap_or_default();
        name.strip_suffix(".tmp").map_or(name.clone(), str::to_owned)
    }

    fn alive(&self) -> Result<(), Errno> {
        if self.dead { Err(Errno::EIO) } else { Ok(()) }
    }

    fn names(&mut self, dir: INodeNo) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        match self.nodes.get_mut(&dir.0) {
            Some(Node::Dir { live, .. }) => Ok(live),
            Some(Node::File { .. }) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn bytes(&mut self, file: INodeNo) -> Result<&mut Vec<u8>, Errno> {
        match self.nodes.get_mut(&file.0) {
            Some(Node::File { live, .. }) => Ok(live),
            Some(Node::Dir { .. }) => Err(Errno::EISDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn lookup(&mut self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        self.alive()?;
        let found = self.names(parent)?.get(name).copied().ok_or(Errno::ENOENT)?;
        self.attr(INodeNo(found))
    }

    fn attr(&self, ino: INodeNo) -> Result<FileAttr, Errno> {
        let (kind, perm, size) = match self.nodes.get(&ino.0).ok_or(Errno::ENOENT)? {
            Node::Dir { .. } => (FileType::Directory, 0o700, 0),
            Node::File { mode, live, .. } => (FileType::RegularFile, *mode, live.len() as u64),
        };
        let time = SystemTime::UNIX_EPOCH;
        Ok(FileAttr {
            ino,
            size,
            blocks: size.div_ceil(SECTOR as u64),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn list(&mut self, dir: INodeNo) -> Result<Vec<(OsString, FileAttr)>, Errno> {
        self.alive()?;
        let names = self.names(dir)?.clone();
        names.into_iter().map(|(name, ino)| Ok((name, self.attr(INodeNo(ino))?))).collect()
    }

    fn add(&mut self, parent: INodeNo, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        self.step()?;
        let ino = self.next;
        if self.names(parent)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.names(parent)?.insert(name.to_owned(), ino);
        self.next += 1;
        self.nodes.insert(ino, node);
        self.attr(INodeNo(ino))
    }

    fn write(&mut self, ino: INodeNo, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        self.step()?;
        let start = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        let bytes = self.bytes(ino)?;
        let end = start + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        u32::try_from(data.len()).map_err(|_| Errno::EINVAL)
    }

    fn set(&mut self, ino: INodeNo, mode: Option<u32>, size: Option<u64>) -> Result<FileAttr, Errno> {
        if let Some(size) = size {
            self.step()?;
            self.bytes(ino)?.resize(usize::try_from(size).map_err(|_| Errno::EFBIG)?, 0);
        }
        self.alive()?;
        if let (Some(new), Some(Node::File { mode, .. })) = (mode, self.nodes.get_mut(&ino.0)) {
            *mode = u16::try_from(new & 0o7777).unwrap_or(0);
        }
        self.attr(ino)
    }

    fn remove(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        self.step()?;
        // The node stays: somebody may have it open, and a cut may bring the name back.
        self.names(parent)?.remove(name).map(drop).ok_or(Errno::ENOENT)
    }

    fn rename(&mut self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr)) -> Result<(), Errno> {
        self.step()?;
        let ino = self.names(from.0)?.remove(from.1).ok_or(Errno::ENOENT)?;
        self.names(to.0)?.insert(to.1.to_owned(), ino);
        Ok(())
    }

    fn sync(&mut self, ino: INodeNo) -> Result<(), Errno> {
        self.step()?;
        let (lies, forgets_names) = (self.lies, self.forgets_names);
        match self.nodes.get_mut(&ino.0).ok_or(Errno::ENOENT)? {
            Node::Dir { .. } if forgets_names => {}
            Node::Dir { live, durable } => durable.clone_from(live),
            Node::File { .. } if lies => {}
            Node::File { live, durable, .. } => durable.clone_from(live),
        }
        Ok(())
    }
}

/// Answers with what came out, or with the error.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:ident => $good:expr) => {
        match $result {
            Ok($value) => $good,
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for PowerDisk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(reply, self.state().lookup(parent, name), attr => reply.entry(&UNCACHED, &attr, Generation(0)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.state().attr(ino), attr => reply.attr(&UNCACHED, &attr));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        answer!(reply, self.state().set(ino, mode, size), attr => reply.attr(&UNCACHED, &attr));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        let made = Node::Dir { live: BTreeMap::new(), durable: BTreeMap::new() };
        let added = self.state().add(parent, name, made);
        answer!(reply, added, attr => reply.entry(&UNCACHED, &attr, Generation(0)));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mode = u16::try_from(mode & 0o7777).unwrap_or(0);
        let added =
            self.state().add(parent, name, Node::File { mode, live: Vec::new(), durable: Vec::new() });
        let direct = FopenFlags::FOPEN_DIRECT_IO;
        answer!(reply, added, attr => reply.created(&UNCACHED, &attr, Generation(0), FileHandle(0), direct));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.state().remove(parent, name);
        answer!(reply, removed, _done => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.state().rename((parent, name), (newparent, newname));
        answer!(reply, renamed, _done => reply.ok());
    }

    fn open(&self, _: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.state().alive(), _done => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.state();
        let read = state.alive().and_then(|()| state.bytes(ino));
        answer!(reply, read, bytes => {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = start.saturating_add(size as usize).min(bytes.len());
            reply.data(&bytes[start..end]);
        });
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        let passed = state.pass(Call::Write, ino, request.pid());
        let written = passed.and_then(|()| state.write(ino, offset, data));
        drop(state);
        answer!(reply, written, count => reply.written(count));
    }

    fn flush(&self, _: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        // What close(2) calls: it makes nothing durable.
        reply.ok();
    }

    fn fsync(&self, request: &Request, ino: INodeNo, _fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let call = if datasync { Call::SyncData } else { Call::Sync };
        let synced = self.synced(request, call, ino);
        answer!(reply, synced, _done => reply.ok());
    }

    fn fsyncdir(&self, request: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let synced = self.synced(request, Call::Sync, ino);
        answer!(reply, synced, _done => reply.ok());
    }

    fn statfs(&self, _: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        // Room enough, in blocks of 4 KiB.
        reply.statfs(1 << 24, 1 << 23, 1 << 23, 1 << 20, 1 << 20, 4096, 255, 4096);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = {
            let mut state = self.state();
            state.list(ino)
        };
        answer!(reply, listed, names => {
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            for (place, (name, attr)) in names.iter().enumerate().skip(skip) {
                if reply.add(attr.ino, place as u64 + 1, attr.kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }
}
