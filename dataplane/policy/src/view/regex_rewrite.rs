//! Every match of a pattern in a path becomes a text: RE2's GlobalReplace (Envoy's `regex_rewrite`).

use regex::bytes::Regex;
use ringway_config::limits::HEAD_BYTES_MAX;

use super::View;
use super::pattern::Patterns;

/// A pattern and what its matches become.
pub(crate) struct RegexRewrite {
    pattern: Regex,
    parts: Box<[Part]>,
}

enum Part {
    Text(Box<[u8]>),
    /// A group of the match; 0 is all of it.
    Group(usize),
}

impl View {
    /// Whether a rewrite will compile here, for those who write config. Err: why it does not.
    pub fn check_rewrite(pattern: &str, substitution: &str) -> Result<(), String> {
        RegexRewrite::compile(pattern, substitution).map(drop)
    }
}

impl RegexRewrite {
    /// Err: why it does not compile.
    pub(super) fn compile(pattern: &str, substitution: &str) -> Result<RegexRewrite, String> {
        let pattern = Patterns::anywhere(pattern)?;
        let parts = parts(substitution, pattern.captures_len() - 1)?;
        Ok(RegexRewrite { pattern, parts })
    }

    /// Appends the new path to `out`. A result beyond [`HEAD_BYTES_MAX`] is cut behind it, so that the head it is put into does not fit.
    pub(super) fn apply(&self, path: &[u8], out: &mut Vec<u8>) {
        let (start, mut end) = (out.len(), 0);
        for found in self.pattern.captures_iter(path) {
            let whole = found.get(0).map_or(0..0, |whole| whole.range());
            out.extend_from_slice(&path[end..whole.start]);
            end = whole.end;
            for part in &self.parts {
                out.extend_from_slice(match part {
                    Part::Text(text) => text,
                    Part::Group(group) => found.get(*group).map_or(b"", |group| group.as_bytes()),
                });
            }
            if out.len() - start > HEAD_BYTES_MAX as usize {
                return;
            }
        }
        out.extend_from_slice(&path[end..]);
    }
}

fn parts(substitution: &str, groups: usize) -> Result<Box<[Part]>, String> {
    let (mut parts, mut text) = (Vec::new(), Vec::new());
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, if byte == b'\\' { bytes.next() } else { None }) {
            (b'\\', Some(b'\\')) => text.push(b'\\'),
            (b'\\', Some(digit @ b'0'..=b'9')) => {
                let group = usize::from(digit - b'0');
                if group > groups {
                    return Err(format!("`\\{group}` is no group of the pattern, which has {groups}"));
                }
                parts.push(Part::Text(std::mem::take(&mut text).into()));
                parts.push(Part::Group(group));
            }
            (b'\\', _) => return Err("a backslash stands before a digit or another backslash".into()),
            (byte, _) => text.push(byte),
        }
    }
    parts.push(Part::Text(text.into()));
    Ok(parts.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_match_is_replaced() {
        for (pattern, substitution, path, new) in [
            ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
            ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
            ("^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
            ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
            ("a", r"\0\0", "/a-a", "/aa-aa"),
            ("a*", "x", "/baac", "x/xbxcx"),
            ("/", r"\\", "/a/b", r"\a\b"),
            ("(a)|(b)", r"[\1\2]", "/ab", "/[a][b]"),
            ("none", "x", "/a", "/a"),
            ("a", "", "/a/a", "//"),
        ] {
            let rewrite = RegexRewrite::compile(pattern, substitution).unwrap();
            let mut out = b"before ".to_vec();
            rewrite.apply(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out[7..]), new, "{pattern} {substitution}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (pattern, substitution, why) in [
            ("(", "x", "unclosed group"),
            ("(a)", r"\2", "`\\2` is no group of the pattern, which has 1"),
            ("a", r"\", "a backslash stands before a digit or another backslash"),
            ("a", r"\n", "a backslash stands before a digit or another backslash"),
        ] {
            assert_eq!(RegexRewrite::compile(pattern, substitution).err().unwrap(), why);
        }
    }

    #[test]
    fn a_path_does_not_grow_without_bound() {
        let rewrite = RegexRewrite::compile(".", &"x".repeat(8_000)).unwrap();
        let mut out = Vec::new();
        rewrite.apply(&[b'a'; 50_000], &mut out);
        assert!((HEAD_BYTES_MAX as usize..HEAD_BYTES_MAX as usize + 9_000).contains(&out.len()), "{}", out.len());
    }
}
