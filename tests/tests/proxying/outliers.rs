//! Outlier detection: endpoints that fail are left alone by all workers, for as long as the rules say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use ringway_config::model::{Cluster, OutlierDetection, Protocol, Role};
use ringway_tests::harness::config::forward;
use ringway_tests::harness::{Case, Config, Proxy, ProxyBuilder, Reply, Upstream, until};
use ringway_tests::matrix;

use crate::tunnels::nobody;

matrix!(
    an_endpoint_that_fails_is_ejected_and_comes_back,
    one_that_refuses_connections_is_ejected,
    with_every_endpoint_ejected_nobody_is_asked,
    below_the_health_that_is_needed_all_are_used,
);

fn rules() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx_errors: 3,
        interval_ms: 20,
        base_ejection_ms: 3_600_000,
        max_ejection_percent: 100,
        ..OutlierDetection::default()
    }
}

/// A server that answers with the status it was told last.
fn moody(status: u16) -> (Upstream, Arc<AtomicU16>) {
    let mood = Arc::new(AtomicU16::new(status));
    let upstream = Upstream::serve({
        let mood = mood.clone();
        move |_| Reply::raw(format!("HTTP/1.1 {} Any\r\nContent-Length: 0\r\n\r\n", mood.load(SeqCst)))
    });
    (upstream, mood)
}

fn proxy(case: Case, addresses: &[std::net::SocketAddr], edit: impl FnOnce(&mut Cluster)) -> Proxy {
    let mut config = Config::http(Role::Outbound);
    let cluster = config.cluster("up", Protocol::Http1, addresses);
    cluster.outlier = Some(rules());
    edit(cluster);
    config.host("any", "*", forward(&[("up", 1)]));
    ProxyBuilder::new(case, config).start()
}

/// What `/clusters` says of an endpoint of cluster `up`.
fn health(proxy: &Proxy, address: std::net::SocketAddr) -> String {
    let page = proxy.admin("/clusters").text();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("up::{address}::health::")));
    line.unwrap_or_else(|| panic!("no {address} in {page}")).to_owned()
}

/// Asks until that endpoint has this health, on new connections: all workers take part.
fn ask_until(proxy: &Proxy, address: std::net::SocketAddr, wanted: &str) {
    until("the detector's verdict", || {
        proxy.get("/");
        (health(proxy, address) == wanted).then_some(())
    });
}

/// Verdicts are with every worker when this many answers in a row are good.
fn assert_all_good(proxy: &Proxy) {
    let mut row = 0;
    until("the workers to leave it alone", || {
        row = if proxy.get("/").status == 200 { row + 1 } else { 0 };
        (row == 30).then_some(())
    });
}

fn an_endpoint_that_fails_is_ejected_and_comes_back(case: Case) {
    let ((good, _), (bad, mood)) = (moody(200), moody(500));
    let proxy = proxy(case, &[good.address(), bad.address()], |c| {
        c.outlier = Some(OutlierDetection { base_ejection_ms: 500, ..rules() });
    });
    ask_until(&proxy, bad.address(), "ejected");
    assert_eq!(proxy.metric("ringway_outlier_ejections_active", &[("cluster", "up")]), 1.0);
    mood.store(200, SeqCst);
    until("its time to be over", || (health(&proxy, bad.address()) == "healthy").then_some(()));
    let before = bad.requests_seen();
    until("it to be asked again", || {
        proxy.get("/");
        (bad.requests_seen() > before).then_some(())
    });
    assert!(proxy.metric("ringway_outlier_ejections_total", &[("cluster", "up")]) >= 1.0);
    assert_eq!(health(&proxy, good.address()), "healthy");
}

fn one_that_refuses_connections_is_ejected(case: Case) {
    let (good, _) = moody(200);
    let dead = nobody();
    let proxy = proxy(case, &[good.address(), dead], |c| {
        let rules = OutlierDetection { consecutive_5xx_errors: 0, consecutive_local_failures: 2, ..rules() };
        c.outlier = Some(OutlierDetection { split_local_origin: true, ..rules });
    });
    ask_until(&proxy, dead, "ejected");
    assert_all_good(&proxy);
}

fn with_every_endpoint_ejected_nobody_is_asked(case: Case) {
    let (bad, _) = moody(503);
    let proxy = proxy(case, &[bad.address()], |_| {});
    ask_until(&proxy, bad.address(), "ejected");
    until("the workers to know", || {
        let row = (0..10).filter(|_| proxy.get("/").text().trim() == "no healthy upstream").count();
        (row == 10).then_some(())
    });
    assert_eq!(proxy.get("/").status, 503);
    assert!(proxy.metric("istio_requests_total", &[("response_flags", "UH")]) > 0.0);
}

fn below_the_health_that_is_needed_all_are_used(case: Case) {
    let ((bad, mood), (other, _)) = (moody(500), moody(500));
    let proxy = proxy(case, &[bad.address(), other.address()], |c| {
        c.outlier = Some(OutlierDetection { min_health_percent: 50, ..rules() });
    });
    ask_until(&proxy, bad.address(), "ejected");
    ask_until(&proxy, other.address(), "ejected");
    mood.store(200, SeqCst);
    until("one of the ejected to answer", || (proxy.get("/").status == 200).then_some(()));
}
