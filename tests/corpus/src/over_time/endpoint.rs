//! An endpoint that does as it is told.

use super::NAMESPACE;
use crate::message::ORIGIN;
use ringway_tests::harness::{Reply, Upstream};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

/// A server that says who it is.
pub struct Endpoint {
    name: String,
    app: String,
    locality: String,
    upstream: Upstream,
    manner: Arc<Manner>,
}

/// What it does, and what it did.
struct Manner {
    status: AtomicU16,
    asked: AtomicUsize,
    holds: Mutex<bool>,
    let_go: Condvar,
}

impl Endpoint {
    pub(super) fn start(name: &str, app: &str, locality: &str) -> Endpoint {
        let manner = Arc::new(Manner {
            status: AtomicU16::new(200),
            asked: AtomicUsize::new(0),
            holds: Mutex::new(false),
            let_go: Condvar::new(),
        });
        let upstream = Upstream::serve({
            let manner = manner.clone();
            let name = name.to_owned();
            move |_| {
                manner.asked.fetch_add(1, SeqCst);
                drop(manner.let_go.wait_while(manner.holds.lock().unwrap(), |holds| *holds).unwrap());
                let status = manner.status.load(SeqCst);
                Reply::raw(format!("HTTP/1.1 {status} Any\r\n{ORIGIN}: {name}\r\nContent-Length: 0\r\n\r\n"))
            }
        });
        Endpoint { name: name.into(), app: app.into(), locality: locality.into(), upstream, manner }
    }

    /// The pod's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// Answers with this status from now on.
    pub fn say(&self, status: u16) {
        self.manner.status.store(status, SeqCst);
    }

    /// Answers nothing from now on, until it is let go.
    pub fn hold(&self) {
        *self.manner.holds.lock().unwrap() = true;
    }

    /// Answers what it held back.
    pub fn let_go(&self) {
        *self.manner.holds.lock().unwrap() = false;
        self.manner.let_go.notify_all();
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.manner.asked.load(SeqCst)
    }

    pub(super) fn reset(&self) {
        self.let_go();
        self.say(200);
        self.manner.asked.store(0, SeqCst);
    }

    pub(super) fn pod(&self) -> Value {
        crate::generate::pod(
            &self.name,
            NAMESPACE,
            json!({"app": self.app, "topology.istio.io/locality": self.locality, "sidecar.istio.io/inject": "false"}),
        )
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.let_go();
    }
}
