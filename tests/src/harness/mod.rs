//! What the suites stand on. Each file is one thing of the world outside the proxy.
//!
//! No fixed ports (everything binds port 0), no test-wide sleeps (waits are for a condition, bounded by [`PATIENCE`]), and every child
//! process ends with the test that started it.

pub mod binary;
pub mod child;
pub mod config;
pub mod dns;
pub mod http;
pub mod matrix;
pub mod mesh;
pub mod proxy;
pub mod shim;
pub mod tls;
pub mod upstream;
pub mod wait;

pub use child::Program;
pub use config::Config;
pub use http::{Client, Response};
pub use matrix::{Backend, Case, skip};
pub use mesh::Mesh;
pub use proxy::{Proxy, ProxyBuilder};
pub use shim::{Link, Shim};
pub use tls::client_hello;
pub use upstream::{Conn, Reply, Request, Upstream};
pub use wait::{PATIENCE, until};
