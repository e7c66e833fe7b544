//! What an edit changed for the proxies, in the config's own words.

use crate::translate::Compiled;
use ringway_config::{Hash, Order, Snapshot};
use std::collections::BTreeSet;

/// Most lines that are told of one edit; the rest is counted.
const LINES_MAX: usize = 50;

/// One line a change. Hosts are compared once for each namespace, since its proxies see the same ones.
pub fn changes(old: &Compiled, new: &Compiled) -> Vec<String> {
    let nodes = |compiled: &Compiled| compiled.proxies().map(|proxy| proxy.node.clone()).collect::<BTreeSet<_>>();
    let (before, after) = (nodes(old), nodes(new));
    let mut lines: Vec<String> = after.difference(&before).map(|node| format!("+ proxy {node}")).collect();
    lines.extend(before.difference(&after).map(|node| format!("- proxy {node}")));
    let mut namespaces = BTreeSet::new();
    for node in before.intersection(&after) {
        let own = hashes(old, node) != hashes(new, node);
        // A gateway has no listener for outbound hosts: another pod of its namespace shows them.
        let whole = !namespaces.contains(namespace(node))
            && snapshot(new, node, true).is_some()
            && namespaces.insert(namespace(node));
        if own || whole {
            compare(old, new, node, whole, own, &mut lines);
        }
    }
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        lines.truncate(LINES_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn compare(old: &Compiled, new: &Compiled, node: &str, whole: bool, own: bool, lines: &mut Vec<String>) {
    let found = match (snapshot(old, node, whole), snapshot(new, node, whole)) {
        (Some(one), Some(two)) => ringway_config::diff::diff(&one, &two),
        _ => Vec::new(),
    };
    if found.is_empty() && own {
        lines.push(format!("~ proxy {node}"));
    }
    for line in found.iter().map(ToString::to_string) {
        // The same cluster may be held by many.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
}

fn namespace(node: &str) -> &str {
    node.split('/').next().unwrap_or("")
}

/// What the proxy holds from the start.
fn hashes(compiled: &Compiled, node: &str) -> Vec<Hash> {
    compiled.proxy(node).map(|proxy| compiled.blobs_of(proxy).map(|blob| blob.hash()).collect()).unwrap_or_default()
}

/// What the proxy holds from the start, with every host it may ask for if `whole`. `None` when that is no closed set.
fn snapshot(compiled: &Compiled, node: &str, whole: bool) -> Option<Snapshot> {
    let proxy = compiled.proxy(node)?;
    let hosts = compiled.hosts(namespace(node));
    let hosts: Vec<_> = if whole { hosts.into_values().cloned().collect() } else { Vec::new() };
    let blobs = compiled.blobs(proxy, &hosts).ok()?;
    Snapshot::from_blobs(Order { incarnation: 0, sequence: 0 }, blobs.into_values().collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Mesh, Options, placement::Sequential};
    use crate::object::{SourceFile, decode, objects};
    use crate::translate::translate;
    use std::sync::Arc;

    fn compiled(text: &str, replicas: u32) -> Compiled {
        let text = text.replace("REPLICAS", &replicas.to_string());
        let file = Arc::new(SourceFile { name: "t.yaml".into(), text });
        let loaded = objects::load(&[vec![file]], decode::Options::default());
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        translate(&Mesh::new(loaded.objects, &mut Sequential::default(), Options::default()), None)
    }

    const MESH: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gate}
spec: {selector: {istio: gate}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec: {hosts: [web.example], gateways: [gate], http: [{timeout: 5s, route: [{destination: {host: web}}]}]}
"#;

    #[test]
    fn nothing_for_comments_and_something_for_everything_else() {
        let base = compiled(MESH, 1);
        assert_eq!(changes(&base, &compiled(&format!("# a comment\n{MESH}"), 1)), [""; 0]);
        let slower = changes(&base, &compiled(&MESH.replace("5s", "7s"), 1));
        assert!(slower.len() == 1 && slower[0].contains("5000") && slower[0].contains("7000"), "{slower:?}");
        let more = changes(&base, &compiled(MESH, 2));
        assert!(more.iter().any(|line| line.starts_with("+ proxy default/web-")), "{more:?}");
        assert!(more.iter().any(|line| line.contains("Endpoints")), "{more:?}");
    }
}
