//! The example that `make run` runs.

use std::time::{Duration, Instant};

use ringway_tests::harness::mesh::{address, copy_of, edit};
use ringway_tests::harness::{Case, Client, Mesh, until};
use serde_json::Value;

use super::load::{Load, assert_share};

/// Port of the front door in the example.
const FRONT: u16 = 8080;

/// The version of the reviews that a page shows.
fn reviews(page: &Value) -> String {
    let calls = page["calls"].as_array().unwrap_or_else(|| panic!("the storefront calls nobody: {page}"));
    let reviews = calls.iter().find(|call| call["url"] == "http://reviews:8000/latest");
    let version = &reviews.unwrap_or_else(|| panic!("no call of the reviews: {page}"))["answer"]["version"];
    version.as_str().unwrap_or_else(|| panic!("the reviews did not answer: {page}")).to_owned()
}

ringway_tests::matrix!(the_page_comes_through_the_gateway_and_everybody_is_known);

fn the_page_comes_through_the_gateway_and_everybody_is_known(case: Case) {
    let workers = case.workers.to_string();
    let mut mesh = Mesh::start(&["examples/bookshop", "--io-backend", case.backend.name(), "--workers", &workers]);
    assert_eq!(mesh.ready["backend"], case.backend.name());
    let mut client = Client::connect(mesh.gateway(FRONT));
    client.send("GET / HTTP/1.1\r\nHost: shop.example\r\nAccept: text/html\r\n\r\n");
    let page = client.response();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("Every answer puts a book on the shelf"), "{}", page.text());

    // Readers get one of two versions, the staff the third; whichever it is, nobody is called unknown.
    for user in ["reader", "staff"] {
        for _ in 0..20 {
            client.send(format!("GET / HTTP/1.1\r\nHost: shop.example\r\nend-user: {user}\r\n\r\n"));
            let version = reviews(&client.response().json());
            assert_eq!(version == "v3", user == "staff", "{user} got {version}");
        }
    }
    let mut side = Client::connect(mesh.gateway(8081));
    let books = side.get("shop.example", "/api/books/1").json();
    assert_eq!((&books["app"], &books["path"]), (&Value::from("catalog"), &Value::from("/books/1")));
    let stars = side.get("shop.example", "/api/stars");
    assert_eq!((stars.status, stars.header("x-door")), (200, Some("side")));
    assert_eq!(side.get("shop.example", "/elsewhere").status, 404);

    let mut seen = 0;
    for (pod, page) in mesh.metrics() {
        for line in page.lines().filter(|line| line.starts_with("istio_requests_total{")) {
            seen += 1;
            for label in
                ["source_workload", "destination_workload", "source_app", "destination_app", "destination_version"]
            {
                // What no route matched never had a destination.
                if line.contains("response_flags=\"NR\"") && label.starts_with("destination") {
                    continue;
                }
                // People outside have no workload; the gateway does.
                assert!(!line.contains(&format!("{label}=\"unknown\"")), "{label} is unknown at {pod}: {line}");
            }
        }
    }
    assert!(seen >= 10, "only {seen} series");
    assert_eq!(mesh.stop().code(), Some(0));
}

#[test]
fn ten_thousand_requests_split_by_weight() {
    const REQUESTS: usize = 10_000;
    const CLIENTS: usize = 8;
    let mesh = Mesh::start(&["examples/bookshop"]);
    let gateway = mesh.gateway(FRONT);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::connect(gateway);
                let versions = (0..REQUESTS / CLIENTS).map(|_| reviews(&client.get("shop.example", "/").json()));
                versions.fold([0, 0], |[one, two], version| match version.as_str() {
                    "v1" => [one + 1, two],
                    "v2" => [one, two + 1],
                    other => panic!("version {other}"),
                })
            })
        })
        .collect();
    let counts = clients.into_iter().map(|client| client.join().unwrap());
    let [one, two] = counts.fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
    assert_eq!(one + two, REQUESTS);
    assert_share(two, REQUESTS, 0.1, 4.0);
}

#[test]
fn an_edited_weight_is_followed_within_a_second_and_nothing_fails() {
    edited_weight(&[]);
}

#[test]
fn an_edited_weight_is_followed_by_several_workers_on_epoll_too() {
    edited_weight(&["--io-backend", "epoll", "--workers", "2"]);
}

fn edited_weight(arguments: &[&str]) {
    const CONNECTIONS: u32 = 200;
    let folder = copy_of("examples/bookshop");
    let split = folder.path().join("reviews-split.yaml");
    let mut all = vec![folder.path().to_str().expect("a temporary path is text")];
    all.extend(arguments);
    let mut mesh = Mesh::start(&all);
    let load = Load::start(mesh.gateway(FRONT), "/", CONNECTIONS, Duration::from_millis(1000), reviews);
    // How long each state is watched: long enough for a sample that tells 90/10 from 50/50 beyond doubt.
    let watched = Duration::from_secs(4);
    std::thread::sleep(watched);
    let written = Instant::now();
    edit(&split, "weight: 90", "weight: 50");
    edit(&split, "weight: 10", "weight: 50");
    let applied = mesh.wait_for("the edit to be applied", |event| {
        event["event"] == "applied" && event["changes"].to_string().contains("50")
    });
    until("the watched time to pass", || (written.elapsed() > watched + Duration::from_secs(1)).then_some(()));
    let answers = load.finish();

    let settled = written + Duration::from_secs(1);
    let share = |answers: &[&super::load::Answer]| answers.iter().filter(|answer| answer.version == "v2").count();
    let before: Vec<_> = answers.iter().filter(|answer| answer.asked < written).collect();
    let after: Vec<_> = answers.iter().filter(|answer| answer.asked >= settled).collect();
    assert!(before.len() > 300 && after.len() > 300, "{} and {} answers", before.len(), after.len());
    assert_share(share(&before), before.len(), 0.1, 4.5);
    assert_share(share(&after), after.len(), 0.5, 4.5);
    assert!(applied["ms"].as_f64().is_some_and(|ms| ms < 1000.0), "{applied}");
}

#[test]
fn tcp_services_have_a_port_at_every_client() {
    let mesh = Mesh::start(&["examples/bookshop"]);
    let at = address(&mesh.pod("ratings-v1")["tcp"]["cache.default.svc.cluster.local:6379"]);
    let mut client = Client::connect(at);
    client.send("straight through");
    client.finish();
    assert_eq!(client.rest().unwrap(), b"straight through");
    // The ratings say hello to the cache for every request.
    let mut side = Client::connect(mesh.gateway(8081));
    let stars = side.get("shop.example", "/api/stars").json();
    assert_eq!(stars["calls"][0]["tcp"], true, "{stars}");
}
