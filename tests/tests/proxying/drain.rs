//! SIGTERM: what runs finishes, nothing new begins, and the process ends with 0.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Client, Config, ProxyBuilder, Reply, Upstream, until};
use ringway_tests::matrix;

matrix!(
    what_runs_finishes,
    an_idle_proxy_ends_early,
    idle_connections_end_with_the_drain,
    what_never_finishes_is_cut,
    it_ends_with_its_parent,
    listeners_drain_by_admin,
    requests_during_a_drain_all_succeed,
);

/// The platform goes on sending for a moment: that is served too, and asked to go elsewhere next time.
fn what_runs_finishes(case: Case) {
    let (upstream, go) = waiting_upstream();
    let mut proxy =
        ProxyBuilder::new(case, Config::http(Role::Gateway).upstream(upstream.address())).drain_time(60).start();
    let mut busy = proxy.client();
    busy.send("GET /wait HTTP/1.1\r\nHost: up.test\r\n\r\n");
    until("the request to be under way", || upstream.requests().iter().any(|r| r.target == "/wait").then_some(()));

    proxy.program.signal("TERM");
    until("the drain to begin", || (proxy.admin("/ready").status == 503).then_some(()));
    let mut late = proxy.client();
    assert!(late.get("up.test", "/").closes());
    late.expect_end();
    go.send(()).unwrap();
    let response = busy.response();
    assert_eq!((response.text().as_str(), response.closes()), ("waited", true), "{response:?}");
    busy.expect_end();
    // Long before its time is over.
    assert_eq!(proxy.program.wait().code(), Some(0), "{}", proxy.program.stderr());
}

fn an_idle_proxy_ends_early(case: Case) {
    let upstream = Upstream::echo();
    let mut proxy =
        ProxyBuilder::new(case, Config::http(Role::Gateway).upstream(upstream.address())).drain_time(600).start();
    proxy.client().expect_alive("up.test");
    proxy.program.signal("TERM");
    assert_eq!(proxy.program.wait().code(), Some(0));
}

fn idle_connections_end_with_the_drain(case: Case) {
    let upstream = Upstream::echo();
    let mut proxy =
        ProxyBuilder::new(case, Config::http(Role::Gateway).upstream(upstream.address())).drain_time(1).start();
    let mut idle = proxy.client();
    idle.expect_alive("up.test");
    proxy.program.signal("TERM");
    idle.expect_end();
    assert_eq!(proxy.program.wait().code(), Some(0));
}

fn what_never_finishes_is_cut(case: Case) {
    let (upstream, _go) = waiting_upstream();
    let mut proxy =
        ProxyBuilder::new(case, Config::http(Role::Gateway).upstream(upstream.address())).drain_time(1).start();
    let mut busy = proxy.client();
    busy.send("GET /wait HTTP/1.1\r\nHost: up.test\r\n\r\n");
    until("the request to be under way", || (!upstream.requests().is_empty()).then_some(()));
    proxy.program.signal("TERM");
    assert_eq!(proxy.program.wait().code(), Some(0));
    assert!(busy.try_response(false).is_err());
}

fn it_ends_with_its_parent(case: Case) {
    let upstream = Upstream::echo();
    let mut proxy = ProxyBuilder::new(case, Config::http(Role::Gateway).upstream(upstream.address())).start();
    proxy.program.close_stdin();
    proxy.program.wait();
}

fn listeners_drain_by_admin(case: Case) {
    let upstream = Upstream::echo();
    let mut proxy =
        ProxyBuilder::new(case, Config::http(Role::Gateway).upstream(upstream.address())).drain_time(600).start();
    let mut client = proxy.client();
    client.expect_alive("up.test");
    assert_eq!(proxy.admin_post("/drain_listeners").status, 200);
    until("the drain to begin", || client.get("up.test", "/").closes().then_some(()));
    client.expect_end();
    assert_eq!(proxy.program.wait().code(), Some(0));
}

/// Clients that heed `Connection: close` lose nothing.
fn requests_during_a_drain_all_succeed(case: Case) {
    let upstream = Upstream::echo();
    let mut proxy =
        ProxyBuilder::new(case, Config::http(Role::Gateway).upstream(upstream.address())).drain_time(20).start();
    let address = proxy.address();
    let (started, starts) = channel();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let started = started.clone();
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for i in 0.. {
                    if client.try_send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n").is_err() {
                        return;
                    }
                    match client.try_response(false) {
                        Ok(response) => {
                            assert_eq!(response.status, 200);
                            if response.closes() {
                                return;
                            }
                        }
                        // An idle connection may be closed just as a request is on its way; the request was not begun.
                        Err(_) => return,
                    }
                    if i == 20 {
                        started.send(()).unwrap();
                    }
                }
            })
        })
        .collect();
    (0..8).for_each(|_| starts.recv().unwrap());
    proxy.program.signal("TERM");
    assert_eq!(proxy.program.wait().code(), Some(0));
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// Answers `/wait` when told to, everything else at once.
fn waiting_upstream() -> (Upstream, Sender<()>) {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::serve(move |request| match request.target.as_str() {
        "/wait" => {
            let _ = wait.lock().unwrap().recv();
            Reply::ok("waited")
        }
        _ => Reply::ok("at once"),
    });
    (upstream, go)
}
