//! Who sees what, and which of several objects comes first.

use super::{Manifests, list, name, namespace, text};
use crate::generate::Place;
use serde_json::Value;

impl Manifests<'_> {
    /// Objects of a kind that are exported to the proxy's namespace, oldest first.
    pub fn seen(&self, kind: &str) -> Vec<&Value> {
        let (client, _) = self.client();
        let mut seen: Vec<&Value> = self.documents.iter().filter(|one| one["kind"] == kind).collect();
        seen.retain(|one| is_exported(one, client));
        seen.sort_by_key(|one| (text(&one["metadata"]["creationTimestamp"]), name(one), namespace(one)));
        seen
    }

    /// Whether a host of this namespace is among those that the proxy's Sidecar lets it see.
    pub fn in_scope(&self, of: &str, host: &str) -> bool {
        let Some(sidecar) = self.sidecar() else { return true };
        let (client, _) = self.client();
        let hosts = list(&sidecar["spec"]["egress"]).iter().flat_map(|egress| list(&egress["hosts"]));
        let mut patterns = hosts.filter_map(|one| text(one).split_once('/'));
        patterns.any(|(wanted, pattern)| {
            let wanted = if wanted == "." { client } else { wanted };
            (wanted == "*" || wanted == of) && covers(pattern, host)
        })
    }

    /// One that selects the proxy's pod, else its namespace's, else the root namespace's.
    fn sidecar(&self) -> Option<&Value> {
        let (client, labels) = self.client();
        if self.place != Place::Sidecar {
            return None;
        }
        let all: Vec<&Value> = self.of_kind("Sidecar").collect();
        let selector = |one: &Value| one["spec"]["workloadSelector"]["labels"].clone();
        let selects = |one: &&&Value| {
            let wanted = selector(one);
            let fits = |(key, value): (&String, &Value)| labels[key] == *value;
            namespace(one) == client && wanted.as_object().is_some_and(|wanted| wanted.iter().all(fits))
        };
        let whole = |of: &str| all.iter().find(|one| namespace(one) == of && selector(one).is_null());
        let found = all.iter().find(selects).or_else(|| whole(client)).or_else(|| whole("istio-system"));
        found.copied()
    }
}

/// `exportTo`, which Services have as an annotation; without it everybody sees an object.
fn is_exported(object: &Value, client: &str) -> bool {
    let annotation = text(&object["metadata"]["annotations"]["networking.istio.io/exportTo"]);
    let said = list(&object["spec"]["exportTo"]).iter().map(text);
    let to: Vec<&str> = said.chain(annotation.split(',').filter(|one| !one.is_empty())).collect();
    to.is_empty() || to.iter().any(|to| *to == "*" || *to == client || (*to == "." && namespace(object) == client))
}

/// The hosts where a server of a Gateway and a VirtualService meet: the narrower one of each pair.
pub fn common_hosts(server: &Value, gateway: &Value, service: &Value, hosts: &[String]) -> Vec<String> {
    let mut common = Vec::new();
    for written in list(&server["hosts"]) {
        let (of, host) = text(written).split_once('/').unwrap_or(("*", text(written)));
        let of = if of == "." { namespace(gateway) } else { of };
        if of != "*" && of != namespace(service) {
            continue;
        }
        for own in hosts {
            let narrower = if covers(host, own) { own } else { host };
            if (covers(host, own) || covers(own, host)) && !common.iter().any(|one| one == narrower) {
                common.push(narrower.to_owned());
            }
        }
    }
    common
}

/// `namespace/name` of a Gateway that an object of this namespace names.
pub fn full_gateway(name: &str, namespace: &str) -> String {
    if name == "mesh" || name.contains('/') { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// Whether a host, or all under a wildcard, are under this one.
fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => host.strip_prefix('*').unwrap_or(host).ends_with(end) && host != end,
        None => pattern == host,
    }
}
