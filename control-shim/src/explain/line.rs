//! A line of an access log, text or JSON, back to the request that it tells of.

use super::Request;
use ringway_config::model::RuleId;
use serde_json::Value;
use std::net::SocketAddr;

/// What a line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLine {
    /// The request, as far as a log keeps one: its other header lines are gone.
    pub request: Request,
    /// The rule that decided; 0 when the line has none.
    pub rule: RuleId,
    /// The listener's address.
    pub listener: Option<SocketAddr>,
    /// The cluster.
    pub cluster: String,
    /// The endpoint.
    pub endpoint: Option<SocketAddr>,
    /// The status.
    pub status: u16,
    /// Envoy's response flag.
    pub flags: String,
}

impl LogLine {
    /// One line in either format.
    ///
    /// # Errors
    /// What is missing.
    pub fn parse(line: &str) -> Result<LogLine, String> {
        let line = line.trim();
        let parsed = if line.starts_with('{') { json(line) } else { text(line) };
        let parsed = parsed?;
        if parsed.request.method.is_empty() || !parsed.request.target.starts_with(['/', '*']) {
            return Err("the line tells of no HTTP request".into());
        }
        Ok(parsed)
    }
}

fn json(line: &str) -> Result<LogLine, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("the line is no JSON: {error}"))?;
    let text = |key: &str| value[key].as_str().unwrap_or("").to_string();
    let mut request =
        Request { method: text("method"), target: text("path"), authority: text("authority"), headers: Vec::new() };
    for (key, name) in
        [("user_agent", "user-agent"), ("x_forwarded_for", "x-forwarded-for"), ("request_id", "x-request-id")]
    {
        if let Some(found) = value[key].as_str() {
            request.headers.push((name.into(), found.into()));
        }
    }
    Ok(LogLine {
        request,
        rule: rule(&text("rule")),
        listener: text("downstream_local_address").parse().ok(),
        cluster: text("upstream_cluster"),
        endpoint: text("upstream_host").parse().ok(),
        status: value["response_code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0),
        flags: text("response_flags"),
    })
}

/// Istio's text format with the rule at its end; the places of the words are those of docs/telemetry.md.
fn text(line: &str) -> Result<LogLine, String> {
    const WORDS: usize = 22;
    let words = words(line);
    if words.len() < WORDS {
        return Err(format!("the line has {} of the {WORDS} words of the text format", words.len()));
    }
    let at = |place: usize| words.get(place).map_or("", String::as_str);
    let given = |place: usize| Some(at(place)).filter(|word| *word != "-").map(String::from);
    let mut request_line = at(1).split(' ');
    let (method, target) = (request_line.next().unwrap_or(""), request_line.next().unwrap_or(""));
    let mut headers = Vec::new();
    for (place, name) in [(11, "x-forwarded-for"), (12, "user-agent"), (13, "x-request-id")] {
        headers.extend(given(place).map(|value| (name.to_string(), value)));
    }
    Ok(LogLine {
        request: Request {
            method: method.into(),
            target: target.into(),
            authority: given(14).unwrap_or_default(),
            headers,
        },
        rule: rule(at(WORDS)),
        listener: at(18).parse().ok(),
        cluster: given(16).unwrap_or_default(),
        endpoint: at(15).parse().ok(),
        status: at(2).parse().unwrap_or(0),
        flags: at(3).into(),
    })
}

fn rule(text: &str) -> RuleId {
    RuleId(u32::from_str_radix(text, 16).unwrap_or(0))
}

/// Words between spaces; quotes and brackets hold what is between them together, and a backslash takes the next character as it is.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = line.chars().peekable();
    while let Some(first) = characters.next() {
        let close = match first {
            ' ' => continue,
            '"' => '"',
            '[' => ']',
            _ => ' ',
        };
        let mut word = if close == ' ' { first.to_string() } else { String::new() };
        while let Some(next) = characters.next() {
            match next {
                _ if next == close => break,
                '\\' => word.extend(characters.next()),
                _ => word.push(next),
            }
        }
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[2000-02-29T00:00:00.000Z] \"GET /a?b=c HTTP/1.1\" 200 - via_upstream - \"-\" 5 128 12 11 \"-\" \"curl \\\"8\\\"\" \"id\" \"reviews:9080\" \"10.0.0.2:9080\" outbound|9080|v1|reviews 10.0.0.1:40000 10.0.0.1:15001 10.0.0.1:50000 - default 0000000a";

    #[test]
    fn both_formats_tell_the_same() {
        let text = LogLine::parse(TEXT).expect("the text format");
        assert_eq!(
            (&*text.request.method, &*text.request.target, &*text.request.authority),
            ("GET", "/a?b=c", "reviews:9080")
        );
        assert_eq!(text.request.headers[0], ("user-agent".into(), "curl \"8\"".into()));
        assert_eq!((text.rule, text.status, &*text.cluster), (RuleId(10), 200, "outbound|9080|v1|reviews"));
        assert_eq!(text.listener, "10.0.0.1:15001".parse().ok());
        let json = "{\"method\":\"GET\",\"path\":\"/a?b=c\",\"authority\":\"reviews:9080\",\"user_agent\":\"curl \\\"8\\\"\",\"request_id\":\"id\",\"x_forwarded_for\":null,\"upstream_cluster\":\"outbound|9080|v1|reviews\",\"upstream_host\":\"10.0.0.2:9080\",\"downstream_local_address\":\"10.0.0.1:15001\",\"response_code\":200,\"response_flags\":\"-\",\"rule\":\"0000000a\"}";
        assert_eq!(LogLine::parse(json), Ok(text));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for line in
            ["", "{", "{}", "a b c", "[x] \"- - -\" 0 - - - \"-\" 0 0 0 - \"-\" \"-\" \"-\" \"-\" \"-\" - - - - - -"]
        {
            assert!(LogLine::parse(line).is_err(), "{line}");
        }
    }
}
