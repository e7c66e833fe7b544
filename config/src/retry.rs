//! When a request is tried again, and how much of that a cluster takes.
//!
//! A request is tried again while nothing of its answer has gone to the client and all of it is still held. What may be tried again depends on what is
//! known: a connection that could not be opened processed nothing, whatever the method; a request that was on its way may have been processed, and
//! only one whose repetition is harmless may go out a second time without somebody having asked for it.

/// Status that Istio's default list stands for: what a proxy in front of the server says when there was no answer.
const DEFAULT_STATUS: u16 = 503;
/// Istio's default.
const DEFAULT_ATTEMPTS: u32 = 2;
/// Envoy's default first interval.
pub const BACKOFF_MS: u32 = 25;
/// Envoy's longest interval, in first ones.
pub const BACKOFF_GROWTH_MAX: u32 = 10;

/// A retry policy: VirtualService `retries`, HTTPRoute `retry`, or what holds where neither is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries after the first, at least 1.
    pub attempts: u32,
    /// What makes any request be tried again, whatever its method.
    pub on: RetryOn,
    /// What more makes a request be tried again whose repetition is harmless: of an idempotent method (RFC 9110 §9.2.2) or with an `Idempotency-Key`.
    pub on_repeatable: RetryOn,
    /// What [`RetryOn::STATUSES`] stands for: 100 to 599, ascending.
    pub statuses: Vec<u16>,
    /// For one try, from the connection (and the request's end) to the head of the answer; 0 is none.
    pub try_timeout_ms: u64,
    /// Shortest wait before a retry.
    pub backoff_min_ms: u32,
    /// Longest wait before the first retry; the waits after it grow. At least 1 and the shortest.
    pub backoff_ms: u32,
    /// Longest wait of all.
    pub backoff_max_ms: u32,
    /// Prefers endpoints that the request was not sent to yet.
    pub avoid_previous: bool,
}

impl Default for Retry {
    /// Where nothing is written: Istio's list and count, with everything that could repeat a write kept for requests that may be repeated. For those,
    /// a connection that broke without an answer is one more reason.
    fn default() -> Self {
        let processed = RetryOn::RESET | RetryOn::UNAVAILABLE | RetryOn::CANCELLED | RetryOn::STATUSES;
        Retry {
            attempts: DEFAULT_ATTEMPTS,
            on: RetryOn::UNPROCESSED,
            on_repeatable: processed,
            statuses: vec![DEFAULT_STATUS],
            try_timeout_ms: 0,
            backoff_min_ms: 0,
            backoff_ms: BACKOFF_MS,
            backoff_max_ms: BACKOFF_MS * BACKOFF_GROWTH_MAX,
            avoid_previous: true,
        }
    }
}

/// Reasons to try again: a set. The bits are part of the format, the names are Envoy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

impl RetryOn {
    /// No connection could be opened.
    pub const CONNECT_FAILURE: RetryOn = RetryOn(1);
    /// The connection broke before a byte of the request was sent.
    pub const RESET_BEFORE_REQUEST: RetryOn = RetryOn(1 << 1);
    /// The connection broke, or the try took too long, before the head of an answer came.
    pub const RESET: RetryOn = RetryOn(1 << 2);
    /// Any status from 500, or no answer at all.
    pub const STATUS_5XX: RetryOn = RetryOn(1 << 3);
    /// 502, 503 or 504, or no answer at all.
    pub const GATEWAY_ERROR: RetryOn = RetryOn(1 << 4);
    /// 409.
    pub const RETRIABLE_4XX: RetryOn = RetryOn(1 << 5);
    /// One of [`Retry::statuses`].
    pub const STATUSES: RetryOn = RetryOn(1 << 6);
    /// gRPC status 1 in the head of the answer, as for the other four.
    pub const CANCELLED: RetryOn = RetryOn(1 << 7);
    /// gRPC status 4.
    pub const DEADLINE_EXCEEDED: RetryOn = RetryOn(1 << 8);
    /// gRPC status 8.
    pub const RESOURCE_EXHAUSTED: RetryOn = RetryOn(1 << 9);
    /// gRPC status 13.
    pub const INTERNAL: RetryOn = RetryOn(1 << 10);
    /// gRPC status 14.
    pub const UNAVAILABLE: RetryOn = RetryOn(1 << 11);

    /// None.
    pub const NONE: RetryOn = RetryOn(0);
    /// What cannot have been processed.
    pub const UNPROCESSED: RetryOn = RetryOn(1 | 1 << 1);
    /// Those that a gRPC status in an answer is compared with.
    pub const GRPC: RetryOn = RetryOn(0x1f << 7);

    /// Every reason with its name, by bit.
    pub const NAMES: [(&'static str, RetryOn); 12] = [
        ("connect-failure", RetryOn::CONNECT_FAILURE),
        ("reset-before-request", RetryOn::RESET_BEFORE_REQUEST),
        ("reset", RetryOn::RESET),
        ("5xx", RetryOn::STATUS_5XX),
        ("gateway-error", RetryOn::GATEWAY_ERROR),
        ("retriable-4xx", RetryOn::RETRIABLE_4XX),
        ("retriable-status-codes", RetryOn::STATUSES),
        ("cancelled", RetryOn::CANCELLED),
        ("deadline-exceeded", RetryOn::DEADLINE_EXCEEDED),
        ("resource-exhausted", RetryOn::RESOURCE_EXHAUSTED),
        ("internal", RetryOn::INTERNAL),
        ("unavailable", RetryOn::UNAVAILABLE),
    ];

    /// As in a record; `None` when a bit has no meaning.
    pub fn from_bits(bits: u32) -> Option<RetryOn> {
        (bits >> RetryOn::NAMES.len() == 0).then_some(RetryOn(bits))
    }

    /// As in a record.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether they have a reason in common.
    pub fn meets(self, other: RetryOn) -> bool {
        self.0 & other.0 != 0
    }

    /// Those that `other` does not have.
    pub fn without(self, other: RetryOn) -> RetryOn {
        RetryOn(self.0 & !other.0)
    }

    /// The names of its reasons, by bit.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        RetryOn::NAMES.into_iter().filter(move |(_, on)| self.meets(*on)).map(|(name, _)| name)
    }
}

impl std::ops::BitOr for RetryOn {
    type Output = RetryOn;

    fn bitor(self, other: RetryOn) -> RetryOn {
        RetryOn(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for RetryOn {
    fn bitor_assign(&mut self, other: RetryOn) {
        *self = *self | other;
    }
}

/// How many retries a cluster takes at once: a share of the requests under way, but always so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Hundredths of a percent of the requests under way, at most 10,000.
    pub share: u32,
    /// Retries that are always allowed; `u32::MAX` is unlimited.
    pub floor: u32,
}

impl Default for RetryBudget {
    /// Envoy's default of a budget: 20 %, and never less than 3.
    fn default() -> Self {
        RetryBudget { share: 2_000, floor: 3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_bit_and_a_name_of_its_own() {
        for (bit, (name, on)) in RetryOn::NAMES.into_iter().enumerate() {
            assert_eq!(on.bits(), 1 << bit, "{name}");
            assert_eq!(on.names().collect::<Vec<_>>(), [name]);
            assert_eq!(RetryOn::from_bits(on.bits()), Some(on));
        }
        assert_eq!(RetryOn::from_bits(1 << RetryOn::NAMES.len()), None);
        let grpc: Vec<_> = RetryOn::GRPC.names().collect();
        assert_eq!(grpc, ["cancelled", "deadline-exceeded", "resource-exhausted", "internal", "unavailable"]);
    }

    #[test]
    fn nothing_that_may_have_been_processed_is_repeated_by_default() {
        let names = |on: RetryOn| on.names().collect::<Vec<_>>();
        let Retry { on, on_repeatable, attempts, .. } = Retry::default();
        assert_eq!((attempts, names(on)), (2, vec!["connect-failure", "reset-before-request"]));
        assert_eq!(names(on_repeatable), ["reset", "retriable-status-codes", "cancelled", "unavailable"]);
    }
}
