//! The first message of a TLS connection, as far as a route needs it: the server name that the client asks for (RFC 8446 §4.1.2, RFC 6066 §3).
//!
//! Bytes in, name out; nothing is decrypted, changed or kept. Strict: what a server behind us could read as another name is refused.

use std::fmt;

/// Bytes, record headers included, in which a ClientHello has to end. A usual one has 250 to 2,000.
pub const HELLO_BYTES_MAX: usize = 16 << 10;
/// Bytes of a server name (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Bytes of one label of it.
const LABEL_BYTES_MAX: usize = 63;

const RECORD_HEADER_BYTES: usize = 5;
const RECORD_HANDSHAKE: u8 = 22;
/// First byte of every version's number, SSL 3.0 to TLS 1.3.
const VERSION_MAJOR: u8 = 3;
const MESSAGE_HEADER_BYTES: usize = 4;
const MESSAGE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_TYPE_HOST: u8 = 0;

/// How far a ClientHello has come.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Nothing can be said before there are so many bytes in all.
    Partial {
        /// More than there are now, at most [`HELLO_BYTES_MAX`].
        bytes: usize,
    },
    /// It is whole. `None`: the client names no server.
    Complete(Option<ServerName>),
}

/// A server name in lower case, on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ServerName {
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

/// Why a connection's first bytes are no ClientHello that can be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloError {
    /// They are no TLS handshake.
    NotTls,
    /// Lengths in it contradict each other, or it is not a ClientHello alone.
    Malformed,
    /// It does not end within [`HELLO_BYTES_MAX`].
    TooLong,
    /// Its server name is no DNS name, or there are several.
    WrongName,
}

impl HelloError {
    /// One word for logs.
    pub fn name(self) -> &'static str {
        match self {
            HelloError::NotTls => "tls_not_spoken",
            HelloError::Malformed => "tls_hello_malformed",
            HelloError::TooLong => "tls_hello_too_long",
            HelloError::WrongName => "tls_server_name_wrong",
        }
    }
}

impl ServerName {
    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// A DNS name without a trailing dot; no address.
    fn new(raw: &[u8]) -> Option<ServerName> {
        let label = |label: &[u8]| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let address = raw.rsplit(|b| *b == b'.').next().is_some_and(|last| last.iter().all(u8::is_ascii_digit));
        if raw.len() > NAME_BYTES_MAX || address || !raw.split(|b| *b == b'.').all(label) {
            return None;
        }
        let mut name = ServerName { bytes: [0; NAME_BYTES_MAX], len: raw.len() as u8 };
        name.bytes[..raw.len()].copy_from_slice(raw);
        name.bytes.make_ascii_lowercase();
        Some(name)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Reads a connection's first bytes, always from the very first one. `scratch` serves messages that are cut into several records; its content does
/// not matter.
///
/// # Errors
/// As soon as the bytes cannot become a ClientHello that can be routed.
pub fn parse(bytes: &[u8], scratch: &mut Vec<u8>) -> Result<Hello, HelloError> {
    scratch.clear();
    let mut at = 0;
    loop {
        let start = at + RECORD_HEADER_BYTES;
        if start > HELLO_BYTES_MAX {
            return Err(HelloError::TooLong);
        }
        let end = start + record(&bytes[at..])?.unwrap_or(0);
        if end > HELLO_BYTES_MAX {
            return Err(HelloError::TooLong);
        }
        let fragment = match bytes.get(start..end) {
            Some(fragment) if !fragment.is_empty() => fragment,
            _ => return Ok(Hello::Partial { bytes: end }),
        };
        at = end;
        // Mostly one record has it all; else the pieces are put together.
        let message = if scratch.is_empty() && message_len(fragment)? == Some(fragment.len()) {
            fragment
        } else {
            scratch.extend_from_slice(fragment);
            match message_len(scratch)? {
                Some(len) if scratch.len() == len => &scratch[..],
                Some(len) if scratch.len() > len => return Err(HelloError::Malformed),
                _ => continue,
            }
        };
        return server_name(&message[MESSAGE_HEADER_BYTES..]).map(Hello::Complete);
    }
}

/// Content length of the record that starts here, once its header is there.
fn record(bytes: &[u8]) -> Result<Option<usize>, HelloError> {
    let wrong = |at: usize, expected: u8| bytes.get(at).is_some_and(|b| *b != expected);
    if wrong(0, RECORD_HANDSHAKE) || wrong(1, VERSION_MAJOR) {
        return Err(HelloError::NotTls);
    }
    let Some(&[_, _, _, high, low]) = bytes.first_chunk() else { return Ok(None) };
    match usize::from(u16::from_be_bytes([high, low])) {
        0 => Err(HelloError::Malformed),
        len => Ok(Some(len)),
    }
}

/// Length of the message that starts here, its header included, once that is there.
fn message_len(bytes: &[u8]) -> Result<Option<usize>, HelloError> {
    if bytes.first().is_some_and(|b| *b != MESSAGE_CLIENT_HELLO) {
        return Err(HelloError::NotTls);
    }
    let Some(&[_, a, b, c]) = bytes.first_chunk() else { return Ok(None) };
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    if len > HELLO_BYTES_MAX { Err(HelloError::TooLong) } else { Ok(Some(MESSAGE_HEADER_BYTES + len)) }
}

/// The server name in a ClientHello without its header.
fn server_name(body: &[u8]) -> Result<Option<ServerName>, HelloError> {
    let mut rest = Rest(body);
    let [major, _] = rest.array()?;
    let _random: [u8; 32] = rest.array()?;
    let session = rest.list8()?;
    let suites = rest.list16()?;
    let compressions = rest.list8()?;
    let sound = session.len() <= 32 && suites.len() >= 2 && suites.len() % 2 == 0 && !compressions.is_empty();
    if major != VERSION_MAJOR || !sound {
        return Err(HelloError::Malformed);
    }
    if rest.0.is_empty() {
        return Ok(None);
    }
    let mut extensions = Rest(rest.list16()?);
    if !rest.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = u16::from_be_bytes(extensions.array()?);
        let content = extensions.list16()?;
        if kind == EXTENSION_SERVER_NAME && name.replace(host_name(content)?).is_some() {
            return Err(HelloError::WrongName);
        }
    }
    Ok(name)
}

/// The one host name in a server name extension.
fn host_name(content: &[u8]) -> Result<ServerName, HelloError> {
    let mut content = Rest(content);
    let mut names = Rest(content.list16()?);
    let [kind] = names.array()?;
    let name = names.list16()?;
    let alone = kind == NAME_TYPE_HOST && names.0.is_empty() && content.0.is_empty();
    ServerName::new(name).filter(|_| alone).ok_or(HelloError::WrongName)
}

/// What of a message is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], HelloError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], HelloError> {
        let (first, rest) = self.0.split_at_checked(len).ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(first)
    }

    /// Bytes behind their length of one byte.
    fn list8(&mut self) -> Result<&'a [u8], HelloError> {
        let [len] = self.array()?;
        self.take(len.into())
    }

    /// Bytes behind their length of two bytes.
    fn list16(&mut self) -> Result<&'a [u8], HelloError> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(len.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list8(content: &[u8]) -> Vec<u8> {
        [&[content.len() as u8], content].concat()
    }

    fn list16(content: &[u8]) -> Vec<u8> {
        [&(content.len() as u16).to_be_bytes(), content].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &list16(content)].concat()
    }

    fn named(name: &[u8]) -> Vec<u8> {
        extension(0, &list16(&[&[0][..], &list16(name)].concat()))
    }

    fn body(extensions: Option<&[u8]>) -> Vec<u8> {
        let extensions = extensions.map(list16).unwrap_or_default();
        [&[3, 3][..], &[7; 32], &list8(&[1; 32]), &list16(&[0x13, 1]), &list8(&[0]), &extensions].concat()
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u32).to_be_bytes();
        [&[1], &len[1..], body].concat()
    }

    /// In records of at most `size` bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|chunk| [&[22, 3, 1][..], &list16(chunk)].concat()).collect()
    }

    fn whole(extensions: &[u8]) -> Vec<u8> {
        records(&message(&body(Some(extensions))), usize::MAX)
    }

    fn read(bytes: &[u8]) -> Result<Option<String>, HelloError> {
        match parse(bytes, &mut Vec::new())? {
            Hello::Complete(name) => Ok(name.map(|n| String::from_utf8(n.as_bytes().to_vec()).unwrap())),
            Hello::Partial { bytes: wanted } => panic!("wants {wanted} bytes"),
        }
    }

    #[test]
    fn names() {
        let label = "a".repeat(63);
        let long = [label.as_str(); 3].join(".") + "." + &"b".repeat(63);
        for (name, expected) in [
            ("www.example.com", Some("www.example.com")),
            ("WWW.Example.COM", Some("www.example.com")),
            ("_sip._tls.example", Some("_sip._tls.example")),
            ("outbound_.443_._.db.default.svc", Some("outbound_.443_._.db.default.svc")),
            ("localhost", Some("localhost")),
            (&long, Some(&*long)),
            ("", None),
            ("a..b", None),
            (".a", None),
            ("a.", None),
            ("10.0.0.1", None),
            ("::1", None),
            ("a b", None),
            ("a:443", None),
            ("a\0.evil", None),
            ("*.example.com", None),
            ("ä.example", None),
            (&format!("{label}a.b"), None),
            (&format!("{long}.c"), None),
        ] {
            let expected = expected.map(|name| Some(name.to_owned())).ok_or(HelloError::WrongName);
            assert_eq!(read(&whole(&named(name.as_bytes()))), expected, "{name}");
        }
    }

    #[test]
    fn a_client_may_name_no_server() {
        assert_eq!(read(&records(&message(&body(None)), usize::MAX)), Ok(None));
        assert_eq!(read(&whole(&[])), Ok(None));
        assert_eq!(read(&whole(&extension(16, b"\0\x03\x02h2"))), Ok(None));
    }

    #[test]
    fn other_extensions_do_not_matter() {
        let extensions = [extension(0x0a0a, b""), named(b"a.test"), extension(41, &[9; 100])].concat();
        assert_eq!(read(&whole(&extensions)), Ok(Some("a.test".into())));
    }

    #[test]
    fn two_names_are_one_too_many() {
        let twice = [named(b"a.test"), named(b"b.test")].concat();
        assert_eq!(read(&whole(&twice)), Err(HelloError::WrongName));
        let one = [&[0][..], &list16(b"a.test")].concat();
        let both = extension(0, &list16(&[one.clone(), one].concat()));
        assert_eq!(read(&whole(&both)), Err(HelloError::WrongName));
        let other = extension(0, &list16(&[&[1][..], &list16(b"a.test")].concat()));
        assert_eq!(read(&whole(&other)), Err(HelloError::WrongName));
    }

    #[test]
    fn it_may_be_cut_into_records_and_pieces() {
        let message = message(&body(Some(&named(b"cut.test"))));
        for size in [1, 3, 4, 5, 50, message.len()] {
            let bytes = records(&message, size);
            assert_eq!(read(&bytes), Ok(Some("cut.test".into())), "records of {size}");
            let mut scratch = Vec::new();
            for end in 0..bytes.len() {
                match parse(&bytes[..end], &mut scratch) {
                    Ok(Hello::Partial { bytes: wanted }) => {
                        assert!(end < wanted && wanted <= bytes.len(), "{end} {wanted}")
                    }
                    other => panic!("records of {size}, {end} bytes: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_refused() {
        use HelloError::{Malformed, NotTls, TooLong};
        let good = message(&body(Some(&named(b"a.test"))));
        let edited = |at: usize, byte: u8| {
            let mut message = good.clone();
            message[at] = byte;
            records(&message, usize::MAX)
        };
        let trailing = [&good[..], b"x"].concat();
        let mut unfinished = body(Some(&named(b"a.test")));
        unfinished.pop();
        for (what, bytes, expected) in [
            ("HTTP", b"GET / HTTP/1.1\r\n".to_vec(), NotTls),
            ("its first byte", b"G".to_vec(), NotTls),
            ("an alert", vec![21, 3, 3, 0, 2, 1, 0], NotTls),
            ("another major version", vec![22, 2, 0], NotTls),
            ("an empty record", vec![22, 3, 1, 0, 0], Malformed),
            ("a record beyond the limit", vec![22, 3, 1, 0x40, 0], TooLong),
            ("a message beyond the limit", vec![22, 3, 1, 0, 4, 1, 1, 0, 0], TooLong),
            ("another message", edited(0, 2), NotTls),
            ("a version that is none", edited(4, 2), Malformed),
            ("a long session id", edited(38, 33), Malformed),
            ("an odd list of suites", edited(72, 1), Malformed),
            ("a message behind it", records(&trailing, usize::MAX), Malformed),
            ("one that ends too early", records(&message(&unfinished), usize::MAX), Malformed),
            ("many small records", records(&message(&body(Some(&extension(21, &[0; 9000])))), 4), TooLong),
        ] {
            assert_eq!(parse(&bytes, &mut Vec::new()), Err(expected), "{what}");
        }
    }
}
