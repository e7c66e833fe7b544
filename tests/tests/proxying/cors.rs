//! Cross-origin resource sharing: preflights never reach the destination, responses say who may read them.

use ringway_config::model::{Action, Cors, Role, StringMatch};
use ringway_tests::harness::{Case, Client, Config, ProxyBuilder, Reply, Response, Upstream};
use ringway_tests::matrix;

matrix!(preflights_are_answered_here, responses_name_the_origin, answers_of_the_proxy_name_it_too);

const REPLY: &str = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nhi";

fn config(upstream: &Upstream, forward_unmatched: bool) -> Config {
    let mut config = Config::http(Role::Gateway).upstream(upstream.address());
    let Action::Forward(forward) = &mut config.hosts[0].actions[0] else { panic!("a forward") };
    forward.response.set = vec![("access-control-allow-origin".into(), "https://wrong".into())];
    forward.cors = Some(Cors {
        origins: vec![StringMatch::Exact("https://shop.test".into())],
        methods: "GET,PUT".into(),
        headers: "x-token".into(),
        expose: "x-total".into(),
        max_age_s: Some(60),
        credentials: true,
        forward_unmatched,
    });
    config
}

fn ask(client: &mut Client, method: &str, origin: &str, more: &str) -> Response {
    client.send(format!("{method} / HTTP/1.1\r\nHost: up.test\r\nOrigin: {origin}\r\n{more}\r\n"));
    client.response()
}

fn origins(response: &Response) -> Vec<&str> {
    let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("access-control-allow-origin");
    response.headers.iter().filter(named).map(|(_, value)| value.as_str()).collect()
}

fn preflights_are_answered_here(case: Case) {
    let asked = "Access-Control-Request-Method: PUT\r\n";
    for forward_unmatched in [false, true] {
        let upstream = Upstream::serve(|_| Reply::raw(REPLY));
        let proxy = ProxyBuilder::new(case, config(&upstream, forward_unmatched)).start();
        let mut client = proxy.client();
        let allowed = ask(&mut client, "OPTIONS", "https://shop.test", asked);
        assert_eq!((allowed.status, allowed.text().as_str(), origins(&allowed)), (200, "", vec!["https://shop.test"]));
        for (name, value) in [
            ("access-control-allow-methods", "GET,PUT"),
            ("access-control-allow-headers", "x-token"),
            ("access-control-max-age", "60"),
            ("access-control-allow-credentials", "true"),
        ] {
            assert_eq!(allowed.header(name), Some(value), "{name} in {allowed:?}");
        }
        assert_eq!(upstream.requests_seen(), 0);
        let other = ask(&mut client, "OPTIONS", "https://evil.test", asked);
        assert_eq!((other.status, upstream.requests_seen()), (200, usize::from(forward_unmatched)));
        if !forward_unmatched {
            assert_eq!(origins(&other), [""; 0], "{other:?}");
        }
    }
}

fn responses_name_the_origin(case: Case) {
    let upstream = Upstream::serve(|_| Reply::raw(REPLY));
    let proxy = ProxyBuilder::new(case, config(&upstream, true)).start();
    let mut client = proxy.client();
    let allowed = ask(&mut client, "GET", "https://shop.test", "");
    assert_eq!((allowed.text().as_str(), origins(&allowed)), ("hi", vec!["https://shop.test"]));
    assert_eq!(allowed.header("access-control-expose-headers"), Some("x-total"));
    // Of no allowed origin: the response is as it would be without CORS.
    for response in [ask(&mut client, "GET", "https://evil.test", ""), client.get("up.test", "/")] {
        assert_eq!(origins(&response), ["https://wrong"], "{response:?}");
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
}

fn answers_of_the_proxy_name_it_too(case: Case) {
    let upstream = Upstream::echo();
    let mut config = config(&upstream, true);
    config.endpoints[0].endpoints.clear();
    let proxy = ProxyBuilder::new(case, config).start();
    let refused = ask(&mut proxy.client(), "GET", "https://shop.test", "");
    assert_eq!((refused.status, origins(&refused)), (503, vec!["https://shop.test"]), "{refused:?}");
}
