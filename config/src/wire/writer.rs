//! Builds a blob. The same calls give the same bytes: strings enter the pool on first use, sections are sorted by id.

use std::collections::HashMap;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::{BLOB_MAGIC, Header, Record, SECTION_STRINGS, SectionEntry, Span, Str};
use crate::error::EncodeError;
use crate::limits::{BLOB_BYTES_MAX, RECORDS_MAX, STRING_BYTES_MAX};

/// A blob in the making, over a model that lives for `'m`. The first error is kept and comes out of [`Writer::finish`].
#[derive(Default)]
pub(crate) struct Writer<'m> {
    sections: Vec<Section>,
    pool: Vec<u8>,
    interned: HashMap<&'m str, Str>,
    error: Option<EncodeError>,
}

struct Section {
    id: u16,
    stride: u16,
    count: usize,
    bytes: Vec<u8>,
}

impl<'m> Writer<'m> {
    /// Puts a string into the pool, once. The empty string is 0, 0.
    pub(crate) fn str(&mut self, s: &'m str) -> Str {
        if s.is_empty() {
            return Str::default();
        }
        if let Some(known) = self.interned.get(s) {
            return *known;
        }
        if s.len() > STRING_BYTES_MAX {
            self.fail(EncodeError::StringTooLong { bytes: s.len(), start: s.chars().take(40).collect() });
            return Str::default();
        }
        if self.pool.len() + s.len() > BLOB_BYTES_MAX {
            self.fail(EncodeError::BlobTooLarge { bytes: self.pool.len() + s.len() });
            return Str::default();
        }
        let at = Str { offset: U32::new(self.pool.len() as u32), len: U32::new(s.len() as u32) };
        self.pool.extend_from_slice(s.as_bytes());
        self.interned.insert(s, at);
        at
    }

    /// Appends records to a section and tells where they are. No records are 0, 0.
    pub(crate) fn records<R: Record>(&mut self, id: u16, records: &[R]) -> Span {
        if records.is_empty() {
            return Span::default();
        }
        let at = self.sections.iter().position(|s| s.id == id).unwrap_or_else(|| {
            self.sections.push(Section { id, stride: size_of::<R>() as u16, count: 0, bytes: Vec::new() });
            self.sections.len() - 1
        });
        let section = &mut self.sections[at];
        let start = section.count;
        let count = start + records.len();
        if count > RECORDS_MAX {
            self.fail(EncodeError::TooManyRecords { section: id, records: count });
            return Span::default();
        }
        section.count = count;
        section.bytes.extend_from_slice(records.as_bytes());
        Span { start: U32::new(start as u32), count: U32::new(records.len() as u32) }
    }

    /// Notes an error; the first one counts.
    pub(crate) fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    /// The blob.
    pub(crate) fn finish(mut self, kind: u8, name: &'m str) -> Result<Vec<u8>, EncodeError> {
        let name = self.str(name);
        let pool = std::mem::take(&mut self.pool);
        self.sections.sort_by_key(|s| s.id);
        self.sections.insert(0, Section { id: SECTION_STRINGS, stride: 1, count: pool.len(), bytes: pool });
        let table_end = size_of::<Header>() + self.sections.len() * size_of::<SectionEntry>();
        let bytes = table_end + self.sections.iter().map(|s| s.bytes.len()).sum::<usize>();
        if bytes > BLOB_BYTES_MAX {
            self.fail(EncodeError::BlobTooLarge { bytes });
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut out = Vec::with_capacity(bytes);
        let sections = U16::new(self.sections.len() as u16);
        let header = Header { magic: BLOB_MAGIC, kind, reserved: 0, sections, bytes: U32::new(bytes as u32), name };
        out.extend_from_slice(header.as_bytes());
        let mut offset = table_end;
        for section in &self.sections {
            let entry = SectionEntry {
                id: U16::new(section.id),
                stride: U16::new(section.stride),
                offset: U32::new(offset as u32),
                count: U32::new(section.count as u32),
            };
            out.extend_from_slice(entry.as_bytes());
            offset += section.bytes.len();
        }
        self.sections.iter().for_each(|s| out.extend_from_slice(&s.bytes));
        Ok(out)
    }
}
