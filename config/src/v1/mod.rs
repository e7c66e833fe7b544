//! Version 1: which sections and records each kind of blob has, the way between them and the model, and the verifier.

mod decode;
mod encode;
mod pieces;
pub mod record;
mod verify;

use crate::model::{AccessLog, Balance, Kind, PathNormalization, Profile, Protocol, Role};

pub(crate) use decode::decode;
pub(crate) use encode::encode;
pub use pieces::HostPieces;
pub(crate) use pieces::origin;
pub use verify::verify;

/// Section ids. Every kind of blob has its one-record head section; a section without records is left out.
pub mod section {
    #![allow(missing_docs)]
    use crate::model::Kind;

    pub const STRINGS: u16 = crate::wire::SECTION_STRINGS;
    pub const HEAD: u16 = 2;
    pub const LISTENER: u16 = 3;
    pub const SEARCH: u16 = 4;
    pub const TCP_BACKEND: u16 = 5;
    pub const DOMAIN: u16 = 6;
    pub const ROUTE: u16 = 7;
    pub const ACTION: u16 = 8;
    pub const HEADER_MATCH: u16 = 9;
    pub const QUERY_MATCH: u16 = 10;
    pub const BACKEND: u16 = 11;
    pub const EDIT: u16 = 12;
    pub const WORKLOAD: u16 = 13;
    pub const ENDPOINT: u16 = 14;
    pub const ORIGIN: u16 = 15;
    pub const TLS_ROUTE: u16 = 16;
    pub const SERVER_NAME: u16 = 17;
    pub const FAULT: u16 = 18;
    pub const CORS: u16 = 19;
    pub const CORS_ORIGIN: u16 = 20;
    pub const HASH: u16 = 21;
    pub const COOKIE_ATTRIBUTE: u16 = 22;
    pub const WARMUP: u16 = 23;
    pub const RETRY: u16 = 24;
    pub const STATUS: u16 = 25;
    pub const MIRROR: u16 = 26;
    pub const PLACE: u16 = 27;
    pub const PLACE_LABEL: u16 = 28;
    pub const LOCALITY: u16 = 29;
    pub const DISTRIBUTE: u16 = 30;
    pub const LOCALITY_SHARE: u16 = 31;
    pub const FAILOVER_LABEL: u16 = 32;
    pub const FAILOVER_REGION: u16 = 33;
    pub const NAMED_ENDPOINT: u16 = 34;
    pub const OUTLIER: u16 = 35;
    pub const CONNECTION: u16 = 36;
    pub const PART: u16 = 37;
    /// Ids from here on are unknown to this version.
    pub const END: u16 = 38;

    /// A section in words.
    pub fn name(id: u16) -> &'static str {
        const NAMES: [&str; END as usize] = [
            "0",
            "strings",
            "head",
            "listener",
            "search",
            "TCP backend",
            "domain",
            "route",
            "action",
            "header match",
            "query match",
            "backend",
            "header edit",
            "workload",
            "endpoint",
            "origin",
            "TLS route",
            "server name",
            "fault",
            "CORS",
            "CORS origin",
            "hash",
            "cookie attribute",
            "warm-up",
            "retry",
            "status",
            "mirror",
            "place",
            "place label",
            "locality",
            "distribute",
            "locality share",
            "failover label",
            "failover region",
            "named endpoint",
            "outlier detection",
            "connection rules",
            "part of a value",
        ];
        NAMES.get(id as usize).copied().unwrap_or("of an unknown id")
    }

    /// The sections that a kind of blob uses besides pool and head.
    pub fn of(kind: Kind) -> &'static [u16] {
        match kind {
            Kind::Listeners => &[LISTENER, SEARCH, TCP_BACKEND, TLS_ROUTE, SERVER_NAME, PLACE, PLACE_LABEL],
            Kind::Host => &[
                DOMAIN,
                ROUTE,
                ACTION,
                HEADER_MATCH,
                QUERY_MATCH,
                BACKEND,
                EDIT,
                FAULT,
                CORS,
                CORS_ORIGIN,
                RETRY,
                STATUS,
                MIRROR,
                PART,
                PLACE_LABEL,
            ],
            Kind::Endpoints => &[WORKLOAD, ENDPOINT, PLACE, PLACE_LABEL, NAMED_ENDPOINT],
            Kind::Provenance => &[ORIGIN],
            Kind::Cluster => &[
                HASH,
                COOKIE_ATTRIBUTE,
                WARMUP,
                LOCALITY,
                DISTRIBUTE,
                LOCALITY_SHARE,
                FAILOVER_LABEL,
                FAILOVER_REGION,
                OUTLIER,
                CONNECTION,
                STATUS,
            ],
            Kind::Policy => &[],
        }
    }
}

/// What the tags of a record mean.
pub mod tag {
    #![allow(missing_docs)]
    pub const HTTP: u8 = 1;
    pub const TCP: u8 = 2;
    pub const TLS: u8 = 3;

    pub const FORWARD: u8 = 1;
    pub const REDIRECT: u8 = 2;
    pub const RESPOND: u8 = 3;
    pub const NO_ACTION: u32 = u32::MAX;

    pub const REMOVE: u8 = 1;
    pub const SET: u8 = 2;
    pub const ADD: u8 = 3;

    pub const DISTRIBUTE: u8 = 1;
    pub const FAILOVER: u8 = 2;

    pub const HEADER: u8 = 1;
    pub const COOKIE: u8 = 2;
    pub const SOURCE_IP: u8 = 3;
    pub const QUERY: u8 = 4;
}

/// The kind with this number.
pub fn kind(n: u8) -> Option<Kind> {
    use Kind::*;
    [Listeners, Host, Cluster, Endpoints, Policy, Provenance].into_iter().find(|k| *k as u8 == n)
}

/// The role with this number.
pub fn role(n: u8) -> Option<Role> {
    [Role::Outbound, Role::Inbound, Role::Gateway].into_iter().find(|r| *r as u8 == n)
}

/// The cluster protocol with this number.
pub fn protocol(n: u8) -> Option<Protocol> {
    [Protocol::Http1, Protocol::Tcp].into_iter().find(|p| *p as u8 == n)
}

/// The way to balance with this number.
pub fn balance(n: u8) -> Option<Balance> {
    use Balance::*;
    [LeastRequest, RoundRobin, Random, RingHash, Maglev].into_iter().find(|b| *b as u8 == n)
}

/// The access log with this number.
pub fn access_log(n: u8) -> Option<AccessLog> {
    [AccessLog::Off, AccessLog::Text, AccessLog::Json].into_iter().find(|l| *l as u8 == n)
}

/// The form of paths with this number.
pub fn path_normalization(n: u8) -> Option<PathNormalization> {
    use PathNormalization::*;
    [None, Base, MergeSlashes, DecodeAndMergeSlashes].into_iter().find(|p| *p as u8 == n)
}

/// The profile with this number.
pub fn profile(n: u8) -> Option<Profile> {
    [Profile::Istio, Profile::Strict].into_iter().find(|p| *p as u8 == n)
}
