//! Clients that keep asking through a gateway, each on one connection that must never be closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringway_tests::harness::Client;

/// One answer: when it was asked for, and who gave it.
pub struct Answer {
    pub asked: Instant,
    pub version: String,
}

/// A constant load.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Answer>>>,
}

impl Load {
    /// `connections` clients, each asking once in `pace`. `version` reads who answered; it panics on what is no good answer.
    pub fn start(
        gateway: SocketAddr,
        path: &'static str,
        connections: u32,
        pace: Duration,
        version: fn(&serde_json::Value) -> String,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..connections)
            .map(|n| {
                let stop = stop.clone();
                // Spread over the pace, so that the load is constant.
                let first = Instant::now() + pace * n / connections;
                std::thread::spawn(move || client(gateway, path, first, pace, &stop, version))
            })
            .collect();
        Load { stop, clients }
    }

    /// Ends the load. Panics when any client met a failure.
    pub fn finish(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in self.clients {
            all.extend(client.join().expect("no client of the load failed"));
        }
        all
    }
}

fn client(
    gateway: SocketAddr,
    path: &str,
    mut next: Instant,
    pace: Duration,
    stop: &AtomicBool,
    version: fn(&serde_json::Value) -> String,
) -> Vec<Answer> {
    let mut client = Client::connect(gateway);
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // The pace of the load, not a wait for something to happen.
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += pace;
        let asked = Instant::now();
        let response = client.get("shop.example", path);
        assert_eq!(response.status, 200, "{response:?} {}", response.text());
        assert!(!response.closes(), "the gateway closes a connection: {response:?}");
        answers.push(Answer { asked, version: version(&response.json()) });
    }
    answers
}

/// Asserts that `hits` of `total` fit a share, within `sigmas` standard deviations.
pub fn assert_share(hits: usize, total: usize, share: f64, sigmas: f64) {
    let expected = total as f64 * share;
    let deviation = (total as f64 * share * (1.0 - share)).sqrt();
    let off = (hits as f64 - expected).abs() / deviation;
    assert!(off <= sigmas, "{hits} of {total} are {off:.1} standard deviations off {expected:.0}");
}
