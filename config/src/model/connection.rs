//! Connections that a proxy opens: DestinationRule `connectionPool.tcp`.

/// What is said of a cluster's connections themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionRules {
    /// Time from its opening after which a connection takes no new request, and an opaque one is closed (Istio `maxConnectionDuration`); 0 is never.
    pub duration_max_ms: u64,
    /// Probes on idle connections (Istio `tcpKeepalive`); `None` sends none.
    pub keepalive: Option<Keepalive>,
}

/// TCP keepalive. A field of 0 is what the system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Probes without an answer after which the connection is dead.
    pub probes: u32,
    /// Seconds without traffic before the first one.
    pub time_s: u32,
    /// Seconds between two of them.
    pub interval_s: u32,
}
