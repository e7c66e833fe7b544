//! How long a large mesh takes to translate, whole and after one edit: 10,000 services of 10 endpoints, 2,000 VirtualServices.
//! `cargo run --release -p control-shim --example translate_speed`

// A measurement that cannot be made ends with a panic that says why.
#![allow(clippy::unwrap_used)]

use control_shim::mesh::{Mesh, Options, placement};
use control_shim::object::{Entry, ObjectRef, Objects, SourceFile, decode, objects};
use control_shim::translate::{Compiled, translate};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;
const ROUTED: usize = 2_000;
const ROUNDS: usize = 21;

fn main() {
    let files: Vec<_> = (0..SERVICES / 100).map(|part| file(part, manifests(part * 100..(part + 1) * 100))).collect();
    let (load, loaded) = timed(1, || objects::load(std::slice::from_ref(&files), decode::Options::default()));
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics.first());
    println!("{} objects; the fastest of {ROUNDS} rounds", loaded.objects.len());
    report("read the manifests", load);
    let before = resident_kib();
    let whole = mesh(&loaded.objects);
    let (first, compiled) = timed(1, || translate(&whole, None));
    report("translate all of them, the first time", first);
    println!("{:>10.1} MiB  more resident memory", (resident_kib() - before) as f64 / 1024.0);
    report("translate all of them", timed(5, || translate(&whole, None)).0);
    for (kind, name, from, to) in [
        ("VirtualService", "routed-7", "weight: 90", "weight: 80"),
        ("DestinationRule", "routed-7", "ROUND_ROBIN", "RANDOM"),
        ("EndpointSlice", "service-7", "10.0.7.3", "10.9.7.3"),
        ("EndpointSlice", "service-5000", "10.19.136.3", "10.9.8.3"),
    ] {
        let reference = ObjectRef::new(kind, "default", name);
        let edited = with(&loaded.objects, &reference, from, to);
        let edited = mesh(&edited);
        let (took, after) = timed(ROUNDS, || translate(&edited, Some(&compiled)));
        report(&format!("translate an edit of {kind} {name}"), took);
        assert_eq!(blobs(&after), blobs(&translate(&edited, None)), "{kind}");
        assert_ne!(blobs(&after), blobs(&compiled), "{kind}");
    }
}

/// The hash of everything, in order.
fn blobs(compiled: &Compiled) -> Vec<String> {
    let mut all: Vec<_> = compiled.every_blob().map(|blob| format!("{} {}", blob.name(), blob.hash())).collect();
    all.sort();
    all
}

fn manifests(numbers: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for n in numbers {
        write!(text, "---\napiVersion: v1\nkind: Service\nmetadata: {{name: service-{n}, namespace: default}}\nspec:\n  ports: [{{name: http, port: 80}}]\n").unwrap();
        write!(text, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: service-{n}\n  namespace: default\n  labels: {{kubernetes.io/service-name: service-{n}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints:\n").unwrap();
        for endpoint in 0..ENDPOINTS {
            writeln!(text, "- addresses: [10.{}.{}.{endpoint}]", n >> 8, n & 255).unwrap();
        }
        if n >= ROUTED {
            continue;
        }
        let other = n + ROUTED;
        write!(text, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: routed-{n}, namespace: default}}\nspec:\n  hosts: [service-{n}]\n  http:\n  - match: [{{uri: {{prefix: /v2}}}}, {{headers: {{x-canary: {{exact: \"yes\"}}}}}}]\n    route: [{{destination: {{host: service-{other}}}}}]\n  - timeout: 3s\n    route:\n    - {{destination: {{host: service-{n}}}, weight: 90}}\n    - {{destination: {{host: service-{other}}}, weight: 10}}\n").unwrap();
        write!(text, "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: routed-{n}, namespace: default}}\nspec:\n  host: service-{n}\n  trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}\n").unwrap();
    }
    if text.contains("service-0,") {
        text.push_str("---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: caller, namespace: default}\nspec:\n  replicas: 10\n  selector: {matchLabels: {app: caller}}\n  template:\n    metadata: {labels: {app: caller}}\n    spec:\n      containers: [{name: app, image: x}]\n");
    }
    text
}

fn file(number: usize, text: String) -> Arc<SourceFile> {
    Arc::new(SourceFile { name: format!("{number}.yaml").into(), text })
}

fn mesh(objects: &Objects) -> Mesh {
    Mesh::new(objects.clone(), &mut placement::Sequential::default(), Options::default())
}

/// The same objects but for one, whose text is edited.
fn with(all: &Objects, reference: &ObjectRef, from: &str, to: &str) -> Objects {
    let entry = all.get(reference).unwrap();
    let whole = &entry.object.meta().spot.file.text;
    let own = whole.split("---\n").filter(|text| text.contains(&format!("kind: {}\n", reference.kind)));
    let own = own.filter(|text| text.contains(&format!("name: {}", reference.name))).find(|text| text.contains(from));
    let edited = own.unwrap_or_else(|| panic!("{reference} has no {from}")).replace(from, to);
    let loaded = objects::load(&[vec![file(0, edited)]], decode::Options::default());
    let object = loaded.objects.get(reference).unwrap().object.clone();
    all.with(Arc::new(Entry { object, rank: entry.rank }))
}

fn report(what: &str, took: Duration) {
    println!("{:>10.2} ms  {what}", took.as_secs_f64() * 1e3);
}

/// The shortest time: other work on the machine only ever adds.
fn timed<T>(rounds: usize, mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        let result = std::hint::black_box(run());
        times.push(start.elapsed());
        if times.len() == rounds {
            let fastest = times.iter().min().copied().unwrap_or_default();
            return (fastest, result);
        }
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
