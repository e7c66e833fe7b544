//! What the fuzz target and the corpus test call: bytes as a manifest, all the way to what a proxy would run.

use crate::mesh::{Mesh, Options, placement};
use crate::object::decode;
use crate::object::{Objects, SourceFile, objects};
use crate::translate::{Compiled, translate as compile};
use ringway_config::Order;
use std::sync::Arc;

/// Proxies looked at in one run.
const PROXIES_MAX: usize = 8;

/// Loads bytes as a manifest and translates it. Panics when what comes out is no closed set, differs the second time, or is refused by the proxy's
/// own evaluator.
pub fn translate(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = Arc::new(SourceFile { name: "fuzz.yaml".into(), text: text.to_string() });
    let loaded = objects::load(&[vec![file]], decode::Options { allow_unenforced: true });
    for diagnostic in &loaded.diagnostics {
        let _ = diagnostic.render(true);
    }
    let mesh = |objects: Objects| Mesh::new(objects, &mut placement::Sequential::default(), Options::default());
    let first = mesh(loaded.objects.clone());
    let compiled = compile(&first, None);
    check(&compiled);
    // The same again, from the objects in force, changes nothing.
    let again = compile(&mesh(Objects::update(&loaded.objects, &loaded)), Some(&compiled));
    for proxy in compiled.proxies().take(PROXIES_MAX) {
        let same = again.proxy(&proxy.node).map(|other| again.blobs_of(other).map(|b| b.hash()).collect::<Vec<_>>());
        assert_eq!(
            Some(compiled.blobs_of(proxy).map(|b| b.hash()).collect::<Vec<_>>()),
            same,
            "translation is not deterministic"
        );
    }
}

/// Every proxy's snapshot, with all its hosts, is closed and accepted by the evaluator.
pub fn check(compiled: &Compiled) {
    for proxy in compiled.proxies().take(PROXIES_MAX) {
        let namespace = proxy.node.split_once('/').map_or("", |(namespace, _)| namespace);
        let hosts: Vec<_> = compiled.hosts(namespace).into_values().filter(|_| proxy.asks).cloned().collect();
        let blobs = compiled.blobs(proxy, &hosts).expect("provenance fits");
        let snapshot =
            ringway_config::Snapshot::from_blobs(Order { incarnation: 1, sequence: 1 }, blobs.into_values().collect());
        let snapshot = snapshot.unwrap_or_else(|error| panic!("{}: {error}", proxy.node));
        if let Err(error) = ringway_policy::View::build(&snapshot, None) {
            panic!("{}: {error}", proxy.node);
        }
    }
}
