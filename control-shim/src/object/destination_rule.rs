//! DestinationRule: how to talk to a host, and its subsets.

use super::decode::{Field, Fields};
use super::load_balancer::{LoadBalancer, load_balancer};
use super::locality::LocalitySetting;
use super::outlier::{Outlier, outlier};
use super::patterns::{self, ExportTo};
use super::{Labels, Meta, Spot, retries};
use ringway_config::limits::{KEEPALIVE_PROBES_MAX, KEEPALIVE_S_MAX};
use ringway_config::model::{ConnectionRules, Keepalive, LocalityRule, RetryBudget};
use std::collections::BTreeSet;

/// A DestinationRule.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationRule {
    /// Who it is.
    pub meta: Meta,
    /// Host as written, in lower case; may be `*.suffix`.
    pub host: String,
    /// Where the host stands.
    pub host_spot: Spot,
    /// Who sees it.
    pub export_to: ExportTo,
    /// Labels of the clients in its own namespace for which it holds; `None` is all of them, and those of other namespaces.
    pub selector: Option<Labels>,
    /// For all subsets.
    pub policy: TrafficPolicy,
    /// Named parts of the host's endpoints.
    pub subsets: Vec<Subset>,
}

impl DestinationRule {
    /// What holds for all endpoints and for each subset, on every port that one of them names and on any other.
    fn policies(&self) -> impl Iterator<Item = TrafficPolicy> {
        let over = || std::iter::once(None).chain(self.subsets.iter().map(|subset| Some(&subset.policy)));
        let ports = over().flat_map(|over| over.unwrap_or(&self.policy).ports.iter().map(|(port, _)| *port));
        let ports: BTreeSet<u16> = ports.chain([0]).collect();
        over().flat_map(move |over| ports.clone().into_iter().map(move |port| self.policy.effective(over, port)))
    }

    /// Where failover is asked for that cannot happen.
    fn idle_failovers(&self) -> Vec<Spot> {
        let idle = |policy: TrafficPolicy| match policy.balancer?.locality? {
            LocalitySetting::Rule(LocalityRule::Failover { .. }, spot) if policy.outlier.is_none() => Some(spot),
            _ => None,
        };
        let mut spots: Vec<Spot> = Vec::new();
        for spot in self.policies().filter_map(idle) {
            if !spots.contains(&spot) {
                spots.push(spot);
            }
        }
        spots
    }

    /// The labels of endpoints and of proxies that it compares.
    pub fn compared_labels(&self) -> BTreeSet<String> {
        let settings = self.policies().filter_map(|policy| policy.balancer?.locality);
        settings.flat_map(|setting| setting.compared_labels()).collect()
    }
}

/// A named part of the host's endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Subset {
    /// `subsets[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// Name.
    pub name: String,
    /// Labels of its endpoints.
    pub labels: Labels,
    /// Overrides the rule's, part by part.
    pub policy: TrafficPolicy,
}

/// How to talk to endpoints; `None` inherits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrafficPolicy {
    /// How to choose one.
    pub balancer: Option<LoadBalancer>,
    /// Limits and times.
    pub pool: Option<Pool>,
    /// Whom to leave alone.
    pub outlier: Option<Outlier>,
    /// Retries at once; goes before the pool's. A port has no own.
    pub retry_budget: Option<RetryBudget>,
    /// For single ports; replaces everything above for that port.
    pub ports: Vec<(u16, TrafficPolicy)>,
}

/// `connectionPool`. A limit of 0 is none, as in Istio.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Pool {
    pub connect_timeout_ms: Option<u32>,
    pub max_connections: u32,
    pub max_pending_requests: u32,
    pub max_requests: u32,
    pub max_requests_per_connection: u32,
    pub idle_timeout_ms: Option<u64>,
    /// Of opaque connections.
    pub tcp_idle_timeout_ms: Option<u64>,
    /// `tcp.maxConnectionDuration` and `tcp.tcpKeepalive`.
    pub connection: Option<ConnectionRules>,
    /// `http.maxRetries`.
    pub max_retries: Option<RetryBudget>,
}

impl TrafficPolicy {
    /// What holds on `port` when `self` is the rule's policy and `over` the subset's: each part of the latter replaces the whole of the former's, and
    /// what is said for a single port replaces every part.
    pub fn effective(&self, over: Option<&TrafficPolicy>, port: u16) -> TrafficPolicy {
        if let Some(whole) = over.and_then(|over| over.of_port(port)) {
            let retry_budget = over.and_then(|over| over.retry_budget).or(self.retry_budget);
            return TrafficPolicy { retry_budget, ..whole.clone() };
        }
        let mut policy = self.at(port);
        if let Some(over) = over.cloned() {
            policy.balancer = over.balancer.or(policy.balancer);
            policy.retry_budget = over.retry_budget.or(policy.retry_budget);
            policy.pool = over.pool.or(policy.pool);
            policy.outlier = over.outlier.or(policy.outlier);
        }
        policy
    }

    /// Whether it has limits and times of connections, on any port.
    pub fn has_pool(&self) -> bool {
        self.pool.is_some() || self.ports.iter().any(|(_, policy)| policy.pool.is_some())
    }

    fn at(&self, port: u16) -> TrafficPolicy {
        TrafficPolicy { retry_budget: self.retry_budget, ..self.of_port(port).unwrap_or(self).clone() }
    }

    fn of_port(&self, port: u16) -> Option<&TrafficPolicy> {
        self.ports.iter().find(|(number, _)| *number == port).map(|(_, policy)| policy)
    }
}

/// Decodes a DestinationRule.
pub fn destination_rule(meta: Meta, mut root: Fields<'_>) -> Option<DestinationRule> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a DestinationRule")?;
    let host_field = fields.require("host");
    let policy = fields.get("trafficPolicy").map(|f| traffic_policy(&f, true)).unwrap_or_default();
    let items = fields.get("subsets").map(|f| f.items()).unwrap_or_default();
    let mut subsets: Vec<Subset> = Vec::new();
    for item in &items {
        let Some(subset) = subset(item) else { continue };
        if subsets.iter().any(|other| other.name == subset.name) {
            item.error("duplicate-subset", format!("subset `{}` is there twice", subset.name), "remove one of the two");
        }
        subsets.push(subset);
    }
    let export_to = ExportTo::decode(fields.get("exportTo"));
    let selector = fields.get("workloadSelector").and_then(|f| client_selector(&f)).filter(|labels| !labels.is_empty());
    fields.finish();
    let host_field = host_field?;
    let host = patterns::host_name(&host_field, host_field.text()?, true)?;
    let rule = DestinationRule { meta, host, host_spot: host_field.spot(), export_to, selector, policy, subsets };
    for spot in rule.idle_failovers() {
        let message = "locality failover does nothing without `outlierDetection` beside it: nobody would notice that the near endpoints fail";
        spec.context.warning(spot.span, "no-failover", message, "add `outlierDetection: {}`, or remove it");
    }
    Some(rule)
}

/// `workloadSelector` of a policy, which calls its labels otherwise than that of a ServiceEntry.
fn client_selector(field: &Field<'_>) -> Option<Labels> {
    let mut fields = field.fields("a workload selector")?;
    let labels = fields.get("matchLabels").map(|f| f.labels()).unwrap_or_default();
    fields.finish();
    Some(labels)
}

fn subset(item: &Field<'_>) -> Option<Subset> {
    let mut fields = item.fields("a subset")?;
    let name = fields.require("name").and_then(|f| f.text());
    let labels = fields.get("labels").map(|f| f.labels()).unwrap_or_default();
    let policy = fields.get("trafficPolicy").map(|f| traffic_policy(&f, true)).unwrap_or_default();
    fields.finish();
    Some(Subset { path: item.path.clone(), spot: item.spot(), name: name?.to_string(), labels, policy })
}

fn traffic_policy(field: &Field<'_>, with_ports: bool) -> TrafficPolicy {
    let mut policy = TrafficPolicy::default();
    let Some(mut fields) = field.fields("a traffic policy") else { return policy };
    policy.balancer = fields.get("loadBalancer").and_then(|f| load_balancer(&f));
    policy.pool = fields.get("connectionPool").map(|f| connection_pool(&f));
    policy.outlier = fields.get("outlierDetection").and_then(|f| outlier(&f));
    if let Some(settings) = fields.get("tls") {
        tls(&settings);
    }
    fields.not_supported(&["tunnel", "proxyProtocol"]);
    if with_ports {
        policy.retry_budget = fields.get("retryBudget").and_then(|f| retries::budget(&f));
        for item in fields.get("portLevelSettings").map(|f| f.items()).unwrap_or_default() {
            let port = item.peek("port").and_then(|port| port.peek("number"));
            match port.and_then(|number| number.port()) {
                Some(port) => policy.ports.push((port, traffic_policy(&item, false))),
                None => item.error("missing-field", "a port-level setting has to have `port.number`", "add it"),
            }
        }
    } else {
        fields.harmless(&["port"]);
    }
    fields.finish();
    policy
}

/// Istio's limits are of 32 bits with a sign.
const LIMIT_MAX: u64 = i32::MAX as u64;

pub(super) fn connection_pool(field: &Field<'_>) -> Pool {
    let mut pool = Pool::default();
    let limit = |f: Option<Field<'_>>| f.and_then(|f| u32::try_from(f.number(0, LIMIT_MAX)?).ok()).unwrap_or(0);
    let Some(mut fields) = field.fields("a connection pool") else { return pool };
    if let Some(mut tcp) = fields.get("tcp").and_then(|f| f.fields("TCP settings")) {
        pool.max_connections = limit(tcp.get("maxConnections"));
        let timeout = tcp.get("connectTimeout").and_then(|f| f.duration_ms());
        pool.connect_timeout_ms = timeout.map(|ms| u32::try_from(ms.max(1)).unwrap_or(u32::MAX));
        pool.tcp_idle_timeout_ms = tcp.get("idleTimeout").and_then(|f| f.duration_ms());
        let duration_max_ms = tcp.get("maxConnectionDuration").and_then(|f| f.duration_ms()).unwrap_or(0);
        let keepalive = tcp.get("tcpKeepalive").and_then(|f| keepalive(&f));
        let rules = ConnectionRules { duration_max_ms, keepalive };
        pool.connection = (rules != ConnectionRules::default()).then_some(rules);
        tcp.finish();
    }
    if let Some(mut http) = fields.get("http").and_then(|f| f.fields("HTTP settings")) {
        pool.max_requests_per_connection = limit(http.get("maxRequestsPerConnection"));
        pool.max_pending_requests = limit(http.get("http1MaxPendingRequests"));
        pool.max_requests = limit(http.get("http2MaxRequests"));
        pool.idle_timeout_ms = http.get("idleTimeout").and_then(|f| f.duration_ms());
        if let Some(policy) = http.get("h2UpgradePolicy")
            && policy.word(&[("DEFAULT", false), ("DO_NOT_UPGRADE", false), ("UPGRADE", true)]) == Some(true)
        {
            policy.not_supported("h2UpgradePolicy UPGRADE");
        }
        pool.max_retries = http.get("maxRetries").and_then(|f| retries::max_retries(&f));
        // There are no HTTP/2 upstreams yet, so these limit nothing.
        http.harmless(&["useClientProtocol", "maxConcurrentStreams", "http2KeepAlive"]);
        http.finish();
    }
    fields.finish();
    // Istio gives HTTP connections TCP's idle time where they have none of their own.
    pool.idle_timeout_ms = pool.idle_timeout_ms.or(pool.tcp_idle_timeout_ms);
    pool
}

pub(super) fn keepalive(field: &Field<'_>) -> Option<Keepalive> {
    let mut fields = field.fields("TCP keepalive")?;
    let number = |f: Field<'_>| u32::try_from(f.number(0, KEEPALIVE_PROBES_MAX.into())?).ok();
    // The kernel counts seconds.
    let seconds = |f: Field<'_>| {
        let seconds = f.duration_ms()?.div_ceil(1000);
        if seconds > KEEPALIVE_S_MAX.into() {
            f.error("wrong-duration", format!("it has to be at most {KEEPALIVE_S_MAX}s"), "");
        }
        u32::try_from(seconds).ok()
    };
    let keepalive = Keepalive {
        probes: fields.get("probes").and_then(number).unwrap_or(0),
        time_s: fields.get("time").and_then(seconds).unwrap_or(0),
        interval_s: fields.get("interval").and_then(seconds).unwrap_or(0),
    };
    fields.finish();
    Some(keepalive)
}

fn tls(field: &Field<'_>) {
    let Some(mut fields) = field.fields("TLS settings") else { return };
    if let Some(mode) = fields.get("mode") {
        let modes = [("DISABLE", 0), ("SIMPLE", 1), ("MUTUAL", 1), ("ISTIO_MUTUAL", 2)];
        match mode.word(&modes) {
            Some(1) => mode.not_supported("TLS towards a destination"),
            Some(2) => {
                mode.context.unenforced(mode.node.span, "ISTIO_MUTUAL is not enforced yet: traffic goes as plain text")
            }
            _ => {}
        }
    }
    fields.not_supported(&[
        "clientCertificate",
        "privateKey",
        "caCertificates",
        "credentialName",
        "subjectAltNames",
        "sni",
        "insecureSkipVerify",
        "caCrl",
    ]);
    fields.finish();
}
