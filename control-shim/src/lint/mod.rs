//! What works and is still worth a second look: rules that never match, weights that do not add up, subsets that nobody uses.
//!
//! Looks at what was compiled and not at one API's objects, so a finding holds for every way of writing it.

mod covers;

pub use covers::covers;

use crate::diagnostic::Diagnostic;
use crate::object::{Object, ObjectRef, Spot};
use crate::translate::Compiled;
use ringway_config::model::{
    Action, Host, Listener, ListenerProtocol, Model, PathMatch, PolicySet, Role, Route, RuleId,
};
use ringway_config::rules::rule_id;
use ringway_policy::normal_target;
use std::collections::{BTreeMap, BTreeSet};

/// Routes of one host beyond which they are not compared with each other: it takes a comparison for each pair.
pub const ROUTES_COMPARED_MAX: usize = 2_000;

/// Everything compiled, once.
#[derive(Default)]
struct Seen<'a> {
    hosts: Vec<&'a Host>,
    gateways: BTreeMap<RuleId, &'a Listener>,
    /// Rules of clusters.
    clusters: BTreeSet<RuleId>,
}

/// Findings about a mesh that compiles, by place.
pub fn lint(compiled: &Compiled) -> Vec<Diagnostic> {
    let seen = Seen::new(compiled);
    let mut findings = seen.unreachable(compiled);
    findings.extend(seen.unreachable_paths(compiled));
    findings.extend(seen.weights(compiled));
    findings.extend(seen.idle_gateways(compiled));
    findings.extend(seen.unused_subsets(compiled));
    findings.sort_by_key(|finding| finding.place.as_ref().map(|place| (place.file.clone(), place.line, place.column)));
    findings
}

impl<'a> Seen<'a> {
    fn new(compiled: &'a Compiled) -> Self {
        let mut seen = Seen::default();
        let mut known = BTreeSet::new();
        for blob in compiled.every_blob().filter(|blob| known.insert(blob.hash())) {
            match blob.model() {
                Model::Host(host) => seen.hosts.push(host),
                Model::Cluster(cluster) => {
                    seen.clusters.insert(cluster.rule);
                }
                Model::Listeners(set) => {
                    let gateways = set.listeners.iter().filter(|listener| listener.role == Role::Gateway);
                    seen.gateways.extend(gateways.map(|listener| (listener.rule, listener)));
                }
                Model::Endpoints(_) | Model::Policy(_) | Model::Provenance(_) => {}
            }
        }
        seen
    }

    /// Routes that another one above leaves nothing to, wherever they are in force.
    fn unreachable(&self, compiled: &Compiled) -> Vec<Diagnostic> {
        let mut reached = BTreeSet::new();
        let mut shadowed: BTreeMap<RuleId, RuleId> = BTreeMap::new();
        for host in &self.hosts {
            let compared = host.routes.len() <= ROUTES_COMPARED_MAX;
            for (index, route) in host.routes.iter().enumerate() {
                let above = host.routes[..index].iter().filter(|_| compared);
                match above.into_iter().find(|above| covers(&above.matches, &route.matches)) {
                    Some(above) => {
                        shadowed.insert(route.rule, above.rule);
                    }
                    None => {
                        reached.insert(route.rule);
                    }
                }
            }
        }
        shadowed.retain(|rule, above| !reached.contains(rule) && rule != above);
        let finding = |(rule, above): (&RuleId, &RuleId)| {
            let (object, field, spot) = compiled.standing(*rule)?;
            let (by, by_field, by_spot) = compiled.standing(*above)?;
            let by = if by == object { String::new() } else { format!(" of {by}") };
            let message = format!("`{field}` never matches: `{by_field}`{by} at {by_spot} takes all that it would");
            Some(at(Diagnostic::warning("unreachable-rule", message, "move it up, or remove it"), object, spot))
        };
        shadowed.iter().filter_map(finding).collect()
    }

    /// Paths that no request has, in the form that all requests are brought into.
    fn unreachable_paths(&self, compiled: &Compiled) -> Vec<Diagnostic> {
        let routes = self.hosts.iter().flat_map(|host| &host.routes);
        let lost: BTreeMap<RuleId, String> = routes
            .filter_map(|route| Some((route.rule, unreachable_path(compiled.policy(), &route.matches.path)?)))
            .collect();
        let finding = |(rule, normal): (&RuleId, &String)| {
            let (object, field, spot) = compiled.standing(*rule)?;
            let message = format!("`{field}` never matches: no request has such a path after normalisation");
            let mend = if normal.is_empty() { String::new() } else { format!("its normal form is `{normal}`") };
            Some(at(Diagnostic::warning("unreachable-path", message, mend), object, spot))
        };
        lost.iter().filter_map(finding).collect()
    }

    /// Istio's weights are read as per cent by whoever reads them.
    fn weights(&self, compiled: &Compiled) -> Vec<Diagnostic> {
        const WHOLE: u64 = 100;
        let mut found = BTreeMap::new();
        for action in self.hosts.iter().flat_map(|host| &host.actions) {
            let Action::Forward(forward) = action else { continue };
            let [first, _, ..] = &forward.backends[..] else { continue };
            let sum: u64 = forward.backends.iter().map(|backend| u64::from(backend.weight)).sum();
            if sum != WHOLE && sum > 0 {
                let shares: Vec<String> = forward
                    .backends
                    .iter()
                    .map(|b| format!("{:.1} %", 100.0 * f64::from(b.weight) / sum as f64))
                    .collect();
                found.insert(first.rule, (sum, shares.join(", ")));
            }
        }
        let finding = |(rule, (sum, shares)): (RuleId, (u64, String))| {
            let (object, field, spot) = compiled.standing(rule)?;
            let list = field.rsplit_once('[').map_or(field, |(list, _)| list);
            let message = format!("the weights of `{list}` add up to {sum}, not to {WHOLE}: the shares are {shares}");
            let warning = Diagnostic::warning("weights", message, "write weights that add up to 100");
            (&*object.kind == "VirtualService").then(|| at(warning, object, spot))
        };
        found.into_iter().filter_map(finding).collect()
    }

    /// Gateway ports at which every request is answered with 404.
    fn idle_gateways(&self, compiled: &Compiled) -> Vec<Diagnostic> {
        let idle = self.gateways.values().filter(|listener| {
            matches!(listener.protocol, ListenerProtocol::Http { .. })
                && !self.hosts.iter().any(|host| host.listener == listener.name)
        });
        let finding = |listener: &&Listener| {
            let (object, field, spot) = compiled.standing(listener.rule)?;
            let message = format!("nothing is routed at `{field}`: every request there gets 404");
            let mend = "bind a VirtualService (`gateways`) or a route (`parentRefs`) to it";
            Some(at(Diagnostic::warning("idle-gateway", message, mend), object, spot))
        };
        idle.filter_map(finding).collect()
    }

    /// Subsets that no cluster was made for.
    fn unused_subsets(&self, compiled: &Compiled) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for entry in compiled.objects.iter() {
            let Object::DestinationRule(rule) = &entry.object else { continue };
            let of = &rule.meta.reference;
            for subset in &rule.subsets {
                if !self.clusters.contains(&rule_id(&of.kind, &of.namespace, &of.name, &subset.path)) {
                    let message = format!("no route leads to subset `{}`", subset.name);
                    let notice = Diagnostic::notice("unused-subset", message, "");
                    findings.push(at(notice, of, &subset.spot));
                }
            }
        }
        findings
    }
}

/// The normal form of a path that a condition asks for in another one; empty where there is none.
fn unreachable_path(policy: &PolicySet, path: &PathMatch) -> Option<String> {
    let (text, open) = match path {
        PathMatch::Exact(text) => (text, false),
        PathMatch::Prefix(text) | PathMatch::Segments(text) => (text, true),
        PathMatch::Any | PathMatch::Regex(_) => return None,
    };
    let normal = |text: &str| {
        let mut room = Vec::new();
        let normal = normal_target(policy, text.as_bytes(), &mut room).ok()?;
        Some(String::from_utf8_lossy(normal).into_owned())
    };
    let found = normal(text);
    let reached = |found: &Option<String>| found.as_ref().is_some_and(|found| found.starts_with(text.as_str()));
    // What a prefix begins may go on: `/a/.` is one of `/a/.b`.
    let reachable =
        if open { reached(&found) || reached(&normal(&format!("{text}x"))) } else { found.as_ref() == Some(text) };
    (!reachable).then(|| found.unwrap_or_default())
}

fn at(diagnostic: Diagnostic, object: &ObjectRef, spot: &Spot) -> Diagnostic {
    diagnostic.at(spot.place()).about(object.clone())
}

/// Whether `route` can ever be taken behind the routes above it.
pub fn reachable(above: &[Route], route: &Route) -> bool {
    !above.iter().any(|above| covers(&above.matches, &route.matches))
}
