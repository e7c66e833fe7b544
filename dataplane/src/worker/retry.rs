//! Another try for a request that failed: what of it is kept for that, whether there is to be one, and how it starts.
//!
//! A request is kept as the bytes that went upstream, head and body, up to [`REPLAY_BYTES_MAX`] and only for as long as they can be needed: what may
//! not be repeated once it was sent is let go with the first byte that the kernel takes.

use ringway_config::model::Retry;
use ringway_engine::slab::Key;
use ringway_engine::{Buf, Io, Time};
use ringway_http::h1::{BodyDecoder, Output};
use ringway_http::head::{Framing, Known, RequestHead, ResponseHead};
use ringway_policy::outlier::Outcome;
use ringway_policy::{Choose, Failure, Slot, backoff, is_retriable, outlives_sending, pick, retries_max};

use super::Worker;
use super::encode;
use super::exchange::{Exchange, Keep, Pinned, Response};
use super::local::LocalReply;
use crate::planted::{Bug, is_planted};
use crate::retries::Granted;
use crate::telemetry::Flag;

/// Bytes of one request that are kept; a longer one has its first try only.
pub const REPLAY_BYTES_MAX: usize = 64 << 10;
/// Endpoints drawn in search of one that the request was not sent to yet (Istio's `hostSelectionRetryMaxAttempts`).
const DRAWS_MAX: usize = 5;

/// Endpoints that a request was sent to: the last ones, when there are more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    slots: [Option<Slot>; 4],
    next: usize,
}

impl Tried {
    fn add(&mut self, slot: Slot) {
        self.slots[self.next % self.slots.len()] = Some(slot);
        self.next += 1;
    }

    fn has(&self, slot: Slot) -> bool {
        self.slots.contains(&Some(slot))
    }
}

/// Why a request that could have been tried again was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GivenUp {
    /// Nothing spoke for it.
    #[default]
    No,
    /// Its tries are used up.
    Exhausted,
    /// Its cluster has as many retries under way as it may.
    OverBudget,
}

impl GivenUp {
    /// The flag of the failure, with this added as Envoy does.
    pub fn with(self, flag: Flag) -> Flag {
        match self {
            GivenUp::No => flag,
            GivenUp::Exhausted => flag.with_retries_exhausted(),
            GivenUp::OverBudget => flag.with_overflow(),
        }
    }
}

/// What the client is told of a failed try that has no successor.
pub type Verdict = (u16, Flag, &'static str);

impl<I: Io> Worker<I> {
    /// Says how long a request is kept, and keeps its head, `out`.
    pub(super) fn keep_request(
        &mut self,
        exchange: &mut Exchange,
        policy: Option<&Retry>,
        request: &RequestHead,
        head: &[u8],
        out: &[u8],
    ) {
        let key = || request.fields.named(head, b"idempotency-key").next().is_some();
        exchange.repeatable = encode::idempotent(request.method) || key() || is_planted(Bug::PostReplayed);
        exchange.has_policy = policy.is_some();
        exchange.try_timeout_ms = policy.map_or(0, |p| p.try_timeout_ms);
        let long = matches!(request.framing, Framing::Length(n) if n > REPLAY_BYTES_MAX as u64);
        exchange.keep = match policy {
            // A handshake may not be repeated: the client speaks another protocol as soon as it is answered.
            _ if exchange.upgrade || long => Keep::Nothing,
            _ if exchange.repeatable => Keep::UntilAnswered,
            Some(policy) if outlives_sending(policy, false) => Keep::UntilAnswered,
            _ => Keep::UntilSent,
        };
        exchange.head_bytes = out.len();
        self.keep_bytes_sent(exchange, out);
    }

    /// Keeps more of a request, as it goes upstream.
    pub(super) fn keep_bytes_sent(&mut self, exchange: &mut Exchange, bytes: &[u8]) {
        if exchange.keep == Keep::Nothing {
            return;
        }
        let fits = exchange.replay.len() + bytes.len() <= REPLAY_BYTES_MAX
            && self.replay_bytes + bytes.len() <= self.limits.replay_bytes_max;
        if !fits {
            return self.keep_nothing(exchange);
        }
        self.replay_bytes += bytes.len();
        exchange.replay.extend_from_slice(bytes);
    }

    /// Nothing of it is needed any more.
    pub(super) fn keep_nothing(&mut self, exchange: &mut Exchange) {
        self.replay_bytes -= exchange.replay.len();
        exchange.replay.clear();
        exchange.keep = Keep::Nothing;
    }

    /// No byte of the request that this connection was opened or taken for is with the kernel.
    pub(super) fn is_unsent(&self, up: Key) -> bool {
        let Some(up) = self.ups.get(up) else { return false };
        let waits = !self.io.sending(up.sock) && self.io.queued(up.sock) == up.given;
        !up.touched && (up.send_failed || waits)
    }

    /// A try failed before anything of its answer went to the client: the next one, or `verdict`.
    pub(super) fn fail(&mut self, key: Key, mut exchange: Box<Exchange>, failure: Failure, verdict: Verdict) {
        self.observe_exchange(&exchange, Outcome::Broken);
        if self.may_retry(&mut exchange, failure) {
            if let Some(up) = exchange.up.take() {
                self.close_up(up);
            }
            return self.wait_to_retry(key, exchange);
        }
        let (status, flag, details) = verdict;
        self.detach_broken(&mut exchange);
        let flag = exchange.given_up.with(flag);
        self.reply(key, exchange, LocalReply::new(status, flag, details));
    }

    /// Whether an answer is to be thrown away for another try.
    pub(super) fn is_to_retry(&mut self, exchange: &mut Exchange, head: &[u8], response: &ResponseHead) -> bool {
        let code = response.fields.get(Known::GrpcStatus);
        if !exchange.has_policy || (response.status < 400 && code.is_none()) {
            return false;
        }
        // An overloaded proxy asks for less, not for more.
        if response.fields.get(Known::XEnvoyOverloaded).is_some() {
            return false;
        }
        let grpc = code.and_then(|f| std::str::from_utf8(f.value.of(head)).ok()?.parse().ok());
        let retry = self.may_retry(exchange, Failure::Answer { status: response.status, grpc });
        exchange.flag = exchange.given_up.with(exchange.flag);
        retry
    }

    /// Throws an answer away, `rest` being what of its body is here, and tries again.
    pub(super) fn retry_answered(&mut self, key: Key, mut exchange: Box<Exchange>, head: &ResponseHead, rest: Buf) {
        // Its connection serves on if nothing more can come on it.
        let mut rest = rest;
        let mut body = BodyDecoder::new(head.framing, Output::Verbatim);
        while !rest.is_empty()
            && !body.is_done()
            && let Ok(decoded) = body.decode(&rest)
        {
            rest.advance(decoded.consumed);
        }
        let whole = body.is_done() && rest.is_empty() && head.keep_alive && head.framing != Framing::UntilClose;
        exchange.keep_upstream &= whole;
        exchange.response = Response::Done;
        self.release(&mut exchange);
        self.wait_to_retry(key, exchange);
    }

    /// Decides on another try, and counts it if there is to be one.
    fn may_retry(&mut self, exchange: &mut Exchange, failure: Failure) -> bool {
        let (Some(pinned), Some(plan)) = (exchange.pinned.clone(), exchange.plan) else { return false };
        let Some(policy) = &pinned.view.forward(&plan).0.retry else { return false };
        // Before a connection is there, all of the request still waits for it.
        let at_hand = failure == Failure::Connect || exchange.keep != Keep::Nothing;
        if !at_hand || !is_retriable(policy, failure, exchange.repeatable) {
            return false;
        }
        if u32::from(exchange.retries) >= policy.attempts {
            self.count(|s| &s.retries_exhausted);
            exchange.given_up = GivenUp::Exhausted;
            return false;
        }
        // A retry that failed makes room for the one that follows it.
        exchange.granted = None;
        exchange.granted = self.grant(&pinned, plan.cluster);
        if exchange.granted.is_none() {
            self.count(|s| &s.retries_over_budget);
            exchange.given_up = GivenUp::OverBudget;
            return false;
        }
        exchange.retries += 1;
        self.count(|s| &s.retries);
        let wait = backoff(policy, exchange.retries.into(), &mut self.dice);
        exchange.retry_at = self.now.after(wait);
        true
    }

    /// Asks the cluster's budget. The share is of what this worker has under way, so that all workers together stay below it; the count and the
    /// floor are the proxy's.
    fn grant(&self, pinned: &Pinned, cluster: u32) -> Option<Granted> {
        let (current, cluster) = self.current_cluster(pinned, cluster)?;
        let running = current.retries.running(cluster)?;
        let budget = current.view.cluster(cluster).settings.retry_budget;
        // Endpoints are counted only when the floor does not do.
        running.take(budget.floor).or_else(|| running.take(retries_max(budget, self.state.under_way(cluster))))
    }

    fn wait_to_retry(&mut self, key: Key, mut exchange: Box<Exchange>) {
        if let Some(slot) = exchange.counted.take() {
            self.state.finished(slot);
        }
        if let Some(plan) = exchange.plan {
            exchange.tried.add(plan.slot);
        }
        // What is known of the old connection says nothing about the next one.
        (exchange.keep_upstream, exchange.upstream_reset, exchange.upstream_paused) = (true, false, false);
        (exchange.connect_deadline, exchange.try_deadline) = (Time::NEVER, Time::NEVER);
        exchange.response = Response::Awaited { interim: 0 };
        // A request that is not kept was not sent either: it still waits.
        if exchange.keep != Keep::Nothing {
            exchange.waiting.clear();
            exchange.waiting.push_back(Buf::heap(sent_again(&exchange)));
        }
        self.put_busy(key, exchange);
        self.arm_down(key);
    }

    /// The wait is over.
    pub(super) fn retry_now(&mut self, key: Key, mut exchange: Box<Exchange>) {
        exchange.retry_at = Time::NEVER;
        if !self.choose_another(&mut exchange) {
            return self.reply(key, exchange, LocalReply::new(503, Flag::UH, "no_healthy_upstream"));
        }
        self.attach(key, exchange);
    }

    /// Moves the exchange to an endpoint of its cluster, another one than before where that is wanted and possible.
    pub(super) fn choose_another(&mut self, exchange: &mut Exchange) -> bool {
        let (Some(pinned), Some(mut plan)) = (exchange.pinned.clone(), exchange.plan) else { return false };
        // After a swap the pinned view's dense ids are not the state's any more; the cluster is found again by name.
        let Some((current, cluster)) = self.current_cluster(&pinned, plan.cluster) else { return false };
        let policy = pinned.view.forward(&plan).0.retry.as_ref();
        // Where a key decides, every try of it goes to the same endpoint, as in Istio.
        let hashed = current.view.cluster(cluster).settings.hash.is_some();
        let elsewhere = !hashed && policy.is_some_and(|policy| policy.avoid_previous);
        let choose = Choose { now: self.now.0, key: plan.key, avoid: elsewhere.then_some(plan.slot) };
        let mut chosen = None;
        for _ in 0..DRAWS_MAX {
            chosen = pick(&current.view, cluster, &mut self.state, &mut self.dice, choose);
            if !elsewhere || chosen.is_none_or(|(_, slot)| !exchange.tried.has(slot)) {
                break;
            }
        }
        let Some((endpoint, slot)) = chosen else { return false };
        self.state.started(slot);
        exchange.counted = Some(slot);
        plan.slot = slot;
        if std::rc::Rc::ptr_eq(&current, &pinned) {
            plan.endpoint = endpoint;
            self.label_destination(exchange, &pinned.view, &plan);
        }
        exchange.plan = Some(plan);
        true
    }
}

/// A request as it is sent again: the head of a retry says which try it is.
pub fn sent_again(exchange: &Exchange) -> Vec<u8> {
    if exchange.retries == 0 {
        return exchange.replay.clone();
    }
    let line = format!("x-envoy-attempt-count: {}\r\n", 1 + u32::from(exchange.retries));
    let (head, rest) = exchange.replay.split_at(exchange.head_bytes - "\r\n".len());
    let head = head.strip_suffix(encode::FIRST_TRY).unwrap_or(head);
    [head, line.as_bytes(), rest].concat()
}
