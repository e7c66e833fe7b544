use super::*;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An app on a free port. The second one, if asked for, plays the sidecar: it is called with absolute-form requests.
async fn start(identity: Identity) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(App::new(identity).serve_http(listener));
    address
}

fn named(app: &str) -> Identity {
    Identity {
        app: app.into(),
        version: "v1".into(),
        pod: format!("{app}-0"),
        namespace: "shop".into(),
        ..Identity::default()
    }
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\nX-Request-Id: r-1\r\n\r\n")
}

fn report(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn it_says_who_it_is() {
    let address = start(named("reviews")).await;
    let answer = exchange(address, &get("/x?y=1")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let report = report(&answer);
    for (key, value) in [("app", "reviews"), ("version", "v1"), ("pod", "reviews-0"), ("path", "/x"), ("query", "y=1")]
    {
        assert_eq!(report[key], value, "{key}");
    }
    assert_eq!(report["headers"]["x-request-id"], "r-1");
    assert_eq!(report["port"], address.port());
}

#[tokio::test]
async fn it_answers_as_asked() {
    let address = start(named("a")).await;
    for (path, head, body_bytes) in [
        ("/status/503", "HTTP/1.1 503 ", None),
        ("/status/204", "HTTP/1.1 204 ", Some(0)),
        ("/bytes/100000", "HTTP/1.1 200 ", Some(100_000)),
        ("/delay/1", "HTTP/1.1 200 ", None),
    ] {
        let answer = exchange(address, &get(path)).await;
        assert!(answer.starts_with(head), "{path}: {answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(body_bytes.is_none_or(|bytes| body.len() == bytes), "{path}: {}", body.len());
    }
    let echo =
        exchange(address, "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
            .await;
    assert!(echo.ends_with("\r\n\r\nhello"), "{echo}");
    let page = exchange(address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept: text/html\r\n\r\n").await;
    assert!(page.contains("<!doctype html>"), "{page}");
}

#[tokio::test]
async fn it_calls_onward_through_its_sidecar() {
    let sidecar = start(named("ratings")).await;
    let caller = Identity { calls: vec!["http://ratings:9080/stars".into()], proxy: Some(sidecar), ..named("reviews") };
    let address = start(caller).await;
    let report = report(&exchange(address, &get("/?call=http://other/&call=ftp://x/")).await);
    let calls = report["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 3);
    assert_eq!((&calls[0]["status"], &calls[0]["answer"]["app"]), (&Value::from(200), &Value::from("ratings")));
    let seen = &calls[0]["answer"]["headers"];
    assert_eq!((&seen["host"], &seen["x-request-id"]), (&Value::from("ratings:9080"), &Value::from("r-1")));
    assert_eq!(calls[1]["answer"]["headers"]["host"], "other");
    assert!(calls[2]["error"].as_str().unwrap().contains("only http://"), "{}", calls[2]);
}

#[tokio::test]
async fn a_loop_of_calls_ends() {
    // The app is its own sidecar, and calls itself for every request.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = Identity { calls: vec!["http://self/".into()], proxy: Some(address), ..named("self") };
    tokio::spawn(App::new(identity).serve_http(listener));
    let mut report = report(&exchange(address, &get("/")).await);
    let mut depth = 0;
    while report["calls"][0]["answer"].is_object() {
        report = report["calls"][0]["answer"].take();
        depth += 1;
    }
    assert_eq!(depth, CALL_DEPTH_MAX);
}

#[tokio::test]
async fn connections_are_kept_and_websockets_echo() {
    let address = start(named("a")).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /bytes/2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_until(&mut stream, b"..").await;
    }
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, b"\r\n\r\n").await;
    assert!(head.contains("101 Switching") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\x81\x02hi");
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        seen.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn tcp_services_are_called_through_their_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let echo = listener.local_addr().unwrap();
    tokio::spawn(serve_echo(listener));
    let tcp = vec![("cache.shop.svc.cluster.local".to_string(), 6379, echo)];
    let address = start(Identity { tcp, ..named("ratings") }).await;
    let paths = [
        ("cache:6379", true),
        ("cache.shop:6379", true),
        ("cache:1", false),
        ("cache.other:6379", false),
        ("cach:6379", false),
    ];
    for (name, ok) in paths {
        let report = report(&exchange(address, &get(&format!("/?call=tcp://{name}"))).await);
        assert_eq!(report["calls"][0]["tcp"] == true, ok, "{name}: {report}");
    }
}

#[tokio::test]
async fn tcp_comes_back_and_half_close_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_echo(listener));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"some bytes").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"some bytes");
}
