//! The Ringway proxy: sidecar and gateway. Composition of engine, codecs and policy; the codecs and the policy know nothing of it.

pub mod active;
#[doc(hidden)]
pub mod fuzz;
pub mod house;
pub mod ledger;
pub mod messages;
pub mod planted;
pub mod retries;
pub mod telemetry;
pub mod worker;
