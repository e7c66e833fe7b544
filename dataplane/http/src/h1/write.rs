//! Heads out: a start-line, lines copied from a received head byte for byte, lines of our own. It checks no grammar: what it is given was
//! parsed or configured, and validated there.

use crate::h1::HeadTooLong;
use crate::head::{Field, Fields};
use std::ops::Range;

/// Digits of `u64::MAX`.
const U64_DIGITS_MAX: usize = 20;

/// Writes a head into a caller's buffer; remembers overflow instead of panicking.
pub struct HeadWriter<'b> {
    buffer: &'b mut [u8],
    len: usize,
    overflow: bool,
}

impl<'b> HeadWriter<'b> {
    /// Starts at the buffer's first byte.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        HeadWriter { buffer, len: 0, overflow: false }
    }

    /// Bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(room) if !self.overflow => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.overflow = true,
        }
    }

    /// A number in decimal.
    pub fn put_u64(&mut self, mut n: u64) {
        let mut digits = [0; U64_DIGITS_MAX];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                return self.put(&digits[at..]);
            }
        }
    }

    /// `name: value` and CRLF. Neither may have a line end; both come from a parsed message or from verified configuration.
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        self.put(name);
        self.put(b": ");
        self.put(value);
        self.put(b"\r\n");
    }

    /// `method path HTTP/1.1` and CRLF.
    pub fn request_line(&mut self, method: &[u8], path: &[u8]) {
        self.put(method);
        self.put(b" ");
        self.put(path);
        self.put(b" HTTP/1.1\r\n");
    }

    /// `HTTP/1.1 status reason` and CRLF.
    pub fn status_line(&mut self, status: u16, reason: &[u8]) {
        self.put(b"HTTP/1.1 ");
        self.put_u64(status.into());
        self.put(b" ");
        self.put(reason);
        self.put(b"\r\n");
    }

    /// Copies header lines byte for byte in order, skipping those for which `skip` is true; neighbouring lines are copied in one go.
    pub fn fields(&mut self, bytes: &[u8], fields: &Fields, mut skip: impl FnMut(&Field) -> bool) {
        let mut run: Range<usize> = 0..0;
        for field in fields.iter() {
            if skip(field) {
                continue;
            }
            if field.line.start as usize != run.end {
                self.put(&bytes[run]);
                run = field.line.start as usize..0;
            }
            run.end = field.line.end as usize;
        }
        self.put(&bytes[run]);
    }

    /// Writes the blank line and gives the head's length.
    pub fn end(mut self) -> Result<usize, HeadTooLong> {
        self.put(b"\r\n");
        if self.overflow { Err(HeadTooLong) } else { Ok(self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{HeadLimits, Parse};
    use crate::head::{Known, RequestHead};

    const HEAD: &[u8] =
        b"GET http://a/b HTTP/1.1\r\nHOST: a\r\nx-A:1\r\nConnection: close, x-b\r\nX-B: 2\r\nlast:  3 \r\nUpgrade: h2c\r\n\r\n";

    fn parsed() -> RequestHead {
        let mut head = RequestHead::default();
        assert_eq!(head.parse(HEAD, 0, &HeadLimits::default()), Ok(Parse::Complete));
        head
    }

    #[test]
    fn lines_are_copied_byte_for_byte_but_the_skipped_ones() {
        let head = parsed();
        let mut out = [0; 256];
        let mut writer = HeadWriter::new(&mut out);
        writer.request_line(head.method_span.of(HEAD), head.path.of(HEAD));
        writer.fields(HEAD, &head.fields, |field| field.hop || field.known == Known::Host);
        writer.field(b"host", b"b");
        writer.put(b"n: ");
        writer.put_u64(u64::MAX);
        writer.put(b"\r\n");
        let len = writer.end().unwrap();
        assert_eq!(
            std::str::from_utf8(&out[..len]).unwrap(),
            "GET /b HTTP/1.1\r\nx-A:1\r\nlast:  3 \r\nhost: b\r\nn: 18446744073709551615\r\n\r\n"
        );
    }

    #[test]
    fn nothing_skipped_and_everything_skipped() {
        let head = parsed();
        let (mut all, mut none) = ([0; 256], [0; 256]);
        let mut writer = HeadWriter::new(&mut all);
        writer.fields(HEAD, &head.fields, |_| false);
        let len = writer.end().unwrap();
        assert_eq!(&all[..len], &HEAD[25..]);
        let mut writer = HeadWriter::new(&mut none);
        writer.fields(HEAD, &head.fields, |_| true);
        assert_eq!(writer.end(), Ok(2));
    }

    #[test]
    fn overflow_is_remembered_at_every_length() {
        let mut out = [0; 64];
        let mut write = |room: usize| {
            let mut writer = HeadWriter::new(&mut out[..room]);
            writer.status_line(200, b"OK");
            writer.field(b"a", b"b");
            writer.put(b"");
            writer.end()
        };
        let whole = b"HTTP/1.1 200 OK\r\na: b\r\n\r\n".len();
        for room in 0..whole {
            assert_eq!(write(room), Err(HeadTooLong), "{room}");
        }
        assert_eq!(write(whole), Ok(whole));
    }

    #[test]
    fn a_short_piece_after_an_overflow_does_not_hide_it() {
        let mut out = [0; 8];
        let mut writer = HeadWriter::new(&mut out);
        writer.put(b"123456789");
        writer.put(b"1");
        assert_eq!(writer.end(), Err(HeadTooLong));
    }
}
