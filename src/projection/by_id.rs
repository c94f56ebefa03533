//! A map by id that is asked far more often than it is walked: what every event asks for is found by a hash and lies still when another comes,
//! where an ordered map compares ids all the way down and moves what stands beside. Whoever walks it gets the order of the ids, and its bytes
//! and its JSON are those of an ordered map, so that no hash shows. Values lie apart from the table, which grows often and then moves all that
//! it holds.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::ops::Index;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Values by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ById<V>(HashMap<String, Box<V>, BuildHasherDefault<Folded>>);

impl<V> Default for ById<V> {
    fn default() -> Self {
        ById(HashMap::default())
    }
}

impl<V> ById<V> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of this id.
    pub fn get(&self, id: &str) -> Option<&V> {
        self.0.get(id).map(Box::as_ref)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut V> {
        self.0.get_mut(id).map(Box::as_mut)
    }

    /// Whether there is one of this id.
    pub fn contains_key(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Puts a value in; gives back the one that was there.
    pub fn insert(&mut self, id: String, value: V) -> Option<V> {
        self.0.insert(id, Box::new(value)).map(|held| *held)
    }

    /// The value of an id that is not there, put in.
    pub fn put(&mut self, id: String, value: V) -> &mut V {
        self.0.entry(id).or_insert(Box::new(value))
    }

    /// Takes the value of this id out.
    pub fn remove(&mut self, id: &str) -> Option<V> {
        self.0.remove(id).map(|held| *held)
    }

    /// Lets only those stay that `keep` says; asked in no order.
    pub fn retain(&mut self, mut keep: impl FnMut(&String, &mut V) -> bool) {
        self.0.retain(|id, value| keep(id, value));
    }

    /// All of them, in an order that means nothing: for what comes out the same in any order.
    pub fn unordered(&self) -> impl Iterator<Item = (&String, &V)> {
        self.0.iter().map(|(id, value)| (id, &**value))
    }

    /// All of them in the order of their ids, which is made for this.
    pub fn iter(&self) -> std::vec::IntoIter<(&String, &V)> {
        let mut all: Vec<_> = self.unordered().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> std::vec::IntoIter<(&String, &mut V)> {
        let mut all: Vec<_> = self.0.iter_mut().map(|(id, value)| (id, &mut **value)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter()
    }

    /// The id of the least by a key that no two have in common.
    pub fn least_by<K: Ord>(&self, mut key: impl FnMut(&V) -> K) -> Option<&String> {
        self.unordered().min_by_key(|(_, value)| key(value)).map(|(id, _)| id)
    }
}

impl<V> Index<&str> for ById<V> {
    type Output = V;

    #[expect(clippy::indexing_slicing, reason = "this is the indexing, and panics as that of any map does")]
    fn index(&self, id: &str) -> &V {
        &self.0[id]
    }
}

impl<'a, V> IntoIterator for &'a ById<V> {
    type Item = (&'a String, &'a V);
    type IntoIter = std::vec::IntoIter<(&'a String, &'a V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<V> IntoIterator for ById<V> {
    type Item = (String, V);
    type IntoIter = std::vec::IntoIter<(String, V)>;

    fn into_iter(self) -> Self::IntoIter {
        let mut all: Vec<_> = self.0.into_iter().map(|(id, value)| (id, *value)).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all.into_iter()
    }
}

impl<V> FromIterator<(String, V)> for ById<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(all: I) -> Self {
        ById(all.into_iter().map(|(id, value)| (id, Box::new(value))).collect())
    }
}

impl<V: Serialize> Serialize for ById<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for ById<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = ById<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map by id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ById<V>, A::Error> {
                // What the bytes claim of their number is not believed: room comes with the entries.
                let mut map = ById::default();
                while let Some((id, value)) = entries.next_entry()? {
                    map.insert(id, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// A hash of short texts, sixteen bytes at a time: two words are multiplied, and the upper half of the product is folded onto the lower. Whoever
/// chooses ids can make many the same; maps of a state are bounded, and so is what that costs.
#[derive(Default)]
struct Folded(u64);

/// The fractional part of the golden ratio, in 64 bits.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// That of the square root of two: neither factor is small where the words are.
const ROOT: u64 = 0x6A09_E667_F3BC_C908;

impl Folded {
    fn mix(&mut self, one: u64, other: u64) {
        let (low, high) = (self.0 ^ one ^ ROOT).carrying_mul(other ^ GOLDEN, 0);
        self.0 = low ^ high;
    }
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let (pairs, odd) = words.as_chunks::<2>();
        for [one, other] in pairs {
            self.mix(u64::from_le_bytes(*one), u64::from_le_bytes(*other));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let odd = odd.first().map_or(0, |word| u64::from_le_bytes(*word));
        self.mix(odd ^ bytes.len() as u64, u64::from_le_bytes(last));
    }

    // A text ends with this, which tells it from the next; here is only one.
    fn write_u8(&mut self, _: u8) {}
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hash::BuildHasher;

    use proptest::prelude::*;

    use super::*;

    fn of<V: Clone>(ordered: &BTreeMap<String, V>) -> ById<V> {
        ordered.iter().rev().map(|(id, value)| (id.clone(), value.clone())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_an_ordered_map_to_whoever_looks(
            ordered in prop::collection::btree_map("[a-c]{0,20}", any::<u32>(), 0..60), id in "[a-c]{0,3}",
        ) {
            let map = of(&ordered);
            prop_assert_eq!(map.iter().collect::<Vec<_>>(), ordered.iter().collect::<Vec<_>>());
            prop_assert_eq!(map.clone().into_iter().collect::<Vec<_>>(), ordered.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!((map.len(), map.get(&id), map.contains_key(&id)), (ordered.len(), ordered.get(&id), ordered.contains_key(&id)));
            let mut unordered: Vec<_> = map.unordered().collect();
            unordered.sort();
            prop_assert_eq!(unordered, ordered.iter().collect::<Vec<_>>());
            let least = map.least_by(|value| *value).map(|id| ordered[id]);
            prop_assert_eq!(least, ordered.values().min().copied());
            let bytes = postcard::to_stdvec(&map).unwrap();
            prop_assert_eq!(&bytes, &postcard::to_stdvec(&ordered).unwrap());
            prop_assert_eq!(postcard::from_bytes::<ById<u32>>(&bytes).unwrap(), map.clone());
            let json = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&ordered).unwrap());
            prop_assert_eq!(serde_json::from_str::<ById<u32>>(&json).unwrap(), map);
        }
    }

    #[test]
    fn ids_that_differ_little_are_spread() {
        let hashes = BuildHasherDefault::<Folded>::default();
        let spread = |ids: Vec<String>| {
            let mut buckets = [0_usize; 256];
            for id in &ids {
                let hash = hashes.hash_one(id.as_str());
                buckets[usize::try_from(hash % 256).unwrap()] += 1;
            }
            let tops: std::collections::BTreeSet<u64> =
                ids.iter().map(|id| hashes.hash_one(id.as_str()) >> 57).collect();
            (buckets.into_iter().max().unwrap(), tops.len())
        };
        for ids in [
            (0..4_096).map(|n| format!("toolu_01{n:022x}")).collect::<Vec<_>>(),
            (0..4_096).map(|n| format!("{n:08x}-0000-7000-8000-000000000000")).collect(),
            (0..4_096).map(|n| n.to_string()).collect(),
        ] {
            let (fullest, tops) = spread(ids);
            assert!(
                fullest < 48 && tops > 120,
                "{fullest} in one of 256 where 16 would be even, {tops} of 128 tops"
            );
        }
    }
}
