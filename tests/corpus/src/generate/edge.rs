//! Istio's Gateways and the VirtualServices behind them.

use super::{Mesh, NAMESPACE, Place, Site, virtual_service};
use crate::dice::Dice;
use serde_json::{Value, json};

/// Names of the Gateways that share the edge's port.
const GATEWAYS: [&str; 2] = ["edge", "edge-two"];
/// Hosts that the first one serves.
const FIRST: [&[&str]; 4] = [&["*"], &["*"], &["*"], &["shop/*", "back/*.example.net"]];
/// Hosts that the second one serves.
const SECOND: [&[&str]; 5] = [
    &["*"],
    &["*.example.com"],
    &["h1.example.com", "h2.example.com", "shop/wide.example.com"],
    &["./*.example.com"],
    &["back/*"],
];
/// Hosts of the edge with rules of their own.
const HOSTS: usize = 6;

impl Mesh {
    /// The hosts of the edge.
    pub(super) fn edge(&mut self, dice: &mut Dice) {
        let gateways = self.gateways(dice);
        for number in 0..HOSTS {
            let host = format!("h{number}.example.com");
            let (hosts, authorities) = match number {
                0 => (vec!["*.w.example.com".to_owned()], vec!["x.w.example.com".into(), "y.z.w.example.com".into()]),
                _ => (vec![host.clone()], vec![host.clone(), format!("{host}:80"), host.to_uppercase()]),
            };
            let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
            let both = dice.percent(20);
            let mut routed_by = Vec::new();
            // The rules of several for one host add up.
            for twin in 0..1 + usize::from(dice.percent(25)) {
                let mut at = bound(dice, gateways);
                if both {
                    at.push("mesh");
                }
                let name = format!("edge-{number}{}", if twin > 0 { "-a" } else { "" });
                let service = virtual_service::virtual_service(dice, &name, &hosts, &at);
                routed_by.extend(self.with_delegate(dice, service, &format!("below-{number}-{twin}")));
            }
            let places = [Place::Edge, Place::Sidecar].into_iter().take(1 + usize::from(both));
            let site = |place| Site { place, authorities: authorities.clone(), routed_by: routed_by.clone() };
            self.sites.extend(places.map(site));
        }
        if dice.percent(35) {
            let at = bound(dice, gateways);
            let service = virtual_service::virtual_service(dice, "edge-wide", &["*.example.com"], &at);
            let (authorities, routed_by) = (vec!["wide.example.com".into()], vec![self.documents.len()]);
            self.documents.push(service);
            self.sites.push(Site { place: Place::Edge, authorities, routed_by });
        }
        // Nobody's host.
        let authorities = vec!["nobody.example.com".into()];
        self.sites.push(Site { place: Place::Edge, authorities, routed_by: Vec::new() });
    }

    /// One Gateway, or two that serve one port; their names.
    fn gateways(&mut self, dice: &mut Dice) -> &'static [&'static str] {
        let names = if dice.percent(40) { &GATEWAYS[..] } else { &GATEWAYS[..1] };
        for (name, hosts) in names.iter().zip([dice.pick(&FIRST), dice.pick(&SECOND)]) {
            self.documents.push(json!({
                "apiVersion": "networking.istio.io/v1",
                "kind": "Gateway",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {
                    "selector": {"istio": "edge"},
                    "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": hosts}],
                },
            }));
        }
        names
    }

    /// Puts a VirtualService there, at times with a rule in front that delegates; where they are.
    fn with_delegate(&mut self, dice: &mut Dice, mut service: Value, name: &str) -> Vec<usize> {
        let at = self.documents.len();
        if !dice.percent(25) {
            self.documents.push(service);
            return vec![at];
        }
        let (rule, delegate) = virtual_service::delegate(dice, name);
        if let Value::Array(rules) = &mut service["spec"]["http"] {
            rules.insert(0, rule);
        }
        self.documents.extend([service, delegate]);
        vec![at, at + 1]
    }
}

/// The Gateways that a VirtualService names, with or without their namespace.
fn bound(dice: &mut Dice, gateways: &[&str]) -> Vec<&'static str> {
    let mut names = match (gateways.len(), dice.below(10)) {
        (1, _) | (_, 0..=3) => vec![GATEWAYS[0]],
        (_, 4..=6) => vec![GATEWAYS[1]],
        _ => GATEWAYS.to_vec(),
    };
    if dice.percent(20) && names[0] == GATEWAYS[0] {
        names[0] = "shop/edge";
    }
    names
}
