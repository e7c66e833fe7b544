//! The endpoints of all meshes: servers that say who they are and what they saw, and that fail when a request asks for it.

use crate::generate::request::{CASE, Fail, What};
use crate::generate::{ENDPOINTS_MAX, endpoints_named, service_entry};
use crate::message::{Head, ORIGIN};
use crate::mirrors::SHADOW;
use ringway_tests::harness::dns::{Dns, Says};
use ringway_tests::harness::{Conn, Upstream, until};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};

/// Headers of every endpoint's answer that rules may edit.
pub const REPLY: [(&str, &str); 3] =
    [("x-gone", "origin"), ("x-set", "origin"), ("access-control-allow-origin", "origin")];

/// Longer than any run.
const NAMES_LIVE_S: u32 = 86_400;

/// Pod name → where it is reached.
pub type Addresses = BTreeMap<String, SocketAddr>;

/// As many servers as a mesh has endpoints; every mesh uses them anew.
pub struct Origins {
    servers: Vec<Upstream>,
    dns: Dns,
    seen: Arc<Seen>,
}

/// What endpoints saw of each request.
#[derive(Default)]
struct Seen(Mutex<HashMap<String, Sight>>);

#[derive(Default)]
struct Sight {
    tries: usize,
    copies: Vec<Copied>,
}

/// A copy of a request, as an endpoint of a mirror saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Which endpoint.
    pub address: SocketAddr,
    /// What it saw.
    pub head: Head,
}

impl Origins {
    /// Starts them.
    pub fn start() -> Origins {
        let seen = Arc::<Seen>::default();
        let dns = Dns::start();
        for name in service_entry::names().into_iter().chain(["localhost".to_owned()]) {
            dns.say(&name, Says::Addresses(vec![Ipv4Addr::LOCALHOST.into()], NAMES_LIVE_S));
        }
        Origins { servers: (0..ENDPOINTS_MAX).map(|_| origin(seen.clone())).collect(), dns, seen }
    }

    /// The server that knows the names of those outside: all of them are here.
    pub fn dns(&self) -> SocketAddr {
        self.dns.address()
    }

    /// Gives each pod of these manifests one, and each endpoint whose port they name.
    pub fn addresses(&self, documents: &[Value]) -> Addresses {
        let pods = documents.iter().filter(|document| document["kind"] == "Pod");
        let names = pods.filter_map(|pod| pod["metadata"]["name"].as_str()).filter(|name| *name != "caller");
        let names = names.chain(documents.iter().flat_map(endpoints_named));
        names.zip(&self.servers).map(|(name, origin)| (name.to_owned(), origin.address())).collect()
    }

    /// How many tries of a request there were since this was asked last.
    pub fn take_tries(&self, case: &str) -> usize {
        self.seen.0.lock().unwrap().get_mut(case).map_or(0, |sight| std::mem::take(&mut sight.tries))
    }

    /// The copies of a request that have come since this was asked last. Waits for `wanted` of them.
    pub fn take_copies(&self, case: &str, wanted: usize) -> Vec<Copied> {
        until("the copies for mirrors", || {
            let mut seen = self.seen.0.lock().unwrap();
            let Some(sight) = seen.get_mut(case) else { return (wanted == 0).then(Vec::new) };
            (sight.copies.len() >= wanted).then(|| std::mem::take(&mut sight.copies))
        })
    }

    /// Forgets everything, and tells the copies that nobody asked for.
    pub fn take_rest(&self) -> Vec<Copied> {
        self.seen.0.lock().unwrap().drain().flat_map(|(_, sight)| sight.copies).collect()
    }
}

impl Seen {
    /// Notes a request; what it asks for, if it is to fail.
    fn note(&self, request: &ringway_tests::harness::Request, own: &str) -> Option<What> {
        let case = request.header(CASE).unwrap_or_default().to_owned();
        let host = request.header("host").unwrap_or_default();
        let is_copy = host.split(':').next().is_some_and(|name| name.ends_with(SHADOW));
        let mut seen = self.0.lock().unwrap();
        let sight = seen.entry(case).or_default();
        if is_copy {
            let address = own.parse().unwrap_or_else(|e| panic!("{own}: {e}"));
            sight.copies.push(Copied { address, head: Head::parse(&request.text()) });
            return None;
        }
        sight.tries += 1;
        Fail::of(&request.headers).filter(|fail| sight.tries <= fail.times).map(|fail| fail.what)
    }
}

fn origin(seen: Arc<Seen>) -> Upstream {
    let own = Arc::new(OnceLock::<String>::new());
    let upstream = Upstream::script({
        let own = own.clone();
        move |conn| while answer(conn, &seen, own.wait()) {}
    });
    own.set(upstream.address().to_string()).unwrap_or_else(|_| unreachable!("set once"));
    upstream
}

/// Answers the next request; whether the connection goes on.
fn answer(conn: &mut Conn, seen: &Seen, own: &str) -> bool {
    let Ok(Some(mut request)) = conn.request_head() else { return false };
    if conn.request_body(&mut request).is_err() {
        return false;
    }
    let (status, more) = match seen.note(&request, own) {
        Some(What::Cut) => {
            // The connection ends when the script does.
            drop(conn.wire.try_send("HTTP/1.1 20"));
            return false;
        }
        Some(What::Status(status)) => (status, String::new()),
        Some(What::Grpc(code)) => (200, format!("grpc-status: {code}\r\n")),
        None => (200, String::new()),
    };
    let mut answer = format!("HTTP/1.1 {status} Any\r\n{ORIGIN}: {own}\r\n{more}");
    for (name, value) in REPLY {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str(&format!("Content-Length: {}\r\n\r\n{}", request.head.len(), request.text()));
    conn.wire.try_send(answer).is_ok()
}
