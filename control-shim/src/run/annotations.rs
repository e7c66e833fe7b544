//! The annotations by which a manifest tells `ringway run` what to run in a pod: `ringway.dev/calls`, `ringway.dev/command`, `ringway.dev/env`.
//!
//! They mean nothing in a cluster.

use crate::diagnostic::Diagnostic;
use crate::mesh::Pod;
use crate::object::{Loaded, Object};
use std::collections::BTreeMap;

/// Whom the stand-in app calls for every request: a JSON array of URLs.
pub const CALLS: &str = "ringway.dev/calls";
/// What runs instead of the stand-in app: a JSON array of words.
pub const COMMAND: &str = "ringway.dev/command";
/// Its environment: a JSON object of strings.
pub const ENV: &str = "ringway.dev/env";
const PREFIX: &str = "ringway.dev/";

/// What a pod asks for. What does not parse is left out here, and named by [`refuse_broken`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// URLs to call.
    pub calls: Vec<String>,
    /// Program and arguments; empty is the stand-in app.
    pub command: Vec<String>,
    /// Environment of the command.
    pub env: BTreeMap<String, String>,
}

/// Reads a pod's annotations.
pub fn wishes(pod: &Pod) -> Wishes {
    let text = |key| pod.annotations.get(key).map(String::as_str);
    Wishes {
        calls: text(CALLS).and_then(|text| calls(text).ok()).unwrap_or_default(),
        command: text(COMMAND).and_then(|text| command(text).ok()).unwrap_or_default(),
        env: text(ENV).and_then(|text| env(text).ok()).unwrap_or_default(),
    }
}

/// Takes workloads out of `loaded` whose annotations are not understood, and says so: in a running mesh their last good version stays.
pub fn refuse_broken(loaded: &mut Loaded) {
    let mut found = Vec::new();
    for entry in loaded.objects.iter() {
        let Object::Workload(workload) = &entry.object else { continue };
        for (key, value) in &workload.annotations {
            if let Err(mend) = check(key, value) {
                let message = format!("annotation {key} is not understood");
                let diagnostic = Diagnostic::error("annotation", message, mend);
                let reference = workload.meta.reference.clone();
                found.push(diagnostic.at(workload.meta.spot.place()).about(reference));
            }
        }
    }
    for reference in found.iter().filter_map(|diagnostic| diagnostic.object.clone()) {
        loaded.objects = loaded.objects.without(&reference);
        loaded.broken.insert(reference);
    }
    loaded.diagnostics.extend(found);
}

fn check(key: &str, value: &str) -> Result<(), String> {
    match key {
        CALLS => calls(value).map(drop),
        COMMAND => command(value).map(drop),
        ENV => env(value).map(drop),
        other if other.starts_with(PREFIX) => Err(format!("use {CALLS}, {COMMAND} or {ENV}")),
        _ => Ok(()),
    }
}

fn calls(text: &str) -> Result<Vec<String>, String> {
    let urls: Vec<String> = serde_json::from_str(text)
        .map_err(|_| r#"a JSON array of URLs, such as '["http://reviews:9080/"]'"#.to_string())?;
    match urls.iter().find(|url| !url.starts_with("http://") && !url.starts_with("tcp://")) {
        Some(url) => Err(format!("{url} is neither http://HOST:PORT/PATH nor tcp://HOST:PORT")),
        None => Ok(urls),
    }
}

fn command(text: &str) -> Result<Vec<String>, String> {
    let help = r#"a JSON array of words, such as '["python3", "-m", "http.server"]'"#;
    let words: Vec<String> = serde_json::from_str(text).map_err(|_| help.to_string())?;
    if words.first().is_some_and(|word| !word.is_empty()) { Ok(words) } else { Err(help.into()) }
}

fn env(text: &str) -> Result<BTreeMap<String, String>, String> {
    let help = r#"a JSON object of strings, such as '{"COLOUR": "blue"}'"#;
    let map: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| help.to_string())?;
    let proper =
        |(name, value): (&String, &String)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
    if map.iter().all(proper) { Ok(map) } else { Err(help.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{SourceFile, decode, objects};
    use std::sync::Arc;

    #[test]
    fn a_workload_with_broken_annotations_is_broken() {
        let pod = |name: &str, annotation: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotation}}}}}\nspec: {{containers: [{{name: a}}]}}\n---\n"
            )
        };
        let text = pod("good", r#"ringway.dev/calls: '["http://a/"]', other.dev/calls: 'x'"#)
            + &pod("bad", "ringway.dev/command: 'ls'")
            + &pod("odd", "ringway.dev/comand: '[]'");
        let file = Arc::new(SourceFile { name: "t.yaml".into(), text });
        let mut loaded = objects::load(&[vec![file]], decode::Options::default());
        refuse_broken(&mut loaded);
        let names: Vec<_> = loaded.objects.iter().map(|entry| entry.object.meta().name().to_string()).collect();
        assert_eq!(names, ["good"]);
        let lines: Vec<_> =
            loaded.diagnostics.iter().filter_map(|found| found.place.as_ref()).map(|at| at.line).collect();
        assert_eq!((loaded.broken.len(), lines), (2, vec![6, 11]));
    }

    #[test]
    fn json_of_the_right_shape() {
        assert_eq!(calls(r#"["http://a/", "tcp://b:1"]"#).unwrap().len(), 2);
        assert_eq!(command(r#"["ls", "-l"]"#).unwrap(), ["ls", "-l"]);
        assert_eq!(env(r#"{"A": "b"}"#).unwrap()["A"], "b");
        for text in ["", "http://a/", r#"["ftp://a"]"#, "[1]"] {
            assert!(calls(text).is_err(), "{text}");
        }
        for text in ["", "[]", r#"[""]"#, r#""ls""#] {
            assert!(command(text).is_err(), "{text}");
        }
        for text in ["", "[]", r#"{"A": 1}"#, r#"{"A=B": "c"}"#] {
            assert!(env(text).is_err(), "{text}");
        }
    }
}
