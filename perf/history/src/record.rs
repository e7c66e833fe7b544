//! What the file of the history has.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// All lines, oldest first.
#[derive(Debug, Default)]
pub struct History(pub Vec<Record>);

/// The figures of one revision on one kind of machine.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// As git abbreviates it.
    pub revision: String,
    /// Of the revision: `2026-11-21`.
    pub date: String,
    /// The compiler and what else instruction counts depend on; empty where none were taken.
    pub machine: String,
    /// By name; the name ends in the unit, in brackets.
    pub figures: Map<String, Value>,
}

impl History {
    /// Reads the file; one that is not there is empty.
    pub fn read(file: &str) -> Result<History, String> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|e| format!("{file}: {e}"))?,
        };
        let record = |(n, line)| serde_json::from_str(line).map_err(|e| format!("{file}:{}: {e}", n + 1));
        text.lines().enumerate().map(record).collect::<Result<_, _>>().map(History)
    }

    /// Writes the file.
    pub fn write(&self, file: &str) -> Result<(), String> {
        let lines = self.0.iter().filter_map(|record| serde_json::to_string(record).ok()).map(|line| line + "\n");
        std::fs::write(file, lines.collect::<String>()).map_err(|e| format!("{file}: {e}"))
    }

    /// Adds figures, one JSON object a line, to those of a revision. Later ones of the same name replace earlier ones. Returns how many there were.
    pub fn add(&mut self, revision: &str, date: &str, lines: &str) -> Result<usize, String> {
        let (mut figures, mut machine) = (Map::new(), String::new());
        for (n, line) in lines.lines().enumerate().filter(|(_, line)| line.starts_with('{')) {
            let at = |what: &dyn std::fmt::Display| format!("line {} of the figures: {what}", n + 1);
            let line: Value = serde_json::from_str(line).map_err(|e| at(&e))?;
            let text = |key: &str| line[key].as_str();
            let (value, unit) = match (&line["instructions"], &line["value"]) {
                (Value::Number(count), _) => (count, "instructions"),
                (_, Value::Number(value)) => (value, text("unit").unwrap_or("")),
                _ => return Err(at(&"neither a value nor instructions")),
            };
            let name = text("figure").ok_or_else(|| at(&"no figure"))?;
            let driver = text("backend").map_or(String::new(), |backend| format!(", {backend}"));
            figures.insert(format!("{name}{driver} [{unit}]"), Value::Number(value.clone()));
            if let Some(named) = text("machine") {
                machine = named.into();
            }
        }
        let count = figures.len();
        if count == 0 {
            return Err("there are no figures to add".into());
        }
        let same =
            |record: &&mut Record| record.revision == revision && (machine.is_empty() || record.machine == machine);
        match self.0.iter_mut().find(same) {
            Some(record) => record.figures.extend(figures),
            None => self.0.push(Record { revision: revision.into(), date: date.into(), machine, figures }),
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: &str = r#"
{"figure":"decide among 10 hosts","instructions":1593.3,"machine":"rustc 1.95.0, x86_64"}
SKIPPED: something that was not measured
{"figure":"swap","value":2.5,"unit":"ms","budget":3.0,"holds":true}
{"figure":"cpu_per_request","backend":"uring","value":9.1,"unit":"us"}
"#;

    #[test]
    fn a_revision_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        let file = file.to_str().unwrap();
        let mut history = History::read(file).unwrap();
        assert_eq!(history.add("abc1234", "2026-11-21", FIGURES), Ok(3));
        history.write(file).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let line = r#"{"revision":"abc1234","date":"2026-11-21","machine":"rustc 1.95.0, x86_64","figures":{"decide among 10 hosts [instructions]":1593.3,"swap [ms]":2.5,"cpu_per_request, uring [us]":9.1}}"#;
        assert_eq!(text, format!("{line}\n"));
        let mut history = History::read(file).unwrap();
        // Measured once more, in parts.
        assert_eq!(history.add("abc1234", "2026-11-21", r#"{"figure":"swap","value":2.4,"unit":"ms"}"#), Ok(1));
        assert_eq!((history.0.len(), &history.0[0].figures["swap [ms]"]), (1, &serde_json::json!(2.4)));
        assert_eq!(history.add("def5678", "2026-11-22", FIGURES), Ok(3));
        assert_eq!(history.0.len(), 2);
    }

    #[test]
    fn what_is_no_figure_is_told() {
        for (lines, said) in [
            ("", "no figures"),
            ("{\"figure\":\"x\"}", "line 1 of the figures: neither"),
            ("\n{\"value\":1}", "line 2 of the figures: no figure"),
            ("{", "line 1 of the figures: EOF"),
        ] {
            let error = History::default().add("a", "b", lines).unwrap_err();
            assert!(error.contains(said), "{lines}: {error}");
        }
    }
}
