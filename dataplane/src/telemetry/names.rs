//! Interned label values of one worker. Bounded: beyond the limit everything is "other", so that no peer and no config can grow memory.

use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::model::Workload;

use super::series::Labels;

/// Distinct workloads that one worker tells apart in its metrics.
pub const WORKLOADS_MAX: usize = 1024;
/// Distinct destination services that one worker tells apart.
pub const SERVICES_MAX: usize = 1024;
/// Distinct peer-metadata values that one worker remembers.
pub const PEERS_MAX: usize = 1024;

/// Id of the unknown workload and the unknown service.
pub const UNKNOWN: u16 = 0;
/// Id of the workload and service that stand for all beyond the limit.
pub const OTHER: u16 = 1;

/// Destination service as the labels name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Service {
    /// `destination_service`.
    pub host: String,
    /// `destination_service_name`.
    pub name: String,
    /// `destination_service_namespace`.
    pub namespace: String,
}

/// The tables.
pub struct Names {
    workloads: Interner<Workload>,
    services: Interner<Service>,
    /// Peer metadata as received → workload. SipHash: its keys come from peers.
    peers: HashMap<Box<[u8]>, u16>,
}

impl Default for Names {
    fn default() -> Self {
        let other = |s: &str| s.to_owned();
        let workload = Workload {
            namespace: other("other"),
            name: other("other"),
            app: other("other"),
            version: other("other"),
            canonical_name: other("other"),
            canonical_revision: other("other"),
            principal: String::new(),
            cluster: other("other"),
        };
        let service = Service { host: other("other"), name: other("other"), namespace: other("other") };
        Names {
            workloads: Interner::new(Workload::default(), workload, WORKLOADS_MAX),
            services: Interner::new(Service::default(), service, SERVICES_MAX),
            peers: HashMap::new(),
        }
    }
}

impl Names {
    /// Id of a workload that config names.
    pub fn workload(&mut self, workload: &Workload) -> u16 {
        self.workloads.id(workload)
    }

    /// Id of a service.
    pub fn service(&mut self, service: &Service) -> u16 {
        self.services.id(service)
    }

    /// Id of the workload that a peer says it is; `UNKNOWN` for what does not parse.
    pub fn peer(&mut self, metadata: &[u8]) -> u16 {
        if let Some(id) = self.peers.get(metadata) {
            return *id;
        }
        if self.peers.len() >= PEERS_MAX {
            return OTHER;
        }
        let id = super::peer::decode(metadata).map_or(UNKNOWN, |w| self.workloads.id(&w));
        self.peers.insert(metadata.into(), id);
        id
    }

    /// The workload called `id`.
    pub fn workload_of(&self, id: u16) -> Arc<Workload> {
        self.workloads.list[id as usize].clone()
    }

    /// The service called `id`.
    pub fn service_of(&self, id: u16) -> Arc<Service> {
        self.services.list[id as usize].clone()
    }
}

/// The row for everything beyond the limit, under the reporter and protocol of the first that met it.
pub fn other_labels(of: Labels) -> Labels {
    let names = Names::default();
    Labels {
        code: 0,
        flag: super::Flag::None,
        source: names.workload_of(OTHER),
        destination: names.workload_of(OTHER),
        service: names.service_of(OTHER),
        ..of
    }
}

struct Interner<T> {
    ids: HashMap<Arc<T>, u16>,
    list: Vec<Arc<T>>,
    max: usize,
}

impl<T: Clone + Eq + std::hash::Hash> Interner<T> {
    fn new(unknown: T, other: T, max: usize) -> Self {
        let list = vec![Arc::new(unknown), Arc::new(other)];
        Interner { ids: list.iter().enumerate().map(|(i, t)| (t.clone(), i as u16)).collect(), list, max }
    }

    fn id(&mut self, value: &T) -> u16 {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        if self.list.len() >= self.max {
            return OTHER;
        }
        let id = self.list.len() as u16;
        let value = Arc::new(value.clone());
        self.list.push(value.clone());
        self.ids.insert(value, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_peers_ends_in_the_other_row() {
        let mut names = Names::default();
        let ids: Vec<u16> = (0..PEERS_MAX * 2)
            .map(|i| {
                let w = Workload { name: format!("w{i}"), ..Workload::default() };
                names.peer(super::super::peer::encode("id", &w).as_bytes())
            })
            .collect();
        assert!(ids.iter().filter(|id| **id == OTHER).count() > PEERS_MAX - 8);
        assert!(names.peers.len() <= PEERS_MAX);
        assert!(names.workloads.list.len() <= WORKLOADS_MAX);
    }
}
