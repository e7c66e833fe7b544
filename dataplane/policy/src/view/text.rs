//! Bytes and lists that mostly are short: those lie where their owner lies, and come from memory with it.

use std::ops::Deref;

/// Bytes that fit into a [`Text`] of three words.
const SHORT_BYTES_MAX: usize = 22;

/// Bytes.
pub(crate) enum Text {
    Short(u8, [u8; SHORT_BYTES_MAX]),
    Long(Box<[u8]>),
}

/// A list that mostly has one item.
pub(crate) enum Few<T> {
    One(T),
    Many(Box<[T]>),
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Text {
        let mut short = [0; SHORT_BYTES_MAX];
        match short.get_mut(..bytes.len()) {
            Some(start) => {
                start.copy_from_slice(bytes);
                Text::Short(bytes.len() as u8, short)
            }
            None => Text::Long(bytes.into()),
        }
    }
}

impl Deref for Text {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Text::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Text::Long(bytes) => bytes,
        }
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut items: Vec<T>) -> Few<T> {
        match items.pop() {
            Some(only) if items.is_empty() => Few::One(only),
            last => {
                items.extend(last);
                Few::Many(items.into())
            }
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Few<T> {
        items.into_iter().collect::<Vec<_>>().into()
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Few::One(only) => std::slice::from_ref(only),
            Few::Many(items) => items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_what_they_were_made_of() {
        let bytes: Vec<u8> = (0..100).collect();
        for len in 0..bytes.len() {
            assert_eq!(*Text::from(&bytes[..len]), bytes[..len]);
            assert_eq!(*Few::from(bytes[..len].to_vec()), bytes[..len]);
        }
    }
}
