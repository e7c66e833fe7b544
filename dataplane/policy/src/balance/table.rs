//! Consistent hashing: a ring of hashes, or a Maglev table. Built by housekeeping with the view, shared by all workers.
//!
//! Both are functions of the addresses and weights alone, so that every proxy sends a key to the same endpoint. An endpoint that must not be taken is
//! passed over at lookup: only its own keys move, and no table is built on a worker.

use ringway_config::limits::HASH_TABLE_SIZE_MAX;
use ringway_config::model::{Balance, Endpoint};

use super::hash::{Hash, mix};

/// Points of an endpoint on a ring. Constant, so that an endpoint's points do not depend on how many others there are: with shares of the ring as
/// Envoy has them (1,024 points in all) the rest would shuffle whenever one comes or goes. With 4,096 the share of one of two endpoints has a
/// standard deviation of 0.55 %.
const RING_POINTS_PER_ENDPOINT: u64 = 4096;
/// Endpoints up to which they all get so many. Beyond, the points are shared out: a ring of 2^18 points is 2 MiB.
const RING_ENDPOINTS_OF_FULL_SIZE: u64 = 64;
/// Entries of a Maglev table that are tried before the endpoints are looked at one by one.
const MAGLEV_PROBES_MAX: u64 = 16;

/// Who owns which hashes. Owners are positions in the endpoint set.
pub(crate) enum Table {
    /// (upper half of the point's hash, owner), sorted.
    Ring(Box<[(u32, u32)]>),
    /// As many entries as the table's size.
    Maglev(Box<[u32]>),
}

/// An endpoint that takes requests, with its weight divided by what all weights have in common.
struct Member {
    position: u32,
    hash: u64,
    weight: u64,
}

impl Table {
    /// None when the cluster does not choose by a key, or no endpoint takes requests.
    pub(crate) fn new(balance: Balance, size: u32, endpoints: &[Endpoint]) -> Option<Table> {
        let members = members(endpoints);
        if members.is_empty() {
            return None;
        }
        match balance {
            Balance::RingHash => Some(ring(&members, size)),
            Balance::Maglev => Some(maglev(&members, size)),
            Balance::LeastRequest | Balance::RoundRobin | Balance::Random => None,
        }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Table::Ring(points) => size_of_val(&**points),
            Table::Maglev(entries) => size_of_val(&**entries),
        }
    }

    /// The owner of a key among those that `takes` allows: the ring's next point, or an entry that the key leads to next.
    pub(crate) fn owner(&self, key: u64, takes: impl Fn(u32) -> bool) -> Option<u32> {
        match self {
            Table::Ring(points) => {
                let start = points.partition_point(|(hash, _)| *hash < (key >> 32) as u32);
                let around = points[start..].iter().chain(&points[..start]);
                // Points of one owner often follow each other: it is asked once.
                let mut refused = u32::MAX;
                around.map(|(_, owner)| *owner).find(|owner| {
                    if *owner == refused || !takes(*owner) {
                        refused = *owner;
                        return false;
                    }
                    true
                })
            }
            Table::Maglev(entries) => {
                let at = |hash: u64| entries[(hash % entries.len() as u64) as usize];
                let mut probes = (0..MAGLEV_PROBES_MAX).map(|n| if n == 0 { at(key) } else { at(mix(key ^ n)) });
                let start = (key % entries.len() as u64) as usize;
                probes
                    .find(|owner| takes(*owner))
                    .or_else(|| entries[start..].iter().chain(&entries[..start]).copied().find(|owner| takes(*owner)))
            }
        }
    }
}

fn members(endpoints: &[Endpoint]) -> Vec<Member> {
    let takes = |e: &&Endpoint| !e.draining && e.weight > 0;
    let divisor = endpoints.iter().filter(takes).fold(0, |d, e| super::gcd(d, u64::from(e.weight))).max(1);
    let member = |(e, position): (&Endpoint, u32)| Member {
        position,
        hash: Hash::of_address(e.address),
        weight: u64::from(e.weight) / divisor,
    };
    let mut members: Vec<Member> = endpoints.iter().zip(0..).filter(|(e, _)| takes(e)).map(member).collect();
    // Whose turn it is, and who comes first at one point, must not depend on the order of the set.
    members.sort_unstable_by_key(|m| (m.hash, m.position));
    members
}

fn ring(members: &[Member], size: u32) -> Table {
    let each = RING_POINTS_PER_ENDPOINT.max(size.into());
    let max = (each * RING_ENDPOINTS_OF_FULL_SIZE).min(HASH_TABLE_SIZE_MAX.into());
    let units: u64 = members.iter().map(|m| m.weight).sum();
    let mut points = Vec::with_capacity((each.saturating_mul(units)).min(max) as usize + members.len());
    for member in members {
        let wanted = each.saturating_mul(member.weight);
        let shared = (u128::from(max) * u128::from(member.weight) / u128::from(units)) as u64;
        for n in 0..wanted.min(shared).max(1) {
            points.push(((mix(member.hash ^ mix(n)) >> 32) as u32, member.position));
        }
    }
    points.sort_by_key(|(hash, _)| *hash);
    Table::Ring(points.into())
}

/// Maglev: A Fast and Reliable Software Network Load Balancer (NSDI 2016), §3.4. Each endpoint goes through the entries in an order of its own and
/// takes the next free one when it is its turn; a light endpoint passes up turns.
fn maglev(members: &[Member], size: u32) -> Table {
    const FREE: u32 = u32::MAX;
    let size = u64::from(size);
    let heaviest = members.iter().map(|m| m.weight).max().unwrap_or(1);
    let mut entries = vec![FREE; size as usize];
    // Where each stands, its step, and the turns it has saved up (in parts of the heaviest weight).
    let step = |m: &Member| if size > 2 { mix(m.hash) % (size - 1) + 1 } else { 1 };
    let mut order: Vec<(u64, u64, u64)> = members.iter().map(|m| (m.hash % size, step(m), 0)).collect();
    let mut free = size;
    while free > 0 {
        for (member, (at, step, saved)) in members.iter().zip(&mut order) {
            *saved += member.weight;
            if *saved < heaviest || free == 0 {
                continue;
            }
            *saved -= heaviest;
            while entries[*at as usize] != FREE {
                *at = (*at + *step) % size;
            }
            entries[*at as usize] = member.position;
            *at = (*at + *step) % size;
            free -= 1;
        }
    }
    Table::Maglev(entries.into())
}
