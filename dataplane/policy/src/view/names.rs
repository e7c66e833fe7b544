//! A hash table from names to numbers, laid out for a cold cache.
//!
//! A lookup waits for one cache line: it has the number of a name, and where its text lies. So whoever goes on with the number does not wait for the
//! text to be compared; both come from memory at the same time.

use std::hash::{BuildHasher, Hasher};

use crate::fold::Seed;

/// Names in one line.
const LINE_NAMES: usize = 5;
/// Names that a line is filled with on average before the table grows: few lines then overflow into the next.
const LINE_NAMES_MEAN_MAX: usize = 3;
/// Texts start at multiples of this, so that 32 bits are enough for any place.
const TEXT_ALIGN: usize = 8;

/// The table. A name is bytes and a port; 0 where ports mean nothing.
pub(crate) struct Names {
    lines: Vec<Line>,
    /// Of each name its length and port, and its bytes.
    texts: Vec<u8>,
    len: usize,
    seed: Seed,
}

/// One cache line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line {
    /// The low half of a name's hash.
    tags: [u32; LINE_NAMES],
    /// What the names stand for.
    numbers: [u32; LINE_NAMES],
    /// Where they are written, in units of [`TEXT_ALIGN`].
    texts: [u32; LINE_NAMES],
    /// How many there are. A full line goes on in the next one.
    used: u32,
}

const _: () = assert!(size_of::<Line>() == 64);

impl Names {
    pub(crate) fn new() -> Names {
        Names { lines: Vec::new(), texts: Vec::new(), len: 0, seed: Seed::new() }
    }

    /// Makes room for so many names in all.
    pub(crate) fn reserve(&mut self, names: usize) {
        if names > self.lines.len() * LINE_NAMES_MEAN_MAX {
            self.grow(names.div_ceil(LINE_NAMES_MEAN_MAX));
        }
    }

    /// Gives back the room that texts could have grown into.
    pub(crate) fn shrink(&mut self) {
        self.texts.shrink_to_fit();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Err: the number that the name has already.
    pub(crate) fn insert(&mut self, name: &[u8], port: u16, number: u32) -> Result<(), u32> {
        if let Some(before) = self.get(name, port) {
            return Err(before);
        }
        if self.len >= self.lines.len() * LINE_NAMES_MEAN_MAX {
            self.grow((2 * self.lines.len()).max(1));
        }
        // It fits: names are of at most BLOBS_MAX hosts or RECORDS_MAX routes, and their text is below 32 GiB by `text_bytes_max`.
        let text = (self.texts.len() / TEXT_ALIGN) as u32;
        self.texts.extend(header(name, port));
        self.texts.extend(name);
        self.texts.resize(self.texts.len().next_multiple_of(TEXT_ALIGN), 0);
        let hash = self.hash(name, port);
        self.put(hash, number, text);
        self.len += 1;
        Ok(())
    }

    #[inline]
    pub(crate) fn get(&self, name: &[u8], port: u16) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let hash = self.hash(name, port);
        let mut at = place(hash, self.lines.len());
        loop {
            let line = &self.lines[at];
            for n in 0..LINE_NAMES {
                if line.tags[n] == hash as u32 && n < line.used as usize && self.is_at(line.texts[n], name, port) {
                    return Some(line.numbers[n]);
                }
            }
            // Some line has room: there are more lines than full ones.
            if (line.used as usize) < LINE_NAMES {
                return None;
            }
            at = if at + 1 == self.lines.len() { 0 } else { at + 1 };
        }
    }

    #[inline]
    fn is_at(&self, text: u32, name: &[u8], port: u16) -> bool {
        let written = self.texts.get(text as usize * TEXT_ALIGN..).and_then(<[u8]>::split_first_chunk);
        written.is_some_and(|(head, rest)| *head == header(name, port) && rest.starts_with(name))
    }

    fn put(&mut self, hash: u64, number: u32, text: u32) {
        let mut at = place(hash, self.lines.len());
        while self.lines[at].used as usize == LINE_NAMES {
            at = (at + 1) % self.lines.len();
        }
        let line = &mut self.lines[at];
        let n = line.used as usize;
        (line.tags[n], line.numbers[n], line.texts[n]) = (hash as u32, number, text);
        line.used += 1;
    }

    fn grow(&mut self, lines: usize) {
        let old = std::mem::replace(&mut self.lines, vec![Line::default(); lines]);
        for line in old {
            for n in 0..line.used as usize {
                let (name, port) = self.written(line.texts[n]);
                let hash = self.hash(name, port);
                self.put(hash, line.numbers[n], line.texts[n]);
            }
        }
    }

    fn written(&self, text: u32) -> (&[u8], u16) {
        let (head, rest) = self.texts[text as usize * TEXT_ALIGN..].split_first_chunk().expect("a header");
        let head = u64::from_le_bytes(*head);
        (&rest[..(head >> 16) as usize], head as u16)
    }

    #[inline]
    fn hash(&self, name: &[u8], port: u16) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write_usize(name.len() << 16 | usize::from(port));
        hasher.write(name);
        hasher.finish()
    }
}

#[inline]
fn header(name: &[u8], port: u16) -> [u8; 8] {
    ((name.len() as u64) << 16 | u64::from(port)).to_le_bytes()
}

/// The line where the search for a hash starts: by its high half, which the tag does not have.
#[inline]
fn place(hash: u64, lines: usize) -> usize {
    (((hash >> 32) * lines as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn equals_a_map(
            names in prop::collection::vec(("[ab]{0,4}", 0u16..3), 0..200),
            reserved in 0usize..100,
            asked in prop::collection::vec(("[ab]{0,4}", 0u16..3), 0..50),
        ) {
            let (mut table, mut map) = (Names::new(), HashMap::new());
            table.reserve(reserved);
            for ((name, port), number) in names.iter().zip(0..) {
                let before = map.get(&(name, *port)).copied();
                prop_assert_eq!(table.insert(name.as_bytes(), *port, number), before.map_or(Ok(()), Err));
                map.entry((name, *port)).or_insert(number);
            }
            prop_assert_eq!(table.is_empty(), map.is_empty());
            for (name, port) in names.iter().chain(&asked) {
                prop_assert_eq!(table.get(name.as_bytes(), *port), map.get(&(name, *port)).copied());
            }
        }
    }

    #[test]
    fn few_names_are_not_where_their_search_starts() {
        let mut table = Names::new();
        let name = |n: u32| format!("service-{n}.default.svc.cluster.local");
        (0..30_000).for_each(|n| table.insert(name(n).as_bytes(), 80, n).unwrap());
        let full = table.lines.iter().filter(|line| line.used as usize == LINE_NAMES).count();
        assert!(full * 4 < table.lines.len(), "{full} of {}", table.lines.len());
    }
}
