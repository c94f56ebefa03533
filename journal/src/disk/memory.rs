//! Memory for the whole content of a segment.
//!
//! A segment that is verified is read at once, and so is one that is judged, from its first frame on that is not sound. Memory for 64 MiB comes fresh from the system, a page fault
//! for each 4 KiB, which cost more than all the checksums; in pages of 2 MiB, where the system has them, it is 32.

use std::ops::Deref;

use memmap2::MmapMut;

/// From here on a map of its own is worth it.
const LARGE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that were read.
#[derive(Debug)]
pub(crate) struct Bytes {
    memory: Memory,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    /// Anonymous: no file can change it.
    Map(MmapMut),
}

impl Bytes {
    /// So many zeros, to be read into.
    pub(crate) fn zeros(len: usize) -> Bytes {
        let map = if len >= LARGE_BYTES { MmapMut::map_anon(len).ok() } else { None };
        let memory = map.map_or_else(|| Memory::Heap(vec![0; len]), Memory::Map);
        #[cfg(target_os = "linux")]
        if let Memory::Map(map) = &memory {
            // A wish: without such pages it is slower.
            let _wish = map.advise(memmap2::Advice::HugePage);
        }
        Bytes { memory, len }
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        let memory = match &mut self.memory {
            Memory::Heap(bytes) => &mut bytes[..],
            Memory::Map(map) => &mut map[..],
        };
        &mut memory[..self.len]
    }

    /// Leaves out what follows the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        let memory = match &self.memory {
            Memory::Heap(bytes) => &bytes[..],
            Memory::Map(map) => &map[..],
        };
        &memory[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_memory_behave_alike() {
        for len in [0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1] {
            let mut bytes = Bytes::zeros(len);
            assert_eq!(matches!(bytes.memory, Memory::Map(_)), len >= LARGE_BYTES);
            assert!(bytes.len() == len && bytes.iter().all(|&byte| byte == 0));
            bytes.as_mut().fill(7);
            bytes.truncate(len + 1);
            assert!(bytes.len() == len && bytes.iter().all(|&byte| byte == 7));
            bytes.truncate(len / 2);
            assert_eq!((bytes.len(), bytes.as_mut().len()), (len / 2, len / 2));
        }
    }
}
