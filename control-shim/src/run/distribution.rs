//! The way of a compiled mesh to this run's proxies, and their answers.

use crate::publish::{Publisher, serve};
use crate::translate::Compiled;
use ringway_config::model::RuleId;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Serves the proxies of a run until it is dropped.
pub struct Distribution {
    state: watch::Sender<Arc<Compiled>>,
    publisher: Publisher,
    task: JoinHandle<std::io::Result<()>>,
}

/// How the proxies answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The newest order that one of them runs: `incarnation.sequence`.
    pub order: String,
    /// Proxies that run it.
    pub applied: usize,
    /// Those that do not, and why.
    pub missing: Vec<(String, String)>,
}

impl Distribution {
    /// Listens on `socket` and gives everybody who connects their part of `compiled`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(socket: &Path, compiled: Arc<Compiled>) -> std::io::Result<Distribution> {
        let listener = UnixListener::bind(socket)?;
        let (state, newest) = watch::channel(compiled);
        let publisher = Publisher::starting_now();
        let task = tokio::spawn(serve(listener, newest, publisher.clone()));
        Ok(Distribution { state, publisher, task })
    }

    /// From now on everybody gets this.
    pub fn publish(&self, compiled: Arc<Compiled>) {
        // The receiver lives in our task; should that have ended, nobody answers and that is told.
        let _ = self.state.send(compiled);
    }

    /// Waits until a proxy refuses its config: which one, and why.
    pub async fn refusal(&self, compiled: &Compiled) -> (String, String) {
        let mut changed = self.publisher.subscribe();
        loop {
            let nodes = self.publisher.status().nodes;
            if let Some((node, refusal)) = nodes.into_iter().find_map(|(node, status)| Some((node, status.refused?))) {
                return (node, refusal.reason + &place_of(compiled, refusal.rule));
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until every connected proxy has answered for `compiled`, or the time is over.
    pub async fn answers(&self, compiled: &Compiled, limit: Duration) -> Answers {
        let mut changed = self.publisher.subscribe();
        let all = async {
            while !self.publisher.settled(compiled.version) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let late = tokio::time::timeout(limit, all).await.is_err();
        let mut answers = Answers::default();
        let mut newest = None;
        for (node, status) in self.publisher.status().nodes.into_iter().filter(|(_, status)| status.streams > 0) {
            match status.refused {
                Some(refusal) => answers.missing.push((node, refusal.reason + &place_of(compiled, refusal.rule))),
                None if late && status.version < compiled.version => {
                    answers.missing.push((node, format!("no answer within {} s", limit.as_secs())));
                }
                None => {
                    answers.applied += 1;
                    newest = newest.max(status.acked.map(|order| (order.incarnation, order.sequence)));
                }
            }
        }
        answers.order = newest.map(|(incarnation, sequence)| format!("{incarnation}.{sequence}")).unwrap_or_default();
        answers
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// ` (reviews-split.yaml:12)`, where a refused rule stands.
fn place_of(compiled: &Compiled, rule: RuleId) -> String {
    compiled.origin(rule).map(|entry| format!(" ({}:{})", entry.file, entry.line)).unwrap_or_default()
}
