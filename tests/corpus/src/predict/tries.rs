//! How often a request is tried.

use super::{list, text};
use crate::generate::request::{Fail, Request, What};
use serde_json::Value;

/// What a policy is for that says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// What `explain` tells: what cannot repeat a write, and for what may be repeated broken connections too.
    Safe,
    /// Istio's list, for every method.
    Listed,
}

impl Retries {
    /// How many tries there are of a request that endpoints fail so.
    pub fn tries(self, request: &Request, fail: Fail, policy: &Value) -> usize {
        let of = |field: &str| list(&policy[field]).iter().map(text).collect::<Vec<_>>();
        let (mut on, repeatable) = (of("on"), of("on_repeatable"));
        let statuses: Vec<u64> = list(&policy["statuses"]).iter().filter_map(Value::as_u64).collect();
        if self == Retries::Listed && !repeatable.is_empty() {
            on.extend(["unavailable", "cancelled", "retriable-status-codes"]);
        } else if may_be_repeated(request) {
            on.extend(repeatable);
        }
        let reasons: Vec<&str> = match fail.what {
            What::Cut => vec!["reset", "5xx", "gateway-error"],
            What::Grpc(_) => vec!["unavailable"],
            What::Status(status) => [
                (status >= 500, "5xx"),
                (matches!(status, 502..=504), "gateway-error"),
                (status == 409, "retriable-4xx"),
                (statuses.contains(&status.into()), "retriable-status-codes"),
            ]
            .into_iter()
            .filter_map(|(holds, reason)| holds.then_some(reason))
            .collect(),
        };
        let attempts = policy["attempts"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        1 + if reasons.iter().any(|reason| on.contains(reason)) { attempts.min(fail.times) } else { 0 }
    }
}

/// RFC 9110 §9.2.2, and the header that makes any request so.
fn may_be_repeated(request: &Request) -> bool {
    matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
        || request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"))
}
