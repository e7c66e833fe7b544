//! From files to objects: which kind a document is, what `kubectl apply` would make of several of them, and what a broken one leaves in force.
//!
//! Never touches the file system; [`crate::source`] does.

use super::decode::{Context, Field, Fields, Options};
use super::reading::{Decoded, Document, Memory, Outcome, Parts};
use super::workload::WorkloadKind;
use super::*;
use crate::diagnostic::{Diagnostic, Severity};
use crate::sorted::Sorted;
use crate::yaml::{Node, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Objects by name. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    map: Sorted<ObjectRef, Arc<Entry>>,
}

/// An object with its place in the order of files.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The object.
    pub object: Object,
    /// Position among all documents; stands for age where there is no timestamp.
    pub rank: Rank,
}

/// A position that, like a [`Spot`], is no part of what an object is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rank(pub u32);

impl PartialEq for Rank {
    fn eq(&self, _: &Rank) -> bool {
        true
    }
}

/// What reading manifests came to.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Every object that stands on its own.
    pub objects: Objects,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
    /// The files read, as the user named them.
    pub files: Vec<Arc<str>>,
    /// Objects that are there and refused.
    pub broken: BTreeSet<ObjectRef>,
    /// Those of them that were understood as far as they are right.
    pub refused: Vec<Arc<Entry>>,
    /// Files in which something could not even be named; what they held before stays.
    pub unreadable: BTreeSet<Arc<str>>,
}

impl Loaded {
    /// Whether anything is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

impl Objects {
    /// From entries; later ones replace earlier ones of the same name.
    pub fn from_entries(entries: impl IntoIterator<Item = Entry>) -> Self {
        Objects::sharing(entries.into_iter().map(Arc::new))
    }

    /// From entries that others hold as well.
    pub fn sharing(entries: impl IntoIterator<Item = Arc<Entry>>) -> Self {
        Objects { map: entries.into_iter().map(|entry| (entry.object.meta().reference.clone(), entry)).collect() }
    }

    /// The entries that are not the very same in both, as they are here and there. None when there are more than `max`.
    #[allow(clippy::type_complexity)]
    pub fn differences(&self, other: &Objects, max: usize) -> Option<Vec<(Option<Arc<Entry>>, Option<Arc<Entry>>)>> {
        let entry = |found: Option<&(ObjectRef, Arc<Entry>)>| found.map(|(_, entry)| entry.clone());
        let found = self.map.differences(&other.map, Arc::ptr_eq).map(|(here, there)| (entry(here), entry(there)));
        let found: Vec<_> = found.take(max.saturating_add(1)).collect();
        (found.len() <= max).then_some(found)
    }

    /// In order of (kind, namespace, name).
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.map.iter().map(|(_, entry)| entry)
    }

    /// Those of one kind, in order of (namespace, name).
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Arc<Entry>> {
        let first = ObjectRef::new(kind, "", "");
        let (kind, all) = (first.kind.clone(), self.map.from(&first));
        all.take_while(move |(reference, _)| reference.kind == kind).map(|(_, entry)| entry)
    }

    /// One object.
    pub fn get(&self, reference: &ObjectRef) -> Option<&Arc<Entry>> {
        self.map.get(reference)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.len() == 0
    }

    /// The same with one object put in.
    pub fn with(&self, entry: Arc<Entry>) -> Self {
        let mut objects = self.clone();
        objects.put(entry.object.meta().reference.clone(), Some(entry));
        objects
    }

    /// The same without one object.
    pub fn without(&self, reference: &ObjectRef) -> Self {
        let mut objects = self.clone();
        objects.put(reference.clone(), None);
        objects
    }

    /// The same with some objects as others have them, or have them not.
    pub fn with_those_of(&self, other: &Objects, references: &[&ObjectRef]) -> Self {
        let mut objects = self.clone();
        for reference in references {
            objects.put((*reference).clone(), other.get(reference).cloned());
        }
        objects
    }

    fn put(&mut self, reference: ObjectRef, entry: Option<Arc<Entry>>) {
        match entry {
            Some(entry) => drop(self.map.insert(reference, entry)),
            None => drop(self.map.remove(&reference)),
        }
    }

    /// What is in force after a change: a broken object keeps its last good version, a file that cannot be read keeps all it held, everything else
    /// is as loaded. An object whose file did not change is the very same, so that [`Objects::differences`] tells what was edited.
    pub fn update(previous: &Objects, loaded: &Loaded) -> Objects {
        let mut unchanged = Unchanged::default();
        let mut objects = loaded.objects.clone();
        for (before, after) in previous.differences(&loaded.objects, usize::MAX).into_iter().flatten() {
            let holds = match (&before, &after) {
                (Some(before), Some(after)) => unchanged.holds(before, after),
                (Some(before), None) => loaded.unreadable.contains(&before.object.meta().spot.file.name),
                (None, _) => false,
            };
            if let Some(before) = before.filter(|_| holds) {
                objects.put(before.object.meta().reference.clone(), Some(before));
            }
        }
        for reference in &loaded.broken {
            objects.put(reference.clone(), previous.get(reference).cloned());
        }
        objects
    }

    /// A digest-free way to see whether two sets mean the same: contents without places.
    pub fn same(&self, other: &Objects) -> bool {
        self == other
    }
}

/// Which files say the same as before; each pair is compared once.
#[derive(Default)]
struct Unchanged(HashMap<[*const SourceFile; 2], bool>);

impl Unchanged {
    /// Whether an entry was read from the same place of the same text.
    fn holds(&mut self, before: &Arc<Entry>, after: &Arc<Entry>) -> bool {
        if Arc::ptr_eq(before, after) {
            return true;
        }
        let (old, new) = (&before.object.meta().spot, &after.object.meta().spot);
        before.rank.0 == after.rank.0
            && old.span == new.span
            && *self.0.entry([&*old.file, &*new.file].map(std::ptr::from_ref)).or_insert_with(|| {
                Arc::ptr_eq(&old.file, &new.file) || old.file.name == new.file.name && old.file.text == new.file.text
            })
    }
}

/// Reads manifests. Each group is what one argument named; groups apply in order, as `kubectl apply` would.
pub fn load(groups: &[Vec<Arc<SourceFile>>], options: Options) -> Loaded {
    Manifests::default().load(groups, options)
}

/// Manifests that are read whenever they change. What is loaded is always what [`load`] comes to; documents that did not change are not decoded again, and
/// their entries are the very same.
#[derive(Debug, Default)]
pub struct Manifests {
    memory: Memory,
    last: Option<Reading>,
}

impl Manifests {
    /// Reads them as they are now.
    pub fn load(&mut self, groups: &[Vec<Arc<SourceFile>>], options: Options) -> Loaded {
        let memory = self.memory.under(options);
        let mut rank = 0;
        let mut read = |file: &Arc<SourceFile>| {
            let parts = memory.read(file, rank);
            let documents: usize = parts.iter().flat_map(|parts| &**parts).map(|part| part.documents.len()).sum();
            rank = rank.saturating_add(u32::try_from(documents).unwrap_or(u32::MAX));
            (file.name.clone(), parts)
        };
        let files: Vec<Vec<_>> = groups.iter().map(|group| group.iter().map(&mut read).collect()).collect();
        memory.keep(&groups.iter().flatten().map(|file| &*file.name).collect());
        let before = self.last.as_ref().map(|last| last.loaded.objects.clone()).unwrap_or_default();
        let last = self.last.take().and_then(|last| last.edited(&files));
        let reading = last.unwrap_or_else(|| Reading::new(files, &before));
        self.last.insert(reading).loaded.clone()
    }
}

/// What a file holds, or why nobody can say.
type Read = (Arc<str>, Result<Parts, Box<Diagnostic>>);

/// What groups of files came to.
#[derive(Debug)]
struct Reading {
    files: Vec<Vec<Read>>,
    loaded: Loaded,
    /// Objects that more than one document is about.
    repeated: BTreeSet<ObjectRef>,
}

impl Reading {
    /// Objects that are the very same as `before` take no memory of their own.
    fn new(files: Vec<Vec<Read>>, before: &Objects) -> Self {
        let mut loader = Loader::default();
        files.iter().for_each(|group| loader.group(group));
        let repeated = std::mem::take(&mut loader.repeated);
        let mut loaded = loader.finish();
        loaded.objects.map = loaded.objects.map.sharing(&before.map, Arc::ptr_eq);
        Reading { files, loaded, repeated }
    }

    /// The same after an edit within documents, each of which is about the object that it was about, and the only one about it.
    fn edited(mut self, files: &[Vec<Read>]) -> Option<Self> {
        let mut edited = Vec::new();
        if self.files.len() != files.len() {
            return None;
        }
        for (before, after) in self.files.iter().zip(files) {
            if before.len() != after.len() {
                return None;
            }
            for ((name, before), (other, after)) in before.iter().zip(after) {
                let (Ok(before), Ok(after)) = (before, after) else { return None };
                if name != other || before.len() != after.len() {
                    return None;
                }
                let parts = before.iter().zip(after.iter()).filter(|_| !Arc::ptr_eq(before, after));
                for (before, after) in parts.filter(|(a, b)| !Arc::ptr_eq(&a.documents, &b.documents)) {
                    if before.documents.len() != after.documents.len() {
                        return None;
                    }
                    for (before, after) in before.documents.iter().zip(&*after.documents) {
                        let (before, after) = (before.sound()?, after.sound()?);
                        let (old, new) = (&before.object.meta().reference, &after.object.meta().reference);
                        if old != new || self.repeated.contains(new) {
                            return None;
                        }
                        edited.push((new.clone(), after.clone()));
                    }
                }
            }
        }
        for (reference, entry) in edited {
            self.loaded.objects.put(reference, Some(entry));
        }
        Some(Reading { files: files.to_vec(), ..self })
    }
}

#[derive(Default)]
struct Loader {
    loaded: Loaded,
    map: BTreeMap<ObjectRef, Arc<Entry>>,
    rank: u32,
    /// Kind → how many, and where the first one stands.
    foreign: BTreeMap<String, (usize, Spot)>,
    repeated: BTreeSet<ObjectRef>,
}

impl Loader {
    fn group(&mut self, files: &[Read]) {
        let mut here: HashMap<ObjectRef, Spot> = HashMap::new();
        for (name, read) in files {
            self.loaded.files.push(name.clone());
            match read {
                Ok(parts) => {
                    let documents = parts.iter().flat_map(|part| &*part.documents);
                    documents.for_each(|document| self.document(document, &mut here));
                }
                Err(diagnostic) => {
                    self.loaded.diagnostics.push((**diagnostic).clone());
                    self.loaded.unreadable.insert(name.clone());
                }
            }
        }
    }

    fn document(&mut self, document: &Document, here: &mut HashMap<ObjectRef, Spot>) {
        let spot = &document.spot;
        self.loaded.diagnostics.extend(document.diagnostics.iter().cloned());
        self.rank += 1;
        let (reference, entry) = match &document.outcome {
            Outcome::Understood(entry) => (&entry.object.meta().reference, Some(entry)),
            Outcome::Refused(reference) => (reference, None),
            Outcome::Nameless => {
                self.loaded.unreadable.insert(spot.file.name.clone());
                return;
            }
            Outcome::Foreign(kind) => {
                self.foreign.entry(kind.clone()).or_insert((0, spot.clone())).0 += 1;
                return;
            }
            Outcome::Done => return,
        };
        if self.loaded.broken.contains(reference) || self.map.contains_key(reference) {
            self.repeated.insert(reference.clone());
        }
        if let Some(first) = here.insert(reference.clone(), spot.clone()) {
            let message = format!("{reference} is there twice: at {first} and at {spot}");
            let mend = "remove or rename one of the two";
            let diagnostic =
                Diagnostic::error("duplicate-object", message, mend).at(spot.place()).about(reference.clone());
            self.loaded.diagnostics.push(diagnostic);
            self.map.remove(reference);
            self.loaded.broken.insert(reference.clone());
            return;
        }
        let before = self.map.remove(reference);
        let ranked = entry.map(|entry| match entry.rank.0 == self.rank {
            true => entry.clone(),
            false => Arc::new(Entry { object: entry.object.clone(), rank: Rank(self.rank) }),
        });
        let entry = match ranked {
            Some(entry) if !document.broken => entry,
            refused => {
                self.loaded.refused.extend(refused);
                self.loaded.broken.insert(reference.clone());
                return;
            }
        };
        if let Some(before) = before.filter(|before| before.object != entry.object) {
            let message = format!("{reference} replaces the one at {}", before.object.meta().spot);
            let diagnostic = Diagnostic::notice("replaced", message, "").at(spot.place()).about(reference.clone());
            self.loaded.diagnostics.push(diagnostic);
        }
        if self.loaded.broken.remove(reference) {
            self.loaded.refused.retain(|entry| entry.object.meta().reference != *reference);
        }
        self.map.insert(reference.clone(), entry);
    }

    fn finish(mut self) -> Loaded {
        for (kind, (count, spot)) in self.foreign {
            let severity = match kind.as_str() {
                "NetworkPolicy" | "Ingress" | "Endpoints" => Severity::Warning,
                _ => Severity::Notice,
            };
            let message = match count {
                1 => format!("kind {kind} is not the mesh's business and is left out"),
                count => format!("kind {kind} is not the mesh's business and is left out ({count} objects)"),
            };
            let mend = match kind.as_str() {
                "Ingress" => "write a Gateway with a VirtualService or HTTPRoute",
                "Endpoints" => "write an EndpointSlice",
                _ => "",
            };
            self.loaded.diagnostics.push(Diagnostic::new(severity, "foreign-kind", message, mend).at(spot.place()));
        }
        self.loaded.objects = Objects { map: self.map.into_iter().collect() };
        self.loaded
    }
}

pub(super) fn scalar<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &node.get(key)?.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

pub(super) fn decode(context: &mut Context, node: &Node) -> Decoded {
    let (Some(api_version), Some(kind)) = (scalar(node, "apiVersion"), scalar(node, "kind")) else {
        let at = crate::yaml::Span { end: node.span.start, ..node.span };
        context.error(at, "no-kind", "the document has no `apiVersion` and `kind`", "every manifest starts with them");
        return Decoded::Other(Outcome::Nameless);
    };
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let version = api_version.rsplit('/').next().unwrap_or("");
    let Some(known) = known(group, kind) else { return Decoded::Other(not_understood(context, node, group, kind)) };
    let reference = match reference_of(context, node, known) {
        Some(reference) => reference,
        None => return Decoded::Other(Outcome::Nameless),
    };
    if known.kind == "ConfigMap" && !mesh_config::is_mesh_config(&reference) {
        return Decoded::Other(Outcome::Foreign(kind.to_string()));
    }
    context.object = Some(reference.clone());
    if !known.versions.contains(&version) {
        let span = node.get("apiVersion").map_or(node.span, |node| node.span);
        let message = format!("{kind} of version `{api_version}` is not known");
        context.error(span, "unknown-version", message, format!("one of {}", known.versions.join(", ")));
    }
    let context = &*context;
    let decoded = decode_known(context, node, known, &reference);
    match decoded {
        Some(object) => Decoded::Understood(Box::new(object)),
        None => Decoded::Other(Outcome::Refused(reference)),
    }
}

fn decode_known(context: &Context, node: &Node, known: &Known, reference: &ObjectRef) -> Option<Object> {
    let mut root = Field::root(context, node).fields(known.noun)?;
    root.harmless(&["apiVersion", "kind"]);
    let meta = meta(&mut root, reference.clone())?;
    match known.reference_kind {
        "Namespace" => Some(Object::Namespace(service::namespace(meta, root))),
        "ServiceAccount" => Some(Object::ServiceAccount(service::service_account(meta, root))),
        "Service" => service::service(meta, root).map(Object::Service),
        "EndpointSlice" => service::endpoint_slice(meta, root).map(Object::EndpointSlice),
        "Deployment" => workload::workload(WorkloadKind::Deployment, meta, root).map(Object::Workload),
        "StatefulSet" => workload::workload(WorkloadKind::StatefulSet, meta, root).map(Object::Workload),
        "DaemonSet" => workload::workload(WorkloadKind::DaemonSet, meta, root).map(Object::Workload),
        "ReplicaSet" => workload::workload(WorkloadKind::ReplicaSet, meta, root).map(Object::Workload),
        "Job" => workload::workload(WorkloadKind::Job, meta, root).map(Object::Workload),
        "Pod" => workload::workload(WorkloadKind::Pod, meta, root).map(Object::Workload),
        "VirtualService" => virtual_service::virtual_service(meta, root).map(Object::VirtualService),
        "DestinationRule" => destination_rule::destination_rule(meta, root).map(Object::DestinationRule),
        "Gateway" => gateway::gateway(meta, root).map(Object::Gateway),
        "ServiceEntry" => service_entry::service_entry(meta, root).map(Object::ServiceEntry),
        "Sidecar" => sidecar::sidecar(meta, root).map(Object::Sidecar),
        "WorkloadEntry" => service_entry::workload_entry(meta, root).map(Object::WorkloadEntry),
        "GatewayClass" => gateway_api::gateway_class(meta, root).map(Object::GatewayClass),
        K8S_GATEWAY => gateway_api::gateway(meta, root).map(Object::K8sGateway),
        "HTTPRoute" => http_route::http_route(meta, root).map(Object::HttpRoute),
        "TCPRoute" => opaque_route::opaque_route(false, meta, root).map(Object::OpaqueRoute),
        "TLSRoute" => opaque_route::opaque_route(true, meta, root).map(Object::OpaqueRoute),
        "ReferenceGrant" => gateway_api::reference_grant(meta, root).map(Object::ReferenceGrant),
        "ConfigMap" => mesh_config::mesh_config(meta, root).map(Object::MeshConfig),
        _ => None,
    }
}

/// [`ObjectRef::kind`] of the Gateway API's Gateway.
pub const K8S_GATEWAY: &str = "Gateway.gateway.networking.k8s.io";

/// A kind that is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// API group; empty for the core's.
    pub group: &'static str,
    /// As manifests write it.
    pub kind: &'static str,
    /// As [`ObjectRef`] has it.
    pub reference_kind: &'static str,
    /// The versions that are taken, the newest first.
    pub versions: &'static [&'static str],
}

impl KindInfo {
    /// `group/version`.
    pub fn api_version(&self) -> String {
        let version = self.versions.first().unwrap_or(&"v1");
        if self.group.is_empty() { (*version).to_string() } else { format!("{}/{version}", self.group) }
    }
}

/// Every kind that is decoded.
pub(super) fn known_kinds() -> Vec<KindInfo> {
    let info = |known: &Known| KindInfo {
        group: known.group,
        kind: known.kind,
        reference_kind: known.reference_kind,
        versions: known.versions,
    };
    KNOWN.iter().map(info).collect()
}

/// Decodes a document of a known kind for what its decoder asks.
pub(super) fn decode_for_survey(context: &mut Context, node: &Node, reference: &ObjectRef) {
    if let Some(known) = KNOWN.iter().find(|known| known.reference_kind == &*reference.kind) {
        context.object = Some(reference.clone());
        decode_known(context, node, known, reference);
    }
}

struct Known {
    group: &'static str,
    kind: &'static str,
    reference_kind: &'static str,
    noun: &'static str,
    versions: &'static [&'static str],
    namespaced: bool,
}

const fn row(group: &'static str, kind: &'static str, noun: &'static str, versions: &'static [&'static str]) -> Known {
    Known { group, kind, reference_kind: kind, noun, versions, namespaced: true }
}

const ISTIO: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const GATEWAY_API: &[&str] = &["v1", "v1beta1"];
const OPAQUE_ROUTES: &[&str] = &["v1", "v1alpha3", "v1alpha2"];
const ISTIO_GROUP: &str = "networking.istio.io";
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

const KNOWN: &[Known] = &[
    Known { namespaced: false, ..row("", "Namespace", "a Namespace", &["v1"]) },
    row("", "ServiceAccount", "a ServiceAccount", &["v1"]),
    row("", "Service", "a Service", &["v1"]),
    row("", "Pod", "a Pod", &["v1"]),
    row("discovery.k8s.io", "EndpointSlice", "an EndpointSlice", &["v1"]),
    row("apps", "Deployment", "a Deployment", &["v1"]),
    row("apps", "StatefulSet", "a StatefulSet", &["v1"]),
    row("apps", "DaemonSet", "a DaemonSet", &["v1"]),
    row("apps", "ReplicaSet", "a ReplicaSet", &["v1"]),
    row("batch", "Job", "a Job", &["v1"]),
    row(ISTIO_GROUP, "VirtualService", "a VirtualService", ISTIO),
    row(ISTIO_GROUP, "DestinationRule", "a DestinationRule", ISTIO),
    row(ISTIO_GROUP, "Gateway", "a Gateway", ISTIO),
    row(ISTIO_GROUP, "ServiceEntry", "a ServiceEntry", ISTIO),
    row(ISTIO_GROUP, "Sidecar", "a Sidecar", ISTIO),
    row(ISTIO_GROUP, "WorkloadEntry", "a WorkloadEntry", ISTIO),
    Known { namespaced: false, ..row(GATEWAY_GROUP, "GatewayClass", "a GatewayClass", GATEWAY_API) },
    Known { reference_kind: K8S_GATEWAY, ..row(GATEWAY_GROUP, "Gateway", "a Gateway", GATEWAY_API) },
    row(GATEWAY_GROUP, "HTTPRoute", "an HTTPRoute", GATEWAY_API),
    row(GATEWAY_GROUP, "TCPRoute", "a TCPRoute", OPAQUE_ROUTES),
    row(GATEWAY_GROUP, "TLSRoute", "a TLSRoute", OPAQUE_ROUTES),
    row(GATEWAY_GROUP, "ReferenceGrant", "a ReferenceGrant", GATEWAY_API),
    row("", "ConfigMap", "a ConfigMap", &["v1"]),
];

fn known(group: &str, kind: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.group == group && known.kind == kind)
}

/// Kinds of the mesh APIs that are no misspelt ones.
const NOT_BUILT: &[&str] = &["GRPCRoute", "UDPRoute", "ListenerSet", "EnvoyFilter", "WorkloadGroup", "WasmPlugin"];

/// Kinds that we do not read: security is an error unless allowed, other kinds of the mesh APIs are errors, the rest is a notice a kind.
fn not_understood(context: &mut Context, node: &Node, group: &str, kind: &str) -> Outcome {
    let span = node.get("kind").map_or(node.span, |node| node.span);
    match (group, kind) {
        ("security.istio.io", _) | (GATEWAY_GROUP, "BackendTLSPolicy") => {
            context.unenforced(span, format!("{kind} is not enforced yet"));
            Outcome::Done
        }
        ("telemetry.istio.io", _) | (ISTIO_GROUP, "ProxyConfig") => {
            context.warning(span, "not-honoured", format!("{kind} is not honoured yet"), "");
            Outcome::Done
        }
        (ISTIO_GROUP | "extensions.istio.io" | GATEWAY_GROUP | "gateway.networking.x-k8s.io", _) => {
            let kinds: Vec<&str> = KNOWN.iter().filter(|known| known.group == group).map(|known| known.kind).collect();
            let meant = decode::nearest(kind, &kinds).filter(|_| !NOT_BUILT.contains(&kind));
            let mend = meant.map_or_else(
                || "remove it; docs/support.md lists what is honoured".to_string(),
                |name| format!("did you mean {name}?"),
            );
            context.error(span, "not-supported-yet", format!("kind {kind} is not supported yet"), mend);
            Outcome::Done
        }
        _ => Outcome::Foreign(kind.to_string()),
    }
}

/// The name of the object; without it nothing else can be said about it.
fn reference_of(context: &Context, node: &Node, known: &Known) -> Option<ObjectRef> {
    let metadata = node.get("metadata");
    let name = metadata.and_then(|metadata| scalar(metadata, "name")).filter(|name| dns_name(name, 253));
    let namespace = metadata.and_then(|metadata| scalar(metadata, "namespace")).unwrap_or("default");
    let Some(name) = name.filter(|_| dns_name(namespace, 63)) else {
        let span = metadata.map_or(node.span, |metadata| metadata.span);
        let message = "the object has no proper `metadata.name` (and namespace)";
        context.error(span, "no-name", message, "lower-case letters, digits, `-` and `.`");
        return None;
    };
    Some(ObjectRef::new(known.reference_kind, if known.namespaced { namespace } else { "" }, name))
}

fn dns_name(text: &str, length_max: usize) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= length_max
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
}

fn meta(root: &mut Fields<'_>, reference: ObjectRef) -> Option<Meta> {
    let metadata = root.require("metadata")?;
    let mut fields = metadata.fields("metadata")?;
    let labels = fields.get("labels").map(|f| f.labels()).unwrap_or_default();
    let annotations = fields.get("annotations").map(|f| f.labels()).unwrap_or_default();
    let created = fields.get("creationTimestamp").and_then(|f| f.scalar()).unwrap_or("").to_string();
    let generation = fields.get("generation").and_then(|f| f.number(0, i64::MAX as u64)).unwrap_or(0);
    fields.harmless(&[
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
        "managedFields",
        "ownerReferences",
        "finalizers",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ]);
    fields.finish();
    Some(Meta { reference, labels, annotations, created, generation, spot: root.spot() })
}
