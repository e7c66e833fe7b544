//! What a token names: a listener, a downstream or an upstream connection; slab index and generation packed into 64 bits.

use ringway_engine::Token;
use ringway_engine::slab::Key;

/// The owner of a completion or a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A listener, by housekeeping's id.
    Listener(u32),
    /// A connection that was accepted.
    Down(Key),
    /// A connection that we opened.
    Up(Key),
}

const KIND_SHIFT: u32 = 60;
const INDEX_BITS: u32 = 28;

impl Target {
    /// Packs.
    pub fn token(self) -> Token {
        let (kind, index, generation) = match self {
            Target::Listener(id) => (0, id, 0),
            Target::Down(key) => (1, key.index, key.generation),
            Target::Up(key) => (2, key.index, key.generation),
        };
        debug_assert!(index < 1 << INDEX_BITS);
        Token(kind << KIND_SHIFT | u64::from(index) << 32 | u64::from(generation))
    }

    /// Unpacks.
    pub fn of(token: Token) -> Target {
        let index = (token.0 >> 32) as u32 & ((1 << INDEX_BITS) - 1);
        let key = Key { index, generation: token.0 as u32 };
        match token.0 >> KIND_SHIFT {
            0 => Target::Listener(index),
            1 => Target::Down(key),
            _ => Target::Up(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_unpack_to_what_was_packed() {
        let key = Key { index: (1 << INDEX_BITS) - 1, generation: u32::MAX };
        for target in [Target::Listener(7), Target::Down(key), Target::Up(key)] {
            assert_eq!(Target::of(target.token()), target);
        }
    }
}
