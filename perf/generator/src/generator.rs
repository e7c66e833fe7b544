//! A run of one generator as a process, and what the kernel says that it took.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringway_load::report::json::Report;

/// Who makes the load.
pub enum Generator {
    /// This `ringway-load`.
    Ours(PathBuf),
    /// Out of the path.
    Wrk,
}

/// What came out.
pub struct Run {
    /// Requests per second.
    pub rate: f64,
    /// Requests per second of the generator's CPU, from its start to its end.
    pub per_cpu_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Run {
    /// Latency, microseconds.
    pub fn p50(&self) -> f64 {
        self.p50_us
    }

    /// Latency, microseconds.
    pub fn p99(&self) -> f64 {
        self.p99_us
    }
}

impl Generator {
    /// Whether it can be started.
    pub fn is_there(&self) -> bool {
        match self {
            Generator::Ours(program) => program.is_file(),
            Generator::Wrk => Command::new("wrk").arg("-v").output().is_ok(),
        }
    }

    /// A closed loop on one thread.
    pub fn run(&self, url: &str, connections: usize, seconds: u32) -> Result<Run, String> {
        let before = cpu_of_children()?;
        let (requests, rate, p50_us, p99_us) = match self {
            Generator::Ours(program) => {
                let connections = connections.to_string();
                let more = ["--closed", "-c", &connections, "--warmup", "0s"];
                let insecure: &[&str] = if url.starts_with("https:") { &["--insecure"] } else { &[] };
                let report = report(program, url, seconds, &[&more[..], insecure].concat())?;
                if report.errors.share > 0.0 {
                    return Err(format!("requests to {url} failed: {:?}", report.errors.causes));
                }
                let us = |p| report.percentile(p) / 1e3;
                (report.requests as f64, report.rate, us(50.0), us(99.0))
            }
            Generator::Wrk => {
                let flags = [format!("-c{connections}"), format!("-d{seconds}s")];
                let mut wrk = Command::new("wrk");
                said_by_wrk(&text(wrk.args(["-t1", "--latency"]).args(flags).arg(url))?)?
            }
        };
        let cpu = cpu_of_children()? - before;
        if cpu <= 0.0 {
            return Err("a run took no CPU: it is too short".into());
        }
        Ok(Run { rate, per_cpu_second: requests / cpu, p50_us, p99_us })
    }
}

/// A run of ours on one thread.
pub fn report(program: &Path, url: &str, seconds: u32, more: &[&str]) -> Result<Report, String> {
    let mut run = Command::new(program);
    Report::parse(&text(
        run.args(["run", url, "-t", "1", "-d", &format!("{seconds}s"), "--output", "json"]).args(more),
    )?)
}

fn text(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&stdout).into_owned()),
        false => Err(format!("{command:?} ended with {status}: {}", String::from_utf8_lossy(&stderr).trim_end())),
    }
}

/// Requests, requests per second, p50 and p99 in microseconds.
fn said_by_wrk(text: &str) -> Result<(f64, f64, f64, f64), String> {
    let not = || format!("not what wrk says of a run without failures:\n{text}");
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return Err(not());
    }
    let line = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
    let requests = text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse::<f64>().ok());
    let rate = line("Requests/sec:").and_then(|rate| rate.parse::<f64>().ok());
    let [p50, p99] = ["50%", "99%"].map(|p| line(p).and_then(micros));
    match (requests, rate, p50, p99) {
        (Some(requests), Some(rate), Some(p50), Some(p99)) => Ok((requests, rate, p50, p99)),
        _ => Err(not()),
    }
}

/// `801.00us`, `1.20ms` or `1.00s`.
fn micros(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Seconds of CPU of all children that have ended: proc(5), `cutime` and `cstime`.
fn cpu_of_children() -> Result<f64, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|e| format!("/proc/self/stat: {e}"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: f64 = fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Running 2s test @ http://127.0.0.1:8080/128
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.33ms  107.30us   5.28ms   96.22%
    Req/Sec    12.07k   280.63    12.34k    95.24%
  Latency Distribution
     50%  801.00us
     75%    1.32ms
     90%    1.34ms
     99%    1.46ms
  25214 requests in 2.10s, 4.62MB read
Requests/sec:  12006.67
Transfer/sec:      2.20MB
";

    #[test]
    fn what_wrk_says_is_read() {
        assert_eq!(said_by_wrk(SAID), Ok((25214.0, 12006.67, 801.0, 1460.0)));
        let failed =
            SAID.replace("Requests/sec", "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec");
        assert!(said_by_wrk(&failed).unwrap_err().contains("Socket errors"));
        assert!(said_by_wrk("").is_err());
    }
}
