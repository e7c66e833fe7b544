//! A request of the mix as bytes: head and body, cut where data is filled in.

use std::collections::BTreeMap;

use ringway_http::head::Method;

use super::target::{Scheme, Target};
use super::{ExpectText, RequestText, Scenario};
use crate::plan::{self, Expect, Part, Request, Wire};

/// Bytes of one request's body.
const BODY_BYTES_MAX: usize = 64 << 20;

impl Scenario {
    /// One kind of request.
    pub(super) fn request(
        &self,
        text: &RequestText,
        number: usize,
        target: &Target,
        columns: &[String],
        rows: &[Vec<String>],
    ) -> Result<Request, String> {
        let method = text.method.as_deref().unwrap_or("GET");
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(format!("method `{method}`: letters, digits, - and _"));
        }
        if method == "CONNECT" {
            return Err("method CONNECT: tunnels are not asked for".into());
        }
        let path =
            format!("{}{}", target.base, text.path.as_deref().unwrap_or(if target.base.is_empty() { "/" } else { "" }));
        if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!(
                "path `{path}`: starts with / and has no spaces or other than ASCII; percent-encode those"
            ));
        }
        let body = self.body(text)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let mut lines: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (name, value) in self.headers.iter().chain(&text.headers) {
            check_line(name, value)?;
            lines.insert(name.to_ascii_lowercase(), (name.clone(), value.clone()));
        }
        let mut line = |name: &str, value: &str| {
            if !lines.contains_key(&name.to_ascii_lowercase()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        };
        line("Host", &target.authority);
        line("User-Agent", concat!("ringway-load/", env!("CARGO_PKG_VERSION")));
        match target.scheme {
            Scheme::WebSocket => {
                line("Connection", "Upgrade");
                line("Upgrade", "websocket");
                line("Sec-WebSocket-Version", "13");
            }
            _ if self.new_connections == Some(true) => line("Connection", "close"),
            _ => {}
        }
        for (name, value) in lines.values() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH");
        let mut parts = split(head.as_bytes(), columns)?;
        check_values(&split(path.as_bytes(), columns)?, &parts, columns, rows)?;
        if has_length {
            parts.extend([Part::Text(b"Content-Length: ".to_vec()), Part::BodyLength, Part::Text(b"\r\n".to_vec())]);
        }
        parts.extend([Part::Text(b"\r\n".to_vec()), Part::Body]);
        parts.extend(split(&body, columns)?);
        let wire = if parts.iter().any(|part| matches!(part, Part::Column(_))) {
            Wire::Filled(parts)
        } else {
            let mut bytes = Vec::new();
            plan::fill(&parts, &[], &mut bytes);
            // Lives as long as the program, which makes few plans.
            Wire::Fixed(bytes.leak())
        };
        let expect = text.expect.as_ref().or(self.expect.as_ref()).map_or(Ok(Expect::default()), ExpectText::expect)?;
        let expect = Expect { any_status: self.expect_recorded_status, ..expect };
        let name = text.name.clone().unwrap_or_else(|| {
            if self.request.len() > 1 { format!("{} {method} {path}", number + 1) } else { format!("{method} {path}") }
        });
        Ok(Request { name, weight: text.weight.unwrap_or(1), method: method_of(method), wire, expect })
    }

    fn body(&self, text: &RequestText) -> Result<Vec<u8>, String> {
        let body = match (&text.body, &text.body_file) {
            (Some(_), Some(_)) => return Err("body and body-file: only one of them".into()),
            (Some(body), None) => body.clone().into_bytes(),
            (None, Some(path)) => {
                let path = self.folder.join(path);
                std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?
            }
            (None, None) => Vec::new(),
        };
        if body.len() > BODY_BYTES_MAX {
            return Err(format!("a body of {} bytes; at most {BODY_BYTES_MAX}", body.len()));
        }
        Ok(body)
    }
}

impl ExpectText {
    fn expect(&self) -> Result<Expect, String> {
        if let Some(status) = self.status.iter().find(|status| !(200..=999).contains(*status)) {
            return Err(format!("expect: status {status} is no final one"));
        }
        let body_sha256 = match &self.body_sha256 {
            None => None,
            Some(text) => Some(hash(text).ok_or("expect: body-sha256 has 64 hexadecimal digits")?),
        };
        let headers = self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        Ok(Expect {
            statuses: self.status.clone(),
            any_status: false,
            headers,
            body_sha256,
            body_bytes: self.body_bytes,
        })
    }
}

/// Cuts `{column}` out of a text. Braces around anything but a name are themselves, as JSON has them.
fn split(text: &[u8], columns: &[String]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut plain = Vec::new();
    while let Some(open) = rest.iter().position(|b| *b == b'{').filter(|_| !columns.is_empty()) {
        let name_len = rest[open + 1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"_-".contains(b)).count();
        let close = open + 1 + name_len;
        plain.extend_from_slice(&rest[..open]);
        if name_len > 0 && rest.get(close) == Some(&b'}') {
            let name = String::from_utf8_lossy(&rest[open + 1..close]);
            let column = columns.iter().position(|column| *column == name);
            let column =
                column.ok_or_else(|| format!("{{{name}}} is no column of the data: {}", columns.join(", ")))?;
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Column(column));
            rest = &rest[close + 1..];
        } else {
            plain.push(b'{');
            rest = &rest[open + 1..];
        }
    }
    plain.extend_from_slice(rest);
    parts.push(Part::Text(plain));
    Ok(parts)
}

/// What goes into the head from the data must not end its line, what goes into the path neither its place in it.
fn check_values(path: &[Part], head: &[Part], columns: &[String], rows: &[Vec<String>]) -> Result<(), String> {
    check_columns(head, columns, rows, |b| b >= b' ' && b != 0x7f, "has control characters and goes into a head")?;
    let said = "goes into a path and has spaces or other than ASCII; percent-encode those";
    check_columns(path, columns, rows, |b| b.is_ascii_graphic(), said)
}

fn check_columns(
    parts: &[Part],
    columns: &[String],
    rows: &[Vec<String>],
    is_good: impl Fn(u8) -> bool,
    said: &str,
) -> Result<(), String> {
    for part in parts {
        let Part::Column(column) = part else { continue };
        let bad = |row: &Vec<String>| row.get(*column).is_none_or(|v| !v.bytes().all(&is_good));
        if let Some(row) = rows.iter().position(bad) {
            return Err(format!("row {} of the data: column {} {said}", row + 1, columns[*column]));
        }
    }
    Ok(())
}

fn check_line(name: &str, value: &str) -> Result<(), String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("header `{name}`: no name of a header"));
    }
    if value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(format!("header {name}: control characters in its value"));
    }
    if ["content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("header {name}: follows from the body"));
    }
    Ok(())
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn method_of(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        _ => Method::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(toml: &str) -> Result<String, String> {
        match &Scenario::parse(toml)?.plan()?.mix[0].wire {
            Wire::Fixed(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Wire::Filled(_) => Ok("filled".into()),
        }
    }

    #[test]
    fn a_request_on_the_wire() {
        let agent = concat!("ringway-load/", env!("CARGO_PKG_VERSION"));
        let basic = "url = 'http://127.0.0.1:81/base'\nrate = 1\n";
        assert_eq!(
            wire(basic).unwrap(),
            format!("GET /base HTTP/1.1\r\nHost: 127.0.0.1:81\r\nUser-Agent: {agent}\r\n\r\n")
        );
        let post = format!(
            "{basic}[[request]]\nmethod = 'POST'\npath = '/x?y=1'\nbody = 'hello'\nheaders = {{ user-agent = 'me', X-A = 'b' }}"
        );
        assert_eq!(
            wire(&post).unwrap(),
            "POST /base/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:81\r\nuser-agent: me\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"
        );
    }

    #[test]
    fn columns_fill_path_and_body() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("users.csv"), "id,name\n7,\"Ann, B\"\n8,Bo\n").unwrap();
        let scenario = |path: &str, body: &str| {
            let text = format!(
                "url = 'http://127.0.0.1'\nrate = 1\ndata = 'users.csv'\n[[request]]\nmethod = 'PUT'\npath = '{path}'\nbody = '{body}'"
            );
            let mut scenario = Scenario::parse(&text).unwrap();
            scenario.folder = folder.path().to_path_buf();
            scenario.plan()
        };
        let plan = scenario("/users/{id}", "{\"name\": \"{name}\"}").unwrap();
        let Wire::Filled(parts) = &plan.mix[0].wire else { panic!("nothing is filled in") };
        let mut bytes = Vec::new();
        plan::fill(parts, &plan.rows[0], &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("PUT /users/7 HTTP/1.1\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 18\r\n\r\n{\"name\": \"Ann, B\"}"), "{text}");
        assert!(scenario("/{name}", "").unwrap_err().contains("row 1 of the data: column name goes into a path"));
        assert!(scenario("/{nobody}", "").unwrap_err().contains("{nobody} is no column of the data: id, name"));
    }
}
