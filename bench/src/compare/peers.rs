//! The table of routes and the access log in the words of the peers, to be put into the templates of `bench/peers/`.

use std::fmt::Write;

use super::routes::{Condition, HEADER, Host, Routes};

/// Where Debian and the upstream packages put it.
pub const NGINX_STREAM_MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

/// A file beside the configuration: its name and what it holds.
pub type Named = (&'static str, String);

/// nginx: a server for every host and a location for every rule. `^~` keeps regular expressions from being tried where a prefix holds.
pub fn nginx(hosts: &[Host]) -> String {
    let mut out = String::new();
    for (n, host) in hosts.iter().enumerate() {
        let backlog = if n == 0 { " backlog=4096" } else { "" };
        let name = if host.authority == "*" { "_" } else { &host.authority };
        let _ = writeln!(out, "    server {{\n        listen 127.0.0.1:@PROXY@{backlog};\n        server_name {name};");
        for rule in &host.rules {
            let location = |pattern: &str, guard: &str| {
                format!("        location {pattern} {{ {guard}proxy_pass http://origin; }}\n")
            };
            out += &match &rule.condition {
                Condition::Prefix(prefix) => location(&format!("^~ {prefix}"), ""),
                Condition::Exact(path) => location(&format!("= {path}"), ""),
                Condition::Regex(pattern) => location(&format!("~ \"^{pattern}$\""), ""),
                Condition::PrefixAndHeader(prefix, value) => {
                    let variable = HEADER.replace('-', "_");
                    location(
                        &format!("^~ {prefix}"),
                        &format!("if ($http_{variable} != \"{value}\") {{ return 404; }} "),
                    )
                }
            };
        }
        if host.rules.iter().all(|rule| rule.condition != Condition::Prefix("/".into())) {
            out += "        location / { return 404; }\n";
        }
        out += "    }\n";
    }
    out
}

/// HAProxy: maps from host and path, which it keeps as trees; only regular expressions are tried one after the other.
pub fn haproxy(hosts: &[Host]) -> Vec<Named> {
    let mut maps = [
        ("exact.map", String::new()),
        ("prefix.map", String::new()),
        ("header.map", String::new()),
        ("regex.map", String::new()),
    ];
    for host in hosts {
        for rule in &host.rules {
            let authority = &host.authority;
            let (map, key) = match &rule.condition {
                Condition::Exact(path) => (0, format!("{authority}{path}")),
                Condition::Prefix(prefix) => (1, format!("{authority}{prefix}")),
                Condition::PrefixAndHeader(prefix, value) => (2, format!("{value}|{authority}{prefix}")),
                Condition::Regex(pattern) => (3, format!("^{}{pattern}$", authority.replace('.', "\\."))),
            };
            let _ = writeln!(maps[map].1, "{key} origin");
        }
    }
    maps.into()
}

/// Envoy: a virtual host for every host, a route for every rule.
pub fn envoy_virtual_hosts(hosts: &[Host]) -> String {
    let mut out = String::new();
    for (n, host) in hosts.iter().enumerate() {
        let _ = writeln!(
            out,
            "            - name: host-{n}\n              domains: [\"{}\"]\n              routes:",
            host.authority
        );
        for rule in &host.rules {
            let condition = match &rule.condition {
                Condition::Prefix(prefix) => format!("prefix: \"{prefix}\""),
                Condition::Exact(path) => format!("path: \"{path}\""),
                Condition::Regex(pattern) => format!("safe_regex: {{ regex: \"{pattern}\" }}"),
                Condition::PrefixAndHeader(prefix, value) => format!(
                    "prefix: \"{prefix}\", headers: [{{ name: {HEADER}, string_match: {{ exact: \"{value}\" }} }}]"
                ),
            };
            let to = rule.destination;
            let _ = writeln!(
                out,
                "              - {{ match: {{ {condition} }}, route: {{ cluster: origin-{to}, timeout: 15s }} }}"
            );
        }
    }
    out
}

/// Envoy: a cluster for every destination.
pub fn envoy_clusters(routes: Routes) -> String {
    (0..routes.destinations()).fold(String::new(), |mut out, n| {
        let _ = writeln!(
            out,
            "  - {{ name: origin-{n}, type: STATIC, connect_timeout: 10s, outlier_detection: {{ consecutive_5xx: 5, interval: 10s, base_ejection_time: 30s, max_ejection_percent: 10 }}, \
             circuit_breakers: {{ thresholds: [{{ max_connections: 8192, max_pending_requests: 8192, max_requests: 8192 }}] }}, \
             load_assignment: {{ cluster_name: origin-{n}, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @ORIGIN@ }} }} }} }}] }}] }} }}"
        );
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_every_rule() {
        let hosts = Routes::Full.hosts(128);
        let nginx = nginx(&hosts);
        assert_eq!((nginx.matches("server_name").count(), nginx.matches("proxy_pass").count()), (101, 2000));
        assert_eq!(nginx.matches("backlog").count(), 1, "an address takes its options once");
        let maps = haproxy(&hosts);
        let lines = |name: &str| maps.iter().find(|map| map.0 == name).unwrap().1.lines().count();
        assert_eq!(["exact.map", "prefix.map", "header.map", "regex.map"].map(lines), [600, 800, 400, 200]);
        assert!(maps[3].1.contains("^s0\\.shop\\.svc\\.cluster\\.local/r9/[a-z]+/[0-9]+$ origin\n"), "{}", maps[3].1);
        let envoy = envoy_virtual_hosts(&hosts);
        assert_eq!((envoy.matches("domains").count(), envoy.matches("cluster: origin-0,").count()), (101, 2000));
        assert_eq!(envoy_clusters(Routes::Many(10)).lines().count(), 10);
    }
}
