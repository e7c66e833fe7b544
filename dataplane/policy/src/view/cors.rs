//! Cross-origin resource sharing as Envoy's filter does it: preflights are answered here, other responses say which origin may read them.

use ringway_config::model::Cors;

use super::View;
use super::conditions::{Request, TextTest};
use super::pattern::Patterns;
use crate::decide::{Local, LocalKind};
use crate::facts::{Facts, Fields};

const ORIGIN: &str = "origin";
const REQUEST_METHOD: &str = "access-control-request-method";
const REQUEST_HEADERS: &str = "access-control-request-headers";

/// The allowed origins of one action, compiled.
pub(crate) struct Sharing {
    /// One of them matches `*`.
    any: bool,
    origins: Box<[TextTest]>,
    forward_unmatched: bool,
}

impl Sharing {
    /// Err: why a pattern does not compile.
    pub(super) fn compile(cors: &Cors, patterns: &mut Patterns) -> Result<Sharing, String> {
        let tests = cors.origins.iter().map(|origin| TextTest::compile(origin, patterns));
        let origins = tests.collect::<Result<Box<[TextTest]>, String>>()?;
        let any = origins.iter().any(|test| test.holds(b"*"));
        Ok(Sharing { any, origins, forward_unmatched: cors.forward_unmatched })
    }

    /// Whether the request is a preflight that is answered here: `OPTIONS` with an origin and the method that it asks for.
    pub(crate) fn answers(&self, request: &Request<'_>) -> bool {
        request.method == b"OPTIONS"
            && first(request.fields, REQUEST_METHOD, |method| !method.is_empty())
            && first(request.fields, ORIGIN, |origin| {
                !origin.is_empty() && (self.allows(origin) || !self.forward_unmatched)
            })
    }

    fn allows(&self, origin: &[u8]) -> bool {
        self.any || self.origins.iter().any(|test| test.holds(origin))
    }
}

impl View {
    /// Appends the header lines of an answered preflight; nothing for any other answer.
    pub fn preflight_lines(&self, local: &Local, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let LocalKind::Preflight { host, action } = local.kind else { return };
        let Some((cors, sharing)) = self.sharing(host, action) else { return };
        origin_lines(cors, sharing, facts.fields, out);
        if cors.credentials && !origin_allowed(sharing, facts.fields) {
            line(out, "access-control-allow-credentials", b"true");
        }
        for (name, value, asked) in [
            ("access-control-allow-methods", &cors.methods, REQUEST_METHOD),
            ("access-control-allow-headers", &cors.headers, REQUEST_HEADERS),
        ] {
            match value.as_str() {
                "" => {}
                "*" => {
                    first(facts.fields, asked, |asked| {
                        line(out, name, asked);
                        true
                    });
                }
                value => line(out, name, value.as_bytes()),
            }
        }
        if let Some(seconds) = cors.max_age_s {
            line(out, "access-control-max-age", seconds.to_string().as_bytes());
        }
    }

    /// Appends the header lines that tell a browser that it may read the response to a forwarded request. They replace lines of the same names.
    /// The host and the action are those of a plan or a local answer.
    pub fn cors_lines(&self, host: u32, action: u32, facts: &Facts<'_>, out: &mut Vec<u8>) {
        if let Some((cors, sharing)) = self.sharing(host, action) {
            origin_lines(cors, sharing, facts.fields, out);
        }
    }

    fn sharing(&self, host: u32, action: u32) -> Option<(&Cors, &Sharing)> {
        let manner = self.hosting.hosts.get(host as usize)?.split(action)?.manner.as_ref()?;
        Some((manner.forward.cors.as_ref()?, manner.sharing.as_ref()?))
    }
}

fn origin_allowed(sharing: &Sharing, fields: &dyn Fields) -> bool {
    first(fields, ORIGIN, |origin| !origin.is_empty() && sharing.allows(origin))
}

/// The lines that every response to an allowed origin has.
fn origin_lines(cors: &Cors, sharing: &Sharing, fields: &dyn Fields, out: &mut Vec<u8>) {
    first(fields, ORIGIN, |origin| {
        let allowed = !origin.is_empty() && sharing.allows(origin);
        if allowed {
            line(out, "access-control-allow-origin", origin);
            if cors.credentials {
                line(out, "access-control-allow-credentials", b"true");
            }
            if !cors.expose.is_empty() {
                line(out, "access-control-expose-headers", cors.expose.as_bytes());
            }
        }
        allowed
    });
}

/// What `of` says of the first value of a header; false when there is none.
fn first(fields: &dyn Fields, name: &str, mut of: impl FnMut(&[u8]) -> bool) -> bool {
    let mut said = None;
    fields.each(name, &mut |value| {
        if said.is_none() {
            said = Some(of(value));
        }
    });
    said.unwrap_or(false)
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
