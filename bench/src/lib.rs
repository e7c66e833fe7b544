//! A load generator for HTTP/1.1, WebSocket and TCP whose latencies are true.
//!
//! Requests are due at moments that the target has no influence on (an open loop), and a latency counts from that moment, also while every
//! connection waits for a server that hangs. What the generator itself was late is measured beside it, and so is its own CPU; a run in which it was
//! the bottleneck says so.
//!
//! One thread a core, nothing shared: a [`worker`] owns its connections, its share of the [`arrivals`] and its [`tally`], on the same engine as the
//! proxy (`docs/design/0002-load-generator.md` says why). [`run`] starts the workers and merges what they tell once a second.

pub mod ab;
pub mod arrivals;
pub mod cli;
pub mod compare;
pub mod cores;
pub mod gate;
pub mod idle;
pub mod lifetime;
pub mod live;
pub mod merge;
pub mod pem;
pub mod plan;
pub mod probe;
pub mod prometheus;
pub mod protocol;
pub mod replay;
pub mod report;
pub mod run;
pub mod scenario;
pub mod serve;
pub mod server;
pub mod statistics;
pub mod tally;
pub mod trial;
pub mod worker;
