//! From manifests to what a proxy would do with them. Requests are decided by the proxy's own evaluator on the compiled config.

mod apply;
mod client_selectors;
mod connections;
mod corpus;
mod delegates;
mod faults_and_cors;
mod gateways;
mod http_routes;
mod last_good;
mod load_balancers;
mod localities;
mod manifests;
mod mesh_config;
mod mirrors;
mod on_demand;
mod opaque;
mod publishing;
mod reformat;
mod refused;
mod retries;
mod samples;
mod services;
mod sidecars;
mod statuses;
mod virtual_services;
