//! What a gateway believes of proxies in front of it: the client's address, and the scheme.

use ringway_config::model::{
    AccessLog, Action, HeaderEdits, HeaderValue, Part, PathMatch, Redirect, Role, Variable, What,
};
use ringway_tests::harness::config::route;
use ringway_tests::harness::{Case, Config, ProxyBuilder, Upstream, until};
use ringway_tests::matrix;

matrix!(as_many_proxies_are_believed_as_are_trusted);

fn told(what: What) -> HeaderValue {
    HeaderValue::Format(vec![Part::Variable(Variable { what, ..Variable::default() })])
}

fn as_many_proxies_are_believed_as_are_trusted(case: Case) {
    // How many are trusted; lines; the client, and the scheme, that everything goes by.
    for (trusted, lines, client, scheme) in [
        (0, "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n", "127.0.0.1", "http"),
        (1, "X-Forwarded-For: 8.8.8.8, 9.9.9.9\r\nX-Forwarded-Proto: https\r\n", "9.9.9.9", "https"),
        (2, "X-Forwarded-For: 8.8.8.8, 9.9.9.9\r\n", "8.8.8.8", "http"),
        (2, "X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-For: 9.9.9.9\r\n", "8.8.8.8", "http"),
        (3, "X-Forwarded-For: 8.8.8.8, 9.9.9.9\r\n", "127.0.0.1", "http"),
        (1, "X-Forwarded-For: unknown\r\nX-Forwarded-Proto: wss\r\n", "127.0.0.1", "http"),
        (1, "", "127.0.0.1", "http"),
    ] {
        let upstream = Upstream::echo();
        let mut config = Config::http(Role::Gateway).upstream(upstream.address());
        config.policy.trusted_proxies = trusted;
        config.policy.access_log = AccessLog::Json;
        let host = &mut config.hosts[0];
        let Action::Forward(forward) = &mut host.actions[0] else { panic!("a forward") };
        forward.request.set = vec![
            ("x-client".into(), told(What::DownstreamRemoteAddressWithoutPort)),
            ("x-direct".into(), told(What::DownstreamDirectRemoteAddress)),
        ];
        let response = HeaderEdits {
            set: vec![("x-client".into(), told(What::DownstreamRemoteAddress))],
            ..HeaderEdits::default()
        };
        forward.response = response.clone();
        host.actions.push(Action::Redirect(Redirect { status: 302, response, ..Redirect::default() }));
        host.routes.insert(0, route("away", PathMatch::Exact("/away".into()), 1));
        let proxy = ProxyBuilder::new(case, config).start();
        let mut client_side = proxy.client();
        let own = client_side.tcp().local_addr().unwrap();
        let mut ask = |path: &str| {
            client_side.send(format!("GET {path} HTTP/1.1\r\nHost: up.test\r\n{lines}\r\n"));
            client_side.response()
        };
        let full = if client == "127.0.0.1" { own.to_string() } else { format!("{client}:0") };
        let what = format!("{trusted} {lines}");
        assert_eq!(ask("/").header("x-client"), Some(full.as_str()), "{what}");
        let seen = upstream.take_requests().remove(0);
        assert_eq!(
            (seen.header("x-client"), seen.header("x-direct")),
            (Some(client), Some(&*own.to_string())),
            "{what}"
        );
        let forwarded: Vec<&str> =
            lines.lines().filter_map(|line| line.strip_prefix("X-Forwarded-For: ")).chain(["127.0.0.1"]).collect();
        assert_eq!(seen.header("x-forwarded-for"), Some(&*forwarded.join(", ")), "{what}");
        let said = lines.lines().find_map(|line| line.strip_prefix("X-Forwarded-Proto: ")).filter(|_| trusted > 0);
        assert_eq!(seen.header("x-forwarded-proto"), Some(said.unwrap_or("http")), "{what}");
        let away = ask("/away");
        assert_eq!(away.header("location"), Some(&*format!("{scheme}://up.test/away")), "{what}");
        assert_eq!(away.header("x-client"), Some(full.as_str()), "{what}");
        let log = until("the log line", || proxy.program.stdout().lines().next().map(str::to_owned));
        let log: serde_json::Value = serde_json::from_str(&log).expect(&log);
        assert_eq!(log["downstream_remote_address"], full, "{what}");
    }
}
