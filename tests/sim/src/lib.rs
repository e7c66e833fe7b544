//! The whole proxy worker in a seeded simulation: scripted clients and upstreams, network faults, config swaps and a drain, in virtual time.
//!
//! [`run::run`] plays one seed. Everything is derived from it: the traffic ([`plan`]), the behaviour of clients ([`client`]) and upstreams ([`server`]),
//! the faults and the order of events. A shadow model ([`model`]) knows what was asked and says what must not happen. The same seed gives the same
//! run, so a failure is replayed by its number: `RINGWAY_SEED=17 cargo test -p ringway-sim --test seeds -- --nocapture`.

pub mod client;
pub mod dice;
pub mod mesh;
pub mod model;
pub mod pattern;
pub mod plan;
pub mod run;
pub mod server;
pub mod stream;
pub mod trace;
pub mod tunnel;
pub mod wire;
