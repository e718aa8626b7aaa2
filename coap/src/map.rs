//! Maps of an endpoint: by hash where there are many peers, by a look at each where there is one server.
//!
//! A device on a bare target has a peer or two and a handful of exchanges: there, looking at each is as fast, and a hash map
//! with its hash function costs 6 KiB of flash. Both are the same to their callers.

#[cfg(not(target_os = "none"))]
pub(crate) use hashbrown::HashMap as Map;

#[cfg(target_os = "none")]
pub(crate) use few::Few as Map;

#[cfg(any(target_os = "none", test))]
mod few {
    use alloc::vec::Vec;

    /// A map of a few entries, in no order.
    pub(crate) struct Few<K, V> {
        entries: Vec<(K, V)>,
    }

    impl<K: Copy + Eq, V> Few<K, V> {
        pub(crate) const fn new() -> Self {
            Self { entries: Vec::new() }
        }

        pub(crate) fn len(&self) -> usize {
            self.entries.len()
        }

        pub(crate) fn contains_key(&self, key: &K) -> bool {
            self.position(key).is_some()
        }

        pub(crate) fn get(&self, key: &K) -> Option<&V> {
            self.entries.get(self.position(key)?).map(|(_, value)| value)
        }

        pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
            let at = self.position(key)?;
            self.entries.get_mut(at).map(|(_, value)| value)
        }

        /// Puts a value under a key and gives the one that stood there.
        pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
            let before = self.remove(&key);
            self.entries.push((key, value));
            before
        }

        pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
            let at = self.position(key)?;
            Some(self.entries.swap_remove(at).1)
        }

        pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
            self.entries.iter().map(|(_, value)| value)
        }

        fn position(&self, key: &K) -> Option<usize> {
            self.entries.iter().position(|(known, _)| known == key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::few::Few;
    use alloc::vec::Vec;
    use hashbrown::HashMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn few_entries_are_kept_as_a_hash_map_keeps_them(
            steps in proptest::collection::vec((0..3_u8, 0..6_u8, any::<u16>()), 0..60),
        ) {
            let (mut few, mut many) = (Few::new(), HashMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => prop_assert_eq!(few.insert(key, value), many.insert(key, value)),
                    1 => prop_assert_eq!(few.remove(&key), many.remove(&key)),
                    _ => {
                        prop_assert_eq!(few.get(&key), many.get(&key));
                        prop_assert_eq!(few.get_mut(&key), many.get_mut(&key));
                    }
                }
                prop_assert_eq!(few.len(), many.len());
                prop_assert_eq!(few.contains_key(&key), many.contains_key(&key));
                let (mut ours, mut theirs): (Vec<_>, Vec<_>) = (few.values().collect(), many.values().collect());
                ours.sort_unstable();
                theirs.sort_unstable();
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
