//! HTTP/1.1 as the RFCs say it, through the real binary; the module tree is theirs. What must be refused is in the adversarial suite.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

mod rfc6455;
mod rfc9110;
mod rfc9112;
