//! Row 57: no descriptor is left.

use std::time::{Duration, Instant};

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Client, Config, Program, ProxyBuilder, Upstream, until};
use ringway_tests::matrix;

/// Open files the proxy may have.
const DESCRIPTORS_MAX: u64 = 128;
/// More clients than that.
const CLIENTS: usize = 300;

matrix!(row_57_descriptors_run_out_and_come_back);

fn row_57_descriptors_run_out_and_come_back(case: Case) {
    let upstream = Upstream::echo();
    let config = Config::http(Role::Gateway).upstream(upstream.address());
    let proxy = ProxyBuilder::new(case, config).descriptors_max(DESCRIPTORS_MAX).start();
    let mut served = proxy.client();
    served.expect_alive("up.test");

    let crowd: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    until("accepting to pause", || (proxy.metric("ringway_accept_paused_total", &[]) > 0.0).then_some(()));

    // Who is in is served, who asks the admin port is answered, and the proxy does not spin.
    for _ in 0..50 {
        served.expect_alive("up.test");
    }
    assert_eq!(proxy.admin("/ready").status, 200);
    let (window, busy) = busy_time(&proxy.program);
    assert!(busy < window / 2, "{busy:?} of CPU in {window:?} with nothing to do");

    drop(crowd);
    let mut late = proxy.client();
    late.expect_alive("up.test");
    served.expect_alive("up.test");
}

/// CPU time spent in a short window in which nothing is asked for.
fn busy_time(program: &Program) -> (Duration, Duration) {
    let (begun, before) = (Instant::now(), program.cpu_time());
    std::thread::sleep(Duration::from_millis(500));
    (begun.elapsed(), program.cpu_time() - before)
}
