//! The records of version 1. Sizes are asserted; deriving `IntoBytes` proves that there is no padding.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire::{Span, Str};

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident = $size:literal { $($field:ident: $ty:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
        #[repr(C)]
        #[allow(missing_docs)]
        pub struct $name { $(pub $field: $ty),* }
        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

records! {
    /// A workload's identity.
    WorkloadRecord = 64 { namespace: Str, name: Str, app: Str, version: Str, canonical_name: Str, canonical_revision: Str, principal: Str, cluster: Str }
    /// A socket address; IPv4 as IPv4-mapped IPv6.
    AddressRecord = 18 { ip: [u8; 16], port: U16 }
    /// Head of a listener set.
    ListenersRecord = 96 { node: WorkloadRecord, pod: Str, policy: Str, listeners: Span, place: Span }
    /// Where a workload runs.
    PlaceRecord = 32 { region: Str, zone: Str, subzone: Str, labels: Span }
    /// A label of a place.
    PlaceLabelRecord = 16 { name: Str, value: Str }
    /// A listener. `protocol` 1 = HTTP, 2 = TCP, 3 = TLS; fields of other protocols are zero.
    ListenerRecord = 72 { name: Str, rule: U32, address: AddressRecord, role: u8, protocol: u8, on_demand: u8, reserved: u8, port: U16, search: Span,
        backends: Span, route_rule: U32, idle_timeout_ms: U64, tls_routes: Span }
    /// A weighted cluster of a TCP listener or a TLS route.
    TcpBackendRecord = 12 { cluster: Str, weight: U32 }
    /// Where TLS connections for some server names go.
    TlsRouteRecord = 28 { rule: U32, names: Span, backends: Span, idle_timeout_ms: U64 }
    /// Head of a host.
    HostRecord = 36 { listener: Str, rule: U32, domains: Span, routes: Span, actions: Span }
    /// An authority pattern.
    DomainRecord = 12 { pattern: Str, port: U16, reserved: U16 }
    /// A string condition. `kind` 0 = none, 1 = exact, 2 = prefix, 3 = suffix, 4 = regex, 5 = present.
    StringMatchRecord = 12 { value: Str, kind: u8, reserved: [u8; 3] }
    /// A route. `path_kind` 0 = any, 1 = exact, 2 = prefix, 3 = segments, 4 = regex.
    RouteRecord = 88 { rule: U32, name: Str, path: Str, path_kind: u8, ignore_case: u8, reserved: [u8; 2], method: StringMatchRecord,
        scheme: StringMatchRecord, authority: StringMatchRecord, headers: Span, query: Span, action: U32, source: Span }
    /// A header condition.
    HeaderMatchRecord = 24 { name: Str, value: StringMatchRecord, invert: u8, reserved: [u8; 3] }
    /// A query condition.
    QueryMatchRecord = 20 { name: Str, value: StringMatchRecord }
    /// An action. `kind` 1 = forward, 2 = redirect, 3 = respond. `text` is authority, redirect host or body; `scheme` of a redirect.
    /// `path_kind` 0 = keep, 1 = prefix, 2 = segments, 3 = full, 4 = regex, whose substitution is in `scheme`.
    ActionRecord = 96 { kind: u8, path_kind: u8, status: U16, port: U16, has_port: u8, reserved: u8, timeout_ms: U64, text: Str, scheme: Str, path: Str,
        backends: Span, request: Span, response: Span, fault: Span, cors: Span, retry: Span, mirrors: Span }
    /// A retry policy; at most one an action. `on` and `on_repeatable` are sets of bits.
    RetryRecord = 44 { attempts: U32, on: U32, on_repeatable: U32, statuses: Span, try_timeout_ms: U64, backoff_min_ms: U32,
        backoff_ms: U32, backoff_max_ms: U32, avoid_previous: u8, reserved: [u8; 3] }
    /// A weighted destination. `action` u32::MAX is none of its own.
    BackendRecord = 40 { cluster: Str, weight: U32, rule: U32, missing_status: U16, reserved: U16, request: Span, response: Span, action: U32 }
    /// A header edit. `kind` 1 = remove, 2 = set, 3 = add.
    EditRecord = 28 { name: Str, value: Str, kind: u8, reserved: [u8; 3], parts: Span }
    /// A part of a header's value. `what` 0 = `text`; else a variable, about the header `text`, or `alternative`.
    PartRecord = 24 { text: Str, alternative: Str, bytes_max: U32, what: u8, reserved: [u8; 3] }
    /// Injected faults.
    FaultRecord = 24 { rule: U32, delay_ms: U64, delay_per_million: U32, abort_per_million: U32, abort_status: U16, reserved: U16 }
    /// A destination of copies.
    MirrorRecord = 16 { cluster: Str, per_million: U32, rule: U32 }
    /// Cross-origin resource sharing.
    CorsRecord = 40 { origins: Span, methods: Str, headers: Str, expose: Str, max_age_s: U32, has_max_age: u8, credentials: u8, forward_unmatched: u8,
        reserved: u8 }
    /// Head of a cluster. `protocol` 1 = HTTP/1.1, 2 = TCP; `balance` 1 = least request, 2 = round robin, 3 = random, 4 = ring hash, 5 = Maglev.
    /// `hash`, `warmup`, `locality`, `outlier` and `connection` are at most one record.
    ClusterRecord = 116 { rule: U32, protocol: u8, balance: u8, mesh_internal: u8, reserved: u8, endpoints: Str, connect_timeout_ms: U32,
        idle_timeout_ms: U64, max_requests_per_connection: U32, max_connections: U32, max_pending_requests: U32,
        max_requests: U32, service_host: Str, service_name: Str, service_namespace: Str, hash: Span, warmup: Span, retry_share: U32,
        retry_floor: U32, locality: Span, outlier: Span, connection: Span }
    /// What is said of connections. `keepalive` 0: no probes, and the fields of them are zero.
    ConnectionRecord = 24 { duration_max_ms: U64, keepalive_probes: U32, keepalive_time_s: U32, keepalive_interval_s: U32, keepalive: u8,
        reserved: [u8; 3] }
    /// What is hashed. `kind` 1 = header, 2 = cookie, 3 = source address, 4 = query parameter; the last four fields are a cookie's.
    HashRecord = 40 { kind: u8, generated: u8, reserved: U16, table_size: U32, name: Str, path: Str, ttl_ms: U64, attributes: Span }
    /// An attribute of a generated cookie.
    CookieAttributeRecord = 16 { name: Str, value: Str }
    /// How new endpoints are eased in.
    WarmupRecord = 16 { duration_ms: U64, minimum: U32, aggression: U32 }
    /// Which endpoints come first. `kind` 1 = distribute, 2 = failover; spans of the other kind are empty.
    LocalityRecord = 28 { kind: u8, reserved: [u8; 3], distribute: Span, priority: Span, regions: Span }
    /// Shares of localities for the proxies of one.
    DistributeRecord = 16 { from: Str, to: Span }
    /// The share of a locality.
    LocalityShareRecord = 12 { locality: Str, weight: U32 }
    /// A label to compare; `fixed` 0 = with the proxy's own.
    FailoverLabelRecord = 20 { name: Str, value: Str, fixed: u8, reserved: [u8; 3] }
    /// Which region follows on another.
    FailoverRegionRecord = 16 { from: Str, to: Str }
    /// A cluster's outlier detection.
    OutlierRecord = 40 { consecutive_5xx_errors: U32, consecutive_gateway_errors: U32, consecutive_local_failures: U32, interval_ms: U64, base_ejection_ms: U64,
        split_local_origin: u8, max_ejection_percent: u8, min_health_percent: u8, reserved: u8, error_codes: Span }
    /// Head of an endpoint set.
    EndpointsRecord = 32 { workloads: Span, endpoints: Span, places: Span, names: Span }
    /// An endpoint; `workload` and `place` u32::MAX are unknown.
    EndpointRecord = 32 { address: AddressRecord, draining: u8, reserved: u8, weight: U32, workload: U32, place: U32 }
    /// A name among endpoints.
    NamedEndpointRecord = 20 { host: Str, weight: U32, port: U16, first_only: u8, reserved: u8, place: U32 }
    /// Head of a policy set. `access_log` 1 = off, 2 = text, 3 = JSON. `path_normalization` 1 = none, 2 = base, 3 = merge slashes, 4 = decode and merge
    /// slashes. `profile` 1 = Istio, 2 = strict.
    PolicyRecord = 48 { access_log: u8, path_normalization: u8, profile: u8, reserved: u8, head_bytes_max: U32, header_fields_max: U32, head_timeout_ms: U32, body_idle_timeout_ms: U32,
        downstream_idle_timeout_ms: U64, drain_timeout_ms: U32, ask_timeout_ms: U32, trusted_proxies: U32,
        access_log_format: Str }
    /// Head of a provenance blob.
    ProvenanceRecord = 8 { entries: Span }
    /// A rule's origin.
    OriginRecord = 52 { rule: U32, kind: Str, namespace: Str, name: Str, field: Str, file: Str, line: U32, column: U32 }
}
