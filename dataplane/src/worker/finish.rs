//! The end of an exchange: what is counted and logged, and what its connections do next.

use ringway_engine::io::End;
use ringway_engine::slab::Key;
use ringway_engine::{Class, Errno, Io};

use super::Worker;
use super::connection::{CREDIT, Phase};
use super::exchange::{Exchange, Response};
use crate::messages::FromWorker;
use crate::telemetry::Flag;
use crate::telemetry::record::{Record, Text};
use crate::telemetry::series::{Labels, Protocol, Reporter, SeriesKey};
use ringway_config::model::Role;

impl<I: Io> Worker<I> {
    /// Everything of the response is queued: counts, releases the upstream, and goes on with the connection or ends it.
    pub(super) fn finish(&mut self, key: Key, mut exchange: Box<Exchange>) {
        let keep = exchange.keep_downstream && exchange.request_done;
        self.account(key, &mut exchange);
        self.detach(&mut exchange);
        self.keep_exchange(exchange);
        if keep && self.drain.is_none() {
            self.next_request(key);
        } else {
            self.end_down(key);
        }
    }

    fn next_request(&mut self, key: Key) {
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return };
        down.phase = Phase::Idle;
        down.since = now;
        if !down.pipe.is_empty() || down.ended {
            // Pipelined bytes may be out of `pipe` at this moment: whether the connection is over is seen when they are back.
            self.ready.push(key);
        } else {
            self.io.recv(down.sock, Class::Small, CREDIT);
        }
        self.arm_down(key);
    }

    /// FIN after what is queued; then waits a while for the client's, so that what it still sends does not reset what it still reads.
    pub(super) fn end_down(&mut self, key: Key) {
        let now = self.now;
        let Some(down) = self.downs.get_mut(key) else { return };
        if down.ended && self.io.queued(down.sock) == 0 {
            return self.close_down(key);
        }
        down.phase = Phase::Linger;
        down.since = now;
        self.io.shutdown(down.sock);
        self.io.recv(down.sock, Class::Small, CREDIT);
        let pipe = self.take_pipe(key);
        self.keep_bytes(pipe);
        self.arm_down(key);
    }

    /// Cuts both sides: the client gets a reset, because what it received is not whole.
    pub(super) fn abort(&mut self, key: Key, mut exchange: Box<Exchange>, flag: Flag, details: &'static str) {
        exchange.flag = flag;
        exchange.keep_upstream = false;
        if let Some(record) = &mut exchange.record {
            record.set(Text::Details, details.as_bytes());
        }
        let started = exchange.response != Response::Awaited { interim: 0 };
        self.account(key, &mut exchange);
        self.detach(&mut exchange);
        self.keep_exchange(exchange);
        self.forget_down(key, started);
    }

    /// Ends a connection that costs too much, whatever it is doing.
    pub(super) fn cut_down(&mut self, key: Key, flag: Flag, details: &'static str) {
        let Some(down) = self.downs.get_mut(key) else { return };
        match std::mem::replace(&mut down.phase, Phase::Away) {
            Phase::Busy(exchange) => self.abort(key, exchange, flag, details),
            _ => self.close_down(key),
        }
    }

    pub(super) fn close_down(&mut self, key: Key) {
        self.forget_down(key, false);
    }

    pub(super) fn forget_down(&mut self, key: Key, reset: bool) {
        let pipe = self.take_pipe(key);
        self.keep_bytes(pipe);
        let Some(mut down) = self.downs.remove(key) else { return };
        if let Some((timer, _)) = down.timer.take() {
            self.timers.cancel(timer);
        }
        if reset {
            self.io.reset(down.sock)
        } else {
            self.io.close(down.sock)
        }
        if let Phase::Busy(mut exchange) = down.phase {
            exchange.keep_upstream = false;
            self.detach(&mut exchange);
            self.keep_exchange(exchange);
        }
    }

    pub(super) fn down_ended(&mut self, key: Key, end: End) {
        let Some(down) = self.downs.get_mut(key) else { return };
        down.ended = true;
        match std::mem::replace(&mut down.phase, Phase::Away) {
            // A half-closed client still gets its answers: the running one and those it pipelined.
            Phase::Busy(exchange) if end == End::Eof && exchange.request_done => down.phase = Phase::Busy(exchange),
            Phase::Busy(exchange) => self.abort(key, exchange, Flag::DC, "downstream_remote_disconnect"),
            Phase::Tunnel(tunnel) => {
                down.phase = Phase::Tunnel(tunnel);
                self.tunnel_ended(key, true, end);
            }
            Phase::Idle if end == End::Eof && !down.pipe.is_empty() => down.phase = Phase::Idle,
            Phase::Parked if end == End::Eof => down.phase = Phase::Parked,
            Phase::Delayed(until) if end == End::Eof => down.phase = Phase::Delayed(until),
            Phase::Linger if end == End::Eof && self.io.queued(down.sock) > 0 => down.phase = Phase::Linger,
            // The last answer may not have left yet.
            Phase::Idle | Phase::Head if end == End::Eof => self.end_down(key),
            _ => self.close_down(key),
        }
    }

    pub(super) fn down_send_failed(&mut self, key: Key, errno: Errno) {
        let Some(down) = self.downs.get_mut(key) else { return };
        match std::mem::replace(&mut down.phase, Phase::Away) {
            Phase::Busy(exchange) if errno == Errno::OVERCOMMIT => {
                self.abort(key, exchange, Flag::OM, "overload_send_buffer")
            }
            Phase::Busy(exchange) => self.abort(key, exchange, Flag::DC, "downstream_remote_disconnect"),
            Phase::Tunnel(tunnel) => {
                down.phase = Phase::Tunnel(tunnel);
                self.tunnel_send_failed(key, true);
            }
            _ => self.close_down(key),
        }
    }

    /// Metric cells and the access-log record.
    pub(super) fn account(&mut self, key: Key, exchange: &mut Exchange) {
        let end = self.io.clock();
        self.count(|s| &s.requests);
        let Some(role) = self.downs.get(key).map(|d| d.role) else { return };
        let duration = end.since(exchange.start);
        let request_bytes = exchange.request_body.data_bytes();
        let series_key = SeriesKey {
            reporter: if role == Role::Inbound { Reporter::Destination } else { Reporter::Source },
            protocol: Protocol::Http,
            flag: exchange.flag,
            code: exchange.status,
            source: exchange.source,
            destination: exchange.destination,
            service: exchange.service,
        };
        let own = self.labels.own;
        let names = &self.names;
        self.series.cells(series_key, || series_labels(names, series_key, role, own)).http(
            duration,
            request_bytes,
            exchange.bytes_sent,
        );
        if let Some(mut record) = exchange.record.take() {
            record.set(Text::Flags, exchange.flag.name().as_bytes());
            if record.get(Text::Details).is_empty() && exchange.status != 0 {
                record.set(Text::Details, b"via_upstream");
            }
            let numbers = &mut record.numbers;
            numbers.start_us = self.wall_us(exchange.start);
            numbers.duration_us = duration / 1000;
            numbers.upstream_service_us = if exchange.upstream_head.0 > 0 {
                exchange.upstream_head.since(exchange.start) / 1000
            } else {
                u64::MAX
            };
            numbers.bytes_received = request_bytes;
            numbers.bytes_sent = exchange.bytes_sent;
            numbers.status = exchange.status;
            self.log(record);
        }
    }

    /// A record to fill, or none when housekeeping is so far behind that all are with it.
    pub(super) fn take_record(&mut self) -> Option<Box<Record>> {
        if let Some(mut record) = self.spare_records.pop() {
            record.clear();
            return Some(record);
        }
        if self.records_made >= self.limits.records_max {
            self.count(|s| &s.log_records_dropped);
            return None;
        }
        self.records_made += 1;
        Some(Box::default())
    }

    pub(super) fn log(&mut self, record: Box<Record>) {
        if let Err(FromWorker::Log(record)) = self.wiring.house.send(FromWorker::Log(record)) {
            self.spare_records.push(record);
            self.count(|s| &s.log_records_dropped);
        }
    }
}

/// The words behind a series' numbers. Which side is "we" follows from the listener's role.
pub(super) fn series_labels(names: &crate::telemetry::names::Names, key: SeriesKey, role: Role, own: u16) -> Labels {
    let (source, destination) = if role == Role::Inbound { (key.source, own) } else { (own, key.destination) };
    Labels {
        reporter: key.reporter,
        protocol: key.protocol,
        flag: key.flag,
        code: key.code,
        source: names.workload_of(source),
        destination: names.workload_of(destination),
        service: names.service_of(key.service),
    }
}
