//! What holds for the whole mesh.

use super::{Mesh, NAMESPACE};
use crate::dice::Dice;
use serde_json::{Value, json};

impl Mesh {
    /// Settings, and whom services of another namespace are granted to. Somebody says that hosts which nobody declares are nobody's: the mesh, or the
    /// caller's Sidecar.
    pub(super) fn mesh_wide(&mut self, dice: &mut Dice) {
        let mut config = if dice.percent(40) { mesh_config(dice) } else { json!({}) };
        let sidecar = if dice.percent(35) { self.sidecars(dice) } else { false };
        if !sidecar {
            config["outboundTrafficPolicy"] = json!({"mode": "REGISTRY_ONLY"});
        }
        if dice.percent(25) {
            let proxies = dice.pick(&[1, 2, 3]);
            config["defaultConfig"] = json!({"gatewayTopology": {"numTrustedProxies": proxies}});
        }
        if config != json!({}) {
            self.documents.push(config_map(config));
        }
        if dice.percent(50) {
            self.documents.push(reference_grant(dice));
        }
    }
}

/// What holds for the whole mesh where nothing else is said.
fn mesh_config(dice: &mut Dice) -> Value {
    let mut config = json!({});
    if dice.percent(60) {
        let mut retries = json!({"attempts": dice.below(4), "backoff": "1ms"});
        if dice.percent(70) {
            retries["retryOn"] = dice.pick(&["5xx", "gateway-error,409", "unavailable,500"]).into();
        }
        config["defaultHttpRetryPolicy"] = retries;
    }
    if dice.percent(40) {
        config["localityLbSetting"] = if dice.percent(50) {
            json!({"enabled": false})
        } else {
            json!({"failover": [{"from": "r1", "to": "r2"}]})
        };
    }
    if dice.percent(40) {
        config["connectTimeout"] = "5s".into();
    }
    config
}

fn config_map(config: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": crate::yaml::write(&[config])},
    })
}

/// Lets HTTPRoutes of `shop` name services of `back`: all, the one that there is, or another one.
fn reference_grant(dice: &mut Dice) -> Value {
    let mut to = json!({"group": "", "kind": "Service"});
    match dice.below(4) {
        0 => to["name"] = "omega".into(),
        1 => to["name"] = "psi".into(),
        _ => {}
    }
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "for-shop", "namespace": "back"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": NAMESPACE}],
            "to": [to],
        },
    })
}
