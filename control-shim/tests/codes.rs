//! Codes of findings: those in the sources are those in the table of `docs/check.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the table stands.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/check.md");
/// Words of the same shape that are no codes.
const OTHERS: [&str; 21] = [
    "access-log",
    "content-length",
    "control-shim",
    "end-user",
    "envoy-ratelimited",
    "grpc-web",
    "http3-post-connect-failure",
    "istio-injection",
    "istio-locality",
    "istio-proxy",
    "istio-system",
    "keep-alive",
    "no-store",
    "pod-added",
    "pod-removed",
    "proxy-connection",
    "refused-stream",
    "retriable-headers",
    "retriable-status-codes",
    "transfer-encoding",
    "user-agent",
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, into),
            false if path.file_name().is_some_and(|name| name == "tests.rs") => {}
            false if path.extension().is_some_and(|extension| extension == "rs") => into.push(path),
            false => {}
        }
    }
}

/// What stands between quotes in the program itself, its tests left out, with the text before each.
fn literals(text: &str) -> Vec<(&str, &str)> {
    let program = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for line in program.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut pieces = line.split('"');
        let mut before = pieces.next().unwrap_or_default();
        while let (Some(inside), Some(after)) = (pieces.next(), pieces.next()) {
            found.push((before, inside));
            before = after;
        }
    }
    found
}

fn codes_of_the_sources() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    let mut codes = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        for (before, word) in literals(&text) {
            let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            let several = word.contains('-') && !word.starts_with(['-', 'x']) && !word.ends_with('-');
            // A code of one word is the first thing that a finding is made of.
            let first = ["error(", "warning(", "notice("].iter().any(|call| before.ends_with(call));
            if plain && !word.is_empty() && (several || first) && !OTHERS.contains(&word) {
                codes.insert(word.to_string());
            }
        }
    }
    codes
}

#[test]
fn every_code_is_in_the_table_and_every_row_has_a_code() {
    let text = std::fs::read_to_string(TABLE).expect("the document");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")).filter(|line| !line.starts_with('-'));
    let mut documented = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [code, severity, what, example] = cells[..] else { panic!("a row of four cells: {row}") };
        assert!(severity.split(", ").all(|word| ["error", "warning", "notice"].contains(&word)), "{row}");
        assert!(!what.is_empty() && example.trim_end_matches(" |").len() > 1, "{row}");
        documented.insert(code.trim_end_matches('`').to_string());
    }
    assert_eq!(documented, codes_of_the_sources());
}
