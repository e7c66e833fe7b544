//! Bytes of a blob: header, section table, records, string pool.
//!
//! Records are little-endian and unaligned, so that a blob is read where it lies. What a newer writer appended to a record or put into an unknown
//! section is skipped.

mod reader;
mod writer;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use reader::{Records, View};
pub(crate) use writer::Writer;

/// First bytes of every blob: three letters and the version.
pub const BLOB_MAGIC: [u8; 4] = *b"RWB1";
/// Section that holds the UTF-8 string pool.
pub const SECTION_STRINGS: u16 = 1;

/// First record of a blob.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Header {
    /// `RWB1`.
    pub magic: [u8; 4],
    /// [`crate::model::Kind`].
    pub kind: u8,
    /// 0.
    pub reserved: u8,
    /// Entries in the section table, which follows.
    pub sections: U16,
    /// Bytes of the whole blob.
    pub bytes: U32,
    /// The blob's name.
    pub name: Str,
}

/// One entry of the section table.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct SectionEntry {
    /// What it holds.
    pub id: U16,
    /// Bytes of one record; a reader uses as many as it knows.
    pub stride: U16,
    /// First byte, from the blob's start.
    pub offset: U32,
    /// Records.
    pub count: U32,
}

/// A string: bytes `offset..offset + len` of the string pool.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Str {
    /// First byte in the pool.
    pub offset: U32,
    /// Bytes.
    pub len: U32,
}

/// Records `start..start + count` of another section.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Span {
    /// First record.
    pub start: U32,
    /// Records.
    pub count: U32,
}

const _: () = assert!(
    size_of::<Header>() == 20 && size_of::<SectionEntry>() == 12 && size_of::<Str>() == 8 && size_of::<Span>() == 8
);

/// A fixed-size record. Deriving [`IntoBytes`] proves that it has no padding.
pub trait Record: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy> Record for T {}
