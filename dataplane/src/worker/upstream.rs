//! Connections we open: pools of idle ones, connects, and what happens when one fails.
//!
//! A receive is armed on every pooled connection, so that a server's FIN or stray bytes are learnt before the connection is used again.

use std::sync::Arc;
use std::time::Duration;

use ringway_engine::io::End;
use ringway_engine::slab::Key;
use ringway_engine::{Buf, Class, Errno, Io, Keepalive, Piece, Sock};

use super::Worker;
use super::connection::{CREDIT, Life, Phase, Up, UpPhase};
use super::exchange::{Exchange, Response};
use super::local::LocalReply;
use super::queue::{account_of, limits_of};
use super::token::Target;
use crate::ledger::Account;
use crate::planted::{Bug, is_planted};
use crate::telemetry::Flag;
use crate::telemetry::record::Text;
use ringway_policy::outlier::Outcome;
use ringway_policy::{Failure, Plan, Slot};

/// Endpoints that an opaque connection tries before it is closed.
pub const CONNECT_ATTEMPTS_MAX: u8 = 3;

impl<I: Io> Worker<I> {
    /// Gives a decided exchange an upstream connection: a pooled one, else a new one.
    pub(super) fn attach(&mut self, key: Key, mut exchange: Box<Exchange>) {
        let Some(plan) = exchange.plan else {
            return self.reply(key, exchange, LocalReply::new(503, Flag::NC, "no_plan"));
        };
        if let Some(account) = account_of(&exchange) {
            return self.attach_limited(key, exchange, plan, account);
        }
        if !exchange.replayed
            && let Some(up_key) = self.checkout(plan.slot)
        {
            self.count(|s| &s.upstream_reused);
            if let Some(up) = self.ups.get_mut(up_key) {
                up.phase = UpPhase::Busy(key);
            }
            exchange.up = Some(up_key);
            self.flush_waiting(&mut exchange);
            self.resume_downstream(key, &mut exchange);
            self.put_busy(key, exchange);
            return self.arm_try(key);
        }
        self.connect_for(key, exchange, plan, None);
    }

    /// Opens a connection for an exchange. With an `account`, connection and pending request are counted there already.
    pub(super) fn connect_for(
        &mut self,
        key: Key,
        mut exchange: Box<Exchange>,
        plan: Plan,
        account: Option<Arc<Account>>,
    ) {
        match self.connect(plan.slot, plan.cluster, key, &exchange) {
            Ok(up_key) => {
                if let Some(up) = self.ups.get_mut(up_key) {
                    up.pending = account.is_some();
                    up.account = account;
                }
                exchange.up = Some(up_key);
                exchange.connect_deadline = self.now.after(self.connect_timeout(&exchange));
                self.put_busy(key, exchange);
                self.arm_down(key);
            }
            Err(_) => {
                if let Some(account) = account {
                    account.connections.give();
                    account.pending.give();
                    self.freed.push(account);
                }
                if let Some(record) = &mut exchange.record {
                    record.set(Text::TransportFailure, b"no descriptor or table slot for another upstream connection");
                }
                self.reply(key, exchange, LocalReply::new(503, Flag::UO, "upstream_connections_exhausted"));
            }
        }
    }

    pub(super) fn put_busy(&mut self, key: Key, exchange: Box<Exchange>) {
        if let Some(down) = self.downs.get_mut(key) {
            down.phase = Phase::Busy(exchange);
        }
    }

    fn connect_timeout(&self, exchange: &Exchange) -> Duration {
        let ms = match (&exchange.pinned, exchange.plan) {
            (Some(pinned), Some(plan)) => pinned.view.cluster(plan.cluster).settings.connect_timeout_ms,
            _ => 0,
        };
        Duration::from_millis(if ms == 0 { 10_000 } else { ms.into() })
    }

    pub(super) fn checkout(&mut self, slot: Slot) -> Option<Key> {
        let pool = self.pools.get_mut(slot.0 as usize)?;
        while let Some(key) = pool.pop() {
            if self.ups.get(key).is_some_and(|up| up.phase == UpPhase::Idle) {
                return Some(key);
            }
        }
        None
    }

    fn connect(&mut self, slot: Slot, cluster: u32, down: Key, exchange: &Exchange) -> Result<Key, Errno> {
        let life = exchange.pinned.as_ref().map_or(Life::default(), |p| Life::of(&p.view.cluster(cluster).settings));
        let key = self.open(slot, UpPhase::Connecting(down), life)?;
        if let Some(up) = self.ups.get(key) {
            self.io.hurry(up.sock, false);
        }
        Ok(key)
    }

    /// Starts a connect to the endpoint of `slot`.
    pub(super) fn open(&mut self, slot: Slot, phase: UpPhase, life: Life) -> Result<Key, Errno> {
        const EMFILE: Errno = Errno(24);
        self.count(|s| &s.upstream_connects);
        let up = Up {
            sock: Sock { index: u32::MAX, generation: u32::MAX },
            slot,
            phase,
            requests: 0,
            head: Vec::new(),
            scanned: 0,
            since: self.now,
            life,
            expires: life.expires(self.now),
            timer: None,
            bulk: false,
            answered: false,
            given: 0,
            touched: false,
            send_failed: false,
            copy: None,
            account: None,
            pending: false,
            serving: false,
        };
        let key = self.ups.insert(up).map_err(|_| EMFILE)?;
        match self.io.connect(self.state.address(slot), Target::Up(key).token()) {
            Ok(sock) => {
                if let Some(up) = self.ups.get_mut(key) {
                    up.sock = sock;
                }
                if let Some(keepalive) = life.rules.and_then(|rules| rules.keepalive) {
                    self.io.keepalive(sock, probes(keepalive));
                }
                Ok(key)
            }
            Err(errno) => {
                self.ups.remove(key);
                Err(errno)
            }
        }
    }

    pub(super) fn up_connected(&mut self, key: Key, result: Result<(), Errno>) {
        let Some(up) = self.ups.get_mut(key) else { return };
        let down_key = match up.phase {
            UpPhase::Connecting(down_key) => down_key,
            UpPhase::Mirror if result.is_ok() => {
                self.io.recv(up.sock, Class::Small, CREDIT);
                return self.copy_connected(key);
            }
            UpPhase::Mirror => {
                self.count(|s| &s.upstream_connect_failures);
                return self.close_up(key);
            }
            _ => return,
        };
        match result {
            Ok(()) => {
                let sock = up.sock;
                self.io.recv(sock, Class::Small, CREDIT);
                let Some(down) = self.downs.get_mut(down_key) else { return self.close_up(key) };
                match std::mem::replace(&mut down.phase, Phase::Away) {
                    Phase::Busy(mut exchange) => {
                        exchange.connect_deadline = ringway_engine::Time::NEVER;
                        if !self.begin_request(key, limits_of(&exchange)) {
                            exchange.up = None;
                            self.make_idle(key);
                            return self.overflow(down_key, exchange);
                        }
                        if let Some(up) = self.ups.get_mut(key) {
                            up.phase = UpPhase::Busy(down_key);
                        }
                        self.flush_waiting(&mut exchange);
                        self.resume_downstream(down_key, &mut exchange);
                        self.put_busy(down_key, exchange);
                        self.arm_try(down_key);
                    }
                    Phase::Tunnel(tunnel) => self.tunnel_connected(down_key, key, tunnel),
                    other => {
                        down.phase = other;
                        self.close_up(key);
                    }
                }
            }
            Err(errno) => {
                self.count(|s| &s.upstream_connect_failures);
                self.close_up(key);
                self.connect_failed(down_key, errno);
            }
        }
    }

    /// The client goes on with a body that had to wait for the connection.
    pub(super) fn resume_downstream(&mut self, key: Key, exchange: &mut Exchange) {
        if !exchange.request_done
            && exchange.downstream_paused
            && let Some(down) = self.downs.get(key)
        {
            exchange.downstream_paused = false;
            self.io.recv(down.sock, Class::Small, CREDIT);
        }
    }

    /// Sends what waited for the connection.
    pub(super) fn flush_waiting(&mut self, exchange: &mut Exchange) {
        let Some(up) = exchange.up.and_then(|k| self.ups.get_mut(k)) else { return };
        up.requests += 1;
        (up.answered, up.send_failed) = (false, false);
        let sock = up.sock;
        // What is left of the request before cannot be told from this one.
        (up.given, up.touched) = (0, self.io.queued(sock) > 0);
        while let Some(buf) = exchange.waiting.pop_front() {
            up.given += buf.len();
            self.io.send(sock, Piece::Buf(buf));
        }
        if let Some(record) = &mut exchange.record {
            let slot = exchange.plan.map(|p| p.slot);
            record.numbers.upstream_host = slot.map(|s| self.state.address(s));
            record.numbers.upstream_local = self.io.local_addr(sock);
            if exchange.retries > 0 {
                record.set(Text::TransportFailure, b"");
            }
        }
        self.observe_exchange(exchange, Outcome::Sent);
    }

    /// Nothing was sent on a connection that never was.
    pub(super) fn connect_failed(&mut self, down_key: Key, errno: Errno) {
        let Some(down) = self.downs.get_mut(down_key) else { return };
        match std::mem::replace(&mut down.phase, Phase::Away) {
            Phase::Busy(mut exchange) => {
                exchange.up = None;
                if let Some(record) = &mut exchange.record {
                    record.set(Text::TransportFailure, errno_text(errno).as_bytes());
                }
                let details = "upstream_reset_before_response_started{connection_failure}";
                self.fail(down_key, exchange, Failure::Connect, (503, Flag::UF, details));
            }
            Phase::Tunnel(tunnel) => self.tunnel_connect_failed(down_key, tunnel, errno),
            other => down.phase = other,
        }
    }

    pub(super) fn up_ended(&mut self, key: Key, end: End) {
        let Some(up) = self.ups.get(key) else { return };
        match up.phase {
            UpPhase::Idle | UpPhase::Connecting(_) | UpPhase::Mirror => self.close_up(key),
            UpPhase::Closing if end == End::Eof => {}
            UpPhase::Closing => self.close_up(key),
            UpPhase::Busy(down_key) => self.response_ended(down_key, key, end),
            UpPhase::Tunnel(down_key) => self.tunnel_ended(down_key, false, end),
        }
    }

    pub(super) fn up_send_failed(&mut self, key: Key, errno: Errno) {
        let Some(up) = self.ups.get(key) else { return };
        match up.phase {
            UpPhase::Idle | UpPhase::Connecting(_) | UpPhase::Mirror | UpPhase::Closing => self.close_up(key),
            // The server may have answered before it closed; its answer, or the end of it, arrives on the receiving side.
            UpPhase::Busy(down_key) if errno != Errno::OVERCOMMIT => self.request_unsent(key, down_key, errno),
            UpPhase::Busy(down_key) => self.response_ended(down_key, key, End::Error(errno)),
            UpPhase::Tunnel(down_key) => self.tunnel_send_failed(down_key, false),
        }
    }

    /// The rest of the request cannot be sent. An early answer may have been queued before the server closed: the receive, which is armed, brings
    /// it or the error.
    fn request_unsent(&mut self, key: Key, down_key: Key, errno: Errno) {
        // After the server's FIN the kernel says EPIPE; anything else came instead of one.
        const EPIPE: Errno = Errno(32);
        if let Some(up) = self.ups.get_mut(key) {
            up.send_failed = true;
        }
        if let Some(down) = self.downs.get_mut(down_key)
            && let Phase::Busy(exchange) = &mut down.phase
        {
            exchange.upstream_reset |= errno != EPIPE;
            exchange.keep_upstream = false;
            exchange.keep_downstream &= exchange.request_done;
        }
    }

    /// A pooled connection turned out to be closed: the request goes out on a fresh one, once, whatever the route says of retries.
    pub(super) fn replay(&mut self, down_key: Key, mut exchange: Box<Exchange>) {
        self.count(|s| &s.replays);
        if let Some(up) = exchange.up.take() {
            self.close_up(up);
        }
        // What is known of the old connection says nothing about the new one.
        (exchange.keep_upstream, exchange.upstream_reset) = (true, false);
        exchange.replayed = true;
        exchange.waiting.clear();
        exchange.waiting.push_back(Buf::heap(super::retry::sent_again(&exchange)));
        self.attach(down_key, exchange);
    }

    /// The exchange is over: its connection goes back to the pool, or away.
    pub(super) fn release(&mut self, exchange: &mut Exchange) {
        if let Some(slot) = exchange.counted.take()
            && !is_planted(Bug::InFlightLeaked)
        {
            self.state.finished(slot);
        }
        let Some(key) = exchange.up.take() else { return };
        let whole =
            exchange.request_done && exchange.response == Response::Done || is_planted(Bug::UndrainedConnectionPooled);
        let keep = exchange.keep_upstream || is_planted(Bug::UndrainedConnectionPooled);
        self.give_back(key, whole && keep);
    }

    /// A connection without a request: back to its pool if it may be used again, else away.
    pub(super) fn give_back(&mut self, key: Key, usable: bool) {
        let Some(up) = self.ups.get_mut(key) else { return };
        if std::mem::take(&mut up.serving)
            && let Some(account) = &up.account
        {
            account.requests.give();
        }
        let most = up.life.requests_max;
        let spent = most > 0 && up.requests >= most || up.expires <= self.now;
        let slot = up.slot;
        let room = self.pools.get(slot.0 as usize).is_some_and(|p| p.len() < self.limits.idle_per_endpoint_max);
        if !usable || spent || !room || self.slot_gone(slot) || self.drain.is_some() {
            return self.close_up(key);
        }
        self.make_idle(key);
    }

    /// Puts a connection into its pool.
    pub(super) fn make_idle(&mut self, key: Key) {
        let Some(up) = self.ups.get_mut(key) else { return };
        up.phase = UpPhase::Idle;
        up.since = self.now;
        up.scanned = 0;
        super::response::receive(&mut self.io, up);
        if let Some(account) = up.account.as_ref().filter(|account| account.is_waited_for()) {
            self.freed.push(account.clone());
        }
        self.pools[up.slot.0 as usize].push(key);
        self.arm_up(key);
    }

    /// Takes the exchange off its upstream connection, which is not used again unless it is whole.
    pub(super) fn detach(&mut self, exchange: &mut Exchange) {
        if exchange.ticket > 0 {
            self.leave_queue(exchange);
        }
        self.release(exchange);
        self.keep_nothing(exchange);
        exchange.granted = None;
        exchange.waiting.clear();
    }

    /// As [`Self::detach`], after something went wrong on it.
    pub(super) fn detach_broken(&mut self, exchange: &mut Exchange) {
        exchange.keep_upstream = false;
        self.detach(exchange);
    }

    pub(super) fn close_up(&mut self, key: Key) {
        self.copy_over(key);
        if let Some(mut up) = self.ups.remove(key) {
            if up.phase == UpPhase::Idle
                && let Some(pool) = self.pools.get_mut(up.slot.0 as usize)
                && let Some(at) = pool.iter().rposition(|k| *k == key)
            {
                pool.remove(at);
            }
            if let Some((timer, _)) = up.timer.take() {
                self.timers.cancel(timer);
            }
            self.io.close(up.sock);
            let head = std::mem::take(&mut up.head);
            self.keep_bytes(head);
            if let Some(account) = up.account.take() {
                account.connections.give();
                if up.pending {
                    account.pending.give();
                }
                if up.serving {
                    account.requests.give();
                }
                if account.is_waited_for() {
                    self.freed.push(account);
                }
            }
        }
    }
}

fn probes(rules: ringway_config::model::Keepalive) -> Keepalive {
    let said = |n: u32| (n > 0).then_some(n);
    let seconds = |n: u32| said(n).map(|n| Duration::from_secs(n.into()));
    Keepalive { probes: said(rules.probes), time: seconds(rules.time_s), interval: seconds(rules.interval_s) }
}

/// The kernel's words for an error number.
pub fn errno_text(errno: Errno) -> String {
    errno.to_string()
}
