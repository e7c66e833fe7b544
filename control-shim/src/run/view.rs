//! Shows a run: a table that is redrawn in place on a terminal, plain lines elsewhere, or one JSON object a line for programs.

use super::event::{Event, Ready};
use super::traffic::Flow;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Traffic is written this often where it cannot be redrawn.
const LINES_EVERY: Duration = Duration::from_secs(5);
/// Last lines of a dead proxy that are shown.
const LAST_LINES_SHOWN: usize = 8;
/// Narrower terminals get no table.
const COLUMNS_MIN: usize = 60;
/// Size taken for granted when the terminal does not tell.
const TERMINAL_DEFAULT: (usize, usize) = (80, 24);

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Redrawn in place.
    Terminal,
    /// Lines for people.
    Lines,
    /// Lines for programs.
    Json,
}

/// Where a run is shown. Writes fail when the reader went away.
pub struct View<W> {
    out: W,
    style: Style,
    colour: bool,
    /// Lines of the table that stand on the screen.
    drawn: usize,
    /// The table makes sense between the start and the end of the run.
    live: bool,
    flows: Vec<Flow>,
    /// For [`Style::Lines`]: when traffic was written last.
    written: Option<Instant>,
}

impl View<std::io::Stdout> {
    /// On standard output.
    pub fn on_stdout(json: bool) -> Self {
        let out = std::io::stdout();
        let style = match (json, out.is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Terminal,
            (false, false) => Style::Lines,
        };
        let colour = style == Style::Terminal && crate::cli::colour_on_stdout();
        View::new(out, style, colour)
    }
}

impl<W: Write> View<W> {
    /// A view that writes to `out`.
    pub fn new(out: W, style: Style, colour: bool) -> View<W> {
        View { out, style, colour, drawn: 0, live: false, flows: Vec::new(), written: None }
    }

    /// Shows one event.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn show(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Ready(_) => self.live = true,
            Event::Stopping => self.live = false,
            _ => {}
        }
        match (self.style, event) {
            (Style::Json, event) => writeln!(self.out, "{}", event.to_json())?,
            (Style::Terminal, Event::Traffic(flows)) => {
                self.flows.clone_from(flows);
                self.erase()?;
                self.draw()?;
            }
            (Style::Lines, Event::Traffic(flows)) => self.traffic_lines(flows)?,
            (_, event) => {
                self.erase()?;
                let text = self.text(event);
                self.out.write_all(text.as_bytes())?;
                self.draw()?;
            }
        }
        self.out.flush()
    }

    fn erase(&mut self) -> std::io::Result<()> {
        if self.drawn > 0 {
            // Up to the table's first line, then clear to the end of the screen.
            write!(self.out, "\x1b[{}F\x1b[J", self.drawn)?;
            self.drawn = 0;
        }
        Ok(())
    }

    fn draw(&mut self) -> std::io::Result<()> {
        if self.style != Style::Terminal || !self.live {
            return Ok(());
        }
        let (columns, rows) = terminal_size();
        let lines = table(&self.flows, columns, rows.saturating_sub(2));
        for line in &lines {
            writeln!(self.out, "{line}")?;
        }
        self.drawn = lines.len();
        Ok(())
    }

    fn traffic_lines(&mut self, flows: &[Flow]) -> std::io::Result<()> {
        let busy: Vec<&Flow> = flows.iter().filter(|flow| flow.rate > 0.0).collect();
        if busy.is_empty() || self.written.is_some_and(|at| at.elapsed() < LINES_EVERY) {
            return Ok(());
        }
        self.written = Some(Instant::now());
        for flow in busy {
            writeln!(self.out, "traffic: {}", flow_line(flow))?;
        }
        Ok(())
    }

    fn text(&self, event: &Event) -> String {
        let (bold, faint, off) = if self.colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        match event {
            Event::Diagnostic(diagnostic) => diagnostic.render(self.colour),
            Event::Ready(ready) => ready_text(ready, bold, off),
            Event::Applied(applied) => {
                let (first, more) = match applied.changes.split_first() {
                    Some((first, [])) => (first.as_str(), String::new()),
                    Some((first, rest)) => (first.as_str(), format!(" {faint}(and {} more){off}", rest.len())),
                    None => ("provenance only", String::new()),
                };
                let (ms, proxies) = (applied.ms, applied.proxies);
                format!("{bold}applied{off} in {ms:.0} ms by {proxies} proxies: {first}{more}\n")
            }
            Event::Unchanged => "the edit changes nothing for any proxy\n".into(),
            Event::NotApplied { node, reason } => format!("{bold}not applied{off} by {node}: {reason}\n"),
            Event::Ended { node, what, how, last_lines, again_in_ms } => {
                let from = last_lines.len().saturating_sub(LAST_LINES_SHOWN);
                let tail: String = last_lines[from..].iter().map(|line| format!("    {line}\n")).collect();
                format!("{bold}the {what} of {node} ended{off}: {how}; started again in {again_in_ms} ms\n{tail}")
            }
            Event::Pod { node, added } => format!("pod {node} {}\n", if *added { "added" } else { "removed" }),
            Event::Line { node, what, text } => format!("{faint}{what} {node}:{off} {text}\n"),
            Event::Traffic(_) => String::new(),
            Event::Stopping => "stopping; once more to stop at once\n".into(),
            Event::Stopped => "stopped\n".into(),
        }
    }
}

fn ready_text(ready: &Ready, bold: &str, off: &str) -> String {
    let proxies = ready.pods.iter().filter(|report| report.pod.sidecar).count();
    let stand_ins = ready.pods.iter().filter(|report| report.pod.stand_in).count();
    let mut out = format!(
        "{bold}ready{off} in {:.1} s: {} pods, {proxies} proxies ({}), network {}\n",
        ready.ms as f64 / 1000.0,
        ready.pods.len() - stand_ins,
        ready.backend,
        ready.network
    );
    for door in &ready.gateways {
        out += &format!("  {bold}http://{}/{off}  gateway {} port {}\n", door.address, door.node, door.port);
    }
    if ready.gateways.is_empty() {
        out += "  no Gateway: call through a sidecar, as in `curl --proxy http://ADDRESS:15001 http://SERVICE/` (--ports lists them)\n";
    }
    if ready.list_ports {
        out += &ports_text(ready);
    }
    out + "Edit the manifests: changes apply at once. Ctrl-C stops everything.\n\n"
}

fn ports_text(ready: &Ready) -> String {
    let mut out = String::new();
    for report in &ready.pods {
        let pod = &report.pod;
        out += &format!("{} {}\n", pod.node(), pod.address);
        for (port, at) in &pod.app {
            let beside = pod.inbound.get(port).map(|inbound| format!(", sidecar {inbound}")).unwrap_or_default();
            out += &format!("  port {port}: app {at}{beside}\n");
        }
        if pod.sidecar && !pod.stand_in {
            out += &format!("  outbound HTTP proxy: {}\n", pod.outbound);
        }
        for ((host, port), at) in &pod.tcp {
            out += &format!("  TCP {host}:{port}: {at}\n");
        }
        for (port, at) in &pod.gateway {
            out += &format!("  gateway port {port}: {at}\n");
        }
        if !report.admin.is_empty() {
            out += &format!("  admin: curl --unix-socket {} http://localhost/\n", report.admin);
        }
    }
    out
}

/// The live table, within so many columns and rows.
fn table(flows: &[Flow], columns: usize, rows: usize) -> Vec<String> {
    if rows < 4 || columns < COLUMNS_MIN {
        return Vec::new();
    }
    let wide = |text: fn(&Flow) -> usize, least: usize| flows.iter().map(text).max().unwrap_or(0).max(least);
    const FIGURES: usize = 42;
    let names = columns.saturating_sub(FIGURES + 2);
    let from = wide(|flow| flow.edge.source.chars().count(), 4).min(names / 2);
    let to = wide(|flow| flow.edge.destination.chars().count(), 2).min(names - names / 2);
    let heading = [("RATE/S", 9), ("P50 MS", 9), ("P99 MS", 9), ("ERRORS/S", 10)];
    let figures: String = heading.iter().map(|(name, width)| format!("{name:>width$}")).collect();
    let mut lines = vec![format!("{:<from$}  {:<to$}{figures}", "FROM", "TO")];
    let shown = if flows.len() > rows - 1 { rows - 2 } else { flows.len() };
    for flow in &flows[..shown] {
        let (source, destination) = (cut(&flow.edge.source, from), cut(&flow.edge.destination, to));
        lines.push(format!("{source:<from$}  {destination:<to$}{}", figures_of(flow)));
    }
    if shown < flows.len() {
        lines.push(format!("… and {} more", flows.len() - shown));
    }
    if flows.is_empty() {
        lines.push("no traffic yet".into());
    }
    lines
}

fn figures_of(flow: &Flow) -> String {
    let ms = |value: Option<f64>| value.map_or("–".to_string(), |ms| format!("{ms:.1}"));
    let (p50, p99) = match flow.edge.tcp {
        false => (ms(flow.p50_ms), ms(flow.p99_ms)),
        true => ("tcp".into(), format!("{:.1} kB/s", flow.byte_rate / 1000.0)),
    };
    format!("{:>9.1}{p50:>9}{p99:>9}{:>10.1}", flow.rate, flow.error_rate)
}

fn flow_line(flow: &Flow) -> String {
    let edge = &flow.edge;
    let ms = |value: Option<f64>| value.map_or("–".to_string(), |ms| format!("{ms:.1}"));
    match edge.tcp {
        false => format!(
            "{} -> {} {:.1}/s p50 {} ms p99 {} ms errors {:.1}/s",
            edge.source,
            edge.destination,
            flow.rate,
            ms(flow.p50_ms),
            ms(flow.p99_ms),
            flow.error_rate
        ),
        true => format!(
            "{} -> {} {:.1} connections/s {:.1} kB/s errors {:.1}/s (tcp)",
            edge.source,
            edge.destination,
            flow.rate,
            flow.byte_rate / 1000.0,
            flow.error_rate
        ),
    }
}

fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.into();
    }
    let kept: String = text.chars().take(length.saturating_sub(1)).collect();
    kept + "…"
}

/// Columns and rows.
fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    match size {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => TERMINAL_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::super::traffic::Edge;
    use super::*;

    fn flow(destination: &str, rate: f64, tcp: bool) -> Flow {
        let edge = Edge { source: "front".into(), destination: destination.into(), version: "v1".into(), tcp };
        Flow { edge, rate, p50_ms: Some(1.25), p99_ms: None, error_rate: 0.5, byte_rate: 2000.0 }
    }

    #[test]
    fn the_table_keeps_to_its_space() {
        let flows: Vec<Flow> =
            (0..30).map(|n| flow(&format!("a-very-long-name-of-a-workload-{n}"), 1.0, n % 2 == 0)).collect();
        for (columns, rows) in [(80, 24), (60, 5), (200, 100)] {
            let lines = table(&flows, columns, rows);
            assert!(lines.len() <= rows, "{columns}x{rows}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns}x{rows}: {lines:#?}");
        }
        assert!(table(&flows, 20, 2).is_empty());
        assert_eq!(table(&[], 80, 24).len(), 2);
    }

    #[test]
    fn a_terminal_is_redrawn_and_lines_are_not() {
        let mut terminal = View::new(Vec::new(), Style::Terminal, false);
        terminal.live = true;
        terminal.show(&Event::Traffic(vec![flow("b", 10.0, false)])).unwrap();
        terminal.show(&Event::Unchanged).unwrap();
        let text = String::from_utf8(terminal.out).unwrap();
        assert!(text.contains("\x1b[2F\x1b[J"), "{text:?}");
        let mut lines = View::new(Vec::new(), Style::Lines, false);
        lines.show(&Event::Traffic(vec![flow("b", 10.0, false), flow("idle", 0.0, false)])).unwrap();
        lines.show(&Event::Traffic(vec![flow("b", 10.0, false)])).unwrap();
        let text = String::from_utf8(lines.out).unwrap();
        assert_eq!(text, "traffic: front -> b 10.0/s p50 1.2 ms p99 – ms errors 0.5/s\n");
    }

    #[test]
    fn programs_get_one_object_a_line() {
        let mut view = View::new(Vec::new(), Style::Json, false);
        view.show(&Event::Unchanged).unwrap();
        view.show(&Event::Traffic(vec![flow("b", 10.0, true)])).unwrap();
        let text = String::from_utf8(view.out).unwrap();
        let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events[1]["flows"][0]["destination"], "b");
    }
}
