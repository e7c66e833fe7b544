//! Access-log lines of the user's own: Envoy's command operators, as far as a record has what they stand for.

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// Always the same.
    Text(String),
    /// What is so of a request, up to so many bytes; 0 is all. `-` where there is no such thing.
    Field(LogField, usize),
}

/// Why a format cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormatError {
    /// A `%` begins an operator that has no end.
    Unended(String),
    /// An operator that no record knows.
    Unknown(String),
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

/// Takes a format apart. `%%` is a percent sign; names of headers are written in any case.
///
/// # Errors
/// The first operator that stands for nothing.
pub fn parse(text: &str) -> Result<Vec<LogPart>, LogFormatError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (operator, after) = after.split_once('%').ok_or_else(|| LogFormatError::Unended(after.to_string()))?;
        if !literal.is_empty() {
            parts.push(LogPart::Text(std::mem::take(&mut literal)));
        }
        parts.push(field(operator).ok_or_else(|| LogFormatError::Unknown(operator.to_string()))?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(LogPart::Text(literal));
    }
    Ok(parts)
}

/// `NAME`, `NAME(header)`, each with `:length` behind it.
fn field(operator: &str) -> Option<LogPart> {
    let after_header = operator.find(')').unwrap_or(0);
    let (name, length) = match operator[after_header..].find(':') {
        Some(at) => operator.split_at(after_header + at),
        None => (operator, ""),
    };
    let known = LogField::OPERATORS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let bytes_max = match length.strip_prefix(':') {
        Some(length) => length.parse().ok().filter(|bytes| *bytes > 0)?,
        None => 0,
    };
    known.map(|(_, field)| LogPart::Field(*field, bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let text = |text: &str| LogPart::Text(text.into());
        let field = LogPart::Field;
        let unknown = |text: &str| Err(LogFormatError::Unknown(text.into()));
        for (format, expected) in [
            ("", Ok(vec![])),
            ("a%%b", Ok(vec![text("a%b")])),
            ("[%START_TIME%] ", Ok(vec![text("["), field(LogField::StartTime, 0), text("] ")])),
            ("%req(user-agent):5%", Ok(vec![field(LogField::UserAgent, 5)])),
            ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", Ok(vec![field(LogField::Path, 0)])),
            ("%REQ(:PATH):80%", Ok(vec![field(LogField::Path, 80)])),
            ("%REQ(X-OTHER)%", unknown("REQ(X-OTHER)")),
            ("%START_TIME(%s)%", unknown("START_TIME(")),
            ("%DURATION:0%", unknown("DURATION:0")),
            ("%DURATION:x%", unknown("DURATION:x")),
            ("%é)%", unknown("é)")),
            ("100%", Err(LogFormatError::Unended(String::new()))),
        ] {
            assert_eq!(parse(format), expected, "{format}");
        }
    }
}
