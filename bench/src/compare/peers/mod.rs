//! The peers that this program knows how to configure: where they come from, and the workloads in their own words.
//!
//! Each fills in the templates of `bench/peers/`, which say why they are as they are.

mod envoy;
mod haproxy;
mod nginx;

use std::path::PathBuf;

use super::place::Place;
use super::trials::Workload;

/// A program that does the same work.
#[derive(Debug)]
pub struct Peer {
    /// As its program is called.
    pub name: &'static str,
    /// Makes it say its version.
    pub version: &'static str,
    /// What brings it.
    pub from: &'static str,
    /// What it leaves out that ours does.
    pub lacks: &'static str,
    /// The program itself, where what is found in the path only starts it.
    pub behind: fn(PathBuf) -> PathBuf,
    /// Writes its files and returns its arguments; `None` when it has no mode for that.
    pub arguments: fn(&Setup<'_>) -> Result<Option<String>, String>,
}

/// What a peer is to do.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Its load.
    pub workload: &'a Workload,
    /// Whether it writes a line for every request.
    pub access_log: bool,
    /// Where.
    pub place: Place<'a>,
}

/// All of them, in the table's order.
pub const PEERS: [&Peer; 3] = [&nginx::NGINX, &haproxy::HAPROXY, &envoy::ENVOY];
