//! How an endpoint of a cluster is chosen: DestinationRule `trafficPolicy.loadBalancer`.

/// How to choose an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Balance {
    /// The less busy of two random ones, by weight (Istio's default).
    #[default]
    LeastRequest = 1,
    /// In turn, by weight.
    RoundRobin = 2,
    /// Any, by weight.
    Random = 3,
    /// The owner of the next point on a ring of hashes; [`Cluster::hash`](super::Cluster::hash) says of what.
    RingHash = 4,
    /// The owner of an entry of a Maglev table; [`Cluster::hash`](super::Cluster::hash) says of what.
    Maglev = 5,
}

impl Balance {
    /// Chooses by a key: [`Cluster::hash`](super::Cluster::hash) is there.
    pub fn is_consistent(self) -> bool {
        matches!(self, Balance::RingHash | Balance::Maglev)
    }
}

/// What requests that belong together have in common, and how fine the table is that maps it (`consistentHash`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistentHash {
    /// What is hashed. A request without it goes anywhere.
    pub key: HashKey,
    /// Points of the ring at least (`ringHash.minimumRingSize`, Istio: 1,024), or entries of the Maglev table, a prime (`maglev.tableSize`,
    /// Istio: 65,537). At most [`HASH_TABLE_SIZE_MAX`](crate::limits::HASH_TABLE_SIZE_MAX).
    pub table_size: u32,
}

/// What is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// All values of the header with this lower-case name, in any order.
    Header(String),
    /// A cookie.
    Cookie(HashCookie),
    /// The client's address, without its port.
    SourceIp,
    /// The first value of the query parameter with this name, as it is written.
    Query(String),
}

/// A cookie that is hashed and, with a lifetime, given to clients that come without it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashCookie {
    /// Its name.
    pub name: String,
    /// Attribute `Path` of a new one; empty leaves it out.
    pub path: String,
    /// Lifetime of a new one in milliseconds, 0 for the client's session; none: no cookie is given.
    pub ttl_ms: Option<u64>,
    /// More attributes of a new one; an empty value writes the name alone.
    pub attributes: Vec<(String, String)>,
}

/// How the share of an endpoint grows from when the proxy first sees it (`warmup`): its weight is multiplied by
/// `max(minimum, (age / duration) ^ (1 / aggression))`. With round robin and least request alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warmup {
    /// Until the whole weight counts, in milliseconds, at least 1.
    pub duration_ms: u64,
    /// Least share of the weight, in hundredths of a percent, at most 10,000 (Istio: 1,000).
    pub minimum: u32,
    /// Speed of the growth in thousandths, at least 1; 1,000 is linear (Istio's default).
    pub aggression: u32,
}
