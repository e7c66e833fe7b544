//! Statuses for people: what is amiss stands out, what is well takes one line.

use super::{Condition, Content, ObjectStatus};
use std::fmt::Write;

/// Each object with its conditions.
pub fn to_text(statuses: &[ObjectStatus]) -> String {
    let mut text = String::new();
    for status in statuses {
        line(&mut text, 0, &status.object.to_string());
        match &status.content {
            Content::Class { conditions } => all(&mut text, 1, conditions),
            Content::Gateway { conditions, listeners } => {
                all(&mut text, 1, conditions);
                for listener in listeners {
                    let routes = match (listener.supported_kind, listener.attached_routes) {
                        (None, _) => "no kind of route may attach".to_string(),
                        (Some(kind), 1) => format!("1 {kind}"),
                        (Some(kind), count) => format!("{count} {kind}s"),
                    };
                    line(&mut text, 1, &format!("listener {}: {routes}", listener.name));
                    all(&mut text, 2, &listener.conditions);
                }
            }
            Content::Route { parents } => {
                for parent in parents {
                    let mut named = parent.parent.reference().to_string();
                    if let Some(section) = &parent.parent.section {
                        named.push_str(&format!(", listener {section}"));
                    }
                    if let Some(port) = parent.parent.port {
                        named.push_str(&format!(", port {port}"));
                    }
                    if parent.conditions.is_empty() {
                        named.push_str(": not there");
                    }
                    line(&mut text, 1, &named);
                    all(&mut text, 2, &parent.conditions);
                }
            }
        }
    }
    text
}

fn all(text: &mut String, depth: usize, conditions: &[Condition]) {
    // A condition that is as it should be and has the plain reason says no more than its name.
    let plain = |one: &&Condition| one.is_good() && (one.kind == one.reason || one.kind == "Conflicted");
    let good: Vec<&str> = conditions.iter().filter(plain).filter(|one| one.status).map(|one| one.kind).collect();
    if !good.is_empty() {
        line(text, depth, &good.join(", "));
    }
    for one in conditions.iter().filter(|one| !plain(one)) {
        let not = if one.status { "" } else { "not " };
        let message = if one.message.is_empty() { String::new() } else { format!(": {}", one.message) };
        line(text, depth, &format!("{not}{} ({}){message}", one.kind, one.reason));
    }
}

fn line(text: &mut String, depth: usize, what: &str) {
    let _ = writeln!(text, "{:indent$}{what}", "", indent = depth * 2);
}
