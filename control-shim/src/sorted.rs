//! A sorted map whose copies share what they have in common: changing an entry of a copy costs as much as a few hundred entries, and telling two copies
//! apart as much as what is different.

use std::cmp::Ordering;
use std::sync::Arc;

/// Entries of a chunk beyond which it is cut in two.
const CHUNK_MAX: usize = 128;

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct Sorted<K, V> {
    /// In order; none is empty.
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// An entry as it is here and as it is there.
pub(crate) type Difference<'m, K, V> = (Option<&'m (K, V)>, Option<&'m (K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted { chunks: Arc::default(), len: 0 }
    }
}

impl<K, V> Sorted<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<K: Ord, V> Sorted<K, V> {
    /// The chunk that a key belongs into.
    fn chunk(&self, key: &K) -> usize {
        let starts_before = |chunk: &Chunk<K, V>| chunk.first().is_some_and(|(first, _)| first <= key);
        self.chunks.partition_point(starts_before).saturating_sub(1)
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk(key))?;
        let at = chunk.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        Some(&chunk[at].1)
    }

    /// Those from a key on.
    pub fn from<'m>(&'m self, key: &K) -> impl Iterator<Item = &'m (K, V)> + use<'m, K, V> {
        let at = self.chunk(key);
        let skipped = self.chunks.get(at).map_or(0, |chunk| chunk.partition_point(|(other, _)| other < key));
        self.chunks[at.min(self.chunks.len())..].iter().flat_map(|chunk| chunk.iter()).skip(skipped)
    }

    /// Those that are not the same in both. `same` knows entries of one key by their values.
    pub fn differences<'m>(
        &'m self,
        other: &'m Self,
        same: impl Fn(&V, &V) -> bool,
    ) -> impl Iterator<Item = Difference<'m, K, V>> {
        let (mut here, mut there) = (Cursor { chunks: &self.chunks, at: 0 }, Cursor { chunks: &other.chunks, at: 0 });
        std::iter::from_fn(move || {
            loop {
                here.skip_shared(&mut there);
                let order = match (here.peek(), there.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some((_, a)), Some((_, b))) if same(a, b) => {
                        here.next();
                        there.next();
                        continue;
                    }
                    (Some((a, _)), Some((b, _))) => a.cmp(b),
                };
                let before = if order.is_le() { here.next() } else { None };
                let after = if order.is_ge() { there.next() } else { None };
                return Some((before, after));
            }
        })
    }
}

impl<K: Ord + Clone, V: Clone> Sorted<K, V> {
    /// Puts a value in; gives the one that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(shared) = chunks.get_mut(at) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(shared);
        match chunk.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(known) => return Some(std::mem::replace(&mut chunk[known].1, value)),
            Err(free) => chunk.insert(free, (key, value)),
        }
        self.len += 1;
        if chunk.len() > CHUNK_MAX {
            let rest = chunk.split_off(CHUNK_MAX / 2);
            chunks.insert(at + 1, Arc::new(rest));
        }
        None
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        let at = self.chunk(key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(&mut chunks[at]);
        let known = chunk.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        let (_, value) = chunk.remove(known);
        if chunk.is_empty() {
            chunks.remove(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// The same, sharing with another one what is the same in both.
    pub fn sharing(&self, other: &Self, same: impl Fn(&V, &V) -> bool) -> Self {
        let mut shared = other.clone();
        for (before, after) in other.differences(self, same) {
            match (before, after) {
                (_, Some((key, value))) => drop(shared.insert(key.clone(), value.clone())),
                (Some((key, _)), None) => drop(shared.remove(key)),
                (None, None) => {}
            }
        }
        shared
    }
}

/// Later entries replace earlier ones of the same key.
impl<K: Ord, V> FromIterator<(K, V)> for Sorted<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries = Vec::from_iter(entries);
        entries.reverse();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|(a, _), (b, _)| a == b);
        let len = entries.len();
        let mut entries = entries.into_iter();
        let cut = || Some(Vec::from_iter(entries.by_ref().take(CHUNK_MAX / 2))).filter(|chunk| !chunk.is_empty());
        let chunks = std::iter::from_fn(cut).map(Arc::new).collect();
        Sorted { chunks: Arc::new(chunks), len }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Sorted<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.differences(other, |_, _| false).all(|(here, there)| here == there)
    }
}

/// A place in a map.
struct Cursor<'m, K, V> {
    chunks: &'m [Chunk<K, V>],
    /// Within the first of them.
    at: usize,
}

impl<'m, K, V> Cursor<'m, K, V> {
    fn peek(&self) -> Option<&'m (K, V)> {
        self.chunks.first().map(|chunk| &chunk[self.at])
    }

    fn next(&mut self) -> Option<&'m (K, V)> {
        let (first, rest) = self.chunks.split_first()?;
        let found = first.get(self.at);
        self.at += 1;
        if self.at == first.len() {
            (self.chunks, self.at) = (rest, 0);
        }
        found
    }

    /// Leaves out the chunks that both are at the start of.
    fn skip_shared(&mut self, other: &mut Self) {
        while self.at == 0
            && other.at == 0
            && let (Some((here, rest)), Some((there, other_rest))) =
                (self.chunks.split_first(), other.chunks.split_first())
            && Arc::ptr_eq(here, there)
        {
            (self.chunks, other.chunks) = (rest, other_rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn holds_what_a_map_of_the_library_holds(
            start in proptest::collection::vec((0..2_000u32, 0..9u32), 0..1_500),
            edits in proptest::collection::vec((0..2_000u32, proptest::option::of(0..9u32)), 0..600),
        ) {
            // A value tells its key.
            let start = start.into_iter().map(|(key, value)| (key, (key, value)));
            let (mut map, mut wanted) = (Sorted::from_iter(start.clone()), BTreeMap::from_iter(start));
            let (first, first_wanted) = (map.clone(), wanted.clone());
            for (key, value) in edits {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, (key, value)), wanted.insert(key, (key, value))),
                    None => prop_assert_eq!(map.remove(&key), wanted.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), wanted.get(&key));
                prop_assert_eq!(map.from(&key).count(), wanted.range(key..).count());
            }
            let listed = |map: &Sorted<_, _>| map.iter().copied().collect::<Vec<_>>();
            prop_assert_eq!(map.len(), wanted.len());
            prop_assert!(map.chunks.iter().all(|chunk| (1..=CHUNK_MAX).contains(&chunk.len())));
            prop_assert_eq!(map == first, wanted == first_wanted);
            prop_assert_eq!(listed(&map), Vec::from_iter(wanted.clone()));
            prop_assert_eq!(listed(&first), Vec::from_iter(first_wanted.clone()));

            let keys: BTreeSet<_> = first_wanted.keys().chain(wanted.keys()).collect();
            let differ = keys.into_iter().filter(|key| first_wanted.get(key) != wanted.get(key)).count();
            prop_assert_eq!(first.differences(&map, PartialEq::eq).count(), differ);
            let anew = Sorted::from_iter(wanted.clone());
            prop_assert_eq!(listed(&anew.sharing(&first, PartialEq::eq)), Vec::from_iter(wanted));
        }
    }

    #[test]
    fn copies_share_all_but_what_is_changed() {
        let first = Sorted::from_iter((0..10_000).map(|key| (key, key)));
        let mut second = first.clone();
        second.insert(5_000, 0);
        let anew = Sorted::from_iter(second.iter().copied());
        for other in [second, anew.sharing(&first, i32::eq)] {
            let shared = first.chunks.iter().zip(&*other.chunks).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
            assert_eq!(shared, first.chunks.len() - 1);
        }
    }
}
