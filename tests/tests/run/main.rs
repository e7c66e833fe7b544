//! `ringway run`, as its users meet it: manifests in, a mesh out, edits while it runs.

#![allow(missing_docs)]

mod any_host;
mod bookinfo;
mod bookshop;
mod edits;
mod examples;
mod explain;
mod exports;
mod failover;
mod gateway_api;
mod load;
mod opaque;
mod processes;
mod profiles;
mod sidecars;
mod websockets;
