//! The endpoints of all meshes: servers that say who they are and what they saw.

use crate::generate::ENDPOINTS_MAX;
use crate::message::ORIGIN;
use ringway_tests::harness::Upstream;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;

/// Headers of every endpoint's answer that rules may edit.
pub const REPLY: [(&str, &str); 3] =
    [("x-gone", "origin"), ("x-set", "origin"), ("access-control-allow-origin", "origin")];

/// Pod name → where it is reached.
pub type Addresses = BTreeMap<String, SocketAddr>;

/// As many servers as a mesh has endpoints; every mesh uses them anew.
pub struct Origins(Vec<Upstream>);

impl Origins {
    /// Starts them.
    pub fn start() -> Origins {
        Origins((0..ENDPOINTS_MAX).map(|_| origin()).collect())
    }

    /// Gives each pod of these manifests one.
    pub fn addresses(&self, documents: &[Value]) -> Addresses {
        let pods = documents.iter().filter(|document| document["kind"] == "Pod");
        let names = pods.filter_map(|pod| pod["metadata"]["name"].as_str()).filter(|name| *name != "caller");
        names.zip(&self.0).map(|(name, origin)| (name.to_owned(), origin.address())).collect()
    }
}

fn origin() -> Upstream {
    let own = std::sync::Arc::new(OnceLock::<String>::new());
    let upstream = Upstream::script({
        let own = own.clone();
        move |conn| {
            while let Ok(Some(mut request)) = conn.request_head() {
                if conn.request_body(&mut request).is_err() {
                    return;
                }
                let mut answer = format!("HTTP/1.1 200 OK\r\n{ORIGIN}: {}\r\n", own.wait());
                for (name, value) in REPLY {
                    answer.push_str(&format!("{name}: {value}\r\n"));
                }
                answer.push_str(&format!("Content-Length: {}\r\n\r\n{}", request.head.len(), request.text()));
                if conn.wire.try_send(answer).is_err() {
                    return;
                }
            }
        }
    });
    own.set(upstream.address().to_string()).unwrap_or_else(|_| unreachable!("set once"));
    upstream
}
