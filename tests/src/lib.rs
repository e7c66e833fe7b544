//! Tests from outside: they start the real binaries and talk to them over sockets, as clients, upstreams and operators do.
//!
//! This library is the harness; the suites are in `tests/tests/`, one file a subject, test names starting with the row of the list of
//! adversarial cases where there is one. Nothing here links the proxy: only the config format is shared.

// The harness is test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

pub mod harness;
