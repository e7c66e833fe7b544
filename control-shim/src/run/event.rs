//! What happens in a run, as it is told to people and programs.

use super::traffic::Flow;
use crate::diagnostic::Diagnostic;
use crate::mesh::{Mesh, Pod};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Something worth telling.
#[derive(Clone, Debug)]
pub enum Event {
    /// A finding about the manifests, or about where things listen.
    Diagnostic(Diagnostic),
    /// Everything runs.
    Ready(Box<Ready>),
    /// An edit is in force in every proxy.
    Applied(Applied),
    /// An edit changed nothing that a proxy would notice.
    Unchanged,
    /// A proxy did not take a config, or did not answer in time.
    NotApplied {
        /// `namespace/pod`.
        node: String,
        /// Why.
        reason: String,
    },
    /// A child process ended although nobody asked it to; it is started again.
    Ended {
        /// `namespace/pod`.
        node: String,
        /// `sidecar`, `gateway` or `command`.
        what: &'static str,
        /// How it ended.
        how: String,
        /// Its last words.
        last_lines: Vec<String>,
        /// Milliseconds until it is started again.
        again_in_ms: u64,
    },
    /// A pod came or went by an edit.
    Pod {
        /// `namespace/pod`.
        node: String,
        /// It came, or it went.
        added: bool,
    },
    /// A line that a pod's command, or a proxy's access log, wrote.
    Line {
        /// `namespace/pod`.
        node: String,
        /// `access-log`, `proxy` or `command`.
        what: &'static str,
        /// The line.
        text: String,
    },
    /// Who called whom in the last interval.
    Traffic(Vec<Flow>),
    /// The end has begun.
    Stopping,
    /// Everything has ended.
    Stopped,
}

/// A mesh that runs.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Milliseconds since the start.
    pub ms: u64,
    /// `127.60.0.0/16`.
    pub network: String,
    /// `uring` or `epoll`.
    pub backend: String,
    /// Doors.
    pub gateways: Vec<Door>,
    /// Everything that runs.
    pub pods: Vec<PodReport>,
    /// Whether to print the pods' ports.
    pub list_ports: bool,
}

/// A gateway's port.
#[derive(Clone, Debug)]
pub struct Door {
    /// `namespace/pod`.
    pub node: String,
    /// Port in the manifest.
    pub port: u16,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// One pod of a running mesh.
#[derive(Clone, Debug)]
pub struct PodReport {
    /// The pod.
    pub pod: Pod,
    /// Admin socket of its proxy; empty without one.
    pub admin: String,
    /// Process id of its proxy.
    pub pid: Option<u32>,
}

/// An edit that is in force.
#[derive(Clone, Debug)]
pub struct Applied {
    /// `incarnation.sequence`.
    pub order: String,
    /// Milliseconds from seeing the edit to the last proxy's answer.
    pub ms: f64,
    /// Proxies that answered.
    pub proxies: usize,
    /// What changed, a line each.
    pub changes: Vec<String>,
}

/// The doors of a mesh.
pub fn doors(mesh: &Mesh) -> Vec<Door> {
    let door =
        |pod: &Pod, (port, address): (&u16, &SocketAddr)| Door { node: pod.node(), port: *port, address: *address };
    let mut doors: Vec<Door> =
        mesh.pods.iter().flat_map(|pod| pod.gateway.iter().map(move |entry| door(pod, entry))).collect();
    doors.sort_by_key(|door| door.port);
    doors
}

impl Event {
    /// One JSON object, for `--output json`.
    pub fn to_json(&self) -> Value {
        match self {
            Event::Diagnostic(diagnostic) => {
                let mut json = json!({"event": "diagnostic"});
                if let (Value::Object(all), Value::Object(fields)) = (&mut json, diagnostic.to_json()) {
                    all.extend(fields);
                }
                json
            }
            Event::Ready(ready) => ready.to_json(),
            Event::Applied(applied) => json!({
                "event": "applied", "order": applied.order, "ms": applied.ms, "proxies": applied.proxies, "changes": applied.changes,
            }),
            Event::Unchanged => json!({"event": "unchanged"}),
            Event::NotApplied { node, reason } => json!({"event": "not-applied", "node": node, "reason": reason}),
            Event::Ended { node, what, how, last_lines, again_in_ms } => json!({
                "event": "ended", "node": node, "what": what, "how": how, "last_lines": last_lines, "again_in_ms": again_in_ms,
            }),
            Event::Pod { node, added } => {
                json!({"event": if *added { "pod-added" } else { "pod-removed" }, "node": node})
            }
            Event::Line { node, what, text } => json!({"event": "line", "node": node, "what": what, "text": text}),
            Event::Traffic(flows) => {
                json!({"event": "traffic", "flows": flows.iter().map(flow_json).collect::<Vec<_>>()})
            }
            Event::Stopping => json!({"event": "stopping"}),
            Event::Stopped => json!({"event": "stopped"}),
        }
    }
}

impl Ready {
    fn to_json(&self) -> Value {
        let gateways: Vec<Value> = self.gateways.iter().map(door_json).collect();
        let pods: Vec<Value> = self.pods.iter().map(pod_json).collect();
        json!({
            "event": "ready", "ms": self.ms, "network": self.network, "backend": self.backend, "gateways": gateways, "pods": pods,
        })
    }
}

fn door_json(door: &Door) -> Value {
    let Door { node, port, address } = door;
    json!({"pod": node, "port": port, "address": address.to_string(), "url": format!("http://{address}/")})
}

fn pod_json(report: &PodReport) -> Value {
    let pod = &report.pod;
    let addresses = |map: &BTreeMap<u16, SocketAddr>| -> Value {
        map.iter().map(|(port, address)| (port.to_string(), Value::from(address.to_string()))).collect()
    };
    let tcp: Value =
        pod.tcp.iter().map(|((host, port), at)| (format!("{host}:{port}"), Value::from(at.to_string()))).collect();
    json!({
        "namespace": pod.namespace,
        "name": pod.name,
        "workload": pod.workload.name,
        "app": pod.workload.app,
        "version": pod.workload.version,
        "address": pod.address.to_string(),
        "stand_in": pod.stand_in,
        "ports": addresses(&pod.app),
        "inbound": addresses(&pod.inbound),
        "outbound": pod.sidecar.then(|| pod.outbound.to_string()),
        "tcp": tcp,
        "gateway": addresses(&pod.gateway),
        "admin": report.admin,
        "pid": report.pid,
    })
}

fn flow_json(flow: &Flow) -> Value {
    json!({
        "source": flow.edge.source,
        "destination": flow.edge.destination,
        "version": flow.edge.version,
        "tcp": flow.edge.tcp,
        "rate": flow.rate,
        "p50_ms": flow.p50_ms,
        "p99_ms": flow.p99_ms,
        "error_rate": flow.error_rate,
        "byte_rate": flow.byte_rate,
    })
}
