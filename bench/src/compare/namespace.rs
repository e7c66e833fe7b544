//! A network of the comparison's own: nobody else's ports and connections, and reno as congestion control (bbr paces even loopback).

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set in the process that runs inside.
const INSIDE: &str = "RINGWAY_LOAD_NAMESPACE";
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// What the namespace is given. Kernels without one of them keep what they have; of the first, the report says which. Connections that the client has
/// ended hold its ports for a minute and make the next ones dear: the more of them, the longer a comparison has run, which is no contender's doing.
const SETTINGS: [(&str, &str); 3] = [
    (CONGESTION, "reno"),
    ("/proc/sys/net/ipv4/tcp_max_tw_buckets", "1024"),
    ("/proc/sys/net/ipv4/ip_local_port_range", "10240 65535"),
];
/// In the namespace, before anything else.
const SET_UP: &str = "ip link set lo up";

/// Starts this program again in a namespace, where that is allowed; then it does not return. Otherwise says where it runs.
pub fn enter() -> String {
    if std::env::var_os(INSIDE).is_some() {
        for (file, value) in SETTINGS {
            let _ = std::fs::write(file, value);
        }
        return format!("a network namespace of its own, {}", congestion());
    }
    if !rustix::process::geteuid().is_root() {
        return format!("the machine's network (not root), {}", congestion());
    }
    let probe = Command::new("unshare")
        .args(["--net", "sh", "-c", SET_UP])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        return format!(
            "the machine's network (no namespace: unshare and ip are needed, and the right to use them), {}",
            congestion()
        );
    }
    let Ok(program) = std::env::current_exe() else { return congestion() };
    let error = Command::new("unshare")
        .args(["--net", "sh", "-c", &format!("{SET_UP} && exec \"$0\" \"$@\"")])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    format!("the machine's network (unshare: {error}), {}", congestion())
}

fn congestion() -> String {
    let name = std::fs::read_to_string(CONGESTION).unwrap_or_default();
    format!("congestion control {}", if name.trim().is_empty() { "unknown" } else { name.trim() })
}
