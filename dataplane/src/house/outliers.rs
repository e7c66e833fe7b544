//! Drives the proxy's one outlier detector: workers' signals in, verdicts out to every worker.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringway_policy::outlier::Signal;

use super::House;
use crate::messages::ToWorker;

impl House {
    /// The configuration in force has other endpoints or rules.
    pub(super) fn watch_outliers(&mut self) {
        let Some(active) = &self.current else { return };
        let clusters = active.view.clusters().iter().filter_map(|cluster| {
            let rules = cluster.settings.outlier.as_ref()?;
            let endpoints = cluster.endpoints.clone().map(|id| active.view.endpoint(id));
            // One that drains gets nothing anyway.
            Some((&cluster.name, rules, endpoints.filter(|e| !e.draining).map(|e| e.address).collect()))
        });
        self.detector.watch(clusters, nanoseconds(self.started.elapsed()), &mut self.verdicts);
        self.tell_verdicts();
    }

    pub(super) fn on_signal(&mut self, cluster: &str, address: SocketAddr, signal: Signal) {
        let now = nanoseconds(self.started.elapsed());
        self.detector.report(cluster, address, signal, now, &mut self.verdicts);
        self.tell_verdicts();
    }

    pub(super) fn sweep_outliers(&mut self) {
        self.detector.sweep(nanoseconds(self.started.elapsed()), &mut self.verdicts);
        self.tell_verdicts();
    }

    /// When [`House::sweep_outliers`] has something to do.
    pub(super) fn outliers_due(&self) -> Option<Instant> {
        Some(self.started + Duration::from_nanos(self.detector.due()?))
    }

    fn tell_verdicts(&mut self) {
        for verdict in self.verdicts.drain(..) {
            self.workers.post_all(|| ToWorker::Judge(Box::new(verdict.clone())));
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
