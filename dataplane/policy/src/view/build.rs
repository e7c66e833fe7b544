//! Snapshot → view. Runs on the housekeeping thread; whatever did not change is taken from the view before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ringway_config::model::{
    EndpointSet, Kind, Listener, ListenerProtocol, ListenerSet, Model, Place, RuleId, TcpBackend, Workload,
};
use ringway_config::{Blob, RootEntry, Snapshot};

use super::domains::{Domains, Refused};
use super::host::{Numbers, Program};
use super::manner::Manners;
use super::pattern::Patterns;
use super::settings::{Recent, Settings};
use super::{
    BlobOf, BuildError, Cause, ClusterView, Content, EndpointView, Group, Held, HostView, Hosting, ListenerView, View,
};
use crate::balance::{Table, Tiers, Weights};
use crate::fold::Seed;

/// Bytes of all tables of consistent hashing in a view.
pub const TABLES_BYTES_MAX: usize = 256 << 20;

/// Dense cluster ids by name.
type ClusterIds<'a> = HashMap<&'a str, u32, Seed>;

impl View {
    /// Compiles; programs of blobs whose hash did not change are taken from `previous` (so a swap of one endpoint set is cheap).
    pub fn build(snapshot: &Snapshot, previous: Option<&View>) -> Result<View, BuildError> {
        let set = of_kind(snapshot, Kind::Listeners).next();
        let set = set.ok_or_else(|| absent(Kind::Listeners, "", RuleId(0), Kind::Listeners, ""))?;
        let set: BlobOf<ListenerSet> = content(set.1)?;
        let policy = snapshot.blob(Kind::Policy, &set.policy);
        let policy = policy.ok_or_else(|| absent(Kind::Listeners, &set.name, RuleId(0), Kind::Policy, &set.policy))?;
        let provenance = of_kind(snapshot, Kind::Provenance).next();
        let mut workloads = HashSet::with_hasher(Seed::new());
        let groups = carry(snapshot, Kind::Endpoints, previous.map(|p| &p.groups), |blob| group(blob, &mut workloads))?;
        let (clusters, endpoints) = lay_out(snapshot, &set, previous, &groups)?;

        // Which routes are for this proxy is decided when they are compiled.
        let own = labels(&set);
        let hosts_before = previous.filter(|p| labels(&p.listeners) == own).map(|p| &p.hosting.host_blobs);
        let (mut manners, mut patterns) = (Manners::default(), Patterns::default());
        let host_blobs =
            carry(snapshot, Kind::Host, hosts_before, |blob| program(blob, own, &mut manners, &mut patterns))?;
        // Ids of clusters are their places in name order: they hold as long as the names do.
        let before = previous.filter(|p| p.clusters.iter().map(|c| &c.name).eq(clusters.iter().map(|c| &c.name)));
        let hosting = match before {
            Some(p)
                if Arc::ptr_eq(&p.hosting.host_blobs, &host_blobs)
                    && p.listeners.blob().hash() == set.blob().hash() =>
            {
                p.hosting.clone()
            }
            _ => Arc::new(host_all(&set, host_blobs, &clusters, before)?),
        };
        Ok(View {
            order: snapshot.order(),
            listeners: set,
            policy: content(policy)?,
            provenance: provenance.map(|(_, blob)| blob.clone()),
            groups,
            hosting,
            clusters,
            endpoints,
        })
    }
}

/// The blobs of one kind with their lines in the root. The lines lie side by side in memory, the blobs do not: what a line tells is not asked of the
/// blob.
fn of_kind(snapshot: &Snapshot, kind: Kind) -> impl Iterator<Item = (&RootEntry, &Blob)> {
    let entries = snapshot.root().entries();
    let start = entries.partition_point(|e| e.kind < kind);
    let end = entries.partition_point(|e| e.kind <= kind);
    entries[start..end].iter().zip(snapshot.blobs().skip(start))
}

/// Compiles all blobs of a kind, but for those of the same bytes as before; the very list before when all are. Both lists are in name order, so the
/// one before is walked along.
fn carry<T: Clone>(
    snapshot: &Snapshot,
    kind: Kind,
    before: Option<&Arc<[Held<T>]>>,
    mut compile: impl FnMut(&Blob) -> Result<T, BuildError>,
) -> Result<Arc<[Held<T>]>, BuildError> {
    if let Some(before) = before
        && of_kind(snapshot, kind).map(|(entry, _)| entry.hash).eq(before.iter().map(|held| held.hash))
    {
        return Ok(before.clone());
    }
    let mut old = before.map_or(&[][..], |b| b).iter().peekable();
    let mut all = Vec::with_capacity(of_kind(snapshot, kind).count());
    for (entry, blob) in of_kind(snapshot, kind) {
        // Equal hashes are equal names; others have to be read.
        if let Some(held) = old.next_if(|held| held.hash == entry.hash) {
            all.push(held.clone());
            continue;
        }
        while old.next_if(|held| *held.name < *entry.name).is_some() {}
        let held = match old.next_if(|held| *held.name == *entry.name) {
            Some(held) if held.hash == entry.hash => held.clone(),
            _ => Held { name: entry.name.clone(), hash: entry.hash, item: compile(blob)? },
        };
        all.push(held);
    }
    Ok(all.into())
}

fn content<M: Content>(blob: &Blob) -> Result<BlobOf<M>, BuildError> {
    BlobOf::new(blob).ok_or_else(|| wrong_kind(blob))
}

fn wrong_kind(blob: &Blob) -> BuildError {
    BuildError { kind: blob.kind(), blob: blob.name().into(), rule: RuleId(0), cause: Cause::WrongKind }
}

/// `known`: workloads of other sets, each in memory once.
fn group(blob: &Blob, known: &mut HashSet<Arc<Workload>, Seed>) -> Result<Arc<Group>, BuildError> {
    let Model::Endpoints(EndpointSet { endpoints, places, workloads, .. }) = blob.decode() else {
        return Err(wrong_kind(blob));
    };
    let mut shared = |workload: Workload| match known.get(&workload) {
        Some(same) => same.clone(),
        None => {
            let workload = Arc::new(workload);
            known.insert(workload.clone());
            workload
        }
    };
    Ok(Arc::new(Group {
        name: blob.shared_name().clone(),
        weights: Weights::new(&endpoints),
        workloads: workloads.into_iter().map(&mut shared).collect(),
        endpoints: endpoints.into(),
        places: places.into(),
    }))
}

/// The labels of the proxy's own workload, as far as somebody asks.
fn labels(set: &ListenerSet) -> &[(String, String)] {
    set.place.as_ref().map_or(&[], |place| &place.labels)
}

fn program(
    blob: &Blob,
    own: &[(String, String)],
    manners: &mut Manners,
    patterns: &mut Patterns,
) -> Result<Arc<Program>, BuildError> {
    let compiled = Program::compile(blob, own, manners, patterns);
    compiled.map(Arc::new).map_err(|(rule, cause)| BuildError {
        kind: Kind::Host,
        blob: blob.name().into(),
        rule,
        cause,
    })
}

/// Numbers clusters and endpoints. Names are shared with the view before, so that most comparisons of them are of addresses.
fn lay_out(
    snapshot: &Snapshot,
    set: &ListenerSet,
    previous: Option<&View>,
    groups: &[Held<Arc<Group>>],
) -> Result<(Vec<ClusterView>, Vec<EndpointView>), BuildError> {
    let mut by_name = HashMap::with_capacity_and_hasher(groups.len(), Seed::new());
    by_name.extend(groups.iter().map(|g| (&*g.name, &g.item)));
    let mut old = previous.map_or(&[][..], |p| &p.clusters).iter().peekable();
    let unknown = Place::default();
    let own = set.place.as_ref().unwrap_or(&unknown);
    let same_place = previous.is_some_and(|p| p.listeners.place == set.place);
    let mut table_bytes = 0;
    let mut clusters = Vec::with_capacity(of_kind(snapshot, Kind::Cluster).count());
    let mut endpoints = Vec::with_capacity(groups.iter().map(|g| g.item.endpoints.len()).sum());
    let mut recent = Recent::new();
    for ((entry, blob), id) in of_kind(snapshot, Kind::Cluster).zip(0..) {
        while old.next_if(|before| *before.name < *entry.name).is_some() {}
        let before = old.next_if(|before| *before.name == *entry.name);
        let name = before.map_or_else(|| entry.name.clone(), |before| before.name.clone());
        let (rule, settings, set_name) = match before.filter(|before| before.blob.hash() == entry.hash) {
            Some(same) => (same.rule, same.settings.clone(), same.group.name.clone()),
            None => {
                let Model::Cluster(model) = blob.decode() else { return Err(wrong_kind(blob)) };
                (model.rule, recent.settings(&model), model.endpoints.into())
            }
        };
        let group: Option<&&Arc<Group>> = by_name.get(&*set_name);
        let group = *group.ok_or_else(|| absent(Kind::Cluster, blob.name(), rule, Kind::Endpoints, &set_name))?;
        let (first, balance) = (endpoints.len() as u32, settings.balance);
        let tiers = tiers(&settings, group, before, own, same_place);
        let varies = settings.warmup.is_some() || tiers.is_some();
        let table = table(&settings, group, before);
        table_bytes += table.as_ref().map_or(0, |table| table.bytes());
        if table_bytes > TABLES_BYTES_MAX {
            return Err(BuildError {
                kind: Kind::Cluster,
                blob: blob.name().into(),
                rule,
                cause: Cause::TablesTooLarge,
            });
        }
        endpoints.extend(group.endpoints.iter().map(|e| EndpointView {
            address: e.address,
            weight: e.weight,
            draining: e.draining,
            cluster: id,
            workload: group.workloads.get(e.workload as usize).cloned(),
        }));
        clusters.push(ClusterView {
            name,
            rule,
            apart: settings.keeps_apart(),
            outlier: settings.rules.clone(),
            settings,
            endpoints: first..endpoints.len() as u32,
            even: group.weights.as_even(),
            balance,
            varies,
            tiers,
            table,
            group: group.clone(),
            blob: blob.clone(),
        });
    }
    Ok((clusters, endpoints))
}

/// What comes first in a cluster: as before, when neither its endpoints nor its rule changed, nor where the proxy is.
fn tiers(
    settings: &Settings,
    group: &Arc<Group>,
    before: Option<&ClusterView>,
    own: &Place,
    same_place: bool,
) -> Option<Arc<Tiers>> {
    let rule = settings.locality.as_ref()?;
    match before {
        Some(b) if same_place && Arc::ptr_eq(&b.group, group) && b.settings.locality == settings.locality => {
            b.tiers.clone()
        }
        _ => Tiers::new(rule, own, &group.places, &group.endpoints).map(Arc::new),
    }
}

/// The table of a cluster that chooses by a key: the one before, when neither its endpoints nor its size changed.
fn table(settings: &Settings, group: &Arc<Group>, before: Option<&ClusterView>) -> Option<Arc<Table>> {
    let size = |settings: &Settings| settings.hash.as_ref().map(|hash| (settings.balance, hash.table_size));
    let (balance, wanted) = size(settings)?;
    match before {
        Some(b) if Arc::ptr_eq(&b.group, group) && size(&b.settings) == Some((balance, wanted)) => b.table.clone(),
        _ => Table::new(balance, wanted, &group.endpoints).map(Arc::new),
    }
}

/// Resolves names to ids and fills the tables of authorities. `before` has the same cluster ids, if it is there.
fn host_all(
    set: &ListenerSet,
    blobs: Arc<[Held<Arc<Program>>]>,
    clusters: &[ClusterView],
    before: Option<&View>,
) -> Result<Hosting, BuildError> {
    let mut ids = ClusterIds::with_capacity_and_hasher(clusters.len(), Seed::new());
    ids.extend(clusters.iter().map(|c| &*c.name).zip(0..));
    let listeners =
        set.listeners.iter().map(|listener| listener_view(set, listener, &ids)).collect::<Result<Vec<_>, _>>()?;
    let mut hosts = Vec::with_capacity(blobs.len());
    let mut old = before.map_or(&[][..], |p| &p.hosting.hosts).iter().peekable();
    for held in blobs.iter() {
        while old.next_if(|host| host.name < held.name).is_some() {}
        let same = old.next_if(|host| Arc::ptr_eq(&host.program, &held.item));
        let clusters = match same {
            Some(host) => host.clusters.clone(),
            None => resolve(held, &ids)?,
        };
        hosts.push(HostView { name: held.name.clone(), program: held.item.clone(), clusters });
    }
    let domains = domains(set, &hosts)?;
    let server_names = server_names(set)?;
    let mut listeners_by_name: Vec<u32> = (0..listeners.len() as u32).collect();
    listeners_by_name.sort_by_key(|id| &listeners[*id as usize].name);
    Ok(Hosting { domains, server_names, listeners_by_name, hosts, host_blobs: blobs, listeners })
}

fn listener_view(set: &ListenerSet, listener: &Listener, ids: &ClusterIds<'_>) -> Result<ListenerView, BuildError> {
    let tunnel = |backends: &[TcpBackend], rule: RuleId| {
        let id = |name: &str| match ids.get(name) {
            Some(id) => Ok(Some(*id)),
            None if name.is_empty() => Ok(None),
            None => Err(absent(Kind::Listeners, &set.name, rule, Kind::Cluster, name)),
        };
        backends.iter().map(|b| id(&b.cluster)).collect::<Result<_, _>>()
    };
    let tunnels = match &listener.protocol {
        ListenerProtocol::Http { .. } => Vec::new(),
        ListenerProtocol::Tcp { backends, rule, .. } => vec![tunnel(backends, *rule)?],
        ListenerProtocol::Tls { routes } => {
            routes.iter().map(|r| tunnel(&r.backends, r.rule)).collect::<Result<_, _>>()?
        }
    };
    Ok(ListenerView {
        name: listener.name.as_str().into(),
        rule: listener.rule,
        address: listener.address,
        role: listener.role,
        protocol: listener.protocol.clone(),
        tunnels,
    })
}

fn resolve(held: &Held<Arc<Program>>, ids: &ClusterIds<'_>) -> Result<Numbers, BuildError> {
    let id = |name: &str| {
        ids.get(name).copied().ok_or_else(|| absent(Kind::Host, &held.name, held.item.rule, Kind::Cluster, name))
    };
    held.item.clusters.iter().map(|name| id(name)).collect()
}

fn domains(set: &ListenerSet, hosts: &[HostView]) -> Result<Vec<Option<Domains>>, BuildError> {
    let mut tables: Vec<Option<Domains>> = set.listeners.iter().map(|l| domains_of(&l.protocol)).collect();
    let numbers: HashMap<&str, usize> = set.listeners.iter().map(|l| &*l.name).zip(0..).collect();
    let mut counts = vec![0; tables.len()];
    for host in hosts {
        let pieces = host.pieces();
        if let Some(number) = numbers.get(pieces.listener()) {
            counts[*number] += pieces.domains().len();
        }
    }
    for (table, count) in tables.iter_mut().zip(counts) {
        if let Some(table) = table {
            table.reserve(count);
        }
    }
    for (host, id) in hosts.iter().zip(0..) {
        let pieces = host.pieces();
        let (rule, listener) = (host.program.rule, pieces.listener());
        let refuse = |cause| BuildError { kind: Kind::Host, blob: host.name.to_string(), rule, cause };
        let number = numbers.get(listener).ok_or_else(|| refuse(Cause::Absent(Kind::Listeners, listener.into())))?;
        let table = tables[*number].as_mut().ok_or_else(|| refuse(Cause::NotHttp(listener.into())))?;
        for (pattern, port) in pieces.domains() {
            table.insert(pattern, port, id).map_err(|refused| {
                refuse(match refused {
                    Refused::Pattern => Cause::Domain(pattern.into()),
                    Refused::Taken(by) => {
                        Cause::DomainTaken { domain: pattern.into(), port, by: hosts[by as usize].name.to_string() }
                    }
                })
            })?;
        }
    }
    tables.iter_mut().flatten().for_each(Domains::shrink);
    Ok(tables)
}

fn domains_of(protocol: &ListenerProtocol) -> Option<Domains> {
    match protocol {
        ListenerProtocol::Http { search, port, .. } => Some(Domains::new(search, *port)),
        ListenerProtocol::Tcp { .. } | ListenerProtocol::Tls { .. } => None,
    }
}

/// Which of its routes a server name takes at each TLS listener; of equal patterns the first.
fn server_names(set: &ListenerSet) -> Result<Vec<Option<Domains>>, BuildError> {
    let of = |listener: &Listener| {
        let ListenerProtocol::Tls { routes } = &listener.protocol else { return Ok(None) };
        let mut names = Domains::new(&[], 0);
        for (route, number) in routes.iter().zip(0..) {
            for name in &route.names {
                if names.insert(name, 0, number) == Err(Refused::Pattern) {
                    let cause = Cause::Domain(name.clone());
                    return Err(BuildError { kind: Kind::Listeners, blob: set.name.clone(), rule: route.rule, cause });
                }
            }
        }
        Ok(Some(names))
    };
    set.listeners.iter().map(of).collect()
}

fn absent(kind: Kind, blob: &str, rule: RuleId, wanted: Kind, name: &str) -> BuildError {
    BuildError { kind, blob: blob.into(), rule, cause: Cause::Absent(wanted, name.into()) }
}

impl<T: Clone> Clone for Held<T> {
    fn clone(&self) -> Held<T> {
        Held { name: self.name.clone(), hash: self.hash, item: self.item.clone() }
    }
}
