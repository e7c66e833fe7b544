//! Who sees what: `exportTo`, Sidecars, and how old objects are.

use super::{Mesh, NAMESPACE, SERVICES};
use crate::dice::Dice;
use serde_json::{Value, json};

/// Since when objects may be there.
const AGES: [&str; 3] = ["2023-12-31T23:59:59Z", "2024-03-01T10:00:00Z", "2024-03-01T10:00:01Z"];
/// Namespaces that see an object of `shop`.
const EXPORTS: [&[&str]; 6] = [&["."], &["*"], &["shop"], &["istio-system"], &["back"], &[".", "istio-system"]];
/// Hosts that a Sidecar lets its proxies see. A rule is seen by its own namespace and a host by that of its service, so patterns with a namespace leave
/// out hosts whose rules live elsewhere.
const EGRESS: [&[&str]; 7] = [
    &["*/*"],
    &["~/*"],
    &["./*.shop.svc.cluster.local"],
    &["shop/*.example.com", "*/*.back.svc.cluster.local"],
    &["*/alpha.shop.svc.cluster.local", "*/*.outside.example"],
    &["*/*.svc.cluster.local", "shop/h1.example.com"],
    &["shop/s0.outside.example", "./beta.shop.svc.cluster.local"],
];

impl Mesh {
    /// Writes into objects whom they are for and how old they are.
    pub(super) fn sight(&mut self, dice: &mut Dice) {
        let aged = dice.percent(70);
        for document in &mut self.documents {
            let kind = document["kind"].as_str().unwrap_or_default().to_owned();
            if aged && matches!(kind.as_str(), "Gateway" | "HTTPRoute" | "VirtualService") {
                document["metadata"]["creationTimestamp"] = dice.pick(&AGES).into();
            }
            match kind.as_str() {
                // Who may delegate to a rule is another matter.
                "VirtualService" if document["spec"]["hosts"].is_array() && dice.percent(12) => {
                    document["spec"]["exportTo"] = json!(dice.pick(&EXPORTS));
                }
                "ServiceEntry" if dice.percent(15) => document["spec"]["exportTo"] = json!(dice.pick(&EXPORTS)),
                "Service" if dice.percent(10) => hide(dice, document),
                _ => {}
            }
        }
    }

    /// Sidecars that may hold for the caller; whether the one that does says what becomes of other hosts.
    pub(super) fn sidecars(&mut self, dice: &mut Dice) -> bool {
        let all = [("own", NAMESPACE, true), ("whole", NAMESPACE, false), ("root", "istio-system", false)];
        let there = dice.some(&all, 2);
        let says = dice.percent(60);
        for (name, namespace, selects) in &there {
            let mut spec = json!({});
            if *selects {
                spec["workloadSelector"] = json!({"labels": {"app": "caller"}});
            }
            if says {
                spec["outboundTrafficPolicy"] = json!({"mode": "REGISTRY_ONLY"});
            }
            let hosts = dice.pick(&EGRESS);
            let absolute = hosts.iter().all(|host| !host.starts_with('.')) || *namespace == NAMESPACE;
            spec["egress"] = json!([{"hosts": if absolute { hosts } else { EGRESS[0] }}]);
            self.documents.push(json!({
                "apiVersion": "networking.istio.io/v1",
                "kind": "Sidecar",
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec,
            }));
        }
        says
    }
}

/// Lets a Service be seen by some, and by those of its namespace: rules for a host that hides from its own namespace are nobody's business.
fn hide(dice: &mut Dice, service: &mut Value) {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let own = SERVICES.iter().find(|one| one.name == name).map_or("", |one| one.namespace);
    let to = dice.pick(&[".", "*", own, "istio-system,.", "shop,."]);
    service["metadata"]["annotations"] = json!({"networking.istio.io/exportTo": to});
}
