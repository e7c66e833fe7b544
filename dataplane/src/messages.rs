//! What housekeeping and the workers tell each other, through bounded mailboxes. Workers never wait for housekeeping.
//!
//! A mailbox has room for thousands of messages and in time uses all of it, so what is big and rare is boxed.

use std::net::SocketAddr;
use std::sync::Arc;

use ringway_engine::{Conn, ListenSocket};
use ringway_policy::outlier::{Signal, Verdict};

use crate::active::Active;
use crate::ledger::Account;
use crate::telemetry::record::Record;

/// To a worker.
pub enum ToWorker {
    /// Run this configuration from now on.
    Swap(Arc<Active>),
    /// Accept on this socket (the accepting worker only).
    Listen {
        /// Housekeeping's id of the listener.
        id: u32,
        /// Bound and listening.
        socket: ListenSocket,
    },
    /// Stop accepting on it, and drain its connections: the listener is gone from the config.
    Unlisten {
        /// Housekeeping's id of the listener.
        id: u32,
    },
    /// A connection that another worker accepted.
    Adopt {
        /// The connection.
        conn: Conn,
        /// Which listener it came in by.
        listener: u32,
        /// Where from.
        peer: SocketAddr,
    },
    /// These authorities do not exist.
    Absent(Vec<Box<[u8]>>),
    /// Finish what is running and close; report [`FromWorker::Drained`] when nothing is left.
    Drain {
        /// After this the rest is cut.
        within: std::time::Duration,
    },
    /// From a worker with queued requests: close an idle connection of this cluster, its limit is spent.
    Yield(Arc<Account>),
    /// From a worker that gave something of this cluster's limit back: queued requests may go on.
    Freed(Arc<Account>),
    /// What the outlier detector says of an endpoint.
    Judge(Box<Verdict>),
    /// An access-log buffer for re-use.
    Recycle(Box<Record>),
    /// End the worker's loop now.
    Exit,
}

/// What a worker saw of an endpoint.
pub struct Observed {
    /// Its cluster.
    pub cluster: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// What it was.
    pub signal: Signal,
}

/// From a worker.
pub enum FromWorker {
    /// A configuration that this worker does not need any more.
    Retired(Arc<Active>),
    /// The configuration posted last is in use.
    Swapped,
    /// Nobody knows this authority here; ask the shim for it.
    Ask(Box<[u8]>),
    /// An endpoint failed, or answered again after it had.
    Signal(Box<Observed>),
    /// An access-log record.
    Log(Box<Record>),
    /// Accepting on a listener failed for want of descriptors or memory.
    AcceptPaused {
        /// Housekeeping's id of the listener.
        listener: u32,
        /// errno.
        errno: i32,
    },
    /// Nothing is open any more.
    Drained,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_small() {
        assert!(size_of::<ToWorker>() <= 56, "{}", size_of::<ToWorker>());
        assert!(size_of::<FromWorker>() <= 24, "{}", size_of::<FromWorker>());
    }
}
