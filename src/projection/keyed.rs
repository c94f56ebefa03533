//! What is found by a fingerprint. It is asked for keys and never walked where order could show: that of a hash map means nothing.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Values by fingerprint.
pub(super) type Keyed<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;
/// Fingerprints.
pub(super) type Keys = HashSet<u64, BuildHasherDefault<AsItIs>>;

/// A fingerprint is as good a hash as any.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(8) ^ number;
    }
}
