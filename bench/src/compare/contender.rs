//! Who is compared: ours, the yardsticks, the peers that this program knows how to configure, and any other by its command.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ours::{self, Front};
use super::peers::{PEERS, Peer, Setup};
use super::place::{Place, quoted};
use super::routes::Routes;
use super::trials::{Traffic, Workload};

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
    Peer {
        program: PathBuf,
        peer: &'static Peer,
    },
    /// A command with `{port}`, `{upstream}`, `{upstream_port}`.
    Command(String),
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
            Some(program) => found.extend(OURS.map(|(name, driver)| {
                let version = said(&program, "--version");
                Contender::new(name, version, "", Kind::Ours { program: program.clone(), driver })
            })),
            None => {
                missing.push("ringway (build it: cargo build --release -p dataplane; or --dataplane FILE)".to_string())
            }
        }
        let folder = yardsticks.map_or_else(|| PathBuf::from("bench/yardsticks/target/release"), Path::to_path_buf);
        let sticks = YARDSTICKS.iter().filter_map(|name| Some((name, file(folder.join(name))?)));
        let ours = found.len();
        found.extend(
            sticks.map(|(name, program)| {
                Contender::new(name, String::new(), YARDSTICK_LACKS, Kind::Yardstick { program })
            }),
        );
        if found.len() == ours {
            missing.push("yardsticks (cargo build --release --manifest-path bench/yardsticks/Cargo.toml; or --yardsticks FOLDER)".to_string());
        }
        for peer in PEERS {
            match in_path(peer.name) {
                Some(program) => {
                    let version = said(&program, peer.version);
                    let kind = Kind::Peer { program: (peer.behind)(program), peer };
                    found.push(Contender::new(peer.name, version, peer.lacks, kind));
                }
                None => missing.push(format!("{} ({})", peer.name, peer.from)),
            }
        }
        found.extend(extra.iter().map(|(name, command)| {
            Contender::new(name, String::new(), "not known here", Kind::Command(command.clone()))
        }));
        let logged: Vec<Contender> = found.iter().filter_map(Contender::logged).collect();
        found.extend(logged);
        (found, missing)
    }

    fn new(name: &str, version: String, lacks: &'static str, kind: Kind) -> Contender {
        Contender { name: name.to_string(), version, lacks, access_log: false, kind }
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

    /// Whether there is a point in it under this workload. The rows about our own threads are for ours, and those about many destinations for who routes.
    pub fn suits(&self, workload: &Workload) -> bool {
        match workload.traffic {
            _ if workload.name.starts_with("workers-") => self.name == OURS[0].0,
            Traffic::Http(Routes::Many(_)) => self.routes() && !self.access_log,
            Traffic::Opaque | Traffic::Bulk => !self.access_log,
            Traffic::Http(_) => true,
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
        Ok(Some(match &self.kind {
            Kind::Ours { program, driver } => {
                let snapshot = place.folder.join("snapshot");
                let front = match workload.routes() {
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
                let more = match workload.traffic {
                    Traffic::Bulk if self.is_bare() => " --splice",
                    _ if workload.reply_bytes > LARGE_BYTES => " --buffer-bytes 131072",
                    _ => "",
                };
                let tcp = if workload.routes().is_none() { " --tcp" } else { "" };
                format!("exec {} --listen 127.0.0.1:{port} --upstream 127.0.0.1:{origin}{tcp}{more}", quoted(program))
            }
            Kind::Peer { program, peer } => {
                let setup = Setup { workload, access_log: self.access_log, place };
                let Some(arguments) = (peer.arguments)(&setup)? else { return Ok(None) };
                format!("exec {} {arguments}", quoted(program))
            }
            Kind::Command(command) => command
                .replace("{port}", &port.to_string())
                .replace("{upstream_port}", &origin.to_string())
                .replace("{upstream}", &format!("127.0.0.1:{origin}")),
        }))
    }
}

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
