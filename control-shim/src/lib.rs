//! The control shim: manifests in, compact binary config out.
//!
//! [`source`] reads manifests into typed [`object`]s; [`mesh`] adds where pods run; [`translate`] compiles the whole, purely; [`publish`] brings each
//! proxy what it is subscribed to. [`status`] is what the Gateway API's objects are to say about themselves. [`run`] is all of it on one machine. [`diagnostic`] is how all of them speak to people.

pub mod cli;
pub mod diagnostic;
pub mod explain;
#[doc(hidden)]
pub mod fuzz;
pub mod lint;
pub mod mesh;
pub mod object;
pub mod plan;
pub mod publish;
pub mod run;
mod sorted;
pub mod source;
pub mod status;
pub mod translate;
pub mod yaml;
