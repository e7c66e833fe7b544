//! Reads a blob where it lies.

use std::marker::PhantomData;

use zerocopy::FromBytes;

use super::{BLOB_MAGIC, Header, Record, SECTION_STRINGS, SectionEntry, Span, Str};
use crate::error::{SectionFault, VerifyError};
use crate::limits::{BLOB_BYTES_MAX, SECTIONS_MAX};

/// A look at a blob whose header, section table and pool were checked; what records say is [`crate::v1::verify`]'s to check. Everything
/// here is total: a string or span that is not in the blob is `None`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    table: &'a [SectionEntry],
    /// UTF-8.
    pool: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks header, section table and that the pool is UTF-8.
    pub fn open(bytes: &'a [u8]) -> Result<View<'a>, VerifyError> {
        let view = View::reopen(bytes)?;
        std::str::from_utf8(view.pool).map_err(|e| VerifyError::Utf8 { offset: e.valid_up_to() })?;
        Ok(view)
    }

    /// The same for bytes whose pool was checked before: it may be large, and is not read again.
    pub(crate) fn reopen(bytes: &'a [u8]) -> Result<View<'a>, VerifyError> {
        let header = open_header(bytes)?;
        let table = open_table(bytes, header)?;
        let mut view = View { bytes, header, table, pool: &[] };
        view.pool = view.section(SECTION_STRINGS).map_or(&[][..], |(bytes, ..)| bytes);
        Ok(view)
    }

    /// The header.
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// Bytes of the blob.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A string of the pool.
    #[inline]
    pub fn str(&self, s: Str) -> Option<&'a str> {
        let start = s.offset.get() as usize;
        // What begins and ends between characters of a text is text; nothing else is.
        std::str::from_utf8(self.pool.get(start..start.checked_add(s.len.get() as usize)?)?).ok()
    }

    /// How many records a section has; none when it is not there.
    pub fn count(&self, id: u16) -> usize {
        self.section(id).map_or(0, |(.., count)| count)
    }

    /// Bytes of one record, when the section is there.
    pub(crate) fn stride(&self, id: u16) -> Option<usize> {
        self.section(id).map(|(_, stride, _)| stride)
    }

    /// Its place in the section table; 0 when it is not there.
    pub(crate) fn entry(&self, id: u16) -> u16 {
        self.table.iter().position(|e| e.id.get() == id).unwrap_or(0) as u16
    }

    /// Records of a section; what a newer writer appended to each is left out.
    #[inline]
    pub fn records<R: Record>(&self, id: u16, span: Span) -> Option<Records<'a, R>> {
        let (start, count) = (span.start.get() as usize, span.count.get() as usize);
        if count == 0 {
            return Some(Records { bytes: &[], stride: 1, record: PhantomData });
        }
        let (bytes, stride, total) = self.section(id)?;
        if stride < size_of::<R>() || start.checked_add(count)? > total {
            return None;
        }
        Some(Records { bytes: &bytes[start * stride..(start + count) * stride], stride, record: PhantomData })
    }

    fn section(&self, id: u16) -> Option<(&'a [u8], usize, usize)> {
        let entry = self.table.iter().find(|e| e.id.get() == id)?;
        let (offset, stride, count) = (entry.offset.get(), entry.stride.get(), entry.count.get() as usize);
        let (offset, stride) = (offset as usize, stride as usize);
        Some((&self.bytes[offset..offset + stride * count], stride, count))
    }
}

/// Records one after another, read in place.
pub struct Records<'a, R> {
    bytes: &'a [u8],
    stride: usize,
    record: PhantomData<R>,
}

impl<'a, R: Record + 'a> Iterator for Records<'a, R> {
    type Item = &'a R;

    #[inline]
    fn next(&mut self) -> Option<&'a R> {
        let (record, rest) = self.bytes.split_at_checked(self.stride)?;
        self.bytes = rest;
        R::ref_from_prefix(record).ok().map(|(record, _)| record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.bytes.len() / self.stride;
        (left, Some(left))
    }
}

impl<'a, R: Record + 'a> ExactSizeIterator for Records<'a, R> {}

fn open_header(bytes: &[u8]) -> Result<&Header, VerifyError> {
    let (header, _) =
        Header::ref_from_prefix(bytes).map_err(|_| VerifyError::Truncated { what: "header", bytes: bytes.len() })?;
    if header.magic[..3] != BLOB_MAGIC[..3] {
        return Err(VerifyError::Magic { found: header.magic });
    }
    if header.magic[3] != BLOB_MAGIC[3] {
        return Err(VerifyError::Version { found: header.magic[3] });
    }
    if bytes.len() > BLOB_BYTES_MAX {
        return Err(VerifyError::TooLarge { what: "bytes of a blob", found: bytes.len(), max: BLOB_BYTES_MAX });
    }
    if header.bytes.get() as usize != bytes.len() {
        return Err(VerifyError::Length { said: header.bytes.get() as usize, found: bytes.len() });
    }
    if header.reserved != 0 {
        return Err(VerifyError::Header { field: "reserved byte" });
    }
    let sections = header.sections.get() as usize;
    if sections > SECTIONS_MAX {
        return Err(VerifyError::TooLarge { what: "sections of a blob", found: sections, max: SECTIONS_MAX });
    }
    Ok(header)
}

/// Sections stand in the order of their ids, one right behind the other, and fill the blob: there is neither overlap nor gap.
fn open_table<'a>(bytes: &'a [u8], header: &Header) -> Result<&'a [SectionEntry], VerifyError> {
    let (table, _) =
        <[SectionEntry]>::ref_from_prefix_with_elems(&bytes[size_of::<Header>()..], header.sections.get() as usize)
            .map_err(|_| VerifyError::Truncated { what: "section table", bytes: bytes.len() })?;
    let mut end = size_of::<Header>() + size_of_val(table);
    let mut last = 0;
    for (at, entry) in (0..).zip(table) {
        let (id, stride, count) = (entry.id.get(), entry.stride.get(), entry.count.get());
        let fail = |fault| Err(VerifyError::Section { entry: at, id, fault });
        let size = u64::from(stride) * u64::from(count);
        let (offset, left) = (entry.offset.get() as usize, (bytes.len() - end) as u64);
        if id <= last {
            return fail(SectionFault::Order);
        }
        if offset != end {
            return fail(SectionFault::Offset);
        }
        if stride == 0 || (id == SECTION_STRINGS && stride != 1) {
            return fail(SectionFault::Stride);
        }
        if size > left {
            return fail(SectionFault::Bounds);
        }
        last = id;
        end += size as usize;
    }
    match end == bytes.len() {
        true => Ok(table),
        false => Err(VerifyError::Length { said: end, found: bytes.len() }),
    }
}
