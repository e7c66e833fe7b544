//! Timeouts: one lazily armed timer a connection. A later deadline leaves it armed; when it fires too early it is armed again.

use ringway_engine::slab::Key;
use ringway_engine::{Io, Time};
use ringway_policy::Failure;
use ringway_policy::outlier::Outcome;

use super::Worker;
use super::connection::{LINGER_MAX, Phase, UpPhase};
use super::exchange::{Exchange, Response};
use super::local::LocalReply;
use super::token::Target;
use crate::active::Times;
use crate::telemetry::Flag;

impl<I: Io> Worker<I> {
    fn times(&self) -> Option<Times> {
        self.active.as_ref().map(|a| a.times)
    }

    /// When something must have happened on this connection.
    fn down_due(&self, key: Key) -> Time {
        let (Some(down), Some(times)) = (self.downs.get(key), self.times()) else { return Time::NEVER };
        match &down.phase {
            Phase::Idle => down.since.after(times.downstream_idle),
            Phase::Head | Phase::Hello { .. } => down.since.after(times.head),
            Phase::Parked => down.since.after(times.ask),
            Phase::Delayed(until) => *until,
            Phase::Busy(exchange) => exchange_due(exchange, &times),
            Phase::Tunnel(tunnel) => {
                let idle = tunnel.idle.map_or(Time::NEVER, |idle| tunnel.progress.after(idle));
                idle.min(tunnel.connect_deadline).min(tunnel.expires)
            }
            // First the client reads what is queued, at whatever pace; then it has a moment to close.
            Phase::Linger if self.io.queued(down.sock) > 0 => down.since.after(times.body_idle),
            Phase::Linger => down.since.after(LINGER_MAX),
            Phase::Away => Time::NEVER,
        }
    }

    /// Makes sure that the connection's timer fires no later than it must.
    pub(super) fn arm_down(&mut self, key: Key) {
        let due = self.down_due(key);
        let Some(down) = self.downs.get_mut(key) else { return };
        if due == Time::NEVER || down.timer.is_some_and(|(_, at)| at <= due) {
            return;
        }
        if let Some((timer, _)) = down.timer.take() {
            self.timers.cancel(timer);
        }
        // The wheel has room for every connection of both tables.
        down.timer = self.timers.insert(due, Target::Down(key).token()).ok().map(|timer| (timer, due));
    }

    /// The time for one try begins when all of the request is here and there is a connection for it.
    pub(super) fn arm_try(&mut self, key: Key) {
        let now = self.now;
        let Some(Phase::Busy(exchange)) = self.downs.get_mut(key).map(|down| &mut down.phase) else { return };
        let ready = exchange.request_done
            && exchange.connect_deadline == Time::NEVER
            && exchange.up.is_some()
            && matches!(exchange.response, Response::Awaited { .. });
        if exchange.try_timeout_ms == 0 || !ready {
            return;
        }
        exchange.try_deadline = now.after(std::time::Duration::from_millis(exchange.try_timeout_ms));
        self.arm_down(key);
    }

    /// The same for a pooled connection.
    pub(super) fn arm_up(&mut self, key: Key) {
        let Some(up) = self.ups.get_mut(key) else { return };
        let due = match &up.copy {
            Some(copy) => copy.deadline(),
            None => up.unused_due(),
        };
        if due == Time::NEVER {
            return;
        }
        // A copy has less time than the pool gave: its timer is not left to fire late.
        if let Some((timer, _)) = up.timer.take_if(|(_, at)| *at > due) {
            self.timers.cancel(timer);
        }
        if up.timer.is_none() {
            up.timer = self.timers.insert(due, Target::Up(key).token()).ok().map(|timer| (timer, due));
        }
    }

    pub(super) fn expire_timers(&mut self) {
        let mut expired = std::mem::take(&mut self.expired);
        self.timers.expire(self.now, &mut expired);
        for token in expired.drain(..) {
            match Target::of(token) {
                Target::Down(key) => self.down_expired(key),
                Target::Up(key) => self.up_expired(key),
                Target::Listener(_) => {}
            }
        }
        self.expired = expired;
    }

    fn down_expired(&mut self, key: Key) {
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return };
        down.timer = None;
        if self.down_due(key) > now {
            return self.arm_down(key);
        }
        let Some(down) = self.downs.get_mut(key) else { return };
        match std::mem::replace(&mut down.phase, Phase::Away) {
            Phase::Busy(exchange) => self.exchange_expired(key, exchange),
            Phase::Head => self.refuse(key, 408, "request_head_timeout"),
            Phase::Hello { .. } => self.refuse_tcp(key, Flag::DT, "tls_hello_timeout"),
            Phase::Parked => self.refuse(key, 503, "on_demand_config_timeout"),
            Phase::Delayed(_) => {
                (down.phase, down.delayed) = (Phase::Head, Some(down.since));
                self.head_in_pipe(key);
            }
            Phase::Tunnel(tunnel) if tunnel.connect_deadline <= now => self.tunnel_connect_timeout(key, tunnel),
            Phase::Tunnel(mut tunnel) => {
                if tunnel.expires <= now {
                    tunnel.flag = Flag::DT;
                }
                self.end_tunnel(key, tunnel);
            }
            _ => self.close_down(key),
        }
    }

    fn exchange_expired(&mut self, key: Key, mut exchange: Box<Exchange>) {
        let now = self.now;
        let awaited = matches!(exchange.response, Response::Awaited { .. });
        if exchange.connect_deadline <= now && exchange.deadline > now {
            const ETIMEDOUT: ringway_engine::Errno = ringway_engine::Errno(110);
            exchange.connect_deadline = Time::NEVER;
            if let Some(up) = exchange.up.take() {
                self.close_up(up);
            }
            if let Some(down) = self.downs.get_mut(key) {
                down.phase = Phase::Busy(exchange);
            }
            return self.connect_failed(key, ETIMEDOUT);
        }
        if exchange.deadline > now && exchange.retry_at <= now {
            return self.retry_now(key, exchange);
        }
        if exchange.deadline > now && exchange.try_deadline <= now {
            exchange.try_deadline = Time::NEVER;
            return self.fail(key, exchange, Failure::Timeout, (504, Flag::UT, "upstream_per_try_timeout"));
        }
        exchange.keep_upstream = false;
        match (awaited, exchange.deadline <= now, exchange.request_done) {
            (true, true, _) => {
                if exchange.up.is_some() {
                    self.observe_exchange(&exchange, Outcome::Broken);
                }
                self.detach_broken(&mut exchange);
                self.reply(key, exchange, LocalReply::new(504, Flag::UT, "response_timeout"));
            }
            (true, false, false) => {
                self.detach_broken(&mut exchange);
                self.reply(key, exchange, LocalReply::new(408, Flag::DT, "request_body_timeout"));
            }
            (_, true, _) => self.abort(key, exchange, Flag::UT, "response_timeout"),
            _ => self.abort(key, exchange, Flag::DT, "stream_idle_timeout"),
        }
    }

    fn up_expired(&mut self, key: Key) {
        let now = self.now;
        let Some(up) = self.ups.get_mut(key) else { return };
        up.timer = None;
        match (up.phase, &up.copy) {
            (UpPhase::Idle | UpPhase::Closing, _) => {}
            (UpPhase::Mirror, Some(copy)) if copy.deadline() <= now => return self.close_up(key),
            (UpPhase::Mirror, _) => return self.arm_up(key),
            _ => return,
        }
        if up.unused_due() <= now {
            return self.close_up(key);
        }
        self.arm_up(key);
    }
}

/// Bodies must make progress, in either direction; a server may think for as long as the route allows.
fn exchange_due(exchange: &Exchange, times: &Times) -> Time {
    let body = !exchange.request_done || exchange.response == Response::Body;
    // While it waits for a connection nothing of it can move.
    let idle = if body && exchange.ticket == 0 { exchange.progress.after(times.body_idle) } else { Time::NEVER };
    exchange.deadline.min(exchange.connect_deadline).min(exchange.retry_at).min(exchange.try_deadline).min(idle)
}
