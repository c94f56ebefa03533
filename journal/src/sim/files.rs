//! The calls of a simulated disk: each is counted, may be the one that fails or that the power is cut in, and changes
//! what is live at once and what is durable later.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Call, Change, Renaming, Rng, SimDisk, Trouble, dir_of, index};
use crate::disk::{Access, Disk, DiskFile, Map};

impl Disk for SimDisk {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.lock();
        if state.is_cut {
            return Err(Trouble::Cut.error());
        }
        let names = state.live.keys().filter(|name| dir_of(name) == dir);
        Ok(names.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect())
    }

    fn open(&self, name: &str, _: Access) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.lock();
        if state.is_cut {
            return Err(Trouble::Cut.error());
        }
        let inode = *state.live.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, name: name.to_owned() }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let trouble = state.begin(Call::Names, || format!("create {name}")).err();
        if let Some(trouble @ (Trouble::Cut | Trouble::Fails(_))) = trouble {
            return Err(trouble.error());
        }
        if state.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.new_inode();
        let renaming = Renaming::Create(name.to_owned(), inode);
        renaming.clone().apply(&mut state.live);
        state.renamings.push(renaming);
        match trouble {
            Some(trouble) => Err(trouble.error()),
            None => Ok(Arc::new(SimFile { disk: self.clone(), inode, name: name.to_owned() })),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let trouble = state.begin(Call::Names, || format!("rename {from} {to}")).err();
        if let Some(trouble @ (Trouble::Cut | Trouble::Fails(_))) = trouble {
            return Err(trouble.error());
        }
        let inode = *state.live.get(from).ok_or(io::ErrorKind::NotFound)?;
        let renaming = Renaming::Rename(from.to_owned(), to.to_owned(), inode);
        renaming.clone().apply(&mut state.live);
        state.renamings.push(renaming);
        trouble.map_or(Ok(()), |trouble| Err(trouble.error()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        if !state.live.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let trouble = state.begin(Call::Names, || format!("remove {name}")).err();
        if let Some(trouble @ (Trouble::Cut | Trouble::Fails(_))) = trouble {
            return Err(trouble.error());
        }
        let renaming = Renaming::Remove(name.to_owned());
        renaming.clone().apply(&mut state.live);
        state.renamings.push(renaming);
        trouble.map_or(Ok(()), |trouble| Err(trouble.error()))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(Call::SyncDir, || format!("sync_dir {dir:?}")).map_err(|trouble| trouble.error())?;
        if !state.syncs_do_nothing {
            let (now, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut state.renamings).into_iter().partition(|change| change.dir() == dir);
            state.renamings = later;
            for renaming in now {
                renaming.apply(&mut state.durable);
            }
        }
        Ok(())
    }
}

/// An open file of a [`SimDisk`].
struct SimFile {
    disk: SimDisk,
    inode: usize,
    name: String,
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        if state.is_cut {
            return Err(Trouble::Cut.error());
        }
        let content = &state.inodes[self.inode].live;
        let rest = content.get(index(offset)..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let what = || format!("write {} {offset}+{}", self.name, bytes.len());
        let trouble = state.begin(Call::Write, what).err();
        let room = state.room(self.inode, offset, bytes.len());
        let taken = match &trouble {
            None if room == 0 && !bytes.is_empty() => return Err(Errno::NOSPC.into()),
            None if state.writes_fall_short && state.rng.chance(50) => {
                room.min(1 + index(state.rng.below(bytes.len().max(1) as u64)))
            }
            None => room,
            Some(Trouble::Cut) => 0,
            Some(Trouble::CutNow) => bytes.len(),
            // A write that fails may have written a part.
            Some(Trouble::Fails(_)) => index(state.rng.below(bytes.len() as u64 + 1)),
        };
        if taken > 0 {
            state.inodes[self.inode].change(Change::Write(offset, bytes[..taken].to_vec()));
        }
        trouble.map_or(Ok(taken), |trouble| Err(trouble.error()))
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].live.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let trouble = state.begin(Call::SetLen, || format!("set_len {} {len}", self.name)).err();
        if matches!(trouble, None | Some(Trouble::CutNow)) {
            state.inodes[self.inode].change(Change::SetLen(len));
        }
        trouble.map_or(Ok(()), |trouble| Err(trouble.error()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let trouble = state.begin(Call::Sync, || format!("sync {}", self.name)).err();
        let (mut rng, idle) = (state.rng.clone(), state.syncs_do_nothing);
        let inode = &mut state.inodes[self.inode];
        match trouble {
            None if idle => {}
            // Not "durable = live": what an earlier failed flush has lost stays lost.
            None => std::mem::take(&mut inode.unflushed)
                .iter()
                .for_each(|change| change.apply(&mut inode.durable)),
            // Some sectors got through, the rest is forgotten: the cache calls it clean.
            Some(Trouble::Fails(_)) => inode.settle(&mut rng, 50),
            Some(Trouble::Cut | Trouble::CutNow) => {}
        }
        state.rng = Rng::new(rng.bits());
        trouble.map_or(Ok(()), |trouble| Err(trouble.error()))
    }

    fn map(&self) -> Option<Map> {
        Some(Map::from_bytes(self.disk.lock().inodes[self.inode].live.clone()))
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimFile").field(&self.name).finish()
    }
}
