//! Where workloads run, and what that means for who asks whom: DestinationRule `loadBalancer.localityLbSetting`.

/// Where a workload runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// `topology.kubernetes.io/region`; empty is unknown.
    pub region: String,
    /// `topology.kubernetes.io/zone`.
    pub zone: String,
    /// `topology.istio.io/subzone`.
    pub subzone: String,
    /// Values of labels that some [`LocalityRule::Failover`] compares, or (the proxy's own) some route's `source`, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// Which endpoints a proxy prefers by where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalityRule {
    /// The first whose `from` covers the proxy counts; without one all endpoints are equal.
    Distribute(Vec<Distribute>),
    /// The nearest endpoints; the next ones as far as those are out of order.
    Failover {
        /// Labels to compare with the proxy's own, the most important first. Empty: region, zone and subzone.
        priority: Vec<FailoverLabel>,
        /// (region of the proxy, region): the region that comes before other foreign ones.
        regions: Vec<(String, String)>,
    },
}

/// Shares of localities for the proxies of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribute {
    /// `region/zone/subzone`; parts may be `*`, and be left out at the end.
    pub from: String,
    /// Localities, in the same form, with their weights. An endpoint is of the first that covers it; one of none gets no requests.
    pub to: Vec<(String, u32)>,
}

/// A label to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverLabel {
    /// Its name.
    pub name: String,
    /// The value that counts as near; none is the proxy's own.
    pub value: Option<String>,
}
