//! What it costs to translate a large mesh, whole and after an edit. An edit's result is compared with a whole translation, blob by blob.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control_shim::mesh::{Mesh, Options, placement};
use control_shim::object::{Loaded, Manifests, Objects, SourceFile, decode};
use control_shim::translate::{Compiled, translate};

use super::{Figures, mesh, ms, timed};

const ROUNDS: usize = 21;
const WHOLE_ROUNDS: usize = 5;
/// Milliseconds that a translation of all of it may take, and one after an edit.
const WHOLE_MS_MAX: f64 = 1_000.0;
const EDIT_MS_MAX: f64 = 5.0;
/// MiB that the first translation may leave, and take at any time with the manifests that it is of.
const RESULT_MIB_MAX: f64 = 96.0;
const MOST_MIB_MAX: f64 = 192.0;

/// An edit of one text, by the file that has it.
struct Edit {
    what: &'static str,
    from: &'static str,
    to: &'static str,
    /// The object is refused: what it was is in force.
    refused: bool,
    /// All sidecars are translated again, so that what it costs goes by their number.
    everywhere: bool,
}

/// An edit that reaches a few hosts and proxies.
const fn edit(what: &'static str, from: &'static str, to: &'static str) -> Edit {
    Edit { what, from, to, refused: false, everywhere: false }
}

const EDITS: [Edit; 20] = [
    edit("VirtualService", "{host: service-7}, weight: 90", "{host: service-7}, weight: 80"),
    edit(
        "DestinationRule",
        "host: service-7\n  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN",
        "host: service-7\n  trafficPolicy: {loadBalancer: {simple: RANDOM",
    ),
    edit("EndpointSlice", "10.31.64.3]", "10.9.8.3]"),
    edit(
        "Service",
        "name: service-7, namespace: default}\nspec:\n  ports: [{name: http, port: 80}]",
        "name: service-7, namespace: default}\nspec:\n  ports: [{name: http, port: 81}]",
    ),
    edit("VirtualService at a Gateway", "{host: service-4007}", "{host: service-4107}"),
    edit("Gateway", "['*.example.com']", "['*.example.com', other.example.org]"),
    edit("EndpointSlice behind a Gateway", "10.15.167.3]", "10.9.9.3]"),
    edit("HTTPRoute at a Gateway", "name: service-5007, port", "name: service-5107, port"),
    edit("HTTPRoute of a Service", "name: service-6001, port", "name: service-6101, port"),
    edit("Deployment, by one pod more", "name: pods-7}\nspec: {replicas: 2", "name: pods-7}\nspec: {replicas: 3"),
    edit(
        "Service of pods",
        "{app: pods-7}, ports: [{name: http, port: 80, ",
        "{app: pods-7}, ports: [{name: http, port: 81, ",
    ),
    edit(
        "DestinationRule of a Service of pods",
        "host: pods-7, trafficPolicy: {connectionPool: {tcp: {maxConnections: 100",
        "host: pods-7, trafficPolicy: {connectionPool: {tcp: {maxConnections: 101",
    ),
    edit("DestinationRule, with a finding", "host: service-8\n", "host: service-none\n"),
    Edit {
        refused: true,
        ..edit("VirtualService that is refused", "{host: service-9}, weight: 90", "{host: service-none}, weight: 90")
    },
    edit("delegate", "{host: service-7001}", "{host: service-7101}"),
    edit("Sidecar of ten pods", "['./*']", "['*/*']"),
    edit("ServiceEntry of a pattern", "'*.example.org'", "'*.example.net'"),
    edit("ReferenceGrant", "kind: HTTPRoute, namespace: default", "kind: HTTPRoute, namespace: nobody"),
    edit("EndpointSlice of a Service that carries bytes", "10.201.0.1]", "10.201.0.2]"),
    Edit {
        everywhere: true,
        ..edit("Service that carries bytes, in all sidecars", "{name: tcp, port: 90}]", "{name: tcp, port: 91}]")
    },
];

pub fn run(figures: &Figures) {
    let files = mesh::files();
    let mut manifests = Manifests::default();
    let (read, loaded) = timed(1, || load(&mut manifests, &files));
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics.first());
    let what = format!(
        "{} services of {} endpoints, {} of them routed, and {} of {} pods each",
        mesh::SERVICES,
        mesh::ENDPOINTS,
        mesh::ROUTED,
        mesh::OF_PODS,
        mesh::PODS
    );
    figures.tell(&format!("read the manifests of {what}"), ms(read), "ms");
    let before = mib("VmRSS:");
    let mut placement = placement::Sequential::default();
    let whole = Mesh::new(loaded.objects.clone(), &mut placement, Options::default());
    let (took, compiled) = timed(1, || translate(&whole, None));
    figures.hold(&format!("translate {what}, the first time"), ms(took), WHOLE_MS_MAX, "ms");
    figures.hold(
        "memory of the result, and of what the next translation goes by",
        mib("VmRSS:") - before,
        RESULT_MIB_MAX,
        "MiB",
    );
    figures.hold("most memory at any time, manifests and all", mib("VmHWM:"), MOST_MIB_MAX, "MiB");
    let (took, _) = timed(WHOLE_ROUNDS, || translate(&whole, None));
    figures.hold(&format!("translate {what}"), ms(took), WHOLE_MS_MAX, "ms");
    for edit in &EDITS {
        let edited = edit.of(&files);
        let mut times = [Duration::MAX; 2];
        let mut after = None;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let loaded = load(&mut manifests, &edited);
            let objects = Objects::update(&compiled.objects, &loaded);
            let mesh = whole.edited(objects, &mut placement, Options::default());
            let planned = Instant::now();
            let translated = translate(&mesh, Some(&compiled));
            times[1] = times[1].min(planned.elapsed());
            times[0] = times[0].min(start.elapsed());
            after = Some((mesh, translated));
            load(&mut manifests, &files);
        }
        let (mesh, after) = after.unwrap();
        let figure = format!("translate an edit of a {}", edit.what);
        match edit.everywhere {
            // With what it says, and then with what it said before.
            false if edit.refused => figures.hold(&figure, ms(times[1]), 2.0 * EDIT_MS_MAX, "ms"),
            false => figures.hold(&figure, ms(times[1]), EDIT_MS_MAX, "ms"),
            true => figures.tell(&figure, ms(times[1]), "ms"),
        }
        figures.tell(&format!("read, plan and translate an edit of a {}", edit.what), ms(times[0]), "ms");
        let wanted = if edit.refused { blobs(&compiled) } else { blobs(&translate(&mesh, None)) };
        assert!(blobs(&after) == wanted, "an edit of a {} is no whole translation", edit.what);
    }
}

impl Edit {
    /// The files with the edit in them.
    fn of(&self, files: &[Arc<SourceFile>]) -> Vec<Arc<SourceFile>> {
        let mut files = files.to_vec();
        let found = files.iter_mut().find(|file| file.text.contains(self.from));
        let file = found.unwrap_or_else(|| panic!("no file has {}", self.from));
        *file = mesh::file(&file.name, file.text.replacen(self.from, self.to, 1));
        files
    }
}

fn load(manifests: &mut Manifests, files: &[Arc<SourceFile>]) -> Loaded {
    manifests.load(&[files.to_vec()], decode::Options::default())
}

/// The hash of everything, in order.
fn blobs(compiled: &Compiled) -> Vec<String> {
    let mut all: Vec<_> = compiled.every_blob().map(|blob| format!("{} {}", blob.name(), blob.hash())).collect();
    all.sort();
    all
}

/// One of the process's memory figures.
fn mib(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
