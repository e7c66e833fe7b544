//! Retries under way, per cluster and for all workers of the proxy together: a budget that each worker kept for itself would allow as many again.
//!
//! Only a request that is tried again touches anything here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use ringway_policy::View;

/// The counts of one configuration, by dense cluster id.
#[derive(Debug, Default)]
pub struct Retries(Box<[Arc<Running>]>);

/// Retries of one cluster. Passes from one configuration to the next by the cluster's name.
#[derive(Debug)]
pub struct Running {
    cluster: Arc<str>,
    count: AtomicU32,
}

/// One retry, counted until this is dropped.
#[derive(Debug)]
pub struct Granted(Arc<Running>);

impl Retries {
    /// Counts for the clusters of `view`; those that `previous` has for the same names go on.
    pub fn of(view: &View, previous: Option<&Retries>) -> Retries {
        // Both are in name order.
        let mut old = previous.map_or(&[][..], |p| &p.0).iter().peekable();
        let running = |cluster: &ringway_policy::view::ClusterView| {
            while old.next_if(|running| running.cluster < cluster.name).is_some() {}
            let same = old.next_if(|running| running.cluster == cluster.name);
            same.cloned().unwrap_or_else(|| Running::new(cluster.name.clone()))
        };
        Retries(view.clusters().iter().map(running).collect())
    }

    /// The count of a cluster.
    pub fn running(&self, cluster: u32) -> Option<&Arc<Running>> {
        self.0.get(cluster as usize)
    }
}

impl Running {
    fn new(cluster: Arc<str>) -> Arc<Running> {
        Arc::new(Running { cluster, count: AtomicU32::new(0) })
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count.load(SeqCst)
    }

    /// One more, unless there are `max` already.
    pub fn take(self: &Arc<Self>, max: u32) -> Option<Granted> {
        let more = |n: u32| (n < max).then(|| n + 1);
        self.count.fetch_update(SeqCst, SeqCst, more).ok().map(|_| Granted(self.clone()))
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_holds_between_threads_and_what_is_over_comes_back() {
        let running = Running::new("c".into());
        let highest = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Some(granted) = running.take(3) {
                            highest.fetch_max(running.count(), SeqCst);
                            drop(granted);
                        }
                    }
                });
            }
        });
        assert!((1..=3).contains(&highest.into_inner()));
        assert_eq!(running.count(), 0);
        let held: Vec<_> = (0..5).filter_map(|_| running.take(3)).collect();
        assert_eq!((held.len(), running.count(), running.take(0).is_none()), (3, 3, true));
    }
}
