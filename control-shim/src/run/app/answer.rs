//! One request to a stand-in: what is asked, and the report.

use super::body::Answer;
use super::{App, CALLS_MAX, DELAY_MS_MAX, FILL_BYTES_MAX, page, websocket};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the end of the path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Ask {
    Report,
    Status(u16),
    Delay(u64),
    Bytes(u64),
    Echo,
}

/// Answers one request.
pub async fn answer(
    app: Arc<App>,
    port: u16,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, hyper::Error> {
    if let Some(headers) = websocket::handshake(request.headers()) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            // The client may leave before the 101 reaches it.
            if let Ok(upgraded) = upgrade.await {
                websocket::echo(upgraded).await;
            }
        });
        let mut response = Response::new(Answer::Text(None));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().extend(headers.map(|(name, value)| (Some(name), value)));
        return Ok(response);
    }
    match ask(request.uri().path()) {
        Ask::Echo => Ok(Response::new(Answer::Echo(request.into_body()))),
        Ask::Bytes(count) => {
            drain(request.body_mut()).await?;
            Ok(Response::new(Answer::Filler(count)))
        }
        Ask::Status(status) => {
            report(&app, port, request, StatusCode::from_u16(status).unwrap_or(StatusCode::OK)).await
        }
        Ask::Delay(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            report(&app, port, request, StatusCode::OK).await
        }
        Ask::Report => report(&app, port, request, StatusCode::OK).await,
    }
}

/// Only the last two segments count, so that a route may put any prefix before them.
fn ask(path: &str) -> Ask {
    let mut from_the_end = path.rsplit('/');
    let (last, before) = (from_the_end.next().unwrap_or(""), from_the_end.next().unwrap_or(""));
    let number = last.parse::<u64>().ok();
    match (before, number) {
        ("status", Some(status @ 200..=599)) => Ask::Status(status as u16),
        ("delay", Some(ms)) => Ask::Delay(ms.min(DELAY_MS_MAX)),
        ("bytes", Some(count)) => Ask::Bytes(count.min(FILL_BYTES_MAX)),
        _ if last == "echo" => Ask::Echo,
        _ => Ask::Report,
    }
}

async fn report(
    app: &App,
    port: u16,
    mut request: Request<Incoming>,
    status: StatusCode,
) -> Result<Response<Answer>, hyper::Error> {
    let body_bytes = drain(request.body_mut()).await?;
    let headers = request.headers();
    let who = app.identity();
    let urls = calls(&who.calls, request.uri().query());
    let calls = if urls.is_empty() { Vec::new() } else { app.caller.call_all(&who, &urls, headers).await };
    let mut json = json!({
        "app": who.app,
        "version": who.version,
        "workload": who.workload,
        "namespace": who.namespace,
        "pod": who.pod,
        "port": port,
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": request.uri().query(),
        "body_bytes": body_bytes,
        "headers": headers_json(headers),
    });
    if !calls.is_empty() {
        json["calls"] = Value::from(calls);
    }
    let (kind, text) = match wants_page(headers) {
        true => ("text/html; charset=utf-8", page::page(&json)),
        false => ("application/json", format!("{json}\n")),
    };
    // RFC 9110 section 15: these have no content.
    let bodyless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT);
    let mut response = Response::new(if bodyless { Answer::Text(None) } else { Answer::text(text) });
    *response.status_mut() = status;
    if !bodyless {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Reads the request's body to its end, so that the connection can be kept, and counts it.
async fn drain(body: &mut Incoming) -> Result<u64, hyper::Error> {
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        count += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(count)
}

/// The pod's own calls, then those of the query (`?call=URL`, repeatable).
fn calls(own: &[String], query: Option<&str>) -> Vec<String> {
    let asked = query.unwrap_or("").split('&').filter_map(|pair| pair.strip_prefix("call=")).map(percent_decoded);
    own.iter().cloned().chain(asked).take(CALLS_MAX).collect()
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code =
            bytes.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn headers_json(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        map.insert(name.as_str().to_string(), Value::from(values.join(", ")));
    }
    Value::Object(map)
}

/// A browser names text/html before anything that JSON would satisfy.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let position = |kind| accept.find(kind).unwrap_or(usize::MAX);
    position("text/html") < position("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_path_asks() {
        let table = [
            ("/", Ask::Report),
            ("/status/503", Ask::Status(503)),
            ("/api/reviews/status/204", Ask::Status(204)),
            ("/status/99", Ask::Report),
            ("/status/101", Ask::Report),
            ("/status/700", Ask::Report),
            ("/delay/5", Ask::Delay(5)),
            ("/delay/999999999", Ask::Delay(DELAY_MS_MAX)),
            ("/bytes/10", Ask::Bytes(10)),
            ("/bytes/-1", Ask::Report),
            ("/bytes/99999999999999", Ask::Bytes(FILL_BYTES_MAX)),
            ("/a/echo", Ask::Echo),
        ];
        for (path, asked) in table {
            assert_eq!(ask(path), asked, "{path}");
        }
    }

    #[test]
    fn calls_are_decoded_and_bounded() {
        let own = ["http://a/".to_string()];
        assert_eq!(
            calls(&own, Some("x=1&call=http%3A%2F%2Fb%2F%3Fq%3D1&call=%zz")),
            ["http://a/", "http://b/?q=1", "%zz"]
        );
        assert_eq!(calls(&[], Some(&"call=a&".repeat(20))).len(), CALLS_MAX);
        assert!(calls(&[], None).is_empty());
    }

    #[test]
    fn browsers_get_a_page() {
        let table = [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/json, text/html", false),
            ("*/*", false),
            ("", false),
        ];
        for (accept, page) in table {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_page(&headers), page, "{accept}");
        }
    }
}
