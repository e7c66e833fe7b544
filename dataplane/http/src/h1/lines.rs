//! Lines: where a head ends, and what is wrong with the lines of one that was refused.

use crate::h1::HeadError;
use crate::token::{is_token_byte, is_value_byte};

/// Looks for the blank line in bytes that no earlier call has seen, and refuses bare LFs on the way. Gives the head's length.
///
/// Only the bytes from `scanned` on are searched, so that a head that comes byte by byte costs its length and not its square.
pub(super) fn head_end(bytes: &[u8], scanned: usize) -> Result<Option<usize>, HeadError> {
    let mut at = scanned;
    while let Some(found) = find_lf(bytes, at) {
        if found == 0 || bytes[found - 1] != b'\r' {
            return Err(HeadError::BareLf);
        }
        if found >= 3 && bytes[found - 2] == b'\n' {
            return Ok(Some(found + 1));
        }
        at = found + 1;
    }
    Ok(None)
}

/// The next LF from `at` on.
fn find_lf(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.iter().position(|&b| b == b'\n').map(|found| at + found)
}

/// Whether a start-line of more than `bytes_max` is coming in: no line end in that many bytes. Asked once per head, by the call that sees the
/// bound crossed.
pub(super) fn start_line_exceeds(bytes: &[u8], scanned: usize, bytes_max: usize) -> bool {
    scanned <= bytes_max && bytes.len() > bytes_max && find_lf(&bytes[..bytes_max], 0).is_none()
}

/// Names what is wrong with field lines that the tokeniser refused. `bytes` starts with the start-line. Only for the record: it runs once, when the
/// connection is lost anyway.
pub(super) fn diagnose(bytes: &[u8], otherwise: HeadError) -> HeadError {
    let mut lines = bytes.split_inclusive(|&b| b == b'\n');
    let Some(start_line) = lines.next() else { return otherwise };
    if start_line.ends_with(b"\n") && !start_line.ends_with(b"\r\n") {
        return HeadError::BareLf;
    }
    for (index, line) in lines.enumerate() {
        if let Some(fault) = line_fault(line, index == 0) {
            return fault;
        }
    }
    otherwise
}

/// What is wrong with one field line; the last one may lack its end.
fn line_fault(line: &[u8], first: bool) -> Option<HeadError> {
    let content = match line {
        [content @ .., b'\r', b'\n'] => content,
        [_, .., b'\n'] | [b'\n'] => return Some(HeadError::BareLf),
        [content @ .., b'\r'] => content,
        content => content,
    };
    if content.contains(&b'\r') {
        return Some(HeadError::BareCr);
    }
    if let Some(b' ' | b'\t') = content.first() {
        return Some(if first { HeadError::SpaceBeforeFirstField } else { HeadError::ObsFold });
    }
    let name_len = content.iter().position(|&b| !is_token_byte(b))?;
    match content[name_len] {
        b':' if name_len == 0 => Some(HeadError::FieldName),
        b':' if content[name_len..].iter().all(|&b| is_value_byte(b)) => None,
        b':' => Some(HeadError::FieldValue),
        b' ' | b'\t' if content[name_len..].trim_ascii_start().first() == Some(&b':') => {
            Some(HeadError::SpaceBeforeColon)
        }
        _ => Some(HeadError::FieldName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_the_search_resumes() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest\r\n\r\n";
        for scanned in 0..=24 {
            assert_eq!(head_end(head, scanned.min(23)), Ok(Some(24)), "{scanned}");
        }
        assert_eq!(head_end(&head[..23], 0), Ok(None));
        assert_eq!(head_end(head, 1000), Ok(None));
    }

    #[test]
    fn bare_line_feeds_are_refused_on_the_way() {
        for bytes in [b"\n" as &[u8], b"GET / HTTP/1.1\n", b"a\r\nb\n\r\n", b"a\r\n\n", b"a\r\n\r\r\n\n"] {
            assert_eq!(head_end(bytes, 0), Err(HeadError::BareLf), "{bytes:?}");
        }
    }

    #[test]
    fn faults_have_names() {
        let cases: &[(&[u8], HeadError)] = &[
            (b"S\nA: b\r\n", HeadError::BareLf),
            (b"S\r\nA: b\nC: d\r\n", HeadError::BareLf),
            (b"S\r\nA: b\rc\r\n", HeadError::BareCr),
            (b"S\r\n A: b\r\n", HeadError::SpaceBeforeFirstField),
            (b"S\r\nA: b\r\n c\r\n", HeadError::ObsFold),
            (b"S\r\nA: b\r\n\tc", HeadError::ObsFold),
            (b"S\r\nA : b\r\n", HeadError::SpaceBeforeColon),
            (b"S\r\nA\t: b\r\n", HeadError::SpaceBeforeColon),
            (b"S\r\n: b\r\n", HeadError::FieldName),
            (b"S\r\nA b\r\n", HeadError::FieldName),
            (b"S\r\nA\0: b\r\n", HeadError::FieldName),
            (b"S\r\nA: \0\r\n", HeadError::FieldValue),
            (b"S\r\nA: \x7f\r\n", HeadError::FieldValue),
            (b"S\r\nA: b\r\n", HeadError::TooLong),
            (b"", HeadError::TooLong),
        ];
        for (bytes, fault) in cases {
            assert_eq!(diagnose(bytes, HeadError::TooLong), *fault, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
