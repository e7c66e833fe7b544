//! The admin server: loopback or a Unix socket only. Reading is GET; what changes something is POST and refused from other origins.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;

use super::options::AdminAt;
use super::{House, Phase, prometheus};
use crate::ledger::{Account, ClusterLimits};

/// Connections to the admin server at once.
const CONNECTIONS_MAX: usize = 64;
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for a client to send its head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

type Shared = Rc<RefCell<House>>;
type Answer = Response<Full<Bytes>>;

/// Paths that read, with what they show.
const READS: [(&str, &str); 9] = [
    ("/", "this list"),
    ("/ready", "200 once config is applied and every listener is bound"),
    ("/stats/prometheus", "metrics"),
    ("/config_dump", "the config in use as JSON; ?format=text for people"),
    ("/snapshot", "the config in use as a snapshot file, for `ringway dump` and `ringway explain`"),
    ("/clusters", "destinations and their endpoints"),
    ("/listeners", "addresses listened on"),
    ("/server_info", "version, driver, uptime, listeners"),
    ("/help", "this list"),
];
/// Paths that change something.
const CHANGES: [(&str, &str); 4] = [
    ("/drain_listeners", "drain gracefully, then exit"),
    ("/quitquitquit", "exit at once"),
    ("/healthcheck/fail", "answer /ready with 503 from now on"),
    ("/healthcheck/ok", "take that back"),
];

/// Binds and serves in the background.
pub async fn start(house: &Shared) -> Result<(), String> {
    let at = house.borrow().options.admin.clone();
    match at {
        None => Ok(()),
        Some(AdminAt::Unix(path)) => {
            let _ = std::fs::remove_file(&path);
            let listener = tokio::net::UnixListener::bind(&path)
                .map_err(|e| format!("admin: cannot listen on {}: {e}", path.display()))?;
            let next = async move || Ok(listener.accept().await?.0);
            tokio::task::spawn_local(accept(house.clone(), next, false));
            Ok(())
        }
        Some(AdminAt::Tcp(address)) => {
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .map_err(|e| format!("admin: cannot listen on {address}: {e}"))?;
            if let Ok(bound) = listener.local_addr() {
                super::say(&format!("admin: http://{bound}"));
            }
            let next = async move || Ok(listener.accept().await?.0);
            tokio::task::spawn_local(accept(house.clone(), next, true));
            Ok(())
        }
    }
}

/// Serves what `next` accepts. Where that fails, mostly for want of descriptors, it is asked again a moment later: not at once, and for ever.
async fn accept<T>(house: Shared, next: impl AsyncFn() -> std::io::Result<T>, network: bool)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match next().await {
            Ok(stream) => drop(tokio::task::spawn_local(serve(house.clone(), TokioIo::new(stream), network, slot))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// `network`: a browser can reach this port, so the Host header is looked at.
async fn serve<T>(house: Shared, stream: TokioIo<T>, network: bool, slot: tokio::sync::OwnedSemaphorePermit)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let answer = answer(&house, &request, network);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(16 << 10);
    let _ = http.serve_connection(stream, service).await;
    drop(slot);
}

fn answer(house: &Shared, request: &Request<Incoming>, network: bool) -> Answer {
    let path = request.uri().path();
    let changes = CHANGES.iter().any(|(p, _)| *p == path);
    let reads = READS.iter().any(|(p, _)| *p == path);
    if network && !local_host(request) {
        return text(StatusCode::FORBIDDEN, "forbidden: the Host header names no local address (DNS rebinding?)\n");
    }
    match (changes, reads, request.method()) {
        (true, _, &Method::POST) if !same_origin(request) => {
            text(StatusCode::FORBIDDEN, "forbidden: this request comes from another origin\n")
        }
        (true, _, &Method::POST) => change(&mut house.borrow_mut(), path),
        (true, ..) => not_allowed("POST"),
        (_, true, &Method::GET | &Method::HEAD) => {
            read(&mut house.borrow_mut(), path, request.uri().query().unwrap_or(""))
        }
        (_, true, _) => not_allowed("GET"),
        _ => text(StatusCode::NOT_FOUND, "not found; GET /help lists what there is\n"),
    }
}

fn change(house: &mut House, path: &str) -> Answer {
    match path {
        "/drain_listeners" => {
            let within = house.options.drain_time;
            house.drain(within);
        }
        "/quitquitquit" => house.drain(Duration::ZERO),
        "/healthcheck/fail" => house.failing = true,
        _ => house.failing = false,
    }
    text(StatusCode::OK, "OK\n")
}

fn read(house: &mut House, path: &str, query: &str) -> Answer {
    match path {
        "/ready" => ready(house),
        "/stats/prometheus" => {
            with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", prometheus::page(house))
        }
        "/config_dump" => config_dump(house, query),
        "/snapshot" => snapshot(house),
        "/clusters" => text(StatusCode::OK, &clusters(house)),
        "/listeners" => text(StatusCode::OK, &listeners(house)),
        "/server_info" => with_type(StatusCode::OK, "application/json", server_info(house).to_string() + "\n"),
        _ => help(),
    }
}

fn ready(house: &House) -> Answer {
    match (house.phase, house.failing) {
        (Phase::Live, false) => text(StatusCode::OK, "LIVE\n"),
        (Phase::Live, true) => text(StatusCode::SERVICE_UNAVAILABLE, "FAILING: set by POST /healthcheck/fail\n"),
        (Phase::Starting, _) => text(StatusCode::SERVICE_UNAVAILABLE, "STARTING: no config applied yet\n"),
        (Phase::Draining, _) => text(StatusCode::SERVICE_UNAVAILABLE, "DRAINING\n"),
    }
}

fn config_dump(house: &House, query: &str) -> Answer {
    let Some(snapshot) = &house.snapshot else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "no config applied yet\n");
    };
    if query == "format=text" {
        let mut out = String::new();
        let _ = ringway_config::dump::text(snapshot, &mut out);
        return text(StatusCode::OK, &out);
    }
    with_type(StatusCode::OK, "application/json", ringway_config::dump::json(snapshot).to_string() + "\n")
}

fn snapshot(house: &House) -> Answer {
    let Some(snapshot) = &house.snapshot else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "no config applied yet\n");
    };
    with_type(StatusCode::OK, "application/octet-stream", snapshot.to_bytes())
}

/// `cluster::address::key::value` lines, as Envoy prints them.
fn clusters(house: &House) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let Some(active) = &house.current else { return out };
    for (cluster, number) in active.view.clusters().iter().zip(0..) {
        let _ = writeln!(out, "{}::balance::{:?}", cluster.name, cluster.settings.balance);
        if let Some(account) = active.ledger.account(number) {
            limits(&mut out, account, ClusterLimits::of(&cluster.settings));
        }
        for id in cluster.endpoints.clone() {
            let e = active.view.endpoint(id);
            let health = match (e.draining, house.detector.is_ejected(&cluster.name, e.address)) {
                (true, _) => "draining",
                (_, true) => "ejected",
                _ => "healthy",
            };
            let _ = writeln!(
                out,
                "{}::{}::health::{health}\n{}::{}::weight::{}",
                cluster.name, e.address, cluster.name, e.address, e.weight
            );
        }
    }
    out
}

/// Limits as Envoy names them (0 is none here), and what of them is in use.
fn limits(out: &mut String, account: &Account, limits: ClusterLimits) {
    use std::fmt::Write as _;
    for (name, max, now, tally) in [
        ("max_connections", limits.connections, "cx_active", &account.connections),
        ("max_pending_requests", limits.pending, "rq_pending_active", &account.pending),
        ("max_requests", limits.requests, "rq_active", &account.requests),
    ] {
        let cluster = account.cluster();
        let _ = writeln!(out, "{cluster}::default_priority::{name}::{max}\n{cluster}::{now}::{}", tally.get());
    }
}

fn listeners(house: &House) -> String {
    house.bound.iter().map(|b| format!("{}::{}\n", b.name, b.address)).collect()
}

fn server_info(house: &House) -> serde_json::Value {
    let listeners: Vec<_> =
        house.bound.iter().map(|b| json!({"name": b.name, "address": b.address.to_string()})).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "node": house.options.node,
        "state": format!("{:?}", house.phase).to_uppercase(),
        "uptime_seconds": house.started.elapsed().as_secs(),
        "backend": house.workers.backend.name(),
        "backend_reason": house.workers.backend_reason,
        "workers": house.workers.len(),
        "pid": std::process::id(),
        "order": house.snapshot.as_ref().map(|s| super::order_text(s.order())),
        "listeners": listeners,
    })
}

fn help() -> Answer {
    let mut out = String::new();
    for (path, what) in READS {
        out += &format!("GET  {path}: {what}\n");
    }
    for (path, what) in CHANGES {
        out += &format!("POST {path}: {what}\n");
    }
    text(StatusCode::OK, &out)
}

/// A browser led here by a foreign name (DNS rebinding) sends that name as Host.
fn local_host(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(HOST).and_then(|h| h.to_str().ok()) else { return true };
    is_local(host)
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.is_empty() || name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn same_origin(request: &Request<Incoming>) -> bool {
    // Browsers tell it themselves (Fetch Metadata); programs send neither.
    if request.headers().get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let Some(origin) = request.headers().get(ORIGIN) else { return true };
    let host = request.headers().get(HOST).and_then(|h| h.to_str().ok()).unwrap_or("");
    origin.to_str().is_ok_and(|o| o.strip_prefix("http://").is_some_and(|o| o == host))
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("method not allowed; use {allow}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

fn text(status: StatusCode, body: &str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body.to_owned())
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn row_63_only_local_names_reach_the_admin_server() {
        for (host, local) in [
            ("127.0.0.1:15000", true),
            ("localhost:15000", true),
            ("localhost", true),
            ("[::1]:15000", true),
            ("127.4.5.6", true),
            ("", true),
            ("evil.example", false),
            ("evil.example:15000", false),
            ("10.0.0.1:80", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(is_local(host), local, "{host}");
        }
    }
}
