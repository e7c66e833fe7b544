//! Bytes that tell where they belong: each (owner, direction) reads one long table from another place.

use std::sync::OnceLock;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    Up,
    /// From the upstream.
    Down,
}

/// Prime, so that no buffer size divides it and bytes out of place are seen.
const TABLE_BYTES: usize = 65_521;

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut dice = crate::dice::Dice::new(0, 0);
        (0..TABLE_BYTES).map(|_| dice.next() as u8).collect()
    })
}

fn start(id: u32, way: Way) -> usize {
    (id as usize * 2 + (way == Way::Down) as usize) * 7919
}

/// Appends the `len` bytes at `offset` of a body.
pub fn fill(id: u32, way: Way, offset: usize, len: usize, out: &mut Vec<u8>) {
    let (table, mut at, mut left) = (table(), (start(id, way) + offset) % TABLE_BYTES, len);
    while left > 0 {
        let n = left.min(TABLE_BYTES - at);
        out.extend_from_slice(&table[at..at + n]);
        left -= n;
        at = 0;
    }
}

/// True when `bytes` are those at `offset` of a body.
pub fn is_at(id: u32, way: Way, offset: usize, mut bytes: &[u8]) -> bool {
    let (table, mut at) = (table(), (start(id, way) + offset) % TABLE_BYTES);
    while !bytes.is_empty() {
        let n = bytes.len().min(TABLE_BYTES - at);
        if bytes[..n] != table[at..at + n] {
            return false;
        }
        bytes = &bytes[n..];
        at = 0;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_known_by_owner_direction_and_place() {
        let mut bytes = Vec::new();
        fill(3, Way::Up, 65_000, 2_000, &mut bytes);
        assert!(is_at(3, Way::Up, 65_000, &bytes) && is_at(3, Way::Up, 65_010, &bytes[10..]));
        assert!(!is_at(3, Way::Down, 65_000, &bytes) && !is_at(4, Way::Up, 65_000, &bytes));
        assert!(!is_at(3, Way::Up, 65_001, &bytes));
    }
}
