//! Instruction counts: taken by callgrind, one process a path, kept as one JSON object a line, and compared.
//!
//! Tables of names are seeded by the operating system each time they are built, and some seeds lay names out worse than others. So everything is built
//! several times, and the lowest count is the figure.
//!
//! A count depends on the compiler, and on which variants of `memcpy` and of SIMD code are chosen at start; lines name both as their machine, and
//! only lines of the same machine are compared.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::HotPath;

/// The functions that callgrind counts in.
const SECTION: &str = "*ringway_paths*counts*section*";

/// Does a path's work for callgrind, built anew each time.
pub fn work(path: &HotPath) {
    // One function for each, as callgrind tells the cost of functions.
    let sections = [section::<0>, section::<1>, section::<2>, section::<3>, section::<4>, section::<5>, section::<6>];
    sections.into_iter().for_each(|section| section(&mut *path.prepared()));
}

#[inline(never)]
fn section<const BUILD: usize>(work: &mut dyn FnMut()) {
    black_box(BUILD);
    work();
}

/// One line of a file of counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    figure: String,
    /// For one operation.
    instructions: f64,
    machine: String,
}

/// Counts of one or several machines.
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<Line>);

/// What became of each count since the baseline.
pub struct Compared {
    rows: Vec<Row>,
    allowed: f64,
}

struct Row {
    figure: String,
    before: Option<f64>,
    now: Option<f64>,
}

/// What a comparison says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing takes more than is allowed.
    Fine,
    /// There is nothing to compare with.
    NoBaseline,
    /// So many figures take more.
    More(usize),
}

/// Why nothing can be counted here.
pub fn not_here() -> Option<&'static str> {
    let there = Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success());
    (!there).then_some("valgrind is not installed (Debian: apt-get install valgrind)")
}

/// What counts depend on besides the code.
pub fn machine() -> String {
    let libc = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok().filter(|output| output.status.success());
    let libc = libc.map_or("another libc".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    #[cfg(target_arch = "x86_64")]
    let simd = if std::arch::is_x86_feature_detected!("avx2") { " avx2" } else { "" };
    #[cfg(not(target_arch = "x86_64"))]
    let simd = "";
    format!("{}, {}{simd}, {libc}", env!("COMPILER"), std::env::consts::ARCH)
}

impl Counts {
    /// Counts all paths with `part` in their names; `arguments` are passed on to the processes that do the work.
    pub fn count(part: &str, arguments: &[String]) -> Result<Counts, String> {
        let paths = crate::all().into_iter().filter(|path| path.name.contains(part));
        let paths: Vec<_> = paths.map(|path| (path.name, path.operations)).collect();
        if paths.is_empty() {
            return Err(format!("no path has {part:?} in its name"));
        }
        let waiting = Mutex::new(paths.iter().enumerate());
        let done = Mutex::new(BTreeMap::new());
        let machine = machine();
        let take = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some((n, (name, operations))) = take() {
                        let counted = callgrind(name, arguments).map(|total| Line {
                            figure: name.clone(),
                            instructions: (total as f64 / *operations as f64 * 10.0).round() / 10.0,
                            machine: machine.clone(),
                        });
                        if let Ok(mut done) = done.lock() {
                            done.insert(n, counted);
                        }
                    }
                });
            }
        });
        let done = done.into_inner().map_err(|_| "a thread that counts panicked")?;
        done.into_values().collect::<Result<_, _>>().map(Counts)
    }

    /// Reads a file of counts; one that is not there has none.
    pub fn read(file: &Path) -> Result<Counts, String> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|e| format!("{}: {e}", file.display()))?,
        };
        let line = |(n, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|e| format!("{}:{}: {e}", file.display(), n + 1))
        };
        text.lines().enumerate().map(line).collect::<Result<_, _>>().map(Counts)
    }

    /// Writes a file of counts.
    pub fn write(&self, file: &Path) -> Result<(), String> {
        let lines = self.0.iter().filter_map(|line| serde_json::to_string(line).ok()).map(|line| line + "\n");
        std::fs::write(file, lines.collect::<String>()).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of paths with `part` in their names.
    pub fn only(mut self, part: &str) -> Counts {
        self.0.retain(|line| line.figure.contains(part));
        self
    }

    /// The others, counts of all paths with `part` in their names, in place of these, wherever they are of the same machine.
    pub fn with(&self, others: &Counts, part: &str) -> Counts {
        let replaced = |line: &Line| line.figure.contains(part) && others.0.iter().any(|o| o.machine == line.machine);
        Counts(self.0.iter().filter(|line| !replaced(line)).chain(&others.0).cloned().collect())
    }

    /// Beside those of the same machine in a baseline. `allowed` is the part by which a figure may have grown.
    pub fn compare(&self, baseline: &Counts, allowed: f64) -> Compared {
        let machine = self.0.first().map_or("", |line| line.machine.as_str());
        let of_baseline: Vec<&Line> = baseline.0.iter().filter(|line| line.machine == machine).collect();
        let before = |figure: &str| of_baseline.iter().find(|line| line.figure == figure).map(|line| line.instructions);
        let rows = self.0.iter().map(|line| Row {
            figure: line.figure.clone(),
            before: before(&line.figure),
            now: Some(line.instructions),
        });
        let gone = of_baseline.iter().filter(|line| self.0.iter().all(|now| now.figure != line.figure));
        let gone = gone.map(|line| Row { figure: line.figure.clone(), before: Some(line.instructions), now: None });
        Compared { rows: rows.chain(gone).collect(), allowed }
    }
}

impl Row {
    fn growth(&self) -> Option<f64> {
        Some(self.now? / self.before? - 1.0)
    }
}

impl Compared {
    /// For people.
    pub fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.figure.len()).max().unwrap_or(0);
        let mut table = format!("{:<width$}  {:>12} {:>12} {:>9}\n", "instructions", "baseline", "now", "");
        for row in &self.rows {
            let show = |count: Option<f64>| count.map_or("–".into(), |count| format!("{count:.1}"));
            let change = match row.growth() {
                Some(growth) if growth > self.allowed => format!("{:+.2} % !", growth * 100.0),
                Some(growth) => format!("{:+.2} %  ", growth * 100.0),
                None => String::new(),
            };
            let (before, now) = (show(row.before), show(row.now));
            let line = format!("{:<width$}  {before:>12} {now:>12} {change:>11}", row.figure);
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }

    /// Whether something takes more than is allowed.
    pub fn verdict(&self) -> Verdict {
        let more = self.rows.iter().filter(|row| row.growth().is_some_and(|growth| growth > self.allowed)).count();
        if more > 0 {
            Verdict::More(more)
        } else if self.rows.iter().all(|row| row.growth().is_none()) {
            Verdict::NoBaseline
        } else {
            Verdict::Fine
        }
    }
}

/// Instructions of all operations of a path.
fn callgrind(name: &str, arguments: &[String]) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let folder = tempfile::tempdir().map_err(|e| format!("a temporary folder: {e}"))?;
    let file = folder.path().join("counted");
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Without the environment: its size would move the stack.
    let output = Command::new("valgrind")
        .env_clear()
        .env("PATH", path)
        .args(["--quiet", "--tool=callgrind", "--demangle=no", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={SECTION}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["--count", name])
        .args(arguments)
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = std::fs::read_to_string(&file).map_err(|e| format!("what callgrind wrote: {e}"))?;
    lowest(&text).ok_or_else(|| format!("{name}: callgrind counted nothing"))
}

/// The lowest cost of a section with all that it calls, from callgrind's file.
fn lowest(text: &str) -> Option<u64> {
    let mut names: HashMap<&str, bool> = HashMap::new();
    let mut costs: HashMap<&str, u64> = HashMap::new();
    let mut within = None;
    for line in text.lines() {
        let function = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn="));
        if let Some((id, name)) = function.and_then(|function| function.split_once(')')) {
            // A name is written once, and its number from then on.
            if !name.is_empty() {
                names.insert(id, name.contains("counts7section"));
            }
            if line.starts_with("fn=") {
                within = Some(id).filter(|id| names.get(id) == Some(&true));
            }
        } else if let Some(id) = within
            && line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*'))
            && let Some(cost) = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok())
        {
            *costs.entry(id).or_default() += cost;
        }
    }
    costs.into_values().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(machine: &str, lines: &[(&str, f64)]) -> Counts {
        let line = |(figure, instructions): &(&str, f64)| Line {
            figure: (*figure).into(),
            instructions: *instructions,
            machine: machine.into(),
        };
        Counts(lines.iter().map(line).collect())
    }

    #[test]
    fn a_figure_may_grow_by_what_is_allowed() {
        let before = counts("m", &[("parse", 1000.0), ("write", 100.0), ("gone", 1.0)]);
        for (now, verdict) in [
            (vec![("parse", 1019.0), ("write", 90.0)], Verdict::Fine),
            (vec![("parse", 1021.0), ("write", 90.0)], Verdict::More(1)),
            (vec![("parse", 1100.0), ("write", 103.0)], Verdict::More(2)),
            (vec![("new", 1e9), ("write", 100.0)], Verdict::Fine),
            (vec![("new", 1e9)], Verdict::NoBaseline),
        ] {
            assert_eq!(counts("m", &now).compare(&before, 0.02).verdict(), verdict, "{now:?}");
        }
        let table = counts("m", &[("parse", 1021.0), ("new", 5.0)]).compare(&before, 0.02).table();
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["parse", "1000.0", "1021.0", "+2.10", "%", "!"]);
        assert_eq!(rows[1..], [vec!["new", "–", "5.0"], vec!["write", "100.0", "–"], vec!["gone", "1.0", "–"]]);
    }

    #[test]
    fn the_cheapest_section_counts_with_all_that_it_calls() {
        let text = "events: Ir\n\nfn=(1) _ZN13ringway_paths6counts7section17haE\n10 5\ncfn=(9) inner\ncalls=1 3\n+1 100\n\n\
            fn=(9)\n3 150\n\nfn=(2) _ZN13ringway_paths6counts7section17hbE\n10 5\ncfn=(9)\ncalls=1 3\n* 50\n\nfn=(1)\n-3 2\n";
        assert_eq!(lowest(text), Some(55));
        assert_eq!(lowest(&text[..text.find("fn=(2)").unwrap()]), Some(105));
        assert_eq!(lowest("events: Ir\n"), None);
    }

    #[test]
    fn counts_of_another_machine_are_no_baseline_and_are_kept() {
        let (other, ours) = (counts("other", &[("parse", 1.0)]), counts("ours", &[("write", 7.0), ("parse", 1000.0)]));
        assert_eq!(ours.compare(&other, 0.02).verdict(), Verdict::NoBaseline);
        let both = other.with(&ours, "").with(&counts("ours", &[("parse", 1001.0)]), "par");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("baseline.jsonl");
        both.write(&file).unwrap();
        let read = Counts::read(&file).unwrap();
        let expected = counts("ours", &[("write", 7.0), ("parse", 1001.0)]);
        assert_eq!(read.0, [counts("other", &[("parse", 1.0)]).0, expected.0].concat());
        std::fs::write(&file, "{\"figure\":\"x\"}\n").unwrap();
        assert!(Counts::read(&file).unwrap_err().contains("baseline.jsonl:1: missing field"));
        assert!(Counts::read(&folder.path().join("absent")).unwrap().is_empty());
    }
}
