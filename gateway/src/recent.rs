//! A map that forgets the oldest entry where a new one would pass its bound.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Values by key, at most so many.
#[derive(Debug)]
pub struct Recent<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    entries_max: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// Makes an empty map of at most `entries_max` entries.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), entries_max }
    }

    /// Puts a value, in the place of an older one under the same key. Gives the keys that had to make room.
    pub fn put(&mut self, key: K, value: V) -> Vec<K> {
        if self.values.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        let surplus = self.order.len().saturating_sub(self.entries_max);
        let dropped: Vec<K> = self.order.drain(..surplus).collect();
        for key in &dropped {
            self.values.remove(key);
        }
        dropped
    }

    /// Finds a value.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    /// Walks over the values, the oldest first.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.order.iter().filter_map(|key| self.values.get(key))
    }

    /// Keeps only the values that `wanted` says.
    pub fn retain(&mut self, mut wanted: impl FnMut(&K, &V) -> bool) {
        self.values.retain(|key, value| wanted(key, value));
        self.order.retain(|key| self.values.contains_key(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_entry_makes_room_and_a_renewed_one_keeps_its_place() {
        let mut recent = Recent::new(2);
        recent.put('a', 1);
        recent.put('b', 2);
        recent.put('a', 3);
        assert_eq!(recent.put('c', 4), ['a']);
        assert_eq!((recent.get(&'a'), recent.get(&'b'), recent.get(&'c')), (None, Some(&2), Some(&4)));
        recent.retain(|key, _| *key != 'b');
        recent.put('d', 5);
        assert_eq!((recent.get(&'c'), recent.get(&'d')), (Some(&4), Some(&5)));
    }
}
