//! Findings as SARIF 2.1.0, which code hosts show beside the lines they are about.
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use crate::diagnostic::{Diagnostic, Severity};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// One run of `ringway check`.
pub fn sarif(findings: &[Diagnostic]) -> Value {
    let codes: BTreeSet<&str> = findings.iter().map(|finding| finding.code).collect();
    let rules: Vec<Value> = codes.iter().map(|code| json!({"id": code})).collect();
    let index = |code: &str| codes.iter().position(|other| *other == code);
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, index(finding.code))).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "ringway check", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Diagnostic, rule: Option<usize>) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Notice => "note",
    };
    let text = match finding.mend.as_str() {
        "" => format!("{}.", finding.message),
        mend => format!("{}: {mend}.", finding.message),
    };
    let mut location = json!({});
    if let Some(place) = &finding.place {
        location["physicalLocation"] = json!({
            "artifactLocation": {"uri": uri(&place.file)},
            "region": {"startLine": place.line, "startColumn": place.column, "endColumn": place.column.saturating_add(place.length)},
        });
    }
    if let Some(object) = &finding.object {
        location["logicalLocations"] =
            json!([{"name": &*object.name, "fullyQualifiedName": object.to_string(), "kind": "resource"}]);
    }
    let locations = if location == json!({}) { json!([]) } else { json!([location]) };
    json!({"ruleId": finding.code, "ruleIndex": rule, "level": level, "message": {"text": text}, "locations": locations})
}

/// A relative path stays relative, so that a reader resolves it against its checkout; an absolute one becomes a `file` URI.
fn uri(path: &str) -> String {
    let mut out = String::new();
    let mut absolute = false;
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::Prefix(_) => absolute = true,
            Component::CurDir => {}
            Component::ParentDir => push(&mut out, ".."),
            Component::Normal(name) => push(&mut out, &name.to_string_lossy()),
        }
    }
    if absolute { format!("file:///{out}") } else { out }
}

/// Appends a segment with everything but RFC 3986's unreserved characters encoded.
fn push(out: &mut String, segment: &str) {
    if !out.is_empty() {
        out.push('/');
    }
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;

    #[test]
    fn paths_become_uris() {
        for (path, expected) in
            [("a.yaml", "a.yaml"), ("./m/a b.yaml", "m/a%20b.yaml"), ("../ü", "../%C3%BC"), ("/x/y", "file:///x/y")]
        {
            assert_eq!(uri(path), expected);
        }
    }

    #[test]
    fn a_finding_becomes_a_result_with_its_region() {
        let place = Place { file: "a.yaml".into(), line: 3, column: 5, length: 4, source: "".into() };
        let findings = [
            Diagnostic::warning("b", "odd", "mend it").at(place),
            Diagnostic::notice("a", "said", ""),
            Diagnostic::error("b", "bad", ""),
        ];
        let log = sarif(&findings);
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"], json!([{"id": "a"}, {"id": "b"}]));
        let results = run["results"].as_array().expect("a list");
        let levels: Vec<&Value> = results.iter().map(|result| &result["level"]).collect();
        assert_eq!(levels, ["warning", "note", "error"]);
        assert_eq!((&results[0]["ruleIndex"], &results[0]["message"]["text"]), (&json!(1), &json!("odd: mend it.")));
        let region = &results[0]["locations"][0]["physicalLocation"]["region"];
        assert_eq!(*region, json!({"startLine": 3, "startColumn": 5, "endColumn": 9}));
        assert_eq!(results[1]["locations"], json!([]));
    }
}
