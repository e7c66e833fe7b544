//! What a rule's header edits make of header lines.

use super::{list, text};
use crate::generate::Place;
use crate::generate::request::Request;
use crate::message::ORIGIN;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};

/// What there is to tell when a header is written.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// What was asked.
    pub request: &'a Request,
    /// Name of the route.
    pub route: &'a str,
    /// Proxies in front of gateways that are believed.
    pub trusted: u32,
    /// The status of the answer, and who gave it, when that is edited.
    pub answer: Option<(u16, Option<SocketAddr>)>,
}

impl<'a> Moment<'a> {
    /// With an answer.
    pub fn answered(self, status: u16, by: Option<SocketAddr>) -> Moment<'a> {
        Moment { answer: Some((status, by)), ..self }
    }

    /// Who asks: what the last proxy that is believed says, or the connection.
    fn client(&self) -> String {
        let lines = self.request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"));
        let told: Vec<&str> = lines.flat_map(|(_, value)| value.split(',')).map(str::trim).collect();
        let place = match self.request.place {
            Place::Sidecar => None,
            Place::Edge | Place::Side if self.trusted == 0 => None,
            Place::Edge | Place::Side => told.len().checked_sub(self.trusted as usize),
        };
        let said = place.and_then(|at| told[at].parse::<IpAddr>().ok());
        said.map_or_else(|| "127.0.0.1".into(), |ip| ip.to_string())
    }

    /// The scheme that a proxy which is believed tells.
    fn scheme(&self) -> &str {
        let lines = self.request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-proto"));
        let believed = self.request.place == Place::Sidecar || self.trusted > 0;
        lines.filter(|_| believed).map_or("http", |(_, value)| value.as_str())
    }
}

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
        moment: &Moment<'_>,
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
        steps.into_iter().for_each(|(edits, step)| step(edits, moment, &mut fields));
        fields
    }
}

/// One kind of edit.
type Step = fn(&Value, &Moment<'_>, &mut Vec<(String, String)>);

fn remove(edits: &Value, _: &Moment<'_>, fields: &mut Vec<(String, String)>) {
    list(&edits["remove"]).iter().for_each(|gone| drop_all(fields, text(gone)));
}

fn set(edits: &Value, moment: &Moment<'_>, fields: &mut Vec<(String, String)>) {
    for (name, value) in written(&edits["set"], moment) {
        drop_all(fields, &name);
        fields.push((name, value));
    }
}

fn add(edits: &Value, moment: &Moment<'_>, fields: &mut Vec<(String, String)>) {
    fields.extend(written(&edits["add"], moment));
}

/// Names and values, those that come out empty left out.
fn written(pairs: &Value, moment: &Moment<'_>) -> Vec<(String, String)> {
    let value = |value: &Value| match value["format"].as_str() {
        Some(format) => made_for(format, moment),
        None => text(value).to_owned(),
    };
    let pairs = list(pairs).iter().map(|pair| (text(&pair[0]).to_owned(), value(&pair[1])));
    pairs.filter(|(_, value)| !value.is_empty()).collect()
}

/// What the generated variables come to.
fn made_for(format: &str, moment: &Moment<'_>) -> String {
    let request = moment.request;
    // What ends at this hop is not there for variables either.
    let ends_here = |name: &str| {
        let mut options = request.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("connection"));
        options.any(|(_, names)| names.split(',').any(|option| option.trim().eq_ignore_ascii_case(name)))
    };
    let line = |name: &str| request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    let header = |name: &str| line(name).filter(|_| !ends_here(name)).map(|(_, value)| value.as_str());
    let method = request.method.as_str();
    let tier = header("x-tier").unwrap_or(method);
    let (status, endpoint) = moment.answer.map_or((String::new(), None), |(status, by)| (status.to_string(), by));
    let endpoint = endpoint.map_or(String::new(), |address| address.to_string());
    let value = format
        .replace("%REQ(x-env)%", header("x-env").unwrap_or_default())
        .replace("%REQ(x-tier?:method):3%", tier.get(..3).unwrap_or(tier))
        .replace("%REQ(:method)%", method)
        .replace("%REQ(:authority)%", &request.authority)
        .replace("%REQ(:scheme)%", moment.scheme())
        .replace("%PROTOCOL%", "HTTP/1.1")
        .replace("%ROUTE_NAME%", moment.route)
        .replace("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", &moment.client())
        .replace("%RESPONSE_CODE%", &status)
        .replace("%UPSTREAM_REMOTE_ADDRESS%", &endpoint)
        .replace(&format!("%RESP({ORIGIN})%"), &endpoint)
        .replace("%%", "%");
    // Space around a value is no part of it (RFC 9110 §5.5): whoever reads it takes it off.
    value.trim_matches([' ', '\t']).to_owned()
}

fn drop_all(fields: &mut Vec<(String, String)>, gone: &str) {
    fields.retain(|(name, _)| !name.eq_ignore_ascii_case(gone));
}
