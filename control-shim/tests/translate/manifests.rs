//! Manifests in a string → a compiled mesh that can be asked.

use control_shim::diagnostic::{Diagnostic, Severity};
use control_shim::mesh::{Mesh, Options, placement};
use control_shim::object::{Loaded, Objects, SourceFile, decode, objects};
use control_shim::translate::{Compiled, translate};
use ringway_config::Order;
use ringway_config::model::Action;
use ringway_policy::{Facts, Fields, Rng, State, Step, View, decide};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A mesh that can be asked what it would do.
pub struct World {
    pub loaded: Loaded,
    pub mesh: Mesh,
    pub compiled: Compiled,
}

/// A service `name` with an HTTP port 80 and one deployment for each version.
pub fn app(name: &str, versions: &[&str]) -> String {
    app_in("default", name, versions)
}

pub fn app_in(namespace: &str, name: &str, versions: &[&str]) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  selector: {{app: {name}}}\n  ports: [{{name: http, port: 80, targetPort: 8080}}]\n"
    );
    for version in versions {
        text.push_str(&format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}-{version}, namespace: {namespace}}}\nspec:\n  selector: {{matchLabels: {{app: {name}, version: {version}}}}}\n  template:\n    metadata: {{labels: {{app: {name}, version: {version}}}}}\n    spec:\n      containers: [{{name: app, image: x, ports: [{{containerPort: 8080}}]}}]\n"
        ));
    }
    text
}

pub fn file(name: &str, text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { name: name.into(), text: text.into() })
}

pub fn load(text: &str) -> Loaded {
    objects::load(&[vec![file("t.yaml", text)]], decode::Options::default())
}

/// Loads and compiles; what is wrong is in the diagnostics.
pub fn world(text: &str) -> World {
    from(load(text), None)
}

pub fn from(loaded: Loaded, previous: Option<&World>) -> World {
    let before = previous.map(|world| world.mesh.objects.clone()).unwrap_or_default();
    let objects = Objects::update(&before, &loaded);
    let mesh = Mesh::new(objects, &mut placement::Sequential::default(), Options::default());
    let compiled = translate(&mesh, previous.map(|world| &world.compiled));
    control_shim::fuzz::check(&compiled);
    World { loaded, mesh, compiled }
}

/// Loads and compiles what must not have any error.
pub fn good(text: &str) -> World {
    let world = world(text);
    let errors: Vec<String> = world.errors().iter().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    world
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Sent to a cluster.
    To(String),
    /// Answered here with this status.
    Status(u16),
    /// The host is not in what the proxy holds.
    Unknown,
}

pub fn to(cluster: &str) -> Answer {
    Answer::To(cluster.into())
}

/// One request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
}

impl Default for Request<'_> {
    fn default() -> Self {
        Request { method: "GET", path: "/", headers: &[] }
    }
}

struct Headers<'a>(&'a [(&'a str, &'a str)]);

impl Fields for Headers<'_> {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).for_each(|(_, value)| visit(value.as_bytes()));
    }
}

/// splitmix64.
pub struct Seeded(pub u64);

impl Rng for Seeded {
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl World {
    pub fn diagnostics(&self) -> Vec<&Diagnostic> {
        self.loaded.diagnostics.iter().chain(&self.mesh.diagnostics).chain(&self.compiled.diagnostics).collect()
    }

    pub fn errors(&self) -> Vec<&Diagnostic> {
        self.diagnostics().into_iter().filter(|diagnostic| diagnostic.is_error()).collect()
    }

    /// Codes of errors and warnings, sorted.
    pub fn codes(&self) -> Vec<&'static str> {
        let all = self.diagnostics();
        let mut codes: Vec<_> = all.iter().filter(|d| d.severity >= Severity::Warning).map(|d| d.code).collect();
        codes.sort_unstable();
        codes
    }

    /// The first pod of a workload.
    pub fn node(&self, workload: &str) -> String {
        let pod = self.mesh.pods.iter().find(|pod| pod.workload.name == workload);
        pod.unwrap_or_else(|| panic!("no pod of {workload}")).node()
    }

    /// What a node's proxy holds once it has asked for an authority.
    pub fn view(&self, node: &str, authority: &str) -> View {
        let snapshot = self.compiled.snapshot(node, &[authority], Order { incarnation: 1, sequence: 1 });
        View::build(&snapshot.expect("the node has a proxy").expect("closed"), None).expect("accepted")
    }

    /// What the outbound side of a workload's sidecar does.
    pub fn ask(&self, workload: &str, authority: &str, request: Request<'_>) -> Answer {
        self.ask_many(workload, "outbound", authority, request, 1).into_keys().next().expect("one answer").into()
    }

    /// What a gateway does with a request on its port.
    pub fn knock(&self, workload: &str, port: u16, authority: &str, request: Request<'_>) -> Answer {
        self.ask_many(workload, &format!("gateway-{port}"), authority, request, 1)
            .into_keys()
            .next()
            .expect("one answer")
            .into()
    }

    /// Answers of many equal requests.
    pub fn ask_many(
        &self,
        workload: &str,
        listener: &str,
        authority: &str,
        request: Request<'_>,
        n: usize,
    ) -> BTreeMap<Text, usize> {
        let view = self.view(&self.node(workload), authority);
        let mut rng = Seeded(7);
        let mut state = State::new();
        state.adopt(&view, 0, &mut rng, &mut Vec::new());
        let headers = Headers(request.headers);
        let mut answers = BTreeMap::new();
        for _ in 0..n {
            let mut facts = Facts {
                listener: view.listener(listener).unwrap_or_else(|| panic!("no listener {listener}")),
                method: request.method.as_bytes(),
                path: request.path.as_bytes(),
                authority: authority.as_bytes(),
                scheme: "http",
                client: std::net::Ipv4Addr::LOCALHOST.into(),
                fields: &headers,
                host_absent: false,
                delayed: false,
            };
            let text = match decide(&view, &mut facts, &mut state, &mut rng, 0, &mut ()) {
                Step::Forward(plan) => view.cluster(plan.cluster).name.to_string(),
                Step::Reply(local) => local.status.to_string(),
                Step::Delay(delay) => format!("delayed by {} ms", delay.ms),
                Step::Ask(_) => "unknown".into(),
                Step::Reject(_) => "rejected".into(),
            };
            *answers.entry(Text(text)).or_insert(0) += 1;
        }
        answers
    }

    /// The actions of a host, for looking at edits and timeouts.
    pub fn actions(&self, namespace: &str, authority: &str) -> Vec<Action> {
        let host = self.compiled.host(namespace, authority).expect("the host exists");
        match host.blobs[0].model() {
            ringway_config::model::Model::Host(host) => host.actions.clone(),
            other => panic!("{other:?}"),
        }
    }
}

/// A cluster's name or a status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub String);

impl From<Text> for Answer {
    fn from(text: Text) -> Answer {
        match text.0.parse::<u16>() {
            Ok(status) => Answer::Status(status),
            Err(_) if text.0 == "unknown" => Answer::Unknown,
            Err(_) => Answer::To(text.0),
        }
    }
}

/// The folder of real input, if it is there; says so when it is not.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("RINGWAY_SHARED_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")));
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    println!("skipped: {} is not there; set RINGWAY_SHARED_DATA", found.display());
    None
}
