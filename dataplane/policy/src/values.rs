//! Header values that are made up for each request: what their variables come to.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use ringway_config::limits::TIME_FORMAT_BYTES_MAX;
use ringway_config::model::{HeaderEdits, HeaderValue, Part, Variable, What};
use ringway_config::time_format;

use crate::Fields;

/// What there is to say when a header is written. What is not known is not said.
#[derive(Clone, Copy, Default)]
pub struct Values<'a> {
    /// The request, if a value reads it.
    pub request: Option<Asked<'a>>,
    /// The client; port 0 where only the address is told.
    pub client: Option<SocketAddr>,
    /// Where its connection comes from.
    pub direct: Option<SocketAddr>,
    /// What it connected to.
    pub local: Option<SocketAddr>,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub protocol: &'a str,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the destination's cluster.
    pub cluster: &'a str,
    /// Name of the proxy's pod.
    pub hostname: &'a str,
    /// When the request came, in microseconds since 1970.
    pub start_us: u64,
    /// The response, if it is one that is edited.
    pub response: Option<Answered<'a>>,
}

/// A request, as everything goes by it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Method.
    pub method: &'a [u8],
    /// Path and query, before any rewrite.
    pub path: &'a [u8],
    /// Authority, before any rewrite.
    pub authority: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Header lines before any edit.
    pub fields: &'a dyn Fields,
}

/// A response.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    /// Its status.
    pub status: u16,
    /// Where it comes from.
    pub details: &'a str,
    /// Flags, comma between them; `-` without.
    pub flags: &'a str,
    /// The endpoint that sent it.
    pub upstream: Option<SocketAddr>,
    /// Header lines before any edit.
    pub fields: &'a dyn Fields,
}

/// Two layers of header edits, the inner after the outer; each in Istio's order: remove, set, add. Values see the message as it came, without
/// what either layer removes.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// The route's.
    pub outer: &'a HeaderEdits,
    /// The destination's.
    pub inner: &'a HeaderEdits,
    /// They are on a response.
    pub of_response: bool,
    /// There is an edit in one of them. Most requests have none, and look at nothing else here.
    edits: bool,
}

static NOTHING: HeaderEdits = HeaderEdits { set: Vec::new(), add: Vec::new(), remove: Vec::new() };

impl<'a> Layers<'a> {
    /// No edits.
    pub const NONE: Layers<'static> = Layers::of(&NOTHING, &NOTHING, false);

    /// On a request.
    pub fn of_request(outer: &'a HeaderEdits, inner: &'a HeaderEdits) -> Layers<'a> {
        Layers::of(outer, inner, false)
    }

    /// On a response.
    pub fn of_response(outer: &'a HeaderEdits, inner: &'a HeaderEdits) -> Layers<'a> {
        Layers::of(outer, inner, true)
    }

    const fn of(outer: &'a HeaderEdits, inner: &'a HeaderEdits, of_response: bool) -> Layers<'a> {
        Layers { outer, inner, of_response, edits: !(outer.is_empty() && inner.is_empty()) }
    }

    /// Whether some value has to be made up.
    pub fn vary(&self) -> bool {
        self.edits && self.outer.variables().chain(self.inner.variables()).next().is_some()
    }

    /// Whether some value reads the request's head.
    pub fn read_request(&self) -> bool {
        self.edits && (self.outer.read_request() || self.inner.read_request())
    }

    /// Whether lines called `name`, in any case, are taken away.
    pub fn drop(&self, name: &[u8], values: &Values<'_>) -> bool {
        self.edits && [self.outer, self.inner].iter().any(|edits| self.overrides(edits, name, values))
    }

    /// Calls `write` with each line, in order.
    pub fn each(&self, values: &Values<'_>, write: &mut dyn FnMut(&'a str, &'a HeaderValue)) {
        if !self.edits {
            return;
        }
        let outer = self.outer.written().filter(|(name, _)| !self.overrides(self.inner, name.as_bytes(), values));
        for (name, value) in outer.chain(self.inner.written()) {
            if self.is_there(value, values) {
                write(name, value);
            }
        }
    }

    /// Bytes of all values with their names, at most; without those of the lines' ends.
    pub fn bytes_max(&self, values: &Values<'_>) -> usize {
        let mut bytes = 0;
        if !self.edits {
            return bytes;
        }
        for (name, value) in self.outer.written().chain(self.inner.written()) {
            bytes += name.len();
            self.parts(value, values, &mut |part| bytes += part.len());
        }
        bytes
    }

    /// How many lines they write at most.
    pub fn lines_max(&self) -> usize {
        if self.edits { self.outer.written().chain(self.inner.written()).count() } else { 0 }
    }

    /// A value, piece by piece.
    pub fn parts(&self, value: &HeaderValue, values: &Values<'_>, visit: &mut dyn FnMut(&[u8])) {
        match value {
            HeaderValue::Text(text) => visit(text.as_bytes()),
            HeaderValue::Format(parts) => {
                for part in parts {
                    match part {
                        Part::Text(text) => visit(text.as_bytes()),
                        Part::Variable(variable) => self.variable(variable, values, visit),
                    }
                }
            }
        }
    }

    /// What a variable comes to, in one piece; nothing where there is no such thing.
    pub fn variable(&self, variable: &Variable, values: &Values<'_>, visit: &mut dyn FnMut(&[u8])) {
        let mut cut = |value: &[u8]| match variable.bytes_max as usize {
            0 => visit(value),
            max => visit(&value[..value.len().min(max)]),
        };
        let mut digits = [0; ADDRESS_BYTES_MAX];
        let upstream = values.response.and_then(|response| response.upstream);
        match variable.what {
            What::DownstreamRemoteAddress => socket(values.client, &mut digits, &mut cut),
            What::DownstreamRemoteAddressWithoutPort => ip(values.client, &mut digits, &mut cut),
            What::DownstreamRemotePort => port(values.client, &mut digits, &mut cut),
            What::DownstreamDirectRemoteAddress => socket(values.direct, &mut digits, &mut cut),
            What::DownstreamDirectRemoteAddressWithoutPort => ip(values.direct, &mut digits, &mut cut),
            What::DownstreamDirectRemotePort => port(values.direct, &mut digits, &mut cut),
            What::DownstreamLocalAddress => socket(values.local, &mut digits, &mut cut),
            What::DownstreamLocalAddressWithoutPort => ip(values.local, &mut digits, &mut cut),
            What::DownstreamLocalPort => port(values.local, &mut digits, &mut cut),
            What::UpstreamRemoteAddress => socket(upstream, &mut digits, &mut cut),
            What::UpstreamRemoteAddressWithoutPort => ip(upstream, &mut digits, &mut cut),
            What::UpstreamRemotePort => port(upstream, &mut digits, &mut cut),
            What::Protocol => cut(values.protocol.as_bytes()),
            What::RouteName => cut(values.route.as_bytes()),
            What::Hostname => cut(values.hostname.as_bytes()),
            What::StartTime => time(&variable.header, values.start_us, &mut cut),
            What::UpstreamCluster => cut(values.cluster.as_bytes()),
            What::Req => self.of_asked(variable, values, &mut cut),
            What::ReqWithoutQuery => self.of_asked(variable, values, &mut |value| {
                cut(value.split(|b| *b == b'?').next().unwrap_or_default());
            }),
            What::Resp => {
                let Some(response) = values.response else { return };
                let removed = self.of_response;
                let _ = self.first(response.fields, &variable.header, removed, &mut cut)
                    || self.first(response.fields, &variable.alternative, removed, &mut cut);
            }
            What::ResponseCode => {
                if let Some(response) = values.response {
                    text(format_args!("{}", response.status), &mut digits, &mut cut);
                }
            }
            What::ResponseCodeDetails => cut(values.response.map_or("", |response| response.details).as_bytes()),
            What::ResponseFlags => cut(values.response.map_or("", |response| response.flags).as_bytes()),
        }
    }

    fn of_asked(&self, variable: &Variable, values: &Values<'_>, visit: &mut dyn FnMut(&[u8])) {
        let Some(asked) = &values.request else { return };
        let mut one = |name: &str| {
            match name {
                ":method" => visit(asked.method),
                ":path" => visit(asked.path),
                ":authority" => visit(asked.authority),
                ":scheme" => visit(asked.scheme.as_bytes()),
                _ => return self.first(asked.fields, name, !self.of_response, visit),
            }
            true
        };
        let _ = one(&variable.header) || one(&variable.alternative);
    }

    /// The first line of that name; false: there is none. `edited`: these edits are on the message that has the lines.
    fn first(&self, fields: &dyn Fields, name: &str, edited: bool, visit: &mut dyn FnMut(&[u8])) -> bool {
        let removed = |edits: &HeaderEdits| edits.remove.iter().any(|gone| gone.eq_ignore_ascii_case(name));
        if name.is_empty() || edited && (removed(self.outer) || removed(self.inner)) {
            return false;
        }
        let mut found = false;
        fields.each(name, &mut |value| {
            if !std::mem::replace(&mut found, true) {
                visit(value);
            }
        });
        found
    }

    fn overrides(&self, edits: &HeaderEdits, name: &[u8], values: &Values<'_>) -> bool {
        edits.remove.iter().any(|gone| gone.as_bytes().eq_ignore_ascii_case(name))
            || edits
                .set
                .iter()
                .any(|(set, value)| set.as_bytes().eq_ignore_ascii_case(name) && self.is_there(value, values))
    }

    fn is_there(&self, value: &HeaderValue, values: &Values<'_>) -> bool {
        match value {
            HeaderValue::Text(_) => true,
            HeaderValue::Format(_) => {
                let mut bytes = 0;
                self.parts(value, values, &mut |part| bytes += part.len());
                bytes > 0
            }
        }
    }
}

/// Bytes of the longest socket address: eight groups of an IPv6 address, the last two of them as IPv4, in brackets and with a port.
const ADDRESS_BYTES_MAX: usize = 54;

/// Bytes of the longest time.
const TIME_BYTES_MAX: usize = 7 * TIME_FORMAT_BYTES_MAX;

/// A time as text, on the stack.
struct Room {
    bytes: [u8; TIME_BYTES_MAX],
    used: usize,
}

impl std::fmt::Write for Room {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let free = self.bytes.get_mut(self.used..self.used + text.len()).ok_or(std::fmt::Error)?;
        free.copy_from_slice(text.as_bytes());
        self.used += text.len();
        Ok(())
    }
}

fn time(format: &str, us: u64, visit: &mut dyn FnMut(&[u8])) {
    let mut room = Room { bytes: [0; TIME_BYTES_MAX], used: 0 };
    // The format is verified, and what it writes fits.
    let _ = time_format::write(&mut room, if format.is_empty() { time_format::RFC_3339 } else { format }, us);
    visit(&room.bytes[..room.used]);
}

fn socket(address: Option<SocketAddr>, room: &mut [u8; ADDRESS_BYTES_MAX], visit: &mut dyn FnMut(&[u8])) {
    if let Some(address) = address {
        text(format_args!("{}", SocketAddr::new(plain(address), address.port())), room, visit);
    }
}

fn ip(address: Option<SocketAddr>, room: &mut [u8; ADDRESS_BYTES_MAX], visit: &mut dyn FnMut(&[u8])) {
    if let Some(address) = address {
        text(format_args!("{}", plain(address)), room, visit);
    }
}

fn port(address: Option<SocketAddr>, room: &mut [u8; ADDRESS_BYTES_MAX], visit: &mut dyn FnMut(&[u8])) {
    if let Some(address) = address {
        text(format_args!("{}", address.port()), room, visit);
    }
}

/// IPv4 that came through an IPv6 socket is IPv4.
fn plain(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

fn text(arguments: std::fmt::Arguments<'_>, room: &mut [u8; ADDRESS_BYTES_MAX], visit: &mut dyn FnMut(&[u8])) {
    let mut rest = &mut room[..];
    // All that is written here fits.
    let _ = rest.write_fmt(arguments);
    let used = ADDRESS_BYTES_MAX - rest.len();
    visit(&room[..used]);
}
