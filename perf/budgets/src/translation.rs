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

/// An edit of one text, by the file that has it.
struct Edit {
    what: &'static str,
    from: &'static str,
    to: &'static str,
}

const EDITS: [Edit; 9] = [
    Edit { what: "VirtualService", from: "{host: service-7}, weight: 90", to: "{host: service-7}, weight: 80" },
    Edit {
        what: "DestinationRule",
        from: "host: service-7\n  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN",
        to: "host: service-7\n  trafficPolicy: {loadBalancer: {simple: RANDOM",
    },
    Edit { what: "EndpointSlice", from: "10.31.64.3]", to: "10.9.8.3]" },
    Edit {
        what: "Service",
        from: "name: service-7, namespace: default}\nspec:\n  ports: [{name: http, port: 80}]",
        to: "name: service-7, namespace: default}\nspec:\n  ports: [{name: http, port: 81}]",
    },
    Edit { what: "VirtualService at a Gateway", from: "{host: service-4007}", to: "{host: service-4107}" },
    Edit { what: "Gateway", from: "['*.example.com']", to: "['*.example.com', other.example.org]" },
    Edit { what: "EndpointSlice behind a Gateway", from: "10.15.167.3]", to: "10.9.9.3]" },
    Edit { what: "HTTPRoute at a Gateway", from: "name: service-5007, port", to: "name: service-5107, port" },
    Edit { what: "HTTPRoute of a Service", from: "name: service-6001, port", to: "name: service-6101, port" },
];

pub fn run(figures: &Figures) {
    let files = mesh::files();
    let mut manifests = Manifests::default();
    let (read, loaded) = timed(1, || load(&mut manifests, &files));
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics.first());
    let what = format!("{} services of {} endpoints, {} of them routed", mesh::SERVICES, mesh::ENDPOINTS, mesh::ROUTED);
    figures.tell(&format!("read the manifests of {what}"), ms(read), "ms");
    let before = kib("VmRSS:");
    let whole = plan(&loaded.objects);
    let (took, compiled) = timed(1, || translate(&whole, None));
    figures.hold(&format!("translate {what}, the first time"), ms(took), WHOLE_MS_MAX, "ms");
    figures.tell("memory of the result", (kib("VmRSS:") - before) / 1024.0, "MiB");
    figures.tell("most memory at any time, manifests and all", kib("VmHWM:") / 1024.0, "MiB");
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
            let mesh = plan(&objects);
            let planned = Instant::now();
            let translated = translate(&mesh, Some(&compiled));
            times[1] = times[1].min(planned.elapsed());
            times[0] = times[0].min(start.elapsed());
            after = Some((mesh, translated));
            load(&mut manifests, &files);
        }
        let (mesh, after) = after.unwrap();
        figures.hold(&format!("translate an edit of a {}", edit.what), ms(times[1]), EDIT_MS_MAX, "ms");
        figures.tell(&format!("read, plan and translate an edit of a {}", edit.what), ms(times[0]), "ms");
        assert!(blobs(&after) == blobs(&translate(&mesh, None)), "an edit of a {} is no whole translation", edit.what);
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

fn plan(objects: &Objects) -> Mesh {
    Mesh::new(objects.clone(), &mut placement::Sequential::default(), Options::default())
}

/// The hash of everything, in order.
fn blobs(compiled: &Compiled) -> Vec<String> {
    let mut all: Vec<_> = compiled.every_blob().map(|blob| format!("{} {}", blob.name(), blob.hash())).collect();
    all.sort();
    all
}

fn kib(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
