//! A hash map whose copies share what they have in common: copying it, and then changing a few entries, costs as much as those entries.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

/// Maps that a large one is split into. A change copies one of them.
const SHARDS: usize = 1024;

/// The map.
#[derive(Clone, Debug)]
pub(super) struct Shards<K, V>(Vec<Arc<HashMap<K, V>>>);

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Shards(vec![Arc::default(); SHARDS])
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Shards<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0[shard(key)].get(key)
    }

    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts a value in; gives the one that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        Arc::make_mut(&mut self.0[shard(&key)]).insert(key, value)
    }

    pub fn remove(&mut self, key: &K) {
        Arc::make_mut(&mut self.0[shard(key)]).remove(key);
    }

    /// The value of a key, to be changed; made if there is none.
    pub fn entry(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        Arc::make_mut(&mut self.0[shard(key)]).entry(key.clone()).or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|shard| shard.iter())
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

fn shard<K: Hash>(key: &K) -> usize {
    // The same in every copy, and of other bits than a shard's own table takes.
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
    (hash >> 32) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_shares_all_but_what_is_changed_in_it() {
        let mut first: Shards<u32, u32> = Shards::default();
        (0..10_000).for_each(|key| assert_eq!(first.insert(key, key), None));
        let mut second = first.clone();
        assert_eq!(second.insert(7, 70), Some(7));
        second.remove(&8);
        *second.entry(&10_000) += 1;
        assert_eq!((first.get(&7), first.get(&8), first.get(&10_000)), (Some(&7), Some(&8), None));
        assert_eq!((second.get(&7), second.get(&8), second.get(&10_000)), (Some(&70), None, Some(&1)));
        assert_eq!((first.values().count(), second.values().count()), (10_000, 10_000));
        let shared = first.0.iter().zip(&second.0).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= SHARDS - 3, "{shared}");
    }
}
