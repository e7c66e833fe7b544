//! The result of a translation: what each proxy holds from the start, and every host that one may ask for.

use super::Rules;
use super::findings::Found;
use super::held::{Held, Holds};
use super::index::Index;
use super::on_demand::any_host;
use super::rules::rules_of;
use super::scope::Scope;
use super::shards::Shards;
use crate::diagnostic::Diagnostic;
use crate::mesh::{Options, Pod};
use crate::object::{ObjectRef, Objects, Spot};
use crate::sorted::Sorted;
use ringway_config::model::{Kind, Model, PolicySet, Provenance, ProvenanceEntry, RuleId};
use ringway_config::{Blob, EncodeError, Order, Snapshot, VerifyError};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// A compiled mesh. Immutable; share it by `Arc`.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What refers to nothing, conflicts, or is not carried as written.
    pub diagnostics: Vec<Diagnostic>,
    /// The objects in force: the mesh's, or an older version where a newer one refers to nothing.
    pub objects: Objects,
    /// Counts translations.
    pub version: u64,
    pub(super) cluster_domain: String,
    /// By node.
    pub(super) proxies: Sorted<String, Arc<ProxyConfig>>,
    /// The clusters that they hold.
    pub(super) held: Held,
    /// By view.
    pub(super) hosts: BTreeMap<String, Hosts>,
    pub(super) rules: Rules,
    /// What it was made from, beside the objects, and what the next translation goes by.
    pub(super) basis: Basis,
}

/// (domain pattern, port; 0 is any) → host.
pub(super) type Hosts = Shards<(String, u16), Arc<HostConfig>>;

/// What a translation after an edit has to know about the one before.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    pub pods: Arc<Vec<Arc<Pod>>>,
    pub options: Options,
    pub index: Index,
    /// What was found in the objects in force.
    pub found: Found,
    /// Labels of their own that all proxies know.
    pub labels: Arc<BTreeSet<String>>,
    /// Authorities that more than one host wanted.
    pub contested: Arc<HashSet<(String, u16)>>,
}

/// What a proxy holds from the start: its listeners, policy, inbound side, gateway hosts, and what clusters these and opaque bytes need.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// `namespace/pod`.
    pub node: String,
    /// Its own ones; [`Compiled::blobs_of`] has the clusters, too.
    pub blobs: Vec<Blob>,
    pub(super) holds: Arc<Holds>,
    /// The rules that its own ones name.
    pub rules: BTreeSet<RuleId>,
    /// Whether it has the listener that outbound hosts hang on; a gateway that stands in has none.
    pub asks: bool,
    pub(super) scope: Scope,
}

/// An outbound host, with the clusters and endpoints that it refers to.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Name of the host blob.
    pub name: String,
    /// The host blob first.
    pub blobs: Vec<Blob>,
    /// The rules that they name.
    pub rules: BTreeSet<RuleId>,
    /// Namespace and host of the object behind it: what a Sidecar goes by.
    pub(super) origin: (String, String),
    /// Clusters of a wildcard host whose endpoint is the host that a request names, with its port. With any, this is a pattern of what proxies get.
    pub(super) on_demand: BTreeMap<String, u16>,
}

impl ProxyConfig {
    /// Whether a proxy would not know the two apart.
    pub(super) fn is(&self, other: &ProxyConfig) -> bool {
        same(&self.blobs, &other.blobs)
            && (&self.rules, &self.scope, &self.holds) == (&other.rules, &other.scope, &other.holds)
    }

    /// The rules that it names, also in what it gets when it asks for hosts that nobody listed.
    pub(super) fn all_rules(&self) -> impl Iterator<Item = RuleId> {
        self.rules.iter().copied().chain(self.scope.allow_any)
    }
}

/// Whether two lists are of the same blobs.
pub(super) fn same(some: &[Blob], others: &[Blob]) -> bool {
    some.iter().map(Blob::hash).eq(others.iter().map(Blob::hash))
}

impl HostConfig {
    /// Whether a proxy would not know the two apart.
    pub(super) fn is(&self, other: &HostConfig) -> bool {
        same(&self.blobs, &other.blobs) && self.rules == other.rules
    }

    pub(super) fn new(name: String, origin: (&str, &str), blobs: Vec<Blob>) -> Self {
        let mut rules = BTreeSet::new();
        rules_of_all(&blobs, &mut rules);
        HostConfig { name, blobs, rules, origin: (origin.0.into(), origin.1.into()), on_demand: BTreeMap::new() }
    }
}

/// The rules that blobs name.
pub(super) fn rules_of_all(blobs: &[Blob], into: &mut BTreeSet<RuleId>) {
    // Endpoints are many and name none; and nobody here reads what is decoded a second time.
    let naming = blobs.iter().filter(|blob| matches!(blob.kind(), Kind::Listeners | Kind::Host | Kind::Cluster));
    naming.for_each(|blob| rules_of(&blob.decode(), into));
}

impl Compiled {
    /// Limits and logging of every proxy.
    pub fn policy(&self) -> &PolicySet {
        &self.basis.options.policy
    }

    /// What `node` (`namespace/pod`) holds from the start; `None` when it has no proxy.
    pub fn proxy(&self, node: &str) -> Option<&Arc<ProxyConfig>> {
        self.proxies.get(&node.to_string())
    }

    /// Every proxy.
    pub fn proxies(&self) -> impl Iterator<Item = &Arc<ProxyConfig>> {
        self.proxies.iter().map(|(_, proxy)| proxy)
    }

    /// The host that answers to `authority` (`host[:port]`, 80 when it has no port) for proxies of a namespace that no Sidecar limits.
    pub fn host(&self, node_namespace: &str, authority: &str) -> Option<Arc<HostConfig>> {
        self.find_host(node_namespace, authority, &Scope::default())
    }

    /// The same for one proxy, within what its Sidecar lets it see.
    pub fn host_for(&self, node: &str, authority: &str) -> Option<Arc<HostConfig>> {
        let (namespace, _) = node.split_once('/')?;
        self.find_host(namespace, authority, &self.proxy(node)?.scope)
    }

    fn find_host(&self, node_namespace: &str, authority: &str, scope: &Scope) -> Option<Arc<HostConfig>> {
        let (host, port) = split_authority(authority)?;
        match self.find_known(node_namespace, &host, port, scope) {
            Some(found) if found.on_demand.is_empty() => Some(found.clone()),
            Some(pattern) => pattern.of_host(&host, port),
            None => any_host(scope.allow_any?, (&host, port), &self.basis.options),
        }
    }

    fn find_known(&self, node_namespace: &str, host: &str, port: u16, scope: &Scope) -> Option<&Arc<HostConfig>> {
        let view = scope.view.as_deref().unwrap_or(node_namespace);
        let hosts = self.hosts.get(view).or_else(|| self.hosts.get(""))?;
        let at = |name: &str| {
            let of = |at| {
                let host = hosts.get(&(name.to_string(), at));
                host.filter(|host| scope.sees(&host.origin.0, &host.origin.1, port))
            };
            of(port).or_else(|| of(0))
        };
        if let Some(found) = at(host) {
            return Some(found);
        }
        if !host.contains('.') && !host.contains(':') {
            let full = format!("{host}.{node_namespace}.svc.{}", self.cluster_domain);
            if let Some(found) = at(&full) {
                return Some(found);
            }
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(found) = at(&format!("*.{suffix}")) {
                return Some(found);
            }
            rest = suffix;
        }
        at("*")
    }

    /// Namespaces that see something of their own, and the empty name for all others.
    pub fn views(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    /// Every outbound host as seen from a namespace, by name.
    pub fn hosts(&self, node_namespace: &str) -> BTreeMap<&str, &Arc<HostConfig>> {
        let hosts = self.hosts.get(node_namespace).or_else(|| self.hosts.get(""));
        hosts.into_iter().flat_map(Shards::values).map(|host| (host.name.as_str(), host)).collect()
    }

    /// Every outbound host that a proxy may ask for, as it sees it.
    pub fn hosts_of(&self, proxy: &ProxyConfig) -> Vec<Arc<HostConfig>> {
        let namespace = proxy.node.split('/').next().unwrap_or_default();
        let scope = &proxy.scope;
        let view = scope.view.as_deref().unwrap_or(namespace);
        let hosts = self.hosts.get(view).or_else(|| self.hosts.get("")).filter(|_| proxy.asks);
        let seen = hosts.into_iter().flat_map(Shards::iter).filter(|((_, port), host)| {
            // One without a port is asked for at any.
            let mut ports = scope.ports().filter(|_| *port == 0).chain([*port]);
            ports.any(|port| scope.sees(&host.origin.0, &host.origin.1, port))
        });
        let by_name: BTreeMap<&str, &Arc<HostConfig>> = seen.map(|(_, host)| (host.name.as_str(), host)).collect();
        by_name.into_values().cloned().collect()
    }

    /// Every blob of every proxy and of every host that one may ask for; one that is shared comes more than once.
    pub fn every_blob(&self) -> impl Iterator<Item = &Blob> {
        let hosts = self.hosts.values().flat_map(Shards::values).flat_map(|host| &host.blobs);
        self.proxies().flat_map(|proxy| &proxy.blobs).chain(self.held.blobs()).chain(hosts)
    }

    /// The blobs that a proxy holds from the start.
    pub fn blobs_of<'c>(&'c self, proxy: &'c ProxyConfig) -> impl Iterator<Item = &'c Blob> {
        proxy.blobs.iter().chain(self.held.of(&proxy.holds).flat_map(|cluster| &cluster.blobs))
    }

    /// The object, field and place of a rule.
    pub fn standing(&self, rule: RuleId) -> Option<(&ObjectRef, &str, &Spot)> {
        self.rules.standing(rule)
    }

    /// Where a rule stands.
    pub fn origin(&self, rule: RuleId) -> Option<ProvenanceEntry> {
        self.rules.entry(rule)
    }

    /// The blobs that a proxy holds when it has asked for these hosts, its provenance included.
    ///
    /// # Errors
    /// When the provenance does not fit into a blob.
    pub fn blobs(
        &self,
        proxy: &ProxyConfig,
        hosts: &[Arc<HostConfig>],
    ) -> Result<BTreeMap<(Kind, String), Blob>, EncodeError> {
        let mut all = BTreeMap::new();
        let mut rules = proxy.rules.clone();
        let mut put =
            |blob: &Blob| all.entry((blob.kind(), blob.name().to_string())).or_insert_with(|| blob.clone()).hash();
        self.held.of(&proxy.holds).for_each(|cluster| rules.extend(&cluster.rules));
        self.blobs_of(proxy).for_each(|blob| {
            put(blob);
        });
        for host in hosts {
            rules.extend(&host.rules);
            host.blobs.iter().for_each(|blob| {
                put(blob);
            });
        }
        let provenance = Provenance { name: proxy.node.clone(), entries: self.rules.entries(&rules) };
        put(&Blob::encode(&Model::Provenance(provenance))?);
        Ok(all)
    }

    /// What a proxy would run when it has asked for these authorities; unknown ones are left out. For files, tests and `explain`.
    ///
    /// # Errors
    /// When the blobs are no closed set: a bug of this translation.
    pub fn snapshot(&self, node: &str, authorities: &[&str], order: Order) -> Option<Result<Snapshot, VerifyError>> {
        let proxy = self.proxy(node)?;
        let authorities = authorities.iter().filter(|_| proxy.asks);
        let hosts: Vec<_> = authorities.filter_map(|authority| self.host_for(node, authority)).collect();
        Some(match self.blobs(proxy, &hosts) {
            Ok(blobs) => Snapshot::from_blobs(order, blobs.into_values().collect()),
            Err(error) => Err(VerifyError::Set(error.to_string())),
        })
    }
}

/// An address as the host of an authority.
pub(super) fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// Host in lower case without a trailing dot, and port.
fn split_authority(authority: &str) -> Option<(String, u16)> {
    const HTTP_PORT: u16 = 80;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let port = if port.is_empty() { HTTP_PORT } else { port.parse().ok()? };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let host = host.parse::<IpAddr>().map_or(host, literal);
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for (text, expected) in [
            ("a", Some(("a", 80))),
            ("A.b.:9080", Some(("a.b", 9080))),
            ("[::1]:80", Some(("[::1]", 80))),
            ("[0:0::1]", Some(("[::1]", 80))),
            ("[::1]x", None),
            ("a:b", None),
            ("a:99999", None),
            ("", None),
            (":80", None),
        ] {
            let found = split_authority(text);
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{text}");
        }
    }
}
