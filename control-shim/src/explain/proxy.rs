//! Which proxy is asked, and at which of its listeners: from manifests, a snapshot file or a running proxy.

use super::{Live, Request, Rule, Subject};
use crate::diagnostic::Diagnostic;
use crate::mesh::{Mesh, Options, Pod, placement};
use crate::object::decode;
use crate::source::folder;
use crate::translate::{self, Compiled};
use ringway_config::model::{ListenerProtocol, Role, RuleId};
use ringway_config::{FILE_MAGIC, Order, Snapshot};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where configuration comes from.
pub enum Source {
    /// Manifests, compiled. Addresses are made up in order.
    Manifests {
        /// The objects with their pods.
        mesh: Box<Mesh>,
        /// What the proxies of the mesh hold.
        compiled: Box<Compiled>,
        /// Everything found on the way.
        diagnostics: Vec<Diagnostic>,
    },
    /// What one proxy runs.
    Snapshot(Snapshot),
    /// What one proxy runs, and knows.
    Live(Live),
}

/// What an URL says.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetUrl {
    /// `tcp` and not `http`.
    pub tcp: bool,
    /// Host, and port if one was written.
    pub authority: String,
    /// Path and query.
    pub target: String,
}

/// The one who is asked.
pub struct Asked {
    /// The proxy.
    pub subject: Subject,
    /// Its listener.
    pub listener: u32,
    /// No host of the mesh has the authority.
    pub absent: bool,
}

/// Port of an authority without one.
const HTTP_PORT: u16 = 80;

impl TargetUrl {
    /// `http://host[:port]/path?query`, `tcp://host:port`, or without a scheme. TLS is not ended by the proxy yet, so `https` is refused.
    ///
    /// # Errors
    /// Why it is no such URL.
    pub fn parse(text: &str) -> Result<TargetUrl, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !matches!(scheme, "http" | "tcp") {
            return Err(format!("{text}: the proxies serve http and tcp, not {scheme}"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = match target.split_once('#').map_or(target, |(target, _)| target) {
            "" => "/".to_string(),
            query if query.starts_with('?') => format!("/{query}"),
            target => target.to_string(),
        };
        if target.bytes().any(|b| b <= b' ' || b == 0x7f) || authority.contains(['@', ' ']) {
            return Err(format!("{text}: spaces, controls and user names have no place in a URL"));
        }
        Ok(TargetUrl { tcp: scheme == "tcp", authority: authority.to_string(), target })
    }

    /// The port that is meant.
    pub fn port(&self) -> Option<u16> {
        let after_host = self.authority.rsplit_once(']').map_or(self.authority.as_str(), |(_, rest)| rest);
        match after_host.split_once(':') {
            None | Some((_, "")) => Some(HTTP_PORT),
            Some((_, digits)) => digits.parse().ok(),
        }
    }

    /// The host of its authority, without brackets.
    pub fn host(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(""),
            None => self.authority.split(':').next().unwrap_or(""),
        }
    }
}

impl Source {
    /// Reads manifests, or one snapshot file.
    ///
    /// # Errors
    /// Why there is nothing to ask.
    pub fn read(paths: &[PathBuf], options: decode::Options, mesh: Options) -> Result<Source, String> {
        if let [path] = paths
            && is_snapshot(path)
        {
            return match Snapshot::read_file(path) {
                Ok(snapshot) => Ok(Source::Snapshot(snapshot)),
                Err(error) => Err(format!("{}: {error}", path.display())),
            };
        }
        Ok(Source::compile(paths, options, mesh, &mut placement::Sequential::default()))
    }

    /// Compiles manifests with pods where `placement` puts them.
    pub fn compile(
        paths: &[PathBuf],
        options: decode::Options,
        mesh: Options,
        placement: &mut dyn crate::mesh::Placement,
    ) -> Source {
        let loaded = folder::load_with(paths, options);
        let mut diagnostics = loaded.diagnostics;
        let mesh = Mesh::new(loaded.objects, placement, mesh);
        diagnostics.extend(mesh.diagnostics.iter().cloned());
        let compiled = translate::translate(&mesh, None);
        diagnostics.extend(compiled.diagnostics.iter().cloned());
        Source::Manifests { mesh: Box::new(mesh), compiled: Box::new(compiled), diagnostics }
    }

    /// A rule, wherever it is in force.
    pub fn rule(&self, id: RuleId) -> Option<Rule> {
        let origin = match self {
            Source::Manifests { compiled, .. } => compiled.origin(id),
            Source::Snapshot(snapshot) | Source::Live(Live { snapshot, .. }) => {
                snapshot.blobs().find_map(|blob| match blob.model() {
                    ringway_config::model::Model::Provenance(p) => p.entries.iter().find(|e| e.rule == id).cloned(),
                    _ => None,
                })
            }
        };
        origin.map(|origin| Rule { id, origin: Some(origin) })
    }

    /// The proxy beside a workload (or a gateway), at the listener that such a request comes to.
    ///
    /// # Errors
    /// Who there is instead, in one sentence.
    pub fn ask(&self, from: Option<&str>, inbound: bool, url: &TargetUrl, request: &Request) -> Result<Asked, String> {
        match self {
            Source::Snapshot(snapshot) | Source::Live(Live { snapshot, .. }) => {
                let mut subject = Subject::new(snapshot).map_err(|error| error.to_string())?;
                if let Source::Live(live) = self {
                    subject.eject(&live.ejected);
                }
                let listener = listener(&subject, inbound, url)?;
                Ok(Asked { subject, listener, absent: false })
            }
            Source::Manifests { mesh, compiled, .. } => {
                let pod = pod(mesh, from, url)?;
                let order = Order { incarnation: 1, sequence: 1 };
                let snapshot = compiled.snapshot(&pod.node(), &[&request.authority], order);
                let snapshot = snapshot.ok_or_else(|| format!("{} has no proxy", pod.node()))?;
                let snapshot = snapshot.map_err(|error| format!("{}: {error}", pod.node()))?;
                let subject = Subject::new(&snapshot).map_err(|error| error.to_string())?;
                let listener = listener(&subject, inbound, url)?;
                let absent = compiled.host_for(&pod.node(), &request.authority).is_none();
                Ok(Asked { subject, listener, absent })
            }
        }
    }
}

/// Whether a file starts as a snapshot does.
pub fn is_snapshot(path: &Path) -> bool {
    let mut start = [0; FILE_MAGIC.len()];
    std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && start == FILE_MAGIC
}

/// The pod that `from` names. Without a name, the only gateway that serves the URL's port.
fn pod<'m>(mesh: &'m Mesh, from: Option<&str>, url: &TargetUrl) -> Result<&'m Pod, String> {
    let with_proxy = || mesh.pods.iter().map(Arc::as_ref).filter(|pod: &&Pod| pod.sidecar);
    let Some(from) = from else {
        let serving: Vec<&Pod> =
            with_proxy().filter(|pod| url.port().is_some_and(|p| pod.gateway.contains_key(&p))).collect();
        return match serving[..] {
            [one] => Ok(one),
            [] => Err(format!(
                "--from is missing, and no gateway serves port {}{}; {}",
                url.port().unwrap_or(0),
                served(mesh),
                who(mesh)
            )),
            _ => Err(format!("--from is missing, and several gateways serve that port; {}", who(mesh))),
        };
    };
    pod_named(mesh, from)
}

/// A pod with a proxy: by `namespace/pod`, or by the name of a pod, a workload or an app.
///
/// # Errors
/// Who there is instead.
pub fn pod_named<'m>(mesh: &'m Mesh, from: &str) -> Result<&'m Pod, String> {
    let with_proxy = || mesh.pods.iter().map(Arc::as_ref).filter(|pod: &&Pod| pod.sidecar);
    let (namespace, name) = from.split_once('/').map_or((None, from), |(namespace, name)| (Some(namespace), name));
    let here = |pod: &&Pod| namespace.is_none_or(|namespace| pod.namespace == namespace);
    let tests: [fn(&Pod) -> &str; 3] = [|pod| &pod.name, |pod| &pod.workload.name, |pod| &pod.workload.app];
    for test in tests {
        let mut found = with_proxy().filter(here).filter(|pod| test(pod) == name);
        let Some(first) = found.next() else { continue };
        return match found.find(|other| other.namespace != first.namespace) {
            Some(other) => {
                Err(format!("{name} is in {} and in {}: write namespace/{name}", first.namespace, other.namespace))
            }
            None => Ok(first),
        };
    }
    let without = mesh.pods.iter().any(|pod| pod.name == name || pod.workload.name == name);
    let why = if without { "has no proxy" } else { "is no workload of these manifests" };
    Err(format!("{from} {why}; {}", who(mesh)))
}

/// What ports gateways serve instead.
fn served(mesh: &Mesh) -> String {
    let ports: BTreeSet<u16> = mesh.pods.iter().flat_map(|pod| pod.gateway.keys().copied()).collect();
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    if ports.is_empty() { String::new() } else { format!(", only {}", ports.join(", ")) }
}

fn who(mesh: &Mesh) -> String {
    const NAMES_MAX: usize = 12;
    let mut names: Vec<String> = mesh
        .pods
        .iter()
        .filter(|pod| pod.sidecar)
        .map(|pod| format!("{}/{}", pod.namespace, pod.workload.name))
        .collect();
    names.sort();
    names.dedup();
    match names.len() {
        0 => "no workload has a proxy".into(),
        count if count > NAMES_MAX => format!("there are {}, … ({count})", names[..NAMES_MAX].join(", ")),
        _ => format!("there are {}", names.join(", ")),
    }
}

/// The listener that such a request comes to.
fn listener(subject: &Subject, inbound: bool, url: &TargetUrl) -> Result<u32, String> {
    let listeners = subject.view().listeners();
    let port = url.port();
    let number = |wanted: &dyn Fn(&ringway_policy::view::ListenerView) -> bool| {
        listeners.iter().position(wanted).and_then(|at| u32::try_from(at).ok())
    };
    let said = |l: &ringway_policy::view::ListenerView| match &l.protocol {
        ListenerProtocol::Http { port, .. } => Some(*port),
        _ => l.name.rsplit('-').next().and_then(|digits| digits.parse().ok()),
    };
    let found = if url.tcp {
        let (host, port) = (url.host().to_ascii_lowercase(), port.unwrap_or(0));
        let full = |l: &ringway_policy::view::ListenerView| {
            let rest = l.name.strip_prefix(&format!("outbound|{port}|")).unwrap_or("").to_string();
            rest == host || rest.starts_with(&format!("{host}."))
        };
        let opaque = |l: &ringway_policy::view::ListenerView| !matches!(l.protocol, ListenerProtocol::Http { .. });
        number(&|l| opaque(l) && l.role == Role::Outbound && full(l))
            .or_else(|| number(&|l| opaque(l) && said(l) == Some(port)))
    } else if inbound {
        number(&|l| l.role == Role::Inbound && said(l) == port)
    } else {
        let http = |l: &ringway_policy::view::ListenerView| matches!(l.protocol, ListenerProtocol::Http { .. });
        number(&|l| http(l) && l.role == Role::Outbound)
            .or_else(|| number(&|l| http(l) && l.role == Role::Gateway && said(l) == port))
            .or_else(|| number(&|l| http(l) && l.role == Role::Gateway && Some(l.address.port()) == port))
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = listeners.iter().map(|l| &*l.name).collect();
        let what = if url.tcp { "tcp://" } else { "http://" };
        format!("{} has no listener for {what}{}; it has {}", subject.node, url.authority, names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::TargetUrl;

    #[test]
    fn urls() {
        for (text, authority, target, port) in [
            ("http://reviews:9080/a?b=c#d", "reviews:9080", "/a?b=c", 9080),
            ("reviews", "reviews", "/", 80),
            ("http://reviews?b", "reviews", "/?b", 80),
            ("tcp://[::1]:6379", "[::1]:6379", "/", 6379),
            ("[::1]/x", "[::1]", "/x", 80),
            ("/only/path", "", "/only/path", 80),
        ] {
            let url = TargetUrl::parse(text).expect(text);
            assert_eq!((&*url.authority, &*url.target, url.port()), (authority, target, Some(port)), "{text}");
        }
        for text in ["https://a/", "http://u@a/", "http://a/b c"] {
            assert!(TargetUrl::parse(text).is_err(), "{text}");
        }
    }
}
