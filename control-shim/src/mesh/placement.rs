//! Where pods run and their proxies listen.

use super::PodPlan;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Maps pods to addresses. Asked again after every change of the manifests; what it said of a pod before it should say again.
pub trait Placement {
    /// Address of the pod, where its app listens; `None` leaves the pod out.
    fn address(&mut self, plan: &PodPlan) -> Option<IpAddr>;
    /// Where the app listens for its `port`.
    fn app(&mut self, _plan: &PodPlan, address: IpAddr, port: u16) -> SocketAddr {
        SocketAddr::new(address, port)
    }
    /// Where the sidecar listens for the app's `port`.
    fn inbound(&mut self, plan: &PodPlan, address: IpAddr, port: u16) -> SocketAddr;
    /// Where the sidecar listens on behalf of the app for a TCP service.
    fn tcp(&mut self, plan: &PodPlan, address: IpAddr, host: &str, port: u16) -> SocketAddr;
    /// Where a gateway binds `port`.
    fn gateway(&mut self, plan: &PodPlan, address: IpAddr, port: u16) -> SocketAddr;
    /// Where the sidecar's outbound HTTP proxy listens.
    fn outbound(&mut self, _plan: &PodPlan, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, OUTBOUND_PORT)
    }
}

/// Port of the outbound HTTP proxy, as in Istio.
pub const OUTBOUND_PORT: u16 = 15001;
/// First port of the listeners for TCP services in [`Sequential`] and [`Manifest`].
const TCP_PORT_FIRST: u16 = 16001;

/// Addresses in order of asking from 127.1.0.1 on, for looking at manifests without running them.
#[derive(Debug, Default)]
pub struct Sequential {
    given: HashMap<String, IpAddr>,
    tcp: HashMap<String, u16>,
}

impl Placement for Sequential {
    fn address(&mut self, plan: &PodPlan) -> Option<IpAddr> {
        let next = u32::try_from(self.given.len()).ok()?.checked_add(u32::from(Ipv4Addr::new(127, 1, 0, 1)))?;
        let next = IpAddr::V4(Ipv4Addr::from(next));
        Some(*self.given.entry(format!("{}/{}", plan.namespace, plan.name)).or_insert(next))
    }

    fn inbound(&mut self, _: &PodPlan, address: IpAddr, port: u16) -> SocketAddr {
        SocketAddr::new(address, beside(port))
    }

    fn tcp(&mut self, _: &PodPlan, address: IpAddr, host: &str, port: u16) -> SocketAddr {
        SocketAddr::new(address, tcp_port(&mut self.tcp, host, port))
    }

    fn gateway(&mut self, _: &PodPlan, address: IpAddr, port: u16) -> SocketAddr {
        SocketAddr::new(address, unprivileged(port))
    }
}

/// The addresses that Pod manifests themselves name (`status.podIP`); other pods are left out. For a shim that serves proxies which run elsewhere.
#[derive(Debug, Default)]
pub struct Manifest {
    /// Bind gateway ports below 1024 as they are.
    pub privileged_ports: bool,
    tcp: HashMap<String, u16>,
}

impl Manifest {
    /// With gateway ports below 1024 moved up by 8000 unless `privileged_ports`.
    pub fn new(privileged_ports: bool) -> Self {
        Manifest { privileged_ports, tcp: HashMap::new() }
    }
}

impl Placement for Manifest {
    fn address(&mut self, plan: &PodPlan) -> Option<IpAddr> {
        plan.address
    }

    fn inbound(&mut self, _: &PodPlan, address: IpAddr, port: u16) -> SocketAddr {
        SocketAddr::new(address, beside(port))
    }

    fn tcp(&mut self, _: &PodPlan, address: IpAddr, host: &str, port: u16) -> SocketAddr {
        SocketAddr::new(address, tcp_port(&mut self.tcp, host, port))
    }

    fn gateway(&mut self, _: &PodPlan, address: IpAddr, port: u16) -> SocketAddr {
        SocketAddr::new(address, if self.privileged_ports { port } else { unprivileged(port) })
    }
}

/// Without traffic capture app and sidecar share an address, so the sidecar listens 20,000 ports away.
pub fn beside(port: u16) -> u16 {
    const APART: u16 = 20_000;
    port.checked_add(APART).unwrap_or_else(|| port - APART)
}

/// A port below 1024 needs rights; it is opened 8,000 higher.
pub fn unprivileged(port: u16) -> u16 {
    if port < 1024 { port + 8000 } else { port }
}

/// One port for each (host, port), the same in every pod.
fn tcp_port(given: &mut HashMap<String, u16>, host: &str, port: u16) -> u16 {
    let next = TCP_PORT_FIRST.saturating_add(u16::try_from(given.len()).unwrap_or(u16::MAX));
    *given.entry(format!("{host}:{port}")).or_insert(next)
}
