//! Access-log lines of the user's own: Envoy's command operators, as far as a record has what they stand for.

use serde_json::Value;

use crate::model::AccessLog;
use crate::operators::{Piece, pieces};
use crate::time_format;

/// Istio's JSON keys, and `rule`.
pub const JSON: &str = r#"{"start_time":"%START_TIME%","route_name":"%ROUTE_NAME%","method":"%REQ(:METHOD)%","path":"%REQ(:PATH)%","protocol":"%PROTOCOL%",
"response_flags":"%RESPONSE_FLAGS%","response_code_details":"%RESPONSE_CODE_DETAILS%","connection_termination_details":"%CONNECTION_TERMINATION_DETAILS%",
"upstream_transport_failure_reason":"%UPSTREAM_TRANSPORT_FAILURE_REASON%","x_forwarded_for":"%REQ(X-FORWARDED-FOR)%","user_agent":"%REQ(USER-AGENT)%",
"request_id":"%REQ(X-REQUEST-ID)%","authority":"%REQ(:AUTHORITY)%","upstream_cluster":"%UPSTREAM_CLUSTER%","requested_server_name":"%REQUESTED_SERVER_NAME%",
"upstream_host":"%UPSTREAM_HOST%","upstream_local_address":"%UPSTREAM_LOCAL_ADDRESS%","downstream_local_address":"%DOWNSTREAM_LOCAL_ADDRESS%",
"downstream_remote_address":"%DOWNSTREAM_REMOTE_ADDRESS%","response_code":"%RESPONSE_CODE%","bytes_received":"%BYTES_RECEIVED%","bytes_sent":"%BYTES_SENT%",
"duration":"%DURATION%","upstream_service_time":"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%","rule":"%RINGWAY_RULE%"}"#;

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// Always the same.
    Text(String),
    /// What is so of a request, up to so many bytes; 0 is all. `-` where there is no such thing.
    Field(LogField, usize),
    /// When it came, in a [`time_format`], up to so many bytes; 0 is all.
    Time(String, usize),
    /// A value of a JSON object: what is so of a request where that is all there is, null without such a thing, else a text.
    Json(Vec<LogPart>),
}

/// Why a format cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormatError {
    /// A `%` begins an operator that has no end.
    Unended(String),
    /// An operator that no record knows.
    Unknown(String),
    /// What should be a JSON object is none.
    NoObject,
    /// It does not fit a line.
    NoLine,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $($name:literal)|+)*) => {
        /// What a record knows of a request, by the operators that ask for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LogField { $($(#[$doc])* $variant),* }

        impl LogField {
            /// All operators, without percent signs.
            pub const OPERATORS: &[(&str, LogField)] = &[$($(($name, LogField::$variant)),+),*];
        }
    };
}

fields! {
    /// When it came: RFC 3339 with milliseconds.
    StartTime = "START_TIME"
    /// Its method.
    Method = "REQ(:METHOD)"
    /// Its path and query in their normal form, before any rewrite.
    Path = "REQ(:PATH)" | "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)"
    /// Its authority.
    Authority = "REQ(:AUTHORITY)" | "REQ(HOST)"
    /// A header.
    ForwardedFor = "REQ(X-FORWARDED-FOR)"
    /// A header.
    UserAgent = "REQ(USER-AGENT)"
    /// A header, or the id that it was given.
    RequestId = "REQ(X-REQUEST-ID)"
    /// `HTTP/1.1` or `HTTP/1.0`.
    Protocol = "PROTOCOL"
    /// The status.
    ResponseCode = "RESPONSE_CODE"
    /// Why it is so.
    ResponseCodeDetails = "RESPONSE_CODE_DETAILS"
    /// Response flags.
    ResponseFlags = "RESPONSE_FLAGS"
    /// Why the connection ended.
    Termination = "CONNECTION_TERMINATION_DETAILS"
    /// Why the upstream could not be reached.
    TransportFailure = "UPSTREAM_TRANSPORT_FAILURE_REASON"
    /// Body bytes from the client.
    BytesReceived = "BYTES_RECEIVED"
    /// Body bytes to the client.
    BytesSent = "BYTES_SENT"
    /// Milliseconds from start to end.
    Duration = "DURATION"
    /// Milliseconds until the upstream answered.
    UpstreamServiceTime = "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)"
    /// The endpoint.
    UpstreamHost = "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS"
    /// Its cluster.
    UpstreamCluster = "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW"
    /// Our end of the connection to it.
    UpstreamLocal = "UPSTREAM_LOCAL_ADDRESS"
    /// Our end of the client's connection.
    DownstreamLocal = "DOWNSTREAM_LOCAL_ADDRESS"
    /// The client.
    DownstreamRemote = "DOWNSTREAM_REMOTE_ADDRESS"
    /// The server name of a TLS connection.
    ServerName = "REQUESTED_SERVER_NAME"
    /// The route's name.
    RouteName = "ROUTE_NAME"
    /// Our own: the id of the rule that decided.
    Rule = "RINGWAY_RULE"
}

/// What lines look like: `text` is the format of an encoding, as [`PolicySet::access_log_format`](crate::model::PolicySet) has it.
///
/// # Errors
/// Why it cannot be used.
pub fn of(encoding: AccessLog, text: &str) -> Result<Vec<LogPart>, LogFormatError> {
    if encoding == AccessLog::Json { json(text) } else { parse(text) }
}

/// Takes a format apart. `%%` is a percent sign; names of headers are written in any case.
///
/// # Errors
/// The first operator that stands for nothing.
pub fn parse(text: &str) -> Result<Vec<LogPart>, LogFormatError> {
    let pieces = pieces(text).map_err(|rest| LogFormatError::Unended(rest.to_string()))?;
    let part = |piece| match piece {
        Piece::Text(text) => Ok(LogPart::Text(text)),
        Piece::Operator(operator) => field(operator).ok_or_else(|| LogFormatError::Unknown(operator.to_string())),
    };
    pieces.into_iter().map(part).collect()
}

/// Takes a JSON object apart whose texts are formats, at any depth.
///
/// # Errors
/// It is no object, or the first operator that stands for nothing.
fn json(text: &str) -> Result<Vec<LogPart>, LogFormatError> {
    let object = serde_json::from_str(text).ok().filter(Value::is_object).ok_or(LogFormatError::NoObject)?;
    let mut parts = Vec::new();
    put(&object, &mut parts)?;
    Ok(parts)
}

fn put(value: &Value, parts: &mut Vec<LogPart>) -> Result<(), LogFormatError> {
    match value {
        Value::Object(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                put_text(if index == 0 { "{" } else { "," }, parts);
                put_json(&Value::from(key.as_str()), parts)?;
                put_text(":", parts);
                put(value, parts)?;
            }
            put_text(if map.is_empty() { "{}" } else { "}" }, parts);
        }
        Value::Array(list) => {
            put_text("[", parts);
            for (index, value) in list.iter().enumerate() {
                put_text(if index == 0 { "" } else { "," }, parts);
                put(value, parts)?;
            }
            put_text("]", parts);
        }
        Value::String(text) => match &parse(text)?[..] {
            [] => put_json(&Value::from(""), parts)?,
            [LogPart::Text(text)] => put_json(&Value::from(text.as_str()), parts)?,
            made_up => parts.push(LogPart::Json(made_up.to_vec())),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => put_json(value, parts)?,
    }
    Ok(())
}

/// What is always the same. A line takes no control characters, which JSON writes as they are when they are beyond ASCII's first.
fn put_json(value: &Value, parts: &mut Vec<LogPart>) -> Result<(), LogFormatError> {
    let text = value.to_string();
    if text.chars().any(char::is_control) {
        return Err(LogFormatError::NoLine);
    }
    put_text(&text, parts);
    Ok(())
}

fn put_text(text: &str, parts: &mut Vec<LogPart>) {
    match parts.last_mut() {
        Some(LogPart::Text(last)) => last.push_str(text),
        _ => parts.push(LogPart::Text(text.into())),
    }
}

/// `NAME`, `NAME(header)`, each with `:length` behind it.
fn field(operator: &str) -> Option<LogPart> {
    let after_header = operator.find(')').unwrap_or(0);
    let (name, length) = match operator[after_header..].find(':') {
        Some(at) => operator.split_at(after_header + at),
        None => (operator, ""),
    };
    let bytes_max = match length.strip_prefix(':') {
        Some(length) => length.parse().ok().filter(|bytes| *bytes > 0)?,
        None => 0,
    };
    if let Some(format) = name.strip_prefix("START_TIME(").and_then(|rest| rest.strip_suffix(')')) {
        return time_format::is_format(format).then(|| LogPart::Time(format.into(), bytes_max));
    }
    let known = LogField::OPERATORS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, field)| LogPart::Field(*field, bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let text = |text: &str| LogPart::Text(text.into());
        let field = LogPart::Field;
        let time = |format: &str, bytes_max| LogPart::Time(format.into(), bytes_max);
        let unknown = |text: &str| Err(LogFormatError::Unknown(text.into()));
        for (format, expected) in [
            ("", Ok(vec![])),
            ("a%%b", Ok(vec![text("a%b")])),
            ("[%START_TIME%] ", Ok(vec![text("["), field(LogField::StartTime, 0), text("] ")])),
            ("%req(user-agent):5%", Ok(vec![field(LogField::UserAgent, 5)])),
            ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", Ok(vec![field(LogField::Path, 0)])),
            ("%REQ(:PATH):80%", Ok(vec![field(LogField::Path, 80)])),
            ("%REQ(X-OTHER)%", unknown("REQ(X-OTHER)")),
            ("%START_TIME(%s.%3f)%-%START_TIME(%F):4%", Ok(vec![time("%s.%3f", 0), text("-"), time("%F", 4)])),
            ("%START_TIME(%Q)%", unknown("START_TIME(%Q)")),
            ("%DURATION:0%", unknown("DURATION:0")),
            ("%DURATION:x%", unknown("DURATION:x")),
            ("%é)%", unknown("é)")),
            ("100%", Err(LogFormatError::Unended(String::new()))),
        ] {
            assert_eq!(parse(format), expected, "{format}");
        }
    }

    #[test]
    fn objects() {
        let text = |text: &str| LogPart::Text(text.into());
        let value = |parts: &[LogPart]| LogPart::Json(parts.to_vec());
        let code = LogPart::Field(LogField::ResponseCode, 0);
        let unknown = Err(LogFormatError::Unknown("NO".into()));
        for (format, expected) in [
            ("{}", Ok(vec![text("{}")])),
            (
                r#"{"b": "%RESPONSE_CODE%", "a": {"c": ["x%%", 1, null, "is %RESPONSE_CODE%"], "d": ""}}"#,
                Ok(vec![
                    text(r#"{"b":"#),
                    value(std::slice::from_ref(&code)),
                    text(r#","a":{"c":["x%",1,null,"#),
                    value(&[text("is "), code]),
                    text(r#"],"d":""}}"#),
                ]),
            ),
            (r#"{"a": "%NO%"}"#, unknown),
            (r#"{"a": "\u009b"}"#, Err(LogFormatError::NoLine)),
            ("[]", Err(LogFormatError::NoObject)),
            ("{", Err(LogFormatError::NoObject)),
        ] {
            assert_eq!(of(AccessLog::Json, format), expected, "{format}");
        }
        assert!(of(AccessLog::Json, JSON).is_ok());
    }
}
