//! The list of adversarial cases against the real binary, on both drivers, with one worker and two. Tests are named after the list's row:
//! `row_06_…` is row 6. A hostile client is refused and its upstream sees nothing; a hostile upstream becomes a 502 (or a body that is cut
//! short where its head is already out), and its connection is never used again.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

mod admin;
mod broken_connections;
mod cancellation;
mod descriptors;
mod expect;
mod hostile_config;
mod limits;
mod manifests;
mod profiles;
mod requests;
mod responses;
mod slow;
mod upgrade;
