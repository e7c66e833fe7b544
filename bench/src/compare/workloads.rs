//! What the contenders are put to, as a table.

use crate::scenario::Scenario;

/// A load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// How it is chosen.
    pub name: &'static str,
    /// Connections of clients.
    pub connections: usize,
    /// Body of each reply.
    pub reply_bytes: usize,
    /// Requests per second, or as fast as they are answered.
    pub rate: Option<f64>,
    /// A connection for every request.
    pub new_connections: bool,
    /// The proxy forwards bytes and does not look into them.
    pub tcp: bool,
    /// Run when none is named.
    pub usual: bool,
}

const KEPT: Workload = Workload {
    name: "",
    connections: 64,
    reply_bytes: 128,
    rate: None,
    new_connections: false,
    tcp: false,
    usual: false,
};

/// All of them.
pub const WORKLOADS: [Workload; 11] = [
    Workload { name: "keepalive-64", usual: true, ..KEPT },
    Workload { name: "keepalive-16", connections: 16, usual: true, ..KEPT },
    Workload { name: "keepalive-256", connections: 256, usual: true, ..KEPT },
    Workload { name: "large-16", connections: 16, reply_bytes: 64 << 10, usual: true, ..KEPT },
    Workload { name: "one-connection", connections: 1, ..KEPT },
    Workload { name: "rate-1000", rate: Some(1_000.0), ..KEPT },
    Workload { name: "rate-15000", rate: Some(15_000.0), ..KEPT },
    Workload { name: "new-connections", new_connections: true, ..KEPT },
    Workload { name: "tcp-64", tcp: true, ..KEPT },
    Workload { name: "tcp-bulk", connections: 4, reply_bytes: 8 << 20, tcp: true, ..KEPT },
    Workload { name: "tcp-new-connections", new_connections: true, tcp: true, ..KEPT },
];

impl Workload {
    /// By name.
    pub fn named(name: &str) -> Result<Workload, String> {
        WORKLOADS.into_iter().find(|workload| workload.name == name).ok_or_else(|| {
            let names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
            format!("no workload `{name}`: {}", names.join(", "))
        })
    }

    /// For people.
    pub fn describe(&self) -> String {
        let kept =
            if self.new_connections { "a new connection per request, which the client ends" } else { "kept alive" };
        let pace = self.rate.map_or("closed loop".to_string(), |rate| format!("{rate} requests/s"));
        let bytes = crate::report::bytes(self.reply_bytes as u64);
        let connections = if self.connections == 1 { "connection" } else { "connections" };
        let over = if self.tcp { "opaque TCP" } else { "HTTP/1.1" };
        format!("{over}, {} {connections}, {kept}, replies of {bytes}, {pace}", self.connections)
    }

    /// Against a proxy on this port.
    pub fn scenario(&self, port: u16, duration: &str, warmup: &str) -> Scenario {
        Scenario {
            url: Some(format!("http://127.0.0.1:{port}/{}", self.reply_bytes)),
            rate: self.rate,
            closed: Some(self.rate.is_none()),
            connections: Some(self.connections),
            new_connections: Some(self.new_connections),
            duration: Some(duration.to_string()),
            warmup: Some(warmup.to_string()),
            // The client ends its connections itself: a forwarder that passes `close` on would lose its pooled connection by it.
            headers: [("Connection".to_string(), "keep-alive".to_string())].into(),
            ..Scenario::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_a_name_of_its_own_and_a_sound_plan() {
        for (n, workload) in WORKLOADS.iter().enumerate() {
            assert!(!workload.name.is_empty() && WORKLOADS[..n].iter().all(|other| other.name != workload.name));
            workload.scenario(80, "1s", "1s").plan().unwrap();
        }
        assert!(Workload::named("keepalive").unwrap_err().contains("keepalive-64"));
    }
}
