//! The character classes of RFC 9110 §5.6, as one table: a byte costs one load, whatever the question.

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;
const PLAIN: u8 = 16;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            classes[byte] |= TOKEN | HOST;
        }
        if matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        ) {
            classes[byte] |= TOKEN;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            classes[byte] |= VALUE;
        }
        if b > b' ' && b < 0x7f && b != b'#' {
            classes[byte] |= TARGET | if matches!(b, b'?' | b'%') { 0 } else { PLAIN };
        }
        if matches!(b, b'-' | b'.' | b'_' | b'~') {
            classes[byte] |= HOST;
        }
        byte += 1;
    }
    classes
};

/// `tchar`.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Part of a field value: visible, SP, HTAB or obs-text (RFC 9110 §5.5).
pub(crate) fn is_value_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

/// May stand in a request-target: visible ASCII but `#`. Wider than RFC 3986 (`|`, `{`, `"` occur in the wild and are
/// unambiguous), and as wide as Envoy's; bytes from 0x80 on have to be percent-encoded.
pub(crate) fn is_target_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TARGET != 0
}

/// How many bytes at the start mean nothing in a request-target: they may stand there, and are neither `?` nor `%`.
pub(crate) fn plain_target_len(bytes: &[u8]) -> usize {
    run_len(bytes, PLAIN)
}

/// How many bytes at the start may stand in a host name: `unreserved` alone. Percent-encoding and sub-delims are legal in RFC 3986, and read
/// differently by different parsers: refused.
pub(crate) fn host_len(bytes: &[u8]) -> usize {
    run_len(bytes, HOST)
}

/// How many bytes at the start are of a class; eight at a time, with one branch for all.
fn run_len(bytes: &[u8], class: u8) -> usize {
    let whole = |chunk: &&[u8; 8]| chunk.iter().fold(class, |all, &b| all & CLASSES[b as usize]) != 0;
    let (chunks, _) = bytes.as_chunks::<8>();
    let len = chunks.iter().take_while(whole).count() * 8;
    len + bytes[len..].iter().take_while(|&&b| CLASSES[b as usize] & class != 0).count()
}

/// `1*tchar`.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

/// The elements of a comma-separated list without the white space around them; empty ones are skipped (RFC 9110 §5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|element| !element.is_empty())
}

/// Without SP and HTAB at both ends.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_rfc() {
        for b in 0..=255u8 {
            let tchar = b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            assert_eq!(is_token_byte(b), tchar, "{b:#x}");
            assert_eq!(is_value_byte(b), b == b'\t' || (0x20..0x7f).contains(&b) || b >= 0x80, "{b:#x}");
            assert_eq!(is_target_byte(b), b.is_ascii_graphic() && b != b'#', "{b:#x}");
            let (plain, host) =
                (is_target_byte(b) && !b"?%".contains(&b), b.is_ascii_alphanumeric() || b"-._~".contains(&b));
            for at in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[at] = b;
                assert_eq!(plain_target_len(&bytes), if plain { 20 } else { at }, "{b:#x}");
                assert_eq!(host_len(&bytes), if host { 20 } else { at }, "{b:#x}");
            }
        }
    }

    #[test]
    fn lists_skip_empty_elements_and_white_space() {
        let elements: Vec<&[u8]> = list(b" a ,, b\t,\t, c d ,").collect();
        assert_eq!(elements, [b"a" as &[u8], b"b", b"c d"]);
        assert_eq!(list(b" \t").count(), 0);
    }
}
