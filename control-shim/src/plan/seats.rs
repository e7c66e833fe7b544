//! From where a mesh is looked at: the sidecars of each namespace that sees something of its own, and every gateway.

use crate::explain::{Explanation, Request, Source, Subject, TargetUrl};
use crate::translate::Compiled;
use ringway_config::model::{Kind, Listener, ListenerProtocol, ListenerSet, Model, Provenance, Role, RuleId};
use ringway_config::{Blob, Order, Snapshot};
use ringway_policy::view::ListenerView;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

/// One place from which both configurations are looked at. A side is missing where nobody stands there.
pub struct Seat {
    /// `sidecars`, `sidecars in NAMESPACE` or `gateway NAMESPACE/POD`.
    pub name: String,
    pub(super) old: Option<Side>,
    pub(super) new: Option<Side>,
}

/// One configuration as a seat sees it.
pub struct Side {
    pub(super) snapshot: Snapshot,
    pub(super) subject: Subject,
}

/// Name of the listener that a sidecar's hosts hang on.
const OUTBOUND: &str = "outbound";
const ORDER: Order = Order { incarnation: 1, sequence: 1 };

/// Every seat of either side.
pub(super) fn seats(old: &Source, new: &Source) -> Result<Vec<Seat>, String> {
    let (old, new) = (compiled(old)?, compiled(new)?);
    let views: BTreeSet<&str> = old.views().chain(new.views()).collect();
    let gateways: BTreeSet<&str> = gateways(old).chain(gateways(new)).collect();
    let mut seats = Vec::new();
    for view in views {
        let name = if view.is_empty() { "sidecars".to_string() } else { format!("sidecars in {view}") };
        seats.push(Seat { name, old: Some(sidecars(old, view)?), new: Some(sidecars(new, view)?) });
    }
    for node in gateways {
        seats.push(Seat { name: format!("gateway {node}"), old: gateway(old, node)?, new: gateway(new, node)? });
    }
    Ok(seats)
}

fn compiled(source: &Source) -> Result<&Compiled, String> {
    match source {
        Source::Manifests { compiled, .. } => Ok(compiled),
        Source::Snapshot(_) | Source::Live(_) => {
            Err("plan compares manifests; a snapshot is of one proxy alone".into())
        }
    }
}

fn gateways(compiled: &Compiled) -> impl Iterator<Item = &str> {
    let serves = |blobs: &[Blob]| {
        blobs.iter().any(|blob| match blob.model() {
            Model::Listeners(set) => set.listeners.iter().any(|listener| listener.role == Role::Gateway),
            _ => false,
        })
    };
    compiled.proxies().filter(move |proxy| serves(&proxy.blobs)).map(|proxy| proxy.node.as_str())
}

fn gateway(compiled: &Compiled, node: &str) -> Result<Option<Side>, String> {
    let Some(snapshot) = compiled.snapshot(node, &[], ORDER) else { return Ok(None) };
    side(snapshot.map_err(|error| format!("{node}: {error}"))?).map(Some)
}

/// What any sidecar of a namespace holds when it has asked for every host.
fn sidecars(compiled: &Compiled, view: &str) -> Result<Side, String> {
    let policy = compiled.policy().clone();
    let listener = Listener {
        name: OUTBOUND.into(),
        rule: RuleId(0),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, crate::mesh::placement::OUTBOUND_PORT)),
        role: Role::Outbound,
        protocol: ListenerProtocol::Http { on_demand: false, search: Vec::new(), port: 80 },
    };
    let set = ListenerSet {
        name: format!("{view}/*"),
        policy: policy.name.clone(),
        listeners: vec![listener],
        ..ListenerSet::default()
    };
    let mut blobs = BTreeMap::new();
    for model in [Model::Listeners(set), Model::Policy(policy)] {
        let blob = Blob::encode(&model).map_err(|error| error.to_string())?;
        blobs.insert((blob.kind(), blob.name().to_string()), blob);
    }
    for host in compiled.hosts(view).values() {
        for blob in &host.blobs {
            blobs.entry((blob.kind(), blob.name().to_string())).or_insert_with(|| blob.clone());
        }
    }
    let rules: BTreeSet<RuleId> = compiled.hosts(view).values().flat_map(|host| host.rules.iter().copied()).collect();
    let entries = rules.into_iter().filter_map(|rule| compiled.origin(rule)).collect();
    let provenance = Model::Provenance(Provenance { name: format!("{view}/*"), entries });
    let blob = Blob::encode(&provenance).map_err(|error| error.to_string())?;
    blobs.insert((blob.kind(), blob.name().to_string()), blob);
    let snapshot = Snapshot::from_blobs(ORDER, blobs.into_values().collect()).map_err(|error| error.to_string())?;
    side(snapshot)
}

fn side(snapshot: Snapshot) -> Result<Side, String> {
    let subject = Subject::new(&snapshot).map_err(|error| error.to_string())?;
    Ok(Side { snapshot, subject })
}

impl Seat {
    /// Whether anything but places differs.
    pub fn differs(&self) -> bool {
        let content = |side: &Option<Side>| {
            side.iter()
                .flat_map(|side| side.snapshot.root().entries().to_vec())
                .filter(|entry| entry.kind != Kind::Provenance)
                .map(|entry| (entry.kind, entry.name, entry.hash))
                .collect::<Vec<_>>()
        };
        content(&self.old) != content(&self.new)
    }

    /// How the old configuration decides.
    pub fn before(&self, listener: &str, request: &Request) -> Option<Explanation> {
        self.old.as_ref()?.explain(listener, request)
    }

    /// How the new configuration decides.
    pub fn after(&self, listener: &str, request: &Request) -> Option<Explanation> {
        self.new.as_ref()?.explain(listener, request)
    }
}

impl Side {
    /// The listener that takes a request: a sidecar's one, or a gateway's for the port of the authority, or its only one.
    pub(super) fn listener(&self, request: &Request) -> Option<u32> {
        let listeners = self.subject.view().listeners();
        let port = TargetUrl { tcp: false, authority: request.authority.clone(), target: String::new() }.port();
        let http = |l: &&ListenerView| matches!(l.protocol, ListenerProtocol::Http { .. }) && l.role != Role::Inbound;
        let said = |l: &&ListenerView| match &l.protocol {
            ListenerProtocol::Http { port: said, .. } => l.role == Role::Outbound || Some(*said) == port,
            _ => false,
        };
        let mut serving = listeners.iter().filter(http);
        let found = match (listeners.iter().find(said), serving.next(), serving.next()) {
            (Some(found), ..) | (None, Some(found), None) => found,
            _ => return None,
        };
        self.subject.view().listener(&found.name)
    }

    /// Where a rule stands; empty when it is of no rule.
    pub(super) fn place(&self, rule: RuleId) -> String {
        let rule = self.subject.rule(rule);
        if rule.origin.is_some() { rule.to_string() } else { String::new() }
    }

    fn explain(&self, listener: &str, request: &Request) -> Option<Explanation> {
        Some(self.subject.explain(self.subject.view().listener(listener)?, request, true))
    }
}
