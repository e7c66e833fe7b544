//! What a sidecar and a gateway do beyond HTTP's rules: pools, tunnels, timeouts, weights, drain, live config, telemetry, admin.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

mod admin;
mod backend;
mod balancing;
mod breakers;
mod cors;
mod drain;
mod faults;
mod header_values;
mod live_config;
mod mirrors;
mod names;
mod on_demand;
mod outliers;
mod pools;
mod retries;
mod routing;
mod slow_readers;
mod telemetry;
mod timeouts;
mod tls_passthrough;
mod trusted_proxies;
mod tunnels;
