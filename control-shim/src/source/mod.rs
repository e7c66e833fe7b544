//! Where manifests come from.

pub mod folder;
pub mod watch;
