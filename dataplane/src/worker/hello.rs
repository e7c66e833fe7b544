//! TLS that is not terminated: waits for the ClientHello, lets its server name choose where the connection goes, and hands the very bytes on.

use ringway_config::model::ListenerProtocol;
use ringway_engine::slab::Key;
use ringway_engine::{Buf, Class, Io};
use ringway_http::client_hello::{self, Hello, ServerName};
use ringway_policy::{Connection, Step, decide_tls};

use super::Worker;
use super::connection::{CREDIT, Phase};
use crate::telemetry::Flag;

impl<I: Io> Worker<I> {
    /// Bytes of a connection whose ClientHello is not whole. Its limit bounds what is held; what it costs to look is bounded by looking only when
    /// there is as much as was missing.
    pub(super) fn hello_received(&mut self, key: Key, buf: Buf) {
        if !self.hold(key, &buf) {
            return;
        }
        drop(buf);
        let mut scratch = std::mem::take(&mut self.scratch.hello);
        if let Some(down) = self.downs.get_mut(key)
            && let Phase::Hello { wanted } = &mut down.phase
        {
            let read = match *wanted > down.pipe.len() {
                true => Ok(Hello::Partial { bytes: *wanted }),
                false => client_hello::parse(&down.pipe, &mut scratch),
            };
            match read {
                Ok(Hello::Partial { bytes }) => {
                    *wanted = bytes;
                    self.io.recv(down.sock, Class::Small, CREDIT);
                }
                Ok(Hello::Complete(name)) => self.start_tls(key, name),
                Err(error) => self.refuse_tcp(key, Flag::DPE, error.name()),
            }
        }
        self.scratch.hello = scratch;
    }

    fn start_tls(&mut self, key: Key, name: Option<ServerName>) {
        let Some(pinned) = self.active.clone() else { return self.refuse_tcp(key, Flag::NR, "no_config") };
        let Some(down) = self.downs.get(key) else { return };
        let (listener, client) = (pinned.listener(down.listener), down.peer.ip());
        let Some(listener) = listener else { return self.refuse_tcp(key, Flag::NR, "listener_removed") };
        let name = name.as_ref().map(ServerName::as_bytes);
        let connection = Connection { listener, client, now: self.now.0 };
        let step = decide_tls(&pinned.view, connection, name, &mut self.state, &mut self.dice, &mut ());
        let idle_ms = match (&pinned.view.listeners()[listener as usize].protocol, &step) {
            (ListenerProtocol::Tls { routes }, Step::Forward(plan)) => routes[plan.route as usize].idle_timeout_ms,
            _ => 0,
        };
        let early = Buf::heap(self.take_pipe(key));
        if self.start_tunnel(key, &pinned, step, idle_ms, name.unwrap_or_default()) {
            self.tunnel_from_down(key, early);
        }
    }
}
