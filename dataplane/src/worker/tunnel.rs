//! Opaque bytes between two connections: TCP listeners, TLS ones after their ClientHello, and WebSockets after their 101.
//!
//! Each direction copies through ring buffers at first; one that turns out to be bulk moves into the kernel by splice. FIN travels in each direction
//! on its own; the tunnel ends when both have passed, or on an error, which resets the other side.

use std::collections::VecDeque;
use std::time::Duration;

use ringway_config::model::{AccessLog, ListenerProtocol, Role};
use ringway_engine::io::End;
use ringway_engine::slab::Key;
use ringway_engine::{Buf, Class, Errno, Io, Piece, Sock, Time};
use ringway_policy::outlier::Outcome;
use ringway_policy::{Choose, Connection, Slot, Step, decide_tcp, pick};

use super::Worker;
use super::connection::{CREDIT, CREDIT_BULK, Life, Phase, QUEUE_HIGH, QUEUE_HIGH_BULK, UpPhase};
use super::exchange::{Exchange, Flow, Pinned, Tunnel};
use super::finish::series_labels;
use super::token::Target;
use super::upstream::CONNECT_ATTEMPTS_MAX;
use crate::planted::{Bug, is_planted};
use crate::telemetry::Flag;
use crate::telemetry::record::Text;
use crate::telemetry::series::{Protocol, Reporter, SeriesKey, add};

/// Bytes in one direction after which it receives into large buffers.
const BULK_AFTER: u64 = 64 << 10;
/// Bytes in one direction after which it is spliced.
const SPLICE_AFTER: u64 = 512 << 10;
/// Time without progress after which a finished tunnel's unsent bytes are given up.
const CLOSING_IDLE_MAX: Duration = Duration::from_secs(60);

impl<I: Io> Worker<I> {
    /// A connection of a TCP listener: chooses where it goes and connects at once, so that servers that speak first are not kept waiting.
    pub(super) fn start_tcp(&mut self, key: Key, pinned: &Pinned, listener: u32) {
        let idle_ms = match &pinned.view.listeners()[listener as usize].protocol {
            ListenerProtocol::Tcp { idle_timeout_ms, .. } => *idle_timeout_ms,
            _ => 0,
        };
        let Some(client) = self.downs.get(key).map(|down| down.peer.ip()) else { return };
        let connection = Connection { listener, client, now: self.now.0 };
        let step = decide_tcp(&pinned.view, connection, &mut self.state, &mut self.dice, &mut ());
        self.start_tunnel(key, pinned, step, idle_ms, b"");
    }

    /// Opens what was decided for an opaque connection; false when it was refused and the client is gone.
    pub(super) fn start_tunnel(
        &mut self,
        key: Key,
        pinned: &Pinned,
        step: Step,
        idle_ms: u64,
        server_name: &[u8],
    ) -> bool {
        let plan = match step {
            Step::Forward(plan) => plan,
            Step::Reject(reason) => {
                self.refuse_tcp(key, Flag::from_name(reason.flags()), reason.details());
                return false;
            }
            Step::Reply(local) => {
                self.refuse_tcp(key, Flag::from_name(local.flags()), local.details());
                return false;
            }
            Step::Ask(_) | Step::Delay(_) => {
                self.refuse_tcp(key, Flag::NR, "no_route");
                return false;
            }
        };
        let (destination, service) = self.destination_labels(&pinned.view, plan.cluster, plan.endpoint);
        let up = match self.open_tunnel(key, pinned, plan.cluster, plan.slot) {
            Ok(up) => up,
            Err(details) => {
                self.refuse_tcp(key, Flag::UO, details);
                return false;
            }
        };
        self.state.started(plan.slot);
        let cluster = pinned.view.cluster(plan.cluster);
        let mut record = None;
        if pinned.view.policy().access_log != AccessLog::Off
            && let Some(mut r) = self.take_record()
        {
            r.set(Text::UpstreamCluster, cluster.name.as_bytes());
            r.set(Text::ServerName, server_name);
            r.numbers.rule = plan.rule.0;
            r.numbers.upstream_host = Some(self.state.address(plan.slot));
            record = Some(r);
        }
        let tunnel = Tunnel {
            up,
            connected: false,
            waiting: VecDeque::new(),
            to_up: Flow::default(),
            to_down: Flow::default(),
            start: self.now,
            progress: self.now,
            idle: (idle_ms > 0).then(|| Duration::from_millis(idle_ms)),
            connect_deadline: self.now.after(connect_timeout(pinned, plan.cluster)),
            expires: Life::opaque(&cluster.settings).expires(self.now),
            counted: Some(plan.slot),
            pinned: Some(pinned.clone()),
            attempts: 1,
            cluster: plan.cluster,
            key: plan.key,
            flag: Flag::None,
            http: None,
            source: 0,
            destination,
            service,
            record,
        };
        self.tcp_series(key, &tunnel, |s| add(&s.tcp_opened, 1));
        if let Some(down) = self.downs.get_mut(key) {
            down.phase = Phase::Tunnel(Box::new(tunnel));
        }
        self.arm_down(key);
        true
    }

    /// Starts a tunnel's connect, or says why not.
    fn open_tunnel(&mut self, key: Key, pinned: &Pinned, cluster: u32, slot: Slot) -> Result<Key, &'static str> {
        let life = Life::opaque(&pinned.view.cluster(cluster).settings);
        self.open_at_once(pinned, cluster, slot, UpPhase::Connecting(key), life)
    }

    pub(super) fn refuse_tcp(&mut self, key: Key, flag: Flag, details: &'static str) {
        if self.active.as_ref().is_some_and(|a| a.view.policy().access_log != AccessLog::Off)
            && let Some(mut record) = self.take_record()
        {
            record.set(Text::Details, details.as_bytes());
            record.set(Text::Flags, flag.name().as_bytes());
            record.numbers.start_us = self.wall_us(self.now);
            record.numbers.downstream_remote = self.downs.get(key).map(|d| d.peer);
            self.log(record);
        }
        self.forget_down(key, true);
    }

    /// The 101 is out: both connections carry frames from here on.
    pub(super) fn become_tunnel(&mut self, key: Key, up_key: Key, mut exchange: Box<Exchange>, rest: Buf) {
        exchange.pinned = None;
        exchange.up = None;
        // Only what the client sent after its request may follow; it could not know of the 101, but a WebSocket client may be eager.
        let early_at = self.downs.get(key).map_or(0, |d| d.pipe_at);
        let early = self.take_pipe(key).split_off(early_at);
        let Some(down) = self.downs.get_mut(key) else { return };
        let ended = down.ended;
        let down_sock = down.sock;
        let tunnel = Tunnel {
            up: up_key,
            connected: true,
            waiting: VecDeque::new(),
            to_up: Flow::default(),
            to_down: Flow::default(),
            start: exchange.start,
            progress: self.now,
            idle: None,
            connect_deadline: Time::NEVER,
            expires: Time::NEVER,
            counted: exchange.counted.take(),
            pinned: None,
            attempts: 0,
            cluster: 0,
            key: 0,
            flag: Flag::None,
            source: exchange.source,
            destination: exchange.destination,
            service: exchange.service,
            http: Some(exchange),
            record: None,
        };
        down.phase = Phase::Tunnel(Box::new(tunnel));
        if let Some(up) = self.ups.get_mut(up_key) {
            up.phase = UpPhase::Tunnel(key);
            self.io.hurry(up.sock, true);
            self.io.recv(up.sock, Class::Small, CREDIT);
        }
        self.io.hurry(down_sock, true);
        self.io.recv(down_sock, Class::Small, CREDIT);
        if !rest.is_empty() {
            self.tunnel_from_up(key, rest);
        }
        if !early.is_empty() {
            self.tunnel_from_down(key, Buf::heap(early));
        }
        if ended {
            self.tunnel_ended(key, true, End::Eof);
        }
    }

    pub(super) fn tunnel_connected(&mut self, key: Key, up_key: Key, mut tunnel: Box<Tunnel>) {
        let Some(up) = self.ups.get_mut(up_key) else { return };
        up.phase = UpPhase::Tunnel(key);
        let sock = up.sock;
        tunnel.connected = true;
        tunnel.connect_deadline = Time::NEVER;
        if let Some(slot) = tunnel.counted {
            self.observe(slot, Outcome::Opened);
        }
        tunnel.pinned = None;
        while let Some(buf) = tunnel.waiting.pop_front() {
            self.io.send(sock, Piece::Buf(buf));
        }
        if tunnel.to_up.ended {
            self.io.shutdown(sock);
        }
        if let Some(down) = self.downs.get_mut(key) {
            self.io.recv(down.sock, Class::Small, CREDIT);
            down.phase = Phase::Tunnel(tunnel);
        }
        self.arm_down(key);
    }

    pub(super) fn tunnel_connect_failed(&mut self, key: Key, mut tunnel: Box<Tunnel>, errno: Errno) {
        if let Some(slot) = tunnel.counted {
            self.observe(slot, Outcome::Broken);
        }
        if tunnel.attempts < CONNECT_ATTEMPTS_MAX && self.tunnel_elsewhere(key, &mut tunnel) {
            if let Some(down) = self.downs.get_mut(key) {
                down.phase = Phase::Tunnel(tunnel);
            }
            return self.arm_down(key);
        }
        tunnel.flag = Flag::UF;
        if let Some(record) = &mut tunnel.record {
            record.set(Text::TransportFailure, super::upstream::errno_text(errno).as_bytes());
        }
        self.finish_tunnel(key, tunnel, true);
    }

    pub(super) fn tunnel_connect_timeout(&mut self, key: Key, tunnel: Box<Tunnel>) {
        const ETIMEDOUT: Errno = Errno(110);
        self.close_up(tunnel.up);
        self.tunnel_connect_failed(key, tunnel, ETIMEDOUT);
    }

    fn tunnel_elsewhere(&mut self, key: Key, tunnel: &mut Tunnel) -> bool {
        let (Some(pinned), Some(old)) = (tunnel.pinned.take(), tunnel.counted) else { return false };
        // After a swap the cluster may have another id, or be gone.
        let Some((current, cluster)) = self.current_cluster(&pinned, tunnel.cluster) else { return false };
        let choose = Choose { now: self.now.0, key: tunnel.key, avoid: Some(old) };
        let Some((_, slot)) = pick(&current.view, cluster, &mut self.state, &mut self.dice, choose) else {
            return false;
        };
        let Ok(up) = self.open_tunnel(key, &current, cluster, slot) else { return false };
        self.state.finished(old);
        self.state.started(slot);
        (tunnel.up, tunnel.counted) = (up, Some(slot));
        tunnel.attempts += 1;
        tunnel.connect_deadline = self.now.after(connect_timeout(&current, cluster));
        (tunnel.pinned, tunnel.cluster) = (Some(current), cluster);
        true
    }

    pub(super) fn tunnel_from_down(&mut self, key: Key, buf: Buf) {
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return };
        let Phase::Tunnel(tunnel) = &mut down.phase else { return };
        tunnel.progress = now;
        tunnel.to_up.bytes += buf.len() as u64;
        if !tunnel.connected {
            tunnel.waiting.push_back(buf);
            self.io.recv(down.sock, Class::Small, 0);
            return;
        }
        let Some(up) = self.ups.get(tunnel.up) else { return };
        self.io.send(up.sock, Piece::Buf(buf));
        pace(&mut self.io, &mut tunnel.to_up, down.sock, up.sock);
    }

    pub(super) fn tunnel_from_up(&mut self, key: Key, buf: Buf) {
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return };
        let Phase::Tunnel(tunnel) = &mut down.phase else { return };
        tunnel.progress = now;
        tunnel.to_down.bytes += buf.len() as u64;
        self.io.send(down.sock, Piece::Buf(buf));
        let Some(up) = self.ups.get(tunnel.up) else { return };
        pace(&mut self.io, &mut tunnel.to_down, up.sock, down.sock);
    }

    /// One side took bytes: its source goes on, or the direction is ready to be spliced. `down`: the downstream socket was the sink.
    pub(super) fn tunnel_drained(&mut self, key: Key, down: bool, drained: bool) {
        let now = self.now;
        let Some(conn) = self.downs.get_mut(key) else { return };
        let Phase::Tunnel(tunnel) = &mut conn.phase else { return };
        tunnel.progress = now;
        let Some(up) = self.ups.get(tunnel.up) else { return };
        let (flow, source, sink) =
            if down { (&mut tunnel.to_down, up.sock, conn.sock) } else { (&mut tunnel.to_up, conn.sock, up.sock) };
        if !drained || flow.spliced || !flow.paused {
            return;
        }
        flow.paused = false;
        if flow.splice_wanted && !flow.ended {
            flow.spliced = true;
            self.io.splice(source, sink);
        } else {
            grant(&mut self.io, flow, source);
        }
    }

    pub(super) fn spliced(&mut self, target: Target, bytes: u64) {
        let now = self.now;
        let (key, down) = match target {
            Target::Down(key) => (key, true),
            Target::Up(up) => match self.ups.get(up).map(|u| u.phase) {
                Some(UpPhase::Tunnel(key)) => (key, false),
                _ => return,
            },
            Target::Listener(_) => return,
        };
        let Some(conn) = self.downs.get_mut(key) else { return };
        let Phase::Tunnel(tunnel) = &mut conn.phase else { return };
        tunnel.progress = now;
        let flow = if down { &mut tunnel.to_up } else { &mut tunnel.to_down };
        flow.bytes += bytes;
    }

    /// FIN or an error from one side. `down`: from the client.
    pub(super) fn tunnel_ended(&mut self, key: Key, down: bool, end: End) {
        let now = self.now;
        let Some(conn) = self.downs.get_mut(key) else { return };
        let Phase::Tunnel(mut tunnel) = std::mem::replace(&mut conn.phase, Phase::Away) else { return };
        tunnel.progress = now;
        if let End::Error(_) = end {
            tunnel.flag = if down { Flag::DC } else { Flag::UC };
            return self.finish_tunnel(key, tunnel, true);
        }
        if down {
            tunnel.to_up.ended = true;
            if tunnel.connected
                && let Some(up) = self.ups.get(tunnel.up)
                && !is_planted(Bug::FinNotForwarded)
            {
                self.io.shutdown(up.sock);
            }
        } else {
            tunnel.to_down.ended = true;
            self.io.shutdown(conn.sock);
        }
        if tunnel.to_up.ended && tunnel.to_down.ended {
            return self.end_tunnel(key, tunnel);
        }
        if let Some(conn) = self.downs.get_mut(key) {
            conn.phase = Phase::Tunnel(tunnel);
        }
    }

    pub(super) fn tunnel_send_failed(&mut self, key: Key, down: bool) {
        let Some(conn) = self.downs.get_mut(key) else { return };
        let Phase::Tunnel(mut tunnel) = std::mem::replace(&mut conn.phase, Phase::Away) else { return };
        tunnel.flag = if down { Flag::DC } else { Flag::UC };
        self.finish_tunnel(key, tunnel, true);
    }

    /// Both sides have said FIN, or nothing has moved for too long: closes after what is queued was sent.
    pub(super) fn end_tunnel(&mut self, key: Key, tunnel: Box<Tunnel>) {
        self.finish_tunnel(key, tunnel, false);
    }

    /// The drain is over, or the listener is gone.
    pub(super) fn cut_tunnel(&mut self, key: Key) {
        let Some(conn) = self.downs.get_mut(key) else { return };
        if let Phase::Tunnel(tunnel) = std::mem::replace(&mut conn.phase, Phase::Away) {
            self.finish_tunnel(key, tunnel, false);
        }
    }

    fn finish_tunnel(&mut self, key: Key, mut tunnel: Box<Tunnel>, reset: bool) {
        if let Some(slot) = tunnel.counted.take() {
            self.state.finished(slot);
        }
        self.account_tunnel(key, &mut tunnel);
        tunnel.waiting.clear();
        if let Some(up) = self.ups.get(tunnel.up) {
            let (sock, unsent) = (up.sock, self.io.queued(up.sock) > 0);
            match (reset, unsent) {
                (true, _) => {
                    self.io.reset(sock);
                    self.close_up(tunnel.up);
                }
                (false, true) => self.io.shutdown(sock),
                (false, false) => self.close_up(tunnel.up),
            }
            // Unsent bytes: the connection stays, nobody's, until they are taken.
            if let Some(up) = self.ups.get_mut(tunnel.up) {
                up.phase = UpPhase::Closing;
                up.since = self.now;
                (up.life.idle, up.expires) = (Some(CLOSING_IDLE_MAX), Time::NEVER);
                self.arm_up(tunnel.up);
            }
        }
        if reset {
            if let Some(mut down) = self.downs.remove(key) {
                if let Some((timer, _)) = down.timer.take() {
                    self.timers.cancel(timer);
                }
                self.io.reset(down.sock);
            }
            return;
        }
        if let Some(down) = self.downs.get_mut(key) {
            down.ended |= tunnel.to_up.ended;
        }
        self.end_down(key);
    }

    fn account_tunnel(&mut self, key: Key, tunnel: &mut Tunnel) {
        if let Some(mut exchange) = tunnel.http.take() {
            exchange.bytes_sent = tunnel.to_down.bytes;
            exchange.flag = tunnel.flag;
            self.account(key, &mut exchange);
            return self.keep_exchange(exchange);
        }
        let (sent, received) = (tunnel.to_down.bytes, tunnel.to_up.bytes);
        self.tcp_series(key, tunnel, |s| {
            add(&s.tcp_closed, 1);
            add(&s.tcp_sent, sent);
            add(&s.tcp_received, received);
        });
        if let Some(mut record) = tunnel.record.take() {
            record.set(Text::Flags, tunnel.flag.name().as_bytes());
            let numbers = &mut record.numbers;
            numbers.start_us = self.wall_us(tunnel.start);
            numbers.duration_us = self.now.since(tunnel.start) / 1000;
            numbers.upstream_service_us = u64::MAX;
            (numbers.bytes_received, numbers.bytes_sent) = (received, sent);
            if let Some(down) = self.downs.get(key) {
                numbers.downstream_remote = Some(down.peer);
            }
            self.log(record);
        }
    }

    fn tcp_series(&mut self, key: Key, tunnel: &Tunnel, write: impl FnOnce(&crate::telemetry::series::Series)) {
        let Some(role) = self.downs.get(key).map(|d| d.role) else { return };
        let series_key = SeriesKey {
            reporter: if role == Role::Inbound { Reporter::Destination } else { Reporter::Source },
            protocol: Protocol::Tcp,
            flag: Flag::None,
            code: 0,
            source: tunnel.source,
            destination: tunnel.destination,
            service: tunnel.service,
        };
        let (own, names) = (self.labels.own, &self.names);
        write(self.series.cells(series_key, || series_labels(names, series_key, role, own)));
    }
}

fn connect_timeout(pinned: &Pinned, cluster: u32) -> Duration {
    let ms = pinned.view.cluster(cluster).settings.connect_timeout_ms;
    Duration::from_millis(if ms == 0 { 10_000 } else { ms.into() })
}

/// After bytes were queued on `sink`: pauses `source` if the sink does not keep up, or on the way to splicing; grants credit otherwise.
fn pace<I: Io>(io: &mut I, flow: &mut Flow, source: Sock, sink: Sock) {
    if flow.spliced {
        return;
    }
    let high = if flow.bytes > BULK_AFTER { QUEUE_HIGH_BULK } else { QUEUE_HIGH };
    flow.splice_wanted |= flow.bytes > SPLICE_AFTER;
    if flow.splice_wanted || io.queued(sink) > high {
        flow.paused = true;
        io.recv(source, Class::Small, 0);
    } else {
        grant(io, flow, source);
    }
}

fn grant<I: Io>(io: &mut I, flow: &Flow, source: Sock) {
    if flow.bytes > BULK_AFTER {
        io.recv(source, Class::Bulk, CREDIT_BULK)
    } else {
        io.recv(source, Class::Small, CREDIT)
    }
}
