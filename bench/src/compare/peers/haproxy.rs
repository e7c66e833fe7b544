//! HAProxy: maps from host and path, which it keeps as trees; only regular expressions are tried one after the other. A backend for every destination.

use std::fmt::Write;

use super::{Peer, Setup};
use crate::compare::routes::{Condition, Host, Routes};

pub const HAPROXY: Peer = Peer {
    name: "haproxy",
    version: "-v",
    from: "apt-get install haproxy",
    lacks: "request IDs, metrics by source and destination (it has them by server), outlier detection as configured here",
    behind: std::convert::identity,
    arguments,
};

/// A file beside the configuration: its name and what it holds.
type Named = (&'static str, String);

fn arguments(setup: &Setup<'_>) -> Result<Option<String>, String> {
    let config = match setup.workload.routes() {
        None => include_str!("../../../peers/haproxy/tcp.cfg").to_string(),
        Some(routes) => {
            let (to, log) = match setup.access_log {
                true => ("log stdout format raw local0", "log global\n    option httplog"),
                false => ("", ""),
            };
            let table = match routes {
                Routes::One => "    default_backend origin-0",
                Routes::Full => include_str!("../../../peers/haproxy/table.cfg").trim_end(),
                Routes::Many(_) => include_str!("../../../peers/haproxy/prefixes.cfg").trim_end(),
            };
            for (name, text) in maps(&routes.hosts(setup.workload.reply_bytes)) {
                setup.place.write(name, &text)?;
            }
            include_str!("../../../peers/haproxy/http.cfg")
                .replace("@LOG_TO@", to)
                .replace("@LOG@", log)
                .replace("@ROUTES@", table)
                .replace("@BACKENDS@", &backends(routes.destinations()))
        }
    };
    Ok(Some(format!("-f {}", setup.place.write("haproxy.cfg", &config)?)))
}

fn backends(destinations: usize) -> String {
    (0..destinations).fold(String::new(), |mut out, n| {
        let _ = writeln!(out, "backend origin-{n}\n    server one 127.0.0.1:@ORIGIN@ pool-max-conn 1024");
        out
    })
}

fn maps(hosts: &[Host]) -> [Named; 4] {
    let mut maps = ["exact.map", "prefix.map", "header.map", "regex.map"].map(|name| (name, String::new()));
    for host in hosts {
        for rule in &host.rules {
            let authority = &host.authority;
            let (map, key) = match &rule.condition {
                Condition::Exact(path) => (0, format!("{authority}{path}")),
                Condition::Prefix(prefix) => (1, format!("{authority}{prefix}")),
                Condition::PrefixAndHeader(prefix, value) => (2, format!("{value}|{authority}{prefix}")),
                Condition::Regex(pattern) => (3, format!("^{}{pattern}$", authority.replace('.', "\\."))),
            };
            let _ = writeln!(maps[map].1, "{key} origin-{}", rule.destination);
        }
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_in_a_map() {
        let maps = maps(&Routes::Full.hosts(128));
        assert_eq!(maps.each_ref().map(|(_, lines)| lines.lines().count()), [600, 800, 400, 200]);
        assert!(maps[3].1.contains("^s0\\.shop\\.svc\\.cluster\\.local/r9/[a-z]+/[0-9]+$ origin-0\n"), "{}", maps[3].1);
        let many = super::maps(&Routes::Many(10).hosts(128));
        assert_eq!(many.each_ref().map(|(_, lines)| lines.lines().count()), [0, 10, 0, 0]);
        assert!(many[1].1.ends_with("/p9/ origin-9\n") && backends(10).contains("backend origin-9\n"), "{}", many[1].1);
    }
}
