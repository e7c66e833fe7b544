//! DNS questions and answers (RFC 1035, RFC 3596), as far as the addresses of a name need them. Bytes in, addresses out; no socket, no clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an answer over UDP; no larger ones are asked for.
pub const UDP_BYTES_MAX: usize = 512;
/// Addresses kept of one answer.
pub const ADDRESSES_MAX: usize = 256;
/// Aliases followed in one answer.
const ALIASES_MAX: usize = 16;
/// Bytes of a name with its length bytes (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;

const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;
const HEADER_BYTES: usize = 12;
const FLAG_RESPONSE: u16 = 1 << 15;
const FLAG_TRUNCATED: u16 = 1 << 9;
const FLAG_RECURSION_DESIRED: u16 = 1 << 8;
const CODE_NAME_ERROR: u16 = 3;

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

impl Family {
    fn code(self) -> u16 {
        match self {
            Family::V4 => 1,
            Family::V6 => 28,
        }
    }
}

/// The addresses of a name; none when it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// In the order of the answer, each once.
    pub addresses: Vec<IpAddr>,
    /// The smallest time to live of what they rest on, seconds; 0 when nothing says so.
    pub ttl_s: u32,
}

/// Why bytes are no answer that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// Not an answer to this question: the right one may still come.
    Stray,
    /// Not all of it fits into a datagram.
    Truncated,
    /// The server says that it failed, with this code.
    Failed(u16),
    /// Names or lengths in it contradict each other.
    Malformed,
}

/// A question for the addresses of a name, which has to be a DNS name.
pub fn query(id: u16, name: &str, family: Family) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    for word in [id, FLAG_RECURSION_DESIRED, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.trim_end_matches('.').split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&family.code().to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out
}

/// Reads the answer to such a question. A name that does not exist has no addresses.
pub fn answer(bytes: &[u8], id: u16, name: &str, family: Family) -> Result<Answer, AnswerError> {
    let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let header = |at: usize| word(at).ok_or(AnswerError::Stray);
    let (flags, questions, records) = (header(2)?, header(4)?, header(6)?);
    if header(0)? != id || flags & FLAG_RESPONSE == 0 || questions != 1 || bytes.len() < HEADER_BYTES {
        return Err(AnswerError::Stray);
    }
    let mut asked = Name::default();
    let mut at = asked.read(bytes, HEADER_BYTES)?;
    if !asked.is(name) || word(at) != Some(family.code()) || word(at + 2) != Some(CLASS_IN) {
        return Err(AnswerError::Stray);
    }
    at += 4;
    match flags & 0xf {
        0 => {}
        CODE_NAME_ERROR => return Ok(Answer::default()),
        code => return Err(AnswerError::Failed(code)),
    }
    if flags & FLAG_TRUNCATED != 0 {
        return Err(AnswerError::Truncated);
    }
    let mut all = Vec::new();
    for _ in 0..records {
        let (record, end) = Record::read(bytes, at)?;
        all.push(record);
        at = end;
    }
    follow(&all, asked, bytes, family)
}

/// Follows aliases from the name asked for to its addresses.
fn follow(all: &[Record<'_>], asked: Name, bytes: &[u8], family: Family) -> Result<Answer, AnswerError> {
    let (mut owner, mut ttl_s) = (asked, u32::MAX);
    for _ in 0..=ALIASES_MAX {
        let own = || all.iter().filter(|record| record.class == CLASS_IN && record.owner == owner);
        let mut answer = Answer::default();
        for record in own().filter(|record| record.kind == family.code()).take(ADDRESSES_MAX) {
            let address = match family {
                Family::V4 => <[u8; 4]>::try_from(record.data).map(Ipv4Addr::from).map(IpAddr::from),
                Family::V6 => <[u8; 16]>::try_from(record.data).map(Ipv6Addr::from).map(IpAddr::from),
            };
            let address = address.map_err(|_| AnswerError::Malformed)?.to_canonical();
            // Nobody listens there; some servers say so of names that they block.
            if !address.is_unspecified() && !answer.addresses.contains(&address) {
                answer.addresses.push(address);
            }
            ttl_s = ttl_s.min(record.ttl_s);
        }
        let alias = own().find(|record| record.kind == TYPE_CNAME);
        match (answer.addresses.is_empty(), alias) {
            (true, Some(alias)) => {
                ttl_s = ttl_s.min(alias.ttl_s);
                let mut target = Name::default();
                target.read(bytes, alias.data_at)?;
                owner = target;
            }
            (true, None) => return Ok(Answer::default()),
            (false, _) => return Ok(Answer { ttl_s, ..answer }),
        }
    }
    Err(AnswerError::Malformed)
}

/// A resource record.
struct Record<'a> {
    owner: Name,
    kind: u16,
    class: u16,
    ttl_s: u32,
    data: &'a [u8],
    data_at: usize,
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Result<(Record<'a>, usize), AnswerError> {
        let mut owner = Name::default();
        let at = owner.read(bytes, at)?;
        let fixed: [u8; 10] =
            bytes.get(at..at + 10).and_then(|fixed| fixed.try_into().ok()).ok_or(AnswerError::Malformed)?;
        let [kind_high, kind_low, class_high, class_low, ttl @ .., len_high, len_low] = fixed;
        let (data_at, len) = (at + 10, usize::from(u16::from_be_bytes([len_high, len_low])));
        let data = bytes.get(data_at..data_at + len).ok_or(AnswerError::Malformed)?;
        let (kind, class) = (u16::from_be_bytes([kind_high, kind_low]), u16::from_be_bytes([class_high, class_low]));
        Ok((Record { owner, kind, class, ttl_s: u32::from_be_bytes(ttl), data, data_at }, data_at + len))
    }
}

/// A name in lower case, labels with their lengths before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Name(Vec<u8>);

impl Name {
    /// Reads the name that starts at `at`; tells where it ends there. A pointer leads backwards only, so reading ends.
    fn read(&mut self, bytes: &[u8], at: usize) -> Result<usize, AnswerError> {
        let (mut here, mut floor, mut end) = (at, at, None);
        loop {
            let len = usize::from(*bytes.get(here).ok_or(AnswerError::Malformed)?);
            match len {
                0 => return Ok(end.unwrap_or(here + 1)),
                1..=63 => {
                    let label = bytes.get(here..here + 1 + len).ok_or(AnswerError::Malformed)?;
                    if self.0.len() + label.len() >= NAME_BYTES_MAX {
                        return Err(AnswerError::Malformed);
                    }
                    self.0.extend(label.iter().map(u8::to_ascii_lowercase));
                    here += 1 + len;
                }
                0xc0.. => {
                    let low = usize::from(*bytes.get(here + 1).ok_or(AnswerError::Malformed)?);
                    let target = (len & 0x3f) << 8 | low;
                    end.get_or_insert(here + 2);
                    if target >= floor {
                        return Err(AnswerError::Malformed);
                    }
                    (here, floor) = (target, target);
                }
                _ => return Err(AnswerError::Malformed),
            }
        }
    }

    fn is(&self, name: &str) -> bool {
        let mut rest = &self.0[..];
        for label in name.trim_end_matches('.').split('.') {
            match rest.split_first() {
                Some((len, tail)) if usize::from(*len) == label.len() && tail.len() >= label.len() => {
                    let (own, after) = tail.split_at(label.len());
                    if !own.eq_ignore_ascii_case(label.as_bytes()) {
                        return false;
                    }
                    rest = after;
                }
                _ => return false,
            }
        }
        rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Vec<u8> {
        let mut out: Vec<u8> =
            text.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
        out.push(0);
        out
    }

    fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
        let len = data.len() as u16;
        [owner, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &len.to_be_bytes(), data].concat()
    }

    fn reply(flags: u16, question: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [7, flags, 1, records.len() as u16, 0, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        [&out[..], question, &[0, 1, 0, 1], &records.concat()].concat()
    }

    fn read(bytes: &[u8]) -> Result<Answer, AnswerError> {
        answer(bytes, 7, "a.test", Family::V4)
    }

    const OK: u16 = FLAG_RESPONSE;

    #[test]
    fn a_question() {
        let bytes = query(0x1234, "a.test", Family::V6);
        assert_eq!(bytes, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x1c\x00\x01");
    }

    #[test]
    fn addresses_with_their_shortest_life() {
        let pointer = &[0xc0, 12][..];
        let records = [
            record(pointer, 1, 60, &[10, 0, 0, 1]),
            record(pointer, 1, 30, &[10, 0, 0, 2]),
            record(pointer, 1, 90, &[10, 0, 0, 1]),
        ];
        let found = read(&reply(OK, &name("A.Test"), &records)).unwrap();
        assert_eq!(
            found,
            Answer { addresses: vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()], ttl_s: 30 }
        );
    }

    #[test]
    fn aliases_are_followed_in_any_order() {
        let records = [
            record(&name("c.test"), 1, 60, &[10, 0, 0, 3]),
            record(&name("b.test"), 5, 9, &name("c.test")),
            record(&[0xc0, 12], 5, 20, &name("b.test")),
            record(&name("other.test"), 1, 60, &[10, 0, 0, 9]),
        ];
        let found = read(&reply(OK, &name("a.test"), &records)).unwrap();
        assert_eq!((found.addresses, found.ttl_s), (vec!["10.0.0.3".parse().unwrap()], 9));
    }

    #[test]
    fn a_name_may_have_no_address() {
        for flags in [OK, OK | CODE_NAME_ERROR] {
            assert_eq!(read(&reply(flags, &name("a.test"), &[])), Ok(Answer::default()));
        }
        let alias = [record(&[0xc0, 12], 5, 20, &name("b.test"))];
        assert_eq!(read(&reply(OK, &name("a.test"), &alias)), Ok(Answer::default()));
    }

    #[test]
    fn what_is_no_answer() {
        let good = reply(OK, &name("a.test"), &[record(&[0xc0, 12], 1, 60, &[10, 0, 0, 1])]);
        assert!(read(&good).is_ok());
        assert_eq!(answer(&good, 8, "a.test", Family::V4), Err(AnswerError::Stray));
        assert_eq!(answer(&good, 7, "b.test", Family::V4), Err(AnswerError::Stray));
        assert_eq!(answer(&good, 7, "a.test", Family::V6), Err(AnswerError::Stray));
        assert_eq!(read(&reply(0, &name("a.test"), &[])), Err(AnswerError::Stray));
        assert_eq!(read(&reply(OK | 2, &name("a.test"), &[])), Err(AnswerError::Failed(2)));
        assert_eq!(read(&reply(OK | FLAG_TRUNCATED, &name("a.test"), &[])), Err(AnswerError::Truncated));
        let circle = [record(&[0xc0, 12], 5, 1, &name("b.test")), record(&name("b.test"), 5, 1, &name("a.test"))];
        for records in
            [&circle[..], &[record(&[0xc0, 12], 1, 60, &[10, 0, 0])], &[record(&[0xc0, 0xff], 1, 1, &[])], &[vec![64]]]
        {
            assert_eq!(read(&reply(OK, &name("a.test"), records)), Err(AnswerError::Malformed), "{records:?}");
        }
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err(), "{end} bytes");
        }
        // Any byte changed is refused or read; it never panics.
        for at in 0..good.len() {
            for value in [0, 1, 63, 64, 0xc0, 0xff] {
                let mut bent = good.clone();
                bent[at] = value;
                let _ = read(&bent);
            }
        }
    }
}
