//! What is told of a decision.

use ringway_config::model::{ProvenanceEntry, Role, RuleId};
use serde_json::Value;
use std::net::SocketAddr;

/// A rule, and where it stands if that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// The manifest line.
    pub origin: Option<ProvenanceEntry>,
}

/// How one request is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The proxy, as `namespace/pod`.
    pub node: String,
    /// Name of the listener.
    pub listener: String,
    /// Where it listens.
    pub address: Option<SocketAddr>,
    /// Which side of the mesh it serves.
    pub role: Option<Role>,
    /// The host that the authority met.
    pub host: Option<HostMet>,
    /// The routes above the one that matched, and why each did not match.
    pub passed: Vec<Passed>,
    /// The route that matched.
    pub route: Option<RouteMet>,
    /// What it does, as `ringway dump --output json` shows it.
    pub action: Value,
    /// What is injected before anything else happens.
    pub fault: Option<FaultMet>,
    /// What becomes of the request.
    pub outcome: Outcome,
    /// The rule that decided, as the access log names it.
    pub rule: Rule,
}

/// The host that an authority met.
#[derive(Clone, Debug, PartialEq)]
pub struct HostMet {
    /// Its name.
    pub name: String,
    /// The authorities it answers to.
    pub domains: Vec<String>,
    /// The rule that declares it.
    pub rule: Rule,
}

/// A route that was looked at and did not match.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// The route.
    pub rule: Rule,
    /// Its first condition that does not hold.
    pub why: String,
}

/// The route that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteMet {
    /// Its name; may be empty.
    pub name: String,
    /// The rule.
    pub rule: Rule,
}

/// Injected delays and answers, with the share of the requests that meets them.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultMet {
    /// The rule that injects them.
    pub rule: Rule,
    /// Milliseconds to wait.
    pub delay_ms: u64,
    /// Share that waits, from 0 to 1.
    pub delay_probability: f64,
    /// Status of the answer.
    pub abort_status: u16,
    /// Share that is answered so, from 0 to 1.
    pub abort_probability: f64,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is sent to one of these.
    Forward {
        /// Path and query as the endpoint sees them; empty for opaque connections.
        target: String,
        /// Authority as the endpoint sees it.
        authority: String,
        /// The destinations of any weight.
        destinations: Vec<Destination>,
    },
    /// The proxy answers it itself.
    Reply {
        /// Its status.
        status: u16,
        /// Envoy's response flag.
        flags: &'static str,
        /// Envoy's response code details.
        details: &'static str,
        /// Where a redirect points to; empty for any other answer.
        location: String,
        /// Its body.
        body: String,
    },
    /// The connection is closed.
    Reject {
        /// Envoy's response flag.
        flags: &'static str,
        /// Envoy's response code details.
        details: &'static str,
    },
    /// The host is not in this snapshot; the proxy would ask its control shim for it.
    Ask,
}

/// One weighted destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// The rule behind it.
    pub rule: Rule,
    /// The header lines that its endpoints see, edits done; what a proxy makes up stands in parentheses. None without a cluster.
    pub head: Vec<(String, String)>,
    /// The rule behind its cluster: a Service, a DestinationRule or a subset of one.
    pub cluster_rule: Rule,
    /// Its cluster; empty when it does not exist.
    pub cluster: String,
    /// How the cluster is talked to, as `ringway dump --output json` shows it; null without a cluster.
    pub settings: Value,
    /// Share of the requests, from 0 to 1.
    pub probability: f64,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The status with which the proxy answers this share itself: nobody is there, or it is redirected.
    pub status: Option<u16>,
    /// Path and query as its endpoints see them; empty where they are as the outcome says.
    pub target: String,
    /// Authority as its endpoints see it; empty where it is as the outcome says.
    pub authority: String,
    /// Where a redirect of this share points to; empty for any other.
    pub location: String,
}

/// One endpoint of a destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// `namespace/workload`; empty when unknown.
    pub workload: String,
    /// Its version label.
    pub version: String,
    /// `region/zone/subzone`; empty where its cluster makes no difference by that.
    pub locality: String,
    /// Share of all requests like this one, from 0 to 1; 0 while it drains or is ejected.
    pub probability: f64,
    /// Takes no new requests.
    pub draining: bool,
    /// Left alone by outlier detection.
    pub ejected: bool,
}
