//! The values that came last, by key. They lie in the order in which they came, so that the one that leaves and the one that comes are where
//! those before them were; a small table says which is where.

use std::collections::VecDeque;

use crate::projection::keyed::Keyed;

/// Values by key, and their order.
#[derive(Clone, Debug)]
pub(super) struct Window<V> {
    held: VecDeque<(u64, V)>,
    /// How many have left.
    left: u64,
    /// How many came before the one of each key.
    nths: Keyed<u64>,
}

impl<V> Default for Window<V> {
    fn default() -> Self {
        Window { held: VecDeque::new(), left: 0, nths: Keyed::default() }
    }
}

/// How many have left is no part of what it holds.
impl<V: PartialEq> PartialEq for Window<V> {
    fn eq(&self, other: &Window<V>) -> bool {
        self.held == other.held
    }
}

impl<V: Eq> Eq for Window<V> {}

impl<V> Window<V> {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// In the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.held.iter().map(|(key, value)| (*key, value))
    }

    /// Where the value of this key lies.
    pub(super) fn place(&self, key: u64) -> Option<usize> {
        let nth = self.nths.get(&key)?;
        usize::try_from(nth - self.left).ok()
    }

    /// Takes in the value of a key that has none; says where it lies.
    pub(super) fn push(&mut self, key: u64, value: V) -> usize {
        let place = self.held.len();
        self.nths.insert(key, self.left + place as u64);
        self.held.push_back((key, value));
        place
    }

    /// Lets the one go that came first.
    pub(super) fn pop(&mut self) -> Option<(u64, V)> {
        let (key, value) = self.held.pop_front()?;
        self.nths.remove(&key);
        self.left += 1;
        Some((key, value))
    }

    /// The value that lies there.
    #[expect(clippy::indexing_slicing, reason = "places come from `place` and `push`")]
    pub(super) fn at(&mut self, place: usize) -> &mut V {
        &mut self.held[place].1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_came_last_in_its_order(keys in prop::collection::vec(0_u64..40, 0..200), length in 1_usize..20) {
            let (mut window, mut model) = (Window::default(), Vec::<(u64, u64)>::new());
            for (nth, key) in (0..).zip(keys) {
                match window.place(key) {
                    Some(place) => {
                        *window.at(place) += 1_000;
                        model.iter_mut().filter(|(held, _)| *held == key).for_each(|(_, value)| *value += 1_000);
                    }
                    None => {
                        prop_assert!(model.iter().all(|(held, _)| *held != key));
                        if window.len() == length {
                            prop_assert_eq!(window.pop(), Some(model.remove(0)));
                        }
                        let place = window.push(key, nth);
                        model.push((key, nth));
                        prop_assert_eq!(*window.at(place), nth);
                    }
                }
                let held: Vec<_> = window.iter().map(|(key, value)| (key, *value)).collect();
                prop_assert_eq!(&held, &model);
            }
            let mut again = Window::default();
            for (key, value) in model {
                again.push(key, value);
            }
            prop_assert_eq!(again, window);
        }
    }
}
