//! Why a route did not match, with what was wanted and what there was.

use super::Request;
use ringway_config::model::{Match, PathMatch, StringMatch};

/// `miss` is the condition as the trace names it.
pub(super) fn sentence(miss: &str, matches: &Match, request: &Request) -> String {
    let path = request.target.split('?').next().unwrap_or("");
    match miss.split_once(' ').unwrap_or((miss, "")) {
        ("path", "") => {
            let case = if matches.ignore_case { " in any case" } else { "" };
            format!("path {path:?} {}{case}", path_not(&matches.path))
        }
        ("method", "") => format!("method {:?} {}", request.method, not(matches.method.as_ref())),
        ("scheme", "") => format!("scheme \"http\" {}", not(matches.scheme.as_ref())),
        ("authority", "") => format!("authority {:?} {}", request.authority, not(matches.authority.as_ref())),
        ("source", "") => {
            let labels: Vec<String> = matches.source.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("the client does not have the labels {}", labels.join(", "))
        }
        ("header", name) => header(name, matches, request),
        ("query", name) => {
            let wanted = matches.query.iter().find(|query| query.name == name).map(|query| &query.value);
            format!("query parameter {name:?} {}", not(wanted))
        }
        _ => format!("{miss} does not match"),
    }
}

/// What a route asks for, such as `paths under "/a", method "GET"`.
pub fn conditions(matches: &Match) -> String {
    let Match { path, ignore_case, method, scheme, authority, headers, query, source } = matches;
    let mut all = Vec::new();
    let case = if *ignore_case { " in any case" } else { "" };
    match path {
        PathMatch::Any => {}
        PathMatch::Exact(text) => all.push(format!("path {text:?}{case}")),
        PathMatch::Prefix(text) => all.push(format!("paths that start with {text:?}{case}")),
        PathMatch::Segments(text) => all.push(format!("paths under {text:?}{case}")),
        PathMatch::Regex(text) => all.push(format!("paths like {text:?}")),
    }
    for (word, test) in [("method", method), ("scheme", scheme), ("authority", authority)] {
        all.extend(test.as_ref().map(|test| format!("{word} {}", wanted(test))));
    }
    for header in headers {
        let not = if header.invert { "is not " } else { "" };
        all.push(format!("header {} {not}{}", header.name, wanted(&header.value)));
    }
    all.extend(query.iter().map(|query| format!("query parameter {} {}", query.name, wanted(&query.value))));
    all.extend(source.iter().map(|(name, value)| format!("clients with the label {name}={value}")));
    if all.is_empty() { "any request".into() } else { all.join(", ") }
}

fn header(name: &str, matches: &Match, request: &Request) -> String {
    let mut values = Vec::new();
    ringway_policy::Fields::each(request, name, &mut |value| values.push(String::from_utf8_lossy(value).into_owned()));
    let there = if values.is_empty() { "is not there".to_string() } else { format!("is {:?}", values.join(", ")) };
    match matches.headers.iter().find(|header| header.name == name) {
        Some(header) if header.invert => format!("header {name} {there}, and must not be {}", wanted(&header.value)),
        Some(header) => format!("header {name} {there}, and has to be {}", wanted(&header.value)),
        None => format!("header {name} does not match"),
    }
}

fn path_not(path: &PathMatch) -> String {
    match path {
        PathMatch::Any => "does not match".into(),
        PathMatch::Exact(text) => format!("is not {text:?}"),
        PathMatch::Prefix(text) => format!("does not start with {text:?}"),
        PathMatch::Segments(text) => format!("is not under {text:?}"),
        PathMatch::Regex(text) => format!("does not match the expression {text:?} as a whole"),
    }
}

fn not(test: Option<&StringMatch>) -> String {
    test.map_or("does not match".to_string(), |test| format!("has to be {}", wanted(test)))
}

fn wanted(test: &StringMatch) -> String {
    match test {
        StringMatch::Exact(text) => format!("{text:?}"),
        StringMatch::Prefix(text) => format!("something that starts with {text:?}"),
        StringMatch::Suffix(text) => format!("something that ends with {text:?}"),
        StringMatch::Regex(text) => format!("something that matches {text:?} as a whole"),
        StringMatch::Present => "there".into(),
    }
}
