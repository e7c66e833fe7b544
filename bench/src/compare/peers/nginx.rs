//! nginx: a server for every host, a location for every rule, an upstream for every destination.

use std::fmt::Write;
use std::path::Path;

use super::{Peer, Setup};
use crate::compare::routes::{Condition, HEADER, Host};

pub const NGINX: Peer = Peer {
    name: "nginx",
    version: "-v",
    from: "apt-get install nginx libnginx-mod-stream",
    lacks: "request IDs, metrics by source and destination, outlier detection, a route table that changes without new processes",
    behind: std::convert::identity,
    arguments,
};

/// Where Debian and the upstream packages put it.
const STREAM_MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];
/// Pooled connections of the one destination that all rules have. It takes memory for each when it starts, so that many destinations have as many as clients.
const POOLED: usize = 512;
/// Lines are written when so many have come together, as its own documentation recommends for many of them.
const LOG: &str = "access_log @DIR@/access.log combined buffer=64k flush=1s;";

fn arguments(setup: &Setup<'_>) -> Result<Option<String>, String> {
    let config = match setup.workload.routes() {
        None => {
            let Some(module) = STREAM_MODULES.iter().find(|module| Path::new(module).is_file()) else {
                return Ok(None);
            };
            include_str!("../../../peers/nginx/tcp.conf").replace("@STREAM@", module)
        }
        Some(routes) => {
            let pooled = if routes.destinations() == 1 { POOLED } else { setup.workload.connections };
            include_str!("../../../peers/nginx/http.conf")
                .replace("@LOG@", if setup.access_log { LOG } else { "access_log off;" })
                .replace("@UPSTREAMS@", &upstreams(routes.destinations(), pooled))
                .replace("@ROUTES@", &servers(&routes.hosts(setup.workload.reply_bytes)))
        }
    };
    Ok(Some(format!("-c {}", setup.place.write("nginx.conf", &config)?)))
}

fn upstreams(destinations: usize, pooled: usize) -> String {
    (0..destinations).fold(String::new(), |mut out, n| {
        let _ = writeln!(
            out,
            "    upstream origin-{n} {{ server 127.0.0.1:@ORIGIN@; keepalive {pooled}; keepalive_requests 1000000000; keepalive_timeout 3600; }}"
        );
        out
    })
}

/// `^~` keeps regular expressions from being tried where a prefix holds.
fn servers(hosts: &[Host]) -> String {
    let mut out = String::new();
    for (n, host) in hosts.iter().enumerate() {
        let backlog = if n == 0 { " backlog=4096" } else { "" };
        let name = if host.authority == "*" { "_" } else { &host.authority };
        let _ = writeln!(out, "    server {{\n        listen 127.0.0.1:@PROXY@{backlog};\n        server_name {name};");
        for rule in &host.rules {
            let (pattern, guard) = match &rule.condition {
                Condition::Prefix(prefix) => (format!("^~ {prefix}"), String::new()),
                Condition::Exact(path) => (format!("= {path}"), String::new()),
                Condition::Regex(pattern) => (format!("~ \"^{pattern}$\""), String::new()),
                Condition::PrefixAndHeader(prefix, value) => {
                    let variable = HEADER.replace('-', "_");
                    (format!("^~ {prefix}"), format!("if ($http_{variable} != \"{value}\") {{ return 404; }} "))
                }
            };
            let to = rule.destination;
            let _ = writeln!(out, "        location {pattern} {{ {guard}proxy_pass http://origin-{to}; }}");
        }
        if host.rules.iter().all(|rule| rule.condition != Condition::Prefix("/".into())) {
            out += "        location / { return 404; }\n";
        }
        out += "    }\n";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::routes::Routes;

    #[test]
    fn every_rule_is_a_location_and_every_destination_an_upstream() {
        let servers = servers(&Routes::Full.hosts(128));
        assert_eq!((servers.matches("server_name").count(), servers.matches("proxy_pass").count()), (101, 2000));
        assert_eq!(servers.matches("backlog").count(), 1, "an address takes its options once");
        let many = super::servers(&Routes::Many(10).hosts(128));
        assert!(many.contains("location ^~ /p9/ { proxy_pass http://origin-9; }\n"), "{many}");
        assert_eq!(upstreams(Routes::Many(10).destinations(), 64).lines().count(), 10);
    }
}
