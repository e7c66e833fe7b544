//! What a rule's header edits make of header lines.

use super::{list, text};
use crate::generate::request::Request;
use serde_json::Value;

/// In which order a rule's header edits and its destination's are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// All of the rule's, then all of the destination's: what we do.
    RuleFirst,
    /// Both's removals, then what they set, then what they add.
    ByKind,
    /// All of the destination's, then all of the rule's.
    DestinationFirst,
}

impl Layers {
    /// Edits in Istio's order, level by level: remove, set, add.
    pub fn edit(
        self,
        request: &Request,
        fields: impl Into<Vec<(String, String)>>,
        rule: &Value,
        destination: &Value,
    ) -> Vec<(String, String)> {
        let mut fields = fields.into();
        let (rule, destination) = (|step: Step| (rule, step), |step: Step| (destination, step));
        let steps: [(&Value, Step); 6] = match self {
            Layers::RuleFirst => {
                [rule(remove), rule(set), rule(add), destination(remove), destination(set), destination(add)]
            }
            Layers::DestinationFirst => {
                [destination(remove), destination(set), destination(add), rule(remove), rule(set), rule(add)]
            }
            Layers::ByKind => {
                [rule(remove), destination(remove), rule(set), destination(set), rule(add), destination(add)]
            }
        };
        steps.into_iter().for_each(|(edits, step)| step(edits, request, &mut fields));
        fields
    }
}

/// One kind of edit.
type Step = fn(&Value, &Request, &mut Vec<(String, String)>);

fn remove(edits: &Value, _: &Request, fields: &mut Vec<(String, String)>) {
    list(&edits["remove"]).iter().for_each(|gone| drop_all(fields, text(gone)));
}

fn set(edits: &Value, request: &Request, fields: &mut Vec<(String, String)>) {
    for (name, value) in written(&edits["set"], request) {
        drop_all(fields, &name);
        fields.push((name, value));
    }
}

fn add(edits: &Value, request: &Request, fields: &mut Vec<(String, String)>) {
    fields.extend(written(&edits["add"], request));
}

/// Names and values, those that come out empty left out.
fn written(pairs: &Value, request: &Request) -> Vec<(String, String)> {
    let value = |value: &Value| match value["format"].as_str() {
        Some(format) => made_for(format, request),
        None => text(value).to_owned(),
    };
    let pairs = list(pairs).iter().map(|pair| (text(&pair[0]).to_owned(), value(&pair[1])));
    pairs.filter(|(_, value)| !value.is_empty()).collect()
}

/// What the generated variables come to.
fn made_for(format: &str, request: &Request) -> String {
    // What ends at this hop is not there for variables either.
    let ends_here = |name: &str| {
        let mut options = request.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("connection"));
        options.any(|(_, names)| names.split(',').any(|option| option.trim().eq_ignore_ascii_case(name)))
    };
    let line = |name: &str| request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    let header = |name: &str| line(name).filter(|_| !ends_here(name)).map(|(_, value)| value.as_str());
    let method = request.method.as_str();
    let tier = header("x-tier").unwrap_or(method);
    let value = format
        .replace("%REQ(x-env)%", header("x-env").unwrap_or_default())
        .replace("%REQ(x-tier?:method):3%", tier.get(..3).unwrap_or(tier))
        .replace("%REQ(:method)%", method)
        .replace("%PROTOCOL%", "HTTP/1.1")
        .replace("%%", "%");
    // Space around a value is no part of it (RFC 9110 §5.5): whoever reads it takes it off.
    value.trim_matches([' ', '\t']).to_owned()
}

fn drop_all(fields: &mut Vec<(String, String)>, gone: &str) {
    fields.retain(|(name, _)| !name.eq_ignore_ascii_case(gone));
}
