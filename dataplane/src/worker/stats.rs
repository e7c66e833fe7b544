//! What a worker publishes about itself: single-writer counters, on cache lines of their own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringway_engine::io::Stats;

/// Counters of one worker; written by it alone.
#[derive(Debug, Default)]
#[repr(align(128))]
#[allow(missing_docs)]
pub struct WorkerStats {
    pub downstream: AtomicU64,
    pub upstream: AtomicU64,
    pub accepted: AtomicU64,
    pub handed_over: AtomicU64,
    pub requests: AtomicU64,
    pub upstream_connects: AtomicU64,
    pub upstream_reused: AtomicU64,
    pub upstream_connect_failures: AtomicU64,
    pub replays: AtomicU64,
    pub retries: AtomicU64,
    pub retries_exhausted: AtomicU64,
    pub retries_over_budget: AtomicU64,
    pub upstream_queued: AtomicU64,
    pub upstream_overflows: AtomicU64,
    pub signals_dropped: AtomicU64,
    pub parked: AtomicU64,
    pub mirrors_sent: AtomicU64,
    pub mirrors_dropped: AtomicU64,
    pub protocol_errors: AtomicU64,
    pub log_records_dropped: AtomicU64,
    pub series_overflowed: AtomicU64,
    pub swaps: AtomicU64,
    pub system_calls: AtomicU64,
    pub operations: AtomicU64,
    pub turns: AtomicU64,
    pub completions: AtomicU64,
    pub allocations: AtomicU64,
    pub input_budget_cuts: AtomicU64,
    pub accept_pauses: AtomicU64,
    pub no_buffers: AtomicU64,
    pub completion_overflows: AtomicU64,
    pub spills: AtomicU64,
    pub spilled_bytes: AtomicU64,
}

impl WorkerStats {
    /// Copies the driver's counters.
    pub fn publish_driver(&self, driver: &Stats) {
        self.system_calls.store(driver.system_calls, Relaxed);
        self.operations.store(driver.operations, Relaxed);
        self.turns.store(driver.turns, Relaxed);
        self.completions.store(driver.completions, Relaxed);
        if cfg!(feature = "count-allocations") {
            self.allocations.store(ringway_engine::counting::allocations(), Relaxed);
        }
        self.accept_pauses.store(driver.accept_pauses, Relaxed);
        self.no_buffers.store(driver.no_buffers, Relaxed);
        self.completion_overflows.store(driver.completion_overflows, Relaxed);
        self.spills.store(driver.spills, Relaxed);
        self.spilled_bytes.store(driver.spilled_bytes, Relaxed);
    }

    /// Every counter with its name and help, for `/stats/prometheus`.
    pub fn each(&self, mut visit: impl FnMut(&'static str, &'static str, bool, u64)) {
        let mut gauge = |name, help, cell: &AtomicU64| visit(name, help, false, cell.load(Relaxed));
        gauge("downstream_connections", "Downstream connections open now.", &self.downstream);
        gauge("upstream_connections", "Upstream connections open now.", &self.upstream);
        gauge("driver_spilled_bytes", "Heap bytes that unsent tails of slow peers take now.", &self.spilled_bytes);
        let mut counter = |name, help, cell: &AtomicU64| visit(name, help, true, cell.load(Relaxed));
        counter("accepted_total", "Connections accepted.", &self.accepted);
        counter(
            "accept_paused_total",
            "Times accepting paused for want of descriptors or memory.",
            &self.accept_pauses,
        );
        if cfg!(feature = "count-allocations") {
            counter("allocations_total", "Allocations of the worker's thread.", &self.allocations);
        }
        counter("handed_over_total", "Accepted connections handed to another worker.", &self.handed_over);
        counter("requests_total", "HTTP requests finished.", &self.requests);
        counter("upstream_connects_total", "Upstream connects started.", &self.upstream_connects);
        counter("upstream_reused_total", "Requests sent on a pooled connection.", &self.upstream_reused);
        counter("upstream_connect_failures_total", "Upstream connects that failed.", &self.upstream_connect_failures);
        counter(
            "replays_total",
            "Requests replayed on a fresh connection after a pooled one had closed.",
            &self.replays,
        );
        counter("retries_total", "Tries of requests after their first.", &self.retries);
        counter("retries_exhausted_total", "Requests that failed with their last try.", &self.retries_exhausted);
        counter(
            "retries_over_budget_total",
            "Requests not tried again because their cluster's retry budget was spent.",
            &self.retries_over_budget,
        );
        counter(
            "upstream_queued_total",
            "Requests that waited for a connection of a limited cluster.",
            &self.upstream_queued,
        );
        counter(
            "upstream_overflows_total",
            "Requests and connections refused because a limit of their cluster was reached.",
            &self.upstream_overflows,
        );
        counter(
            "outlier_signals_dropped_total",
            "Failures that outlier detection did not hear of because housekeeping was behind.",
            &self.signals_dropped,
        );
        counter("parked_total", "Requests that waited for on-demand config.", &self.parked);
        counter("mirrors_sent_total", "Copies of requests sent to mirrors.", &self.mirrors_sent);
        counter(
            "mirrors_dropped_total",
            "Requests not copied, or copies not sent: the body was too long, too many were under way, or nobody was there.",
            &self.mirrors_dropped,
        );
        counter("protocol_errors_total", "Messages refused for breaking HTTP's rules.", &self.protocol_errors);
        counter(
            "log_records_dropped_total",
            "Access-log records dropped because housekeeping was behind.",
            &self.log_records_dropped,
        );
        counter("series_overflowed_total", "Label sets counted in the other row.", &self.series_overflowed);
        counter("swaps_total", "Configurations taken into use.", &self.swaps);
        counter("driver_system_calls_total", "System calls made by the I/O driver.", &self.system_calls);
        counter("driver_operations_total", "Entries given to io_uring.", &self.operations);
        counter("driver_turns_total", "Turns of the event loop.", &self.turns);
        counter("driver_completions_total", "Completions delivered.", &self.completions);
        counter("driver_no_buffers_total", "Receives that found no buffer and were parked.", &self.no_buffers);
        counter("driver_completion_overflows_total", "Completion queue overflows.", &self.completion_overflows);
        counter("driver_spills_total", "Unsent tails copied to the heap.", &self.spills);
    }
}
