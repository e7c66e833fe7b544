//! One loaded configuration as the workers see it: the compiled view and what can be prepared once for all requests.

use std::sync::Arc;
use std::time::Duration;

use ringway_config::model::{PolicySet, Profile};
use ringway_http::h1::HeadLimits;
use ringway_policy::View;

use crate::ledger::Ledger;
use crate::retries::Retries;
use crate::telemetry::peer;

/// Snapshots of one process that may be alive at once, the newest included.
pub const SNAPSHOTS_ALIVE_MAX: usize = 4;

/// A configuration in force. Built by housekeeping, immutable, shared by all workers.
pub struct Active {
    /// The compiled config.
    pub view: View,
    /// Housekeeping's id for each of the view's listeners, in the view's order.
    pub listener_ids: Vec<u32>,
    /// `x-envoy-peer-metadata: …\r\nx-envoy-peer-metadata-id: …\r\n` of this proxy.
    pub peer_headers: Vec<u8>,
    /// Bounds on heads.
    pub head_limits: HeadLimits,
    /// Durations of the policy set.
    pub times: Times,
    /// What the clusters' limits have been spent on.
    pub ledger: Ledger,
    /// Retries under way.
    pub retries: Retries,
}

/// Durations of the policy set.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Times {
    pub head: Duration,
    pub body_idle: Duration,
    pub downstream_idle: Duration,
    pub drain: Duration,
    pub ask: Duration,
}

impl Active {
    /// Prepares a view; `listener_ids` in the order of its listeners. Counts of clusters go on from `previous`.
    pub fn new(view: View, listener_ids: Vec<u32>, previous: Option<&Active>) -> Arc<Active> {
        let node = view.node();
        let id = format!("sidecar~~{}.{}~{}.svc.cluster.local", view.pod(), node.namespace, node.namespace);
        let metadata = peer::encode(view.pod(), node);
        let peer_headers =
            format!("x-envoy-peer-metadata: {metadata}\r\nx-envoy-peer-metadata-id: {id}\r\n").into_bytes();
        let head_limits = limits(view.policy());
        let times = Times::of(view.policy());
        let ledger = Ledger::of(&view, previous.map(|p| &p.ledger));
        let retries = Retries::of(&view, previous.map(|p| &p.retries));
        Arc::new(Active { view, listener_ids, peer_headers, head_limits, times, ledger, retries })
    }

    /// The view's index of the listener that housekeeping calls `id`.
    pub fn listener(&self, id: u32) -> Option<u32> {
        self.listener_ids.iter().position(|i| *i == id).map(|i| i as u32)
    }
}

impl Times {
    fn of(p: &PolicySet) -> Times {
        let ms = |n: u64| Duration::from_millis(n);
        Times {
            head: ms(p.head_timeout_ms.into()),
            body_idle: ms(p.body_idle_timeout_ms.into()),
            downstream_idle: ms(p.downstream_idle_timeout_ms),
            drain: ms(p.drain_timeout_ms.into()),
            ask: ms(p.ask_timeout_ms.into()),
        }
    }
}

fn limits(p: &PolicySet) -> HeadLimits {
    // Spans are 16 bits wide; the verifier refuses more than 60 KiB.
    let head_bytes_max = (p.head_bytes_max as usize).min(60 << 10);
    HeadLimits::new(head_bytes_max, p.header_fields_max as usize, p.profile == Profile::Strict)
}
