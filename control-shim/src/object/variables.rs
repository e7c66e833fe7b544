//! Variables in header values (`%REQ(x-user)%`): Envoy's command operators, made out when a manifest is read.

use super::decode::{Field, nearest};
use super::patterns;
use ringway_config::limits::VALUE_PARTS_MAX;
use ringway_config::model::{HeaderValue, PSEUDO_HEADERS, Part, Variable, What};
use ringway_config::operators::{Piece, pieces};
use ringway_config::time_format;

/// Other names of the same.
const SYNONYMS: [(&str, What); 1] = [("UPSTREAM_HOST", What::UpstreamRemoteAddress)];

/// Envoy's that are not built.
const NOT_BUILT: [&str; 19] = [
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "CEL",
    "CONNECTION_ID",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_TLS_VERSION",
    "DURATION",
    "DYNAMIC_METADATA",
    "ENVIRONMENT",
    "FILTER_STATE",
    "PER_REQUEST_STATE",
    "REQUESTED_SERVER_NAME",
    "STREAM_ID",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_METADATA",
];

const LITERAL: &str = "a `%` that stands for itself is written `%%`";

/// A value as Istio writes it. None: it is wrong, which was said.
pub fn header_value(field: &Field<'_>, text: &str, of_response: bool) -> Option<HeaderValue> {
    if !text.contains('%') {
        return Some(HeaderValue::Text(text.into()));
    }
    let Ok(pieces) = pieces(text) else {
        field.error("unknown-variable", format!("the variable in `{text}` has no end"), LITERAL);
        return None;
    };
    let part = |piece| match piece {
        Piece::Text(text) => Some(Part::Text(text)),
        Piece::Operator(operator) => variable(field, operator, of_response).map(Part::Variable),
    };
    let mut parts = pieces.into_iter().map(part).collect::<Option<Vec<Part>>>()?;
    if let [Part::Text(literal)] = &mut parts[..] {
        return Some(HeaderValue::Text(std::mem::take(literal)));
    }
    if parts.len() > VALUE_PARTS_MAX as usize {
        field.error("limit", format!("a header value has at most {VALUE_PARTS_MAX} texts and variables"), "shorten it");
        return None;
    }
    Some(HeaderValue::Format(parts))
}

/// What stands between two `%`: `NAME`, `NAME(header?other)`, each with `:length` behind it.
fn variable(field: &Field<'_>, text: &str, of_response: bool) -> Option<Variable> {
    let wrong = |message: String, mend: &str| {
        field.error("unknown-variable", message, mend);
        None
    };
    let name_end = text.find(['(', ':']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(name_end);
    let what = What::named(name).or_else(|| SYNONYMS.iter().find(|(other, _)| *other == name).map(|(_, what)| *what));
    let Some(what) = what else {
        if NOT_BUILT.contains(&name) {
            field.not_supported(format!("`%{name}%` in a header value"));
            return None;
        }
        let known: Vec<&str> = What::ALL.iter().map(|what| what.name()).collect();
        let mend =
            nearest(name, &known).map_or_else(|| LITERAL.to_string(), |near| format!("did you mean `%{near}%`?"));
        return wrong(format!("`%{text}%` is no variable"), &mend);
    };
    let mut variable = Variable { what, ..Variable::default() };
    if let Some(inner) = rest.strip_prefix('(') {
        let Some((names, after)) = inner.split_once(')') else {
            return wrong(format!("`%{text}%` has no closing parenthesis"), LITERAL);
        };
        if what == What::StartTime {
            if !time_format::is_format(names) {
                return wrong(format!("`{names}` in `%{text}%` is no time format"), "such as `%Y-%m-%dT%H:%M:%S.%3fZ`");
            }
            variable.header = names.into();
        } else {
            let (header, alternative) = names.split_once('?').unwrap_or((names, ""));
            (variable.header, variable.alternative) = (header.to_ascii_lowercase(), alternative.to_ascii_lowercase());
        }
        rest = after;
    }
    if let Some(length) = rest.strip_prefix(':') {
        match length.parse() {
            Ok(bytes) if bytes > 0 => variable.bytes_max = bytes,
            _ => return wrong(format!("`{length}` in `%{text}%` is no length"), "a number of bytes"),
        }
    } else if !rest.is_empty() {
        return wrong(format!("`{rest}` in `%{text}%` has no meaning"), "`:` and a number of bytes may stand there");
    }
    match what.has_header() {
        false if what == What::StartTime => return Some(variable),
        true if variable.header.is_empty() => return wrong(format!("`%{text}%` names no header"), "`%REQ(x-user)%`"),
        false if !variable.header.is_empty() || text.contains('(') => {
            return wrong(format!("`%{name}%` is about no header"), "remove the parentheses");
        }
        _ => {}
    }
    for header in [&variable.header, &variable.alternative] {
        let pseudo = PSEUDO_HEADERS.contains(&header.as_str()) && what != What::Resp;
        if !header.is_empty() && !pseudo && !patterns::header_name(field, header) {
            return None;
        }
    }
    if what.is_of_response() && !of_response {
        let message = format!("`%{name}%` has no value yet when a request is sent on");
        field.warning("not-honoured", message, "it has one in `headers.response`");
    }
    Some(variable)
}
