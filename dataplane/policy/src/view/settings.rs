//! What clusters say, without what tells them apart: most clusters of a mesh say the same, and share it.

use std::sync::Arc;

use ringway_config::model::{
    Balance, Cluster, ConnectionRules, ConsistentHash, LocalityRule, OutlierDetection, RetryBudget, Warmup,
};

use crate::outlier::Rules;

/// Settings looked at before new ones are made.
const RECENT_MAX: usize = 16;

/// The settings of a cluster, each as its model has it.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Settings {
    pub balance: Balance,
    pub hash: Option<ConsistentHash>,
    pub warmup: Option<Warmup>,
    pub locality: Option<LocalityRule>,
    pub connect_timeout_ms: u32,
    pub idle_timeout_ms: u64,
    pub max_requests_per_connection: u32,
    pub connection: Option<ConnectionRules>,
    pub max_connections: u32,
    pub max_pending_requests: u32,
    pub max_requests: u32,
    pub retry_budget: RetryBudget,
    pub outlier: Option<OutlierDetection>,
    pub mesh_internal: bool,
    /// How to classify what becomes of its requests, if endpoints that fail are to be left alone.
    pub(crate) rules: Option<Arc<Rules>>,
}

impl Settings {
    fn of(cluster: &Cluster) -> Settings {
        // Whole, so that a field that is new is not forgotten here.
        let Cluster {
            name: _,
            rule: _,
            protocol: _,
            balance,
            hash,
            warmup,
            locality,
            endpoints: _,
            connect_timeout_ms,
            idle_timeout_ms,
            max_requests_per_connection,
            connection,
            max_connections,
            max_pending_requests,
            max_requests,
            retry_budget,
            service_host: _,
            service_name: _,
            service_namespace: _,
            outlier,
            mesh_internal,
        } = cluster;
        Settings {
            balance: *balance,
            hash: hash.clone(),
            warmup: *warmup,
            locality: locality.clone(),
            connect_timeout_ms: *connect_timeout_ms,
            idle_timeout_ms: *idle_timeout_ms,
            max_requests_per_connection: *max_requests_per_connection,
            connection: *connection,
            max_connections: *max_connections,
            max_pending_requests: *max_pending_requests,
            max_requests: *max_requests,
            retry_budget: *retry_budget,
            rules: outlier.as_ref().map(|outlier| Arc::new(Rules::of(outlier))),
            outlier: outlier.clone(),
            mesh_internal: *mesh_internal,
        }
    }

    /// Its connections cannot serve another cluster of the same addresses.
    pub(super) fn keeps_apart(&self) -> bool {
        let limits = [self.max_connections, self.max_pending_requests, self.max_requests];
        let own = self.outlier.is_some() || self.connection.is_some() || self.max_requests_per_connection != 0;
        own || limits.iter().any(|max| *max != 0)
    }
}

/// Values that were made last, to be shared by whoever needs an equal one.
pub(super) struct Recent<T>(Vec<Arc<T>>);

impl<T: PartialEq> Recent<T> {
    pub(super) fn new() -> Recent<T> {
        Recent(Vec::new())
    }

    pub(super) fn share(&mut self, value: T) -> Arc<T> {
        if let Some(same) = self.0.iter().find(|known| ***known == value) {
            return same.clone();
        }
        if self.0.len() == RECENT_MAX {
            self.0.remove(0);
        }
        let value = Arc::new(value);
        self.0.push(value.clone());
        value
    }
}

impl Recent<Settings> {
    /// What a cluster says.
    pub(super) fn settings(&mut self, cluster: &Cluster) -> Arc<Settings> {
        self.share(Settings::of(cluster))
    }
}
