//! Generated meshes and requests, and who has to agree on them: the proxy with its own evaluator, and with Envoy.
//!
//! [`generate`] makes manifests and requests from a seed. [`ringway`] compiles the manifests with the control shim's library and runs the real
//! proxies; [`predict`] reads what `ringway explain` says; [`envoy`] translates the same manifests for Envoy and knows where it differs. [`coverage`] counts what the
//! cases had. Endpoints
//! ([`origins`]) are in the test and say what they saw. Opaque connections have meshes of their own ([`opaque`]). What a proxy does over time has a stage of its own ([`over_time`]).

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod chi_square;
pub mod coverage;
pub mod dice;
pub mod envoy;
pub mod generate;
pub mod message;
pub mod mirrors;
pub mod opaque;
pub mod origins;
pub mod over_time;
pub mod predict;
pub mod ringway;
pub mod run;
pub mod yaml;
