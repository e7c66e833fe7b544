//! A hash table over whole segments of paths: exact paths, Gateway API prefixes, and bytewise prefixes that end in a slash.
//!
//! All of them end where a path has a slash or its end, so a path is looked up at these places alone: a lookup for each of its first few
//! segments, however many routes there are.

use super::names::Names;
use super::trie::{After, Entry, Following};

/// The table.
pub(crate) struct Paths {
    /// Key → its place in `starts`.
    keys: Names,
    /// Where the entries of each key start; and where the last ones end.
    starts: Box<[u32]>,
    /// Ascending for each key.
    entries: Box<[Entry]>,
    /// Bytes of the longest key: nothing longer is hashed.
    bytes_max: usize,
    /// Slashes in any key that goes on after it; none if there is no such key.
    slashes_max: Option<usize>,
}

impl Paths {
    /// Of keys without a last slash (unless they are exact), in the order of their routes.
    pub(crate) fn new(mut keys: Vec<(&[u8], Entry)>) -> Paths {
        let bytes_max = keys.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        let inner = keys.iter().filter(|(_, entry)| entry.after != After::End);
        let slashes_max = inner.map(|(key, _)| key.iter().filter(|b| **b == b'/').count()).max();
        // Stable: routes of one key stay in order.
        keys.sort_by_key(|(key, _)| *key);
        let (mut table, mut starts) = (Names::new(), vec![0]);
        table.reserve(keys.chunk_by(|a, b| a.0 == b.0).count());
        for (same, number) in keys.chunk_by(|a, b| a.0 == b.0).zip(0..) {
            let inserted = table.insert(same[0].0, 0, number);
            debug_assert!(inserted.is_ok(), "equal keys stand side by side");
            starts.push(starts[number as usize] + same.len() as u32);
        }
        table.shrink();
        let entries = keys.into_iter().map(|(_, entry)| entry).collect();
        Paths { keys: table, starts: starts.into(), entries, bytes_max, slashes_max }
    }

    /// Calls `visit` with the routes of the whole path, then of its front up to each slash; and with what follows there (to be tested with
    /// [`Entry::allows`]).
    #[inline]
    pub(crate) fn walk(&self, path: &[u8], mut visit: impl FnMut(&[Entry], Following)) {
        if path.len() <= self.bytes_max {
            visit(self.at(path), Following::Nothing);
        }
        let Some(slashes_max) = self.slashes_max else { return };
        let reach = &path[..path.len().min(self.bytes_max + 1)];
        let slashes = reach.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for at in slashes.take(slashes_max + 1) {
            visit(self.at(&path[..at]), Following::Slash);
        }
    }

    fn at(&self, key: &[u8]) -> &[Entry] {
        let Some(number) = self.keys.get(key, 0) else { return &[] };
        let number = number as usize;
        &self.entries[self.starts[number] as usize..self.starts[number + 1] as usize]
    }
}
