//! Header edits, and values that are made up for each request.

use std::fmt;

/// Header edits in Istio's order: remove, set, add (names keep their case).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Replaces all values; a value that comes out empty changes nothing.
    pub set: Vec<(String, HeaderValue)>,
    /// Appends a line, unless its value comes out empty.
    pub add: Vec<(String, HeaderValue)>,
    /// Removes all values.
    pub remove: Vec<String>,
}

impl HeaderEdits {
    /// Nothing is edited.
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// What is set, then what is added.
    pub fn written(&self) -> impl Iterator<Item = &(String, HeaderValue)> {
        self.set.iter().chain(&self.add)
    }

    /// The variables in all values.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.written().flat_map(|(_, value)| value.variables())
    }

    /// Whether a value depends on the request's head.
    pub fn read_request(&self) -> bool {
        self.variables().any(|variable| matches!(variable.what, What::Req | What::ReqWithoutQuery))
    }
}

/// A value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Always the same.
    Text(String),
    /// These, one after the other.
    Format(Vec<Part>),
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Always the same.
    Text(String),
    /// What is so for the request at hand; empty where there is no such thing.
    Variable(Variable),
}

/// Something about a request, its connections or its response: Envoy's command operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// What about it.
    pub what: What,
    /// Lower-case header, of a request also `:method`, `:path`, `:authority`, `:scheme`; of a time its [`time_format`](crate::time_format), empty for
    /// RFC 3339. Empty unless `what` is about one of these.
    pub header: String,
    /// The header instead of one that is not there; empty is none.
    pub alternative: String,
    /// Bytes of it that count, from its start; 0 is all.
    pub bytes_max: u32,
}

impl HeaderValue {
    /// Its variables in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let parts: &[Part] = match self {
            HeaderValue::Text(_) => &[],
            HeaderValue::Format(parts) => parts,
        };
        parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> HeaderValue {
        HeaderValue::Text(text)
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> HeaderValue {
        HeaderValue::Text(text.into())
    }
}

impl fmt::Display for HeaderValue {
    /// As Istio writes it; a text without variables as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderValue::Text(text) => f.write_str(text),
            HeaderValue::Format(parts) => parts.iter().try_for_each(|part| match part {
                Part::Text(text) => f.write_str(&text.replace('%', "%%")),
                Part::Variable(variable) => variable.fmt(f),
            }),
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.what.name())?;
        match (self.header.as_str(), self.alternative.as_str()) {
            ("", _) => {}
            (header, "") => write!(f, "({header})")?,
            (header, alternative) => write!(f, "({header}?{alternative})")?,
        }
        if self.bytes_max > 0 {
            write!(f, ":{}", self.bytes_max)?;
        }
        f.write_str("%")
    }
}

macro_rules! variables {
    ($($(#[$doc:meta])* $variant:ident = $tag:literal $name:literal)*) => {
        /// What a variable is about. The numbers are part of the format, the names are Envoy's.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(u8)]
        pub enum What { $($(#[$doc])* $variant = $tag),* }

        impl What {
            /// All of them.
            pub const ALL: &[What] = &[$(What::$variant),*];

            /// As manifests call it.
            pub const fn name(self) -> &'static str {
                match self { $(What::$variant => $name),* }
            }
        }
    };
}

variables! {
    /// Address and port of the client, by its connection; or address and port 0, where a proxy that is believed tells the address.
    #[default]
    DownstreamRemoteAddress = 1 "DOWNSTREAM_REMOTE_ADDRESS"
    /// Its address.
    DownstreamRemoteAddressWithoutPort = 2 "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
    /// Its port.
    DownstreamRemotePort = 3 "DOWNSTREAM_REMOTE_PORT"
    /// Address and port that the client connected to.
    DownstreamLocalAddress = 4 "DOWNSTREAM_LOCAL_ADDRESS"
    /// Its address.
    DownstreamLocalAddressWithoutPort = 5 "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"
    /// Its port.
    DownstreamLocalPort = 6 "DOWNSTREAM_LOCAL_PORT"
    /// `HTTP/1.1` or `HTTP/1.0`.
    Protocol = 7 "PROTOCOL"
    /// The first line of a request header.
    Req = 8 "REQ"
    /// The same up to its `?`.
    ReqWithoutQuery = 9 "REQ_WITHOUT_QUERY"
    /// The route's name.
    RouteName = 10 "ROUTE_NAME"
    /// The pod's name.
    Hostname = 11 "HOSTNAME"
    /// The destination's cluster.
    UpstreamCluster = 12 "UPSTREAM_CLUSTER"
    /// The first line of a response header.
    Resp = 13 "RESP"
    /// The response's status.
    ResponseCode = 14 "RESPONSE_CODE"
    /// Why it is so.
    ResponseCodeDetails = 15 "RESPONSE_CODE_DETAILS"
    /// Response flags, `-` without one.
    ResponseFlags = 16 "RESPONSE_FLAGS"
    /// Address and port of the endpoint that answered.
    UpstreamRemoteAddress = 17 "UPSTREAM_REMOTE_ADDRESS"
    /// Its address.
    UpstreamRemoteAddressWithoutPort = 18 "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
    /// Its port.
    UpstreamRemotePort = 19 "UPSTREAM_REMOTE_PORT"
    /// Address and port of the connection, whatever anybody tells.
    DownstreamDirectRemoteAddress = 20 "DOWNSTREAM_DIRECT_REMOTE_ADDRESS"
    /// Its address.
    DownstreamDirectRemoteAddressWithoutPort = 21 "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"
    /// Its port.
    DownstreamDirectRemotePort = 22 "DOWNSTREAM_DIRECT_REMOTE_PORT"
    /// When the request came.
    StartTime = 23 "START_TIME"
}

impl What {
    /// By its number.
    pub fn from_tag(tag: u8) -> Option<What> {
        What::ALL.iter().copied().find(|what| *what as u8 == tag)
    }

    /// By its name.
    pub fn named(name: &str) -> Option<What> {
        What::ALL.iter().copied().find(|what| what.name() == name)
    }

    /// It names a header.
    pub fn has_header(self) -> bool {
        matches!(self, What::Req | What::ReqWithoutQuery | What::Resp)
    }

    /// It is not known before there is a response.
    pub fn is_of_response(self) -> bool {
        (What::Resp as u8..=What::UpstreamRemotePort as u8).contains(&(self as u8))
    }
}

/// The parts of a request's head that are no header lines.
pub const PSEUDO_HEADERS: [&str; 4] = [":authority", ":method", ":path", ":scheme"];
