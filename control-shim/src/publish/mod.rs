//! Brings each proxy what it is subscribed to, over a Unix socket.
//!
//! [`session`] is the conversation with one proxy as a state machine without I/O; [`server`] moves its bytes; [`Publisher`] is what the rest of the
//! program sees: which proxy runs what, and what one refused.

pub mod server;
pub mod session;

pub use server::serve;
pub use session::{Session, SessionError};

use ringway_config::Order;
use ringway_config::model::RuleId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by all sessions. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Publisher {
    incarnation: u64,
    sequence: Arc<AtomicU64>,
    nodes: Arc<Mutex<BTreeMap<String, NodeStatus>>>,
    changed: Arc<watch::Sender<u64>>,
}

/// Every proxy that ever said Hello, by `namespace/pod`.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// By node.
    pub nodes: BTreeMap<String, NodeStatus>,
}

/// How one proxy stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Streams open; normally 1.
    pub streams: u32,
    /// [`crate::translate::Compiled::version`] that it has answered for, by running it or by refusing it.
    pub version: u64,
    /// What was sent last.
    pub pushed: Order,
    /// What it runs.
    pub acked: Option<Order>,
    /// How often it refused.
    pub nacks: u64,
    /// What it refused last, until it accepts something newer.
    pub refused: Option<Refusal>,
    /// Outbound hosts that it holds.
    pub hosts: usize,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused.
    pub order: Order,
    /// Why.
    pub reason: String,
    /// The rule it is about; 0 if none. [`crate::translate::Compiled::origin`] says where that stands.
    pub rule: RuleId,
}

/// Most proxies whose state is remembered; the pods of one node or one local mesh.
pub const NODES_MAX: usize = 10_000;

impl Publisher {
    /// `incarnation` has to grow with every start of the program: milliseconds since 1970 do.
    pub fn new(incarnation: u64) -> Self {
        Publisher {
            incarnation,
            sequence: Arc::default(),
            nodes: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
        }
    }

    /// With the time of day as incarnation.
    pub fn starting_now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The next order.
    pub fn next_order(&self) -> Order {
        Order { incarnation: self.incarnation, sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// How every proxy stands.
    pub fn status(&self) -> Status {
        Status { nodes: self.lock().clone() }
    }

    /// Whether every connected proxy has answered for this version of the mesh.
    pub fn settled(&self, version: u64) -> bool {
        self.lock().values().filter(|node| node.streams > 0).all(|node| node.version >= version)
    }

    /// Ticks whenever a status changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Edits the status of a node and tells whoever waits.
    pub(crate) fn update(&self, node: &str, edit: impl FnOnce(&mut NodeStatus)) {
        {
            let mut nodes = self.lock();
            if !nodes.contains_key(node) && nodes.len() >= NODES_MAX {
                // Those that are gone make room first.
                nodes.retain(|_, status| status.streams > 0);
            }
            edit(nodes.entry(node.to_string()).or_default());
        }
        self.changed.send_modify(|tick| *tick += 1);
    }

    /// A panic of another session leaves the map whole: every edit is one assignment.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, NodeStatus>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
