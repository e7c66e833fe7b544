//! The typed, owned model: what the shim builds and what a blob decodes to.
//!
//! A proxy runs a *closed set of blobs*. Blobs refer to each other by (kind, name) only; rule ids ([`RuleId`]) name the manifest line that asked
//! for a thing and resolve through the provenance blob, which is in nobody else's hash.

use std::net::SocketAddr;

mod balance;
mod connection;
mod header;
mod locality;

pub use crate::retry::{BACKOFF_GROWTH_MAX, BACKOFF_MS, Retry, RetryBudget, RetryOn};
pub use balance::{Balance, ConsistentHash, HashCookie, HashKey, Warmup};
pub use connection::{ConnectionRules, Keepalive};
pub use header::{HeaderEdits, HeaderValue, PSEUDO_HEADERS, Part, Variable, What};
pub use locality::{Distribute, FailoverLabel, LocalityRule, Place};

/// What a blob is. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Who the proxy is and where it listens: one a proxy.
    Listeners = 1,
    /// Routes of one virtual host.
    Host = 2,
    /// How to talk to one destination (a service port, or a subset of it).
    Cluster = 3,
    /// The addresses behind one cluster.
    Endpoints = 4,
    /// Limits and logging of a workload.
    Policy = 5,
    // 6 is kept for trust bundles.
    /// Rule id → manifest object, field, file and line.
    Provenance = 7,
}

/// Stable 32-bit id of the manifest rule that decided something; 0 is "no rule".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// One blob's content.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Model {
    Listeners(ListenerSet),
    Host(Host),
    Cluster(Cluster),
    Endpoints(EndpointSet),
    Policy(PolicySet),
    Provenance(Provenance),
}

/// Identity of a workload as Istio's telemetry labels name it. Empty means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Workload (Deployment, StatefulSet) name.
    pub name: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// `service.istio.io/canonical-name`, else `app.kubernetes.io/name`, else `app`, else the workload's name.
    pub canonical_name: String,
    /// `service.istio.io/canonical-revision`, else `app.kubernetes.io/version`, else `version`, else `latest`.
    pub canonical_revision: String,
    /// SPIFFE id; empty while there is no mTLS.
    pub principal: String,
    /// Cluster id.
    pub cluster: String,
}

/// Listeners of one proxy, and who it is. Named `<namespace>/<pod>`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenerSet {
    /// Blob name.
    pub name: String,
    /// The proxy's own workload.
    pub node: Workload,
    /// Where it runs, if known.
    pub place: Option<Place>,
    /// Pod name.
    pub pod: String,
    /// Name of the [`PolicySet`] in force.
    pub policy: String,
    /// Where it listens; names are unique.
    pub listeners: Vec<Listener>,
}

/// One listening address.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Name; [`Host::listener`] refers to it.
    pub name: String,
    /// The manifest rule behind it.
    pub rule: RuleId,
    /// Address and port to bind.
    pub address: SocketAddr,
    /// Which side of the mesh it serves.
    pub role: Role,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
}

/// Which side of the mesh a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// From the local app to the mesh.
    Outbound = 1,
    /// From the mesh to the local app.
    Inbound = 2,
    /// From outside into the mesh.
    Gateway = 3,
}

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq)]
pub enum ListenerProtocol {
    /// HTTP/1.1, routed by the [`Host`]s that name this listener.
    Http {
        /// Ask the shim for hosts that are not in the snapshot.
        on_demand: bool,
        /// Appended to an authority without a dot to look it up (`default.svc.cluster.local`).
        search: Vec<String>,
        /// The port that callers mean when the authority has none, e.g. the gateway's 80 although it is bound to 8080.
        port: u16,
    },
    /// Opaque bytes to one of these clusters, chosen by weight for each connection.
    Tcp {
        /// Cluster names with weights; all zero or empty refuses every connection.
        backends: Vec<TcpBackend>,
        /// The rule that chose them.
        rule: RuleId,
        /// Close a connection after this long without bytes in either direction; 0 is never.
        idle_timeout_ms: u64,
    },
    /// TLS that is not terminated: the server name in the ClientHello chooses one of these, then the bytes are opaque. The most specific pattern
    /// wins, whatever the order; of equal ones the first. Without one that holds the connection is closed.
    Tls {
        /// What server names lead to.
        routes: Vec<TlsRoute>,
    },
}

/// Where TLS connections for some server names go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsRoute {
    /// The rule behind it.
    pub rule: RuleId,
    /// Lower-case server names: exact, `*.suffix`, or `*`, which also takes a client that names none.
    pub names: Vec<String>,
    /// Cluster names with weights, one drawn for each connection; all zero or empty refuses.
    pub backends: Vec<TcpBackend>,
    /// As of [`ListenerProtocol::Tcp`].
    pub idle_timeout_ms: u64,
}

/// A weighted cluster of a TCP or TLS route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpBackend {
    /// Cluster name. Empty: the destination does not exist; its share of the connections is closed.
    pub cluster: String,
    /// Relative weight.
    pub weight: u32,
}

/// One virtual host: domains and an ordered route list. First match wins; the shim sorts by specificity where the API says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Blob name.
    pub name: String,
    /// Name of the listener that serves it.
    pub listener: String,
    /// The rule that declares the host.
    pub rule: RuleId,
    /// Authorities it answers to.
    pub domains: Vec<Domain>,
    /// In order of evaluation.
    pub routes: Vec<Route>,
    /// What routes do; several routes may share one.
    pub actions: Vec<Action>,
}

/// An authority pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// Lower-case host without port or trailing dot: exact, `*.suffix`, or `*`.
    pub pattern: String,
    /// Port in the authority; 0 is any.
    pub port: u16,
}

/// One condition → action.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The rule behind it.
    pub rule: RuleId,
    /// %ROUTE_NAME%.
    pub name: String,
    /// All of these must hold.
    pub matches: Match,
    /// Index into [`Host::actions`].
    pub action: u32,
}

/// Conditions on a request; all must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// On the path without its query.
    pub path: PathMatch,
    /// Compare exact and prefix paths without regard to ASCII case.
    pub ignore_case: bool,
    /// On the method.
    pub method: Option<StringMatch>,
    /// On the scheme.
    pub scheme: Option<StringMatch>,
    /// On the authority.
    pub authority: Option<StringMatch>,
    /// On header values.
    pub headers: Vec<HeaderMatch>,
    /// On query parameters.
    pub query: Vec<QueryMatch>,
    /// On the workload of the proxy itself: labels that it has to have ([`ListenerSet::place`]), each name once. Others pass the route over.
    pub source: Vec<(String, String)>,
}

/// A condition on the path.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PathMatch {
    /// Any path.
    #[default]
    Any,
    /// The same bytes.
    Exact(String),
    /// Starts with these bytes (Istio `prefix`).
    Prefix(String),
    /// Starts with these whole segments (Gateway API `PathPrefix`); no trailing slash unless it is `/`.
    Segments(String),
    /// Matches as a whole.
    Regex(String),
}

/// A condition on a string.
#[derive(Clone, Debug, PartialEq)]
pub enum StringMatch {
    /// The same bytes.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// Ends with.
    Suffix(String),
    /// Matches as a whole.
    Regex(String),
    /// Is there at all.
    Present,
}

/// A condition on a header.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderMatch {
    /// Lower-case name.
    pub name: String,
    /// On any one of its values (and on all of them joined by a comma).
    pub value: StringMatch,
    /// Must *not* match.
    pub invert: bool,
}

/// A condition on a query parameter; the first of that name counts.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryMatch {
    /// Name, exact.
    pub name: String,
    /// On its percent-decoded value.
    pub value: StringMatch,
}

/// What to do with a request.
#[allow(clippy::large_enum_variant, reason = "nearly every action forwards")]
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send it on.
    Forward(Forward),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer here.
    Respond(Respond),
}

/// Send a request to one of several clusters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forward {
    /// Chosen by weight.
    pub backends: Vec<Backend>,
    /// Whole exchange, from the request's end to the response's end; 0 is none.
    pub timeout_ms: u64,
    /// When it is tried again; `None` is never.
    pub retry: Option<Retry>,
    /// Path edit.
    pub path: PathRewrite,
    /// New authority; empty keeps the one received.
    pub authority: String,
    /// Edits on the request.
    pub request: HeaderEdits,
    /// Edits on the response.
    pub response: HeaderEdits,
    /// Injected before the destination is chosen.
    pub fault: Option<Fault>,
    /// Which origins may read the response.
    pub cors: Option<Cors>,
    /// Who else gets a copy of the request; nobody waits for their answers.
    pub mirrors: Vec<Mirror>,
}

/// A destination of copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// Cluster name.
    pub cluster: String,
    /// Requests of a million that are copied.
    pub per_million: u32,
    /// The rule behind it.
    pub rule: RuleId,
}

/// Faults for a share of the requests: first a delay, then an answer in place of the destination's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The rule behind it.
    pub rule: RuleId,
    /// Time to wait; 0 delays nothing.
    pub delay_ms: u64,
    /// Requests of a million that are delayed.
    pub delay_per_million: u32,
    /// 200 to 599; 0 aborts nothing.
    pub abort_status: u16,
    /// Requests of a million that are aborted.
    pub abort_per_million: u32,
}

/// Cross-origin resource sharing (Istio's CorsPolicy, Gateway API's HTTPCORSFilter). An empty list or text leaves its header out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cors {
    /// Origins that are allowed; one that matches `*` allows all.
    pub origins: Vec<StringMatch>,
    /// `access-control-allow-methods`; `*` repeats the one that was asked for.
    pub methods: String,
    /// `access-control-allow-headers`; `*` repeats those that were asked for.
    pub headers: String,
    /// `access-control-expose-headers`.
    pub expose: String,
    /// `access-control-max-age`, seconds.
    pub max_age_s: Option<u32>,
    /// `access-control-allow-credentials: true`.
    pub credentials: bool,
    /// Preflights of other origins go to the destination; otherwise they are answered without an allowed origin.
    pub forward_unmatched: bool,
}

/// One weighted destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    /// Cluster name. Empty: the destination does not exist; answer 500 (Gateway API) or 503 (Istio) per `missing_status`.
    pub cluster: String,
    /// Relative weight.
    pub weight: u32,
    /// The rule behind this destination.
    pub rule: RuleId,
    /// Status when `cluster` is empty.
    pub missing_status: u16,
    /// Edits on the request, after the route's.
    pub request: HeaderEdits,
    /// Edits on the response, before the route's.
    pub response: HeaderEdits,
    /// Index into [`Host::actions`] of what is done with the requests drawn for it, in the place of all that the route's action says: a redirect, an
    /// answer, or a forward to one backend that has none itself. Only `weight` and `rule` are said beside it.
    pub action: Option<u32>,
}

/// How the path changes on its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PathRewrite {
    /// Not at all.
    #[default]
    Keep,
    /// The matched prefix (or the whole exact path) becomes this; Istio's `rewrite.uri`, bytewise.
    Prefix(String),
    /// The matched segments become these; Gateway API's ReplacePrefixMatch.
    Segments(String),
    /// The whole path becomes this; the query stays.
    Full(String),
    /// Every match of a pattern becomes a text, RE2's GlobalReplace. The query takes no part and stays. Forwards only.
    Regex {
        /// Matches anywhere in the path.
        pattern: String,
        /// `\0` is the whole match, `\1` to `\9` are its groups and `\\` is a backslash.
        substitution: String,
    },
}

/// A redirect answer. Empty or zero fields keep the request's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Scheme.
    pub scheme: String,
    /// Host without port.
    pub host: String,
    /// Port; 0 is the scheme's own, which is never written. None keeps the received one, unless that is the received scheme's own and the scheme
    /// changes.
    pub port: Option<u16>,
    /// Path.
    pub path: PathRewrite,
    /// Edits on the response.
    pub response: HeaderEdits,
    /// Injected before the answer.
    pub fault: Option<Fault>,
}

/// A fixed answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Respond {
    /// Status.
    pub status: u16,
    /// Body, ≤ 64 KiB.
    pub body: String,
    /// Edits on the response.
    pub response: HeaderEdits,
    /// Injected before the answer.
    pub fault: Option<Fault>,
}

/// What a cluster's endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1 = 1,
    /// Opaque.
    Tcp = 2,
}

/// One destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// `outbound|PORT|SUBSET|HOST` or `inbound|PORT||`.
    pub name: String,
    /// The DestinationRule (or Service) behind it.
    pub rule: RuleId,
    /// What its endpoints speak.
    pub protocol: Protocol,
    /// How to choose one.
    pub balance: Balance,
    /// By what key; there if, and only if, `balance` is consistent.
    pub hash: Option<ConsistentHash>,
    /// How new endpoints are eased in; round robin and least request alone have it.
    pub warmup: Option<Warmup>,
    /// Which endpoints come first by where they are.
    pub locality: Option<LocalityRule>,
    /// Name of its [`EndpointSet`].
    pub endpoints: String,
    /// Connect timeout (Istio: 10 s).
    pub connect_timeout_ms: u32,
    /// Idle time of a pooled connection (Istio: 1 h); 0 is never.
    pub idle_timeout_ms: u64,
    /// Requests on one connection; 0 is unlimited.
    pub max_requests_per_connection: u32,
    /// What else is said of its connections; `None` is nothing.
    pub connection: Option<ConnectionRules>,
    /// Connections of one proxy to this cluster; 0 is unlimited.
    pub max_connections: u32,
    /// Requests of one proxy that wait for a connection; 0 is unlimited.
    pub max_pending_requests: u32,
    /// Requests of one proxy that are under way on a connection (Istio `http2MaxRequests`, of HTTP/1.1 too); 0 is unlimited.
    pub max_requests: u32,
    /// Retries at once.
    pub retry_budget: RetryBudget,
    /// Fully qualified host of the service, for telemetry.
    pub service_host: String,
    /// `destination_service_name`.
    pub service_name: String,
    /// `destination_service_namespace`.
    pub service_namespace: String,
    /// When endpoints that fail are left alone (Istio `outlierDetection`); `None` is never.
    pub outlier: Option<OutlierDetection>,
    /// Endpoints are sidecars or gateways of this mesh: peer metadata is exchanged with them and never sent to others.
    pub mesh_internal: bool,
}

/// When an endpoint is left alone, and for how long. A count of 0 never ejects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Errors in a row (Istio: 5).
    pub consecutive_5xx_errors: u32,
    /// Answers 502, 503 and 504 in a row, and failures to connect.
    pub consecutive_gateway_errors: u32,
    /// Failures to connect, and connections that broke, do not count as errors but on their own.
    pub split_local_origin: bool,
    /// Those in a row, where they count on their own (Istio: 5).
    pub consecutive_local_failures: u32,
    /// How often the end of ejections is looked for (Istio: 10 s), ≥ 1.
    pub interval_ms: u64,
    /// Time of a first ejection; the n-th lasts n times as long, up to 300 s or this (Istio: 30 s).
    pub base_ejection_ms: u64,
    /// Part of the endpoints that may be ejected at once (Istio: 10).
    pub max_ejection_percent: u8,
    /// When fewer than this part is left, requests go to all (Istio: 0).
    pub min_health_percent: u8,
    /// Statuses that are errors, ascending, 100 to 599; empty is 500 to 599.
    pub error_codes: Vec<u16>,
}

/// Addresses of one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointSet {
    /// Blob name; by convention the cluster's.
    pub name: String,
    /// Workloads that endpoints refer to.
    pub workloads: Vec<Workload>,
    /// Places that endpoints refer to.
    pub places: Vec<Place>,
    /// The addresses, in a deterministic order.
    pub endpoints: Vec<Endpoint>,
    /// Names that the proxy looks up; what they stand for is added to the addresses.
    pub names: Vec<NamedEndpoint>,
}

/// A DNS name among endpoints. Its addresses take no part in subsets by label: only the proxy knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// Lower-case DNS name.
    pub host: String,
    /// Port of each of its addresses.
    pub port: u16,
    /// Relative weight of each of its addresses, ≥ 1.
    pub weight: u32,
    /// Only the first address of an answer is used (DNS_ROUND_ROBIN).
    pub first_only: bool,
    /// Index into [`EndpointSet::places`], of each of its addresses; u32::MAX is unknown.
    pub place: u32,
}

/// One address.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Relative weight, ≥ 1.
    pub weight: u32,
    /// Takes no new requests; running ones finish.
    pub draining: bool,
    /// Index into [`EndpointSet::workloads`]; u32::MAX is unknown.
    pub workload: u32,
    /// Index into [`EndpointSet::places`]; u32::MAX is unknown.
    pub place: u32,
}

/// Access log encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum AccessLog {
    /// None.
    #[default]
    Off = 1,
    /// Istio's default text line.
    Text = 2,
    /// Istio's default JSON keys.
    Json = 3,
}

/// How paths are brought into the one form that is matched, logged and forwarded; Istio's `MeshConfig.pathNormalization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PathNormalization {
    /// As received.
    None = 1,
    /// RFC 3986 §6.2.2: dot segments resolved, unreserved characters decoded, what must be encoded encoded; and `\` becomes `/` (Istio's default).
    #[default]
    Base = 2,
    /// The same, then runs of slashes become one.
    MergeSlashes = 3,
    /// The same, after `%2F` and `%5C` became slashes.
    DecodeAndMergeSlashes = 4,
}

/// How much doubt about a request's meaning is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Profile {
    /// As much as Istio refuses.
    #[default]
    Istio = 1,
    /// Whatever two readers could take for two things: encoded slashes, underscores in header names, repeated single-valued headers, targets above
    /// 8 KiB. Host is forwarded in its normal form.
    Strict = 2,
}

/// Limits and logging of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySet {
    /// Blob name.
    pub name: String,
    /// Access log.
    pub access_log: AccessLog,
    /// What a line looks like ([`crate::log_format`]): a text, or for JSON an object; empty is Istio's with the rule besides. A newline follows.
    pub access_log_format: String,
    /// The form of paths.
    pub path_normalization: PathNormalization,
    /// What is refused.
    pub profile: Profile,
    /// Bytes of a request or response head.
    pub head_bytes_max: u32,
    /// Header lines of a head.
    pub header_fields_max: u32,
    /// Time to receive a whole request head.
    pub head_timeout_ms: u32,
    /// Time without progress on a body, either direction.
    pub body_idle_timeout_ms: u32,
    /// Idle time of a downstream connection.
    pub downstream_idle_timeout_ms: u64,
    /// Time that a drain waits before connections are cut.
    pub drain_timeout_ms: u32,
    /// Time for which an exchange may wait for on-demand config.
    pub ask_timeout_ms: u32,
    /// How many proxies in front of a gateway are believed (Istio's `numTrustedProxies`): of `x-forwarded-for` the address that the first of them wrote,
    /// counted from the end, is the client's, and `x-forwarded-proto` is kept. 0: nobody.
    pub trusted_proxies: u32,
}

impl Default for PolicySet {
    fn default() -> Self {
        PolicySet {
            name: "default".into(),
            access_log: AccessLog::Off,
            access_log_format: String::new(),
            path_normalization: PathNormalization::Base,
            profile: Profile::Istio,
            head_bytes_max: 60 << 10,
            header_fields_max: 100,
            head_timeout_ms: 10_000,
            body_idle_timeout_ms: 60_000,
            downstream_idle_timeout_ms: 3_600_000,
            drain_timeout_ms: 5_000,
            ask_timeout_ms: 2_000,
            trusted_proxies: 0,
        }
    }
}

/// Where rules came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// Blob name: the proxy's listener set.
    pub name: String,
    /// Sorted by rule id.
    pub entries: Vec<ProvenanceEntry>,
}

/// One rule's origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvenanceEntry {
    /// The id.
    pub rule: RuleId,
    /// Manifest kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Object name.
    pub name: String,
    /// Field path, such as `http[2].route[0]`.
    pub field: String,
    /// File it was read from.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Model {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Model::Listeners(_) => Kind::Listeners,
            Model::Host(_) => Kind::Host,
            Model::Cluster(_) => Kind::Cluster,
            Model::Endpoints(_) => Kind::Endpoints,
            Model::Policy(_) => Kind::Policy,
            Model::Provenance(_) => Kind::Provenance,
        }
    }

    /// Its name, unique within its kind.
    pub fn name(&self) -> &str {
        match self {
            Model::Listeners(m) => &m.name,
            Model::Host(m) => &m.name,
            Model::Cluster(m) => &m.name,
            Model::Endpoints(m) => &m.name,
            Model::Policy(m) => &m.name,
            Model::Provenance(m) => &m.name,
        }
    }
}
