//! The two kinds of connection a worker holds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringway_config::model::{ConnectionRules, Role};
use ringway_engine::slab::Key;
use ringway_engine::timers::TimerId;
use ringway_engine::{Sock, Time};
use ringway_policy::Slot;
use ringway_policy::view::Settings;

use super::exchange::{Exchange, Tunnel};
use super::mirror::Copy;
use crate::ledger::Account;

/// Bytes that a peer may send ahead of what was processed.
pub const CREDIT: u32 = 64 << 10;
/// The same for bulk transfers.
pub const CREDIT_BULK: u32 = 512 << 10;
/// Unsent bytes on one side above which the other side is paused.
pub const QUEUE_HIGH: usize = 32 << 10;
// Who is paused learns at once that the queue ran dry.
const _: () = assert!(QUEUE_HIGH >= ringway_engine::io::SENT_LATE_BYTES_MAX);
/// The same for bulk transfers.
pub const QUEUE_HIGH_BULK: usize = 256 << 10;
/// A body this long is bulk.
pub const BULK_BYTES_MIN: u64 = 24 << 10;
/// Bytes of input discarded after the last response of a connection, before it is cut.
pub const LINGER_BYTES_MAX: u32 = 8 << 20;
/// Time for the client to close after the last response of a connection.
pub const LINGER_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// A connection that was accepted.
pub struct Down {
    /// The socket.
    pub sock: Sock,
    /// Housekeeping's id of the listener it came in by.
    pub listener: u32,
    /// Which side of the mesh.
    pub role: Role,
    /// Where from.
    pub peer: SocketAddr,
    /// Who asks in its present request, by what a trusted proxy says; else its peer does.
    pub forwarded: Option<IpAddr>,
    /// What it is doing.
    pub phase: Phase,
    /// Input not yet consumed: an unfinished head, or pipelined requests. Bounded by [`CREDIT`] and the head limit.
    pub pipe: Vec<u8>,
    /// Where the unconsumed input starts in `pipe`.
    pub pipe_at: usize,
    /// Bytes of the unfinished head that need not be searched again.
    pub scanned: usize,
    /// The client sent FIN.
    pub ended: bool,
    /// The host that its parked request named was asked for and does not exist.
    pub host_absent: bool,
    /// Its request waited for an injected delay; this is when it came.
    pub delayed: Option<Time>,
    /// When the current phase began.
    pub since: Time,
    /// Bytes discarded while lingering.
    pub discarded: u32,
    /// The armed timer and when it fires.
    pub timer: Option<(TimerId, Time)>,
}

const _: () = assert!(size_of::<Down>() <= 176);

impl Down {
    /// Who asks; without a port where that is not told.
    pub fn client(&self) -> SocketAddr {
        self.forwarded.map_or(self.peer, |address| SocketAddr::new(address, 0))
    }
}

/// What a downstream connection is doing.
pub enum Phase {
    /// Between requests.
    Idle,
    /// A head has begun.
    Head,
    /// A ClientHello is awaited; it is looked at again when there are so many bytes.
    Hello {
        /// In all.
        wanted: usize,
    },
    /// Waiting for on-demand config; the request is in `pipe`.
    Parked,
    /// Waiting for the end of an injected delay; the request is in `pipe`.
    Delayed(Time),
    /// An exchange is running.
    Busy(Box<Exchange>),
    /// Opaque bytes.
    Tunnel(Box<Tunnel>),
    /// Everything is queued and FIN follows; input is discarded until the client closes.
    Linger,
    /// Taken out while it is worked on.
    Away,
}

/// A connection that we opened.
pub struct Up {
    /// The socket.
    pub sock: Sock,
    /// The endpoint's slot; its pool.
    pub slot: Slot,
    /// Whom it serves.
    pub phase: UpPhase,
    /// Requests sent on it.
    pub requests: u32,
    /// An unfinished response head.
    pub head: Vec<u8>,
    /// Bytes of it that need not be searched again.
    pub scanned: usize,
    /// When it became idle.
    pub since: Time,
    /// How long it may be used.
    pub life: Life,
    /// It takes no request from then on.
    pub expires: Time,
    /// The armed timer and when it fires.
    pub timer: Option<(TimerId, Time)>,
    /// Its last response was long: it receives into large buffers.
    pub bulk: bool,
    /// Bytes came since the last request.
    pub answered: bool,
    /// Bytes that it was given to send since then.
    pub given: usize,
    /// The kernel took some of them.
    pub touched: bool,
    /// Sending failed.
    pub send_failed: bool,
    /// The copy of a request that it carries.
    pub copy: Option<Box<Copy>>,
    /// The account of its cluster's limits, in which it is counted.
    pub account: Option<Arc<Account>>,
    /// It also counts there as one request that waits for it.
    pub pending: bool,
    /// It also counts there as one request under way.
    pub serving: bool,
}

const _: () = assert!(size_of::<Up>() <= 184);

impl Up {
    /// When it is closed if nobody uses it.
    pub fn unused_due(&self) -> Time {
        self.life.idle.map_or(Time::NEVER, |idle| self.since.after(idle)).min(self.expires)
    }
}

/// How long a connection that we open may be used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// Idle time after which it is closed; `None` is never.
    pub idle: Option<Duration>,
    /// Closed after so many requests; 0 is never.
    pub requests_max: u32,
    /// What else its cluster says.
    pub rules: Option<ConnectionRules>,
}

impl Life {
    /// Of a connection that serves requests.
    pub fn of(settings: &Settings) -> Life {
        let idle = (settings.idle_timeout_ms > 0).then(|| Duration::from_millis(settings.idle_timeout_ms));
        Life { idle, requests_max: settings.max_requests_per_connection, rules: settings.connection }
    }

    /// Of one that carries opaque bytes: whoever they belong to ends it.
    pub fn opaque(settings: &Settings) -> Life {
        Life { rules: settings.connection, ..Life::default() }
    }

    /// When a connection that is opened now is too old.
    pub fn expires(&self, now: Time) -> Time {
        let max_ms = self.rules.map_or(0, |rules| rules.duration_max_ms);
        if max_ms == 0 { Time::NEVER } else { now.after(Duration::from_millis(max_ms)) }
    }
}

/// Whom an upstream connection serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpPhase {
    /// The connect is running, for this downstream.
    Connecting(Key),
    /// In the pool.
    Idle,
    /// An exchange of this downstream.
    Busy(Key),
    /// A tunnel of this downstream.
    Tunnel(Key),
    /// A copy of a request, also while it connects: no downstream.
    Mirror,
    /// Nobody: closes once what is queued was taken.
    Closing,
}
