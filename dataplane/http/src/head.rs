//! What a message head says, as spans into the bytes it was parsed from.
//!
//! A head is parsed once into a reusable value of offsets ([`RequestHead`], [`ResponseHead`]); the bytes stay where they are, so that
//! forwarding keeps header case and order byte for byte. A head is at most 60 KiB, so that a span fits two `u16`.

/// A range of the head's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u16,
    /// One past the last byte.
    pub end: u16,
}

impl Span {
    /// The bytes meant.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
    /// How many bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }
    /// No bytes.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Header names that the proxy itself reads or edits; found while parsing, compared by value afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Known {
    Other,
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    KeepAlive,
    ProxyConnection,
    ProxyAuthorization,
    ProxyAuthenticate,
    Te,
    Trailer,
    Upgrade,
    Http2Settings,
    Expect,
    UserAgent,
    Date,
    Server,
    XRequestId,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XEnvoyPeerMetadata,
    XEnvoyPeerMetadataId,
    XEnvoyUpstreamServiceTime,
    XEnvoyAttemptCount,
    XEnvoyOriginalPath,
    XEnvoyDecoratorOperation,
    XForwardedClientCert,
    XRingwayRule,
    XEnvoyOverloaded,
    GrpcStatus,
}

/// How many variants [`Known`] has.
pub const KNOWN_COUNT: usize = 31;

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name as received.
    pub name: Span,
    /// Value without the white space around it.
    pub value: Span,
    /// The whole line with its CRLF.
    pub line: Span,
    /// Which name, if the proxy knows it.
    pub known: Known,
    /// Named by `Connection`, or hop-by-hop by definition (RFC 9110 §7.6.1): not forwarded. Covers Connection, Keep-Alive,
    /// Proxy-Connection, TE (unless exactly `trailers`), Trailer is kept, Transfer-Encoding is decided by the writer, Upgrade, HTTP2-Settings.
    pub hop: bool,
}

/// Who sends a request, as far as this proxy believes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The app beside this proxy, or another proxy of the mesh.
    Mesh,
    /// A proxy in front of this gateway that is trusted with what it says of the client.
    Proxy,
    /// Anybody, through a gateway.
    Outside,
}

impl Field {
    /// Whether this line of a request, whose bytes are `head`, ends here whatever the rules say: it is meant for this hop, or its sender has no business to
    /// say it. Transfer-Encoding is decided by the writer.
    pub fn is_withheld(&self, head: &[u8], sender: Sender) -> bool {
        const INTERNAL: &[u8] = b"x-envoy-";
        let gateway = sender != Sender::Mesh;
        let from_outside = match self.known {
            Known::XEnvoyPeerMetadata | Known::XEnvoyPeerMetadataId => return true,
            Known::XForwardedProto => sender == Sender::Outside,
            Known::XForwardedClientCert => gateway,
            _ => {
                let name = self.name.of(head).get(..INTERNAL.len());
                gateway && name.is_some_and(|start| start.eq_ignore_ascii_case(INTERNAL))
            }
        };
        self.hop || from_outside
    }
}

/// HTTP/1.0 or HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

/// Request methods that framing or policy ask about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    Other,
}

/// How a message's body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Until the connection closes; responses only.
    UntilClose,
}

/// What `Upgrade` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing.
    #[default]
    None,
    /// `websocket`, named by `Connection: upgrade` too.
    WebSocket,
    /// Something else: stripped, never honoured (h2c among it, RFC 9113 §3.1).
    Ignored,
}

/// The header lines of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub(crate) list: Vec<Field>,
    /// Index + 1 into `list` of the first line of each known name.
    pub(crate) first: [u8; KNOWN_COUNT],
}

/// A parsed request head; reusable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head with its blank line.
    pub len: usize,
    /// The method, for framing.
    pub method: Method,
    /// The method's bytes.
    pub method_span: Span,
    /// The request-target as received.
    pub target: Span,
    /// Path and query: the part of the target to route by and forward. Empty for `CONNECT`; `*` for `OPTIONS *`.
    pub path: Span,
    /// Where the query starts, relative to the head's bytes (`path.end` when there is none, else the position of `?`).
    pub query_at: u16,
    /// Authority: from an absolute-form target, else from Host (RFC 9112 §3.2.2). Checked to be one unambiguous `host[:port]`.
    pub authority: Span,
    /// The target was absolute-form (`http://host/path`).
    pub absolute_form: bool,
    /// The absolute-form target's scheme is `https`.
    pub https: bool,
    /// The protocol version.
    pub version: Version,
    /// How the body is delimited.
    pub framing: Framing,
    /// The connection persists after this exchange as far as the client is concerned.
    pub keep_alive: bool,
    /// `Expect: 100-continue`.
    pub expect_continue: bool,
    /// What the client wants to upgrade to.
    pub upgrade: Upgrade,
    /// The header lines.
    pub fields: Fields,
}

/// A parsed response head; reusable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head with its blank line.
    pub len: usize,
    /// Status code, 100–999.
    pub status: u16,
    /// The reason phrase.
    pub reason: Span,
    /// The protocol version.
    pub version: Version,
    /// How the body is delimited.
    pub framing: Framing,
    /// The connection persists after this exchange as far as the server is concerned.
    pub keep_alive: bool,
    /// 101 to a WebSocket: `Upgrade: websocket`, `Connection: upgrade` and Sec-WebSocket-Accept are there.
    pub upgrade: Upgrade,
    /// The header lines.
    pub fields: Fields,
}

impl Default for Fields {
    fn default() -> Self {
        Fields { list: Vec::new(), first: [0; KNOWN_COUNT] }
    }
}

impl Fields {
    /// The lines in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.list.iter()
    }
    /// The first line of a known name.
    pub fn get(&self, known: Known) -> Option<&Field> {
        self.first[known as usize].checked_sub(1).map(|i| &self.list[i as usize])
    }
    /// The lines of a name, in any case. `bytes` are those that the head was parsed from.
    pub fn named<'a>(&'a self, bytes: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a Field> {
        self.list.iter().filter(move |field| field.name.of(bytes).eq_ignore_ascii_case(name))
    }
    /// How many lines.
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// No lines.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
