//! The one form of a path: what routes are matched with, what rewrites start from, what is logged, and what the upstream receives.
//!
//! Istio's `pathNormalization`, as Envoy does it: RFC 3986 §6.2.2 with backslashes taken for slashes. The query is nobody's path and stays as it is.

use ringway_config::model::{PathNormalization, PolicySet, Profile};

/// Why a target has no form that all readers agree on; only the strict profile asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// `%2F` or `%5C`: a slash for some, a letter for others.
    EncodedSlash,
    /// A `%` that no two hexadecimal digits follow.
    EncodingInvalid,
}

impl PathError {
    /// The countable name, as in `response_code_details`.
    pub fn name(self) -> &'static str {
        match self {
            PathError::EncodedSlash => "path_encoded_slash",
            PathError::EncodingInvalid => "path_encoding_invalid",
        }
    }
}

/// A path and query in normal form: `target` itself where it has that form already (found in one scan), else what was written to `out`.
///
/// # Errors
/// Under the strict profile, when the path means different things to different readers.
pub fn normal_target<'a>(policy: &PolicySet, target: &'a [u8], out: &'a mut Vec<u8>) -> Result<&'a [u8], PathError> {
    let merge = match policy.path_normalization {
        PathNormalization::None => return Ok(target),
        PathNormalization::Base => false,
        PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes => true,
    };
    // `OPTIONS *` names no path.
    if !target.starts_with(b"/") {
        return Ok(target);
    }
    let Some(plain) = odd_at(target, merge) else { return Ok(target) };
    let decode_slashes = policy.path_normalization == PathNormalization::DecodeAndMergeSlashes;
    let mut writer = Writer { out, decode_slashes, strict: policy.profile == Profile::Strict, dangling: 0 };
    // What comes before the last slash of the plain start is normal whatever follows.
    let front = target[..plain].iter().rposition(|b| *b == b'/').unwrap_or(0);
    writer.out.clear();
    writer.out.extend_from_slice(&target[..front]);
    let end = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
    writer.path(&target[front..end])?;
    if merge {
        merge_slashes(writer.out);
    }
    writer.out.extend_from_slice(&target[end..]);
    Ok(writer.out)
}

/// Where the first byte stands that may not be normal: the path is, up to there. `None` when all of it is.
fn odd_at(target: &[u8], merge: bool) -> Option<usize> {
    let mut after_slash = false;
    for (at, byte) in target.iter().enumerate() {
        match CLASSES[*byte as usize] {
            PLAIN => after_slash = false,
            SLASH if after_slash && merge => return Some(at),
            SLASH => after_slash = true,
            DOT if after_slash => return Some(at),
            DOT => {}
            QUERY => return None,
            _ => return Some(at),
        }
    }
    None
}

const PLAIN: u8 = 0;
const SLASH: u8 = 1;
const DOT: u8 = 2;
const QUERY: u8 = 3;
/// Escapes, the backslash, and what has to be escaped.
const ODD: u8 = 4;

const CLASSES: [u8; 256] = {
    let mut classes = [PLAIN; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'/' => SLASH,
            b'.' => DOT,
            b'?' => QUERY,
            b'%' | b'\\' => ODD,
            other if must_be_encoded(other) => ODD,
            _ => PLAIN,
        };
        byte += 1;
    }
    classes
};

/// Visible, and not in a URI (RFC 3986 §2); brackets stay, as Envoy leaves them.
const fn must_be_encoded(byte: u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'"' | b'#' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// RFC 3986 §2.3: encoded or not, it is the same character.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    decode_slashes: bool,
    strict: bool,
    /// Length of `out` up to which decoding might complete the escape that a lone `%` looks like the start of.
    dangling: usize,
}

impl Writer<'_> {
    fn path(&mut self, path: &[u8]) -> Result<(), PathError> {
        let mut rest = path;
        while let [byte, tail @ ..] = rest {
            rest = match (byte, tail) {
                (b'/' | b'\\', _) => {
                    self.slash();
                    tail
                }
                (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    self.escape([*high, *low])?;
                    after
                }
                (b'%', _) if self.strict => return Err(PathError::EncodingInvalid),
                (b'%', _) => {
                    self.out.push(b'%');
                    self.dangling = self.out.len() + 2;
                    tail
                }
                (byte, _) if must_be_encoded(*byte) => {
                    self.encode(*byte);
                    tail
                }
                (byte, _) => {
                    self.out.push(*byte);
                    tail
                }
            };
        }
        self.end_segment();
        Ok(())
    }

    fn escape(&mut self, [high, low]: [u8; 2]) -> Result<(), PathError> {
        let byte = hex(high) << 4 | hex(low);
        match byte {
            b'/' | b'\\' if self.decode_slashes => self.slash(),
            b'/' | b'\\' if self.strict => return Err(PathError::EncodedSlash),
            // `%%41` must not become an escape that nobody wrote.
            byte if is_unreserved(byte) && self.out.len() >= self.dangling => self.out.push(byte),
            // Both cases of a digit are one (RFC 3986 §6.2.2.1); Envoy keeps them apart.
            byte if self.strict => self.encode(byte),
            _ => self.out.extend_from_slice(&[b'%', high, low]),
        }
        Ok(())
    }

    fn encode(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        self.out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }

    fn slash(&mut self) {
        self.dangling = 0;
        // The first slash begins a segment and ends none.
        if self.out.is_empty() || !self.end_segment() {
            self.out.push(b'/');
        }
    }

    /// Resolves a last segment `.` or `..` (RFC 3986 §5.2.4); true if it was one: `out` ends in a slash then.
    fn end_segment(&mut self) -> bool {
        let Some(slash) = self.out.iter().rposition(|b| *b == b'/') else { return false };
        let up = match &self.out[slash + 1..] {
            b"." => false,
            b".." => true,
            _ => return false,
        };
        self.out.truncate(slash + 1);
        if up && slash > 0 {
            let parent = self.out[..slash].iter().rposition(|b| *b == b'/').unwrap_or(0);
            self.out.truncate(parent + 1);
        }
        true
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn merge_slashes(path: &mut Vec<u8>) {
    path.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
}

#[cfg(test)]
mod tests {
    use super::*;
    use PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None as Never};
    use Profile::{Istio, Strict};
    use proptest::prelude::*;

    fn normal(normalization: PathNormalization, profile: Profile, target: &str) -> Result<String, PathError> {
        let policy = PolicySet { path_normalization: normalization, profile, ..PolicySet::default() };
        let mut out = b"left over".to_vec();
        let found = normal_target(&policy, target.as_bytes(), &mut out)?;
        Ok(String::from_utf8(found.to_vec()).unwrap())
    }

    #[test]
    fn row_17_one_form_by_normalization() {
        // Target; then under BASE, MERGE_SLASHES and DECODE_AND_MERGE_SLASHES.
        for (target, base, merged, decoded) in [
            ("/", "/", "/", "/"),
            ("*", "*", "*", "*"),
            ("/a/b?c", "/a/b?c", "/a/b?c", "/a/b?c"),
            ("/a/.b/..c/d./e../...", "/a/.b/..c/d./e../...", "/a/.b/..c/d./e../...", "/a/.b/..c/d./e../..."),
            ("/./a", "/a", "/a", "/a"),
            ("/a/.", "/a/", "/a/", "/a/"),
            ("/a/./", "/a/", "/a/", "/a/"),
            ("/a/..", "/", "/", "/"),
            ("/a/../", "/", "/", "/"),
            ("/a/../admin", "/admin", "/admin", "/admin"),
            ("/../../a", "/a", "/a", "/a"),
            ("/..", "/", "/", "/"),
            ("/a/b/../../c/./d", "/c/d", "/c/d", "/c/d"),
            ("/%2e%2E/admin", "/admin", "/admin", "/admin"),
            ("/a/.%2e/b", "/b", "/b", "/b"),
            ("/a/%2e", "/a/", "/a/", "/a/"),
            ("/a\\b", "/a/b", "/a/b", "/a/b"),
            ("/a\\..\\b", "/b", "/b", "/b"),
            ("//admin", "//admin", "/admin", "/admin"),
            ("/a//b///c//", "/a//b///c//", "/a/b/c/", "/a/b/c/"),
            ("/a//../b", "/a/b", "/a/b", "/a/b"),
            ("/%61dmin", "/admin", "/admin", "/admin"),
            ("/%2D%2e%5F%7e%30", "/-._~0", "/-._~0", "/-._~0"),
            ("/a%2fb", "/a%2fb", "/a%2fb", "/a/b"),
            ("/a%2F%2fb", "/a%2F%2fb", "/a%2F%2fb", "/a/b"),
            ("/a%5cb", "/a%5cb", "/a%5cb", "/a/b"),
            ("/a%2f..%2Fb", "/a%2f..%2Fb", "/a%2f..%2Fb", "/b"),
            ("/a%2f../b", "/a%2f../b", "/a%2f../b", "/b"),
            ("/a%252fb", "/a%252fb", "/a%252fb", "/a%252fb"),
            ("/a%3bb;c=d/e", "/a%3bb;c=d/e", "/a%3bb;c=d/e", "/a%3bb;c=d/e"),
            ("/a;jsession=1/../b", "/b", "/b", "/b"),
            ("/a%20b", "/a%20b", "/a%20b", "/a%20b"),
            ("/{a}|\"<>^`", "/%7Ba%7D%7C%22%3C%3E%5E%60", "/%7Ba%7D%7C%22%3C%3E%5E%60", "/%7Ba%7D%7C%22%3C%3E%5E%60"),
            ("/a%zz%4", "/a%zz%4", "/a%zz%4", "/a%zz%4"),
            ("/%%30%30", "/%%300", "/%%300", "/%%300"),
            ("/%%341", "/%%341", "/%%341", "/%%341"),
            ("/aaaa%/../%61", "/a", "/a", "/a"),
            ("/%4%31", "/%4%31", "/%4%31", "/%4%31"),
            ("/%zz%41", "/%zzA", "/%zzA", "/%zzA"),
            ("/a/../b?/../c//d%2f", "/b?/../c//d%2f", "/b?/../c//d%2f", "/b?/../c//d%2f"),
        ] {
            for (normalization, wanted) in
                [(Never, target), (Base, base), (MergeSlashes, merged), (DecodeAndMergeSlashes, decoded)]
            {
                assert_eq!(normal(normalization, Istio, target).as_deref(), Ok(wanted), "{normalization:?} {target}");
            }
        }
    }

    #[test]
    fn row_17_the_strict_profile_refuses_what_is_ambiguous() {
        for (target, wanted) in [
            ("/a%2fb", Err(PathError::EncodedSlash)),
            ("/a%2Fb", Err(PathError::EncodedSlash)),
            ("/a%5cb", Err(PathError::EncodedSlash)),
            ("/a%5Cb?c", Err(PathError::EncodedSlash)),
            ("/a%zz", Err(PathError::EncodingInvalid)),
            ("/a%", Err(PathError::EncodingInvalid)),
            ("/a%2", Err(PathError::EncodingInvalid)),
            ("/a?b=%2f%zz", Ok("/a?b=%2f%zz")),
            ("/a%252f", Ok("/a%252f")),
            ("//a%c3%bc/../b;c", Ok("/b;c")),
            ("/%c3%bc", Ok("/%C3%BC")),
        ] {
            assert_eq!(normal(MergeSlashes, Strict, target).as_deref().map_err(|e| *e), wanted, "{target}");
        }
        assert_eq!(normal(DecodeAndMergeSlashes, Strict, "/a%2fb").as_deref(), Ok("/a/b"));
    }

    proptest! {
        /// What is normal stays: a second hop judges the same path. No escape comes to be that was not there, so no upstream that decodes once more
        /// than we do sees another path because of us.
        #[test]
        fn normal_forms_are_normal(path in "(/|\\.|%|%2e|%2F|%5c|%25|\\\\|[a2f0]|\\||;|%61){0,12}", merge in 0..3u8) {
            let normalization = [Base, MergeSlashes, DecodeAndMergeSlashes][usize::from(merge)];
            let target = format!("/{path}");
            let once = normal(normalization, Istio, &target).unwrap();
            prop_assert_eq!(normal(normalization, Istio, &once).unwrap(), once.clone(), "{}", target);
            let segments = || once.split('/').skip(1);
            prop_assert!(segments().all(|s| s != "." && s != ".."), "{} became {}", target, once);
            prop_assert!(once.starts_with('/') && !once.contains('\\'));
            if merge > 0 {
                prop_assert!(!once.contains("//"), "{} became {}", target, once);
            }
        }
    }
}
