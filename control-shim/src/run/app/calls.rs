//! Onward calls, made as a container would make them: through the sidecar's outbound HTTP proxy, on kept-alive connections.

use super::{CALL_DEPTH_MAX, CALLS_MAX, Identity};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Idle connections kept to the sidecar.
const IDLE_MAX: usize = 256;
/// A whole call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is taken into our own.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// How many apps in a chain called each other before this one.
const DEPTH: HeaderName = HeaderName::from_static("x-ringway-call-depth");
/// What an app in a mesh passes on so that traces hold together, and the header by which Istio's examples route.
const PROPAGATED: [&str; 13] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-ot-span-context",
    "x-cloud-trace-context",
    "end-user",
];

/// What is said, and expected back, on a TCP connection.
const TCP_WORDS: &[u8] = b"hello\n";

/// Calls through one sidecar.
#[derive(Default)]
pub struct Caller {
    idle: Mutex<Vec<Connection>>,
}

type Connection = SendRequest<Empty<Bytes>>;

impl Caller {
    /// Calls these, all at once, and reports each: `{url, status, ms, answer}`, `{url, tcp, ms}` or `{url, error}`.
    pub async fn call_all(&self, who: &Identity, urls: &[String], incoming: &HeaderMap) -> Vec<Value> {
        let depth = depth(incoming);
        if depth >= CALL_DEPTH_MAX {
            return vec![json!({"error": format!("not called: this is already call {depth} of a chain")})];
        }
        let passed_on = passed_on(incoming, depth + 1);
        join_all(urls.iter().take(CALLS_MAX).map(|url| self.call(who, url, &passed_on))).await
    }

    async fn call(&self, who: &Identity, url: &str, headers: &HeaderMap) -> Value {
        let started = Instant::now();
        let outcome = match url.strip_prefix("tcp://") {
            None => tokio::time::timeout(CALL_TIMEOUT, self.exchange(who.proxy, url, headers)).await,
            Some(at) => tokio::time::timeout(CALL_TIMEOUT, exchange_bytes(who, at))
                .await
                .map(|done| done.map(|()| (0, Value::Null))),
        };
        let ms = (started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        match outcome {
            Ok(Ok((0, _))) => json!({"url": url, "tcp": true, "ms": ms}),
            Ok(Ok((status, answer))) => json!({"url": url, "status": status, "ms": ms, "answer": answer}),
            Ok(Err(why)) => json!({"url": url, "error": why}),
            Err(_) => json!({"url": url, "error": format!("no answer within {} s", CALL_TIMEOUT.as_secs())}),
        }
    }

    async fn exchange(
        &self,
        proxy: Option<SocketAddr>,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<(u16, Value), String> {
        let proxy = proxy.ok_or("this pod has no sidecar to call through")?;
        let uri: Uri = url.parse().map_err(|_| "not a URL".to_string())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
        let authority = authority.ok_or("only http:// URLs can be called")?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| "not a host".to_string())?;
        let request = || {
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(HOST, host.clone());
            request
        };
        // A kept connection may have been closed just now: then the request went nowhere, and a fresh connection decides.
        while let Some(mut connection) = self.checkout() {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.send_request(request()).await {
                Ok(response) => return self.read(connection, response).await,
                Err(error) if error.is_canceled() || error.is_closed() => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut connection = connect(proxy).await?;
        let response = connection.send_request(request()).await.map_err(|error| error.to_string())?;
        self.read(connection, response).await
    }

    async fn read(
        &self,
        connection: Connection,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<(u16, Value), String> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        self.give_back(connection);
        let answer = serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body)));
        Ok((status, answer))
    }

    fn checkout(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !connection.is_closed() {
            idle.push(connection);
        }
    }
}

async fn connect(proxy: SocketAddr) -> Result<Connection, String> {
    let said = |error: &dyn std::fmt::Display| format!("sidecar {proxy}: {error}");
    let stream = TcpStream::connect(proxy).await.map_err(|error| said(&error))?;
    let _ = stream.set_nodelay(true);
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| said(&error))?;
    tokio::spawn(async move {
        // Its error is also the error of the exchange on it.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Says a few bytes to a TCP service and waits for them to come back.
async fn exchange_bytes(who: &Identity, at: &str) -> Result<(), String> {
    let (name, port) = at.trim_end_matches('/').rsplit_once(':').ok_or("not HOST:PORT")?;
    let port: u16 = port.parse().map_err(|_| "not HOST:PORT")?;
    // `cache`, `cache.shop` and `cache.shop.svc` are the service cache.shop.svc.cluster.local, for a pod of that namespace.
    let names = |host: &str| {
        let rest = host.strip_prefix(name).unwrap_or("-");
        rest.is_empty()
            || rest.starts_with('.') && (name.contains('.') || rest[1..].split('.').next() == Some(&who.namespace))
    };
    let found = who.tcp.iter().find(|(host, other, _)| *other == port && names(host));
    let (_, _, sidecar) = found.ok_or("no TCP service of that name and port")?;
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(sidecar).await.map_err(said)?;
    stream.write_all(TCP_WORDS).await.map_err(said)?;
    let mut back = [0; TCP_WORDS.len()];
    stream.read_exact(&mut back).await.map_err(said)?;
    Ok(())
}

fn depth(headers: &HeaderMap) -> u32 {
    headers.get(DEPTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

fn passed_on(incoming: &HeaderMap, depth: u32) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(PROPAGATED.len());
    for name in PROPAGATED {
        if let Some(value) = incoming.get(name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    headers.insert(DEPTH, HeaderValue::from(depth));
    headers
}

/// Runs all of them on this task and keeps their order.
async fn join_all<F: Future<Output = Value>>(futures: impl Iterator<Item = F>) -> Vec<Value> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut all = true;
        for (future, outcome) in running.iter_mut().filter(|(_, outcome)| outcome.is_none()) {
            match future.as_mut().poll(cx) {
                std::task::Poll::Ready(value) => *outcome = Some(value),
                std::task::Poll::Pending => all = false,
            }
        }
        if all { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, outcome)| outcome).collect()
}
