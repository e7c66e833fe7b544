//! Where the pods of a run listen: each on its own loopback address, with ports that stay the same from one edit to the next.

use super::network::{Claim, Network, claim};
use crate::diagnostic::Diagnostic;
use crate::mesh::placement::{beside, unprivileged};
use crate::mesh::{Placement, PodPlan};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// First port of a sidecar's listeners for TCP services.
const TCP_PORT_FIRST: u16 = 16_001;

/// Addresses of one run. Remembers every answer.
#[derive(Debug)]
pub struct Loopback {
    network: Network,
    /// Where gateways are reached by people.
    gateway_address: IpAddr,
    privileged_ports: bool,
    numbers: HashMap<String, u16>,
    tcp: HashMap<(String, u16), u16>,
    gateways: HashMap<(String, u16), SocketAddr>,
    claims: HashMap<SocketAddr, Claim>,
    apps: HashMap<(IpAddr, u16), u16>,
    used: HashSet<SocketAddr>,
    notices: Vec<Diagnostic>,
}

impl Loopback {
    /// Addresses of `network`; gateways on `gateway_address` where their port is free there.
    pub fn new(network: Network, gateway_address: IpAddr, privileged_ports: bool) -> Loopback {
        Loopback {
            network,
            gateway_address,
            privileged_ports,
            numbers: HashMap::new(),
            tcp: HashMap::new(),
            gateways: HashMap::new(),
            claims: HashMap::new(),
            apps: HashMap::new(),
            used: HashSet::new(),
            notices: Vec::new(),
        }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What people ought to know of the answers since the last call.
    pub fn take_notices(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.notices)
    }

    fn allowed(&self, port: u16) -> u16 {
        if self.privileged_ports { port } else { unprivileged(port) }
    }

    fn notice(&mut self, code: &'static str, message: String, mend: &str) {
        self.notices.push(Diagnostic::notice(code, message, mend));
    }
}

impl Placement for Loopback {
    fn address(&mut self, plan: &PodPlan) -> Option<IpAddr> {
        let next = u16::try_from(self.numbers.len()).ok()?;
        let number = *self.numbers.entry(node(plan)).or_insert(next);
        self.network.pod(number).map(IpAddr::V4)
    }

    fn app(&mut self, plan: &PodPlan, address: IpAddr, port: u16) -> SocketAddr {
        if let Some(given) = self.apps.get(&(address, port)) {
            return SocketAddr::new(address, *given);
        }
        let mut given = self.allowed(port);
        // Somebody may have both 80 and 8080.
        while given != port && plan.containers.iter().flat_map(|c| &c.ports).any(|other| other.port == given) {
            given += 1;
        }
        if given != port {
            let message = format!("port {port} of {} is opened as {given}", node(plan));
            self.notice(
                "privileged-port",
                message,
                "ports below 1024 need rights; --privileged-ports opens them as they are",
            );
        }
        self.apps.insert((address, port), given);
        SocketAddr::new(address, given)
    }

    fn inbound(&mut self, _: &PodPlan, address: IpAddr, port: u16) -> SocketAddr {
        SocketAddr::new(address, beside(port))
    }

    fn tcp(&mut self, _: &PodPlan, address: IpAddr, host: &str, port: u16) -> SocketAddr {
        let next = TCP_PORT_FIRST.saturating_add(u16::try_from(self.tcp.len()).unwrap_or(u16::MAX));
        SocketAddr::new(address, *self.tcp.entry((host.into(), port)).or_insert(next))
    }

    fn gateway(&mut self, plan: &PodPlan, address: IpAddr, port: u16) -> SocketAddr {
        let key = (node(plan), port);
        if let Some(given) = self.gateways.get(&key) {
            return *given;
        }
        let open = self.allowed(port);
        let wish = SocketAddr::new(self.gateway_address, open);
        let own = SocketAddr::new(address, open);
        let claimed = if self.used.contains(&wish) { None } else { claim(wish) };
        let given = match claimed {
            Some(claim) => {
                self.claims.insert(wish, claim);
                wish
            }
            None => {
                let message = format!("{wish} is taken; the gateway {} listens on {own}", node(plan));
                self.notice("gateway-address", message, "--gateway-address ADDRESS chooses another address");
                own
            }
        };
        if open != port {
            let message = format!("gateway port {port} of {} is opened as {open}", node(plan));
            self.notice(
                "privileged-port",
                message,
                "ports below 1024 need rights; --privileged-ports opens them as they are",
            );
        }
        self.used.insert(given);
        self.gateways.insert(key, given);
        given
    }
}

fn node(plan: &PodPlan) -> String {
    format!("{}/{}", plan.namespace, plan.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::workload::{Container, ContainerPort};
    use crate::object::{Labels, ObjectRef, SourceFile, Spot};
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;

    fn plan(name: &str, ports: &[u16]) -> PodPlan {
        let file = Arc::new(SourceFile { name: "t.yaml".into(), text: String::new() });
        let ports = ports.iter().map(|port| ContainerPort { name: String::new(), port: *port }).collect();
        let spot = Spot { file, span: Default::default() };
        PodPlan {
            namespace: "default".into(),
            name: name.into(),
            workload: Default::default(),
            labels: Labels::new(),
            annotations: Labels::new(),
            proxy: Default::default(),
            service_account: "default".into(),
            containers: vec![Container { name: "app".into(), image: String::new(), ports, spot }],
            sidecar: true,
            stand_in: false,
            address: None,
            object: ObjectRef::new("Deployment", "default", name),
        }
    }

    fn loopback(privileged: bool) -> Loopback {
        Loopback::new(Network::choose(None).unwrap(), Ipv4Addr::LOCALHOST.into(), privileged)
    }

    #[test]
    fn answers_stay_the_same() {
        let mut place = loopback(false);
        let (a, b) = (plan("a", &[9080]), plan("b", &[9080]));
        let first = place.address(&a).unwrap();
        assert_ne!(place.address(&b).unwrap(), first);
        assert_eq!(place.address(&a).unwrap(), first);
        assert_eq!(place.tcp(&a, first, "db", 1), place.tcp(&a, first, "db", 1));
        assert_ne!(place.tcp(&a, first, "db", 1), place.tcp(&a, first, "db", 2));
        assert_eq!(place.app(&a, first, 9080), SocketAddr::new(first, 9080));
        assert!(place.take_notices().is_empty());
    }

    #[test]
    fn ports_that_need_rights_move_and_do_not_meet() {
        let mut place = loopback(false);
        let web = plan("web", &[80, 8080]);
        let address = place.address(&web).unwrap();
        assert_eq!(place.app(&web, address, 8080).port(), 8080);
        assert_eq!(place.app(&web, address, 80).port(), 8081);
        assert_eq!(place.app(&web, address, 80).port(), 8081);
        assert_eq!(place.take_notices().len(), 1);
        assert_eq!(loopback(true).app(&web, address, 80).port(), 80);
    }

    #[test]
    fn a_gateway_gives_way_and_says_so() {
        let mut place = loopback(false);
        let gate = plan("gate", &[]);
        let address = place.address(&gate).unwrap();
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        assert_eq!(place.gateway(&gate, address, port), SocketAddr::new(address, port));
        assert_eq!(place.take_notices().len(), 1);
        // Later the port is free; the answer stays.
        drop(holder);
        assert_eq!(place.gateway(&gate, address, port), SocketAddr::new(address, port));
    }
}
