//! A running mesh: brought up once, then changed by edits without losing a request.
//!
//! A pod that comes is brought up before others hear of it, a pod that goes is ended after all have heard. What is broken in an edit keeps its last
//! good version; everything else is applied.

use super::apps::Apps;
use super::changes::changes;
use super::distribution::Distribution;
use super::event::{Applied, Event, PodReport, Ready, doors};
use super::placement::Loopback;
use super::program::PrivateFolder;
use super::proxies::Proxies;
use super::start::{load, mesh_options, unfit};
use super::view::View;
use super::{Failure, Options};
use crate::diagnostic::Diagnostic;
use crate::mesh::{Mesh, Pod};
use crate::object::{Loaded, Manifests, ObjectRef, Objects};
use crate::source::watch::Watcher;
use crate::translate::{Compiled, translate};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Time for all proxies to be ready after the start, or for those of new pods after an edit.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Time for all proxies to answer that they run an edit.
const ACK_WITHIN: Duration = Duration::from_secs(5);

/// A mesh and everything that runs for it.
pub struct Running {
    pub(super) options: Options,
    pub(super) began: Instant,
    pub(super) placement: Loopback,
    pub(super) manifests: Manifests,
    pub(super) mesh: Mesh,
    pub(super) compiled: Arc<Compiled>,
    pub(super) distribution: Distribution,
    /// `None` once they have been ended.
    pub(super) proxies: Option<Proxies>,
    pub(super) apps: Option<Apps>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) findings: Findings,
    /// Says that a file changed.
    pub(super) edits: mpsc::Receiver<()>,
    pub(super) _watcher: Watcher,
    // Last: the folder goes after everything that uses its sockets.
    pub(super) _folder: PrivateFolder,
}

/// What has been said about the manifests in force, so that an edit only brings news.
#[derive(Debug, Default)]
pub struct Findings {
    said: HashSet<(&'static str, String, Option<ObjectRef>)>,
}

impl Findings {
    /// These have been said.
    pub fn of(found: Vec<Diagnostic>) -> Findings {
        Findings { said: found.into_iter().map(|found| (found.code, found.message, found.object)).collect() }
    }

    /// Those of `found` that are new; the others of before are forgotten.
    fn news(&mut self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let key = |found: &Diagnostic| (found.code, found.message.clone(), found.object.clone());
        let now: HashSet<_> = found.iter().map(key).collect();
        let before = std::mem::replace(&mut self.said, now);
        found.into_iter().filter(|found| !before.contains(&key(found))).collect()
    }
}

impl Running {
    /// How it is shown.
    pub fn view(&self) -> View<std::io::Stdout> {
        View::on_stdout(self.options.json)
    }

    /// Brings everything up, then applies edits for ever.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn live(&mut self) -> Result<(), Failure> {
        self.bring_up().await?;
        while self.edits.recv().await.is_some() {
            self.edit().await?;
        }
        Ok(())
    }

    /// Ends everything: gateways, then sidecars and commands, then what stood in for apps.
    pub async fn stop(&mut self) {
        if let Some(proxies) = &mut self.proxies {
            proxies.stop_gateways().await;
        }
        let (proxies, mut apps) = (self.proxies.take(), self.apps.take());
        let sidecars = async {
            if let Some(proxies) = proxies {
                proxies.stop().await;
            }
        };
        let commands = async {
            if let Some(apps) = &mut apps {
                apps.stop_commands().await;
            }
        };
        tokio::join!(sidecars, commands);
    }

    async fn bring_up(&mut self) -> Result<(), Failure> {
        let (Some(apps), Some(proxies)) = (&mut self.apps, &mut self.proxies) else { return Ok(()) };
        let found = apps.apply(&self.mesh);
        if !found.is_empty() {
            let lines: Vec<String> = found.iter().map(|found| found.message.clone()).collect();
            return Err(Failure::Environment(lines.join("; ")));
        }
        let nodes = proxies.apply(&self.mesh);
        let mut readiness = proxies.readiness(&nodes);
        let ready = tokio::select! {
            ready = readiness.wait(READY_WITHIN) => ready,
            (node, reason) = self.distribution.refusal(&self.compiled) => {
                return Err(Failure::Environment(format!("the proxy of {node} refuses its config: {reason}")));
            }
        };
        if !ready {
            return Err(Failure::Environment(not_ready_text(proxies, &readiness)));
        }
        let backend = proxies.backend().await;
        let report = |pod: &Pod| {
            let (admin, pid) = proxies.report(&pod.node()).unwrap_or_default();
            PodReport { pod: pod.clone(), admin, pid }
        };
        let ready = Ready {
            ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            network: self.placement.network().to_string(),
            backend,
            gateways: doors(&self.mesh),
            pods: self.mesh.pods.iter().map(|pod| report(pod)).collect(),
            list_ports: self.options.list_ports,
        };
        self.tell(Event::Ready(Box::new(ready))).await
    }

    async fn edit(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let loaded = load(&mut self.manifests, &self.options);
        let objects = Objects::update(&self.compiled.objects, &loaded);
        let mut mesh = self.mesh.edited(objects, &mut self.placement, mesh_options(&self.options));
        let mut found = mesh.diagnostics.clone();
        if let Some(why) = self.folder_gone(&loaded).or_else(|| unfit(&mesh)) {
            // More likely a file that is being written, or a folder being moved, than a wish.
            found.push(Diagnostic::error("edit-refused", why, "what runs stays as it is until then"));
            mesh = self.mesh.clone();
        }
        let compiled = Arc::new(translate(&mesh, Some(&self.compiled)));
        found.splice(..0, loaded.diagnostics);
        found.extend(compiled.diagnostics.iter().cloned());
        let mut news = self.findings.news(found);
        // Said once by nature.
        news.extend(self.placement.take_notices());
        for found in news {
            self.tell(Event::Diagnostic(found)).await?;
        }
        let changes = changes(&self.compiled, &compiled);
        let compiled = match self.pods_come(&mesh).await? {
            Some(interim) => Arc::new(translate(&mesh, Some(&interim))),
            None => compiled,
        };
        // Even where nothing changed for traffic: places may have moved, and what a rule id stands for is part of the config.
        self.distribution.publish(compiled.clone());
        (self.mesh, self.compiled) = (mesh, compiled);
        let answers = self.distribution.answers(&self.compiled, ACK_WITHIN).await;
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        for (node, reason) in answers.missing {
            self.tell(Event::NotApplied { node, reason }).await?;
        }
        let applied = Applied { order: answers.order, ms, proxies: answers.applied, changes };
        let event = if applied.changes.is_empty() { Event::Unchanged } else { Event::Applied(applied) };
        self.tell(event).await?;
        self.pods_go().await
    }

    /// Whether a folder cannot be read any more: then nobody knows what is in it.
    fn folder_gone(&self, loaded: &Loaded) -> Option<String> {
        let was_file = |name: &str| self.mesh.objects.iter().any(|entry| *entry.object.meta().spot.file.name == *name);
        let mut arguments = self.options.paths.iter().map(|path| path.display().to_string());
        let gone = arguments.find(|name| loaded.unreadable.contains(name.as_str()) && !was_file(name))?;
        Some(format!("{gone} cannot be read"))
    }

    /// Starts what is new in `mesh`, and waits for it with a config by which nobody routes to it yet; that config is returned.
    async fn pods_come(&mut self, mesh: &Mesh) -> Result<Option<Arc<Compiled>>, Failure> {
        let (Some(apps), Some(proxies)) = (&mut self.apps, &mut self.proxies) else { return Ok(None) };
        let mut news: Vec<Event> = apps.apply(mesh).into_iter().map(Event::Diagnostic).collect();
        let added = proxies.apply(mesh);
        let mut interim = None;
        if !added.is_empty() {
            let unseen = Arc::new(translate(&unseen(mesh, &added), Some(&self.compiled)));
            self.distribution.publish(unseen.clone());
            interim = Some(unseen);
            let mut readiness = proxies.readiness(&added);
            if !readiness.wait(READY_WITHIN).await {
                let late = proxies.not_ready(&readiness);
                news.extend(late.into_iter().map(|late| Event::NotApplied { node: late.node, reason: late.reason }));
            }
        }
        news.extend(added.into_iter().map(|node| Event::Pod { node, added: true }));
        for event in news {
            self.tell(event).await?;
        }
        Ok(interim)
    }

    /// Ends what `mesh` has no more.
    async fn pods_go(&mut self) -> Result<(), Failure> {
        let (Some(apps), Some(proxies)) = (&mut self.apps, &mut self.proxies) else { return Ok(()) };
        let gone = proxies.retain(&self.mesh);
        apps.retain(&self.mesh);
        for node in gone {
            self.tell(Event::Pod { node, added: false }).await?;
        }
        Ok(())
    }

    async fn tell(&self, event: Event) -> Result<(), Failure> {
        self.events.send(event).await.map_err(|_| Failure::Unread)
    }
}

/// The mesh as it looks to everybody else while these pods are coming up: no service selects them yet.
fn unseen(mesh: &Mesh, added: &[String]) -> Mesh {
    let mut mesh = mesh.clone();
    for pod in Arc::make_mut(&mut mesh.pods).iter_mut().filter(|pod| added.contains(&pod.node())) {
        Arc::make_mut(pod).labels.clear();
    }
    mesh
}

fn not_ready_text(proxies: &Proxies, readiness: &super::proxies::Readiness) -> String {
    let mut text = String::from("not everything came up:");
    for report in proxies.not_ready(readiness) {
        text += &format!("\n  the proxy of {} is not ready: {}", report.node, report.reason);
        for line in report.last_lines {
            text += &format!("\n    {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_brings_news_only() {
        let finding = |message: &str| Diagnostic::warning("w", message, "");
        let mut findings = Findings::of(vec![finding("a")]);
        assert_eq!(findings.news(vec![finding("a"), finding("b")]), [finding("b")]);
        assert!(findings.news(vec![finding("b")]).is_empty());
        // Mended and broken again: news again.
        assert_eq!(findings.news(vec![finding("a")]), [finding("a")]);
    }
}
