//! Whether a failed try is worth another, how long to wait before it, and how many a cluster takes at once.

use std::time::Duration;

use ringway_config::model::{Retry, RetryBudget, RetryOn};

use crate::balance::below;
use crate::facts::Rng;

/// What became of a try of which nothing has gone to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be opened.
    Connect,
    /// The connection broke before a byte of the request was sent.
    Unsent,
    /// The connection broke while the answer was awaited.
    Reset,
    /// The head of the answer did not come in time.
    Timeout,
    /// The answer breaks HTTP's rules.
    Protocol,
    /// An answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its `grpc-status`, if it says one in its head.
        grpc: Option<u8>,
    },
}

impl Failure {
    /// The reasons that it is, as Envoy counts them: a try without an answer would have become a 5xx.
    fn reasons(self, statuses: &[u16]) -> RetryOn {
        let unanswered = RetryOn::STATUS_5XX | RetryOn::GATEWAY_ERROR;
        match self {
            Failure::Connect => unanswered | RetryOn::RESET | RetryOn::CONNECT_FAILURE,
            Failure::Unsent => unanswered | RetryOn::RESET | RetryOn::RESET_BEFORE_REQUEST,
            Failure::Reset | Failure::Timeout => unanswered | RetryOn::RESET,
            Failure::Protocol => unanswered,
            Failure::Answer { status, grpc } => {
                let mut reasons = grpc.map_or(RetryOn::NONE, of_grpc);
                for (holds, reason) in [
                    (status >= 500, RetryOn::STATUS_5XX),
                    ((502..=504).contains(&status), RetryOn::GATEWAY_ERROR),
                    (status == 409, RetryOn::RETRIABLE_4XX),
                    (statuses.binary_search(&status).is_ok(), RetryOn::STATUSES),
                ] {
                    reasons |= if holds { reason } else { RetryOn::NONE };
                }
                reasons
            }
        }
    }
}

fn of_grpc(status: u8) -> RetryOn {
    match status {
        1 => RetryOn::CANCELLED,
        4 => RetryOn::DEADLINE_EXCEEDED,
        8 => RetryOn::RESOURCE_EXHAUSTED,
        13 => RetryOn::INTERNAL,
        14 => RetryOn::UNAVAILABLE,
        _ => RetryOn::NONE,
    }
}

/// Whether the policy asks for another try. `repeatable`: doing what the request asks for twice is as good as once.
pub fn is_retriable(policy: &Retry, failure: Failure, repeatable: bool) -> bool {
    reasons(policy, repeatable).meets(failure.reasons(&policy.statuses))
}

/// Whether a request has to be kept once its first byte was sent: only what may have been processed is then left to try again for.
pub fn outlives_sending(policy: &Retry, repeatable: bool) -> bool {
    reasons(policy, repeatable).without(RetryOn::UNPROCESSED) != RetryOn::NONE
}

fn reasons(policy: &Retry, repeatable: bool) -> RetryOn {
    if repeatable { policy.on | policy.on_repeatable } else { policy.on }
}

/// How long to wait before the `nth` retry, from 1: anything up to an interval that doubles and adds up, as in Envoy, so that those who failed together
/// do not come back together.
pub fn backoff(policy: &Retry, nth: u32, rng: &mut impl Rng) -> Duration {
    let factor = 1u64.checked_shl(nth).map_or(u64::MAX, |doubled| doubled - 1);
    let interval_ms = u64::from(policy.backoff_ms).saturating_mul(factor).min(policy.backoff_max_ms.into());
    let least_ms = u64::from(policy.backoff_min_ms);
    let spread_us = interval_ms.saturating_sub(least_ms) * 1000;
    Duration::from_micros(least_ms * 1000 + below(rng, spread_us).unwrap_or(0))
}

/// How many retries a cluster takes at once while so many requests are under way.
pub fn retries_max(budget: RetryBudget, under_way: u64) -> u32 {
    let share = under_way.saturating_mul(budget.share.into()) / 10_000;
    u32::try_from(share).unwrap_or(u32::MAX).max(budget.floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Rng for Fixed {
        fn random(&mut self) -> u64 {
            self.0
        }
    }

    fn on(names: &[&str]) -> Retry {
        let find = |name: &&str| RetryOn::NAMES.into_iter().find(|(n, _)| n == name).map(|(_, on)| on);
        let on = names.iter().filter_map(find).fold(RetryOn::NONE, |all, one| all | one);
        Retry { on, on_repeatable: RetryOn::NONE, statuses: vec![418, 429], ..Retry::default() }
    }

    fn answer(status: u16) -> Failure {
        Failure::Answer { status, grpc: None }
    }

    fn grpc(grpc: u8) -> Failure {
        Failure::Answer { status: 200, grpc: Some(grpc) }
    }

    #[test]
    fn each_reason_meets_its_failures_and_no_others() {
        use Failure::{Connect, Protocol, Reset, Timeout, Unsent};
        let all = [Connect, Unsent, Reset, Timeout, Protocol];
        let answers = [200, 404, 409, 418, 429, 500, 501, 502, 503, 504, 505].map(answer);
        let codes = [0, 1, 2, 4, 8, 13, 14, 16].map(grpc);
        let table: [(&str, &[Failure]); 12] = [
            ("connect-failure", &[Connect]),
            ("reset-before-request", &[Unsent]),
            ("reset", &[Connect, Unsent, Reset, Timeout]),
            (
                "5xx",
                &[
                    Connect,
                    Unsent,
                    Reset,
                    Timeout,
                    Protocol,
                    answer(500),
                    answer(501),
                    answer(502),
                    answer(503),
                    answer(504),
                    answer(505),
                ],
            ),
            ("gateway-error", &[Connect, Unsent, Reset, Timeout, Protocol, answer(502), answer(503), answer(504)]),
            ("retriable-4xx", &[answer(409)]),
            ("retriable-status-codes", &[answer(418), answer(429)]),
            ("cancelled", &[grpc(1)]),
            ("deadline-exceeded", &[grpc(4)]),
            ("resource-exhausted", &[grpc(8)]),
            ("internal", &[grpc(13)]),
            ("unavailable", &[grpc(14)]),
        ];
        for (name, expected) in table {
            let met = all.iter().chain(&answers).chain(&codes).filter(|f| is_retriable(&on(&[name]), **f, false));
            assert_eq!(met.copied().collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn by_default_only_what_was_not_processed_is_tried_again_for_a_post() {
        let policy = Retry::default();
        for (failure, any, repeatable) in [
            (Failure::Connect, true, true),
            (Failure::Unsent, true, true),
            (Failure::Reset, false, true),
            (Failure::Timeout, false, true),
            (Failure::Protocol, false, false),
            (answer(503), false, true),
            (answer(500), false, false),
            (answer(429), false, false),
            (grpc(14), false, true),
            (grpc(1), false, true),
            (grpc(13), false, false),
        ] {
            assert_eq!(is_retriable(&policy, failure, false), any, "{failure:?}");
            assert_eq!(is_retriable(&policy, failure, true), repeatable, "{failure:?}");
        }
        assert!(!outlives_sending(&policy, false) && outlives_sending(&policy, true));
        assert!(outlives_sending(&on(&["5xx"]), false));
    }

    #[test]
    fn waits_grow_up_to_their_bound_and_are_spread_below_it() {
        let policy = Retry::default();
        for (nth, below_ms) in [(1, 25), (2, 75), (3, 175), (4, 250), (63, 250), (64, 250), (200, 250)] {
            assert_eq!(backoff(&policy, nth, &mut Fixed(0)), Duration::ZERO);
            let longest = backoff(&policy, nth, &mut Fixed(u64::MAX));
            assert_eq!(longest, Duration::from_micros(below_ms * 1000 - 1), "retry {nth}");
        }
        let at_least = Retry { backoff_min_ms: 100, backoff_ms: 100, backoff_max_ms: 1000, ..policy };
        for (nth, below_ms) in [(1, 100), (2, 300), (5, 1000)] {
            assert_eq!(backoff(&at_least, nth, &mut Fixed(0)), Duration::from_millis(100));
            assert!(backoff(&at_least, nth, &mut Fixed(u64::MAX)) <= Duration::from_millis(below_ms));
        }
    }

    #[test]
    fn a_budget_is_a_share_with_a_floor() {
        let budget = RetryBudget::default();
        for (under_way, most) in [(0, 3), (1, 3), (15, 3), (19, 3), (20, 4), (100, 20), (u64::MAX, u32::MAX)] {
            assert_eq!(retries_max(budget, under_way), most, "{under_way} under way");
        }
        assert_eq!(retries_max(RetryBudget { share: 0, floor: 5 }, 1_000_000), 5);
        assert_eq!(retries_max(RetryBudget { share: 1_250, floor: 0 }, 100), 12);
    }
}
