//! The admin server's pages.

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Config, ProxyBuilder, Upstream};
use ringway_tests::matrix;

matrix!(pages_tell_the_truth);

fn pages_tell_the_truth(case: Case) {
    let upstream = Upstream::echo();
    let config = Config::http(Role::Gateway).upstream(upstream.address());
    let hash = config.snapshot().root().hash().to_string();
    let proxy = ProxyBuilder::new(case, config).start();
    proxy.client().expect_alive("up.test");

    assert_eq!(proxy.backend(), case.backend.name());
    let info = proxy.admin("/server_info").json();
    assert_eq!(info["workers"], case.workers, "{info}");
    let clusters = proxy.admin("/clusters").text();
    assert!(clusters.contains(&upstream.address().to_string()), "{clusters}");
    let dump = proxy.admin("/config_dump");
    assert!(dump.status == 200 && dump.text().contains(&hash), "{}", dump.text());
    let stats = proxy.admin("/stats/prometheus");
    assert!(stats.header("content-type").is_some_and(|t| t.starts_with("text/plain")), "{stats:?}");
    assert_eq!(proxy.metric("ringway_io_backend", &[("backend", case.backend.name())]), 1.0);
    // Help for whoever looks around.
    assert!(proxy.admin("/").text().contains("/config_dump"));
    // Reading changes nothing, however often.
    for page in ["/ready", "/server_info", "/clusters", "/config_dump", "/stats/prometheus"] {
        for _ in 0..20 {
            assert_eq!(proxy.admin(page).status, 200, "{page}");
        }
    }
    proxy.client().expect_alive("up.test");
}
