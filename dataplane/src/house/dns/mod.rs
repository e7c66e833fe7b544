//! Endpoints that are names: asked for by housekeeping, again when an answer has lived its time, and put into the snapshot as addresses.
//!
//! Whoever has an answer keeps it until there is another one: a server that fails changes nothing. A name that has no addresses any more has none.

pub(crate) mod message;
mod resolver;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ringway_config::model::{Endpoint, EndpointSet, Kind, Model};
use ringway_config::{Blob, Snapshot};
use tokio::sync::mpsc;

pub use resolver::{SERVERS_MAX, system_servers};

use super::say;
use message::Answer;

/// Names asked for; what a snapshot has beyond that stays without addresses.
const NAMES_MAX: usize = 4096;
/// Questions under way at once.
const QUESTIONS_MAX: usize = 32;
/// An answer that does not say how long it lives is good for this long (Istio's dnsRefreshRate).
const REFRESH: Duration = Duration::from_secs(60);
/// A name without addresses is asked for again after this time: somebody waits for it.
const REFRESH_EMPTY: Duration = Duration::from_secs(5);
/// An answer is never asked for again sooner, nor later.
const REFRESH_MIN: Duration = Duration::from_secs(1);
const REFRESH_MAX: Duration = Duration::from_secs(24 * 3600);
/// After a failure the next try follows this much later, and later from failure to failure, up to [`REFRESH`].
const AGAIN_MIN: Duration = Duration::from_secs(1);

/// What is known of names.
pub struct Names {
    servers: Vec<SocketAddr>,
    table: BTreeMap<String, Entry>,
    running: usize,
    sender: mpsc::Sender<Answered>,
    receiver: Option<mpsc::Receiver<Answered>>,
    changed: bool,
    refused_said: bool,
}

/// One name.
struct Entry {
    /// The last good answer.
    addresses: Option<Vec<IpAddr>>,
    /// Whether it was asked for at all, with whatever outcome.
    asked: bool,
    running: bool,
    due: Instant,
    failures: u32,
}

/// The outcome of one question.
pub struct Answered {
    name: String,
    result: Result<Answer, String>,
}

impl Names {
    /// Nothing is known yet; these servers will be asked.
    pub fn new(servers: Vec<SocketAddr>) -> Names {
        // One place for each question that may be under way.
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        let receiver = Some(receiver);
        Names { servers, table: BTreeMap::new(), running: 0, sender, receiver, changed: false, refused_said: false }
    }

    /// Where outcomes arrive; to be taken once.
    pub fn outcomes(&mut self) -> Option<mpsc::Receiver<Answered>> {
        self.receiver.take()
    }

    /// From now on the names of these snapshots are kept up to date, others are forgotten.
    pub fn keep(&mut self, snapshots: &[&Snapshot]) {
        let mut wanted = BTreeSet::new();
        for set in snapshots.iter().flat_map(|snapshot| named(snapshot)) {
            wanted.extend(set.names.iter().map(|name| name.host.as_str()));
        }
        self.table.retain(|name, entry| entry.running || wanted.contains(name.as_str()));
        for name in wanted {
            if self.table.contains_key(name) {
                continue;
            }
            if self.table.len() >= NAMES_MAX {
                if !std::mem::replace(&mut self.refused_said, true) {
                    say(&format!("warning: dns: only {NAMES_MAX} names are looked up; {name} and others are not"));
                }
                break;
            }
            let local = (name == "localhost").then(|| vec![IpAddr::from(Ipv4Addr::LOCALHOST)]);
            let due = Instant::now() + if local.is_some() { REFRESH_MAX } else { Duration::ZERO };
            let asked = local.is_some();
            let entry = Entry { addresses: local, asked, running: false, due, failures: 0 };
            self.table.insert(name.to_owned(), entry);
        }
        self.ask(Instant::now());
    }

    /// Asks for what is due.
    pub fn ask(&mut self, now: Instant) {
        for (name, entry) in &mut self.table {
            if self.running >= QUESTIONS_MAX {
                return;
            }
            if entry.running || entry.due > now {
                continue;
            }
            (entry.running, self.running) = (true, self.running + 1);
            let (name, servers, sender) = (name.clone(), self.servers.clone(), self.sender.clone());
            tokio::task::spawn_local(async move {
                let result = resolver::resolve(&servers, &name).await;
                let _ = sender.send(Answered { name, result }).await;
            });
        }
    }

    /// Takes an outcome in, and asks for what waited for its place.
    pub fn take(&mut self, outcome: Answered) {
        let now = Instant::now();
        self.running = self.running.saturating_sub(1);
        let Some(entry) = self.table.get_mut(&outcome.name) else { return };
        (entry.running, entry.asked) = (false, true);
        match outcome.result {
            Ok(answer) => {
                entry.failures = 0;
                entry.due = now + lifetime(&answer);
                if entry.addresses.as_ref() != Some(&answer.addresses) {
                    entry.addresses = Some(answer.addresses);
                    self.changed = true;
                }
            }
            Err(said) => {
                if entry.failures == 0 {
                    let name = &outcome.name;
                    let stays = if entry.addresses.is_some() { "; the last good answer stays" } else { "" };
                    say(&format!("warning: dns: {name} cannot be looked up: {said}{stays}"));
                }
                entry.due = now + (AGAIN_MIN * 2u32.saturating_pow(entry.failures.min(6))).min(REFRESH);
                entry.failures += 1;
            }
        }
        self.ask(now);
    }

    /// Whether every name of a snapshot was asked for.
    pub fn know(&self, snapshot: &Snapshot) -> bool {
        let asked = |host: &str| self.table.get(host).is_none_or(|entry| entry.asked);
        named(snapshot).all(|set| set.names.iter().all(|name| asked(&name.host)))
    }

    /// Nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether answers have changed since the last time; forgets it.
    pub fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The snapshot with the addresses that its names have now, in the places of the names.
    pub fn resolved(&self, snapshot: &Snapshot) -> Result<Snapshot, String> {
        if named(snapshot).next().is_none() {
            return Ok(snapshot.clone());
        }
        let mut blobs = Vec::new();
        for blob in snapshot.blobs() {
            let made = match names_of(blob) {
                Some(set) => Blob::encode(&Model::Endpoints(self.endpoints(set))).map_err(|e| e.to_string())?,
                None => blob.clone(),
            };
            blobs.push(made);
        }
        Snapshot::from_blobs(snapshot.order(), blobs).map_err(|e| e.to_string())
    }

    fn endpoints(&self, set: &EndpointSet) -> EndpointSet {
        let mut endpoints = set.endpoints.clone();
        for name in &set.names {
            let known = self.table.get(&name.host).and_then(|entry| entry.addresses.as_deref()).unwrap_or_default();
            let count = if name.first_only { 1 } else { known.len() };
            for address in known.iter().take(count) {
                let address = SocketAddr::new(*address, name.port);
                if !endpoints.iter().any(|other| other.address == address) {
                    let (weight, place) = (name.weight, name.place);
                    endpoints.push(Endpoint { address, weight, draining: false, workload: u32::MAX, place });
                }
            }
        }
        // A name may have more addresses than its weight has room for.
        if endpoints.iter().map(|endpoint| u64::from(endpoint.weight)).sum::<u64>() > u64::from(u32::MAX) {
            endpoints.iter_mut().for_each(|endpoint| endpoint.weight = 1);
        }
        endpoints.sort_by_key(|endpoint| endpoint.address);
        EndpointSet { names: Vec::new(), endpoints, ..set.clone() }
    }
}

/// How long an answer is good for.
fn lifetime(answer: &Answer) -> Duration {
    match answer.ttl_s {
        _ if answer.addresses.is_empty() => REFRESH_EMPTY,
        0 => REFRESH,
        ttl_s => Duration::from_secs(ttl_s.into()).clamp(REFRESH_MIN, REFRESH_MAX),
    }
}

/// The endpoint sets of a snapshot that have names.
fn named(snapshot: &Snapshot) -> impl Iterator<Item = &EndpointSet> {
    snapshot.blobs().filter_map(names_of)
}

fn names_of(blob: &Blob) -> Option<&EndpointSet> {
    if blob.kind() != Kind::Endpoints || !blob.has_names() {
        return None;
    }
    match blob.model() {
        Model::Endpoints(set) => Some(set),
        _ => None,
    }
}
