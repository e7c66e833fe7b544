//! Decisions on compiled config, from models to steps.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod allocations;
mod builds;
mod choices;
mod consistent;
mod cors;
mod faults;
mod hosts;
mod index;
mod localities;
mod matches;
mod memory;
mod replies;
mod swaps;
mod values;
mod warming;
mod world;
